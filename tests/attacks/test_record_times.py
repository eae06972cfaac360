"""Records whose time lies far in the future."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from actionwatch.net.http_response import HttpResponse
from actionwatch.store.database import Database
from tests.integration.tail.test_tail import Bench, bench
from tests.upstreams import World, identity, open_troubles


def kept(on: Bench) -> dict[str, tuple[bool, timedelta]]:
    """Return for each stored record whether its time is readable, and how far it is in the future."""
    now = on.world.clock()
    return {identity(record)[1]: (record.is_time_readable, record.occurred_at - now) for record in on.records()}


@pytest.mark.parametrize("at", [datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC), None])
def test_record_from_the_far_future_stops_nothing(world: World, database: Database, at: datetime | None) -> None:
    """A record of the year 9999 from an upstream that ignores bounds causes no overflow, and later records are not late."""
    on = bench(world, database, "times_ignored:both", start=timedelta(hours=1))
    on.poll()
    world.organisation.append("BACKUP", at=at or world.clock() + timedelta(hours=25), description="from the future")
    on.poll()
    world.log(description="later")
    on.poll()
    on.poll()
    assert kept(on) == {
        "from the future": (False, timedelta(seconds=-60)),
        "later": (True, timedelta(seconds=-60)),
    }
    assert on.marks().mark <= world.clock()
    assert "proof_lagging" not in open_troubles(database)


def test_time_less_than_a_day_ahead_is_readable(world: World, database: Database) -> None:
    """A clock that is some hours ahead makes no record unreadable."""
    on = bench(world, database, "times_ignored:both", start=timedelta(hours=1))
    on.poll()
    world.log(ago=-23 * 3600, description="ahead")
    on.poll()
    assert kept(on) == {"ahead": (True, timedelta(hours=22, minutes=59, seconds=30))}


def test_machine_with_a_clock_years_behind_reads_the_times(world: World, database: Database) -> None:
    """If the clock of a machine starts in 2020, the times of records are readable, although they are in the future."""
    on = bench(world, database, "clock:2000d", "times_ignored:both", start=timedelta(hours=1))
    on.poll()
    world.log(ago=-1999 * 86400, description="today")
    on.poll()
    assert kept(on)["today"][0]


@pytest.mark.parametrize("value", ["Fri, 31 Dec 9999 23:59:59 GMT", "Fri, 31 Dec 9999 23:59:59 -0900"])
def test_date_at_the_end_of_time_is_ignored(value: str) -> None:
    """A `Date` that overflows is ignored, and polls continue."""
    assert HttpResponse(200, {"date": value}, b"", timedelta(0)).date is None
