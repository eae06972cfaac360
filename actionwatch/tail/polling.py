"""One poll of a source: read, store and prove what is new, catch up with a backlog, then sweep older windows.

The window of a poll begins one overlap before the high-water mark and ends at the server's now. If it holds more than one
page, the part that was proved before is counted, and only what differs is read again. If counts are unusable, what two polls
have read is left to the sweeps, which read it less often. The marks move only with proved windows, each in one transaction. If
the process is killed, the next poll begins with the same window and changes nothing twice.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from actionwatch.base.errors import BadRequest, BadResponse
from actionwatch.store import marks, receipts
from actionwatch.tail.catching_up import SOON, CatchingUp
from actionwatch.tail.comparison import Comparison
from actionwatch.tail.cursor import IGNORED_SKEW, Window, next_window
from actionwatch.tail.pager import Pager
from actionwatch.tail.planning import proved_part, read_part
from actionwatch.tail.reading import WindowReader
from actionwatch.tail.receipt_writer import WindowRole
from actionwatch.tail.state import ALLOWED_SKEW, GaveWay, PollReport, TailState
from actionwatch.tail.sweeping import Sweeper
from actionwatch.text.payloads import instant

_MAX_HALVINGS = 12  # per poll: a window that never agrees must not keep a source from its newest records
_READINGS = 2  # of each instant, if counts are unusable, before it is read less often
MAX_COUNTS = 64  # per poll: if more of the overlap differs, the rest is read

log = structlog.get_logger()


class Poller:
    """Polls one source, whose marks are in `state`."""

    _counts_left: int

    def __init__(
        self,
        state: TailState,
        pager: Pager,
        comparison: Comparison,
        reader: WindowReader,
        sweeper: Sweeper,
        catching_up: CatchingUp,
    ) -> None:
        self._state = state
        self._pager = pager
        self._comparison = comparison
        self._reader = reader
        self._sweeper = sweeper
        self._catching_up = catching_up
        self._unproved_polls = 0
        self._read_through: deque[datetime] = deque(maxlen=_READINGS)
        """Through which time each of the last polls has proved its window, if it read all that is not left to the sweeps."""

    def run_once(self, report: PollReport) -> None:
        """Poll once. Raises: SourceError, Stopped, GaveWay."""
        skew = self._state.server.skew
        self._rewind(report)
        known, is_whole = self._read_once(report)
        if self._state.server.skew - skew > IGNORED_SKEW:  # our clock was set back: the window ended before now
            known, is_whole = self._read_once(report)
        self._unproved_polls = 0 if is_whole else self._unproved_polls + 1
        if is_whole:
            # From the mark as it is now: retention keeps what the sweeps ask for by the mark in the store.
            self._sweeper.run_once(self._state.next_window().start, known, report)

    def _read_once(self, report: PollReport) -> tuple[Window | None, bool]:
        """Read the window of the poll.

        Returns: the part that is counted instead, or left to the sweeps; and whether everything else was proved.
        """
        window, received = self._state.next_window(), self._state.received
        if received is not None and received.window.start <= window.start:
            window = received.window
        is_long = self._is_long(window)
        if is_long:
            self._comparison.try_counts(window, report)
        is_counted = self._comparison.is_possible
        known = self._known_part(window, is_counted=is_counted) if is_long else None
        pending = [window] if known is None else [Window(known.end, window.end)]
        if known is not None and is_counted:
            pending.append(known)
        is_whole = self._read_all(pending, known, report)
        if is_whole and not is_counted:
            self._read_through.append(self._state.marks.proved_through)
        else:
            self._read_through.clear()
        return known, is_whole

    def _is_long(self, window: Window) -> bool:
        """Return whether one page does not hold a window."""
        options, page_records = self._state.options, self._state.page_records
        is_cut = bool(options.overlap) and self._state.marks.bounds_unit is not None
        return is_cut and self._comparison.holds_more(window, page_records)

    def _known_part(self, window: Window, *, is_counted: bool) -> Window | None:
        """Return the part of a window that need not be read: it can be counted, or else several polls have read it."""
        known = self._state.marks
        if is_counted:
            with self._state.database.read() as connection:
                bounds = self._comparison.bounds(connection)
                return proved_part(window, known.proved_through, known.begins_at, bounds)
        if len(self._read_through) < _READINGS:
            return None
        return read_part(window, min(self._read_through[0], known.proved_through), self._state.unit)

    def _rewind(self, report: PollReport) -> None:
        """If marks lie in the future, set them to the last proof that does not.

        This machine's clock was ahead when the source began.
        """
        known = self._state.marks
        if self._marks_ahead():
            self._pager.count(self._state.next_window(), report)  # the response shows the upstream's clock
        ahead = self._marks_ahead()
        if not ahead:
            return
        passed = self._state.server.passed()
        with self._state.database.write() as connection:
            proved_end = receipts.delete_unsound(connection, known.name, passed, ALLOWED_SKEW)
            sound = proved_end or min(known.begins_at, passed)
            moved: dict[str, Any] = dict.fromkeys(ahead, sound)
            self._state.marks = replace(known, **moved)
            marks.write(connection, self._state.marks)
        report.mark_ahead = max(ahead.values())
        mark, continues_from = instant(report.mark_ahead), instant(sound)
        log.error("mark_ahead", source=known.name, mark=mark, continues_from=continues_from)

    def _marks_ahead(self) -> dict[str, datetime]:
        known = self._state.marks
        return {name: at for name in marks.TIMES if self._state.server.is_ahead(at := getattr(known, name))}

    def _read_all(self, pending: list[Window], known: Window | None, report: PollReport) -> bool:
        """Read windows, the oldest last in the list, and cut them if needed; return whether all of them were proved.

        Windows within `known` are compared first, and read if they differ.
        """
        halvings_left = _MAX_HALVINGS >> self._unproved_polls  # fewer and fewer requests for what cannot be proved
        self._counts_left = MAX_COUNTS
        is_gapless = True
        live_at, noted_count = self._state.elapsed(), 0
        while pending:
            window = pending.pop()
            is_new = known is None or window.end > known.end
            if not is_new:
                differing = self._differing(window, report, is_whole=window == known)
                if differing != [window]:
                    pending += reversed(differing)
                    continue
            is_left = bool(pending) or window.end - window.start > self._state.options.overlap
            is_passed = self._catching_up.is_active and is_left
            role = WindowRole(is_new=is_new, is_gapless=is_gapless, is_passed=is_passed)
            result = self._reader.read_window(window, report, role)
            parts = list(result.parts)
            if parts:
                if is_new:
                    self._catching_up.begin(window)
            elif result.method is None and result.is_divisible and halvings_left > 0:
                halvings_left -= 1
                parts = window.slices(2, self._state.least)
            pending += reversed(parts)
            if not parts and result.method is None:
                is_gapless = False
                report.unproved.append(f"{window.start.isoformat()} to {window.end.isoformat()}: {result.reason}")
            if not parts:
                self._catching_up.note_progress(window.end, report.new_count - noted_count)
                noted_count = report.new_count
            waited = timedelta(seconds=self._state.elapsed() - live_at)
            # What is older than a record that was matched costs the matcher many times as much: a short rest is read in order.
            is_awaited = self._catching_up.ends_soon and waited < SOON
            if pending and waited >= self._state.options.poll_interval and not is_awaited:
                live_at = self._state.elapsed()
                self._read_newest(report)
                if self._state.gives_way():
                    raise GaveWay
        self._catching_up.end()
        if not is_gapless:
            self._note_seen(result.through)
        return is_gapless

    def _differing(self, window: Window, report: PollReport, *, is_whole: bool) -> list[Window]:
        """Return what of a window to compare or read: nothing if it is unchanged, its halves, or itself to read it."""
        if self._counts_left > 0:
            self._counts_left -= 1
            try:
                if self._comparison.is_unchanged(window, report, is_overlap=is_whole):
                    return []
            except (BadRequest, BadResponse):  # pages may still come
                self._counts_left = 0
        is_worth_halving = self._counts_left > 0 and self._comparison.is_possible
        halves = self._comparison.halves(window, self._state.page_records) if is_worth_halving else []
        return halves or [window]

    def _note_seen(self, through: datetime) -> None:
        """Note that everything before a time was read though not proved: a record before it that appears later is late."""
        known = self._state.marks
        self._state.commit(replace(known, seen_through=max(known.seen_through, through)))

    def _read_newest(self, report: PollReport) -> None:
        """Store the newest records while a backlog is read. They prove nothing; only the backlog's windows move the marks."""
        now = self._state.server.read_until()
        self._pager.walk(next_window(self._state.marks.begins_at, now, now, self._state.options.overlap), report)
