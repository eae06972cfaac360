"""Matches become alerts: ids from rule, group and record alone; joining within `realert` of the first record."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from actionwatch.alerts.grouping import alert_to_join, grouping_key, join, open_alert, stable_id
from actionwatch.base.model import Alert, Level, RuleName
from tests.builders import NOON, QUARTER, make_alert, make_match, make_record

EDGE = timedelta(microseconds=1)
LATER = NOON + timedelta(hours=1)


def test_ids_are_forever() -> None:
    """An id is the one that earlier versions gave, so that nobody is told twice after an update."""
    match = make_match(make_record(7))
    assert stable_id("a", "b") == "d13270b6-621d-5e54-9625-c7632b295b3c"
    assert open_alert(match, NOON).id == open_alert(match, LATER).id


def test_parts_do_not_run_together() -> None:
    """Two lists of parts that read the same when joined give two ids."""
    assert stable_id("a", "bc") != stable_id("ab", "c")
    assert stable_id("a", "") != stable_id("a")
    assert stable_id('a","b') != stable_id("a", "b")
    assert stable_id("\ud800") != stable_id("\ud801")


def test_grouping_key() -> None:
    """Records share a key exactly where rule and group values are the same, in whatever order the fields stand."""
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


def test_without_group_each_record_stands_alone() -> None:
    """A rule without `group_by` makes one alert per record, however near the next one is."""
    first, second = make_match(group=None, realert=timedelta(0)), make_match(make_record(2), group=None)
    assert grouping_key(first) != grouping_key(second)
    assert alert_to_join(first, [open_alert(first, NOON)]) is None


def test_open_alert() -> None:
    """An alert says what its match says, and when it happened, not when we saw it."""
    match = make_match(
        make_record(late_by=timedelta(hours=2)), labels={"team": "dba"}, fields=("userName",), runbook="do it"
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
def test_reach(distance: timedelta, is_joined: bool) -> None:
    """A match joins within `realert` of the alert's first record, either side, the bounds included."""
    alert = make_alert(realert=QUARTER)
    match = make_match(make_record(occurred_at=NOON + distance))
    assert (alert_to_join(match, [alert]) is alert) == is_joined


def test_newest_alert_wins() -> None:
    """Where two alerts are near enough, the one that began later is joined, whatever their order."""
    old, new = make_alert("b", realert=QUARTER), make_alert("a", realert=QUARTER, first_at=NOON + timedelta(minutes=9))
    match = make_match(make_record(minutes=5))
    assert alert_to_join(match, [old, new]) is new
    assert alert_to_join(match, [new, old]) is new


def test_the_alert_keeps_its_own_realert() -> None:
    """How far an alert reaches was settled when it opened: a changed rule does not stretch it."""
    match = make_match(make_record(minutes=20), realert=timedelta(hours=1))
    assert alert_to_join(match, [make_alert(realert=QUARTER)]) is None


def test_join() -> None:
    """Joining counts, lifts the level, moves the end, keeps the longest delay, and never moves the beginning."""
    alert = open_alert(make_match(level=Level.LOW), NOON)
    late = make_match(make_record(2, minutes=9, late_by=timedelta(hours=1)), level=Level.CRITICAL, title="other")
    joined = join(alert, late)
    assert joined == structs.replace(
        alert, count=2, level=Level.CRITICAL, last_at=NOON + timedelta(minutes=9), late_by=timedelta(hours=1)
    )
    earlier = join(joined, make_match(make_record(3, minutes=-9), level=Level.LOW))
    assert earlier == structs.replace(joined, count=3)
    for delay, longest in ((timedelta(minutes=5), timedelta(hours=1)), (timedelta(hours=2), timedelta(hours=2))):
        assert join(joined, make_match(make_record(4, late_by=delay))).late_by == longest


@given(st.lists(st.integers(-15, 15), max_size=12), st.randoms())
def test_joining_forgets_the_order(minutes: list[int], random: Random) -> None:
    """What an alert says after all its matches does not hang on their order."""
    matches = [make_match(make_record(n, minutes=at), level=Level(n % 5)) for n, at in enumerate(minutes)]
    shuffled = list(matches)
    random.shuffle(shuffled)
    one = other = make_alert(realert=QUARTER)
    for match in matches:
        one = join(one, match)
    for match in shuffled:
        other = join(other, match)
    assert one == other
