"""The receipts: for each time window, the proof that the store holds all records of the upstream.

While nothing happens, each poll proves the same again, up to a later time. Such proofs are merged into one receipt, so that a
quiet source does not leave a million rows a year.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Connection,
    Integer,
    RowMapping,
    and_,
    bindparam,
    case,
    func,
    or_,
    select,
    true,
    type_coerce,
)

from actionwatch.base.clock import MICROSECOND
from actionwatch.base.model import Record
from actionwatch.store.record_keys import between
from actionwatch.store.records import newest_id
from actionwatch.store.statements import columns_of, stream_rows
from actionwatch.store.tables import RECEIPT, RECORD, SOURCE

MERGED_SPAN = timedelta(days=1)  # of the proofs in one receipt: one that turns out to be unsound costs at most so much
_EARLIER_RECEIPTS = 100_000  # read back from a time for one that reaches beyond it: eleven days of a busy source
_FEWEST_EARLIER = 2000  # of each of many sources: five hours of a busy source, whose windows overlap by minutes
_NEAR_RECEIPTS = 10_000  # read back from a record for those that contain it: a day of a busy source
# By which our clock may have been set back after a record was seen, without a longer search.
_CLOCK_STEP = timedelta(hours=1)
# Built once: every poll runs them.
_NEWEST = select(RECEIPT).where(RECEIPT.c.source == bindparam("of")).order_by(RECEIPT.c.judged_at.desc()).limit(1)
_EARLIER = (
    select(RECEIPT.c.ends_at)
    .where(RECEIPT.c.source == SOURCE.c.name, RECEIPT.c.starts_at < bindparam("since"))
    .order_by(RECEIPT.c.starts_at.desc())
    .limit(bindparam("most", type_=Integer))
    .correlate(SOURCE)
    .subquery()
)
_END_OF_EARLIER = select(SOURCE.c.name, select(func.max(_EARLIER.c.ends_at)).scalar_subquery())
_INSERT = RECEIPT.insert()
_EXTEND = (
    RECEIPT.update()
    .where(
        RECEIPT.c.id == bindparam("its"),
        RECEIPT.c.judged_at == bindparam("known"),
    )
    .values({name: bindparam(f"new_{name}") for name in ("ends_at", "judged_at", "proof_count", "request_count")})
)
_RECEIPTS = select(*(column for column in RECEIPT.columns if column.name != "id"))


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowReceipt:
    """A proved window: these and no other records had a time from `starts_at` to `ends_at`, both included.

    `digest` is over their sorted keys (`digest_of`); `method` names the proof. `judged_at` is a time of our clock. It is later
    than that of the receipt before, even if the clock was set back. A receipt of several proofs has the time of the last one,
    and in `first_judged_at` that of the first; `request_count` is that of all.
    """

    source: str
    starts_at: datetime
    ends_at: datetime
    first_judged_at: datetime
    judged_at: datetime
    proof_count: int = 1
    method: str
    record_count: int
    kind_counts: Mapping[str, int]
    digest: str
    request_count: int
    record_through: int = 0
    """The id of the newest record at that time; `write` stores it."""


class StoredReceipt(NamedTuple):
    """A receipt, and its id in the store."""

    id: int
    receipt: WindowReceipt

    def repeated(self, ends_at: datetime, judged_at: datetime, request_count: int) -> StoredReceipt | None:
        """Return the receipt with one more proof, which repeats the last one up to a time; None if it needs another receipt."""
        known = self.receipt
        judged_at = max(judged_at, known.judged_at + MICROSECOND)
        if ends_at < known.ends_at or judged_at - known.first_judged_at > MERGED_SPAN:
            return None
        return self._replace(
            receipt=replace(
                known,
                ends_at=ends_at,
                judged_at=judged_at,
                proof_count=known.proof_count + 1,
                request_count=known.request_count + request_count,
            )
        )


class WindowRecord(NamedTuple):
    """The content of a receipt for a record of its window, in the store."""

    key: str
    id: int
    vanished_at: datetime | None
    kind: str


def attest(records: Iterable[WindowRecord], through: int, judged_at: datetime) -> dict[str, Any]:
    """Return what a receipt of these records states: how many there are, in total and of each kind, and their digest.

    `records` are all of its window. Those with an id above `through` were stored later, and do not count; nor do those that
    had vanished by `judged_at`.
    """
    counted = [
        record
        for record in records
        if record.id <= through and (record.vanished_at is None or record.vanished_at > judged_at)
    ]
    kinds = Counter(record.kind for record in counted)
    digest = digest_of(record.key for record in counted)
    return {"record_count": len(counted), "kind_counts": dict(kinds), "digest": digest}


def digest_of(keys: Iterable[str]) -> str:
    """Return the digest of record keys: SHA-256 over the sorted keys, one per line."""
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()


def write(connection: Connection, receipt: WindowReceipt) -> StoredReceipt:
    """Store the receipt of a proof, merged with the receipt of the proof just before it if that is quiet (see `_merged`).

    Returns: the receipt as it is stored.
    """
    receipt = replace(receipt, record_through=newest_id(connection))
    before = connection.execute(_NEWEST, {"of": receipt.source}).mappings().first()
    merged = _merged(_receipt(before), receipt) if before else None
    if before and merged and _is_attested(connection, merged, receipt):
        connection.execute(RECEIPT.delete().where(RECEIPT.c.id == before["id"]))
        receipt = merged  # with a new id: receipts are listed in the order of their last proof
    kinds = dict(sorted(receipt.kind_counts.items()))
    stored = connection.execute(_INSERT, {**columns_of(receipt), "kind_counts": kinds})
    (key,) = stored.inserted_primary_key or (0,)
    return StoredReceipt(key, receipt)


def repeat(connection: Connection, moves: Sequence[tuple[StoredReceipt, StoredReceipt]]) -> int:
    """Replace receipts by those with one more proof (`StoredReceipt.repeated`). Return how many were replaced.

    One that is no longer in the store stays as it is: then `write` merges the next proof.
    """
    rows = [
        {
            "its": before.id,
            "known": before.receipt.judged_at,
            "new_ends_at": after.receipt.ends_at,
            "new_judged_at": after.receipt.judged_at,
            "new_proof_count": after.receipt.proof_count,
            "new_request_count": after.receipt.request_count,
        }
        for before, after in moves
    ]
    return connection.execute(_EXTEND, rows).rowcount


def _merged(before: WindowReceipt, receipt: WindowReceipt) -> WindowReceipt | None:
    """Return one receipt for two proofs that followed each other by the same method, or None.

    Either the second one repeats the first one, perhaps to a later time, and shows the same records. Or both windows are empty,
    and the second one begins within the first one and ends after it.
    """
    is_continued = before.starts_at <= receipt.starts_at <= before.ends_at <= receipt.ends_at
    is_repeated = receipt.starts_at == before.starts_at or not receipt.record_count
    is_same = (before.method, before.digest, before.kind_counts) == (
        receipt.method,
        receipt.digest,
        receipt.kind_counts,
    )
    is_recent = receipt.judged_at - before.first_judged_at <= MERGED_SPAN
    if not (is_continued and is_repeated and is_same and is_recent):
        return None
    return replace(
        receipt,
        starts_at=before.starts_at,
        first_judged_at=before.first_judged_at,
        proof_count=before.proof_count + receipt.proof_count,
        request_count=before.request_count + receipt.request_count,
    )


def _is_attested(connection: Connection, merged: WindowReceipt, receipt: WindowReceipt) -> bool:
    """Return whether the store still has what the merged receipt attests: a record may have arrived late in its first part."""
    return merged.starts_at == receipt.starts_at or recompute(connection, merged) == merged


def read_newest_time(connection: Connection, source: str) -> datetime | None:
    """Return when the newest receipt of a source was written, or last merged with another one."""
    newest = connection.execute(_NEWEST, {"of": source}).first()
    return newest.judged_at if newest else None


def read_first_covering(connection: Connection, record: Record) -> WindowReceipt | None:
    """Read the first receipt whose window contains a record that was stored by then; None if there is none."""
    is_it = (
        RECEIPT.c.source == record.source,
        RECEIPT.c.starts_at <= record.occurred_at,
        RECEIPT.c.ends_at >= record.occurred_at,
        RECEIPT.c.record_through >= record.id,
    )
    first = _RECEIPTS.where(*is_it).order_by(RECEIPT.c.judged_at).limit(1)
    # It was judged after the record was seen, unless the clock was set back then. To look further back reads all earlier ones.
    for each in (first.where(RECEIPT.c.judged_at >= record.seen_at - _CLOCK_STEP), first):
        if row := connection.execute(each).mappings().first():
            return _receipt(row)
    return None


def read_covering(connection: Connection, record: Record, limit: int) -> list[WindowReceipt]:
    """Read the newest receipts whose window contains the time of a record, of those windows that begin shortly before it."""
    its = (RECEIPT.c.source == record.source, RECEIPT.c.starts_at <= record.occurred_at)
    near = (
        select(RECEIPT.c.id, RECEIPT.c.ends_at)
        .where(*its)
        .order_by(RECEIPT.c.starts_at.desc())
        .limit(_NEAR_RECEIPTS)
        .subquery()
    )
    ids = select(near.c.id).where(near.c.ends_at >= record.occurred_at)
    rows = connection.execute(_RECEIPTS.where(RECEIPT.c.id.in_(ids)).order_by(RECEIPT.c.id.desc()).limit(limit))
    return [_receipt(row) for row in rows.mappings()]


def stream(
    connection: Connection,
    source: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
) -> Generator[WindowReceipt, None, None]:
    """Yield at most `limit` receipts that overlap a time span, newest first, without holding them all in memory.

    Close it before the connection, if the iteration may end early.
    """
    statement = _RECEIPTS.limit(limit)
    if source is None:
        statement = statement.order_by(RECEIPT.c.id.desc())
    else:  # the order of an index, and the same one: each receipt of a source is judged later than the one before
        newest_first = (RECEIPT.c.judged_at.desc(), RECEIPT.c.id.desc())
        statement = statement.where(RECEIPT.c.source == source).order_by(*newest_first)
    if since is not None:
        statement = statement.where(RECEIPT.c.ends_at >= since)
    if until is not None:
        statement = statement.where(RECEIPT.c.starts_at <= until)
    names = _RECEIPTS.selected_columns.keys()
    return (_receipt(dict(zip(names, row, strict=True))) for row in stream_rows(connection, statement))


Span = tuple[datetime, datetime]
"""A start and an end."""


def spans(connection: Connection, owners: Mapping[str, str], since: datetime | None = None) -> dict[str, list[Span]]:
    """Return the time spans that receipts prove, oldest first, by source; adjoining spans are merged.

    `owners` are the sources, by their names and their former names. With `since`, spans that end before it are left out, and
    of the receipts that start before it only the newest are read. SQLite merges them, six times as fast as this interpreter: a
    busy source has a million receipts a year.
    """
    named = {name: owner for name, owner in owners.items() if name != owner}
    whose = case(named, value=RECEIPT.c.source, else_=RECEIPT.c.source) if named else RECEIPT.c.source
    is_proof = [RECEIPT.c.source.in_(list(owners)), RECEIPT.c.ends_at >= RECEIPT.c.starts_at]
    begins = _ends_of_earlier(connection, owners, since) if since else {}
    if since:
        is_proof.append(RECEIPT.c.starts_at >= since)
    its = select(whose.label("owner"), RECEIPT.c.starts_at, RECEIPT.c.ends_at).where(*is_proof).subquery()
    earlier = func.max(its.c.ends_at).over(partition_by=its.c.owner, order_by=its.c.starts_at, rows=(None, -1))
    proofs = select(its.c.owner, its.c.starts_at, earlier.label("proved_until")).subquery()
    is_first = or_(proofs.c.proved_until.is_(None), proofs.c.starts_at > proofs.c.proved_until)
    first = connection.execute(select(proofs).where(is_first).order_by(proofs.c.owner, proofs.c.starts_at))
    last = connection.execute(select(its.c.owner, func.max(its.c.ends_at)).group_by(its.c.owner))
    ends: dict[str, datetime] = {row[0]: row[1] for row in last}
    found: dict[str, list[Span]] = {owner: [] for owner in owners.values()}
    for owner, rows in groupby(first, key=attrgetter("owner")):
        firsts = list(rows)
        until = [*(row.proved_until for row in firsts[1:]), ends[owner]]
        found[owner] = [(row.starts_at, end) for row, end in zip(firsts, until, strict=True)]
    for owner, end in begins.items():
        if since:
            found[owner] = _joined((since, end), found[owner])
    return found


def _ends_of_earlier(connection: Connection, owners: Mapping[str, str], since: datetime) -> dict[str, datetime]:
    """Return until when the receipts that start before a time prove what follows it, by source, for those that do."""
    most = max(_EARLIER_RECEIPTS // len(owners), _FEWEST_EARLIER) if owners else 0
    found: dict[str, datetime] = {}
    statement = _END_OF_EARLIER.where(SOURCE.c.name.in_(list(owners)))
    for name, end in connection.execute(statement, {"since": since, "most": most}):
        if end is not None and end >= since:
            found[owners[name]] = max(found.get(owners[name], since), end)
    return found


def _joined(first: Span, others: Sequence[Span]) -> list[Span]:
    """Put a span before others, which start later, and join those that it reaches."""
    start, end = first
    reached = [each for each in others if each[0] <= end]
    return [(start, max([end, *(each[1] for each in reached)])), *others[len(reached) :]]


def recompute(connection: Connection, receipt: WindowReceipt) -> WindowReceipt:
    """Compute a receipt again from the stored records, without those that were stored later or had vanished by then."""
    columns = (RECORD.c.record_key, RECORD.c.id, RECORD.c.vanished_at, RECORD.c.action_kind)
    rows = connection.execute(select(*columns).where(*between(receipt.source, receipt.starts_at, receipt.ends_at)))
    return replace(receipt, **attest(map(WindowRecord._make, rows), receipt.record_through, receipt.judged_at))


def delete_older(connection: Connection, before: datetime, limit: int) -> int:
    """Delete at most `limit` receipts of windows that ended before a time. Return how many."""
    doomed = select(RECEIPT.c.id).where(RECEIPT.c.ends_at < before).order_by(RECEIPT.c.ends_at).limit(limit)
    ids = connection.execute(doomed).scalars().all()
    return connection.execute(RECEIPT.delete().where(RECEIPT.c.id.in_(ids))).rowcount


def delete_unsound(connection: Connection, source: str, now: datetime, most_ahead: timedelta) -> datetime | None:
    """Delete the receipts of a source behind the last sound one, and return where that one ends; None if there is none.

    A receipt is sound if its window ended before `now`, and not later than `most_ahead` after the receipt was written.
    """
    ends, judged = type_coerce(RECEIPT.c.ends_at, BigInteger), type_coerce(RECEIPT.c.judged_at, BigInteger)
    of_source = RECEIPT.c.source == source
    is_sound = and_(RECEIPT.c.ends_at <= now, ends <= judged + most_ahead // MICROSECOND)
    end: datetime | None = connection.execute(select(func.max(RECEIPT.c.ends_at)).where(of_source, is_sound)).scalar()
    behind = RECEIPT.c.ends_at > end if end else true()
    connection.execute(RECEIPT.delete().where(of_source, behind))
    return end


def _receipt(row: RowMapping | Mapping[str, Any]) -> WindowReceipt:
    return WindowReceipt(**{name: value for name, value in row.items() if name != "id"})
