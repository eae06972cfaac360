"""Receipts: one for each proof, except that quiet proofs that follow each other are merged without loss for an auditor."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from actionwatch.base.clock import MICROSECOND
from actionwatch.store import marks, receipts, records, source_records
from actionwatch.store.database import Database
from actionwatch.store.receipts import MERGED_SPAN, WindowReceipt, digest_of
from actionwatch.store.tables import RECEIPT
from tests.builders import NOON, make_marks, make_receipt, make_record, only_sqlite, open_database
from tests.statements import statements

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
AHEAD = timedelta(minutes=5)


def at(start: float, end: float, **changes: Any) -> WindowReceipt:
    """Make the receipt of an empty window between two minutes after noon, judged at its end."""
    times = {"starts_at": NOON + start * MINUTE, "ends_at": NOON + end * MINUTE, "judged_at": NOON + end * MINUTE}
    return make_receipt(**{**times, **changes})


FULL: dict[str, Any] = {"record_count": 1, "kind_counts": {"A": 1}, "digest": digest_of(["a"])}


def written(database: Database, *given: WindowReceipt) -> list[WindowReceipt]:
    """Write receipts. Return those that are stored, newest first."""
    with database.write() as connection:
        for receipt in given:
            receipts.write(connection, receipt)
        return list(receipts.stream(connection))


def test_old_receipts_are_deleted(database: Database) -> None:
    """Receipts are read newest first, and only those of old windows are deleted."""
    first = at(0, 60, record_count=3, kind_counts={"B": 2, "A": 1}, digest="d", request_count=2)
    second = at(60, 120, judged_at=first.judged_at, kind_counts={})
    assert written(database, first, second, replace(first, source="other"))[1:] == [second, first]
    with database.write() as connection:
        assert list(receipts.stream(connection, "acme", limit=1)) == [second]
        assert receipts.delete_older(connection, NOON + HOUR, 10) == 0
        assert receipts.delete_older(connection, NOON + HOUR + MINUTE, 1) == 1
        assert receipts.delete_older(connection, NOON + HOUR + MINUTE, 9) == 1
        assert list(receipts.stream(connection, "acme", limit=10)) == [second]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (at(0, 5), at(5, 6)),
        (at(0, 5), at(3, 6)),
        (at(0, 5), at(0, 5, judged_at=NOON + 6 * MINUTE)),
        (at(0, 5, **FULL), at(0, 6, **FULL)),
    ],
    ids=["next", "overlapping", "the same", "the same records"],
)
def test_quiet_proofs_are_merged(database: Database, first: WindowReceipt, second: WindowReceipt) -> None:
    """A proof that continues or repeats the one before it makes one receipt of both, with everything that an auditor needs."""
    other = replace(first, source="other")
    stored = written(database, first, other, replace(second, request_count=2))
    merged = replace(
        second,
        starts_at=first.starts_at,
        first_judged_at=first.judged_at,
        proof_count=2,
        request_count=3,
    )
    assert stored == [merged, other]
    with database.read() as connection:
        assert receipts.read_newest_time(connection, "acme") == second.judged_at
        assert list(receipts.spans(connection, {"acme": "acme"})["acme"]) == [(first.starts_at, second.ends_at)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (at(0, 5), at(6, 7)),
        (at(3, 5), at(0, 6)),
        (at(0, 5), at(0, 4, judged_at=NOON + 6 * MINUTE)),
        (at(0, 5), at(5, 6, method="totals")),
        (at(0, 5), at(0, 6, **FULL)),
        (at(0, 5, **FULL), at(0, 6)),
        (at(0, 5, **FULL), at(3, 6, **FULL)),
        (at(0, 5), at(5, 6, judged_at=NOON + 5 * MINUTE + MERGED_SPAN + MICROSECOND)),
    ],
    ids=[
        "a gap",
        "earlier",
        "shorter",
        "another method",
        "a new record",
        "a lost record",
        "records in part",
        "a day later",
    ],
)
def test_other_proofs_are_not_merged(database: Database, first: WindowReceipt, second: WindowReceipt) -> None:
    """A proof of anything else than the one before it has its own receipt."""
    assert written(database, first, second) == [second, first]


def test_proofs_are_merged_only_with_the_one_before(database: Database) -> None:
    """A proof with another result in between ends a merged receipt."""
    stored = written(database, at(0, 5), at(0, 6, **FULL), at(0, 7))
    assert [receipt.proof_count for receipt in stored] == [1, 1, 1]


def test_spans_of_many_sources(database: Database) -> None:
    """The time that receipts prove can be asked for of a thousand sources at once: a receipt of one reaches beyond the time."""
    with database.write() as connection:
        marks.write(connection, make_marks(name="source 999"))
        receipts.write(connection, make_receipt(source="source 999", starts_at=NOON - 2 * HOUR, ends_at=NOON))
    owners = {f"source {number}": f"source {number}" for number in range(1000)}
    with database.read() as connection:
        found = receipts.spans(connection, owners, NOON - HOUR)
    assert {name: proved for name, proved in found.items() if proved} == {"source 999": [(NOON - HOUR, NOON)]}


def test_late_record_ends_a_merged_receipt(database: Database) -> None:
    """A receipt is not extended once a record of its time came late: the store would contradict it."""
    (first,) = written(database, at(0, 5), at(5, 6))
    with database.write() as connection:
        records.insert_new(connection, [make_record(minutes=2)])
    second, unchanged = written(database, at(6, 7))
    assert (second.proof_count, unchanged) == (1, first)
    with database.read() as connection:
        assert [receipts.recompute(connection, each) for each in (first, second)] == [first, second]


def test_first_proof_of_a_record(database: Database) -> None:
    """The first receipt that covers a record is one that was written after the record was stored."""
    early, record = at(0, 5), make_record(minutes=2)
    written(database, early, at(5, 6))
    with database.write() as connection:
        records.insert_new(connection, [record])
        (stored,) = records.read_after(connection, 0, 9)
        assert receipts.read_first_covering(connection, stored) is None
        for receipt in (at(3, 7, **FULL), at(0, 8, **FULL), at(0, 9, **FULL)):
            receipts.write(connection, receipt)
        found = receipts.read_first_covering(connection, stored)
    assert found is not None
    assert (found.first_judged_at, found.judged_at, found.proof_count) == (NOON + 8 * MINUTE, NOON + 9 * MINUTE, 2)


def test_first_proof_of_a_record_of_a_wrong_clock(database: Database) -> None:
    """A record that was seen by a clock that was ahead has a proof, although it was judged before that time."""
    record = make_record(minutes=2, seen_at=NOON + 9 * HOUR)
    with database.write() as connection:
        records.insert_new(connection, [record])
        (stored,) = records.read_after(connection, 0, 9)
    (proof,) = written(database, at(0, 5, **FULL))
    with database.read() as connection:
        assert receipts.read_first_covering(connection, stored) == proof


def test_receipts_of_a_source_have_the_same_order(database: Database) -> None:
    """The receipts of one source come in the order of all, newest first."""
    names = ("acme", "other", "acme", "acme", "other")
    stored = written(database, *(at(place, place + 1, source=name, **FULL) for place, name in enumerate(names)))
    with database.read() as connection:
        for name in names:
            assert list(receipts.stream(connection, name)) == [each for each in stored if each.source == name]


def test_unsound_merged_receipt_is_deleted(database: Database) -> None:
    """A merged receipt that ends in the future is deleted as a whole, and the source is read again from the one before it."""
    written(database, at(0, 5, **FULL), at(5, 6), at(6, 90), at(90, 95))
    with database.write() as connection:
        assert receipts.delete_unsound(connection, "acme", NOON + HOUR, AHEAD) == NOON + 5 * MINUTE
        assert [receipt.ends_at for receipt in receipts.stream(connection)] == [NOON + 5 * MINUTE]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(-1, 9)), max_size=12))
def test_spans_are_the_union_of_the_windows(windows: list[tuple[int, int]]) -> None:
    """The proved stretches contain exactly the time of the windows; one that ends before it begins has none."""
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(open_database(Path(folder))) as database:
        found = spans_of(database, windows)
    minutes = [(int((start - NOON) / MINUTE), int((end - NOON) / MINUTE)) for start, end in found]
    covered = {(minute, minute + 1) for start, length in windows for minute in range(start, start + length)}
    assert {(minute, minute + 1) for start, end in minutes for minute in range(start, end)} == covered
    assert all(one[1] < other[0] for one, other in itertools.pairwise(minutes)), "adjoining stretches are one"
    points = {start for start, length in windows if length >= 0}
    assert points <= {minute for start, end in minutes for minute in range(start, end + 1)}


def spans_of(database: Database, windows: list[tuple[int, int]]) -> list[tuple[datetime, datetime]]:
    """Return the proved stretches if there is one receipt for each window, given as start and length in minutes."""
    with database.write() as connection:
        marks.write(connection, make_marks())
        for start, length in windows:
            insert_alone(connection, at(start, start + length))
        return receipts.spans(connection, {"acme": "acme"})["acme"]


@settings(max_examples=40, deadline=None)
@given(windows=st.lists(st.tuples(st.integers(0, 60), st.integers(-1, 20)), max_size=12), since=st.integers(-5, 85))
def test_spans_since_a_time_are_the_end_of_all_spans(windows: list[tuple[int, int]], since: int) -> None:
    """Asking for the proved stretches since a time gives what is left of all of them."""
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(open_database(Path(folder))) as database:
        every, begin = spans_of(database, windows), NOON + since * MINUTE
        with database.read() as connection:
            found = receipts.spans(connection, {"acme": "acme"}, begin)["acme"]
    assert [(max(start, begin), end) for start, end in every if end >= begin] == found


# -- a history with merging proves what one without merging proves

PROOF = st.tuples(
    st.just("prove"),
    st.sampled_from(["overlap", "overlap", "next", "next", "sweep"]),
    st.sampled_from(["counts", "counts", "counts", "totals"]),
)
EVENT = st.one_of(
    PROOF,
    PROOF,
    st.tuples(st.just("pass"), st.sampled_from([0, 1, 1, 5, 30, 300])),
    st.tuples(st.just("log"), st.sampled_from([0, 0, 1, 20, 90])),
    st.tuples(st.just("vanish"), st.just(0)),
)


class History:
    """A source whose proofs are written to one store with merging, and to another one without."""

    def __init__(self, merging: Database, plain: Database) -> None:
        self.merging, self.plain = merging, plain
        self.now = NOON
        self.judged_at = NOON
        self.proved_through = NOON
        self.newest = NOON
        self.record_count = 0
        self.proofs: list[WindowReceipt] = []

    def run(self, event: tuple[Any, ...]) -> None:
        """Let one thing happen."""
        self.now += MINUTE / 2
        name, *arguments = event
        actions: dict[str, Callable[..., None]] = {
            "prove": self.prove,
            "pass": self.let_pass,
            "log": self.log,
            "vanish": self.vanish,
        }
        actions[name](*arguments)

    def let_pass(self, minutes: int) -> None:
        """Let time pass."""
        self.now += minutes * MINUTE

    def log(self, minutes_ago: int) -> None:
        """Store a record, perhaps a late one."""
        self.record_count += 1
        record = make_record(self.record_count, occurred_at=self.now - minutes_ago * MINUTE)
        self.newest = max(self.newest, record.occurred_at)
        for database in (self.merging, self.plain):
            with database.write() as connection:
                records.insert_new(connection, [record])

    def vanish(self, _: int) -> None:
        """Mark the newest record as vanished, at the time of the next proof."""
        for database in (self.merging, self.plain):
            with database.write() as connection:
                newest = self.newest
                source_records.mark_vanished(connection, "acme", newest, newest, (), self._next_time())

    def prove(self, window: str, method: str) -> None:
        """Prove what is stored in the window of a poll or a sweep."""
        begin = {
            "overlap": self.newest - 15 * MINUTE,
            "next": self.proved_through - timedelta(milliseconds=1),
            "sweep": self.newest - 75 * MINUTE,
        }[window]
        end = self.now if window != "sweep" else self.newest - 15 * MINUTE
        self.judged_at = self._next_time()
        claimed = make_receipt(starts_at=begin, ends_at=end, judged_at=self.judged_at, method=method, request_count=2)
        with self.plain.write() as connection:
            receipt = receipts.recompute(connection, replace(claimed, record_through=self.record_count))
            insert_alone(connection, receipt)
        with self.merging.write() as connection:
            receipts.write(connection, receipt)
        self.proofs.append(receipt)
        if window != "sweep":
            self.proved_through = end

    def _next_time(self) -> datetime:
        return max(self.now, self.judged_at + MICROSECOND)


def insert_alone(connection: Connection, receipt: WindowReceipt) -> None:
    """Insert a receipt without merging."""
    connection.execute(RECEIPT.insert().values({**asdict(receipt), "kind_counts": dict(receipt.kind_counts)}))


def spans(database: Database, since: datetime = NOON - 9 * HOUR) -> list[tuple[datetime, datetime]]:
    """Return the proved stretches after a time."""
    with database.read() as connection:
        return [
            (max(start, since), end)
            for start, end in receipts.spans(connection, {"acme": "acme"})["acme"]
            if end >= since
        ]


@contextlib.contextmanager
def history(events: list[tuple[Any, ...]]) -> Iterator[History]:
    """Run a history."""
    with tempfile.TemporaryDirectory() as folder:
        databases = [open_database(Path(folder), name) for name in ("merging.db", "plain.db")]
        made = History(*databases)
        for event in events:
            made.run(event)
        yield made
        for database in databases:
            database.close()


@settings(max_examples=40, deadline=None)
@given(events=st.lists(EVENT, max_size=40), forgotten=st.integers(0, 200))
def test_merging_changes_nothing_that_is_proved(events: list[tuple[Any, ...]], forgotten: int) -> None:
    """Merged receipts prove the same stretches, hold for the stored records, and contain every proof, also after pruning."""
    with history(events) as made:
        assert spans(made.merging) == spans(made.plain)
        with made.merging.read() as connection:
            stored = list(receipts.stream(connection))
            again = [receipts.recompute(connection, receipt) for receipt in stored]
        assert again == stored
        assert sum(receipt.proof_count for receipt in stored) == len(made.proofs)
        assert sum(receipt.request_count for receipt in stored) == 2 * len(made.proofs)
        assert [receipt.judged_at for receipt in stored] == sorted((one.judged_at for one in stored), reverse=True)
        for proof in made.proofs:
            assert any(contains(receipt, proof) for receipt in stored), proof
        before = NOON + forgotten * MINUTE
        for database in (made.merging, made.plain):
            with database.write() as connection:
                receipts.delete_older(connection, before, 100)
        assert spans(made.merging, before) == spans(made.plain, before)


def contains(receipt: WindowReceipt, proof: WindowReceipt) -> bool:
    """Return whether a proof is one of those that a receipt attests."""
    is_within = receipt.starts_at <= proof.starts_at <= proof.ends_at <= receipt.ends_at
    is_in_time = receipt.first_judged_at <= proof.judged_at <= receipt.judged_at
    return is_within and is_in_time and (receipt.digest, receipt.method) == (proof.digest, proof.method)


@settings(max_examples=40, deadline=None)
@given(events=st.lists(EVENT, max_size=40), minutes=st.integers(0, 400))
def test_unsound_receipts_are_deleted_with_merging_too(events: list[tuple[Any, ...]], minutes: int) -> None:
    """After unsound receipts were deleted, merged ones prove nothing that single ones do not, and nothing after that time."""
    now = NOON + minutes * MINUTE
    with history(events) as made:
        ends = []
        for database in (made.merging, made.plain):
            with database.write() as connection:
                ends.append(receipts.delete_unsound(connection, "acme", now, AHEAD))
        merged, plain = spans(made.merging), spans(made.plain)
        assert all(any(start <= one and end >= other for start, end in plain) for one, other in merged)
        assert max((end for _, end in merged), default=None) == ends[0]
        assert ends[0] is None or ends[0] <= min(now, ends[1] or now)


def test_quiet_source_leaves_few_receipts(database: Database) -> None:
    """A source without new records leaves one receipt a day, whatever the number of polls."""
    count = 400
    step = timedelta(days=2) / count
    with database.write() as connection:
        for number in range(1, count + 1):
            now = NOON + number * step
            receipts.write(connection, make_receipt(starts_at=NOON, ends_at=now, judged_at=now, **FULL))
    assert len(written(database)) == 2


def test_receipts_of_a_record_are_found_by_the_index(database: Database) -> None:
    """The receipts that cover a record are found by the index by time."""
    only_sqlite(database)
    with database.read() as connection, statements() as ran:
        receipts.read_covering(connection, make_record(), 5)
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {ran[0]}", (1,) * ran[0].count("?")).fetchall()
    assert "USING COVERING INDEX receipt_by_time (source=? AND starts_at<?)" in str(plan)
