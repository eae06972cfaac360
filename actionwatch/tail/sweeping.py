"""Sweep older windows: counts alone tell whether a record came late, or is gone; only what changed is read again.

`sweeps: [1h, 6h, …]`: each reaches back that far from where the one before ends, the first from where the polls' own window
begins, and is asked at least every tenth of its reach: one small request each. What differs is halved down to the parts that
do. What a poll has no time for is kept and asked by the next ones, first come, first served; so is what cannot be proved, after
a while that doubles, until it can. A backlog's windows of several pages are read once more, a page at a time: no count tells
of a record that went, and another of its kind that came, on pages read before.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from actionwatch.base.errors import SourceError
from actionwatch.store import records, sweeps, unproved_windows
from actionwatch.store.database import Database
from actionwatch.store.unproved_windows import SECOND_LOOK, UnprovedWindow
from actionwatch.tail.cursor import EDGE, Window
from actionwatch.tail.pager import Pager
from actionwatch.tail.planning import Bounds, beside, due_reaches, first_compared, sweep_windows
from actionwatch.tail.proof import Claim
from actionwatch.tail.reading import WindowReader
from actionwatch.tail.state import PollReport, TailState

MAX_QUESTIONS = 64  # a poll; the next one goes on
MAX_CUTS = 12  # a poll: of windows that were read and not proved
PAGE_RECORDS = 1000  # what one page holds is read sooner than it is halved
UNTIMED_SPAN = timedelta(minutes=5)  # a record without a readable time is narrowed down to that
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=1), timedelta(hours=1)  # before what was not proved is read again
TOLD_AFTER = 3  # failures in a row: a window may have changed under one reading by chance

log = structlog.get_logger()


class Sweeper:
    """The sweeps of one source."""

    def __init__(
        self, state: TailState, reaches: Sequence[timedelta], pager: Pager, reader: WindowReader, database: Database
    ) -> None:
        self._state = state
        self._reaches = reaches
        self._pager = pager
        self._reader = reader
        self._database = database
        self._cuts_left = 0
        self.questions_per_poll = MAX_QUESTIONS

    def run_once(self, polled_from: datetime, report: PollReport) -> None:
        """Ask every sweep that is due, and what is left of earlier ones; `polled_from` is where the polls' own window began."""
        now = self._state.server.now()
        self._cuts_left = MAX_CUTS
        pending = deque(self._due(polled_from, now, report))
        for _ in range(self.questions_per_poll):
            if not pending:
                return
            doubt = pending.popleft()
            try:
                pending += self._ask(doubt, now, report)
            except SourceError as exc:
                self._put_off(doubt, str(exc), now, report)
                return  # the next poll tells whether it is only this window that is refused
        if pending:
            log.warning("sweep_unfinished", source=self._state.source, windows_left=len(pending))

    # -- what to ask ---------------------------------------------------------------------------------------------------

    def _due(self, polled_from: datetime, now: datetime, report: PollReport) -> list[UnprovedWindow]:
        """Give what is to be asked by now, what was due first before all others; sweeps that are due are added to it."""
        with self._database.read() as connection:
            asked = sweeps.read(connection, self._state.source)
            known = unproved_windows.read(connection, self._state.source)
        unfinished = {doubt.reach for doubt in known if not doubt.failure_count}
        wholes = sweep_windows(self._reaches, polled_from, now, self._state.marks.begins_at, self._bounds)
        due = due_reaches([reach for reach, _ in wholes], asked, now) - unfinished
        taken = [Window(doubt.starts_at, doubt.ends_at) for doubt in known if doubt.failure_count]
        parts = [
            self._doubt(part, reach, now) for reach, whole in wholes if reach in due for part in beside(whole, taken)
        ]
        if due:
            with self._database.write() as connection:
                unproved_windows.write(connection, parts)
                for reach in due:
                    sweeps.note(connection, self._state.source, reach, now)
        oldest = polled_from - sum(self._reaches, timedelta(0))
        left = [
            doubt for doubt in known if doubt.failure_count and doubt.reach != SECOND_LOOK and doubt.ends_at <= oldest
        ]
        self._leave(left, report)
        return [doubt for doubt in known + parts if doubt not in left and _is_due(doubt, now)]

    def _leave(self, left: Sequence[UnprovedWindow], report: PollReport) -> None:
        """Leave to people what could not be proved while a sweep reached it, and report it if that was not done yet."""
        for doubt in left:
            if doubt.failure_count < TOLD_AFTER:
                reported = replace(doubt, failure_count=TOLD_AFTER)
                self._replace(doubt, [reported])
                report.failing.append(reported)

    def _doubt(self, window: Window, reach: timedelta, now: datetime, failure_count: int = 0) -> UnprovedWindow:
        return UnprovedWindow(
            source=self._state.source,
            starts_at=window.start,
            ends_at=window.end,
            reach=reach,
            due_at=now,
            failure_count=failure_count,
        )

    # -- one window ----------------------------------------------------------------------------------------------------

    def _ask(self, doubt: UnprovedWindow, now: datetime, report: PollReport) -> list[UnprovedWindow]:
        """Compare counts; where they differ, halve or read. Gives what is to be asked instead, kept in its place."""
        window = Window(doubt.starts_at, doubt.ends_at)
        if doubt.reach != SECOND_LOOK and not self._has_changed(window, report):
            self._replace(doubt, [])
            return []
        most = self._pager.page_size if doubt.reach == SECOND_LOOK else PAGE_RECORDS
        parts = self._halves(window, most, is_place_unsure=bool(self._untimed(window)[1]))
        if not parts:
            result = self._reader.read(window, report)
            log.info(
                "window_swept", source=self._state.source, start=window.start, end=window.end, method=result.method
            )
            parts = list(result.parts)
            if not parts and result.method is None:
                parts = self._cut(window) if result.is_divisible and self._cuts_left > 0 else []
                self._cuts_left -= bool(parts)
                if not parts:
                    self._put_off(doubt, result.reason, now, report)
                    return []
        instead = [self._doubt(part, doubt.reach, now, doubt.failure_count) for part in parts]
        self._replace(doubt, instead)
        return instead

    def _has_changed(self, window: Window, report: PollReport) -> bool:
        """Say whether the upstream counts what cannot be what is stored, or nobody can tell."""
        if window.start < first_compared(self._state.marks.begins_at, self._bounds):
            return True
        inner, outer = self._surroundings(window)
        untimed, unsure = self._untimed(window)
        with self._database.read() as connection:
            sure = Counter(records.count_kinds(connection, self._state.source, inner.start, inner.end)) + untimed
            near = Counter(records.count_kinds(connection, self._state.source, outer.start, outer.end)) + untimed
        if unsure or sure != near:
            return True  # a late record and one at a bound count alike
        claim = self._pager.count(window, report)
        return not _agrees(claim, sure, is_total_trusted=self._state.is_total_trusted)

    def _untimed(self, window: Window) -> tuple[Counter[str], Counter[str]]:
        """Count the records without a readable time that lie in a window, and those that may."""
        return self._state.untimed.count(*self._surroundings(window))

    def _surroundings(self, window: Window) -> tuple[Window, Window]:
        """Give what is certainly asked for in a window's place, and what may come of it: bounds may be inclusive or not."""
        asked = self._state.widened(window)
        return Window(asked.start + 2 * EDGE, asked.end - 2 * EDGE), Window(
            asked.start - 2 * EDGE, asked.end + 2 * EDGE
        )

    def _halves(self, window: Window, most: int, *, is_place_unsure: bool) -> list[Window]:
        """Cut a window where counts tell which half is worth reading: what holds more than `most`, or narrows down a place."""
        with self._database.read() as connection:
            size = sum(records.count_kinds(connection, self._state.source, window.start, window.end).values())
        is_long = is_place_unsure and window.end - window.start > UNTIMED_SPAN
        return self._cut(window) if (is_long or size > most) and self._state.is_total_trusted else []

    def _cut(self, window: Window) -> list[Window]:
        """Cut a window in halves, at an instant that no record is near; none where there is no such place."""
        bounds = self._bounds
        middle = bounds.before(window.start + (window.end - window.start) / 2)
        if not window.start + bounds.step < middle < window.end - bounds.step:
            return []
        return [Window(window.start, middle), Window(middle, window.end)]

    def _put_off(self, doubt: UnprovedWindow, why: str, now: datetime, report: PollReport) -> None:
        """Keep what could not be proved for later; the third time in a row, people are told."""
        wait = min(FIRST_WAIT * 2 ** min(doubt.failure_count, 10), LONGEST_WAIT)
        failed = replace(doubt, failure_count=doubt.failure_count + 1, due_at=now + wait, why=why)
        self._replace(doubt, [failed])
        if failed.failure_count == TOLD_AFTER:
            report.failing.append(failed)

    def _replace(self, doubt: UnprovedWindow, instead: Iterable[UnprovedWindow]) -> None:
        with self._database.write() as connection:
            unproved_windows.delete(connection, doubt)
            unproved_windows.write(connection, instead)

    @property
    def _bounds(self) -> Bounds:
        return Bounds(self._state.unit, self._is_quiet)

    def _is_quiet(self, start: datetime, end: datetime) -> bool:
        with self._database.read() as connection:
            return records.is_quiet(connection, self._state.source, start, end)


def _agrees(claim: Claim, held: Counter[str], *, is_total_trusted: bool) -> bool:
    """Say whether the upstream counts what is stored."""
    if claim.counts is not None and is_total_trusted and sum(claim.counts.values()) == claim.size:
        return +Counter(claim.counts) == held
    if claim.size is not None and is_total_trusted:
        return claim.size == held.total()
    return False  # nothing that counts is told: only reading again shows


def _is_due(doubt: UnprovedWindow, now: datetime) -> bool:
    """Say whether to ask; a time beyond the longest wait comes from a clock that was set back since."""
    return not timedelta(0) < doubt.due_at - now <= LONGEST_WAIT
