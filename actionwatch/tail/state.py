"""The state that the parts of one source's tail share while it runs: its progress, and its knowledge of the upstream."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from actionwatch.base.errors import SourceError
from actionwatch.net.http_response import HttpResponse
from actionwatch.store import marks
from actionwatch.store.database import Database
from actionwatch.store.marks import Marks
from actionwatch.store.receipts import StoredReceipt
from actionwatch.store.unproved_windows import UnprovedWindow
from actionwatch.tail.cursor import COARSEST_UNIT, EDGE, IGNORED_SKEW, MIN_WINDOW, Window, next_window
from actionwatch.tail.proof import Walk, confirms_totals, counts_kinds, refutes_totals

ALLOWED_SKEW = timedelta(minutes=5)  # the upstream's clock is trusted if this machine's confirms it so closely
_HALF_A_SECOND = timedelta(milliseconds=500)  # a `Date` is cut to whole seconds: on average, it is so much later


class Stopped(Exception):
    """The service is stopping: the poll breaks off, and the next one resumes from the marks."""


class GaveWay(Exception):
    """A poll that reads a backlog ends, because others wait. The next one resumes from the marks."""


@dataclass(frozen=True, slots=True)
class TailOptions:
    """The part of a source's configuration that concerns the tail."""

    name: str
    organisation: str
    start: Literal["now"] | timedelta | datetime = "now"
    overlap: timedelta = timedelta(minutes=15)
    sweeps: tuple[timedelta, ...] = ()
    page_size: int = 1000
    alert_backlog: bool = False
    poll_interval: timedelta = timedelta(seconds=10)
    configured: Callable[[], Collection[str]] = frozenset
    """Returns the names of all sources: marks under another name belong to a source that was removed or renamed."""


@dataclass(slots=True)
class PollReport:
    """The result of one poll."""

    new_count: int = 0
    request_count: int = 0
    proved_count: int = 0
    unproved: list[str] = field(default_factory=list)
    """Each window of the poll that is not proved, with the reason."""
    mark_ahead: datetime | None = None
    """A stored mark that lay in the future, so that the source was read again from an earlier one."""
    ignored_filters: set[str] = field(default_factory=set)
    has_records: bool = False
    """Whether any page had a record, new or not."""
    error: SourceError | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """The response to the request for the first page of a window, which a walk through it need not repeat."""

    window: Window
    asked: Window
    """What was requested for it."""
    response: HttpResponse


@dataclass(frozen=True, slots=True)
class Proof:
    """The proof of a window by requests that all had the same response, whose body has this digest."""

    window: Window
    digest: bytes
    request_count: int
    receipt: StoredReceipt


class ServerClock:
    """The clock of the upstream, from its `Date` header if that differs from ours by more than its resolution explains.

    A single header may be wrong, or forged. Our clock is the second witness: as it is, and as it would be without the steps
    by which it was set since this process started.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._is_known = False
        self._steps = timedelta(0)
        self.skew = timedelta(0)

    def now(self) -> datetime:
        """Return the server's time."""
        return self._clock() + self.skew

    def read_until(self) -> datetime:
        """Return the time up to which to read: the server's, unless it is so late that new records would be left out.

        If it is known from the header only, it is the latest that the header allows.
        """
        ours, server = self._ours(), self.now()
        if server < min(ours) - ALLOWED_SKEW:
            return max(ours)
        return server + _HALF_A_SECOND if self.skew else server

    def prove_until(self) -> datetime:
        """Return the time up to which a window can be proved: the server's, unless it is ahead of what ours confirms."""
        return min(self.now(), max(self._ours()) + ALLOWED_SKEW)

    def passed(self) -> datetime:
        """Return a time that has passed by every clock."""
        return min(self.now(), *self._ours())

    def is_ahead(self, at: datetime) -> bool:
        """Return whether a time lies in the future by every clock."""
        return at > max(self.now(), *self._ours()) + ALLOWED_SKEW

    def compare(self, date: datetime | None) -> None:
        """Compare with the `Date` of a response."""
        if date is not None:
            skew = date + _HALF_A_SECOND - self._clock()
            self.skew = skew if abs(skew) > IGNORED_SKEW else timedelta(0)
            self._is_known = True

    def follow_clock(self, step: timedelta) -> None:
        """Continue after our clock was set: the upstream's was not. If that one is unknown, ours is all there is."""
        self._steps += step
        if self._is_known:
            self.skew -= step

    def _ours(self) -> tuple[datetime, datetime]:
        now = self._clock()
        return now, now - self._steps


