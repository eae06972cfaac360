"""Read everything that the store knows about a time, row by row, for an evidence bundle (`service/bundle_writing.py`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select

from actionwatch.base.clock import MICROSECOND
from actionwatch.store.record_keys import OTHER_KEYS_FROM, key_floor
from actionwatch.store.statements import stream_rows
from actionwatch.store.tables import (
    ALERT,
    ALERT_HISTORY,
    ALERT_RECORD,
    DELIVERY,
    RECEIPT,
    RECORD,
    RECORD_COUNT,
    SILENCE,
)

Rows = Iterator[Mapping[str, Any]]


def reach_of_receipts(connection: Connection, since: datetime, until: datetime) -> tuple[datetime, datetime]:
    """Return the time that the receipts of a time cover: their windows may begin before it, and end after it."""
    bounds = select(func.min(RECEIPT.c.starts_at), func.max(RECEIPT.c.ends_at)).where(*_receipts_of(since, until))
    start, end = connection.execute(bounds).one()
    return min(start or since, since), max(end or until, until)


def whole_from(connection: Connection, kept: datetime) -> datetime | None:
    """Return the time from which the store has every record that a receipt attests, if retention keeps all since `kept`.

    None if it never deleted any. A receipt that begins before that time cannot be verified, to its end.
    """
    if not connection.execute(select(func.sum(RECORD_COUNT.c.deleted_count))).scalar():
        return None
    end: datetime | None = connection.execute(
        select(func.max(RECEIPT.c.ends_at)).where(RECEIPT.c.starts_at < kept)
    ).scalar()
    return max(kept, end + MICROSECOND) if end else kept


def stream_records(connection: Connection, since: datetime, until: datetime) -> Rows:
    """Yield the records of a time in the order of their keys; those without a readable time by the time they were seen."""
    chosen = select(RECORD).where(_records_of(since, until))
    return _rows(connection, chosen.order_by(RECORD.c.record_key, RECORD.c.source))


def count_records(connection: Connection, since: datetime, until: datetime) -> int:
    """Return how many records `stream_records` yields."""
    return int(connection.execute(select(func.count()).where(_records_of(since, until))).scalar_one())


def _records_of(since: datetime, until: datetime) -> ColumnElement[bool]:
    is_timed = and_(RECORD.c.record_key >= key_floor(since), RECORD.c.record_key < key_floor(until + MICROSECOND))
    is_other = and_(RECORD.c.record_key >= OTHER_KEYS_FROM, RECORD.c.seen_at >= since, RECORD.c.seen_at <= until)
    return or_(is_timed, is_other)


def stream_receipts(connection: Connection, since: datetime, until: datetime) -> Rows:
    """Yield the receipts whose windows overlap a time, by the start of their windows."""
    order = (RECEIPT.c.starts_at, RECEIPT.c.ends_at, RECEIPT.c.source, RECEIPT.c.id)
    return _rows(connection, select(RECEIPT).where(*_receipts_of(since, until)).order_by(*order))


def stream_others(connection: Connection, since: datetime, until: datetime) -> Iterator[tuple[str, Rows]]:
    """Yield the alerts of a time, their records, history and deliveries, and the silences, each with the name of its part.

    The bodies of messages are left out: they repeat the alert.
    """
    is_opened = and_(ALERT.c.opened_at >= since, ALERT.c.opened_at <= until)
    is_about = and_(ALERT.c.first_at <= until, ALERT.c.last_at >= since)
    is_it = or_(is_opened, is_about)
    ids = select(ALERT.c.id).where(is_it)
    joined = ALERT_RECORD.join(RECORD, RECORD.c.id == ALERT_RECORD.c.record_id, isouter=True)
    pair = (ALERT_RECORD.c.alert_id, ALERT_RECORD.c.record_id)
    held = select(*pair, ALERT_RECORD.c.occurred_at, RECORD.c.record_key, RECORD.c.source).select_from(joined)
    sent = select(*(column for column in DELIVERY.c if column.name != "body"))
    statements: dict[str, Select[Any]] = {
        "alerts": select(ALERT).where(is_it).order_by(ALERT.c.opened_at, ALERT.c.id),
        "alert_records": held.where(ALERT_RECORD.c.alert_id.in_(ids)).order_by(*pair),
        "alert_history": select(ALERT_HISTORY).where(ALERT_HISTORY.c.alert_id.in_(ids)).order_by(ALERT_HISTORY.c.id),
        "deliveries": sent.where(DELIVERY.c.alert_id.in_(ids)).order_by(DELIVERY.c.created_at, DELIVERY.c.id),
        "silences": select(SILENCE)
        .where(SILENCE.c.starts_at <= until, SILENCE.c.ends_at >= since)
        .order_by(SILENCE.c.starts_at, SILENCE.c.id),
    }
    for name, statement in statements.items():
        yield name, _rows(connection, statement)


def _receipts_of(since: datetime, until: datetime) -> tuple[Any, ...]:
    return RECEIPT.c.ends_at >= since, RECEIPT.c.starts_at <= until, RECEIPT.c.ends_at >= RECEIPT.c.starts_at


def _rows(connection: Connection, statement: Select[Any]) -> Rows:
    names = list(statement.selected_columns.keys())
    return (dict(zip(names, row, strict=True)) for row in stream_rows(connection, statement))
