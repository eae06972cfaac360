"""One poll: which window it reads or counts, what it stores of its progress, and how it goes on from what is not proved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from actionwatch.base.errors import BadRequest, SourceUnavailable
from actionwatch.instaclustr.query import Query
from actionwatch.instaclustr.wire import Page
from actionwatch.store import backlog_progress, marks, receipts, sweeps, unproved_windows
from actionwatch.store.backlog_progress import Backlog
from actionwatch.store.database import Database
from actionwatch.tail.catching_up import CatchingUp
from actionwatch.tail.comparison import Comparison
from actionwatch.tail.cursor import Window
from actionwatch.tail.planning import SETTLING
from actionwatch.tail.polling import MAX_COUNTS, Poller
from actionwatch.tail.reading import WindowReader
from actionwatch.tail.receipt_writer import SWEPT, ReceiptWriter
from actionwatch.tail.state import ALLOWED_SKEW, PollReport
from actionwatch.tail.sweeping import Sweeper
from tests.builders import NOON
from tests.integration.tail.test_pager import Bench, Upstream
from tests.upstreams import World

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
OVERLAP = 15 * MINUTE
BEGIN = NOON - 2 * HOUR


class Refusing(Upstream):
    """An upstream that may refuse to count. `counted`: how often it was asked about a window that was not just read."""

    refuses = False
    counted = 0
    walked: Query | None = None

    def user_actions(self, query: Query, **options: Any) -> Iterator[Page]:
        """Remember what is read."""
        self.walked = query
        yield from super().user_actions(query, **options)

    def counts(self, query: Query) -> Page:
        """Count, or refuse."""
        if query != self.walked:
            self.counted += 1
            if self.refuses:
                raise BadRequest("pageSize must be at least 10")
        return super().counts(query)


class Polled(Bench):
    """The polls of a source that began two hours ago."""

    upstream: Refusing

    def __init__(self, world: World, database: Database, **options: Any) -> None:
        super().__init__(world, database, is_total_trusted=True, upstream=Refusing(world))
        values: dict[str, Any] = {"overlap": OVERLAP, "page_size": 50, "sweeps": (HOUR,), **options}
        self.state.options = replace(self.state.options, **values)
        self.state.page_records = self.state.options.page_size
        self.mark(**dict.fromkeys(marks.TIMES, BEGIN))
        comparison = Comparison(self.state, self.pager)
        reader = WindowReader(self.state, self.pager, ReceiptWriter(self.state, self.writer))
        sweeper = Sweeper(self.state, comparison, reader)
        self.progress: list[Backlog] = []
        catching_up = CatchingUp(self.state, self.progress.append)
        self.poller = Poller(self.state, self.pager, comparison, reader, sweeper, catching_up)

    def mark(self, **times: Any) -> None:
        """Store marks."""
        self.state.commit(replace(self.state.marks, **times))

    def poll(self, seconds: float = 0) -> PollReport:
        """Let time pass and poll."""
        self.world.clock.advance(seconds=seconds)
        self.report = PollReport()
        self.poller.run_once(self.report)
        return self.report

    def requests(self, seconds: float = 0) -> tuple[int, int]:
        """Poll; return how many walks and how many counts it requested."""
        before = len(self.upstream.page_sizes), self.upstream.counted
        self.poll(seconds)
        return len(self.upstream.page_sizes) - before[0], self.upstream.counted - before[1]

    def refute(self, *, is_refuted: bool = True, at_least: int = 0) -> None:
        """Let the upstream count one record more than it shows where it shows so many, or no longer."""
        self.upstream.change_total = lambda total: (
            total + 1 if is_refuted and total is not None and total >= at_least else total
        )
        self.state.has_kind_counts = not is_refuted
        self.upstream.has_counts = not is_refuted

    def stored_marks(self) -> marks.Marks | None:
        """Read the stored marks."""
        with self.database.read() as connection:
            return marks.read(connection, "acme")

    def swept(self) -> int:
        """Count the sweeps that ran."""
        with self.database.read() as connection:
            return len(sweeps.read(connection, "acme"))


def test_a_poll_without_proof_halves_its_window_less_and_less(world: World, database: Database) -> None:
    """Each poll in a row that proves less makes half as many attempts; one that proves all starts over, and lets sweeps run."""
    on = Polled(world, database)
    on.log(100)
    on.refute()
    assert [len(on.poll().unproved) for _ in range(5)] == [13, 7, 4, 2, 1]
    assert on.swept() == 0
    assert on.state.marks.proved_through == BEGIN
    on.refute(is_refuted=False)
    on.state.marks = replace(on.state.marks, totals_cover_pages=True)
    assert on.poll(1).unproved == []
    assert on.swept() == 1
    on.refute()
    on.world.log(ago=1)
    assert len(on.poll(3600).unproved) == 13


def test_sweeps_wait_for_a_poll_that_proves_its_window(world: World, database: Database) -> None:
    """A poll without proof leaves the sweeps to the next one: they are never read before what is new."""
    on = Polled(world, database)
    on.log(60)
    on.poll()
    on.poll(1)
    assert on.swept() == 1
    on.refute(at_least=1)
    on.world.log(ago=1)
    on.poll(600)
    with on.database.read() as connection:
        assert sweeps.read(connection, "acme") == {HOUR: NOON}


def test_what_was_read_without_proof_counts_as_seen(world: World, database: Database) -> None:
    """After a poll without proof, records before its end that appear later are late; a proof moves both marks."""
    on = Polled(world, database)
    on.log(3)
    on.refute()
    on.poll()
    known = on.stored_marks()
    assert known is not None
    assert (known.seen_through, known.proved_through) == (NOON, BEGIN)
    on.refute(is_refuted=False)
    on.state.marks = replace(on.state.marks, totals_cover_pages=True)
    on.poll(60)
    known = on.stored_marks()
    assert known is not None
    assert (known.mark, known.seen_through) == (NOON - MINUTE, NOON + MINUTE)
    assert known.proved_through == NOON + MINUTE


def test_a_proof_after_a_gap_moves_no_mark(world: World, database: Database) -> None:
    """If an older part of the window is not proved, the proof of a newer part does not move the marks."""
    on = Polled(world, database)
    on.world.log(ago=5000)
    on.world.log(ago=10)
    on.refute(at_least=1)
    on.poll()
    assert BEGIN < on.state.marks.proved_through < NOON - 5000 * SECOND
    assert on.report.proved_count > 0, "parts without records are proved"
    assert [each.partition(": ")[2] for each in on.report.unproved] == [
        "1 record received, but the upstream counts 2"
    ] * 2


@pytest.mark.parametrize(
    ("options", "unit", "is_counted"),
    [
        ({}, 1, True),
        ({"overlap": timedelta(0)}, 1, False),
        ({"page_size": 200}, 1, False),  # one page holds it all
        ({}, None, False),
    ],
)
def test_what_is_proved_is_counted_if_it_takes_more_than_a_page(
    world: World, database: Database, options: dict[str, Any], unit: int | None, is_counted: bool
) -> None:
    """The overlap is counted if it holds more than a page, and bounds can be relied on."""
    on = Polled(world, database, sweeps=(), **options)
    for number in range(100):
        world.log(ago=5 + 3 * number)
    on.poll()
    on.mark(bounds_unit=None if unit is None else unit * timedelta(milliseconds=1))
    _, counted = on.requests(30)
    assert bool(counted) is is_counted


def busy(world: World, database: Database) -> Polled:
    """Poll until the overlap, which holds six pages, is counted and nothing in it differs."""
    on = Polled(world, database, sweeps=())
    for number in range(300):
        world.log(ago=5 + 3 * number)
    on.poll()
    for _ in range(2):  # what is counted is read once in each overlap
        on.poll(30)
    assert on.requests(30) == (1, 1)
    return on


def test_unusable_counts_are_asked_for_once_in_a_poll(world: World, database: Database) -> None:
    """If a request for counts gets none, that poll reads the overlap. The next ones ask once whether they get some again."""
    on = busy(world, database)
    on.upstream.has_counts = False
    assert on.requests(1) == (2, 1)
    assert [on.requests(1) for _ in range(4)] == [(1, 1)] * 4
    on.upstream.has_counts = True
    assert on.requests(1) == (1, 2)
    assert on.requests(1) == (1, 1)


def test_only_what_differs_in_the_overlap_is_read(world: World, database: Database) -> None:
    """Counts that differ are halved down to one page, which is read; the others are not."""
    on = busy(world, database)
    world.log(ago=400.5, description="late")
    walks, counted = on.requests(1)
    assert (walks, counted) == (2, 7)
    assert on.stored() == 301
    assert on.requests(1) == (1, 1)


def test_an_upstream_that_refuses_to_count_is_read(world: World, database: Database) -> None:
    """If a request for counts is refused, the overlap is read in one go, and no more counts are requested in this poll."""
    on = busy(world, database)
    on.upstream.refuses = True
    assert on.requests(1) == (2, 1)
    assert on.report.unproved == []


def test_counts_of_a_poll_are_limited(world: World, database: Database) -> None:
    """If much of the overlap differs, the poll stops to count after 64 requests, and reads the rest."""
    on = busy(world, database)
    on.state.page_records = 1
    for number in range(60):
        world.log(ago=100.5 + 10 * number)
    walks, counted = on.requests(1)
    assert counted == MAX_COUNTS
    assert 1 < walks < 64
    assert on.stored() == 360


def test_a_constant_difference_of_clocks_causes_no_second_reading(world: World, database: Database) -> None:
    """Only a clock that is set back during a poll makes it read again; a difference that stays does not."""
    on = Polled(world, database, sweeps=())
    world.faults.add("clock:20s")
    on.poll()
    world.faults.clear()
    world.faults.add("clock:20s")
    assert [on.requests(30)[0] for _ in range(2)] == [1, 1]
    world.faults.clear()
    world.faults.add("clock:30s")
    assert on.requests(30)[0] == 2


def ahead(on: Polled, proved: Sequence[float]) -> None:
    """Store marks an hour and two ahead, and receipts that end at some minutes."""
    on.log(3)
    on.mark(mark=NOON + HOUR, seen_through=NOON + 2 * HOUR, proved_through=NOON - MINUTE)
    writer = ReceiptWriter(on.state, on.writer)
    for minutes in proved:
        window = Window(NOON - HOUR, NOON - 20 * MINUTE)
        scan = on.walk(window=window)
        scan.through = NOON + minutes * MINUTE
        writer.write(scan, "counts", 1, SWEPT, PollReport())


@pytest.mark.parametrize(("proved", "sound"), [([-30], NOON - 30 * MINUTE), ([], BEGIN)])
def test_marks_in_the_future_go_back_to_the_last_sound_proof(
    world: World, database: Database, proved: Sequence[float], sound: datetime
) -> None:
    """Marks that lie ahead of every clock are set back, reported, and stored; the poll reads from there."""
    on = Polled(world, database, sweeps=())
    ahead(on, proved)
    on.upstream.change_total = lambda total: None if total is None else total + 1
    on.upstream.has_counts = False
    report = on.poll()
    assert report.mark_ahead == NOON + 2 * HOUR
    known = on.stored_marks()
    assert known is not None
    assert (known.mark, known.proved_through) == (sound, NOON - MINUTE)
    assert known.seen_through == NOON
    assert on.stored() == 3


def test_marks_that_were_set_back_are_stored_at_once(world: World, database: Database) -> None:
    """If the poll fails after it, the next one goes on from there."""
    on = Polled(world, database, sweeps=())
    ahead(on, [-30])

    def fail() -> None:
        raise SourceUnavailable("too busy")

    on.before_request(on.upstream.request_count + 2, fail)  # the first one asks for the upstream's clock
    with pytest.raises(SourceUnavailable):
        on.poll()
    known = on.stored_marks()
    assert known is not None
    assert known.mark == NOON - 30 * MINUTE


def test_marks_that_the_upstreams_clock_confirms_stay(world: World, database: Database) -> None:
    """If this machine's clock is an hour late, the response of a request for counts shows it before marks are set back."""
    on = Polled(world, database, sweeps=())
    on.log(3)
    on.mark(mark=NOON + HOUR, seen_through=NOON + HOUR)
    world.faults.add("clock:1h")
    report = on.poll()
    assert report.mark_ahead is None
    assert on.state.marks.mark == NOON + HOUR
    assert on.upstream.counted == 1


