"""The records: every user action that we ever saw, in the order in which we stored them."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from operator import attrgetter

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    bindparam,
    case,
    desc,
    func,
    literal,
    or_,
    select,
    true,
    type_coerce,
)

from actionwatch.base.clock import TIMES_END
from actionwatch.base.model import Record
from actionwatch.store import record_blocks, record_hints
from actionwatch.store.record_keys import IN_TIME, timed
from actionwatch.store.record_rows import (
    IS_COUNTED,
    READ,
    RECORDS,
    SELECTED,
    Classification,
    columns_of,
    counted_up_to,
    place_of,
    record_of,
)
from actionwatch.store.statements import (
    bulk_insert,
    bulk_read,
    first_two,
    has_row,
    portions,
    stream_rows,
    without_index,
)
from actionwatch.store.tables import ALERT, ALERT_RECORD, HAS_OTHER_KEY, RECORD, RECORD_COUNT

MOST_SKIPPED = 100_000  # rows that one look for records that may alert passes over: a tenth of a second

Classify = Callable[[Record], Classification]
_by_key = attrgetter("key")
_by_place = attrgetter("key", "source")
_ANY_OF_KEYS = select(RECORD.c.id).where(RECORD.c.record_key.between(bindparam("low"), bindparam("high"))).limit(1)
_OF_SOURCE = RECORD_COUNT.c.source == bindparam("name")
_ADD_STORED = (
    RECORD_COUNT.update().where(_OF_SOURCE).values(stored_count=RECORD_COUNT.c.stored_count + bindparam("added"))
)
_ADD_DELETED = (
    RECORD_COUNT.update().where(_OF_SOURCE).values(deleted_count=RECORD_COUNT.c.deleted_count + bindparam("added"))
)


def _as_recorded(record: Record) -> tuple[bool, timedelta | None]:
    return record.is_backlog, record.late_by


# By key if times are equal: a message must not depend on the order in which records arrived.
_NEWEST_FIRST = (RECORD.c.occurred_at.desc(), RECORD.c.record_key.desc(), RECORD.c.id.desc())
_JOINED_AT = type_coerce(ALERT_RECORD.c.occurred_at, BigInteger)
_OTHER = ALERT_RECORD.alias("other")
_OTHER_AT = type_coerce(_OTHER.c.occurred_at, BigInteger)
# The time of the last record of an alert that is shown; 0 where all are shown.
_SHOWN_FROM = func.coalesce(
    select(_OTHER_AT)
    .where(_OTHER.c.alert_id == ALERT.c.id)
    .order_by(_OTHER_AT.desc())
    .limit(1)
    .offset(bindparam("most") - 1)
    .scalar_subquery(),
    0,
)
# Ranked by key alone: of an alert with thousands of records, only those that are shown are read whole.
_RANKED = (
    select(
        ALERT_RECORD.c.alert_id,
        ALERT_RECORD.c.record_id,
        func.row_number().over(partition_by=ALERT_RECORD.c.alert_id, order_by=_NEWEST_FIRST).label("rank"),
    )
    .select_from(ALERT)
    .join(ALERT_RECORD, and_(ALERT_RECORD.c.alert_id == ALERT.c.id, _JOINED_AT >= _SHOWN_FROM))
    .join(RECORD, RECORD.c.id == ALERT_RECORD.c.record_id)
    # Of both tables, so that PostgreSQL does not read all of `alert_record` to join it while it is small.
    .where(*(each.in_(bindparam("alert_ids", expanding=True)) for each in (ALERT.c.id, ALERT_RECORD.c.alert_id)))
    .subquery()
)
# Built once: building a statement takes longer than running it.
_OF_ALERTS = (
    select(*SELECTED, _RANKED.c.alert_id)
    .join(_RANKED, _RANKED.c.record_id == RECORD.c.id)
    .where(_RANKED.c.rank <= bindparam("most"))
    .order_by(_RANKED.c.rank.desc())
)
_FIRST_OF = (
    RECORDS.join(ALERT_RECORD, ALERT_RECORD.c.record_id == RECORD.c.id)
    .where(ALERT_RECORD.c.alert_id == bindparam("alert_id"))
    .order_by(RECORD.c.occurred_at, RECORD.c.record_key, RECORD.c.id)
    .limit(1)
)
_NEWEST_ID = select(func.max(RECORD.c.id))
_AFTER = RECORD.c.id > bindparam("after")
_UNMATCHED = (
    select(*SELECTED, (~IS_COUNTED).label("is_copy")).where(_AFTER).order_by(RECORD.c.id).limit(bindparam("most"))
)
_LAST_SKIPPED = select(RECORD.c.id).where(_AFTER).order_by(RECORD.c.id).offset(bindparam("skipped")).limit(1)
_THAT_MAY_ALERT = (
    RECORDS.where(_AFTER, RECORD.c.id <= bindparam("through"), ~RECORD.c.is_backlog, IS_COUNTED)
    .order_by(RECORD.c.id)
    .limit(bindparam("most"))
)
_BY_KEY = RECORDS.where(RECORD.c.record_key == bindparam("wanted"), IS_COUNTED)


@dataclass(frozen=True, slots=True)
class Portion:
    """The next records, without those that do not count, and the id of the last one that was examined."""

    records: list[Record]
    through: int


@dataclass(frozen=True, slots=True)
class Needed:
    """Records that retention keeps: those since a time, of a source (of which there is one), or else of kinds (None: any)."""

    since: datetime
    source: str | None = None
    kinds: tuple[str, ...] | None = None


def insert_new(connection: Connection, records: Iterable[Record], classify: Classify = _as_recorded) -> int:
    """Insert the records whose source and key are new, in the order of their keys. Return how many are new.

    Known records are looked up first: `ON CONFLICT` uses an id for each of them, and takes three times as long for a page of
    known records. `classify` decides whether each new one is backlog and how late it is; by default, the record states it.
    (A changed copy of each record would cost a third of storing it.)
    """
    ordered = sorted(find_unknown(connection, records), key=_by_key)
    if not ordered:
        return 0
    columns = columns_of(ordered, list(map(classify, ordered)))
    _count_stored(connection, ordered)
    new_count = bulk_insert(connection, RECORD, columns)
    record_hints.note_stored(connection)
    record_blocks.note_stored(connection, columns)
    return new_count


def find_unknown(connection: Connection, records: Iterable[Record]) -> Collection[Record]:
    """Return the records that are not stored, each once."""
    found: dict[tuple[str, str], Record] = {}
    for record in records:
        found.setdefault(_by_place(record), record)
    keys = {key for key, _ in found}
    # A page of a backlog is new as a whole: one look at its span is enough.
    if keys and has_any(connection, min(keys), max(keys)):
        for key, source in bulk_read(connection, RECORD, ("record_key", "source"), "record_key", keys):
            found.pop((key, source), None)
    return found.values()


def has_any(connection: Connection, low: str, high: str) -> bool:
    """Return whether a record with a key within these bounds is stored."""
    return connection.execute(_ANY_OF_KEYS, {"low": low, "high": high}).first() is not None


def _count_stored(connection: Connection, new: Sequence[Record]) -> None:
    """Add new records to the counter of their source."""
    for source, count in Counter(record.source for record in new).items():
        if not connection.execute(_ADD_STORED, {"name": source, "added": count}).rowcount:
            first = min(record.seen_at for record in new if record.source == source)
            values = {"source": source, "stored_count": count, "deleted_count": 0, "first_seen_at": first}
            connection.execute(RECORD_COUNT.insert().values(values))


def read_after(connection: Connection, position: int, limit: int) -> list[Record]:
    """Read the next records by local id, so that a late record is never skipped."""
    rows = connection.execute(RECORDS.where(RECORD.c.id > position).order_by(RECORD.c.id).limit(limit))
    return [record_of(row) for row in rows]


def read_unmatched(connection: Connection, position: int, limit: int) -> Portion:
    """Read the next records by local id, each action once, even if several sources read it."""
    rows = connection.execute(_UNMATCHED, {"after": position, "most": limit}).all()
    counted = [record_of(row[: len(READ)]) for row in rows if not row.is_copy]
    return Portion(counted, rows[-1].id if rows else position)


def read_that_may_alert(connection: Connection, position: int, limit: int) -> Portion:
    """Read the next records by local id that are no backlog, each action once. Backlog is skipped without reading it."""
    # Before the records, because others may be stored between the two statements.
    last_skipped = connection.execute(_LAST_SKIPPED, {"after": position, "skipped": MOST_SKIPPED - 1}).scalar()
    end = last_skipped or max(newest_id(connection), position)
    rows = connection.execute(_THAT_MAY_ALERT, {"after": position, "through": end, "most": limit})
    found = [record_of(row) for row in rows]
    return Portion(found, found[-1].id if len(found) == limit else end)


def read_of_alerts(connection: Connection, alert_ids: Collection[str], limit: int) -> dict[str, list[Record]]:
    """Read the newest `limit` records (by event time) of each alert, newest last. Every id has a key."""
    found: dict[str, list[Record]] = {alert_id: [] for alert_id in alert_ids}
    for some in portions(found):
        for row in connection.execute(_OF_ALERTS, {"alert_ids": some, "most": limit}):
            found[row.alert_id].append(record_of(row[: len(READ)]))
    return found


def read_by_key(connection: Connection, key: str) -> Record | None:
    """Read one record by its key: the one that counts, if several sources have it."""
    row = connection.execute(_BY_KEY, {"wanted": key}).first()
    return record_of(row) if row else None


def read_by_prefix(connection: Connection, beginning: str) -> list[Record]:
    """Read at most two records whose key has this prefix: two show that it is not unique. A whole key is always unique."""
    of_keys = select(RECORD.c.record_key).distinct()
    keys = list(connection.execute(first_two(of_keys, RECORD.c.record_key, beginning)).scalars())
    found = (read_by_key(connection, key) for key in (keys[:1] if beginning in keys else keys))
    return [record for record in found if record is not None]


def short_key(connection: Connection, key: str, least: int) -> str:
    """Return the shortest prefix of a key that no other stored key has, but at least so many characters."""
    c = RECORD.c.record_key
    neighbours = (
        select(c).where(c < key).order_by(c.desc()).limit(1),
        select(c).where(c > key).order_by(c).limit(1),
    )
    others = [other for statement in neighbours if (other := connection.execute(statement).scalar()) is not None]
    size = least
    while any(other.startswith(key[:size]) for other in others) and size < len(key):
        size += 1
    return key[:size]


def oldest_time(connection: Connection) -> datetime | None:
    """Return the time of the oldest stored record with a readable time; None without any."""
    statement = select(RECORD.c.occurred_at).where(*timed()).order_by(*IN_TIME).limit(1)
    found: datetime | None = connection.execute(statement).scalar()
    return found


def read_cluster_ids(connection: Connection, since: datetime | None) -> dict[str, list[str]]:
    """Return the ids of the clusters by name, of the records since a time, each id once. Several can have had one name."""
    columns = RECORD.c.cluster_name, RECORD.c.cluster_id
    named = (RECORD.c.cluster_id.is_not(None), RECORD.c.cluster_name.is_not(None))
    found: dict[str, list[str]] = {}
    for name, cluster_id in connection.execute(select(*columns).distinct().where(*timed(since), *named)):
        found.setdefault(name, []).append(cluster_id)
    return found


def read_by_ids(connection: Connection, ids: Collection[int]) -> dict[int, Record]:
    """Read those of the records that are stored, by local id."""
    found: dict[int, Record] = {}
    for some in portions(sorted(ids)):
        found |= {row.id: record_of(row) for row in connection.execute(RECORDS.where(RECORD.c.id.in_(some)))}
    return found


def read_first_of(connection: Connection, alert_id: str) -> Record | None:
    """Read the oldest record of an alert by event time; None if it has none."""
    row = connection.execute(_FIRST_OF, {"alert_id": alert_id}).first()
    return record_of(row) if row else None


def read_copies(connection: Connection, key: str) -> list[Record]:
    """Read the records of an action that do not count, because another source has the one that does, oldest first."""
    rows = connection.execute(RECORDS.where(RECORD.c.record_key == key, ~IS_COUNTED).order_by(RECORD.c.id))
    return [record_of(row) for row in rows]


def stream_since(
    connection: Connection,
    since: datetime | None,
    up_to_id: int,
    *,
    until: datetime | None = None,
    kinds: Collection[str] = (),
) -> Iterator[Record]:
    """Yield the records since a time (None: all) up to an id, in the order of time, without holding them all in memory.

    Each action occurs once, even if several sources read it. `kinds`: only records of these; empty: of all.
    """
    # With the index by id or by kind, SQLite would sort all rows, including the raw objects.
    stored = RECORDS.where(without_index(RECORD.c.id) <= up_to_id)
    if kinds:
        stored = stored.where(without_index(RECORD.c.action_kind).in_(kinds))
    stored = stored.where(counted_up_to(up_to_id))
    others = stored.where(HAS_OTHER_KEY, *_occurred(since, until))
    statements = (
        stored.where(*timed(since, until)).order_by(*IN_TIME),
        others.order_by(RECORD.c.occurred_at, *IN_TIME),
    )
    return heapq.merge(*(map(record_of, stream_rows(connection, each)) for each in statements), key=place_of)


def _occurred(since: datetime | None, until: datetime | None) -> list[ColumnElement[bool]]:
    bounds = [RECORD.c.occurred_at >= since] if since else []
    return [*bounds, RECORD.c.occurred_at <= until] if until else bounds


def newest_time(connection: Connection, up_to_id: int) -> datetime | None:
    """Return the newest time of the records up to an id; None without records."""
    stored = select(RECORD.c.occurred_at).where(without_index(RECORD.c.id) <= up_to_id)
    newest = (
        stored.where(*timed()).order_by(*map(desc, IN_TIME)),
        stored.where(HAS_OTHER_KEY).order_by(RECORD.c.occurred_at.desc()),
    )
    found = [connection.execute(statement.limit(1)).scalar() for statement in newest]
    return max((at for at in found if at is not None), default=None)


def oldest_time_after(connection: Connection, position: int) -> datetime | None:
    """Return the time of the oldest record after a local id, whatever its time; None without any."""
    statement = select(func.min(RECORD.c.occurred_at)).where(RECORD.c.id > position)
    oldest: datetime | None = connection.execute(statement).scalar()
    return oldest


def has_any_that_may_alert(connection: Connection, after_id: int) -> bool:
    """Return whether a record with an id after this one is no backlog."""
    found = select(RECORD.c.id).where(RECORD.c.id > after_id, ~RECORD.c.is_backlog).order_by(RECORD.c.id).limit(1)
    return connection.execute(found).first() is not None


def newest_id(connection: Connection) -> int:
    """Return the id of the newest record; 0 without records."""
    newest: int | None = connection.execute(_NEWEST_ID).scalar()
    return newest or 0


def first_id_since(connection: Connection, since: datetime) -> int | None:
    """Return the lowest id of the records since a time; None without any."""
    lowest = select(func.min(without_index(RECORD.c.id)))
    statements = lowest.where(*timed(since)), lowest.where(HAS_OTHER_KEY, *_occurred(since, None))
    return min((found for each in statements if (found := connection.execute(each).scalar()) is not None), default=None)


def delete_older(
    connection: Connection,
    before: datetime,
    up_to_id: int,
    limit: int,
    needed: Sequence[Needed] = (),
    after_id: int = 0,
) -> list[int]:
    """Delete at most `limit` records that were seen before a time and have an id up to `up_to_id`. Return their ids, in order.

    Records of an alert and needed records stay. Records after the first one that is too new stay too: the search stops there.
    It begins after `after_id`, so that a next batch does not pass again over all that stay.
    """
    is_young = RECORD.c.seen_at >= before
    is_free = and_(~has_row(ALERT_RECORD.c.record_id == RECORD.c.id), *_is_needed_by_nothing(needed))
    # The search must not read on to the first one that is too new: that can be all that a shorter retention leaves to delete.
    found = (
        select(RECORD.c.id, is_young)
        .where(RECORD.c.id > after_id, RECORD.c.id <= up_to_id, or_(is_young, is_free))
        .order_by(RECORD.c.id)
        .limit(limit)
    )
    doomed = [number for number, _ in takewhile(lambda row: not row[1], connection.execute(found))]
    gone = RECORD.delete().where(RECORD.c.id.in_(doomed)).returning(RECORD.c.source, RECORD.c.record_key)
    deleted = connection.execute(gone).all()
    for source, count in Counter(row.source for row in deleted).items():
        connection.execute(_ADD_DELETED, {"name": source, "added": count})
    record_blocks.note_deleted(connection, [row.record_key for row in deleted])
    return doomed


def _is_needed_by_nothing(needed: Sequence[Needed]) -> Iterator[ColumnElement[bool]]:
    """Return the conditions of records that nothing needs."""
    since = {each.source: each.since for each in needed if each.source is not None}
    if since:  # one condition for all sources: SQLite takes an expression of at most 1,000 parts
        at = RECORD.c.occurred_at
        begins = {source: literal(each, at.type) for source, each in since.items()}
        yield at < case(begins, value=RECORD.c.source, else_=literal(TIMES_END, at.type))
    for each in needed:
        if each.source is None:
            is_of_kind = RECORD.c.action_kind.in_(each.kinds) if each.kinds is not None else true()
            yield ~and_(RECORD.c.occurred_at >= each.since, is_of_kind)
