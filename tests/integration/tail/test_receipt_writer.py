"""What a proof commits: twins, what vanished, the marks, a receipt, and a window to look at a second time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from actionwatch.base.errors import StoreError
from actionwatch.store import receipts, source_records, unproved_windows
from actionwatch.store.database import Database
from actionwatch.store.tables import RECORD
from actionwatch.store.unproved_windows import SECOND_LOOK
from actionwatch.tail.cursor import Window
from actionwatch.tail.proof import TWO_WALKS
from actionwatch.tail.receipt_writer import SECOND_LOOK_AFTER, SWEPT, ReceiptWriter, WindowRole
from actionwatch.tail.state import PollReport, Stopped
from tests.builders import NOON
from tests.integration.tail.test_pager import Bench
from tests.upstreams import World

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
OVERLAP = 15 * MINUTE
OLD = Window(NOON - HOUR, NOON - 40 * MINUTE)
NEW = WindowRole(is_new=True)
GAPLESS, PASSED = replace(NEW, is_gapless=True), replace(NEW, is_passed=True)


class Proved(Bench):
    """Proofs of an organisation whose newest record is five minutes old."""

    def __init__(self, world: World, database: Database) -> None:
        super().__init__(world, database, is_total_trusted=True)
        self.state.options = replace(self.state.options, overlap=OVERLAP)
        earlier = NOON - 10 * MINUTE
        self.state.marks = replace(self.state.marks, mark=earlier, seen_through=earlier, proved_through=earlier)
        self.receipt_writer = ReceiptWriter(self.state, self.writer)

    def prove(
        self, window: Window, role: WindowRole = SWEPT, method: str = "counts", page_size: int | None = None
    ) -> None:
        """Walk through a window and commit its proof."""
        if page_size is not None:
            self.state.options = replace(self.state.options, page_size=page_size)
        self.report = PollReport()
        self.receipt_writer.write(self.walk(window=window), method, 3, role, self.report)

    def receipts(self) -> Sequence[receipts.WindowReceipt]:
        """Return the receipts, the oldest first."""
        with self.database.read() as connection:
            return list(receipts.stream(connection, "acme"))[::-1]

    def second_looks(self) -> list[Window]:
        """Return the windows that are to be read a second time."""
        with self.database.read() as connection:
            found = unproved_windows.read(connection, "acme")
        assert all(
            (each.reach, each.must_read, each.due_at) == (SECOND_LOOK, True, NOON + SECOND_LOOK_AFTER) for each in found
        )
        return [Window(each.starts_at, each.ends_at) for each in found]

    def vanished(self) -> int:
        """Count the records that the upstream no longer shows."""
        with self.database.read() as connection:
            return source_records.count_vanished(connection, "acme", NOON - 2 * HOUR)


@pytest.fixture
def proved(world: World, database: Database) -> Proved:
    """Log an action every five minutes for an hour."""
    made = Proved(world, database)
    for number in range(12):
        world.log(ago=300 * (number + 1))
    return made


def test_tail_that_was_stopped_proves_nothing(proved: Proved) -> None:
    """A poll that hung while another replica tailed the source does not judge with what it saw before."""
    proved.state.is_stopping = True
    with pytest.raises(Stopped):
        proved.receipt_writer.write(proved.walk(window=OLD), "counts", 3, SWEPT, PollReport())
    assert proved.receipts() == []


def test_marks_move_only_with_a_proof_that_leaves_no_gap(proved: Proved) -> None:
    """A proof moves the marks forward if everything before its window is proved, and never back."""
    before = proved.state.marks
    proved.prove(Window(NOON - 20 * MINUTE, NOON))
    assert proved.state.marks == before
    proved.prove(OLD, GAPLESS)
    assert proved.state.marks == before
    proved.prove(Window(NOON - 20 * MINUTE, NOON), GAPLESS)
    moved = replace(before, mark=NOON - 5 * MINUTE, seen_through=NOON, proved_through=NOON)
    assert proved.state.marks == moved


@pytest.mark.parametrize(
    ("role", "minutes", "method", "page_size", "is_looked_at"),
    [
        (NEW, 60, "counts", 2, True),
        (SWEPT, 60, "counts", 2, False),  # a sweep reads it, as it did before
        (NEW, 40, "counts", 2, False),  # the next polls read what begins up to two overlaps before the mark
        (NEW, 41, "counts", 2, True),
        (PASSED, 15, "counts", 2, True),  # the polls that follow begin later
        (NEW, 60, "counts", 50, False),  # one page shows one state
        (NEW, 60, TWO_WALKS, 2, False),
    ],
)
def test_a_window_that_no_poll_reads_again_gets_a_second_look(
    proved: Proved, role: WindowRole, minutes: float, method: str, page_size: int, is_looked_at: bool
) -> None:
    """Counts alone do not show a swap behind the reader, so what was read in pages and is left behind is read again."""
    window = Window(NOON - minutes * MINUTE, NOON - 4 * MINUTE)
    proved.prove(window, role, method, page_size)
    assert proved.second_looks() == [window] * is_looked_at


@pytest.mark.parametrize("is_one_vanished", [False, True])
def test_a_proof_is_refused_if_the_store_forgot_records(proved: Proved, world: World, is_one_vanished: bool) -> None:
    """After a failover that lost what a walk stored, its window is not proved, whatever else vanished; a later walk is."""
    window = Window(NOON - 40 * MINUTE, NOON)
    scan = proved.walk(window=window)
    if is_one_vanished:  # so that the numbers are equal
        proved.walk(window=Window(NOON - HOUR, NOON - 50 * MINUTE))
        with proved.database.write() as connection:
            gone = RECORD.update().where(RECORD.c.occurred_at < NOON - 50 * MINUTE)
            connection.execute(gone.values(occurred_at=NOON - 22 * MINUTE))
    with proved.database.write() as connection:
        lost = RECORD.c.occurred_at == NOON - 5 * MINUTE
        connection.execute(RECORD.delete().where(lost))
    before = proved.state.marks
    with pytest.raises(
        StoreError,
        match="of the records that were stored are missing: the server of the store has lost its last commits",
    ):
        proved.receipt_writer.write(scan, "counts", 3, GAPLESS, PollReport())
    assert (proved.receipts(), proved.state.marks) == ([], before)
    proved.prove(window, GAPLESS)
    assert [each.record_count for each in proved.receipts()] == [8]
    assert proved.state.marks.proved_through == NOON


def test_a_proof_stores_equal_records_and_reports_them(proved: Proved) -> None:
    """Records without an id that are equal are stored with the proof, counted as new, and reported to the matcher."""
    proved.world.log(ago=100, times=3, description="equal")
    proved.prove(Window(NOON - 2 * MINUTE, NOON))
    assert proved.stored() == 3
    assert (proved.report.new_count, proved.report.proved_count) == (3, 1)
    assert proved.notified == [1, 3]
    proved.prove(Window(NOON - 2 * MINUTE, NOON))
    assert (proved.report.new_count, proved.report.proved_count, proved.notified) == (0, 1, [1, 3])


def test_a_record_vanishes_and_appears_again(proved: Proved) -> None:
    """A stored record that a proved window no longer shows is marked, until a proof shows it again."""
    proved.world.log(ago=3000.5, description="gone")
    proved.prove(OLD)
    proved.world.faults.add("vanish:0s,keyword=gone")
    proved.prove(OLD)
    assert proved.vanished() == 1
    proved.world.faults.clear()
    proved.world.log(ago=3000.5, description="gone")
    proved.prove(OLD)
    assert (proved.vanished(), proved.stored()) == (0, 6)


def test_receipts_have_different_times(proved: Proved) -> None:
    """However fast proofs follow each other, and if the clock was set back, each is later than the one before."""
    other = Window(NOON - 20 * MINUTE, NOON)
    for window in (OLD, other):
        proved.prove(window)
    proved.world.clock.advance(hours=-1)
    proved.prove(OLD)
    first, second, third = proved.receipts()
    micro = timedelta(microseconds=1)
    assert [each.judged_at for each in (first, second, third)] == [NOON, NOON + micro, NOON + 2 * micro]
    proved.world.clock.advance(hours=2)
    proved.prove(other)
    assert proved.receipts()[-1].judged_at == NOON + HOUR
    assert (first.record_count, first.request_count, first.kind_counts) == (5, 3, {"BACKUP": 5})
