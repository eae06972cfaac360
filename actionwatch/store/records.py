"""The records: every user action we ever saw, under its key, in the order in which we saw it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, bindparam, exists, func, or_, select, type_coerce
from sqlalchemy.types import BigInteger

from actionwatch.model import NOTHING, Entity, Record
from actionwatch.store.database import bulk_insert
from actionwatch.store.instants import MICROSECOND, from_micros, to_micros
from actionwatch.store.tables import JOINED, RECORD

_COLUMNS = tuple(column.name for column in RECORD.columns if column.name not in ("id", "vanished_at"))
# Times are read as plain integers: a TypeDecorator would cost as much as all the rest of a row.
_SELECTED = [
    type_coerce(column, BigInteger).label(column.name) if column.name in ("occurred_at", "seen_at") else column
    for column in RECORD.columns
]


Judge = Callable[[Record], tuple[bool, timedelta | None]]
"""Says whether a record is backlog, and by how much it is late."""

_by_key = attrgetter("key")


def _as_it_is(record: Record) -> tuple[bool, timedelta | None]:
    return record.is_backlog, record.late_by


# By key where times are equal: what a message shows must not hang on the order in which records came.
_NEWEST_FIRST = (RECORD.c.occurred_at.desc(), RECORD.c.record_key.desc(), RECORD.c.id.desc())
_RANKED = (
    select(
        *_SELECTED,
        JOINED.c.alert_id,
        func.row_number().over(partition_by=JOINED.c.alert_id, order_by=_NEWEST_FIRST).label("rank"),
    )
    .join(JOINED, JOINED.c.record_id == RECORD.c.id)
    .where(JOINED.c.alert_id.in_(bindparam("alert_ids", expanding=True)))
    .subquery()
)
# Built once: every message asks it.
_OF_ALERTS = select(_RANKED).where(_RANKED.c.rank <= bindparam("most")).order_by(_RANKED.c.rank.desc())


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordFilter:
    """What `records list|export` may ask for; None and empty mean everything. Entities match by id or name."""

    kinds: Sequence[str] = ()
    user: str | None = None
    account: str | None = None
    cluster: str | None = None
    operations: Sequence[str] = ()
    scope: str | None = None
    keyword: str | None = None
    since: datetime | None = None
    until: datetime | None = None


def insert_new(connection: Connection, records: Iterable[Record], judge: Judge = _as_it_is) -> int:
    """Store the records whose source and key are not known yet, in the order of their keys; give how many were new.

    `judge` says of each whether it is backlog and how late it is; without one that is left as the record has it. (A changed
    copy of each record instead would cost a third of what storing it does.)
    """
    ordered = sorted(records, key=_by_key)
    return bulk_insert(connection, RECORD, _COLUMNS, [_values(record, *judge(record)) for record in ordered])


def read_after(connection: Connection, position: int, limit: int) -> list[Record]:
    """Read the next records by local id, oldest stored first; a late record is never passed over, whatever its time."""
    rows = connection.execute(_select().where(RECORD.c.id > position).order_by(RECORD.c.id).limit(limit))
    return [_record(row) for row in rows]


def read_of_alerts(connection: Connection, alert_ids: Collection[str], limit: int) -> dict[str, list[Record]]:
    """Read the newest `limit` records (by event time) joined to each of these alerts, newest last; a key for every id."""
    found: dict[str, list[Record]] = {alert_id: [] for alert_id in alert_ids}
    for row in connection.execute(_OF_ALERTS, {"alert_ids": list(alert_ids), "most": limit}):
        found[row.alert_id].append(_record(row))
    return found


def read_by_key(connection: Connection, key: str) -> Record | None:
    """Read one record by its key (the first, where several sources hold it)."""
    row = connection.execute(_select().where(RECORD.c.record_key == key).order_by(RECORD.c.id).limit(1)).first()
    return _record(row) if row else None


def find(connection: Connection, wanted: RecordFilter, limit: int | None) -> list[Record]:
    """Read the newest records (by event time) that a filter admits, newest first."""
    statement = _narrow(_select(), wanted).order_by(RECORD.c.occurred_at.desc(), RECORD.c.id.desc())
    return [_record(row) for row in connection.execute(statement.limit(limit))]


def stream(connection: Connection, wanted: RecordFilter) -> Iterator[Record]:
    """Read every record that a filter admits, in the order stored, without holding them all."""
    rows = connection.execution_options(yield_per=1000).execute(_narrow(_select(), wanted).order_by(RECORD.c.id))
    return (_record(row) for row in rows)


def stream_since(connection: Connection, since: datetime | None, up_to_id: int) -> Iterator[Record]:
    """Read the records of a time or later (None: all) with an id up to one, by time, without holding them all."""
    statement = _select().where(RECORD.c.id <= up_to_id).order_by(RECORD.c.occurred_at, RECORD.c.id)
    if since is not None:
        statement = statement.where(RECORD.c.occurred_at >= since)
    return (_record(row) for row in connection.execution_options(yield_per=1000).execute(statement))


def count_by_source(connection: Connection) -> dict[str, int]:
    """Count the stored records of each source."""
    rows = connection.execute(select(RECORD.c.source, func.count()).group_by(RECORD.c.source))
    return {row[0]: row[1] for row in rows}


def count_joined(connection: Connection) -> int:
    """Count the records that belong to any alert."""
    return connection.execute(select(func.count(JOINED.c.record_id.distinct()))).scalar() or 0


def count_kinds(connection: Connection, source: str, start: datetime, end: datetime) -> dict[str, int]:
    """Count per kind the records a source has stored with start <= occurred_at <= end that the upstream still holds.

    Only what came from the upstream with a readable time: other keys do not begin with one.
    """
    statement = select(RECORD.c.action_kind, func.count()).where(*_within(source, start, end))
    return {row[0]: row[1] for row in connection.execute(statement.group_by(RECORD.c.action_kind))}


def mark_vanished(
    connection: Connection, source: str, start: datetime, end: datetime, present: Collection[str], at: datetime
) -> list[Record]:
    """Mark the records of start..end whose key is not present at the upstream any more; gives them, oldest first."""
    rows = connection.execute(_select().where(*_within(source, start, end)).order_by(RECORD.c.record_key))
    vanished = [record for row in rows if (record := _record(row)).key not in present]
    for record in vanished:
        connection.execute(RECORD.update().where(RECORD.c.id == record.id).values(vanished_at=at))
    return vanished


def unmark_vanished(
    connection: Connection, source: str, start: datetime, end: datetime, present: Collection[str]
) -> None:
    """Take the mark from the records of start..end that the upstream shows again."""
    in_time = _between(source, start, end)
    gone = select(RECORD.c.record_key).where(*in_time, RECORD.c.vanished_at.is_not(None))
    for key in [key for key in connection.execute(gone).scalars() if key in present]:
        is_it = (RECORD.c.source == source, RECORD.c.record_key == key)
        connection.execute(RECORD.update().where(*is_it).values(vanished_at=None))


def count_vanished(connection: Connection, source: str, since: datetime) -> int:
    """Count the records of a source after a time that the upstream holds no more."""
    statement = select(func.count()).where(RECORD.c.source == source, RECORD.c.record_key >= key_floor(since))
    return connection.execute(statement.where(RECORD.c.vanished_at.is_not(None))).scalar() or 0


def is_quiet(connection: Connection, source: str, start: datetime, end: datetime) -> bool:
    """Say whether a source has no record stored between two times."""
    return connection.execute(select(RECORD.c.id).where(*_within(source, start, end)).limit(1)).first() is None


def lateness(connection: Connection, source: str, limit: int) -> list[timedelta]:
    """Give how long after its time each of the records stored last was seen, shortest first; backlog left out."""
    micros = type_coerce(RECORD.c.seen_at, BigInteger) - type_coerce(RECORD.c.occurred_at, BigInteger)
    statement = (
        select(micros)
        .where(RECORD.c.source == source, ~RECORD.c.is_backlog, RECORD.c.is_time_readable)
        .order_by(RECORD.c.id.desc())
        .limit(limit)
    )
    return sorted(timedelta(microseconds=value) for value in connection.execute(statement).scalars())


def newest_time(connection: Connection, up_to_id: int) -> datetime | None:
    """Give the newest time of the records with an id up to one; None for no records."""
    found: datetime | None = connection.execute(
        select(func.max(RECORD.c.occurred_at)).where(RECORD.c.id <= up_to_id)
    ).scalar()
    return found


def newest_id(connection: Connection) -> int:
    """Give the id of the record stored last; 0 for none."""
    newest: int | None = connection.execute(select(func.max(RECORD.c.id))).scalar()
    return newest or 0


def delete_older(connection: Connection, before: datetime, up_to_id: int, limit: int) -> int:
    """Delete at most `limit` records that were seen before a time and have an id up to `up_to_id`; give how many.

    Records of an alert stay. So do those stored after one that is not old enough: looking stops there, not at the table's end.
    """
    young = select(RECORD.c.id).where(RECORD.c.seen_at >= before).order_by(RECORD.c.id).limit(1).scalar_subquery()
    doomed = (
        select(RECORD.c.id)
        .where(RECORD.c.id <= up_to_id, RECORD.c.id < func.coalesce(young, up_to_id + 1))
        .where(~exists().where(JOINED.c.record_id == RECORD.c.id))
        .order_by(RECORD.c.id)
        .limit(limit)
    )
    return connection.execute(RECORD.delete().where(RECORD.c.id.in_(doomed))).rowcount


def key_floor(at: datetime) -> str:
    """Give the lowest record key of an instant: keys begin with the time, as 16 hex digits of epoch microseconds."""
    return f"{to_micros(at):016x}"


def _within(source: str, start: datetime, end: datetime) -> tuple[ColumnElement[bool], ...]:
    """Give the conditions for a source's upstream records with start <= occurred_at <= end, still held there."""
    return (*_between(source, start, end), RECORD.c.vanished_at.is_(None))


