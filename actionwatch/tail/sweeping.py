"""Sweep older windows for records that appeared late or vanished: compare counts, and read again what differs.

`sweeps: [1h, 6h, …]`: each reaches back that far from where the one before ends, the first one from where the polls begin. It
is checked at least every tenth of its reach, with one small request. A window whose counts differ is halved down to the parts
that differ. Counts do not show that a record vanished while another of its kind appeared: so a window is read, not counted,
once in each whole reach, and at each check if the upstream gives no counts per kind. What the polls count of their overlap is
read once in each whole overlap, and the windows of a backlog are read a second time, for the same reason. If the upstream gives
no counts, polls leave what they have read twice to a sweep whose reach is the overlap.

What a poll has no time for is stored, and the next polls check it first. What cannot be proved is read again after a while that
doubles.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from actionwatch.base.errors import SourceError
from actionwatch.store import sweeps, unproved_windows
from actionwatch.store.unproved_windows import UnprovedWindow
from actionwatch.tail.comparison import Comparison
from actionwatch.tail.cursor import Window
from actionwatch.tail.planning import due_reaches, next_due_at, reaches_to_read, sweep_windows, without
from actionwatch.tail.reading import WindowReader
from actionwatch.tail.state import PollReport, Stopped, TailState

_MAX_CHECKS = 64  # per poll; the next one continues
_MAX_CUTS = 12  # per poll: of windows that were read and not proved
_PAGE_RECORDS = 1000  # one page is read rather than halved
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(hours=1)  # before an unproved window is read again
FAILURES_TO_REPORT = 3  # in a row: by chance, a window may change during one reading

log = structlog.get_logger()


class Sweeper:
    """The sweeps of one source."""

    _cuts_left: int

    def __init__(self, state: TailState, comparison: Comparison, reader: WindowReader) -> None:
        self._state = state
        self._reaches = state.options.sweeps
        self._comparison = comparison
        self._reader = reader
        self.checks_per_poll = _MAX_CHECKS
        self.is_due_at: datetime | None = None
        """When the next sweep is due, by the clock of the upstream; None: windows wait, or it is not known yet."""

    def run_once(self, polled_from: datetime, known: Window | None, report: PollReport) -> None:
        """Check every sweep that is due, and what is left of earlier ones.

        `polled_from` is where the window of the next poll begins. `known` is what this poll did not read: it counted that or,
        if counts are unusable, left it to the sweeps.
        Raises: Stopped
        """
        now = self._state.server.now()
        self._cuts_left = _MAX_CUTS
        pending = deque(self._plan(polled_from, known, now))
        checks_left = self.checks_per_poll
        while pending and checks_left > 0:
            if self._state.is_stopping:  # to cut a window of millions of records takes seconds
                raise Stopped
            unproved, requested_before = pending.popleft(), report.request_count
            try:
                pending += self._check(unproved, now, report)
            except SourceError as exc:
                self._put_off(unproved, str(exc), now)
                return  # the next poll shows whether the upstream refuses only this window
            checks_left -= report.request_count > requested_before  # to cut a window takes no request
        if pending:
            log.warning("sweep_unfinished", source=self._state.source, windows_left=len(pending))

    # -- what to check -------------------------------------------------------------------------------------------------

    def _plan(self, polled_from: datetime, known: Window | None, now: datetime) -> list[UnprovedWindow]:
        """Return the windows to check now, the one that was due first before the others. Adds those of sweeps that are due."""
        oldest = polled_from - sum(self._reaches, timedelta(0))
        unfinished, waiting, passed = set[timedelta](), list[UnprovedWindow](), list[UnprovedWindow]()
        with self._state.database.read() as connection:
            checked = sweeps.read(connection, self._state.source)
            has_waiting = unproved_windows.has_any(connection, self._state.source)
            if has_waiting:
                unfinished = unproved_windows.unchecked_reaches(connection, self._state.source)
                waiting = unproved_windows.read_due(connection, self._state.source, now, LONGEST_WAIT, oldest)
                passed = unproved_windows.read_passed(connection, self._state.source, oldest, FAILURES_TO_REPORT)
            bounds = self._comparison.bounds(connection)
            wholes = sweep_windows(self._reaches, polled_from, now, self._state.marks.begins_at, bounds)
        if known is not None:
            wholes.insert(0, (self._state.options.overlap, known))
        swept = [reach for reach, _ in wholes]
        due = due_reaches(swept, checked, now) - unfinished
        self.is_due_at = None if has_waiting else next_due_at(swept, {**checked, **dict.fromkeys(due, now)})
        to_read = reaches_to_read(swept, due, checked, now)
        # What polls count is only to be read.
        counted = known if self._comparison.is_possible else None
        planned = [(reach, whole) for reach, whole in wholes if reach in due and (whole != counted or reach in to_read)]
        failing = self._failing([whole for _, whole in planned]) if has_waiting else []
        added = [
            self._state.to_check(part, reach, now, must_read=reach in to_read)
            for reach, whole in planned
            for part in without(whole, failing)
        ]
        # What the sweeps have passed is not read again: `SourceWatch` reports it.
        given_up = [replace(each, failure_count=FAILURES_TO_REPORT) for each in passed]
        if due or given_up:
            with self._state.database.write() as connection:
                unproved_windows.write(connection, [*added, *given_up])
                for reach in due:
                    sweeps.note_sweep(connection, self._state.source, reach, now)
        return waiting + added

    def _failing(self, wholes: Sequence[Window]) -> list[Window]:
        """Return the windows that could not be proved and are not older than these."""
        if not wholes:
            return []
        with self._state.database.read() as connection:
            after = min(whole.start for whole in wholes)
            found = unproved_windows.read_failed(connection, self._state.source, after)
        return [Window(unproved.starts_at, unproved.ends_at) for unproved in found]

    # -- one window ----------------------------------------------------------------------------------------------------

    def _check(self, unproved: UnprovedWindow, now: datetime, report: PollReport) -> list[UnprovedWindow]:
        """Compare counts; if they differ, halve the window or read it. Returns what to check instead, as it is stored."""
        window = Window(unproved.starts_at, unproved.ends_at)
        is_read = unproved.must_read or unproved.failure_count > 0
        if not is_read and self._comparison.is_unchanged(window, report):
            self._replace(unproved, [])
            return []
        most = self._state.options.page_size if unproved.must_read else _PAGE_RECORDS
        parts = self._comparison.halves(window, most)
        if not parts:
            result = self._reader.read_window(window, report)
            log.info("window_swept", source=unproved.source, start=window.start, end=window.end, method=result.method)
            parts = list(result.parts)
            if not parts and result.method is None:
                parts = self._comparison.cut(window) if result.is_divisible and self._cuts_left > 0 else []
                self._cuts_left -= bool(parts)
                if not parts:
                    self._put_off(unproved, result.reason, now)
                    return []
        instead = [replace(unproved, starts_at=part.start, ends_at=part.end, due_at=now, why="") for part in parts]
        self._replace(unproved, instead)
        return instead

    def _put_off(self, unproved: UnprovedWindow, why: str, now: datetime) -> None:
        """Keep a window that could not be proved for later. `SourceWatch` reports it at the third failure in a row."""
        wait = min(FIRST_WAIT * 2 ** min(unproved.failure_count, 10), LONGEST_WAIT)
        failed = replace(unproved, failure_count=unproved.failure_count + 1, due_at=now + wait, why=why)
        self._replace(unproved, [failed])

    def _replace(self, unproved: UnprovedWindow, instead: Iterable[UnprovedWindow]) -> None:
        with self._state.database.write() as connection:
            unproved_windows.delete(connection, unproved)
            unproved_windows.write(connection, instead)
