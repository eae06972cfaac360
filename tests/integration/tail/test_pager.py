"""What a walk requests, when it ends, and when its records are stored."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from actionwatch.instaclustr.client import PAGE_SIZE
from actionwatch.instaclustr.query import Query
from actionwatch.instaclustr.wire import Page
from actionwatch.store.database import Database
from actionwatch.tail.comparison import Comparison
from actionwatch.tail.cursor import MAX_WINDOW_RECORDS, MIN_WINDOW, Window
from actionwatch.tail.pager import Pager
from actionwatch.tail.proof import Claim, Walk
from actionwatch.tail.record_aliases import RecordAliases
from actionwatch.tail.record_writer import RecordWriter
from actionwatch.tail.state import PollReport, TailOptions, TailState
from actionwatch.tail.walk import WindowScan
from tests.builders import NOON, make_marks
from tests.upstreams import DirectClient, World, stored

HOUR, SIZE = timedelta(hours=1), 7
WINDOW = Window(NOON - HOUR, NOON)


class Upstream(DirectClient):
    """The emulator's handlers. Notes the page size of each walk, and changes the totals if a test wants that."""

    def __init__(self, world: World) -> None:
        super().__init__(world.emulator, world.clock)
        self.world = world
        self.page_sizes: list[int] = []
        self.change_total: Callable[[int | None], int | None] = lambda total: total
        self.has_counts = True

    def user_actions(self, query: Query, *, page_size: int = PAGE_SIZE, **options: Any) -> Iterator[Page]:
        """Note the page size."""
        self.page_sizes.append(page_size)
        for page in super().user_actions(query, page_size=page_size, **options):
            yield replace(page, total=self.change_total(page.total))

    def counts(self, query: Query) -> Page:
        """Count, if a test has not taken that away."""
        page = super().counts(query)
        return page if self.has_counts else replace(page, counts=None)


class Bench:
    """A pager over an organisation, and what it stores."""

    def __init__(
        self,
        world: World,
        database: Database,
        *,
        is_total_trusted: bool,
        page_size: int = SIZE,
        upstream: Upstream | None = None,
    ) -> None:
        self.world = world
        self.database = database
        self.upstream = upstream or Upstream(world)
        self.state = TailState(TailOptions("acme", "org", page_size=page_size), database, world.clock)
        values = dict.fromkeys(("begins_at", "alerts_from"), NOON - 2 * HOUR)
        unit = {"bounds_unit": timedelta(milliseconds=1), "bounds_asked_at": NOON}
        self.state.marks = make_marks(totals_cover_pages=is_total_trusted, **values, **unit)
        self.notified: list[int] = []
        """How many records were stored each time that they were reported."""
        self.writer = RecordWriter(
            self.state,
            lambda: self.notified.append(self.stored()),
            list,
            lambda _: None,
            RecordAliases("org", lambda *_: None),
        )
        self.pager = Pager(self.upstream, self.state, self.writer)
        self.report = PollReport()

    def log(self, count: int) -> None:
        """Log actions, one each minute."""
        for number in range(count):
            self.world.log(ago=60 * (number + 1))

    def before_request(self, number: int, work: Callable[[], object]) -> None:
        """Call a function before a request, counted from 1."""

        def call() -> None:
            if self.upstream.request_count + 1 == number:
                work()

        self.upstream.before_request = call

    def stored(self) -> int:
        """Count the stored records."""
        return sum(stored(self.database).values())

    def walk(self, number: int = 0, earlier: Walk | None = None, window: Window = WINDOW) -> WindowScan:
        """Walk through a window."""
        return self.pager.walk(window, self.report, number, earlier)


def totals(scan: WindowScan) -> list[int | None]:
    """Return the claimed totals, in order."""
    return [claim.total for claim in scan.walk.claims]


