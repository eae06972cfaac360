"""One run of the sweeps: which windows it checks, stores for later, gives up, cuts and reads."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from actionwatch.base.errors import SourceUnavailable
from actionwatch.store import sweeps, unproved_windows
from actionwatch.store.database import Database
from actionwatch.store.unproved_windows import SECOND_LOOK, UnprovedWindow
from actionwatch.tail.comparison import Comparison
from actionwatch.tail.cursor import Window
from actionwatch.tail.reading import WindowReader
from actionwatch.tail.receipt_writer import ReceiptWriter
from actionwatch.tail.state import PollReport, Stopped
from actionwatch.tail.sweeping import FAILURES_TO_REPORT, LONGEST_WAIT, Sweeper
from tests.builders import NOON
from tests.integration.tail.test_pager import Bench
from tests.upstreams import World

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
REACHES = (HOUR, 6 * HOUR)
POLLED_FROM = NOON - 15 * MINUTE
BEGIN = NOON - 10 * HOUR
ALL = Window(BEGIN, NOON)


class Swept(Bench):
    """Sweeps over an organisation whose records of the last ten hours are stored, one each minute."""

    def __init__(self, world: World, database: Database) -> None:
        super().__init__(world, database, is_total_trusted=True)
        self.state.options = replace(self.state.options, sweeps=REACHES, page_size=50)
        self.state.marks = replace(self.state.marks, begins_at=BEGIN)
        self.restart()
        for minute in range(1, 600):
            world.log(ago=60 * minute + 20)
        self.walk(window=ALL)

    def restart(self) -> None:
        """Make the sweeper of a new process."""
        comparison = Comparison(self.state, self.pager)
        reader = WindowReader(self.state, self.pager, ReceiptWriter(self.state, self.writer))
        self.sweeper = Sweeper(self.state, comparison, reader)

    def sweep(self, minutes: float = 0, counted: Window | None = None, polled_from: datetime = POLLED_FROM) -> int:
        """Let time pass and sweep; return how many requests that took."""
        self.world.clock.advance(minutes=minutes)
        self.report = PollReport()
        self.sweeper.run_once(polled_from, counted, self.report)
        return self.report.request_count

    def left(self) -> list[UnprovedWindow]:
        """Return the windows that are stored to be checked."""
        with self.database.read() as connection:
            return unproved_windows.read(connection, "acme")

    def checked(self) -> dict[timedelta, datetime]:
        """Return when each sweep ran."""
        with self.database.read() as connection:
            return sweeps.read(connection, "acme")

    def add(self, start: timedelta, end: timedelta, **more: Any) -> UnprovedWindow:
        """Store a window to check: by default one of the first sweep that could not be proved once."""
        values: dict[str, Any] = {"reach": HOUR, "due_at": self.world.clock(), "failure_count": 1, **more}
        window = UnprovedWindow(source="acme", starts_at=NOON + start, ends_at=NOON + end, **values)
        with self.database.write() as connection:
            unproved_windows.write(connection, [window])
        return window


@pytest.fixture
def swept(world: World, database: Database) -> Swept:
    """Sweep until every window was read once."""
    made = Swept(world, database)
    made.sweep()
    assert made.left() == []
    return made


def test_a_sweep_that_is_not_due_requests_nothing(swept: Swept) -> None:
    """Every tenth of its reach, each sweep takes one request; between that, nothing is requested or noted."""
    assert [swept.sweep(minutes) for minutes in (0, 5, 0.9, 0.1, 5, 1)] == [0, 0, 0, 1, 0, 1]
    assert swept.checked() == {HOUR: NOON + 12 * MINUTE, 6 * HOUR: NOON}
    assert swept.sweep(24) == 2
    assert set(swept.checked().values()) == {NOON + 36 * MINUTE}


def test_a_sweep_reads_the_part_that_differs(swept: Swept) -> None:
    """A window whose counts differ is halved down to one page, which is read; what is stored then differs no more."""
    swept.world.log(ago=7800, description="late")
    with capture_logs() as logs:
        assert 3 < swept.sweep(36) < 20
    assert [each["method"] for each in logs if each["event"] == "window_swept"] == ["counts"]
    assert [each for each in logs if each["event"] == "sweep_unfinished"] == []
    assert swept.left() == []
    assert swept.stored() == 600
    assert swept.sweep(18) == 1


def test_what_is_left_is_checked_by_the_next_poll(swept: Swept) -> None:
    """A run makes a few checks. What is left is stored with its sweep, logged, and checked first by the next run."""
    swept.sweeper.checks_per_poll = 1
    with capture_logs() as logs:
        assert swept.sweep(36) == 1
    assert [each["windows_left"] for each in logs if each["event"] == "sweep_unfinished"] == [1]
    (left,) = swept.left()
    assert (left.reach, left.failure_count, left.must_read) == (6 * HOUR, 0, False)
    with capture_logs() as logs:
        assert swept.sweep(6) == 1
    assert len(swept.left()) == 1, "the first sweep was due again, and waits now"
    assert swept.sweep() == 1
    assert swept.left() == []


def test_a_sweep_that_is_not_finished_is_not_planned_again(swept: Swept) -> None:
    """While windows of a sweep wait for their first check, the sweep adds no others."""
    waiting = swept.add(-3 * HOUR, -2 * HOUR, reach=6 * HOUR, failure_count=0, due_at=NOON + 37 * MINUTE)
    swept.sweep(36)
    assert swept.left() == [waiting]
    assert swept.checked()[6 * HOUR] == NOON
    assert swept.checked()[HOUR] == NOON + 36 * MINUTE


def test_a_sweep_that_is_stopped_cuts_nothing(swept: Swept) -> None:
    """A service that stops does not wait until a window is cut to pages, which takes long if it has millions of records."""
    waiting = swept.add(-9 * HOUR, -1 * HOUR, failure_count=0, must_read=True)
    swept.state.is_stopping = True
    with pytest.raises(Stopped):
        swept.sweep()
    assert (swept.left(), swept.report.request_count) == ([waiting], 0)


def test_a_sweep_leaves_out_what_failed(swept: Swept) -> None:
    """A window that could not be proved is read by itself when it is due; the sweep checks what lies around it."""
    failed = swept.add(-3 * HOUR - MINUTE / 6, -2 * HOUR - MINUTE / 6, reach=6 * HOUR, due_at=NOON + 37 * MINUTE)
    assert swept.sweep(36) == 3, "the sweep of an hour, and the two parts around it"
    assert swept.left() == [failed]
    assert swept.sweep(1) > 1, "it is read, not counted"
    assert swept.left() == []


@pytest.mark.parametrize(
    ("ends", "reach", "failures", "is_passed"),
    [(0, 6 * HOUR, 1, True), (1, 6 * HOUR, 1, False), (0, SECOND_LOOK, 1, False), (0, 6 * HOUR, 0, False)],
)
def test_what_the_sweeps_have_passed_is_given_up(
    swept: Swept, ends: int, reach: timedelta, failures: int, is_passed: bool
) -> None:
    """A window that failed and lies before all sweeps is reported instead of read again, but not one of a backlog."""
    oldest = POLLED_FROM - 7 * HOUR - NOON
    swept.add(oldest - HOUR, oldest + ends * MINUTE, reach=reach, failure_count=failures)
    swept.sweep()
    assert [each.failure_count for each in swept.left()] == ([FAILURES_TO_REPORT] if is_passed else [])
    if is_passed:
        assert swept.sweep() == 0
        swept.add(oldest - HOUR, oldest, reach=reach, failure_count=FAILURES_TO_REPORT + 1)
        swept.sweep()
        assert [each.failure_count for each in swept.left()] == [FAILURES_TO_REPORT + 1], "it stays as it is"


@pytest.mark.parametrize(
    ("wait", "is_due"),
    [
        (timedelta(0), True),
        (timedelta(microseconds=1), False),
        (LONGEST_WAIT, False),
        (LONGEST_WAIT + MINUTE, True),  # from before the clock was set back
    ],
)
def test_a_window_waits_until_it_is_due(swept: Swept, wait: timedelta, is_due: bool) -> None:
    """A window that failed is read when its time has come, or lies so far ahead that a clock was set back."""
    swept.add(-3 * HOUR, -3 * HOUR + MINUTE, reach=6 * HOUR, due_at=NOON + wait)
    assert (swept.sweep() > 0) is is_due
    assert (swept.left() == []) is is_due


def test_counted_records_of_polls_are_only_read(swept: Swept) -> None:
    """What polls count themselves is not counted by the sweeps: it is read once in each overlap, before the sweeps."""
    counted = Window(POLLED_FROM, NOON - MINUTE)
    swept.state.options = replace(swept.state.options, overlap=15 * MINUTE)
    found = []
    for minutes in (1, 3, 2, 9):
        with capture_logs() as logs:
            count = swept.sweep(minutes, counted)
        found.append((count, [each["start"] for each in logs if each["event"] == "window_swept"]))
    # The sweep of an hour is due after 6 and 12 minutes.
    assert found == [(1, [counted.start]), (0, []), (1, []), (2, [counted.start])]
    assert swept.checked()[15 * MINUTE] == NOON + 15 * MINUTE
    assert swept.checked()[HOUR] == NOON + 15 * MINUTE


@pytest.mark.parametrize(("must_read", "windows"), [(True, 4), (False, 1)])
def test_what_must_be_read_is_read_page_by_page(swept: Swept, must_read: bool, windows: int) -> None:
    """A window to be read is halved to pages of the source, any other to a thousand records. To halve takes no check."""
    swept.add(-4 * HOUR, -2 * HOUR, reach=6 * HOUR, must_read=must_read, failure_count=not must_read)
    swept.sweeper.checks_per_poll = 4
    with capture_logs() as logs:
        swept.sweep()
    assert len([each for each in logs if each["event"] == "window_swept"]) == windows
    assert swept.left() == []


def test_a_second_look_takes_nothing_from_a_sweep(swept: Swept) -> None:
    """A window that was not checked yet is no reason to leave it out of a sweep that covers it."""
    swept.add(-3 * HOUR, -2 * HOUR, reach=SECOND_LOOK, failure_count=0, due_at=NOON + HOUR)
    assert swept.sweep(36) == 2


def refute(swept: Swept) -> None:
    """Let the upstream count one record more than it shows."""
    swept.upstream.change_total = lambda total: None if total is None else total + 1
    swept.state.has_kind_counts = False


def test_a_window_that_cannot_be_proved_is_cut_few_times(swept: Swept) -> None:
    """Each run makes a dozen cuts. What cannot be proved then is stored with the reason, to be read a minute later."""
    refute(swept)
    swept.add(-3 * HOUR, -3 * HOUR + 40 * MINUTE, reach=6 * HOUR, must_read=True, failure_count=0)
    with capture_logs() as logs:
        swept.sweep()
    left = swept.left()
    assert len(left) == 13
    assert {(each.failure_count, each.due_at - NOON) for each in left} == {(1, MINUTE)}
    assert all("received, but the upstream counts" in each.why for each in left)
    assert len([each for each in logs if each["event"] == "window_swept"]) == 25, "12 were cut, 13 were left"
    swept.sweep(1)
    assert len(swept.left()) == 25


def test_a_window_whose_bounds_are_ignored_is_not_cut(swept: Swept) -> None:
    """If the upstream ignores bounds, each part would bring everything again: the whole window waits."""
    refute(swept)
    swept.world.faults.add("times_ignored:both")
    added = swept.add(-3 * HOUR, -3 * HOUR + 40 * MINUTE, reach=6 * HOUR, must_read=True, failure_count=0)
    swept.sweep()
    assert [(each.starts_at, each.ends_at, each.failure_count) for each in swept.left()] == [
        (added.starts_at, added.ends_at, 1)
    ]


@pytest.mark.parametrize(("failures", "minutes"), [(0, 1), (1, 2), (5, 32), (6, 60), (40, 60)])
def test_the_wait_doubles_with_each_failure(swept: Swept, failures: int, minutes: int) -> None:
    """What fails again waits twice as long, up to an hour."""
    refute(swept)
    at = -3 * HOUR - MINUTE / 3
    swept.add(at - MINUTE / 120, at + MINUTE / 120, reach=6 * HOUR, must_read=True, failure_count=failures)
    swept.sweep()
    assert [(each.failure_count, each.due_at - NOON) for each in swept.left()] == [(failures + 1, minutes * MINUTE)]


def test_a_refused_request_ends_the_run_and_is_tried_again_later(swept: Swept) -> None:
    """The window that the upstream refused is put off with the reason; the others stay due."""

    def refuse() -> None:
        raise SourceUnavailable("too busy")

    swept.before_request(swept.upstream.request_count + 1, refuse)
    swept.sweep(36)
    assert sorted((each.reach, each.failure_count, each.why) for each in swept.left()) == [
        (HOUR, 1, "too busy"),
        (6 * HOUR, 0, ""),
    ]
