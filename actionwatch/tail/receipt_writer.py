"""Commit what a proved walk shows: the twins, the records that vanished, the receipt and the marks, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from actionwatch.base.clock import MICROSECOND
from actionwatch.base.errors import StoreError
from actionwatch.store import marks, receipts, source_records, unproved_windows
from actionwatch.store.unproved_windows import SECOND_LOOK
from actionwatch.tail.proof import TWO_WALKS
from actionwatch.tail.record_writer import RecordWriter
from actionwatch.tail.state import PollReport, Proof, Stopped, TailState
from actionwatch.tail.walk import WindowScan

SECOND_LOOK_AFTER = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowRole:
    """The part of a window in the progress of its source."""

    is_new: bool = False
    """It is read for the first time."""
    is_gapless: bool = False
    """Everything before it is proved: the marks move."""
    is_passed: bool = False
    """It is part of a backlog that continues after it, or longer than the overlap: the next polls begin later."""


SWEPT = WindowRole()


class ReceiptWriter:
    """Writes the proofs of one source."""

    def __init__(self, state: TailState, writer: RecordWriter) -> None:
        self._state = state
        self._writer = writer
        self._names: Sequence[str] | None = None

    def write(self, scan: WindowScan, method: str, request_count: int, role: WindowRole, report: PollReport) -> None:
        """Commit a proof; `request_count` is the number of requests that it took."""
        known = self._state.marks
        moved = _advanced(known, scan) if role.is_gapless else known
        # Then no poll reads the window again.
        is_left = role.is_passed or scan.window.start < moved.mark - 2 * self._state.options.overlap
        proof: Proof | None = None
        with self._state.database.write() as connection:
            if self._state.is_stopping:  # this process may have lost the role meanwhile, and have taken it again
                raise Stopped
            present, twins = self._writer.aliases.settle_walk(connection, scan)
            new_count = self._writer.insert(connection, twins)
            if self._names is None:  # a source is renamed before its first poll only
                self._names = [known.name, *marks.former_names(connection, known.name)]
            judged_at = self._next_time(connection, self._names)
            self._mark_vanished(connection, scan, present, judged_at)
            source_records.mark_vanished_formerly(
                connection, self._names, scan.window.start, scan.through, present, judged_at
            )
            marks.write(connection, moved)
            if scan.window.start <= scan.through:  # otherwise the clocks differ, and nothing of the window is proved
                receipt = receipts.write(connection, self._receipt(scan, method, request_count, present, judged_at))
                # Without records, no page can be missing after the first ones of several walks.
                is_first_page_all = request_count == 1 or not scan.walk.received
                if role.is_gapless and scan.is_repeatable and is_first_page_all:
                    proof = Proof(scan.window, scan.digest, request_count, receipt)
            if role.is_new and is_left and _is_proved_by_counts_alone(scan, method):
                due_at = self._state.server.now() + SECOND_LOOK_AFTER
                second_look = self._state.to_check(scan.window, SECOND_LOOK, due_at, must_read=True)
                unproved_windows.write(connection, [second_look])
        self._state.marks = moved
        self._state.proof = proof
        report.proved_count += 1
        self._writer.note_new(new_count, report)
        self._writer.notify()

    def _mark_vanished(self, connection: Connection, scan: WindowScan, present: Set[str], judged_at: datetime) -> None:
        """Mark the stored records of the window that the upstream no longer shows. `SourceWatch` reports them.

        Raises: StoreError, if the store no longer has records that the walk brought: they were lost in a failover.
        """
        place = self._state.source, scan.window.start, scan.through
        source_records.unmark_vanished(connection, *place, present)
        # Every record that came is stored by now: an equal number means the same records.
        if source_records.count_held(connection, *place) != len(present):
            source_records.mark_vanished(connection, *place, present, judged_at)
            held_count = source_records.count_held(connection, *place)
            if held_count < len(present):
                raise StoreError(
                    f"{len(present) - held_count} of the records that were stored are missing: the server of the store has "
                    "lost its last commits. The window is not proved, and is read again"
                )

    def _next_time(self, connection: Connection, names: Sequence[str]) -> datetime:
        """Return the time of a receipt, later than that of the one before: what vanished by now was there by that time."""
        before = [receipts.read_newest_time(connection, name) for name in names]
        return max([self._state.clock(), *(at + MICROSECOND for at in before if at is not None)])

    def _receipt(
        self, scan: WindowScan, method: str, request_count: int, present: Set[str], judged_at: datetime
    ) -> receipts.WindowReceipt:
        """Make a receipt of the window itself, so that the digest can be computed from the stored records of that time."""
        return receipts.WindowReceipt(
            source=self._state.source,
            starts_at=scan.window.start,
            ends_at=scan.through,
            first_judged_at=judged_at,
            judged_at=judged_at,
            method=method,
            record_count=len(present),
            kind_counts=scan.kind_counts,
            digest=receipts.digest_of(present),
            request_count=request_count,
        )


def _advanced(known: marks.Marks, scan: WindowScan) -> marks.Marks:
    """Return the marks after a proved window that has no gap before it."""
    return replace(
        known,
        mark=max(known.mark, scan.newest or known.mark),
        seen_through=max(known.seen_through, scan.through),
        proved_through=max(known.proved_through, scan.through),
    )


def _is_proved_by_counts_alone(scan: WindowScan, method: str) -> bool:
    """Return whether pages were read one after the other, once: counts do not show a swap behind the reader."""
    return scan.walk.page_count > 1 and TWO_WALKS not in method
