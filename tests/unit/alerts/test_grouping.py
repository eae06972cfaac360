"""Matches become alerts: ids are made from rule, group and record; a match joins within `realert` of the first record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from actionwatch.alerts.ledger import Ledger, grouping_key, open_alert
from actionwatch.base.ids import stable_id
from actionwatch.base.model import Alert, Escalation, Level, Match, RuleName
from tests.builders import NOON, QUARTER, make_alert, make_match, make_record

EDGE = timedelta(microseconds=1)
LATER = NOON + timedelta(hours=1)


class Unresolved:
    """A history in which these alerts are the unresolved ones of every group."""

    def __init__(self, *alerts: Alert) -> None:
        self._alerts = alerts

    def unresolved(self, group_key: str, at: datetime) -> Sequence[Alert]:
        """Return all of them."""
        return self._alerts

    def alert(self, alert_id: str) -> Alert | None:
        """Return an alert by its id."""
        return next((alert for alert in self._alerts if alert.id == alert_id), None)


def add(match: Match, *alerts: Alert) -> Alert:
    """Add a match to a ledger over these alerts, and return the alert that it opens or joins."""
    ledger = Ledger(Unresolved(*alerts), LATER)
    ledger.add_all([match], ())
    (entry,) = ledger.entries.values()
    return entry.alert


def test_ids_do_not_change_between_versions() -> None:
    """An id is the one that earlier versions made, so that no alert is sent again after an update."""
    match = make_match(make_record(7))
    assert stable_id("a", "b") == "d13270b6-621d-5e54-9625-c7632b295b3c"
    assert open_alert(match, NOON).id == open_alert(match, LATER).id


def test_ids_depend_on_the_division_into_parts() -> None:
    """Two lists of parts that are equal when joined give two ids."""
    assert stable_id("a", "bc") != stable_id("ab", "c")
    assert stable_id("a", "") != stable_id("a")
    assert stable_id('a","b') != stable_id("a", "b")
    assert stable_id("\ud800") != stable_id("\ud801")


def test_grouping_key_depends_on_rule_and_group_values() -> None:
    """Records share a key exactly if rule and group values are the same. The order of the fields does not matter."""
    one = make_match(group={"a": "1", "b": None})
    assert grouping_key(one) == grouping_key(make_match(make_record(2), group={"b": None, "a": "1"}))
    for other in (
        replace(one, group={"a": "1", "b": ""}),
        replace(one, group={"a": "1"}),
        replace(one, group={}),
        replace(one, group=None),
        replace(one, rule=RuleName("other", "cluster_deleted", "")),
    ):
        assert grouping_key(one) != grouping_key(other)


def test_rule_without_group_by_makes_one_alert_per_record() -> None:
    """A rule without `group_by` makes one alert per record, however close they are in time."""
    first, second = make_match(group=None, realert=timedelta(0)), make_match(make_record(2), group=None)
    assert grouping_key(first) != grouping_key(second)
    assert add(second, open_alert(first, NOON)) == open_alert(second, LATER)


def test_opened_alert_shows_its_match() -> None:
    """An alert shows the texts of its match, and the time of the event, not of reading it."""
    match = make_match(
        make_record(late_by=timedelta(hours=2)),
        labels={"team": "dba"},
        fields=("userName",),
        runbook="do it",
        escalation=Escalation(QUARTER, "pager"),
    )
    alert = open_alert(match, LATER)
    assert alert == Alert(
        id=alert.id,
        rule=match.rule,
        level=Level.HIGH,
        title="Cluster deleted",
        body="eve deleted a cluster",
        source="acme",
        first_at=NOON,
        last_at=NOON,
        opened_at=LATER,
        happened_at=NOON,
        runbook="do it",
        labels={"team": "dba"},
        fields=("userName",),
        group={"userName": "eve"},
        realert=QUARTER,
        late_by=timedelta(hours=2),
        seen_at=NOON,
        escalation=Escalation(QUARTER, "pager"),
        user=match.record.user_name,
        cluster=match.record.cluster.name,
    )


@pytest.mark.parametrize(
    ("distance", "is_joined"),
    [
        (timedelta(0), True),
        (QUARTER, True),
        (-QUARTER, True),
        (QUARTER + EDGE, False),
        (-QUARTER - EDGE, False),
    ],
)
def test_match_joins_within_realert(distance: timedelta, is_joined: bool) -> None:
    """A match joins within `realert` before or after the alert's first record, bounds included."""
    alert = make_alert(realert=QUARTER)
    match = make_match(make_record(occurred_at=NOON + distance))
    assert (add(match, alert).id == alert.id) == is_joined


def test_a_batch_joins_its_own_state_of_an_alert() -> None:
    """The second match of a batch joins the alert as the first one left it, not as the history holds it."""
    ledger = Ledger(Unresolved(make_alert(realert=QUARTER)), LATER)
    ledger.add_all([make_match(make_record(2, minutes=1)), make_match(make_record(3, minutes=2))], ())
    (entry,) = ledger.entries.values()
    assert [alert.count for alert, _ in entry.steps] == [2, 3]


def test_match_joins_the_newest_alert_within_realert() -> None:
    """If two alerts are close enough, the match joins the one that began later, in any order."""
    old, new = make_alert("b", realert=QUARTER), make_alert("a", realert=QUARTER, first_at=NOON + timedelta(minutes=9))
    match = make_match(make_record(minutes=5))
    assert add(match, old, new).id == new.id
    assert add(match, new, old).id == new.id


def test_the_alert_keeps_its_own_realert() -> None:
    """The `realert` of an alert is set when it opens: a changed rule does not extend it."""
    match = make_match(make_record(minutes=20), realert=timedelta(hours=1))
    assert add(match, make_alert(realert=QUARTER)) == open_alert(match, LATER)


def test_join_updates_the_alert() -> None:
    """A join counts, raises the level, moves the end, keeps the longest delay, and never moves the beginning."""
    alert = open_alert(make_match(level=Level.LOW), NOON)
    late = make_match(make_record(2, minutes=9, late_by=timedelta(hours=1)), level=Level.CRITICAL, title="other")
    joined = add(late, alert)
    assert joined == structs.replace(
        alert, count=2, level=Level.CRITICAL, last_at=NOON + timedelta(minutes=9), late_by=timedelta(hours=1)
    )
    earlier = add(make_match(make_record(3, minutes=-9), level=Level.LOW), joined)
    assert earlier == structs.replace(joined, count=3)
    for delay, longest in ((timedelta(minutes=5), timedelta(hours=1)), (timedelta(hours=2), timedelta(hours=2))):
        assert add(make_match(make_record(4, late_by=delay)), joined).late_by == longest


@given(st.lists(st.integers(-15, 15), max_size=12), st.randoms())
def test_the_order_of_joins_does_not_matter(minutes: list[int], random: Random) -> None:
    """An alert is the same after all its matches, in any order."""
    matches = [make_match(make_record(n, minutes=at), level=Level(n % 5)) for n, at in enumerate(minutes)]
    shuffled = list(matches)
    random.shuffle(shuffled)
    one = other = make_alert(realert=QUARTER)
    for match in matches:
        one = add(match, one)
    for match in shuffled:
        other = add(match, other)
    assert one == other