def test_a_mark_slightly_ahead_does_not_shorten_the_overlap(world: World, database: Database) -> None:
    """A mark may be ahead by what clocks may differ: the window then begins an overlap before now."""
    on = Polled(world, database, sweeps=())
    on.mark(mark=NOON + ALLOWED_SKEW, seen_through=NOON, proved_through=NOON)
    world.log(ago=OVERLAP.total_seconds() - 1)
    on.poll()
    assert on.stored() == 1
    with database.read() as connection:
        newest = next(iter(receipts.stream(connection, "acme")))
    assert newest.starts_at == NOON - OVERLAP - timedelta(milliseconds=1)
    assert newest.ends_at == NOON
    assert SETTLING < OVERLAP


def test_the_progress_of_a_backlog_is_noted_and_deleted(world: World, database: Database) -> None:
    """A window with too many records is read in parts: each adds what it stored, and the end deletes the progress."""
    on = Polled(world, database, sweeps=(), page_size=7, overlap=HOUR)
    on.log(60)
    claimed = [30_000, 60, 60]  # the whole is too large for one walk
    on.upstream.change_total = lambda total: claimed.pop(0) if len(claimed) == 3 else total
    on.poll()
    assert [each.record_count for each in on.progress] == [0, *sorted(each.record_count for each in on.progress[1:])]
    assert on.progress[-1].record_count == on.stored() == 60
    assert on.progress[-1].through == NOON
    through = [each.through for each in on.progress]
    assert through == sorted(through)
    assert len(set(through)) == 4, "its begin, and the end of each of three parts"
    with database.read() as connection:
        again = [each.ends_at for each in unproved_windows.read(connection, "acme")]
    assert again == sorted(set(through))[2:-1], "of the parts that no later poll reads, one has several pages"
    with database.read() as connection:
        assert backlog_progress.read_all(connection) == {}
    assert on.state.marks.proved_through == NOON


