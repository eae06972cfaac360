"""Tail: the upstream's user actions -> stored records, with proof.

One `Tail` a source. Each poll reads a frozen window from one overlap before the high-water mark to the server's now, page by
page, each page committed as it comes. The marks move, and a receipt is written, in one transaction with the window's last
records, and only for a walk that counts; killed anywhere, the next poll reads the same window again and changes nothing twice.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal, Protocol

import msgspec
import structlog

from actionwatch.cursor import Claim, Walk, Window, covers_pages, judge, next_window, slice_count
from actionwatch.errors import AccessDenied, SourceError, StoreError
from actionwatch.instaclustr.identity import twin_key
from actionwatch.instaclustr.query import Query
from actionwatch.instaclustr.wire import Page
from actionwatch.model import Record
from actionwatch.pipeline.reading import Reading
from actionwatch.pipeline.troubles import Troubles
from actionwatch.store import marks, polls, receipts, records
from actionwatch.store.database import Database

WALKS = 3  # readings of one window before it is cut in halves
MAX_HALVINGS = 12  # per poll: a window that never agrees must not keep a source from its newest records
MAX_SKEW = timedelta(seconds=5)  # below it, the one-second resolution of `Date` says less than our own clock
UNREACHABLE_POLLS = 3  # failures in a row before people are told: one lost answer is no news

log = structlog.get_logger()


class Upstream(Protocol):
    """The reading client of `instaclustr/`."""

    def user_actions(self, query: Query, *, page_size: int = 1000) -> Iterator[Page]:
        """Give the pages of a window, in order."""
        ...

    def counts(self, query: Query) -> Page:
        """Ask what the window holds, with a page of one."""
        ...


@dataclass(frozen=True, slots=True)
class TailOptions:
    """What the configuration says about a source, as far as tailing goes."""

    name: str
    start: Literal["now"] | timedelta | datetime = "now"
    overlap: timedelta = timedelta(minutes=15)
    page_size: int = 1000
    alert_backlog: bool = False
    poll_interval: timedelta = timedelta(seconds=30)


@dataclass(slots=True)
class PollReport:
    """What one poll did."""

    new_count: int = 0
    request_count: int = 0
    proved_count: int = 0
    unproved: list[str] = field(default_factory=list)
    error: SourceError | None = None


class Stopped(Exception):
    """The service is ending: the poll under way is left where it is; the next one resumes from the marks."""


class Tail:
    """The step, for one source. One poll at a time."""

    def __init__(
        self,
        options: TailOptions,
        upstream: Upstream,
        database: Database,
        troubles: Troubles,
        clock: Callable[[], datetime],
        on_stored: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_stored` is called whenever new records were committed."""
        self._options = options
        self._upstream = upstream
        self._database = database
        self._troubles = troubles
        self._clock = clock
        self._on_stored = on_stored
        self._known: marks.Marks
        self._stopping = threading.Event()
        self._skew = timedelta(0)
        self._halvings_left = 0

    def stop(self) -> None:
        """Leave the poll under way at the next page."""
        self._stopping.set()

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
        known = self._marks(report)
        window = next_window(known.begins_at, known.mark, self._server_now(), self._options.overlap)
        self._halvings_left = MAX_HALVINGS
        pending = [window]
        is_gapless = True  # no window before this one stayed without proof: the marks may move
        live_at = time.monotonic()
        while pending:
            part = pending.pop()
            reading = Reading(part)
            pieces = self._read(reading, report, is_gapless=is_gapless)
            if pieces:
                pending += reversed(pieces)
            elif reading.method is None:
                is_gapless = False
                report.unproved.append(reading.doubt)
            if pending and time.monotonic() - live_at >= self._options.poll_interval.total_seconds():
                live_at = time.monotonic()
                self._read_live(report)
                log.info("backlog_read", source=self._options.name, through=part.end, windows_left=len(pending))

    def _read(self, reading: Reading, report: PollReport, *, is_gapless: bool) -> list[Window]:
        """Read a window until a walk counts; give the parts to read instead where it is too large or never agrees."""
        earlier: Walk | None = None
        for attempt in range(WALKS):
            walk = self._walk(reading, report, attempt)
            if walk is None:
                return reading.window.slices(slice_count(reading.size))
            method, reading.doubt = judge(walk, earlier, is_total_trusted=self._is_total_trusted())
            if method:
                reading.method = method
                self._complete(reading, walk, report, is_gapless=is_gapless)
                return []
            earlier = walk
        log.warning("window_unproved", source=self._options.name, start=reading.window.start, why=reading.doubt)
        if not reading.window.is_divisible or not self._halvings_left:
            return []
        self._halvings_left -= 1
        return reading.window.slices(2)

    def _walk(self, reading: Reading, report: PollReport, attempt: int) -> Walk | None:
        """Read all pages of a window once, storing each; None where there are too many records for one reading."""
        # Every other walk has other page boundaries: what a shifted page hid in one, the next one shows.
        size = self._options.page_size if attempt % 2 == 0 else max(self._options.page_size * 2 // 3, 1)
        reading.begin_walk()
        query = Query(start=reading.window.start, end=reading.window.end, with_counts=True)
        for page in self._upstream.user_actions(query, page_size=size):
            report.request_count += 1
            self._learn(reading, page)
            self._store(page, report)
            reading.take(page)
            if self._stopping.is_set():
                raise Stopped
            if reading.is_too_large:
                return None
        self._close_walk(reading, query, report)
        return reading.walk()

    def _close_walk(self, reading: Reading, query: Query, report: PollReport) -> None:
        """Ask once more what the window holds, unless its one page, or the lack of any total, makes that idle."""
        is_told = bool(reading.claims) and reading.claims[0].total is not None
        if is_told and not (reading.page_count == 1 and self._is_total_trusted()):
            page = self._upstream.counts(query)
            report.request_count += 1
            self._learn(reading, page)
            self._store(page, report)
            reading.claims.append(Claim(page.total, page.counts))

    def _read_live(self, report: PollReport) -> None:
        """While a backlog is read, keep the newest records coming; only the backlog's own windows move the marks."""
        now = self._server_now()
        reading = Reading(next_window(now - self._options.overlap, now, now, self._options.overlap))
        self._walk(reading, report, 0)

    # -- what a page and a window leave behind -------------------------------------------------------------------------

    def _store(self, page: Page, report: PollReport) -> None:
        """Commit the distinct records of a page. Further equal ones wait for a walk that counts."""
        if not page.records:
            return
        marked = [self._mark_late(record) for record in page.records]
        with self._database.write() as connection:
            new_count = records.insert_new(connection, marked)
        if new_count:
            report.new_count += new_count
            self._on_stored()

    def _mark_late(self, record: Record) -> Record:
        """Say of a record that it is backlog, or late, and by how much."""
        known = self._known
        is_backlog = record.occurred_at < known.alerts_from
        late_by = known.seen_through - record.occurred_at
        is_late = late_by > self._options.overlap and not is_backlog and record.is_time_readable
        if not is_backlog and not is_late:
            return record
        return msgspec.structs.replace(record, is_backlog=is_backlog, late_by=late_by if is_late else None)

    def _complete(self, reading: Reading, walk: Walk, report: PollReport, *, is_gapless: bool) -> None:
        """Commit what only a walk that counts can say: the twins, the receipt, and how far the marks moved."""
        window = reading.window
        through = min(window.end, reading.server_time or window.end)
        twins = [
            msgspec.structs.replace(self._mark_late(reading.repeated[key]), key=twin_key(key, ordinal))
            for key, count in walk.keys.items()
            for ordinal in range(1, count)
        ]
        known = self._known
        if is_gapless:
            known = replace(
                known,
                mark=max(known.mark, min(reading.newest or known.mark, through)),
                seen_through=max(known.seen_through, through),
                proved_through=max(known.proved_through, through),
            )
        with self._database.write() as connection:
            new_count = records.insert_new(connection, twins)
            marks.write(connection, known)
            receipts.insert(connection, self._receipt(reading, walk, report))
        self._known = known
        report.proved_count += 1
        if new_count:
            report.new_count += new_count
            self._on_stored()

    def _receipt(self, reading: Reading, walk: Walk, report: PollReport) -> receipts.WindowReceipt:
        keys = sorted(twin_key(key, ordinal) for key, count in walk.keys.items() for ordinal in range(count))
        return receipts.WindowReceipt(
            source=self._options.name,
            starts_at=reading.window.start,
            ends_at=reading.window.end,
            judged_at=self._clock(),
            method=reading.method or "",
            record_count=walk.received,
            kind_counts=walk.kinds,
            digest=hashlib.sha256("\n".join(keys).encode()).hexdigest(),
            request_count=report.request_count,
        )

    # -- marks and the server's clock ----------------------------------------------------------------------------------

    def _marks(self, report: PollReport) -> marks.Marks:
        """Read the marks, or begin: the first answer's clock says what "now" is."""
        with self._database.read() as connection:
            found = marks.read(connection, self._options.name)
        if found is None:
            now = self._server_now()
            page = self._upstream.counts(Query(start=now - timedelta(minutes=1), end=now))
            report.request_count += 1
            self._watch_clock(page)
            found = self._begin(self._server_now())
            with self._database.write() as connection:
                marks.write(connection, found)
        self._known = found
        return found

    def _begin(self, now: datetime) -> marks.Marks:
        start = self._options.start
        begins_at = now if start == "now" else now - start if isinstance(start, timedelta) else min(start, now)
        return marks.Marks(
            name=self._options.name,
            begins_at=begins_at,
            alerts_from=begins_at if self._options.alert_backlog else now,
            mark=begins_at,
            seen_through=begins_at,
            proved_through=begins_at,
        )

    def _server_now(self) -> datetime:
        return self._clock() + self._skew

    def _watch_clock(self, page: Page) -> None:
        """Keep the server's time where it differs from ours by more than its resolution explains."""
        if page.server_date is None:
            return
        skew = page.server_date + timedelta(milliseconds=500) - self._clock()
        self._skew = skew if abs(skew) > MAX_SKEW else timedelta(0)

    def _learn(self, reading: Reading, page: Page) -> None:
        """Take from an answer what it says beside its records: the clock, and what totals are worth here."""
        self._watch_clock(page)
        reading.note_server_time(page)
        if not self._known.totals_cover_pages and covers_pages(len(page.records), Claim(page.total)):
            self._known = replace(self._known, totals_cover_pages=True)

    def _is_total_trusted(self) -> bool:
        return self._known.totals_cover_pages

    # -- what people hear ----------------------------------------------------------------------------------------------

    def _note(self, report: PollReport) -> None:
        """Write down how the poll went, and report or settle the troubles that follow."""
        name, error = self._options.name, report.error
        try:
            with self._database.write() as connection:
                failures = polls.note(connection, name, self._clock(), str(error) if error else None)
        except StoreError as exc:
            log.warning("poll_not_noted", source=name, error=str(exc))
            return
        if error is None:
            self._troubles.settle("key_refused", name)
            self._troubles.settle("upstream_unreachable", name)
            log.debug("poll_completed", source=name, new=report.new_count, requests=report.request_count)
            return
        log.warning("poll_failed", source=name, error=str(error), failures=failures)
        if isinstance(error, AccessDenied):
            self._troubles.report("key_refused", name, error.what, error.remedy)
        elif failures >= UNREACHABLE_POLLS:
            what = f"{failures} polls failed in a row: {error.what}"
            self._troubles.report("upstream_unreachable", name, what, error.remedy)