def _between(source: str, start: datetime, end: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        RECORD.c.source == source,
        RECORD.c.record_key >= key_floor(start),
        RECORD.c.record_key < key_floor(end + MICROSECOND),
    )


def _select() -> Select[Any]:
    return select(*_SELECTED)


def _narrow(statement: Select[Any], wanted: RecordFilter) -> Select[Any]:
    c = RECORD.c
    tests: list[ColumnElement[bool]] = []
    if wanted.kinds:
        tests.append(c.action_kind.in_(wanted.kinds))
    if wanted.operations:
        tests.append(c.operation.in_(wanted.operations))
    if wanted.user:
        tests.append(func.lower(c.user_name) == func.lower(wanted.user))  # SQLite's knows only ASCII: use one
    if wanted.scope:
        tests.append(c.scope == wanted.scope)
    if wanted.account:
        tests.append(or_(c.account_id == wanted.account, c.account_name == wanted.account))
    if wanted.cluster:
        tests.append(or_(c.cluster_id == wanted.cluster, c.cluster_name == wanted.cluster))
    if wanted.keyword:
        tests.append(c.description.icontains(wanted.keyword, autoescape=True))
    if wanted.since:
        tests.append(c.occurred_at >= wanted.since)
    if wanted.until:
        tests.append(c.occurred_at <= wanted.until)
    return statement.where(*tests)