@pytest.mark.parametrize(
    ("interval", "seconds", "walks"),
    [(timedelta(0), 240, 1 + 3 + 3), (timedelta(0), 10, 1 + 3), (timedelta(0), 25, 1 + 3 + 1), (2 * HOUR, 240, 1 + 3)],
    ids=["long", "short", "longer than estimated", "within an interval"],
)
def test_new_records_are_read_while_a_backlog_is(
    world: World, database: Database, interval: timedelta, seconds: int, walks: int
) -> None:
    """Once in each poll interval, the newest records are read between parts of a backlog whose rest takes over a minute.

    A short rest is read in order, because older records are slow to match. Nothing is read after the last part.
    """
    on = Polled(world, database, sweeps=(), page_size=50, poll_interval=interval)
    on.state.elapsed = lambda: world.clock().timestamp()
    on.log(60)
    claimed = [30_000]

    def answer_slowly(total: int | None) -> int | None:
        world.clock.advance(seconds=seconds)
        return claimed.pop() if claimed else total

    on.upstream.change_total = answer_slowly
    on.poll()
    assert len(on.upstream.page_sizes) == walks
    assert on.stored() == 60


def test_windows_that_are_halved_get_no_second_look(world: World, database: Database) -> None:
    """Only the parts of a backlog are left behind by the polls: a window that was cut because it changed is read again."""
    on = Polled(world, database, sweeps=(), page_size=2)
    for number in range(20):
        world.log(ago=10 + 20 * number)
    on.mark(mark=NOON - OVERLAP, seen_through=NOON - OVERLAP, proved_through=NOON - OVERLAP)
    on.refute(at_least=15)
    assert on.poll().unproved == []
    assert on.report.proved_count > 1
    with database.read() as connection:
        assert unproved_windows.read(connection, "acme") == []
