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
_PARTITION_EVERY = timedelta(days=1)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class WindowResult:
    """What came of reading a window: the method that proved it, the parts to read instead, or the reason why neither."""

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
        self._ignored_filters: set[str] = set()

    def read(self, window: Window, report: PollReport, role: WindowRole = SWEPT) -> WindowResult:
        """Read a window until a walk proves it."""
        request_count = 0
        earlier: Walk | None = None
        for number in range(WALKS):
            scan = self._pager.walk(window, report, number, earlier)
            request_count += len(scan.walk.claims)
            if scan.asked != self._state.widened(window):  # a page has just shown another unit of the bounds
                return self.read(window, report, role)
            if not scan.is_whole:
                size = scan.size(is_total_trusted=self._state.is_total_trusted)
                parts = window.slices(slice_count(size), self._state.least)
                return WindowResult(scan.through, parts=tuple(parts))
            self._state.weigh_totals(scan.walk)
            method, reason = prove(scan.walk, earlier, is_total_trusted=self._state.is_total_trusted)
            if method == TWO_WALKS:
                requested_before = report.request_count
                method, reason = self._check_partition(scan, reason, report)
                request_count += report.request_count - requested_before
            if method is not None:
                self._receipt_writer.write(scan, method, request_count, role, report)
                return WindowResult(scan.through, method=method)
            earlier = scan.walk
        log.warning("window_unproved", source=self._state.source, start=window.start, end=window.end, why=reason)
        is_divisible = window.is_divisible(self._state.least) and not scan.is_unbounded
        return WindowResult(scan.through, reason=reason, is_divisible=is_divisible)

    def _check_partition(self, scan: WindowScan, reason: str, report: PollReport) -> tuple[str | None, str]:
        """Compare with the organisation's log and the accounts' log, once a day, if the upstream counts nothing.

        Neither may hold what the whole does not. If the two together make the whole, the method says so. If one of them alone
        is the whole, the upstream ignores its filter.
        """
        now, walk, method = self._state.clock(), scan.walk, TWO_WALKS
        if walk.received and is_due(self._partitioned_at, _PARTITION_EVERY, now):
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
