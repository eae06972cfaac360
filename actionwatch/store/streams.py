"""The streams: how far each has read, through when it is complete, and the messages that it keeps.

Only the process with the role of a stream moves it; people rewind it, and decide about refused messages.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, func, literal, or_, select

from actionwatch.base.clock import ALWAYS, MICROSECOND
from actionwatch.base.model import Record
from actionwatch.store.record_keys import key_floor, key_time, timed
from actionwatch.store.record_rows import READ, SELECTED, record_of
from actionwatch.store.records import newest_id
from actionwatch.store.statements import portions, stream_rows, upsert
from actionwatch.store.tables import (
    ALERT,
    ALERT_HISTORY,
    HAS_OTHER_KEY,
    RECORD,
    RECORD_COUNT,
    ROW_VERSION,
    SILENCE,
    STREAM,
    STREAM_MARK,
    STREAM_MESSAGE,
    STREAM_POSITION,
)


@dataclass(frozen=True, slots=True)
class Health:
    """The health of a stream. `failing_since` is None while its destination accepts messages."""

    started_at: datetime = ALWAYS
    """When it began, or was last rewound."""
    sent_count: int = 0
    last_sent_at: datetime | None = None
    failing_since: datetime | None = None
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """The position of a stream in a table: it has read up to `row_id`. `planned_through`: the end of its open object."""

    row_id: int
    planned_through: int | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """The time since which a stream has all records of a source, and through which it has stated that (excluded)."""

    begins_at: datetime
    complete_through: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptMessage:
    """A message that is stored until it is sent. `row_id` is its offset."""

    message_id: str
    kind: str
    row_id: int
    at: datetime
    partition_key: str
    content_type: str
    body: bytes
    id: int = 0
    stream: str = ""
    refused_at: datetime | None = None
    why: str | None = None


RECORD_FEED = "record"
"""The feed of the positions in `record`."""
_HEALTH = select(STREAM)
_ONE = _HEALTH.where(STREAM.c.name == bindparam("wanted"))
_POSITIONS = select(STREAM_POSITION.c.feed, STREAM_POSITION.c.row_id, STREAM_POSITION.c.planned_through).where(
    STREAM_POSITION.c.stream == bindparam("wanted")
)
_MARKS = select(STREAM_MARK).where(STREAM_MARK.c.stream == bindparam("wanted"))
_WAITING = (
    select(STREAM_MESSAGE)
    .where(STREAM_MESSAGE.c.stream == bindparam("wanted"), STREAM_MESSAGE.c.refused_at.is_(None))
    .order_by(STREAM_MESSAGE.c.id)
    .limit(bindparam("most"))
)
_ENTRIES_AFTER = (
    select(ALERT_HISTORY)
    .where(ALERT_HISTORY.c.id > bindparam("after"))
    .order_by(ALERT_HISTORY.c.id)
    .limit(bindparam("most"))
)
_VERSIONS_AFTER = (
    select(ROW_VERSION.c.id, ROW_VERSION.c.table_name, ROW_VERSION.c.row_key)
    .where(ROW_VERSION.c.id > bindparam("after"))
    .order_by(ROW_VERSION.c.id)
    .limit(bindparam("most"))
)
# `raw` is most of a record, and no statement needs it.
_WINDOW = select(
    *(literal("").label(name) if name == "raw" else each for name, each in zip(READ, SELECTED, strict=True))
)
_FIRST_WAITING = (
    select(RECORD.c.id, RECORD.c.seen_at).where(RECORD.c.id > bindparam("after")).order_by(RECORD.c.id).limit(1)
)


def read_health(connection: Connection, name: str) -> Health:
    """Return the health of a stream."""
    row = connection.execute(_ONE, {"wanted": name}).mappings().first()
    return _health(row) if row else Health()


def read_all(connection: Connection) -> dict[str, Health]:
    """Return the health of each stream that ever ran, by name."""
    return {row["name"]: _health(row) for row in connection.execute(_HEALTH.order_by(STREAM.c.name)).mappings()}


def _health(row: Any) -> Health:
    return Health(**{name: value for name, value in row.items() if name != "name"})


def write_health(connection: Connection, name: str, health: Health) -> None:
    """Store the health of a stream."""
    values = {field: getattr(health, field) for field in Health.__dataclass_fields__}
    upsert(connection, STREAM, {"name": name, **values})


def read_positions(connection: Connection, name: str) -> dict[str, Position]:
    """Return how far a stream has read each table; empty before its first start."""
    rows = connection.execute(_POSITIONS, {"wanted": name})
    return {row.feed: Position(row.row_id, row.planned_through) for row in rows}


def write_position(connection: Connection, name: str, feed: str, position: Position) -> None:
    """Move a stream."""
    values = {"row_id": position.row_id, "planned_through": position.planned_through}
    upsert(connection, STREAM_POSITION, {"stream": name, "feed": feed, **values})


def least_record_position(connection: Connection, names: Collection[str], handled: int) -> int:
    """Return up to which of the records that are handled otherwise all of these streams have sent them."""
    its = (STREAM_POSITION.c.stream.in_(names), STREAM_POSITION.c.feed == RECORD_FEED)
    found: int | None = connection.execute(select(func.min(STREAM_POSITION.c.row_id)).where(*its)).scalar()
    return handled if found is None else min(handled, found)


def read_marks(connection: Connection, name: str) -> dict[str, Mark]:
    """Return the marks of a stream by source."""
    rows = connection.execute(_MARKS, {"wanted": name})
    return {row.source: Mark(row.begins_at, row.complete_through) for row in rows}


def write_mark(connection: Connection, name: str, source: str, mark: Mark) -> None:
    """Store the mark of a source."""
    values = {"begins_at": mark.begins_at, "complete_through": mark.complete_through}
    upsert(connection, STREAM_MARK, {"stream": name, "source": source, **values})


def keep(connection: Connection, name: str, messages: Sequence[KeptMessage]) -> None:
    """Store messages, in their order, until they are sent. One that is kept already is replaced."""
    for some in portions([message.message_id for message in messages]):
        its = (STREAM_MESSAGE.c.stream == name, STREAM_MESSAGE.c.message_id.in_(some))
        connection.execute(STREAM_MESSAGE.delete().where(*its))
    columns = [each for each in KeptMessage.__dataclass_fields__ if each not in ("id", "stream")]
    rows = [{"stream": name, **{each: getattr(message, each) for each in columns}} for message in messages]
    if rows:
        connection.execute(STREAM_MESSAGE.insert(), rows)


def read_waiting(connection: Connection, name: str, limit: int) -> list[KeptMessage]:
    """Return the next messages to send, in their order."""
    return [KeptMessage(**row) for row in connection.execute(_WAITING, {"wanted": name, "most": limit}).mappings()]


def delete_sent(connection: Connection, ids: Collection[int]) -> None:
    """Delete messages that are sent."""
    connection.execute(STREAM_MESSAGE.delete().where(STREAM_MESSAGE.c.id.in_(ids)))


def refuse(connection: Connection, ids: Collection[int], at: datetime, why: str) -> None:
    """Keep waiting messages as refused."""
    changed = STREAM_MESSAGE.update().where(STREAM_MESSAGE.c.id.in_(ids))
    connection.execute(changed.values(refused_at=at, why=why))


def _are_refused(name: str | None, ids: Collection[int]) -> list[ColumnElement[bool]]:
    chosen: list[ColumnElement[bool]] = [STREAM_MESSAGE.c.refused_at.is_not(None)]
    if name is not None:
        chosen.append(STREAM_MESSAGE.c.stream == name)
    return [*chosen, STREAM_MESSAGE.c.id.in_(ids)] if ids else chosen


def read_refused(connection: Connection, name: str | None, limit: int) -> list[KeptMessage]:
    """Return refused messages, newest first: of a stream, or of all."""
    statement = select(STREAM_MESSAGE).where(*_are_refused(name, ())).order_by(STREAM_MESSAGE.c.id.desc()).limit(limit)
    return [KeptMessage(**row) for row in connection.execute(statement).mappings()]


def count_kept(connection: Connection) -> dict[str, tuple[int, int]]:
    """Return how many messages of each stream wait, and how many are refused."""
    refused = func.count(STREAM_MESSAGE.c.refused_at)
    statement = select(STREAM_MESSAGE.c.stream, func.count(), refused).group_by(STREAM_MESSAGE.c.stream)
    return {row[0]: (row[1] - row[2], row[2]) for row in connection.execute(statement)}


def send_again(connection: Connection, name: str, ids: Collection[int] = ()) -> int:
    """Let refused messages wait again; only these, if ids are given. Return how many."""
    changed = STREAM_MESSAGE.update().where(*_are_refused(name, ids)).values(refused_at=None, why=None)
    return connection.execute(changed).rowcount


def drop_refused(connection: Connection, name: str, ids: Collection[int] = ()) -> int:
    """Delete refused messages; only these, if ids are given. Return how many."""
    return connection.execute(STREAM_MESSAGE.delete().where(*_are_refused(name, ids))).rowcount


def forget_others(connection: Connection, configured: Collection[str]) -> list[str]:
    """Delete all of the streams that are not configured. Return their names."""
    known = connection.execute(select(STREAM.c.name).where(STREAM.c.name.not_in(configured))).scalars().all()
    for column in (STREAM_POSITION.c.stream, STREAM_MARK.c.stream, STREAM_MESSAGE.c.stream, STREAM.c.name):
        connection.execute(column.table.delete().where(column.not_in(configured)))
    return list(known)


def first_refused(connection: Connection, name: str) -> dict[str, datetime]:
    """Return the time of the oldest record of each source that the destination refused, and nobody has decided about."""
    its = (STREAM_MESSAGE.c.stream == name, STREAM_MESSAGE.c.kind == "record", STREAM_MESSAGE.c.refused_at.is_not(None))
    found: dict[str, datetime] = {}
    for row in connection.execute(select(STREAM_MESSAGE.c.message_id, STREAM_MESSAGE.c.at).where(*its)):
        source = row.message_id.rpartition("/")[0]
        found[source] = min(found.get(source, row.at), row.at)
    return found


def read_window(connection: Connection, source: str, start: datetime, end: datetime, through: int) -> Iterator[Record]:
    """Yield the records of a source with start <= occurred_at < end up to an id, in the order of their keys, without `raw`."""
    keys = (RECORD.c.source == source, RECORD.c.record_key >= key_floor(start), RECORD.c.record_key < key_floor(end))
    statement = _WINDOW.where(*keys, RECORD.c.id <= through).order_by(RECORD.c.record_key)
    return (record_of(row) for row in stream_rows(connection, statement))


def position_before(connection: Connection, at: datetime) -> int:
    """Return the id before the first stored record with a time since `at`; the newest id if there is none."""
    first = connection.execute(
        select(func.min(RECORD.c.id)).where(or_(and_(*timed(at)), and_(HAS_OTHER_KEY, RECORD.c.occurred_at >= at)))
    ).scalar()
    return newest_id(connection) if first is None else first - 1


def kept_since(connection: Connection, source: str) -> datetime | None:
    """Return the time of the oldest stored record of a source from which retention has deleted some; None if it has not."""
    deleted = select(RECORD_COUNT.c.deleted_count).where(RECORD_COUNT.c.source == source)
    if not connection.execute(deleted).scalar():
        return None
    oldest = select(func.min(RECORD.c.record_key)).where(RECORD.c.source == source, *timed())
    key = connection.execute(oldest).scalar()
    return key_time(key) if key is not None else None


def position_of_polls(connection: Connection, seen_through: Mapping[str, datetime]) -> int:
    """Return the id before the first record that no completed poll covers: of a poll that is at work, or that failed.

    `seen_through` are the ends of the last completed windows, by source; a source that is not in it has none yet.
    """
    position = newest_id(connection)
    for source in connection.execute(select(RECORD_COUNT.c.source)).scalars():
        through = seen_through.get(source)
        bounds = timed(through + MICROSECOND if through is not None else None)
        first = select(func.min(RECORD.c.id)).where(RECORD.c.source == source, *bounds)
        found = connection.execute(first).scalar()
        position = min(position, found - 1) if found is not None else position
    return position


def first_waiting(connection: Connection, position: int) -> tuple[int, datetime] | None:
    """Return the id of the first record after a position, and when it was seen; None if there is none."""
    row = connection.execute(_FIRST_WAITING, {"after": position}).first()
    return (row.id, row.seen_at) if row else None


def count_waiting(connection: Connection, position: int, most: int) -> int:
    """Count the records after a position, at most `most`."""
    some = select(RECORD.c.id).where(RECORD.c.id > position).limit(most).subquery()
    return connection.execute(select(func.count()).select_from(some)).scalar_one()


def entries_after(connection: Connection, position: int, limit: int) -> Sequence[Any]:
    """Return the next rows of `alert_history`."""
    return connection.execute(_ENTRIES_AFTER, {"after": position, "most": limit}).all()


def versions_after(connection: Connection, position: int, limit: int) -> Sequence[Any]:
    """Return the next rows of `row_version`: their id, table and key."""
    return connection.execute(_VERSIONS_AFTER, {"after": position, "most": limit}).all()


def first_versions(connection: Connection, table: str, keys: Collection[str]) -> dict[str, int]:
    """Return the id of the first version of each of these rows."""
    found: dict[str, int] = {}
    for some in portions(keys):
        its = (ROW_VERSION.c.table_name == table, ROW_VERSION.c.row_key.in_(some))
        firsts = select(ROW_VERSION.c.row_key, func.min(ROW_VERSION.c.id)).where(*its).group_by(ROW_VERSION.c.row_key)
        found |= {row[0]: row[1] for row in connection.execute(firsts)}
    return found


def entry_before(connection: Connection, at: datetime) -> int:
    """Return the id before the first row of `alert_history` since a time; the newest id if there is none."""
    first = connection.execute(select(func.min(ALERT_HISTORY.c.id)).where(ALERT_HISTORY.c.at >= at)).scalar()
    return newest_entry(connection) if first is None else first - 1


_BEGINNINGS = {"alert": (ALERT.c.id, ALERT.c.opened_at), "silence": (SILENCE.c.id, SILENCE.c.starts_at)}


def version_before(connection: Connection, table: str, at: datetime) -> int:
    """Return the id before the first version of the alerts or silences that began at or after a time."""
    key, began = _BEGINNINGS[table]
    its = (ROW_VERSION.c.table_name == table, ROW_VERSION.c.row_key == key, began >= at)
    first = connection.execute(select(func.min(ROW_VERSION.c.id)).where(*its)).scalar()
    return newest_version(connection) if first is None else first - 1


def newest_entry(connection: Connection) -> int:
    """Return the id of the newest row of `alert_history`; 0 if there is none."""
    return connection.execute(select(func.max(ALERT_HISTORY.c.id))).scalar() or 0


def newest_version(connection: Connection) -> int:
    """Return the id of the newest row of `row_version`; 0 if there is none."""
    return connection.execute(select(func.max(ROW_VERSION.c.id))).scalar() or 0
