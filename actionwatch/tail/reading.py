"""Read a window until it is proved: walk it up to three times, and commit the proof.

A walk proves its window if as many records came as the upstream counts before and after it, or if two walks with different page
boundaries received the same records.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from actionwatch.base.clock import is_due
from actionwatch.instaclustr.kinds import ACCOUNT, ORGANISATION
from actionwatch.instaclustr.query import Query
from actionwatch.tail.cursor import Window, slice_count
from actionwatch.tail.pager import Pager
from actionwatch.tail.proof import TWO_WALKS, Walk, prove
from actionwatch.tail.receipt_writer import SWEPT, ReceiptWriter, WindowRole
from actionwatch.tail.state import PollReport, TailState
from actionwatch.tail.walk import WindowScan

WALKS = 3  # walks through one window before it is cut in halves
_CHECK_EVERY = timedelta(days=1)  # what two walks alone do not show

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class WindowResult:
    """The result for a window: the method that proved it, the parts to read instead, or the reason why neither."""

    through: datetime
    method: str | None = None
    reason: str = ""
    parts: tuple[Window, ...] = ()
    is_divisible: bool = False
    """Whether reading it in parts may prove it."""


class WindowReader:
    """Reads windows of one source."""

    def __init__(self, state: TailState, pager: Pager, receipt_writer: ReceiptWriter) -> None:
        self._state = state
        self._pager = pager
        self._receipt_writer = receipt_writer
        self._partitioned_at: datetime | None = None
        self._indexed_at: datetime | None = None
        """When a walk last showed that the listing continues where a page ends."""
        self._largest_page = 0
        self._ignored_filters: set[str] = set()

    def read_window(self, window: Window, report: PollReport, role: WindowRole = SWEPT) -> WindowResult:
        """Read a window until a walk proves it."""
        request_count = 0
        earlier: Walk | None = None
        for number in range(WALKS):
            scan = self._pager.walk(window, report, number, earlier)
            request_count += len(scan.walk.claims)
            self._largest_page = max(self._largest_page, scan.walk.largest_page)
            if scan.asked != self._state.widened(window):  # a page has just shown another unit of the bounds
                return self.read_window(window, report, role)
            if not scan.is_whole:
                size = scan.size(is_total_trusted=self._state.is_total_trusted)
                parts = window.slices(slice_count(size), self._state.least)
                return WindowResult(scan.through, parts=tuple(parts))
            self._state.weigh_totals(scan.walk)
            method, reason = prove(scan.walk, earlier, is_total_trusted=self._state.is_total_trusted)
            if method == TWO_WALKS:
                requested_before = report.request_count
                method, reason = self._check_index(scan, earlier, reason, report)
                if method is not None:
                    method, reason = self._check_partition(scan, reason, report)
                request_count += report.request_count - requested_before
            if method is not None:
                self._receipt_writer.write(scan, method, request_count, role, report)
                return WindowResult(scan.through, method=method)
            earlier = scan.walk
        log.warning("window_unproved", source=self._state.source, start=window.start, end=window.end, why=reason)
        is_divisible = window.is_divisible(self._state.least) and not scan.is_unbounded
        return WindowResult(scan.through, reason=reason, is_divisible=is_divisible)

    def _check_index(
        self, scan: WindowScan, earlier: Walk | None, reason: str, report: PollReport
    ) -> tuple[str | None, str]:
        """Read a window that was one page for two walks in smaller pages, once a day, if the upstream counts nothing.

        An upstream that gives smaller pages than requested, and counts pages in `recordIndex`, answers the request after the
        first page with none: the page looks like all there is. A page smaller than another one was not cut.
        """
        now, walk = self._state.clock(), scan.walk
        if walk.page_count > 1 or (earlier is not None and earlier.page_count > 1):
            self._indexed_at = now
        elif walk.received >= max(self._largest_page, 2) and is_due(self._indexed_at, _CHECK_EVERY, now):
            query = Query(start=scan.asked.start, end=scan.asked.end)
            if not walk.keys <= self._pager.keys(query, scan.asked, report, walk.received * 2 // 3):
                return None, "in smaller pages, the upstream shows fewer records: recordIndex does not count records"
            self._indexed_at = now
        return TWO_WALKS, reason

    def _check_partition(self, scan: WindowScan, reason: str, report: PollReport) -> tuple[str | None, str]:
        """Compare with the organisation's log and the accounts' log, once a day, if the upstream counts nothing.

        Neither may hold what the whole does not. If the two together make the whole, the method says so. If one of them alone
        is the whole, the upstream ignores its filter.
        """
        now, walk, method = self._state.clock(), scan.walk, TWO_WALKS
        if walk.received and is_due(self._partitioned_at, _CHECK_EVERY, now):
            whole = Query(start=scan.asked.start, end=scan.asked.end)
            of_organisation = self._pager.keys(replace(whole, scope=ORGANISATION), scan.asked, report)
            of_accounts = self._pager.keys(replace(whole, scope=ACCOUNT), scan.asked, report)
            if not (of_organisation | of_accounts) <= walk.keys:
                return None, "the organisation's or the accounts' log holds records that the whole does not"
            self._partitioned_at, self._ignored_filters = now, set()
            if of_organisation + of_accounts == walk.keys:
                method = f"{TWO_WALKS}, partition"
            else:
                self._ignored_filters |= {"organisationLogsOnly"} if of_organisation == walk.keys else set()
                self._ignored_filters |= {"accountLogsOnly"} if of_accounts == walk.keys else set()
        report.ignored_filters |= self._ignored_filters
        return method, reason