def test_the_total_is_requested_again_after_the_last_page(world: World, database: Database) -> None:
    """If totals are trusted, the walk ends with the last record, and one small request shows what came meanwhile."""
    on = Bench(world, database, is_total_trusted=True)
    on.log(10)
    on.before_request(3, lambda: world.log(ago=1))
    scan = on.walk()
    assert totals(scan) == [10, 10, 11]
    assert (scan.walk.received, on.report.request_count, on.upstream.request_count) == (10, 3, 3)
    assert on.stored() == 11, "the record that the last response shows is stored, too"


@pytest.mark.parametrize(
    ("count", "is_total_trusted", "has_total", "claims"),
    [
        (5, True, True, 1),  # one page contains its own total
        (5, False, True, 2),  # the last page is empty
        (10, False, True, 3),
        (10, True, False, 3),
        (0, True, True, 1),
    ],
)
def test_the_total_is_not_requested_again_without_need(
    world: World, database: Database, count: int, is_total_trusted: bool, has_total: bool, claims: int
) -> None:
    """One page is enough if its total is trusted; an empty page at the end shows the total after the walk."""
    on = Bench(world, database, is_total_trusted=is_total_trusted)
    on.log(count)
    if not has_total:
        world.faults.set("total:absent", "counts:absent")
    scan = on.walk()
    assert len(scan.walk.claims) == on.report.request_count == on.upstream.request_count == claims
    assert scan.walk.received == on.stored() == count
    assert on.report.has_records is (count > 0)


