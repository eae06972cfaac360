"""What happens to the records of a walk: when they are stored, in which order, as backlog or late, and who is called."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
import pytest

from actionwatch.base.model import Entity, Record
from actionwatch.store import records
from actionwatch.store.database import Database
from actionwatch.tail import record_writer
from actionwatch.tail.cursor import MAX_WINDOW_RECORDS, Window
from actionwatch.tail.record_aliases import RecordAliases
from actionwatch.tail.record_writer import RecordWriter
from actionwatch.tail.state import PollReport, TailOptions, TailState
from actionwatch.tail.walk import WindowScan
from tests.builders import NOON, Clock, make_marks, make_record

OVERLAP, MINUTE, MILLISECOND = timedelta(minutes=15), timedelta(minutes=1), timedelta(milliseconds=1)
HOUR = timedelta(hours=1)


def named(record: Record) -> Record:
    """Return a record with a name for its account."""
    account_id = record.account.id
    return msgspec.structs.replace(record, account=Entity(account_id, account_id and f"name of {account_id}"))


class Bench:
    """A writer for a source that alerts from noon on and was read up to one o'clock."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.report = PollReport()
        self.call_count = 0
        state = TailState(TailOptions("acme", "org", overlap=OVERLAP), database, Clock())
        state.commit(make_marks(organisation="org", seen_through=NOON + 60 * MINUTE))
        aliases = RecordAliases("org", lambda *_: None)
        self.writer = RecordWriter(state, self._called, lambda found: list(map(named, found)), lambda _: None, aliases)

    def _called(self) -> None:
        self.call_count += 1

    def records(self) -> list[Record]:
        """Read the records in the order in which they were stored."""
        with self.database.read() as connection:
            return records.read_after(connection, 0, 100_000)


@pytest.mark.parametrize("at", [57, -57])
def test_records_are_stored_oldest_first_when_the_walk_is_over(database: Database, at: int) -> None:
    """Records, also those of a backlog, are stored at the end of a walk, oldest first. New ones call the matcher, once."""
    on = Bench(database)
    on.writer.hold([make_record(minutes=at + 2), make_record(minutes=at + 1)], on.report)
    on.writer.hold([make_record(minutes=at)], on.report)
    assert on.records() == []
    on.writer.flush(on.report, is_over=True)
    assert [(each.occurred_at - NOON) // MINUTE for each in on.records()] == [at, at + 1, at + 2]
    assert (on.report.new_count, on.call_count) == (3, 1)
    on.writer.flush(on.report, is_over=True)
    on.writer.hold([make_record(minutes=at + 2)], on.report)
    on.writer.flush(on.report, is_over=True)
    assert (on.report.new_count, on.call_count) == (3, 1)


@pytest.fixture
def small_window(monkeypatch: pytest.MonkeyPatch) -> int:
    """A hundredth of what a window may hold."""
    monkeypatch.setattr(record_writer, "MAX_WINDOW_RECORDS", MAX_WINDOW_RECORDS // 100)
    return MAX_WINDOW_RECORDS // 100


def test_no_more_is_kept_than_a_window_holds(database: Database, small_window: int) -> None:
    """Records are stored before the end of the walk if they are as many as a window may hold."""
    on = Bench(database)
    found = [make_record(number, minutes=50) for number in range(small_window)]
    on.writer.hold(found[:-1], on.report)
    assert on.report.new_count == 0
    on.writer.hold(found[-1:], on.report)
    assert on.report.new_count == len(on.records()) == small_window


def test_no_more_wait_for_the_end_of_a_walk_than_a_window_holds(database: Database, small_window: int) -> None:
    """If an upstream that ignores bounds shows its whole log with another field, what it showed so far decides."""
    on = Bench(database)
    old = [
        make_record(n, minutes=-(n + 1) / 60, raw=f'{{"action":"A","userName":"u{n}"}}') for n in range(small_window)
    ]
    on.writer.hold(old, on.report)
    assert on.report.new_count == small_window
    scan = WindowScan(Window(NOON - HOUR * 6, NOON), Window(NOON - HOUR * 6, NOON))
    on.writer.begin_walk()
    for start in range(0, small_window, 100):
        page = [with_id(each) for each in old[start : start + 100]]
        scan.walk.keys.update(each.key for each in page)
        on.writer.aliases.note_page(page)
        on.writer.hold(page, on.report)
    scan.inner_keys.update(scan.walk.keys)
    with database.write() as connection:
        assert on.writer.aliases.settle_walk(connection, scan)[0] == {each.key for each in old}


def with_id(record: Record) -> Record:
    """Return a record as the log shows it when it sends ids."""
    raw = f'{record.raw[:-1]},"id":"{record.key}"}}'
    return msgspec.structs.replace(record, key=f"{record.key[:17]}f{record.key[18:]}", raw=raw)


@pytest.mark.parametrize("count", [0, 1, record_writer.BATCH, record_writer.BATCH + 1])
def test_batches(database: Database, count: int) -> None:
    """Each record is stored once, however many transactions that takes."""
    on = Bench(database)
    on.writer.hold([make_record(number, minutes=50) for number in range(count)], on.report)
    on.writer.flush(on.report, is_over=True)
    assert on.report.new_count == len(on.records()) == count


@pytest.mark.parametrize(
    ("at", "is_readable", "late_by"),
    [
        (NOON + 60 * MINUTE - OVERLAP, True, None),
        (NOON + 60 * MINUTE - OVERLAP - MILLISECOND, True, OVERLAP + MILLISECOND),
        (NOON, True, 60 * MINUTE),
        (NOON, False, None),
        (NOON - MILLISECOND, True, None),  # it alerts nobody
    ],
)
def test_late_records(database: Database, at: datetime, is_readable: bool, late_by: timedelta | None) -> None:
    """A record is late if it comes after the overlap, has a readable time and is no backlog."""
    on = Bench(database)
    on.writer.hold([make_record(occurred_at=at, is_time_readable=is_readable)], on.report)
    on.writer.flush(on.report, is_over=True)
    (found,) = on.records()
    assert (found.late_by, found.is_backlog) == (late_by, at < NOON)


def test_accounts_get_the_name_of_the_time(database: Database) -> None:
    """Records are stored with the names that their accounts get."""
    on = Bench(database)
    on.writer.hold([make_record(account=Entity("a"))], on.report)
    on.writer.flush(on.report, is_over=True)
    (found,) = on.records()
    assert found.account == Entity("a", "name of a")
