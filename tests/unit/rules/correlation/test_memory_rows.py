"""Rows in memory: each hit once and in order, and a replay of a long stream holds few of them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec import structs

from actionwatch.base.model import CorrelatedAlert, Group, Hit, RuleName
from actionwatch.rules.correlations import memory_rows
from actionwatch.rules.correlations.context import StreamBounds
from actionwatch.rules.correlations.correlator import Correlator
from actionwatch.rules.correlations.evaluate import AFTER_ALL
from actionwatch.rules.correlations.memory_rows import MemoryRows
from actionwatch.rules.correlations.sources import VerifiedTime
from actionwatch.rules.model import CorrelationType, Threshold
from tests.unit.rules.correlation.kit import MINUTE, START, at, hit, make, minutes, objects_held, record_at
from tests.unit.rules.correlation.live import ALL

COUNT = make(threshold=Threshold("gte", 2))
GROUP: Group = ()


def rows_of(*minutes: float) -> MemoryRows:
    """Make the rows of a rule, with hits."""
    rows = MemoryRows([COUNT])
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
    known = CorrelatedAlert(name, "id", group, name, at(minute), at(minute), at(minute + 10))
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
    """A hit replaces the same hit from backlog; backlog never replaces a hit."""
    for first, second, is_replaced in (
        (backlog(5), hit(5), True),
        (hit(5), backlog(5), False),
        (backlog(5), backlog(5), False),
    ):
        rows = MemoryRows([COUNT])
        add(rows, 0, first, second)
        assert list(rows.hits.since(0, GROUP, START)) == [second if is_replaced else first]


def test_a_hit_is_found_before_a_place() -> None:
    """The newest hit before a place is found, of any step or of one."""
    rows = rows_of(1)
    add(rows, 0, hit(2, 1), hit(3, 0), hit(4, 1))
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


def test_a_replay_of_a_long_stream_holds_few_hits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What no later hit can be counted with is forgotten: hits, alerts, and which records alerts hold."""
    monkeypatch.setattr(memory_rows, "_FEW", 200)
    correlator = Correlator(ALL, StreamBounds(begin=lambda *_: START))
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
    """Alerts that are open, wait, or can be joined stay; those that are over or lost leave with their records."""
    monkeypatch.setattr(memory_rows, "_FEW", 0)
    rows = rows_of(0)
    known = [
        alert("over", 1),
        alert("lost", 990, is_current=False),
        alert("open", 1, is_open=True),
        alert("waits", 1, pending_at=at(5_000)),
        alert("joined", 985),
    ]
    rows.alerts.put(0, known)
    add(rows, 0, *[hit(1_000)] * 3)
    rows.forget_before(at(1_000) + timedelta(microseconds=1))
    assert {each.id for each in rows.alerts} == {"open", "waits", "joined"}
