"""Read from the store what a stream of evidence carries, to compare both: see `streams/evidence.py`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select

from actionwatch.base.clock import MICROSECOND
from actionwatch.base.errors import StoreError
from actionwatch.base.model import Record
from actionwatch.store.record_keys import timed
from actionwatch.store.record_rows import READ, RECORDS, record_of
from actionwatch.store.statements import portions, stream_rows
from actionwatch.store.tables import ALERT, ALERT_HISTORY, HAS_OTHER_KEY, RECORD, ROW_VERSION, SILENCE

_TABLES = {"alert": ALERT, "silence": SILENCE}


class StoredRecord(NamedTuple):
    """A record with what identifies it. It is None if another program wrote a value that cannot be read."""

    id: int
    source: str
    key: str
    record: Record | None


class Decision(NamedTuple):
    """A row of the history of an alert."""

    id: int
    alert_id: str
    stage: str
    what: str
    at: datetime


def stream_records(connection: Connection, start: datetime, end: datetime) -> Iterator[StoredRecord]:
    """Yield the records of all sources with start <= occurred_at < end, in any order."""
    is_within = (RECORD.c.occurred_at >= start, RECORD.c.occurred_at < end)
    is_timed = timed(start, end - MICROSECOND)
    for statement in (RECORDS.where(*is_timed), RECORDS.where(HAS_OTHER_KEY, *is_within)):
        yield from map(_stored, stream_rows(connection, statement))


def read_keys(connection: Connection, source: str, keys: Collection[str]) -> set[str]:
    """Return those of the keys that a record of a source has."""
    its = select(RECORD.c.record_key).where(RECORD.c.source == source)
    return {
        key for some in portions(keys) for key in connection.execute(its.where(RECORD.c.record_key.in_(some))).scalars()
    }


def stream_decisions(
    connection: Connection, start: datetime, end: datetime, stages: Collection[str]
) -> Iterator[Decision]:
    """Yield the rows of histories with these stages and start <= at < end, in any order."""
    its = ALERT_HISTORY.c
    is_within = (its.at >= start, its.at < end, its.stage.in_(stages))
    chosen = select(its.id, its.alert_id, its.stage, its.what, its.at).where(*is_within)
    return (Decision._make(row) for row in stream_rows(connection, chosen))


def _stored(row: Sequence[Any]) -> StoredRecord:
    try:
        record = record_of(row)
    except StoreError:
        record = None
    return StoredRecord(row[READ.index("id")], row[READ.index("source")], row[READ.index("record_key")], record)


def newest_versions(connection: Connection, table: str) -> Mapping[str, int]:
    """Return the newest version of each row of a table, `alert` or `silence`, by its id; 0 if it has none."""
    key = _TABLES[table].c.id
    versions = select(ROW_VERSION.c.row_key, ROW_VERSION.c.id).where(ROW_VERSION.c.table_name == table).subquery()
    chosen = select(key, func.coalesce(func.max(versions.c.id), 0)).select_from(
        _TABLES[table].outerjoin(versions, versions.c.row_key == key)
    )
    return {row[0]: row[1] for row in connection.execute(chosen.group_by(key))}
