"""The service with its store and `rules test` with a dict open, join and resolve the same alerts."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import count, groupby
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from actionwatch.alerts.ledger import Ledger, LedgerEntry, grouping_key, resolve
from actionwatch.base.model import Alert, AlertChange, ChangeKind, CorrelatedAlert, Entity, Match, Record, Status
from actionwatch.matching import ledger_store
from actionwatch.rules.case_runner import SimulationResult
from actionwatch.service.simulation import simulate
from actionwatch.store import alerts, records
from actionwatch.store.database import Database
from tests.builders import NOON, QUARTER, RULE, make_alert, make_match, make_record, open_database
from tests.integration.kit import Post
from tests.integration.matching.test_correlation import matcher, rules_of, see
from tests.statements import GRAIN, steps, undone
from tests.unit.rules.correlation.live import RULES

MINUTE = timedelta(minutes=1)
JUST_BEFORE = timedelta(microseconds=1)
END = NOON + timedelta(hours=20)
PLAIN = """
name: single
title: single
logsource: {product: instaclustr}
detection: {s: {actionKind: CREATE_CLUSTER}, condition: s}
alert: {level: {high: {userName: eve}}}
---
name: grouped
title: grouped
logsource: {product: instaclustr}
detection: {s: {actionKind: BACKUP}, condition: s}
alert: {group_by: [userName], realert: 20m, level: {critical: {clusterId: x}}}
---
"""


@pytest.mark.parametrize("seed", range(2))
def test_service_and_simulation_give_the_same_alerts(tmp_path: Path, seed: int) -> None:
    """The service and a simulation create the same alerts from the same records, including late ones."""
    chance = random.Random(seed)
    loaded, stored = rules_of(PLAIN + RULES), _stream(chance)
    post = Post(open_database(tmp_path))
    see(post.database, NOON)
    step = matcher(post, loaded)
    for seen_at, together in groupby(stored, key=lambda record: record.seen_at):
        post.clock.now = seen_at
        see(post.database, seen_at - JUST_BEFORE)
        step.run_once()
        post.store(*together)
        step.run_once()
        see(post.database, seen_at)
        step.run_once()
    see(post.database, END)
    step.run_once()
    plain = simulate(loaded, stored, begin=NOON, start=NOON, until=END, verified_until=END)
    served, simulated = _stored(post.database), _simulated(plain)
    post.database.close()
    for alert_id in served.keys() | simulated.keys():
        assert served.get(alert_id) == simulated.get(alert_id)


def _stream(chance: random.Random) -> Sequence[Record]:
    """Make some hours of records in the order of their arrival, a third of them late."""
    at, stored = NOON, []
    for number in range(80):
        at += timedelta(seconds=chance.choice([0, 20, 40, 60, 90, 120, 300, 900]))
        late = chance.choice([0, 0, 3, 25]) * MINUTE
        stored.append(
            make_record(
                number,
                occurred_at=at - late if at - late > NOON else at,
                seen_at=at,
                late_by=late or None,
                action_kind=chance.choice(["BACKUP", "BACKUP", "CREATE_CLUSTER", "DELETE_CLUSTER"]),
                user_name=chance.choice(["eve", "eve", "bob"]),
                cluster=Entity(chance.choice(["x", "y"])),
            )
        )
    return sorted(stored, key=lambda record: (record.seen_at, record.occurred_at, record.key))


def _stored(database: Database) -> dict[str, tuple[object, ...]]:
    with database.read() as connection:
        found = alerts.read_newest(connection, 10_000)
        held = records.read_of_alerts(connection, [alert.id for alert in found], 10_000)
    return {
        alert.id: (
            alert.rule.name, dict(alert.group or {}), alert.title, alert.body, alert.level, alert.count, alert.first_at,
            alert.last_at, alert.late_by, alert.resolved_at, [record.key for record in held[alert.id]],
        )
        for alert in found
    }  # fmt: skip


def _simulated(outcome: SimulationResult) -> dict[str, tuple[object, ...]]:
    return {
        alert.id: (
            alert.rule.name, dict(alert.group or {}), alert.title, alert.body, alert.level, alert.count, alert.first_at,
            alert.last_at, alert.late_by, alert.resolved_at, [record.key for record in outcome.records[alert.id]],
        )
        for alert in outcome.alerts
    }  # fmt: skip


class EveryAlert:
    """A history that returns every unresolved alert of a group, however long ago it was."""

    def __init__(self) -> None:
        self.alerts: dict[str, Alert] = {}
        self.group_keys: dict[str, str] = {}

    def unresolved(self, group_key: str, _at: datetime) -> Iterable[Alert]:
        """Return the unresolved alerts of a group."""
        its = (self.alerts[alert_id] for alert_id, key in self.group_keys.items() if key == group_key)
        return [alert for alert in its if alert.status is not Status.RESOLVED]

    def alert(self, alert_id: str) -> Alert | None:
        """Return an alert by its id."""
        return self.alerts.get(alert_id)

    def save(self, entries: Iterable[LedgerEntry]) -> None:
        """Save the alerts that a batch opened or changed, as the store does: without their escalation."""
        for entry in entries:
            self.alerts[entry.alert.id] = entry.alert
            if entry.group_key is not None:
                self.group_keys[entry.alert.id] = entry.group_key


MOMENTS = st.one_of(st.integers(-5, 5), st.integers(-60, 60), st.integers(-3000, 3000)).map(lambda n: n * 5 * MINUTE)
REALERTS = st.sampled_from([timedelta(0), QUARTER, QUARTER, 60 * MINUTE, timedelta(days=7)])
MATCHES = st.lists(st.tuples(MOMENTS, st.sampled_from(["eve", "eve", "bob", None]), REALERTS), max_size=12)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(MATCHES, min_size=1, max_size=4), st.data())
def test_alerts_that_a_match_cannot_join_make_no_difference(
    post: Post, drawn: list[list[tuple[timedelta, str | None, timedelta]]], data: st.DataObject
) -> None:
    """The store's ledger decides as one that knows all alerts: for late records, changed rules, alerts that ended or grew."""
    everything, numbers = EveryAlert(), count(1)
    with undone(post.database) as connection:
        for batch in drawn:
            matches = [_match(next(numbers), *each) for each in batch]
            changes = [_earlier(data, next(numbers), alert) for alert in _some(data, everything)]
            ledger = Ledger(everything, END, lambda _: ["acme"])
            ledger.add_all(matches, changes)
            everything.save(ledger.entries.values())
            ledger_store.add(connection, matches, changes, post.addressing, END, lambda _: ["acme"])
            assert alerts.read_many(connection, everything.alerts) == everything.alerts
            for alert in _some(data, everything):
                everything.alerts[alert.id] = resolve(alert, "eve", END)
                alerts.update(connection, everything.alerts[alert.id])


