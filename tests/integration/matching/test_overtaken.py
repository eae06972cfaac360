"""Two matchers on one store, in turn or at once: neither matches from a position or a state that is not the stored one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from actionwatch.base.model import Entity, RuleName, Status
from actionwatch.matching.correlating import Correlating
from actionwatch.matching.matcher import RecordMatcher
from actionwatch.rules.engine import Engine, RuleFailure
from actionwatch.store import positions
from tests.builders import NOON, make_record
from tests.integration.kit import KindEngine, KindRule, Post
from tests.integration.matching.test_correlation import BURST, MISSING, matcher, only, rules_of, see
from tests.integration.matching.test_switching import HookedEngine
from tests.positions import move_to

RULE = KindRule(name="deleted", realert=timedelta(hours=1))


class HookedCorrelating(Correlating):
    """Correlations that call `hook` once, before they judge what is verified."""

    hook: Callable[[], object] = staticmethod(lambda: None)
    is_hooked = False

    def is_aligned(self, position: int) -> bool:
        """Look, then call the hook."""
        is_aligned = super().is_aligned(position)
        if is_aligned and self.is_hooked:
            self.is_hooked = False
            self.hook()
        return is_aligned


@pytest.mark.parametrize("turns", ["aba", "abb", "aab", "abab"])
def test_a_burst_that_two_matchers_see_in_turn_is_one_alert(post: Post, turns: str) -> None:
    """Each matcher continues from what the other one has stored: no record is missing in the count, none counts twice."""
    steps = {name: matcher(post, rules_of(BURST)) for name in "ab"}
    opened = 0
    for number, turn in enumerate(turns):
        post.store(make_record(number, minutes=number))
        opened += steps[turn].run_once()
    assert (opened, only(post).count) == (1, len(turns))


def test_a_matcher_that_is_overtaken_within_a_batch_writes_nothing_of_it(post: Post) -> None:
    """The other matcher's commit is kept, and this one continues after it: one alert and delivery, each record counted once."""
    rules = rules_of(BURST)
    first = RecordMatcher(
        post.database,
        engine := HookedEngine(RULE),
        post.addressing,
        post.clock,
        correlating=Correlating(rules, post.addressing),
    )
    second = RecordMatcher(
        post.database,
        KindEngine(RULE),
        post.addressing,
        post.clock,
        correlating=Correlating(rules, post.addressing),
    )
    post.store(make_record(1))
    assert first.run_once() == 1
    post.store(make_record(2, minutes=1), make_record(3, minutes=2))
    overtaking: list[int] = []
    engine.hook = lambda: overtaking.append(second.run_once())
    assert first.run_once() == 0
    assert overtaking == [1]
    assert sorted(alert.count for alert in post.alerts().values()) == [3, 3]
    assert len(post.rows()) == 2
    with post.database.read() as connection:
        assert positions.read_both(connection) == (3, 3)


def test_nothing_is_missing_that_another_matcher_has_seen(post: Post) -> None:
    """A matcher that is overtaken before it judges verified time takes the other's record into account."""
    rules = rules_of(MISSING)
    correlating = HookedCorrelating(rules, post.addressing)
    first = RecordMatcher(post.database, Engine(rules), post.addressing, post.clock, correlating=correlating)
    second = matcher(post, rules)
    see(post.database, NOON)
    assert first.run_once() == 0
    see(post.database, NOON + timedelta(hours=1, minutes=30))

    def overtake() -> None:
        post.store(make_record(1, minutes=50, cluster=Entity("c-1", "orders")))
        second.run_once()

    correlating.hook, correlating.is_hooked = overtake, True
    assert first.run_once() == 0
    assert [alert for alert in post.alerts().values() if alert.status is Status.OPEN] == []


@pytest.mark.parametrize("steps", [("match",), ("correlate",), ("match", "correlate")])
def test_a_position_that_goes_back_is_matched_again(post: Post, steps: Sequence[str]) -> None:
    """A restored store, or a person, may put positions back: the records are taken again and change nothing."""
    step = matcher(post, rules_of(BURST))
    post.store(*(make_record(number, minutes=number) for number in range(3)))
    assert step.run_once() == 1
    with post.database.write() as connection:
        for name in steps:
            move_to(connection, name, 1)
    assert step.run_once() == 0
    assert only(post).count == 3
    post.store(make_record(3, minutes=3))
    assert step.run_once() == 0
    assert only(post).count == 4
    with post.database.read() as connection:
        assert positions.read_both(connection) == (4, 4)


def test_new_plain_rules_do_not_match_what_only_correlations_missed(post: Post) -> None:
    """Records that correlations take later, because they are new, are not matched by plain rules again."""
    post.store(*(make_record(number, minutes=number) for number in range(3)))
    assert RecordMatcher(post.database, KindEngine(), post.addressing, post.clock).run_once() == 0
    with post.database.write() as connection:
        move_to(connection, "correlate", 0)
    correlating = Correlating(rules_of(BURST), post.addressing)
    step = RecordMatcher(post.database, KindEngine(RULE), post.addressing, post.clock, correlating=correlating)
    assert step.run_once() == 0
    assert post.alerts() == {}
    with post.database.read() as connection:
        assert positions.read_both(connection) == (3, 3)


def test_what_went_wrong_is_logged_once(post: Post) -> None:
    """Failures of plain rules and of correlations are logged once."""

    rules = rules_of(BURST.replace("{{ count }} by", "{{ 1 // (count - 3) }}"))
    step = RecordMatcher(
        post.database,
        KindEngine(failures=[RuleFailure(RuleName("plain", "plain", ""), "key", "boom")]),
        post.addressing,
        post.clock,
        correlating=Correlating(rules, post.addressing),
    )
    post.store(*(make_record(number, minutes=number) for number in range(3)))
    with capture_logs() as logs:
        for _ in range(2):
            step.run_once()
    failures = [(each["rule"], each["error"]) for each in logs if each["event"] == "rule_failed"]
    assert failures[0] == ("plain", "boom")
    assert len(failures) == 2
