"""The receipts: for each time window, the proof that the store holds all records of the upstream."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, Connection, RowMapping, and_, func, or_, select, true, type_coerce

from actionwatch.base.clock import MICROSECOND
from actionwatch.store.records import between
from actionwatch.store.tables import RECEIPT, RECORD

_RECEIPTS = select(*(column for column in RECEIPT.columns if column.name != "id"))


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowReceipt:
    """A proved window: these and no other records had a time from `starts_at` to `ends_at`, both included.

    `digest` is over their sorted keys (`digest_of`); `method` names the proof. `judged_at` is a time of our clock. It is later
    than that of the receipt before, even if the clock was set back.
    """

    source: str
    starts_at: datetime
    ends_at: datetime
    judged_at: datetime
    method: str
    record_count: int
    kind_counts: Mapping[str, int]
    digest: str
    request_count: int
    record_through: int = 0
    """The id of the newest record at that time; `insert` writes it."""


def digest_of(keys: Iterable[str]) -> str:
    """Return the digest of record keys: SHA-256 over the sorted keys, one per line."""
    return hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()


def insert(connection: Connection, receipt: WindowReceipt) -> None:
    """Insert a receipt."""
    values = asdict(receipt)
    values["record_through"] = select(func.coalesce(func.max(RECORD.c.id), 0)).scalar_subquery()
    values["kind_counts"] = json.dumps(dict(sorted(receipt.kind_counts.items())))
    connection.execute(RECEIPT.insert().values(values))


def read_newest_time(connection: Connection, source: str) -> datetime | None:
    """Return when the newest receipt of a source was written."""
    statement = select(RECEIPT.c.judged_at).where(RECEIPT.c.source == source).order_by(RECEIPT.c.id.desc()).limit(1)
    found: datetime | None = connection.execute(statement).scalar()
    return found


def read_covering(connection: Connection, source: str, at: datetime, limit: int) -> list[WindowReceipt]:
    """Read the receipts of a source whose window contains an instant, oldest receipt first."""
    covers = (RECEIPT.c.source == source, RECEIPT.c.starts_at <= at, RECEIPT.c.ends_at >= at)
    statement = _RECEIPTS.where(*covers).order_by(RECEIPT.c.id).limit(limit)
    return [_receipt(row) for row in connection.execute(statement).mappings()]


def stream(
    connection: Connection,
    source: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
) -> Iterator[WindowReceipt]:
    """Yield at most `limit` receipts that overlap a time span, newest first, without holding them all in memory."""
    statement = _RECEIPTS.order_by(RECEIPT.c.id.desc()).limit(limit)
    if source is not None:
        statement = statement.where(RECEIPT.c.source == source)
    if since is not None:
        statement = statement.where(RECEIPT.c.ends_at >= since)
    if until is not None:
        statement = statement.where(RECEIPT.c.starts_at <= until)
    rows = connection.execution_options(yield_per=1000).execute(statement).mappings()
    return (_receipt(row) for row in rows)


def spans(connection: Connection, sources: Sequence[str]) -> Iterator[tuple[datetime, datetime]]:
    """Yield the time spans that the receipts of these sources prove, oldest first; adjoining spans are merged."""
    statement = (
        select(RECEIPT.c.starts_at, RECEIPT.c.ends_at)
        .where(RECEIPT.c.source.in_(sources), RECEIPT.c.ends_at >= RECEIPT.c.starts_at)
        .order_by(RECEIPT.c.starts_at)
    )
    start: datetime | None = None
    end: datetime | None = None
    for row in connection.execution_options(yield_per=10_000).execute(statement):
        if start is not None and end is not None and row.starts_at > end:
            yield start, end
            start = end = None
        start = start or row.starts_at
        end = row.ends_at if end is None else max(end, row.ends_at)
    if start is not None and end is not None:
        yield start, end


def recompute(connection: Connection, receipt: WindowReceipt) -> WindowReceipt:
    """Compute a receipt again from the stored records, without those that were stored later or had vanished by then."""
    is_it = (
        *between(receipt.source, receipt.starts_at, receipt.ends_at),
        RECORD.c.id <= receipt.record_through,
        or_(RECORD.c.vanished_at.is_(None), RECORD.c.vanished_at > receipt.judged_at),
    )
    rows = connection.execute(select(RECORD.c.record_key, RECORD.c.action_kind).where(*is_it)).all()
    kinds = Counter(row.action_kind for row in rows)
    digest = digest_of(row.record_key for row in rows)
    return replace(receipt, record_count=len(rows), kind_counts=kinds, digest=digest)


def delete_older(connection: Connection, before: datetime, limit: int) -> int:
    """Delete at most `limit` receipts of windows that ended before a time. Return how many."""
    doomed = select(RECEIPT.c.id).where(RECEIPT.c.ends_at < before).limit(limit)
    return connection.execute(RECEIPT.delete().where(RECEIPT.c.id.in_(doomed))).rowcount


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


def _receipt(row: RowMapping) -> WindowReceipt:
    return WindowReceipt(**{**row, "kind_counts": json.loads(row["kind_counts"])})