def _values(record: Record, is_backlog: bool, late_by: timedelta | None) -> tuple[Any, ...]:
    """Give the row of a record, in the order of the table's columns after the id."""
    account, cluster, organisation = record.account, record.cluster, record.organisation
    return (
        record.source,
        record.key,
        to_micros(record.occurred_at),
        to_micros(record.seen_at),
        record.action_kind,
        record.operation,
        record.scope,
        record.severity,
        record.domain_type,
        record.user_name,
        record.description,
        account.id,
        account.name,
        cluster.id,
        cluster.name,
        organisation.id,
        organisation.name,
        record.upstream_id,
        record.is_time_readable,
        is_backlog,
        None if late_by is None else late_by // MICROSECOND,
        record.raw,
    )


def _record(row: Row[Any]) -> Record:
    return Record(
        id=row.id,
        key=row.record_key,
        source=row.source,
        occurred_at=from_micros(row.occurred_at),
        seen_at=from_micros(row.seen_at),
        action_kind=row.action_kind,
        operation=row.operation,
        scope=row.scope,
        severity=row.severity,
        domain_type=row.domain_type,
        user_name=row.user_name,
        description=row.description,
        account=_entity(row.account_id, row.account_name),
        cluster=_entity(row.cluster_id, row.cluster_name),
        organisation=_entity(row.organisation_id, row.organisation_name),
        upstream_id=row.upstream_id,
        is_time_readable=row.is_time_readable,
        is_backlog=row.is_backlog,
        late_by=None if row.late_by is None else timedelta(microseconds=row.late_by),
        raw=row.raw,
    )


def _entity(entity_id: str | None, name: str | None) -> Entity:
    return NOTHING if entity_id is None and name is None else Entity(entity_id, name)
