"""The service with its store and `rules test` with a dict open, join and resolve the same alerts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta
from itertools import groupby
from pathlib import Path

import pytest

from actionwatch.base.model import Entity, Record
from actionwatch.rules.case_runner import SimulationResult
from actionwatch.service.simulation import simulate
from actionwatch.store import alerts, records
from actionwatch.store.database import Database
from tests.builders import NOON, make_record, open_database
from tests.integration.kit import Post
from tests.integration.matching.test_correlation import matcher, rules_of, see
from tests.unit.rules.correlation.live import NESTED_RULES, RULES

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


@pytest.mark.parametrize("rules", [PLAIN + RULES, NESTED_RULES], ids=["all kinds", "rules over rules"])
@pytest.mark.parametrize("seed", range(2))
def test_service_and_simulation_give_the_same_alerts(tmp_path: Path, rules: str, seed: int) -> None:
    """The service and a simulation create the same alerts from the same records, including late ones."""
    chance = random.Random(seed)
    loaded, stored = rules_of(rules), _stream(chance)
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
