"""Upstreams that round the bounds of a window: no record is missed, nothing is proved too early, at one request a day."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from actionwatch.base.model import Record
from actionwatch.instaclustr.client import Client
from actionwatch.instaclustr.query import Query
from actionwatch.instaclustr.wire import Page
from actionwatch.store import receipts
from actionwatch.store.database import Database
from actionwatch.tail.bounds import choose_record, find_unit, is_due
from actionwatch.tail.state import PollReport
from tests.builders import NOON, make_marks, make_record
from tests.cases import in_one_test
from tests.integration.tail.test_tail import HOUR, bench
from tests.upstreams import SOURCE, World, open_troubles

MILLISECOND, SECOND, MINUTE, DAY = (timedelta(**{unit: 1}) for unit in ("milliseconds", "seconds", "minutes", "days"))
CUT = {
    "": MILLISECOND,
    "bounds:exclusive": MILLISECOND,
    "bounds_truncated:1s": SECOND,
    "bounds_truncated:1m": MINUTE,
    "bounds_truncated:1s bounds:exclusive": SECOND,
    "bounds_truncated:1m bounds:exclusive": MINUTE,
    "bounds_truncated:1h": HOUR,
    "bounds_truncated:1d": DAY,
}


def recent(ago: float) -> float:
    """Return an age whose time is not on a whole second."""
    return ago + 0.3456


@pytest.mark.parametrize("start", ["now", HOUR])
@pytest.mark.parametrize(("faults", "unit"), CUT.items())
def test_rounded_bounds_hide_nothing(
    world: World, database: Database, faults: str, unit: timedelta, start: object
) -> None:
    """If the upstream rounds a bound, records after it are shown in time, and are not proved early or taken for vanished."""
    world.clock.advance(seconds=7517)
    on = bench(world, database, *faults.split(), start=start, sweeps=(HOUR,), overlap=MINUTE)
    on.poll(0)
    for _ in range(20):
        world.clock.advance(seconds=30)
        world.log(ago=recent(5))
        world.log(ago=recent(17))
        report = on.poll(0)
        assert on.is_complete()
        assert not report.unproved
    assert on.marks().proved_through > world.clock() - timedelta(seconds=2)
    assert on.marks().bounds_unit == unit
    assert open_troubles(database) == []
    with database.read() as connection:
        found = list(receipts.stream(connection, SOURCE))
        assert [receipts.recompute(connection, receipt) for receipt in found] == found


@pytest.mark.parametrize(("unit", "seconds"), [("1s", 10), ("1m", 10), ("1m", 30)])
def test_record_at_a_rounded_bound_is_not_hidden(world: World, database: Database, unit: str, seconds: int) -> None:
    """If bounds are rounded and exclusive then, records at whole seconds are neither taken for vanished nor left out."""
    for number in range(0, 3500, seconds):
        world.log(ago=number + 30)
    faults = f"bounds_truncated:{unit}", "bounds:exclusive"
    sweeps = timedelta(minutes=20), timedelta(minutes=30)
    on = bench(
        world, database, *faults, start=HOUR, alert_backlog=True, overlap=5 * MINUTE, sweeps=sweeps, page_size=100
    )
    for _ in range(8):
        for number in range(0, 30, seconds):
            world.log(ago=number)
        on.poll(30)
        assert open_troubles(database) == []
    assert on.is_complete()
    with database.read() as connection:
        found = list(receipts.stream(connection, SOURCE))
        assert [receipts.recompute(connection, receipt) for receipt in found] == found


def test_unit_of_bounds_is_determined_once_a_day(world: World, database: Database) -> None:
    """The unit of the upstream's bounds is determined once a day, not at each poll or start."""
    on = bench(world, database, start=HOUR)
    world.log(ago=recent(5))
    on.poll()
    world.log(ago=recent(5))
    assert on.poll().request_count == 1
    on = bench(world, database, start=HOUR)
    assert on.poll().request_count == 1
    world.faults.set("bounds_truncated:1m")
    for _ in range(2):
        world.clock.advance(days=1)
        world.log(ago=recent(5))
        on.poll()
    assert on.marks().bounds_unit == MINUTE
    assert on.is_complete()
    world.log(ago=recent(1))
    assert on.poll(0).request_count == 1
    assert on.is_complete()


class Empty(Client):
    """A listing whose first response is empty, for a temporary reason."""

    def __init__(self, *shown: Record) -> None:
        self._shown = shown
        self._asked_count = 0

    def user_actions(self, query: Query, **options: Any) -> Iterator[Page]:
        """Return one page."""
        self._asked_count += 1
        yield Page(self._shown if self._asked_count > 1 else (), None, None, NOON)


def test_one_empty_response_does_not_determine_the_unit() -> None:
    """After one empty response, requests do not cover coarser units."""
    shown = at(timedelta(hours=3, minutes=5, seconds=7, microseconds=345_600))
    known = make_marks(name=SOURCE)
    report = PollReport()
    assert find_unit(Empty(shown), shown, known, NOON, report) == replace(known, bounds_asked_at=NOON)
    assert report.request_count == 3
    assert find_unit(Empty(), shown, known, NOON, report) == replace(known, bounds_asked_at=NOON)
    assert report.request_count == 3 + 5


@in_one_test(
    ("unit", "asked_at", "is_found_out"),
    [
        (None, None, True),
        (None, NOON - HOUR + SECOND, False),
        (None, NOON - HOUR, True),
        (MINUTE, NOON - HOUR, False),
        (MINUTE, NOON - DAY, True),
        (MINUTE, NOON, False),
        (MINUTE, NOON + SECOND, True),  # the clock was set back
    ],
)
def test_when_the_unit_is_found_out(unit: timedelta | None, asked_at: datetime | None, is_found_out: bool) -> None:
    """The unit is found out again after a day, after an hour if that failed, and after the clock was set back."""
    assert is_due(make_marks(bounds_unit=unit, bounds_asked_at=asked_at), NOON) is is_found_out


def at(moment: timedelta) -> Record:
    """Make a record some time after noon."""
    return make_record(occurred_at=NOON + moment)


@in_one_test(
    ("moment", "is_telling"),
    [
        (timedelta(0), False),
        (timedelta(minutes=7), False),
        (timedelta(seconds=7), True),
        (timedelta(milliseconds=7500), True),
        (timedelta(milliseconds=59_999), False),
        (timedelta(hours=-12), False),  # midnight distinguishes no units at all
    ],
)
def test_inconclusive_record_is_not_chosen(moment: timedelta, is_telling: bool) -> None:
    """A record on the full hour, whose time is inconclusive, does not make requests cover whole hours."""
    assert (choose_record([at(moment)]) is not None) is is_telling


def test_record_without_a_readable_time_is_not_chosen() -> None:
    """A record whose time is not known cannot show where bounds are cut."""
    assert choose_record([make_record(occurred_at=NOON + timedelta(seconds=7), is_time_readable=False)]) is None


def test_record_that_distinguishes_most_units_is_chosen() -> None:
    """Of several records, the one is chosen that can distinguish the most units."""
    assert choose_record([at(timedelta(seconds=7)), at(timedelta(seconds=7.5)), at(timedelta(0))]) == at(
        timedelta(seconds=7.5)
    )
    assert choose_record([]) is None