def _match(number: int, at: timedelta, user: str | None, realert: timedelta) -> Match:
    group = {"userName": user} if user else None
    return make_match(make_record(number, id=number, occurred_at=NOON + at), group=group, realert=realert)


def _some(data: st.DataObject, everything: EveryAlert) -> list[Alert]:
    found = sorted(everything.alerts.values(), key=lambda alert: alert.id)
    return data.draw(st.lists(st.sampled_from(found), max_size=2, unique_by=lambda each: each.id)) if found else []


def _earlier(data: st.DataObject, number: int, alert: Alert) -> AlertChange:
    """Make the change of a correlation that adds a record to an alert, which then begins with it if that is earlier."""
    known = CorrelatedAlert(alert.id, RULE.id, (), "k", alert.first_at, alert.first_at, alert.first_at)
    record = make_record(number, id=number, occurred_at=alert.first_at + data.draw(MOMENTS))
    return AlertChange(ChangeKind.JOIN, known, record.occurred_at, records=(record,), level=alert.level)


def test_a_match_reads_only_alerts_that_it_may_join(tmp_path: Path) -> None:
    """A match costs the same in a group with thousands of open alerts, even if one record of the batch is a day late."""
    few, many = (_steps_of_matches(open_database(tmp_path, f"{size}.db"), size) for size in (200, 4000))
    assert few[0] <= many[0] <= 1.5 * few[0] + 10 * GRAIN, (few, many)
    assert few[1] <= many[1] <= 1.5 * few[1] + 10 * GRAIN, (few, many)


def _steps_of_matches(database: Database, open_count: int) -> tuple[int, int]:
    """Return the steps for a match in a group that opened an alert in each quarter; alone, and with a late one of another."""
    key, post = grouping_key(make_match()), Post(database)
    opened = (make_alert(f"{number:05}", realert=QUARTER) for number in range(open_count))
    its = [replace(each, first_at=NOON - number * QUARTER) for number, each in enumerate(opened)]
    with database.write() as connection:
        alerts.insert_new(connection, [(alert, key) for alert in its])
    new, late = _match(1, MINUTE, "eve", QUARTER), _match(2, timedelta(days=-1), "bob", QUARTER)
    add = partial(ledger_store.add, changes=[], addressing=post.addressing, now=NOON, sources=lambda _: ["acme"])
    alone, together = (steps(database, partial(add, matches=each)) for each in ([new], [new, late]))
    database.close()
    return alone, together