@pytest.mark.parametrize(
    ("number", "page_count", "is_ended", "received", "requests"),
    [
        (1, 1, True, 5, 1),
        (1, 1, False, 5, 2),
        (1, 2, True, 5, 3),
        (2, 2, True, 5, 2),
        (1, 1, True, SIZE * 2 // 3, 2),
    ],
)
def test_a_second_walk_of_one_page_needs_no_empty_page(
    world: World, database: Database, number: int, page_count: int, is_ended: bool, received: int, requests: int
) -> None:
    """The page after the only one is left out if the walk before requested it, and if this page has room for all."""
    world.faults.set("total:absent", "counts:absent")
    on = Bench(world, database, is_total_trusted=False, page_size=9 if received == 5 else SIZE)
    on.log(received)
    keys = Counter(str(number) for number in range(received))
    earlier = Walk(keys, Counter(), [Claim()], list(keys), page_count, received, is_ended=is_ended)
    assert on.walk(number, earlier).walk.received == received
    assert on.report.request_count == requests


@pytest.mark.parametrize(
    ("number", "page_count", "largest_page", "has_repeats", "received", "size"),
    [
        (0, 1, 5, False, 5, SIZE),
        (1, 1, 5, False, 5, 4),
        (1, 2, 3, False, 5, 2),
        (1, 2, 7, False, 9, 4),
        (2, 2, 3, False, 5, SIZE),
        (1, 2, 1, False, 2, 1),
        (1, 2, 7, True, 9, PAGE_SIZE),
        (2, 2, 7, True, 9, PAGE_SIZE),
        (1, 2, 7, True, PAGE_SIZE, 4),
    ],
)
def test_page_sizes(
    world: World,
    database: Database,
    number: int,
    page_count: int,
    largest_page: int,
    has_repeats: bool,
    received: int,
    size: int,
) -> None:
    """Every other walk has other page boundaries. Equal records are requested on one page, if they fit."""
    on = Bench(world, database, is_total_trusted=True)
    keys = [str(each) for each in range(received)]
    earlier = Walk(Counter(keys), Counter(), [Claim()], keys, page_count, largest_page, has_repeats)
    on.walk(number, earlier if number else None)
    assert on.upstream.page_sizes == [size]


@pytest.mark.parametrize(
    ("is_total_trusted", "count", "request_number"), [(True, 10, 3), (True, 14, 3), (False, 10, 3), (False, 5, 2)]
)
def test_records_are_stored_before_the_requests_that_only_prove(
    world: World, database: Database, is_total_trusted: bool, count: int, request_number: int
) -> None:
    """When as many records came as the upstream counts, they are stored: a slow last response delays no alert."""
    on = Bench(world, database, is_total_trusted=is_total_trusted)
    on.log(count)
    found: list[int] = []
    on.upstream.before_request = lambda: found.append(on.stored())
    on.walk()
    assert found == [0] * (request_number - 1) + [count]


def test_a_full_page_does_not_prove_an_untrusted_total(world: World, database: Database) -> None:
    """An upstream may count only its own page: if that page is full, the records are stored when the walk ends."""
    on = Bench(world, database, is_total_trusted=False)
    on.log(10)
    on.upstream.change_total = lambda _: SIZE
    found: list[int] = []
    on.before_request(2, lambda: found.append(on.stored()))
    assert on.walk().walk.received == 10
    assert found == [0]


@pytest.mark.parametrize(
    ("total", "is_total_trusted", "window", "is_whole"),
    [
        (MAX_WINDOW_RECORDS + 1, True, WINDOW, False),
        (MAX_WINDOW_RECORDS, True, WINDOW, True),
        (MAX_WINDOW_RECORDS + 1, False, WINDOW, True),
        (MAX_WINDOW_RECORDS + 1, True, Window(NOON - HOUR, NOON - HOUR + MIN_WINDOW), True),
    ],
)
def test_a_window_with_too_many_records_is_read_in_parts(
    world: World, database: Database, total: int, is_total_trusted: bool, window: Window, is_whole: bool
) -> None:
    """A trusted total breaks off the walk if the window can be cut; an untrusted one must not."""
    on = Bench(world, database, is_total_trusted=is_total_trusted)
    world.log(ago=3600)
    world.log(ago=3600)
    on.upstream.change_total = lambda _: total
    scan = on.walk(window=window)
    assert scan.is_whole is is_whole
    assert on.stored() == 2


@pytest.mark.parametrize(("days", "is_whole"), [(1, True), (2, False)])
def test_a_window_is_cut_into_days_while_the_unit_of_bounds_is_unknown(
    world: World, database: Database, days: int, is_whole: bool
) -> None:
    """Requests reach to the end of a day as long as the unit of bounds is unknown, so shorter parts would not be smaller."""
    on = Bench(world, database, is_total_trusted=True)
    on.state.marks = replace(on.state.marks, bounds_unit=None)
    world.log(ago=3600)
    on.upstream.change_total = lambda _: MAX_WINDOW_RECORDS + 1
    window = Window(NOON - timedelta(days=days), NOON)
    assert on.walk(window=window).is_whole is is_whole
    assert (Comparison(on.state, on.pager).cut(window) == []) is is_whole


def test_a_window_without_bounds_is_not_cut(world: World, database: Database) -> None:
    """If the upstream ignores bounds, each part of the window would bring everything again."""
    world.faults.set("times_ignored:both")
    on = Bench(world, database, is_total_trusted=True)
    world.log(ago=7000)
    on.log(3)
    on.upstream.change_total = lambda _: MAX_WINDOW_RECORDS + 1
    assert on.walk().is_whole
    assert on.report.ignored_filters == {"startTime"}


def test_keys_of_a_query_are_read_page_by_page_to_an_empty_one(world: World, database: Database) -> None:
    """The keys come with a total that is not trusted, each page is a request, and the records are stored."""
    on = Bench(world, database, is_total_trusted=True)
    on.log(10)
    on.upstream.change_total = lambda _: SIZE
    keys = on.pager.keys(Query(start=WINDOW.start, end=WINDOW.end), WINDOW, on.report)
    assert (len(keys), on.report.request_count, on.stored()) == (10, 3, 10)
    assert on.upstream.page_sizes == [SIZE]


def test_counts_take_one_request_and_show_the_clock(world: World, database: Database) -> None:
    """A request for counts returns the claim of the whole window, and the upstream's clock is compared."""
    on = Bench(world, database, is_total_trusted=True)
    on.log(3)
    world.faults.set("clock:1h")
    claim = on.pager.count(WINDOW, on.report)
    assert (claim.total, on.report.request_count) == (3, 1)
    assert on.state.server.skew >= HOUR - timedelta(minutes=1)
