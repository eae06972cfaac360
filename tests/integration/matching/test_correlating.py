"""When the state of correlations is rebuilt, what it is rebuilt from, and what is reported of groups without room."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from actionwatch.matching.known_alerts import read_known
from actionwatch.rules.correlations.live.correlator import Correlator
from structlog.testing import capture_logs

from actionwatch.base.model import Entity
from actionwatch.matching.correlating import Correlating
from actionwatch.matching.matcher import RecordMatcher
from actionwatch.rules.engine import Engine
from tests.builders import NOON, make_record
from tests.integration.kit import Post
from tests.integration.matching.test_correlation import BURST, HEAD, MINUTE, MISSING, matcher, only, rules_of, see

HOUR = timedelta(hours=1)


def events(step: RecordMatcher) -> list[str]:
    """Run, and return what was logged."""
    with capture_logs() as logs:
        step.run_once()
    return [each["event"] for each in logs]


def test_the_state_is_rebuilt_if_the_beginning_of_the_sources_changes(post: Post) -> None:
    """A state is made once, and again if the time changes from which all records are known, or may alert."""
    step = matcher(post, rules_of(MISSING))
    moments: list[dict[str, Any]] = [
        {},
        {},
        {"begins": NOON - HOUR},
        {"begins": NOON - HOUR, "alerts_from": NOON - HOUR},
    ]
    rebuilt = []
    for moment in moments:
        see(post.database, NOON, **moment)
        rebuilt.append([events(step).count("correlations_rebuilt") for _ in range(2)])
    assert rebuilt == [[1, 0], [0, 0], [1, 0], [1, 0]]


SHARED = BURST.replace("[userName], timespan", "[userName, cluster.id], timespan").replace(
    "alert: {", "alert: {group_by: [userName], "
)


@pytest.mark.parametrize(("text", "found"), [(BURST, [1, 1, 0]), (SHARED, [1, 1, 1])])
def test_alerts_are_read_with_their_records_from_the_start_of_their_rule(
    post: Post, text: str, found: list[int]
) -> None:
    """A rebuild knows which records each alert holds. Where groups share alerts, earlier ones may lead: they are read too."""
    rules = rules_of(text)
    (rule,) = (each.correlation for each in rules if each.correlation is not None)
    post.store(*(make_record(number, minutes=number) for number in range(3)))
    matcher(post, rules).run_once()
    assert only(post).count == 3
    with post.database.read() as connection:
        known = [
            read_known(connection, [rule], {rule.name.id: NOON + minutes * MINUTE})
            for minutes in (0, 12, 17)  # the alert ends after 12 minutes
        ]
    assert [len(each) for each in known] == found
    assert known[0][0].keys == {make_record(number, minutes=number).key for number in range(3)}


def test_groups_without_room_are_reported_once(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups that were dropped are logged and counted when that happens, and not again."""
    monkeypatch.setattr("actionwatch.matching.state_building.Correlator", partial(Correlator, max_groups=2))
    rules = rules_of(BURST)
    correlating = Correlating(rules, post.addressing)
    step = RecordMatcher(post.database, Engine(rules), post.addressing, post.clock, correlating=correlating)
    post.store(make_record(0))
    assert events(step) == ["correlations_rebuilt"]
    post.store(*(make_record(number, user_name=f"u{number}") for number in range(1, 6)))
    assert events(step) == ["correlation_groups_dropped"]
    assert step.dropped_groups == 4
    assert events(step) == []
    post.store(make_record(9, user_name="u9"))
    assert events(step) == ["correlation_groups_dropped"]
    assert step.dropped_groups == 5
    plain = RecordMatcher(post.database, Engine(rules), post.addressing, post.clock)
    assert (events(plain), plain.dropped_groups) == ([], 0)


def test_a_start_reports_no_other_process(post: Post) -> None:
    """A process that begins on a store with matched records makes its state, and takes nobody to have moved on."""
    rules = rules_of(BURST)
    post.store(make_record(1))
    for _ in range(2):
        assert events(matcher(post, rules)) == ["correlations_rebuilt"]


@pytest.mark.parametrize(("sources", "count"), [(["acme"], 1), (None, 0), (["acme", "gone"], 0), (["acme", "new"], 0)])
def test_only_the_configured_sources_hold_alerts_back(post: Post, sources: list[str] | None, count: int) -> None:
    """What is missing may alert once every source that counts proved that time: a new one counts, a removed one does not."""
    correlating = Correlating(rules_of(MISSING), post.addressing, sources=sources)
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


MISSING_BURST = (
    HEAD.format("missing-burst")
    + "correlation: {rules: burst, type: event_count, group-by: [userName], timespan: 1h, condition: {lt: 1},"
    + " expect-groups: {userName: [eve]}}\n"
)


@pytest.mark.parametrize(("text", "group_count"), [(MISSING, 2), (MISSING_BURST, 3)])
def test_beside_a_new_absence_other_rules_learn_from_what_they_need(post: Post, text: str, group_count: int) -> None:
    """Only a new absence, and the rules that feed it, look at all that is stored: others at what their windows reach."""
    days = timedelta(days=1)
    old = [make_record(n, occurred_at=NOON - 3 * days + n * MINUTE, is_backlog=True) for n in range(3)]
    post.store(*old, make_record(4, user_name="bob", is_backlog=True))
    see(post.database, NOON, begins=NOON - 5 * days)
    matcher(post, ()).run_once()
    with capture_logs() as logs:
        matcher(post, rules_of(f"{BURST}---\n{text}")).run_once()
    assert [each["groups"] for each in logs if each["event"] == "correlations_rebuilt"] == [group_count]
    last = {MISSING: NOON - 5 * days, MISSING_BURST: NOON - 3 * days + 2 * MINUTE}
    assert only(post).first_at == last[text] + HOUR
