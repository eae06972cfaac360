"""Compare what the upstream counts in a window with what is stored, and cut a window whose counts differ.

Sweeps do this with older windows, and polls with the part of their window that was proved before.
"""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from datetime import datetime

from sqlalchemy import Connection

from actionwatch.base.clock import MICROSECOND
from actionwatch.base.errors import BadRequest, BadResponse
from actionwatch.store import source_records
from actionwatch.tail.cursor import EDGE, Window
from actionwatch.tail.pager import Pager
from actionwatch.tail.planning import Bounds
from actionwatch.tail.state import PollReport, TailState


class Comparison:
    """Compares windows of one source."""

    def __init__(self, state: TailState, pager: Pager) -> None:
        self._state = state
        self._pager = pager
        self._overlap: tuple[Window, Counter[str]] | None = None
        """What the store held in the part of the overlap that the last poll counted."""

    @property
    def is_possible(self) -> bool:
        """Whether the upstream's counts per kind are usable."""
        return self._state.is_total_trusted and self._state.has_kind_counts and self._state.gives_counts

    def bounds(self, connection: Connection) -> Bounds:
        """Return what chooses bounds at which counts can be compared, by the records that a transaction sees."""
        is_quiet = functools.partial(source_records.is_quiet, connection, self._state.source)
        return Bounds(self._state.unit, is_quiet)

    def is_unchanged(self, window: Window, report: PollReport, *, is_overlap: bool = False) -> bool:
        """Return whether the upstream counts what is stored, of each kind. False also if that cannot be compared.

        `is_overlap`: the window differs little from the last one that was compared so, and is not counted in the store again.
        """
        if not self.is_possible:
            return False
        with self._state.database.read() as connection:
            is_conclusive = self.bounds(connection).is_conclusive(window)
        if not is_conclusive:
            return False
        counted = self._ask_counts(window, report)
        if counted is None:
            return False
        asked = self._state.widened(window)
        inner = Window(asked.start + EDGE, asked.end - EDGE)
        with self._state.database.read() as connection:
            if is_overlap and self._moved_overlap(connection, inner) == counted:
                self._overlap = inner, counted
                return True
            held = self._count(connection, inner.start, inner.end)
        if is_overlap:
            self._overlap = inner, held
        return counted == held

    def try_counts(self, window: Window, report: PollReport) -> None:
        """Ask for the counts of a window if those before were unusable, in case they are usable again."""
        if self._state.is_total_trusted and self._state.has_kind_counts and not self._state.gives_counts:
            with contextlib.suppress(BadRequest, BadResponse):  # as before
                self._ask_counts(window, report)

    def holds_more(self, window: Window, count: int) -> bool:
        """Return whether more than `count` records of a window are stored."""
        with self._state.database.read() as connection:
            return source_records.has_more(connection, self._state.source, window.start, window.end, count)

    def halves(self, window: Window, most: int) -> list[Window]:
        """Cut a window that holds more than `most` records. Return nothing if it cannot be cut, or holds fewer."""
        return self.cut(window) if self._state.is_total_trusted and self.holds_more(window, most) else []

    def cut(self, window: Window) -> list[Window]:
        """Cut a window in halves, at an instant without a record near it; return nothing if there is no such instant."""
        if not window.is_divisible(self._state.least):
            return []
        with self._state.database.read() as connection:
            bounds = self.bounds(connection)
            middle = bounds.before(window.start + (window.end - window.start) / 2)
        if middle <= window.start + bounds.step:  # the other half is not shorter
            return []
        return [Window(window.start, middle), Window(middle, window.end)]

    def _ask_counts(self, window: Window, report: PollReport) -> Counter[str] | None:
        self._state.gives_counts = False  # also if they are refused
        counted = self._pager.count(window, report).whole_counts
        self._state.gives_counts = counted is not None
        return counted

    def _moved_overlap(self, connection: Connection, inner: Window) -> Counter[str] | None:
        """Return what is held now, from what the last poll counted and what has entered and left the window since.

        None if it must be counted: there is no last poll, or the number of stored records shows that others changed too.
        """
        if self._overlap is None:
            return None
        before, known = self._overlap
        counts = Counter(known)
        counts.update(self._count(connection, inner.start, before.start - MICROSECOND))
        counts.update(self._count(connection, before.end + MICROSECOND, inner.end))
        counts.subtract(self._count(connection, before.start, inner.start - MICROSECOND))
        counts.subtract(self._count(connection, inner.end + MICROSECOND, before.end))
        is_sound = counts.total() == source_records.count_held(connection, self._state.source, inner.start, inner.end)
        return +counts if is_sound else None

    def _count(self, connection: Connection, start: datetime, end: datetime) -> Counter[str]:
        return source_records.count_kinds(connection, self._state.source, start, end)
