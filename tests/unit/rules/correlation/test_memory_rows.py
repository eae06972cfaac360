"""Rows in memory: each hit once and in order, and a replay of a long stream holds few of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest
from msgspec import structs

from actionwatch.base.model import CorrelatedAlert, Group, Hit, RuleName
from actionwatch.rules.alert import AlertBlock
from actionwatch.rules.correlations import memory_rows
from actionwatch.rules.correlations.context import StreamBounds
from actionwatch.rules.correlations.correlator import Correlator
from actionwatch.rules.correlations.evaluate import AFTER_ALL
from actionwatch.rules.correlations.memory_rows import MemoryRows
from actionwatch.rules.correlations.sources import VerifiedTime
from actionwatch.rules.model import CorrelationType, Rule, Threshold
from tests.unit.rules.correlation.kit import MINUTE, START, at, hit, make, minutes, objects_held, record_at
from tests.unit.rules.correlation.live import ALL, NESTED

COUNT = make(threshold=Threshold("gte", 2))
MERGED = make(
    name=RuleName("merged", "merged", "M"),
    threshold=Threshold("gte", 1),
    group_by=("userName",),
    alert=AlertBlock(group_by=()),
)
GROUP: Group = ()


def rows_of(*minutes: float) -> MemoryRows:
    """Make the rows of two rules, with hits of the first."""
    rows = MemoryRows([COUNT, MERGED])
    add(rows, 0, *map(hit, minutes))
    return rows


def add(rows: MemoryRows, number: int, *hits: Hit) -> None:
    """Add hits to the group of a rule, one after another."""
    for each in hits:
        rows.hits.add({number: {GROUP: [each]}})


def held(rows: MemoryRows, minute: float = -1) -> list[float]:
    """Return the minutes of the hits of the group from a minute on."""
    return [(each.at - at(0)) / MINUTE for each in rows.hits.since(0, GROUP, at(minute))]


def backlog(minute: float) -> Hit:
    """Make the hit of a record that may not alert."""
    plain = hit(minute)
    return structs.replace(plain, records=tuple(structs.replace(each, is_backlog=True) for each in plain.records))


def alert(name: str, minute: float, group: Group = GROUP, **more: object) -> CorrelatedAlert:
    """Make an alert that fired at a minute."""
    known = CorrelatedAlert(name, "id", group, name, at(minute), at(minute), at(minute + 10), leader=name)
    for field, value in more.items():
        setattr(known, field, value)
    return known


def test_hits_are_kept_once_and_in_order() -> None:
    """Hits come in any order, and each counts once."""
    rows = rows_of(5, 30, 2, 31, 5, 2)
    assert held(rows) == [2, 5, 30, 31]
    assert held(rows, 5) == [5, 30, 31]
    assert held(rows, 31.1) == []


def test_a_record_that_may_alert_replaces_backlog() -> None:
    """A hit replaces the same hit from backlog; backlog never replaces a hit, and a hit without records is no backlog."""
    for first, second, is_replaced in (
        (backlog(5), hit(5), True),
        (hit(5), backlog(5), False),
        (backlog(5), backlog(5), False),
        (structs.replace(hit(5), records=()), hit(5), False),
        (structs.replace(hit(5), records=(*backlog(5).records, *hit(5).records)), hit(5), False),
    ):
        rows = MemoryRows([COUNT])
        add(rows, 0, first, second)
        assert list(rows.hits.since(0, GROUP, START)) == [second if is_replaced else first]


def test_a_hit_of_an_inner_alert_is_replaced_and_removed() -> None:
    """The hit at a place is replaced by one with other records; to remove one that is not there changes nothing."""
    rows = rows_of(1, 3)
    rows.hits.replace(0, GROUP, hit(2))
    rows.hits.replace(0, GROUP, structs.replace(hit(2), records=()))
    rows.hits.remove(0, GROUP, hit(2.5).order)
    assert [len(each.records) for each in rows.hits.since(0, GROUP, START)] == [1, 0, 1]
    rows.hits.remove(0, GROUP, hit(2).order)
    rows.hits.remove(0, GROUP, hit(9).order)
    assert held(rows) == [1, 3]


def test_a_hit_is_found_at_its_place_and_before_one() -> None:
    """The newest hit before a place is found, of any step or of one."""
    rows = rows_of(1)
    add(rows, 0, hit(2, 1), hit(3, 0), hit(4, 1))
    assert rows.hits.at(0, GROUP, hit(3).order) == hit(3)
    assert rows.hits.at(0, GROUP, hit(3, 1).order) is None
    assert rows.hits.before(0, GROUP, hit(4, 1).order) == hit(3)
    assert rows.hits.before(0, GROUP, hit(4, 1).order, 1) == hit(2, 1)
    assert rows.hits.before(0, GROUP, AFTER_ALL) == hit(4, 1)
    assert rows.hits.before(0, GROUP, hit(1).order) is None
    assert rows.hits.before(0, ("other",), AFTER_ALL) is None
    assert rows.hits.before(0, GROUP, AFTER_ALL, 0, at(3)) == hit(3)
    assert rows.hits.before(0, GROUP, AFTER_ALL, 0, at(3.1)) is None


def test_alerts_are_found_from_the_last_current_one_on() -> None:
    """The alerts of a group from a time on come with the last one before that is current, and those between."""
    rows = rows_of()
    known = [alert("a", 1), alert("b", 20), alert("c", 25, is_current=False), alert("d", 30)]
    rows.alerts.put(0, known)
    assert [each.id for each in rows.alerts.since(0, GROUP, at(26))] == ["b", "c", "d"]
    assert [each.id for each in rows.alerts.since(0, GROUP, at(30))] == ["b", "c", "d"]
    assert [each.id for each in rows.alerts.since(0, GROUP, at(20))] == ["a", "b", "c", "d"]
    assert rows.alerts.since(0, ("other",), at(0)) == []
    rows.alerts.put(0, [alert("a", 99)])
    assert rows.alerts.by_id(["a", "unknown"]) == {"a": known[0]}, "there is one object of each alert"
    rows.alerts.drop(["d"])
    assert [each.id for each in rows.alerts] == ["a", "b", "c"]


def test_alerts_are_due_once_their_time_is_verified() -> None:
    """An alert is due once, by time, and not if it no longer waits or was dropped."""
    rows = rows_of()
    known = [alert(name, 1, pending_at=at(minute)) for name, minute in (("a", 30), ("b", 20), ("c", 25), ("d", 10))]
    rows.alerts.put(0, known)
    for each in known:
        assert each.pending_at is not None
        rows.alerts.wait(each, each.pending_at)
    rows.alerts.drop(["d"])
    known[2].pending_at = None
    assert [each.id for _, each in rows.alerts.due(VerifiedTime(at(19)))] == []
    assert [each.id for _, each in rows.alerts.due(VerifiedTime(at(29)))] == ["b"]
    assert [each.id for _, each in rows.alerts.due(VerifiedTime(at(30)))] == ["a"]
    assert rows.alerts.due(VerifiedTime(at(1000))) == []


def test_groups_that_share_an_alert_are_known_together() -> None:
    """The current alerts of all groups that share one, and those that wait for another, without those that were dropped."""
    rows = rows_of()
    known = [alert("a", 1, ("eve",)), alert("b", 2, ("bob",), is_held=True), alert("c", 3, ("sam",), is_current=False)]
    rows.alerts.put(1, known)
    assert {each.id for each in rows.alerts.sharing(1, (), at(0))} == {"a", "b"}
    assert [each.id for each in rows.alerts.held(1, ())] == ["b"]
    rows.alerts.drop(["b"])
    assert {each.id for each in rows.alerts.sharing(1, (), at(0))} == {"a"}
    assert rows.alerts.held(1, ()) == []


@pytest.mark.parametrize(
    ("minute", "names"), [(29.9, "abcde"), (30, "abcde"), (30.1, "cde"), (31, "cde"), (41, "cde"), (0.5, "abcde")]
)
def test_shared_alerts_are_found_from_the_leader_of_the_last_one_on(minute: float, names: str) -> None:
    """Those before its leader do not matter; one that has no leader yet is led by nobody."""
    rows = rows_of()
    for name, leader, fired in (("a", "a", 1), ("b", "a", 2), ("c", "c", 30), ("d", "c", 31), ("e", None, 40)):
        rows.alerts.put(1, [alert(name, fired, (name,), leader=leader)])
    assert "".join(sorted(each.id for each in rows.alerts.sharing(1, (), at(minute)))) == names


@pytest.mark.parametrize("rules", [ALL, NESTED], ids=["all kinds", "rules over rules"])
def test_a_replay_of_a_long_stream_holds_few_hits(rules: Sequence[Rule], monkeypatch: pytest.MonkeyPatch) -> None:
    """What no later hit can be counted with is forgotten: hits, alerts, shared alerts, and which records alerts hold."""
    monkeypatch.setattr(memory_rows, "_FEW", 200)
    correlator = Correlator(rules, StreamBounds(begin=lambda *_: START))
    rows = MemoryRows(correlator.rules)
    kinds = ("BACKUP", "CREATE_CLUSTER", "BACKUP", "DELETE_CLUSTER")
    sizes = []
    for number in range(3_000):
        moment = number / 2
        users = ("eve", "bob", f"u{number:04}")
        made = record_at(
            moment, kinds[number % 4], user=users[number % 3], cluster="xy"[number % 2], key=f"{number:04}"
        )
        rows.records.hold(correlator.take_hits(rows, correlator.hits([made]), VerifiedTime(at(moment))))
        rows.forget_before(at(moment))
        if number % 500 == 499:
            sizes.append(objects_held(rows))
    greatest = [max(size[name] for size in sizes[1:]) for name in ("Hit", "CorrelatedAlert", "list")]
    assert greatest[0] < 1_500, "of about 30,000"
    assert greatest[1] < 300
    assert greatest[2] < 700
    assert [
        sizes[-1][name] <= 1.5 * sizes[3][name] + 50 for name in ("Hit", "CorrelatedAlert", "list", "set", "str")
    ] == [True] * 5


def test_what_a_later_hit_is_counted_with_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window keeps its hits, that instant included; an absence and a new term keep the one hit that they remember."""
    monkeypatch.setattr(memory_rows, "_FEW", 0)
    absence = make(name=RuleName("absence", "b", "B"), threshold=Threshold("lt", 1), expected=((),))
    term = make(CorrelationType.NEW_TERM, steps=2, timespan=0 * MINUTE, history=20 * MINUTE)
    rows = MemoryRows([COUNT, absence, term])
    for minute in range(0, 100, 10):
        add(rows, 0, hit(minute))
        add(rows, 1, hit(minute))
        add(rows, 2, hit(minute, minute // 10 % 2))
    assert rows.forget_before(at(60))
    assert held(rows) == [50, 60, 70, 80, 90]
    assert [minutes(each.at) for each in rows.hits.since(1, GROUP, START)] == [50, 60, 70, 80, 90]
    assert [minutes(each.at) for each in rows.hits.since(2, GROUP, START)] == [40, 50, 60, 70, 80, 90]
    assert not rows.forget_before(at(500)), "less than half of it is over"
    rows.hits.forget_before(at(500))
    assert [[minutes(each.at) for each in rows.hits.since(number, GROUP, START)] for number in range(3)] == [
        [],
        [90],
        [],
    ]


def test_an_alert_that_can_still_change_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Alerts that are open, wait, are held, or can be joined stay; those that are over or lost leave with their records."""
    monkeypatch.setattr(memory_rows, "_FEW", 0)
    rows = rows_of(0)
    known = [
        alert("over", 1),
        alert("lost", 990, is_current=False),
        alert("open", 1, is_open=True),
        alert("waits", 1, pending_at=at(5_000)),
        alert("held", 1, is_held=True),
        alert("joined", 985),
    ]
    rows.alerts.put(0, known)
    add(rows, 0, *[hit(1_000)] * 3)
    rows.forget_before(at(1_000) + timedelta(microseconds=1))
    assert {each.id for each in rows.alerts} == {"open", "waits", "held", "joined"}


def test_a_missing_group_is_known_as_long_as_the_alert_that_it_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group that is back may be missing again while the shared alert is open, and joins it then."""
    monkeypatch.setattr(memory_rows, "_FEW", 0)
    absence = make(
        name=RuleName("absence", "b", "B"),
        threshold=Threshold("lt", 1),
        group_by=("userName",),
        expected=(("eve",), ("bob",)),
        alert=AlertBlock(group_by=()),
    )
    rows = MemoryRows([absence])
    leader, back = alert("a", 1, ("eve",)), alert("b", 2, ("bob",), leader="a", back_at=at(12))
    rows.alerts.put(0, [leader, back])
    rows.alerts.forget_before(at(5_000))
    assert {each.id for each in rows.alerts} == {"a", "b"}
    leader.back_at = at(5_000)
    rows.alerts.forget_before(at(9_000))
    assert not list(rows.alerts)
