"""An upstream whose `Date` and records are of another time, for a few seconds or for good."""

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
    """No mark and no receipt is later than what our clock confirms."""
    most = on.world.clock() + ALLOWED_SKEW
    assert all(getattr(on.marks(), name) <= most for name in marks.TIMES)
    with on.database.read() as connection:
        assert all(receipt.ends_at <= most for receipt in receipts.read(connection, SOURCE, 1000))


@pytest.mark.parametrize("start", ["now", timedelta(hours=2)])
@pytest.mark.parametrize("ahead", ["10m", "1h", CENTURIES_AHEAD])
def test_an_upstream_ahead_for_one_poll_hides_no_later_record(
    world: World, database: Database, ahead: str, start: str | timedelta
) -> None:
    """One response from the future, with a record of that time, and the source is blind until then, after a restart too."""
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
def test_a_source_that_begins_in_the_future_hides_no_record(world: World, database: Database, ahead: str) -> None:
    """The very first response is from the future: the source begins there, and leaves out all that happens before."""
    on = bench(world, database, f"clock:{ahead}")
    on.poll()
    assert_no_mark_is_ahead(on)
    world.faults.clear()
    for _ in range(3):
        world.log()
        on.poll()
    assert on.is_complete()


@pytest.mark.parametrize("behind", ["-1h", "-27000d"])
def test_an_upstream_far_behind_hides_no_new_record(world: World, database: Database, behind: str) -> None:
    """Windows end at a time that the upstream claims and that has long passed, so that new records lie behind them."""
    on = bench(world, database, start=HOUR)
    on.poll()
    world.faults.set(f"clock:{behind}")
    for _ in range(3):
        world.log()
        on.poll()
        assert on.is_complete()
    assert "clock_skew" in open_troubles(database)


def test_an_upstream_that_is_always_ahead_moves_no_mark_further_with_each_poll(
    world: World, database: Database
) -> None:
    """Each poll takes the marks of the one before as confirmed, and adds what is allowed."""
    on = bench(world, database, f"clock:{CENTURIES_AHEAD}", start=HOUR)
    for number in range(12):
        world.log(ago=-290 - 10 * number)
        on.poll()
        assert_no_mark_is_ahead(on)


@pytest.mark.parametrize("ahead", [HOUR, timedelta(days=27_000)])
@pytest.mark.parametrize("has_receipts", [True, False])
def test_a_stored_mark_in_the_future_hides_no_record(
    world: World, database: Database, ahead: timedelta, has_receipts: bool
) -> None:
    """A store holds marks that lie in the future: the source waits for that time, and everything seems to be proved."""
    on = bench(world, database, start=HOUR)
    world.log()
    on.poll()
    begun = on.marks()
    with database.write() as connection:
        move_marks(on, begun.proved_through + ahead, connection)
        if not has_receipts:
            receipts.delete_older(connection, world.clock() + HOUR, 1000)
        else:
            (newest,) = receipts.read(connection, SOURCE, 1)
            receipts.insert(connection, replace(newest, ends_at=newest.ends_at + ahead))
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


def test_a_source_that_began_in_the_future_is_not_backlog(world: World, database: Database) -> None:
    """Every mark of the source lies in the future, where it began: what happens until then would never alert."""
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
