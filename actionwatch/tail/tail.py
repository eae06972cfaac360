"""Tail: the upstream's user actions -> stored records, with proof.

One `Tail` a source. Each poll reads a frozen window from one overlap before the high-water mark to the server's now. The marks
move only with windows that were proved, each in one transaction; killed anywhere, the next poll reads the same window again and
changes nothing twice. While a backlog is read, the newest records keep coming; when there is none, older windows are swept.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

import structlog

from actionwatch.base.errors import SourceError, StoreError
from actionwatch.instaclustr.query import Query
from actionwatch.store import marks, polls
from actionwatch.store.database import Database
from actionwatch.tail.catching_up import CatchingUp, OnBacklog
from actionwatch.tail.cursor import Window, next_window
from actionwatch.tail.health import SourceWatch
from actionwatch.tail.sweeping import Sweeper
from actionwatch.tail.window_scan import PollReport, Reading
from actionwatch.tail.windows import AccountName, Stopped, Upstream, WindowReader

SURPRISE = timedelta(minutes=1)  # the upstream's clock turned out to be so much later than a poll took it to be
MAX_HALVINGS = 12  # per poll: a window that never agrees must not keep a source from its newest records

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class TailOptions:
    """What the configuration says about a source, as far as tailing goes."""

    name: str
    organisation: str
    start: Literal["now"] | timedelta | datetime = "now"
    overlap: timedelta = timedelta(minutes=15)
    sweeps: tuple[timedelta, ...] = ()
    page_size: int = 1000
    alert_backlog: bool = False
    poll_interval: timedelta = timedelta(seconds=30)
    configured: frozenset[str] = frozenset()
    """The names of all sources: marks of another name are those of a source that was removed or renamed."""


class Tail:
    """The step, for one source. One poll at a time."""

    def __init__(
        self,
        options: TailOptions,
        upstream: Upstream,
        database: Database,
        watch: SourceWatch,
        clock: Callable[[], datetime],
        on_stored: Callable[[], None] = lambda: None,
        account_name: AccountName = lambda _, __, told: told,
        on_backlog: OnBacklog = lambda _: None,
    ) -> None:
        """`on_stored` is called whenever new records were committed; `account_name` gives the name of the day.

        `on_backlog` is told how far it is while it catches up.
        """
        self._options = options
        self._upstream = upstream
        self._database = database
        self._watch = watch
        self._clock = clock
        self._reader = WindowReader(
            options.name,
            options.page_size,
            options.overlap,
            upstream,
            database,
            clock,
            on_stored,
            account_name,
        )
        self._sweeper = Sweeper(options.name, options.sweeps, self._reader, database)
        self._catching_up = CatchingUp(options.name, options.poll_interval, database, clock, on_backlog)
        self._unproved_polls = 0
        self._noted_at: float | None = None

    @property
    def age(self) -> timedelta | None:
        """How long ago the last poll of this process was noted; None before that. Not told by a clock that can be set."""
        return None if self._noted_at is None else timedelta(seconds=time.monotonic() - self._noted_at)

    def follow_clock(self, step: timedelta) -> None:
        """Take the upstream's time to go on from before: our clock was set."""
        self._reader.server.follow_clock(step)
        self._catching_up.follow_clock(step)

    def stop(self) -> None:
        """Leave the poll under way at the next page."""
        self._reader.stopping.set()

    def run_once(self) -> PollReport:
        """Poll once: read, store and prove what is new; report what stands in the way. Never raises a SourceError."""
        report = PollReport()
        try:
            self._poll(report)
        except Stopped:
            return report
        except SourceError as exc:
            report.error = exc
        self._note(report)
        return report

    # -- one poll, top to bottom ---------------------------------------------------------------------------------------

    def _poll(self, report: PollReport) -> None:
        self._reader.marks = self._marks(report)
        skew = self._reader.server.skew
        is_whole = self._read_all([self._window(self._reader.marks)], report)
        if self._reader.server.skew - skew > SURPRISE:  # the window ended long before now
            is_whole = self._read_all([self._window(self._reader.marks)], report)
        self._unproved_polls = 0 if is_whole else self._unproved_polls + 1
        if is_whole:
            # By the mark as it is now: retention keeps what the sweeps ask for by the mark in the store.
            self._sweeper.run_once(self._window(self._reader.marks).start, report)

    def _window(self, known: marks.Marks) -> Window:
        return next_window(known.begins_at, known.mark, self._reader.server.now(), self._options.overlap)

    def _read_all(self, pending: list[Window], report: PollReport) -> bool:
        """Read windows, oldest last in the list, cutting where needed; say whether all of them were proved."""
        halvings_left = MAX_HALVINGS >> self._unproved_polls  # what cannot be proved is asked for less and less
        is_gapless = True  # no window before this one stayed without proof: the marks may move
        live_at, noted_count = time.monotonic(), 0
        while pending:
            part = pending.pop()
            advance = self._advance if is_gapless else self._stay
            is_passed = self._catching_up.is_active and bool(pending)
            reading = self._reader.read(part, report, advance=advance, is_new=True, is_passed=is_passed)
            pieces = reading.parts
            if pieces:
                self._catching_up.begin(part)
            if not pieces and reading.method is None and reading.is_divisible and halvings_left > 0:
                halvings_left -= 1
                pieces = part.slices(2, reading.least)
            pending += reversed(pieces)
            if not pieces and reading.method is None:
                is_gapless = False
                report.unproved.append(f"{part.start.isoformat()} to {part.end.isoformat()}: {reading.doubt}")
            if pending and time.monotonic() - live_at >= self._options.poll_interval.total_seconds():
                live_at = time.monotonic()
                self._read_live(report)
            if not pieces:
                self._catching_up.note(part.end, report.new_count - noted_count)
                noted_count = report.new_count
        self._catching_up.end()
        if not is_gapless:
            self._note_seen(reading.through)
        return is_gapless

    def _note_seen(self, through: datetime) -> None:
        """Write down how far everything was read though not proved: what turns up before that from now on is late."""
        known = self._reader.marks
        seen = replace(known, seen_through=max(known.seen_through, through))
        with self._database.write() as connection:
            marks.write(connection, seen)
        self._reader.marks = seen

    def _read_live(self, report: PollReport) -> None:
        """While a backlog is read, keep the newest records coming; only the backlog's own windows move the marks."""
        now = self._reader.server.now()
        self._reader.glance(next_window(self._reader.marks.begins_at, now, now, self._options.overlap), report)

    def _advance(self, reading: Reading) -> marks.Marks:
        """Give the marks after a window that was proved and has no gap before it."""
        known, through = self._reader.marks, reading.through
        return replace(
            known,
            mark=max(known.mark, min(reading.newest or known.mark, through)),
            seen_through=max(known.seen_through, through),
            proved_through=max(known.proved_through, through),
        )

    def _stay(self, _: Reading) -> marks.Marks:
        """Give the marks after a window that was proved beyond a gap."""
        return self._reader.marks

    # -- where it begins -----------------------------------------------------------------------------------------------

    def _marks(self, report: PollReport) -> marks.Marks:
        """Read the marks, or begin: the first answer's clock says what "now" is."""
        with self._database.read() as connection:
            found = marks.read(connection, self._options.name)
        if found is not None:
            return found
        if (renamed := self._take_over()) is not None:
            return renamed
        now = self._reader.server.now()
        page = self._upstream.counts(Query(start=now - timedelta(minutes=1), end=now))
        report.request_count += 1
        self._reader.server.watch(page)
        begun = self._begin(self._reader.server.now())
        with self._database.write() as connection:
            marks.write(connection, begun)
        return begun

    def _take_over(self) -> marks.Marks | None:
        """Go on where a source that is no longer configured left the same organisation: this one is it, renamed.

        To begin anew would leave out what happened since, silently.
        """
        with self._database.write() as connection:
            left = [
                each
                for each in marks.read_all(connection).values()
                if each.organisation == self._options.organisation and each.name not in self._options.configured
            ]
            if not left:
                return None
            latest = max(left, key=lambda each: (each.mark, each.name))
            renamed = marks.rename(connection, latest, self._options.name)
        log.info("source_renamed", source=renamed.name, before=latest.name, mark=renamed.mark)
        return renamed

    def _begin(self, now: datetime) -> marks.Marks:
        start = self._options.start
        begins_at = now if start == "now" else now - start if isinstance(start, timedelta) else min(start, now)
        return marks.Marks(
            name=self._options.name,
            organisation=self._options.organisation,
            begins_at=begins_at,
            alerts_from=begins_at if self._options.alert_backlog else now,
            mark=begins_at,
            seen_through=begins_at,
            proved_through=begins_at,
        )

    # -- what people hear ----------------------------------------------------------------------------------------------

    def _note(self, report: PollReport) -> None:
        """Write down how the poll went, and have the troubles that follow reported or settled."""
        name, error = self._options.name, report.error
        try:
            with self._database.write() as connection:
                told = str(error) if error else None
                failures = polls.note(connection, name, self._clock(), told, self._reader.server.skew)
        except StoreError as exc:
            log.warning("poll_not_noted", source=name, error=str(exc))
            return
        self._noted_at = time.monotonic()
        if error is None:
            self._watch.judge_poll(report, self._reader)
            log.debug("poll_completed", source=name, new=report.new_count, requests=report.request_count)
        else:
            self._watch.judge_failure(error, failures)
            log.warning("poll_failed", source=name, error=str(error), failures=failures)
