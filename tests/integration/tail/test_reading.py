"""Reading a window until a walk proves it, what it returns otherwise, and how parts of a log are compared with the whole."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from actionwatch.store import receipts
from actionwatch.store.database import Database
from actionwatch.tail.cursor import MAX_WINDOW_RECORDS, MIN_WINDOW, Window
from actionwatch.tail.proof import TWO_WALKS
from actionwatch.tail.reading import WALKS, WindowReader, WindowResult
from actionwatch.tail.receipt_writer import ReceiptWriter
from actionwatch.tail.state import PollReport
from tests.builders import NOON
from tests.integration.tail.test_pager import SIZE, WINDOW, Bench
from tests.upstreams import World

HOUR = timedelta(hours=1)


class Read(Bench):
    """A reader of an organisation whose upstream may count nothing."""

    def __init__(self, world: World, database: Database, *, has_totals: bool = True, page_size: int = SIZE) -> None:
        super().__init__(world, database, is_total_trusted=has_totals, page_size=page_size)
        self.reader = WindowReader(self.state, self.pager, ReceiptWriter(self.state, self.writer))
        if not has_totals:
            world.faults.add("total:absent")
            world.faults.add("counts:absent")

    def read(self, window: Window = WINDOW) -> WindowResult:
        """Read a window."""
        self.report = PollReport()
        return self.reader.read_window(window, self.report)

    def request_count(self) -> int:
        """Return the number of requests in the newest receipt."""
        with self.database.read() as connection:
            return next(iter(receipts.stream(connection, "acme"))).request_count


def test_one_walk_whose_totals_agree_proves_a_window(world: World, database: Database) -> None:
    """The receipt has the number of requests of its walk."""
    on = Read(world, database)
    on.log(10)
    result = on.read()
    assert (result.method, result.parts, result.is_divisible) == ("counts", (), False)
    assert on.request_count() == on.report.request_count == 3


def test_a_window_with_too_many_records_is_returned_in_parts(world: World, database: Database) -> None:
    """If the upstream counts more than one walk may read, the walk ends at once, and the parts cover the window."""
    on = Read(world, database)
    on.log(10)
    on.upstream.change_total = lambda _: 2 * MAX_WINDOW_RECORDS
    result = on.read()
    assert (result.method, result.reason, on.report.request_count) == (None, "", 1)
    assert len(result.parts) == 4
    assert (result.parts[0].start, result.parts[-1].end) == (WINDOW.start, WINDOW.end)


def test_a_total_that_is_not_trusted_does_not_decide_the_number_of_parts(world: World, database: Database) -> None:
    """A window with too many records is cut by what came, if the total may be that of the whole log."""
    on = Read(world, database, page_size=1000)
    on.state.marks = replace(on.state.marks, totals_cover_pages=False)
    world.organisation.extend_synthetic(MAX_WINDOW_RECORDS + 500, NOON - HOUR, NOON)
    on.upstream.change_total = lambda _: 5_000_000
    assert len(on.read().parts) == 3


@pytest.mark.parametrize(("length", "is_divisible"), [(HOUR, True), (2 * MIN_WINDOW, True), (1.9 * MIN_WINDOW, False)])
def test_a_window_that_is_not_proved_may_be_cut(
    world: World, database: Database, length: timedelta, is_divisible: bool
) -> None:
    """After three walks the reason is returned. Parts of the window may be proved, if it is long enough to be cut."""
    on = Read(world, database)
    start = NOON - HOUR / 2 - HOUR / 3600
    world.log(ago=(NOON - start).total_seconds())
    on.upstream.change_total = lambda total: None if total is None else total + 1
    on.upstream.has_counts = False
    result = on.read(Window(start, start + length))
    assert result.method is None
    assert result.reason != ""
    assert (result.parts, result.is_divisible) == ((), is_divisible)
    assert len(on.upstream.page_sizes) == WALKS


def test_a_window_whose_bounds_are_ignored_is_not_cut(world: World, database: Database) -> None:
    """If the upstream ignores bounds, each part would bring everything again."""
    on = Read(world, database)
    on.log(3)
    world.log(ago=7200)
    world.faults.add("times_ignored:both")
    on.upstream.change_total = lambda total: None if total is None else total + 1
    result = on.read()
    assert (result.method, result.is_divisible) == (None, False)


def test_an_upstream_that_counts_nothing_is_compared_with_its_parts_once_a_day(
    world: World, database: Database
) -> None:
    """Two walks agree; once a day, the log of the organisation and that of its accounts are read beside them."""
    on = Read(world, database, has_totals=False)
    assert on.read().method == TWO_WALKS
    empty = on.report.request_count
    on.log(3)
    walks = {}
    for hours in (0, 23, 1):
        world.clock.advance(hours=hours)
        result = on.read()
        walks[hours] = (result.method, on.report.request_count)
        assert on.request_count() == on.report.request_count
    assert walks[0][1] > walks[23][1] > empty
    assert walks[1][1] == walks[0][1]


def test_a_page_that_was_cut_is_not_everything(world: World, database: Database) -> None:
    """An upstream gives fewer records than requested, and counts pages: after the first page it shows none, in each walk."""
    on = Read(world, database, has_totals=False, page_size=1000)
    on.log(60)
    world.faults.add("page_clamped:10")
    world.faults.add("index_of_pages")
    result = on.read()
    assert result.method is None
    assert result.reason.endswith("recordIndex does not count records")


def test_a_page_smaller_than_another_one_is_everything(world: World, database: Database) -> None:
    """If the upstream counts pages, windows with fewer records than it once gave on a page are proved."""
    on = Read(world, database, has_totals=False, page_size=1000)
    on.log(10)
    world.faults.add("index_of_pages")
    assert on.read().method is None
    assert on.read(Window(WINDOW.start, WINDOW.end - timedelta(seconds=90))).method is not None


def test_index_is_checked_once_a_day(world: World, database: Database) -> None:
    """The window is read in pages of two thirds of it; until the next day, two walks of one page are enough."""
    on = Read(world, database, has_totals=False, page_size=1000)
    on.log(12)
    for hours, checks in ((0, 1), (23, 1), (1, 2)):
        world.clock.advance(hours=hours)
        assert on.read().method is not None
        assert on.upstream.page_sizes.count(8) == checks