class TailState:
    """The state of one source's tail. `marks` are those that this process committed last."""

    marks: Marks

    def __init__(
        self,
        options: TailOptions,
        database: Database,
        clock: Callable[[], datetime],
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """`elapsed` returns seconds that no step of the clock changes."""
        self.elapsed = elapsed
        self.options = options
        self.database = database
        self.clock = clock
        self.server = ServerClock(clock)
        self.is_stopping = False
        """Whether the current poll is to break off."""
        self.gives_way: Callable[[], bool] = lambda: False
        """Whether a poll that reads a backlog is to end."""
        self.has_kind_counts = True
        """Whether the last counts were usable: those of a walk that brought records were about its kinds and added up."""
        self.gives_counts = True
        """Whether the last request for counts alone was accepted, and the counts added up."""
        self.page_records = options.page_size
        """How many records the upstream gives on one page."""
        self.received: Received | None = None
        """The first page of the next window, if it is here already."""
        self.proof: Proof | None = None
        """The last proof, if the next poll may find the same."""

    @property
    def source(self) -> str:
        """The name of the source."""
        return self.options.name

    @property
    def is_total_trusted(self) -> bool:
        """Whether totals are known to be about the window."""
        return self.marks.totals_cover_pages

    @property
    def unit(self) -> timedelta:
        """The unit of the upstream's bounds; the finest until it is known."""
        return self.marks.bounds_unit or EDGE

    @property
    def least(self) -> timedelta:
        """The shortest window that is worth a request: a request for a part of a unit returns all of it.

        Until the unit is known, requests cover whole days.
        """
        return max(self.marks.bounds_unit or COARSEST_UNIT, MIN_WINDOW)

    def next_window(self) -> Window:
        """Return the window of the next poll."""
        known, server = self.marks, self.server
        # A mark may be ahead of our clock by so much, which must not shorten the overlap.
        mark = min(known.mark, max(server.passed(), known.mark - ALLOWED_SKEW))
        return next_window(known.begins_at, mark, server.read_until(), self.options.overlap)

    def widened(self, window: Window) -> Window:
        """Return what to request for a window: its bounds in whole units of the upstream."""
        return window.widened(self.marks.bounds_unit)

    def commit(self, moved: Marks) -> None:
        """Store the marks."""
        with self.database.write() as connection:
            marks.write(connection, moved)
        self.marks = moved

    def to_check(self, window: Window, reach: timedelta, due_at: datetime, *, must_read: bool) -> UnprovedWindow:
        """Return a window as one that the sweeps have yet to check."""
        return UnprovedWindow(
            source=self.source,
            starts_at=window.start,
            ends_at=window.end,
            reach=reach,
            due_at=due_at,
            must_read=must_read,
        )

    def weigh_totals(self, walk: Walk) -> None:
        """Begin to trust totals after a walk that confirms them, and stop after one that refutes them."""
        if walk.received:
            self.has_kind_counts = counts_kinds(walk.before, walk.kinds)
        if walk.page_count > 1:
            self.page_records = min(walk.largest_page, self.options.page_size)
        is_trusted = not refutes_totals(walk) if self.is_total_trusted else confirms_totals(walk)
        if is_trusted != self.is_total_trusted:
            self.marks = replace(self.marks, totals_cover_pages=is_trusted)
