"""Sweeps over older windows: what came late, what is gone, what is back, and how often they ask."""

from __future__ import annotations

from datetime import timedelta

import pytest

from actionwatch.pipeline.people import People
from actionwatch.store import records, troubles
from actionwatch.store.database import Database
from tests.integration.tail.test_tail import HOUR, Bench, bench
from tests.upstreams import SOURCE, World, addressing, open_troubles

SWEEPS = (HOUR, 6 * HOUR)
OVERLAP = timedelta(minutes=5)


def seven_hours(world: World, database: Database, *faults: str) -> Bench:
    """Set a tail on a log of seven hours, and poll until both sweeps were asked."""
    for number in range(84):
        world.log("ADD_NODE" if number % 12 == 5 else "BACKUP", ago=300 * number + 20)
    on = bench(world, database, *faults, start=8 * HOUR, alert_backlog=True, overlap=OVERLAP, sweeps=SWEEPS)
    on.poll()
    on.poll()
    return on


def vanished(on: Bench) -> int:
    """Count the records that are marked as gone."""
    with on.database.read() as connection:
        return records.count_vanished(connection, SOURCE, on.marks().begins_at)


@pytest.mark.parametrize(
    "faults", ["", "counts:absent", "total:absent", "total:absent counts:absent", "bounds:exclusive"]
)
@pytest.mark.parametrize("hours", [0.5, 3])
def test_late_record_is_found(world: World, database: Database, faults: str, hours: float) -> None:
    """A record that came hours late stays unknown, though a sweep reaches as far."""
    on = seven_hours(world, database, *faults.split())
    world.log(ago=hours * 3600 + 7, description="late")
    for _ in range(5):
        world.log()
        on.poll(600)
    assert on.is_complete()
    assert [record.description for record in on.records() if record.late_by] == ["late"]


def test_sweeps_ask_only_when_due(world: World, database: Database) -> None:
    """A sweep asks more often than every tenth of its reach, more than one request each, or never."""
    on = seven_hours(world, database)
    asked = [on.poll(60).request_count for _ in range(72)]
    # 72 minutes: the hour's sweep each six minutes, that of six hours each 36.
    assert sum(asked) - len(asked) == 72 // 6 + 72 // 36
    assert max(asked) <= 3


def test_a_person_ends_what_vanished(world: World, database: Database) -> None:
    """Records that stay gone are told of for ever, or again after a person has looked into it."""
    on = seven_hours(world, database)
    world.faults.add("vanish:0s,kind=ADD_NODE")
    for _ in range(8):
        on.poll(400)
    with database.read() as connection:
        (opened,) = troubles.read_all(connection)
    People(database, addressing(), on.world.clock).resolve(opened.alert_id, "sam")
    for _ in range(3):
        on.poll(400)
    assert open_troubles(database) == []


def test_vanished_and_back(world: World, database: Database) -> None:
    """Records that disappear upstream go unnoticed, are told of twice, leave the store, or are not forgiven when back."""
    on = seven_hours(world, database)
    held = len(on.records())
    stages = world.emulator.stages
    world.faults.add("vanish:0s,kind=ADD_NODE")
    for _ in range(8):
        on.poll(400)
    assert vanished(on) == 7
    assert open_troubles(database) == ["window_shrunk"]
    assert len(on.records()) == held
    assert world.emulator.stages is stages
    world.faults.clear()
    for number in range(84):
        if number % 12 == 5:
            world.organisation.append(
                "ADD_NODE",
                at=on.world.clock() - timedelta(seconds=300 * number + 20 + 60 + 3200),
                description=f"action {number + 1}",
            )
    for _ in range(8):
        on.poll(400)
    assert vanished(on) == 0
    assert open_troubles(database) == []


def test_one_gone_while_another_is_back(world: World, database: Database) -> None:
    """A record that disappears as another one returns is passed over: as many as before were counted."""
    on = seven_hours(world, database)
    world.log("RESTORE", ago=1000, description="first")
    first_at = world.clock() - timedelta(seconds=1000)
    world.log("BACKUP", ago=1010, description="second")
    for _ in range(3):
        on.poll(400)
    world.faults.add("vanish:0s,kind=RESTORE")
    for _ in range(3):
        on.poll(400)
    assert vanished(on) == 1
    world.faults.clear()
    world.organisation.append("RESTORE", at=first_at, description="first")
    world.faults.add("vanish:0s,keyword=second")
    for _ in range(3):
        on.poll(400)
    with database.read() as connection:
        rows = connection.exec_driver_sql("SELECT description FROM record WHERE vanished_at IS NOT NULL").all()
    assert [row[0] for row in rows] == ["second"]
