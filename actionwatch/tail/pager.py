"""Read the pages of a window: each record is handed to the `RecordWriter`, and the walk is returned as a value."""

from __future__ import annotations

from collections import Counter

from actionwatch.instaclustr.client import PAGE_SIZE, Client
from actionwatch.instaclustr.query import Query
from actionwatch.instaclustr.wire import Page
from actionwatch.net.http_response import HttpResponse
from actionwatch.tail import bounds
from actionwatch.tail.cursor import MAX_WINDOW_RECORDS, Window
from actionwatch.tail.proof import Claim, Walk
from actionwatch.tail.record_writer import RecordWriter
from actionwatch.tail.state import PollReport, Stopped, TailState
from actionwatch.tail.walk import WindowScan, ignored_bounds


class Pager:
    """Reads pages of one source."""

    def __init__(self, upstream: Client, state: TailState, writer: RecordWriter) -> None:
        self._upstream = upstream
        self._state = state
        self._writer = writer

    def walk(self, window: Window, report: PollReport, number: int = 0, earlier: Walk | None = None) -> WindowScan:
        """Read all pages of a window once. `number` counts the walks through it from 0; `earlier` is the one before.

        The records are stored when the walk ends, or when an error breaks it off.
        """
        self._writer.begin_walk()
        try:
            scan = self._walk(window, report, number, earlier)
        except Exception:
            self._writer.flush(report, is_over=False)  # what came before the error need not wait for the next poll
            raise
        self._writer.flush(report, is_over=scan.is_whole)
        scan.walk.is_in_doubt = self._writer.aliases.is_in_doubt
        return scan

    def first_page(self, window: Window) -> HttpResponse:
        """Request the first page of a walk through a window, and read nothing of it."""
        asked = self._state.widened(window)
        query = Query(start=asked.start, end=asked.end, with_counts=True)
        return self._upstream.first_page(query, self._state.options.page_size)

    def count(self, window: Window, report: PollReport) -> Claim:
        """Ask what the upstream counts in a window, with one small request."""
        asked = self._state.widened(window)
        page = self._upstream.counts(Query(start=asked.start, end=asked.end))
        report.request_count += 1
        self._state.server.compare(page.server_date)
        return Claim(page.total, page.counts)

    def keys(self, query: Query, asked: Window, report: PollReport, page_size: int | None = None) -> Counter[str]:
        """Read all pages of a query, and count the record keys."""
        keys: Counter[str] = Counter()
        size = page_size or self._state.options.page_size
        for page in self._upstream.user_actions(query, page_size=size, trusts_total=False):
            self._take(page, asked, report)
            keys.update(record.key for record in page.records)
        self._writer.flush(report, is_over=False)  # a filter shows a part only
        return keys

    def _walk(self, window: Window, report: PollReport, number: int, earlier: Walk | None) -> WindowScan:
        size = self._page_size(number, earlier)
        # If one page was all there is, the walk before has asked for a page after it: this one need not.
        is_one_page = earlier is not None and earlier.page_count == 1 and earlier.is_ended and earlier.received < size
        scan = WindowScan(window, self._state.widened(window))
        query = Query(start=scan.asked.start, end=scan.asked.end, with_counts=True)
        received, self._state.received = self._state.received, None
        first = received.response if received is not None and received.asked == scan.asked else None
        is_trusted = self._state.is_total_trusted
        for page in self._upstream.user_actions(query, page_size=size, trusts_total=is_trusted, first=first):
            self._writer.aliases.note_page(page.records)
            ignored = self._take(page, scan.asked, report)
            scan.take_page(page, is_unbounded=bool(ignored), prove_until=self._state.server.prove_until())
            if self._is_everything(scan.walk, is_short=len(page.records) < size):
                self._writer.flush(report, is_over=True)  # only what proves that it is everything comes after it
            self._find_unit(page, report)
            if self._state.is_stopping:
                raise Stopped
            scan.is_whole = scan.asked == self._state.widened(window) and not self._is_too_large(scan)
            if not scan.is_whole or (is_one_page and not self._state.is_total_trusted):
                break
        else:
            self._count_again(scan, query, report)
        return scan

    def _page_size(self, number: int, earlier: Walk | None) -> int:
        if earlier is not None and earlier.has_repeats and earlier.received < PAGE_SIZE:
            return PAGE_SIZE  # equal records on one page are twins; if the order changes, two walks may agree by chance
        size = self._state.options.page_size
        if number % 2 == 0:
            return size
        # Every other walk has other page boundaries: it shows what a shifted page hid from the one before. If the upstream
        # gives smaller pages than requested, their size counts.
        shown = earlier.largest_page if earlier is not None and earlier.page_count > 1 else size
        return max(min(shown, size) * 2 // 3, 1)

    def _take(self, page: Page, asked: Window, report: PollReport) -> set[str]:
        """Have the records of a page stored, and return the bounds that the page exceeds."""
        ignored = ignored_bounds(page, asked)
        report.request_count += 1
        report.ignored_filters |= ignored
        report.has_records = report.has_records or bool(page.records)
        self._state.server.compare(page.server_date)
        self._writer.hold(page.records, report)
        return ignored

    def _is_everything(self, walk: Walk, *, is_short: bool) -> bool:
        """Return whether as many records were received as the upstream counts. An untrusted total needs a short page."""
        size = walk.before.size
        return size is not None and walk.received >= size and (is_short or self._state.is_total_trusted)

    def _is_too_large(self, scan: WindowScan) -> bool:
        """Return whether to read the window in parts."""
        size = scan.size(is_total_trusted=self._state.is_total_trusted)
        is_divisible = scan.window.is_divisible(self._state.least) and not scan.is_unbounded
        return size > MAX_WINDOW_RECORDS and is_divisible

    def _find_unit(self, page: Page, report: PollReport) -> None:
        """Learn the unit of the upstream's bounds from a record that it just showed, once a day."""
        if not page.records or not bounds.is_due(self._state.marks, self._state.clock()):
            return
        record = bounds.choose_record(page.records)
        if record is not None:
            now = self._state.clock()
            self._state.marks = bounds.find_unit(self._upstream, record, self._state.marks, now, report)

    def _count_again(self, scan: WindowScan, query: Query, report: PollReport) -> None:
        """Ask for the total after the walk, unless the last page came after all records, or the upstream reports none."""
        walk = scan.walk
        is_one_page = len(walk.claims) == 1 and self._state.is_total_trusted
        if walk.before.size is None or is_one_page or walk.is_ended:
            return
        page = self._upstream.counts(query)
        self._writer.aliases.note_page(page.records, is_first=False)
        self._take(page, scan.asked, report)
        walk.claims.append(Claim(page.total, page.counts))
