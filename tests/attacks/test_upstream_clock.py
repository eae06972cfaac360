"""An upstream whose `Date` and records have a wrong time, for a few seconds or permanently."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from actionwatch.store import marks, receipts
from actionwatch.store.database import Database
from actionwatch.tail.state import ALLOWED_SKEW
from tests.integration.tail.test_tail import Bench, bench
from tests.upstreams import SOURCE, World, open_troubles

HOUR = timedelta(hours=1)
CENTURIES_AHEAD = "27000d"


def assert_no_mark_is_ahead(on: Bench) -> None:
    """Fail if a mark or a receipt is later than our clock confirms."""
    most = on.world.clock() + ALLOWED_SKEW
    assert all(getattr(on.marks(), name) <= most for name in marks.TIMES)
    with on.database.read() as connection:
        assert all(receipt.ends_at <= most for receipt in receipts.stream(connection, SOURCE))


@pytest.mark.parametrize("start", ["now", timedelta(hours=2)])
@pytest.mark.parametrize("ahead", ["10m", "1h", CENTURIES_AHEAD])
def test_upstream_ahead_for_one_poll_hides_no_later_record(
    world: World, database: Database, ahead: str, start: str | timedelta
) -> None:
    """After one response from the future, with a record of that time, later records are read, also after a restart."""
    on = bench(world, database, start=start)
    on.poll()
    world.faults.set(f"clock:{ahead}")
    world.log(ago=-600)
    on.poll()
    assert_no_mark_is_ahead(on)
    assert "clock_skew" in open_troubles(database)
    world.faults.clear()
    world.log()
    on.poll()
    assert on.is_complete()
    again = bench(world, database, start=start)
    world.log()
    again.poll()
    assert again.is_complete()
    assert open_troubles(database) == []


@pytest.mark.parametrize("ahead", ["3m", "1h", CENTURIES_AHEAD])
def test_source_that_begins_in_the_future_hides_no_record(world: World, database: Database, ahead: str) -> None:
    """If the first response is from the future, the source still reads all later records."""
    on = bench(world, database, f"clock:{ahead}")
    on.poll()
    assert_no_mark_is_ahead(on)
    world.faults.clear()
    for _ in range(3):
        world.log()
        on.poll()
    assert on.is_complete()


@pytest.mark.parametrize("behind", ["-1h", "-27000d"])
def test_upstream_far_behind_hides_no_new_record(world: World, database: Database, behind: str) -> None:
    """If the upstream's clock is far behind, new records are still inside the windows."""
    on = bench(world, database, start=HOUR)
    on.poll()
    world.faults.set(f"clock:{behind}")
    for _ in range(3):
        world.log()
        on.poll()
        assert on.is_complete()
    assert "clock_skew" in open_troubles(database)


def test_upstream_that_is_always_ahead_does_not_advance_the_marks(world: World, database: Database) -> None:
    """The marks do not move further ahead with each poll."""
    on = bench(world, database, f"clock:{CENTURIES_AHEAD}", start=HOUR)
    for number in range(12):
        world.log(ago=-290 - 10 * number)
        on.poll()
        assert_no_mark_is_ahead(on)


@pytest.mark.parametrize("ahead", [HOUR, timedelta(days=27_000)])
@pytest.mark.parametrize("has_receipts", [True, False])
def test_stored_mark_in_the_future_hides_no_record(
    world: World, database: Database, ahead: timedelta, has_receipts: bool
) -> None:
    """A source whose stored marks are in the future reads all records, and does not count as proved until then."""
    on = bench(world, database, start=HOUR)
    world.log()
    on.poll()
    begun = on.marks()
    with database.write() as connection:
        move_marks(on, begun.proved_through + ahead, connection)
        if not has_receipts:
            receipts.delete_older(connection, world.clock() + HOUR, 1000)
        else:
            (newest,) = receipts.stream(connection, SOURCE, limit=1)
            receipts.write(connection, replace(newest, ends_at=newest.ends_at + ahead))
    world.clock.advance(minutes=40)
    world.log(ago=2300)
    world.log(ago=1200)
    again = bench(world, database, start=HOUR)
    again.poll()
    assert again.is_complete()
    assert_no_mark_is_ahead(again)
    assert again.marks().proved_through > world.clock() - timedelta(minutes=1)
    assert open_troubles(database) == ["mark_ahead"]
    again.poll()
    assert open_troubles(database) == []


def test_source_that_began_in_the_future_alerts(world: World, database: Database) -> None:
    """Records of a source whose marks are all in the future are not backlog: they alert."""
    on = bench(world, database)
    on.poll()
    with database.write() as connection:
        move_marks(on, world.clock() + HOUR, connection, *marks.TIMES)
        receipts.delete_older(connection, world.clock() + HOUR, 1000)
    again = bench(world, database)
    again.poll()
    for _ in range(2):
        world.log()
        again.poll()
    assert again.is_complete()
    assert not any(record.is_backlog for record in again.records())


def move_marks(on: Bench, at: datetime, connection: Connection, *names: str) -> None:
    """Store marks of another time."""
    moved: dict[str, Any] = dict.fromkeys(names or ("mark", "seen_through", "proved_through"), at)
    marks.write(connection, replace(on.marks(), **moved))
