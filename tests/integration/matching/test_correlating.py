"""Since when the stream of records is known, which sources count, and what a rule that is new learns from."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from actionwatch.base.model import Entity
from actionwatch.matching.correlating import Correlating
from actionwatch.matching.matcher import MANY_BATCHES, RecordMatcher
from actionwatch.rules.engine import Engine
from tests.builders import NOON, make_record
from tests.integration.kit import Post
from tests.integration.matching.test_correlation import BURST, MINUTE, MISSING, matcher, only, rules_of, see

HOUR = timedelta(hours=1)


def events(step: RecordMatcher) -> list[str]:
    """Run, and return what was logged."""
    with capture_logs() as logs:
        step.run_once()
    return [each["event"] for each in logs]


def test_rules_are_fed_again_if_the_beginning_of_the_sources_changes(post: Post) -> None:
    """A rule is fed once, and again if the time changes from which all records are known, or may alert."""
    step = matcher(post, rules_of(MISSING))
    moments: list[dict[str, Any]] = [
        {},
        {},
        {"begins": NOON - HOUR},
        {"begins": NOON - HOUR, "alerts_from": NOON - HOUR},
    ]
    fed = []
    for moment in moments:
        see(post.database, NOON, **moment)
        fed.append([events(step).count("correlations_fed_again") for _ in range(2)])
    assert fed == [[1, 0], [0, 0], [1, 0], [1, 0]]


def test_a_start_reports_no_other_process(post: Post) -> None:
    """A process that begins on a store with matched records continues, and takes nobody to have moved on."""
    rules = rules_of(BURST)
    post.store(make_record(1))
    see(post.database, NOON)
    assert events(matcher(post, rules)) == ["correlations_fed_again"]
    for _ in range(2):
        assert events(matcher(post, rules)) == []


@pytest.mark.parametrize(("sources", "count"), [(["acme"], 1), (None, 0), (["acme", "gone"], 0), (["acme", "new"], 0)])
def test_only_the_configured_sources_hold_alerts_back(post: Post, sources: list[str] | None, count: int) -> None:
    """What is missing may alert once every source that counts proved that time: a new one counts, a removed one does not."""
    correlating = Correlating(rules_of(MISSING), post.addressing, sources=None if sources is None else lambda: sources)
    step = RecordMatcher(post.database, Engine(rules_of(MISSING)), post.addressing, post.clock, correlating=correlating)
    see(post.database, NOON + 2 * HOUR)
    see(post.database, NOON, name="gone")
    assert step.run_once() == count


@pytest.mark.parametrize(
    ("more", "count"), [({}, 1), ({"alerts_from": NOON + 3 * HOUR}, 0), ({"begins": NOON + 1.5 * HOUR}, 0)]
)
def test_the_source_that_began_last_decides_what_is_missing(post: Post, more: dict[str, Any], count: int) -> None:
    """A group is missing from where all sources are known, and alerts from where records of all may alert."""
    see(post.database, NOON + 2 * HOUR)
    see(post.database, NOON + 2 * HOUR, name="second", **more)
    assert matcher(post, rules_of(MISSING)).run_once() == count


def test_a_new_absence_knows_what_was_seen_long_ago(post: Post) -> None:
    """A rule that is new looks for the last record of each group in all that is stored, however old it is."""
    days = timedelta(days=1)
    old = make_record(1, occurred_at=NOON - 3 * days, cluster=Entity("c-1", "orders"))
    post.store(old, make_record(2, action_kind="BACKUP"))
    see(post.database, NOON, begins=NOON - 5 * days, alerts_from=NOON - 5 * days)
    matcher(post, rules_of(BURST)).run_once()
    assert matcher(post, rules_of(MISSING)).run_once() == 1
    assert only(post).first_at == NOON - 3 * days + HOUR


def test_a_new_absence_looks_at_all_that_is_stored(post: Post) -> None:
    """It looks for the last record of each group, however old that is; backlog counts."""
    days = timedelta(days=1)
    old = [make_record(n, occurred_at=NOON - 3 * days + n * MINUTE, is_backlog=True) for n in range(3)]
    post.store(*old, make_record(4, user_name="bob", is_backlog=True))
    see(post.database, NOON, begins=NOON - 5 * days)
    matcher(post, ()).run_once()
    step = matcher(post, rules_of(f"{BURST}---\n{MISSING}"))
    step.run_once()
    assert step.fed_count == 4
    assert only(post).first_at == NOON - 5 * days + HOUR


# -- backlog


def hit_count(post: Post) -> int:
    """Count the hits that are stored."""
    with post.database.read() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM hit").scalar() or 0)


def alert_count(post: Post) -> int:
    """Count the alerts of correlations that were found, reported or not."""
    with post.database.read() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM correlated_alert").scalar() or 0)


def test_backlog_is_evaluated_once_it_is_read(post: Post) -> None:
    """While the sources read backlog, which cannot alert, hits are stored. Groups are evaluated when they have read it."""
    begins = NOON - HOUR
    step = matcher(post, rules_of(BURST))
    for number in range(4):
        see(post.database, begins, begins=begins)
        post.store(make_record(number, minutes=number - 30, is_backlog=True))
        assert step.run_once() == 0
        assert (hit_count(post), alert_count(post), step.has_learned) == (number + 1, 0, False)
    see(post.database, NOON, begins=begins)
    assert step.run_once() == 0
    assert (alert_count(post), step.has_learned) == (1, True)
    post.store(*(make_record(10 + number, minutes=number) for number in range(3)))
    assert step.run_once() == 1
    assert only(post).count == 3


@pytest.mark.parametrize("is_restarted", [False, True])
def test_correlations_do_not_wait_once_a_record_may_alert(post: Post, *, is_restarted: bool) -> None:
    """While another source reads backlog, a record that may alert is evaluated at once, and so it is after a start."""
    rules = rules_of(BURST)
    begins = NOON - HOUR
    see(post.database, begins, begins=begins)
    post.store(*(make_record(number, minutes=number - 3, is_backlog=True) for number in range(3)))
    step = matcher(post, rules)
    assert step.run_once() == 0
    post.store(make_record(4))
    assert (matcher(post, rules) if is_restarted else step).run_once() == 1
    assert only(post).count == 4


def test_backlog_that_keeps_coming_is_evaluated_once(post: Post) -> None:
    """A tail that stores backlog as fast as it is matched does not lead to an evaluation before all is read."""
    rules = rules_of(BURST)
    begins = NOON - HOUR
    see(post.database, begins, begins=begins)
    arrived, seen = 0, set[int]()

    class Arriving(Engine):
        def evaluate(self, batch: Any) -> Any:
            nonlocal arrived
            arrived += 1
            seen.add(alert_count(post))
            if arrived < 3 * MANY_BATCHES:
                post.store(make_record(arrived, minutes=arrived - 40, is_backlog=True))
            return super().evaluate(batch)

    post.store(make_record(0, minutes=-50, is_backlog=True))
    correlating = Correlating(rules, post.addressing)
    step = RecordMatcher(post.database, Arriving(rules), post.addressing, post.clock, 2000, correlating)
    assert step.run_once() == 0
    assert (arrived, seen, alert_count(post)) == (3 * MANY_BATCHES, {0}, 0)
    see(post.database, NOON, begins=begins)
    assert step.run_once() == 0
    assert alert_count(post) == 3


def test_much_backlog_is_evaluated_when_all_of_it_is_matched(post: Post) -> None:
    """After a start on a store with much backlog, all batches of it are stored first; what follows alerts once."""
    backlog = [make_record(n, minutes=n / 10 - 100, is_backlog=True, user_name=f"u{n % 30}") for n in range(1000)]
    post.store(*backlog, *(make_record(1000 + n, minutes=n / 10) for n in range(4)))
    see(post.database, NOON + MINUTE, begins=NOON - 2 * HOUR)
    seen = list[int]()

    class Watching(Engine):
        def evaluate(self, batch: Any) -> Any:
            seen.append(alert_count(post))
            return super().evaluate(batch)

    rules = rules_of(BURST)
    correlating = Correlating(rules, post.addressing)
    step = RecordMatcher(post.database, Watching(rules), post.addressing, post.clock, 100, correlating)
    assert step.run_once() == 1
    assert seen == [0] * 11
    assert [(alert.rule.name, alert.count) for alert in post.alerts().values()] == [("burst", 4)]
