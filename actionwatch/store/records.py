"""The records: every user action that we ever saw, in the order in which we stored them."""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import pairwise, takewhile
from operator import attrgetter
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    desc,
    exists,
    func,
    literal_column,
    or_,
    select,
    type_coerce,
)

from actionwatch.base.clock import MICROSECOND, Spans
from actionwatch.base.model import NOTHING, Entity, Record, RecordFilter
from actionwatch.base.unicode import forms
from actionwatch.store import unsealed
from actionwatch.store.column_types import DAMAGES, as_stored, damaged, from_micros, to_micros
from actionwatch.store.statements import (
    Place,
    bulk_insert,
    bulk_read,
    first_two,
    has_row,
    portions,
    stream_rows,
    without_index,
)
from actionwatch.store.tables import ALERT_RECORD, RECORD, RECORD_COUNT

MOST_SKIPPED = 100_000  # rows that one look for records that may alert passes over: a tenth of a second

# All records of a page have the same `seen_at`.
_seen_micros = lru_cache(maxsize=16)(to_micros)
_seen_at = lru_cache(maxsize=16)(from_micros)
_SAME = (
    "source", "action_kind", "operation", "scope", "severity", "domain_type", "user_name", "description", "upstream_id", "raw",
)  # fmt: skip
_WRITTEN: Mapping[str, Callable[[Record], Any]] = {
    **{name: attrgetter(name) for name in _SAME},
    **{f"{each}_id": attrgetter(f"{each}.id") for each in ("account", "cluster", "organisation")},
    **{f"{each}_name": attrgetter(f"{each}.name") for each in ("account", "cluster", "organisation")},
    "record_key": attrgetter("key"),
    "occurred_at": lambda record: to_micros(record.occurred_at),
    "seen_at": lambda record: _seen_micros(record.seen_at),
    "is_time_readable": attrgetter("is_time_readable"),
}
"""The value of each column that a record determines. A `Classify` determines the others."""
_READ = (
    "record_key", "source", "occurred_at", "seen_at", "action_kind", "raw", "domain_type", "user_name", "description",
    "account_id", "account_name", "cluster_id", "cluster_name", "organisation_id", "organisation_name",
    "operation", "scope", "severity", "upstream_id", "is_time_readable", "is_backlog", "late_by", "id",
)  # fmt: skip
"""The columns that `_record` reads, in its order."""
_SELECTED = as_stored(RECORD.c[name] for name in _READ)
_RECORDS = select(*_SELECTED)

Classify = Callable[[Record], tuple[bool, timedelta | None]]
"""Decides whether a record is backlog, and by how much it is late."""

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


KEY_TIME_CHARS = 16  # a key begins with epoch microseconds in hex digits
_KEY_TIME = re.compile(f"[0-9a-f]{{{KEY_TIME_CHARS}}}")
OTHER_KEYS_FROM = "g"  # keys that do not begin with a time in hex digits (`own-…`, `untimed-…`) sort after it
_HAS_OTHER_KEY = RECORD.c.record_key >= OTHER_KEYS_FROM
_IN_TIME = (RECORD.c.record_key, RECORD.c.source)


def _in_time(record: Record) -> tuple[datetime, str, str]:
    return record.occurred_at, record.key, record.source


_OTHER = RECORD.alias("other")


def _counted_up_to(newest_id: int | None = None) -> ColumnElement[bool]:
    """Return the condition for the one record of an action that counts: the first that may alert, else the first.

    Equal keys are one action: several sources may read one organisation, and a renamed source may read records again.
    """
    is_first = and_(_OTHER.c.is_backlog == RECORD.c.is_backlog, _OTHER.c.id < RECORD.c.id)
    is_better = or_(is_first, and_(RECORD.c.is_backlog, ~_OTHER.c.is_backlog))
    others: Select[Any] = select(literal_column("1")).where(
        _OTHER.c.record_key == RECORD.c.record_key, _OTHER.c.id != RECORD.c.id
    )
    if newest_id is not None:
        others = others.where(_OTHER.c.id <= newest_id)
    return ~exists(others.where(is_better))


_IS_COUNTED = _counted_up_to()

# By key if times are equal: a message must not depend on the order in which records arrived.
_NEWEST_FIRST = (RECORD.c.occurred_at.desc(), RECORD.c.record_key.desc(), RECORD.c.id.desc())
_RANKED = (
    select(
        *_SELECTED,
        ALERT_RECORD.c.alert_id,
        func.row_number().over(partition_by=ALERT_RECORD.c.alert_id, order_by=_NEWEST_FIRST).label("rank"),
    )
    .join(ALERT_RECORD, ALERT_RECORD.c.record_id == RECORD.c.id)
    .where(ALERT_RECORD.c.alert_id.in_(bindparam("alert_ids", expanding=True)))
    .subquery()
)
# Built once, because every message runs it.
_OF_ALERTS = select(_RANKED).where(_RANKED.c.rank <= bindparam("most")).order_by(_RANKED.c.rank.desc())


@dataclass(frozen=True, slots=True)
class Portion:
    """The next records, without those that do not count, and the id of the last one that was examined."""

    records: list[Record]
    through: int


@dataclass(frozen=True, slots=True)
class Needed:
    """Records that retention keeps: those since a time, of a source and of kinds (None: any)."""

    since: datetime
    source: str | None = None
    kinds: tuple[str, ...] | None = None


def insert_new(connection: Connection, records: Iterable[Record], classify: Classify = _as_recorded) -> int:
    """Insert the records whose source and key are new, in the order of their keys. Return how many are new.

    Known records are looked up first: `ON CONFLICT` uses an id for each of them, and takes three times as long for a page of
    known records. `classify` decides whether each new one is backlog and how late it is; by default, the record states it.
    (A changed copy of each record would cost a third of storing it.)
    """
    ordered = sorted(_unknown(connection, records), key=_by_key)
    if not ordered:
        return 0
    classified = [classify(record) for record in ordered]
    columns = {name: list(map(spell, ordered)) for name, spell in _WRITTEN.items()}
    columns["is_backlog"] = [is_backlog for is_backlog, _ in classified]
    columns["late_by"] = [None if late_by is None else late_by // MICROSECOND for _, late_by in classified]
    # Leave out columns that are null in all records: the driver spends more time on a NULL than on a text.
    used = {name: values for name, values in columns.items() if any(value is not None for value in values)}
    _count_stored(connection, ordered)
    newest = unsealed.newest_record(connection)
    count = bulk_insert(connection, RECORD, tuple(used), list(zip(*used.values(), strict=True)))
    unsealed.note_records(connection, newest)
    return count


def _unknown(connection: Connection, records: Iterable[Record]) -> Collection[Record]:
    """Return the records that are not stored, each once."""
    found: dict[tuple[str, str], Record] = {}
    for record in records:
        found.setdefault(_by_place(record), record)
    keys = {key for key, _ in found}
    # A page of a backlog is new as a whole: one look at its span is enough.
    if keys and connection.execute(_ANY_OF_KEYS, {"low": min(keys), "high": max(keys)}).first() is not None:
        for key, source in bulk_read(connection, RECORD, ("record_key", "source"), "record_key", keys):
            found.pop((key, source), None)
    return found.values()


def _count_stored(connection: Connection, new: Sequence[Record]) -> None:
    """Add new records to the counter of their source."""
    for source, count in Counter(record.source for record in new).items():
        if not connection.execute(_ADD_STORED, {"name": source, "added": count}).rowcount:
            first = min(record.seen_at for record in new if record.source == source)
            values = {"source": source, "stored_count": count, "deleted_count": 0, "first_seen_at": first}
            connection.execute(RECORD_COUNT.insert().values(values))


def read_after(connection: Connection, position: int, limit: int) -> list[Record]:
    """Read the next records by local id, so that a late record is never skipped."""
    rows = connection.execute(_RECORDS.where(RECORD.c.id > position).order_by(RECORD.c.id).limit(limit))
    return [_record(row) for row in rows]


def read_unmatched(connection: Connection, position: int, limit: int) -> Portion:
    """Read the next records by local id, each action once, even if several sources read it."""
    is_copy = (~_IS_COUNTED).label("is_copy")
    chosen = select(*_SELECTED, is_copy).where(RECORD.c.id > position).order_by(RECORD.c.id).limit(limit)
    rows = connection.execute(chosen).all()
    counted = [_record(row[: len(_READ)]) for row in rows if not row.is_copy]
    return Portion(counted, rows[-1].id if rows else position)


def read_that_may_alert(connection: Connection, position: int, limit: int) -> Portion:
    """Read the next records by local id that are no backlog, each action once. Backlog is skipped without reading it."""
    c = RECORD.c.id
    following = select(c).where(c > position).order_by(c).offset(MOST_SKIPPED - 1).limit(1)
    # Before the records, because others may be stored between the two statements.
    end = connection.execute(following).scalar() or max(newest_id(connection), position)
    chosen = _RECORDS.where(c > position, c <= end, ~RECORD.c.is_backlog, _IS_COUNTED).order_by(c).limit(limit)
    found = [_record(row) for row in connection.execute(chosen)]
    return Portion(found, found[-1].id if len(found) == limit else end)


def read_of_alerts(connection: Connection, alert_ids: Collection[str], limit: int) -> dict[str, list[Record]]:
    """Read the newest `limit` records (by event time) of each alert, newest last. Every id has a key."""
    found: dict[str, list[Record]] = {alert_id: [] for alert_id in alert_ids}
    for some in portions(found):
        for row in connection.execute(_OF_ALERTS, {"alert_ids": some, "most": limit}):
            found[row.alert_id].append(_record(row[: len(_READ)]))
    return found


def read_by_key(connection: Connection, key: str) -> Record | None:
    """Read one record by its key: the one that counts, if several sources have it."""
    row = connection.execute(_RECORDS.where(RECORD.c.record_key == key, _IS_COUNTED)).first()
    return _record(row) if row else None


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


def key_time(key: str) -> datetime | None:
    """Return the time with which a key, or a prefix of one, begins; None if it does not begin with a time."""
    try:
        return from_micros(int(key[:KEY_TIME_CHARS], 16)) if _KEY_TIME.match(key) else None
    except OverflowError:
        return None


def oldest_time(connection: Connection) -> datetime | None:
    """Return the time of the oldest stored record with a readable time; None without any."""
    statement = select(RECORD.c.occurred_at).where(*_timed()).order_by(*_IN_TIME).limit(1)
    found: datetime | None = connection.execute(statement).scalar()
    return found


def read_cluster_ids(connection: Connection, since: datetime | None) -> dict[str, list[str]]:
    """Return the ids of the clusters by name, of the records since a time, each id once. Several can have had one name."""
    columns = RECORD.c.cluster_name, RECORD.c.cluster_id
    named = (RECORD.c.cluster_id.is_not(None), RECORD.c.cluster_name.is_not(None))
    found: dict[str, list[str]] = {}
    for name, cluster_id in connection.execute(select(*columns).distinct().where(*_timed(since), *named)):
        found.setdefault(name, []).append(cluster_id)
    return found


def read_by_ids(connection: Connection, ids: Collection[int]) -> dict[int, Record]:
    """Read those of the records that are stored, by local id."""
    found: dict[int, Record] = {}
    for some in portions(sorted(ids)):
        found |= {row.id: _record(row) for row in connection.execute(_RECORDS.where(RECORD.c.id.in_(some)))}
    return found


def read_stored_ids(connection: Connection, ids: Collection[int]) -> set[int]:
    """Return which of these local ids records have that are stored."""
    found = (connection.execute(select(RECORD.c.id).where(RECORD.c.id.in_(some))) for some in portions(ids))
    return {row.id for rows in found for row in rows}


def read_copies(connection: Connection, key: str) -> list[Record]:
    """Read the records of an action that do not count, because another source has the one that does, oldest first."""
    rows = connection.execute(_RECORDS.where(RECORD.c.record_key == key, ~_IS_COUNTED).order_by(RECORD.c.id))
    return [_record(row) for row in rows]


def find(connection: Connection, wanted: RecordFilter, limit: int | None) -> list[Record]:
    """Read the newest records (by event time) that match a filter, newest first."""
    statements = (
        _matching(wanted).where(*_timed(wanted.since, wanted.until)).order_by(*map(desc, _IN_TIME)),
        _matching(wanted).where(_HAS_OTHER_KEY).order_by(RECORD.c.occurred_at.desc(), *map(desc, _IN_TIME)),
    )
    found = [_record(row) for statement in statements for row in connection.execute(statement.limit(limit))]
    return sorted(found, key=_in_time, reverse=True)[:limit]


def search(
    connection: Connection, wanted: RecordFilter, limit: int, after: Place | None, most: int
) -> tuple[list[Record], Place | None]:
    """Read the next records that match a filter, newest first, after a place. Also return after which place the list continues.

    A place is the event time, the key and the source. Looks at about `most` records, so that even a list without any record
    may continue; None: it ends.
    """
    low, high = _key_bounds(wanted.since, wanted.until)
    below = _below(high, after)
    newest_first = tuple(map(desc, _IN_TIME))
    in_time = (RECORD.c.record_key >= low, *below)
    nth = select(RECORD.c.record_key).where(*in_time).order_by(*newest_first).offset(most - 1).limit(1)
    horizon: str | None = connection.execute(nth).scalar()
    horizon_at = key_time(horizon) if horizon else None
    others = [RECORD.c.occurred_at >= horizon_at] if horizon_at else []
    if after is not None:
        others.append(or_(RECORD.c.occurred_at < after[0], and_(RECORD.c.occurred_at == after[0], _is_before(after))))
    statements = (
        _matching(wanted).where(RECORD.c.record_key >= (horizon or low), *below).order_by(*newest_first),
        _matching(wanted).where(_HAS_OTHER_KEY, *others).order_by(RECORD.c.occurred_at.desc(), *newest_first),
    )
    rows = (row for statement in statements for row in connection.execute(statement.limit(limit + 1)))
    found = sorted(map(_record, rows), key=_in_time, reverse=True)
    if len(found) > limit:
        return found[:limit], _in_time(found[limit - 1])
    return found, (horizon_at, horizon, "") if horizon and horizon_at else None


def _below(high: str, place: Place | None) -> list[ColumnElement[bool]]:
    """Return the conditions for records whose key is lower than a bound, and that are behind a place, newest first.

    They bound the key once: of two upper bounds SQLite uses the first for the index, and would read all rows between them.
    """
    if place is None:
        return [RECORD.c.record_key < high]
    at, key, _ = place
    if key >= OTHER_KEYS_FROM:  # after all records of its time whose key begins with it
        return [RECORD.c.record_key < min(high, key_floor(at + MICROSECOND))]
    return [RECORD.c.record_key <= key if key < high else RECORD.c.record_key < high, _is_before(place)]


def _is_before(place: Place) -> ColumnElement[bool]:
    _, key, source = place
    return or_(RECORD.c.record_key < key, and_(RECORD.c.record_key == key, RECORD.c.source < source))


def time_of_nth(connection: Connection, number: int, until: datetime | None) -> datetime | None:
    """Return the time of the record with that number, counted back from the newest; None if there are fewer.

    `until`: count only records up to that time. Records without a readable time do not count.
    """
    statement = select(RECORD.c.occurred_at).where(*_timed(until=until)).order_by(*map(desc, _IN_TIME))
    found: datetime | None = connection.execute(statement.offset(number - 1).limit(1)).scalar()
    return found


def stream(connection: Connection, wanted: RecordFilter, *, is_once: bool = False) -> Iterator[Record]:
    """Yield every record that matches a filter, in the order stored, without holding them all in memory.

    `is_once`: yield each action once, even if several sources read it.
    """
    statement = _matching(wanted).where(*[_IS_COUNTED] if is_once else []).order_by(RECORD.c.id)
    return map(_record, stream_rows(connection, statement))


def stream_since(connection: Connection, since: datetime | None, up_to_id: int) -> Iterator[Record]:
    """Yield the records since a time (None: all) up to an id, in the order of time, without holding them all in memory.

    Each action comes once, even if several sources read it.
    """
    # With the index by id, SQLite would sort all rows, including the raw objects.
    stored = _RECORDS.where(without_index(RECORD.c.id) <= up_to_id, _counted_up_to(up_to_id))
    others = stored.where(_HAS_OTHER_KEY, *([RECORD.c.occurred_at >= since] if since else []))
    statements = (
        stored.where(*_timed(since)).order_by(*_IN_TIME),
        others.order_by(RECORD.c.occurred_at, *_IN_TIME),
    )
    return heapq.merge(*(map(_record, stream_rows(connection, each)) for each in statements), key=_in_time)


def count_by_source(connection: Connection) -> dict[str, int]:
    """Return how many records of each source are stored now."""
    c = RECORD_COUNT.c
    return {row[0]: row[1] for row in connection.execute(select(c.source, c.stored_count - c.deleted_count))}


def count_ever_stored(connection: Connection) -> int:
    """Return how many records were stored since the store was created, including those that retention deleted."""
    found: int | None = connection.execute(select(func.sum(RECORD_COUNT.c.stored_count))).scalar()
    return found or 0


def count_by_time(connection: Connection, spans: Spans, most: int) -> list[int]:
    """Count the records with a readable time in each span, with the index alone, and at most `most` in each."""
    bounds = [key_floor(at) for at in (*spans.starts, spans.end)]
    some = (
        select(RECORD.c.record_key).where(RECORD.c.record_key >= low, RECORD.c.record_key < high).limit(most).subquery()
        for low, high in pairwise(bounds)
    )
    counts = [select(func.count()).select_from(each).scalar_subquery() for each in some]
    return list(connection.execute(select(*counts)).one())


def count_joined(connection: Connection) -> int:
    """Count the records that belong to any alert."""
    return connection.execute(select(func.count(ALERT_RECORD.c.record_id.distinct()))).scalar() or 0


def count_kinds(connection: Connection, source: str, start: datetime, end: datetime) -> dict[str, int]:
    """Count by kind the records of a source with start <= occurred_at <= end that the upstream still holds.

    Records that are not from the upstream or have no readable time do not count.
    """
    statement = select(RECORD.c.action_kind, func.count()).where(*_within(source, start, end))
    return {row[0]: row[1] for row in connection.execute(statement.group_by(RECORD.c.action_kind))}


def count_held(connection: Connection, source: str, start: datetime, end: datetime) -> int:
    """Count the records that `count_kinds` counts, with indexes only: reading each costs a third of storing it."""
    in_time = between(source, start, end)
    stored = connection.execute(select(func.count()).where(*in_time)).scalar() or 0
    vanished = select(func.count()).where(*in_time, RECORD.c.vanished_at.is_not(None))
    return stored - (connection.execute(vanished).scalar() or 0)


def mark_vanished(
    connection: Connection, source: str, start: datetime, end: datetime, present: Collection[str], at: datetime
) -> None:
    """Mark the records of start..end whose key is not in `present`, the keys at the upstream."""
    rows = connection.execute(select(RECORD.c.id, RECORD.c.record_key).where(*_within(source, start, end))).all()
    for row in rows:
        if row.record_key not in present:
            connection.execute(RECORD.update().where(RECORD.c.id == row.id).values(vanished_at=at))


def unmark_vanished(
    connection: Connection, source: str, start: datetime, end: datetime, present: Collection[str]
) -> None:
    """Unmark the records of start..end that the upstream shows again."""
    in_time = between(source, start, end)
    gone = select(RECORD.c.record_key).where(*in_time, RECORD.c.vanished_at.is_not(None))
    for key in [key for key in connection.execute(gone).scalars() if key in present]:
        is_it = (RECORD.c.source == source, RECORD.c.record_key == key)
        connection.execute(RECORD.update().where(*is_it).values(vanished_at=None))


def count_vanished(connection: Connection, source: str, since: datetime) -> int:
    """Count the records of a source since a time that the upstream no longer holds."""
    statement = select(func.count()).where(RECORD.c.source == source, RECORD.c.record_key >= key_floor(since))
    return connection.execute(statement.where(RECORD.c.vanished_at.is_not(None))).scalar() or 0


def read_vanished(connection: Connection, source: str, since: datetime, after: datetime | None) -> list[Record]:
    """Read the records of a source after a time that were marked as vanished after another one, the oldest first."""
    statement = _RECORDS.where(RECORD.c.source == source, RECORD.c.record_key >= key_floor(since))
    is_it = RECORD.c.vanished_at.is_not(None) if after is None else RECORD.c.vanished_at > after
    return [_record(row) for row in connection.execute(statement.where(is_it).order_by(RECORD.c.record_key))]


def is_quiet(connection: Connection, source: str, start: datetime, end: datetime) -> bool:
    """Return whether a source has no record between two times."""
    given = {"name": source, "low": key_floor(start), "high": key_floor(end + MICROSECOND)}
    return connection.execute(_ANY_HELD, given).first() is None


def has_more(connection: Connection, source: str, start: datetime, end: datetime, count: int) -> bool:
    """Return whether more than `count` records of a source are stored between two times, without counting them all."""
    beyond = select(RECORD.c.record_key).where(*between(source, start, end)).offset(count).limit(1)
    return connection.execute(beyond).first() is not None


def lateness(connection: Connection, limit: int) -> dict[str, list[timedelta]]:
    """Return how long after its time each of the newest `limit` records was seen: by source, shortest first.

    Records from before the first poll of their source are left out, whether they alert or not.
    """
    names = ("source", "seen_at", "occurred_at", "is_backlog", "is_time_readable")
    newest = select(*(RECORD.c[name] for name in names)).order_by(RECORD.c.id.desc()).limit(limit).subquery()
    micros = type_coerce(newest.c.seen_at, BigInteger) - type_coerce(newest.c.occurred_at, BigInteger)
    since = newest.c.occurred_at >= RECORD_COUNT.c.first_seen_at
    watched = (~newest.c.is_backlog, newest.c.is_time_readable, since)
    joined = newest.join(RECORD_COUNT, RECORD_COUNT.c.source == newest.c.source)
    rows = connection.execute(select(newest.c.source, micros).select_from(joined).where(*watched).order_by(micros))
    found: dict[str, list[timedelta]] = {}
    for source, value in rows:
        found.setdefault(source, []).append(timedelta(microseconds=value))
    return found


def newest_time(connection: Connection, up_to_id: int) -> datetime | None:
    """Return the newest time of the records up to an id; None without records."""
    stored = select(RECORD.c.occurred_at).where(without_index(RECORD.c.id) <= up_to_id)
    newest = (
        stored.where(*_timed()).order_by(*map(desc, _IN_TIME)),
        stored.where(_HAS_OTHER_KEY).order_by(RECORD.c.occurred_at.desc()),
    )
    found = [connection.execute(statement.limit(1)).scalar() for statement in newest]
    return max((at for at in found if at is not None), default=None)


def oldest_time_after(connection: Connection, position: int) -> datetime | None:
    """Return the time of the oldest record after a local id, whatever its time; None without any."""
    statement = select(func.min(RECORD.c.occurred_at)).where(RECORD.c.id > position)
    oldest: datetime | None = connection.execute(statement).scalar()
    return oldest


def oldest_in_time_after(connection: Connection, position: int) -> datetime | None:
    """Return the oldest time of the records after a local id that may alert and did not appear late; None without any."""
    is_it = (RECORD.c.id > position, ~RECORD.c.is_backlog, RECORD.c.is_time_readable, RECORD.c.late_by.is_(None))
    oldest: datetime | None = connection.execute(select(func.min(RECORD.c.occurred_at)).where(*is_it)).scalar()
    return oldest


def oldest_that_may_alert(connection: Connection, after_id: int, up_to_id: int) -> datetime | None:
    """Return the oldest time of the records that are no backlog, after an id and up to another one; None without any."""
    between_ids = (RECORD.c.id > after_id, RECORD.c.id <= up_to_id)
    oldest: datetime | None = connection.execute(
        select(func.min(RECORD.c.occurred_at)).where(*between_ids, ~RECORD.c.is_backlog)
    ).scalar()
    return oldest


def newest_id(connection: Connection) -> int:
    """Return the id of the newest record; 0 without records."""
    newest: int | None = connection.execute(select(func.max(RECORD.c.id))).scalar()
    return newest or 0


def delete_older(
    connection: Connection, before: datetime, up_to_id: int, limit: int, needed: Sequence[Needed] = ()
) -> int:
    """Delete at most `limit` records that were seen before a time and have an id up to `up_to_id`. Return how many.

    Records of an alert and needed records stay. Records after the first one that is too new stay too: the search stops there.
    """
    is_young = RECORD.c.seen_at >= before
    is_free = and_(~has_row(ALERT_RECORD.c.record_id == RECORD.c.id), *(~_is_needed(each) for each in needed))
    # The search must not read on to the first one that is too new: that can be all that a shorter retention leaves to delete.
    found = (
        select(RECORD.c.id, is_young)
        .where(RECORD.c.id <= up_to_id, or_(is_young, is_free))
        .order_by(RECORD.c.id)
        .limit(limit)
    )
    doomed = [number for number, _ in takewhile(lambda row: not row[1], connection.execute(found))]
    deleted = connection.execute(RECORD.delete().where(RECORD.c.id.in_(doomed)).returning(RECORD.c.source)).scalars()
    counts = Counter(deleted)
    for source, count in counts.items():
        connection.execute(_ADD_DELETED, {"name": source, "added": count})
    return counts.total()


def _is_needed(needed: Needed) -> ColumnElement[bool]:
    tests = [RECORD.c.occurred_at >= needed.since]
    if needed.source is not None:
        tests.append(RECORD.c.source == needed.source)
    if needed.kinds is not None:
        tests.append(RECORD.c.action_kind.in_(needed.kinds))
    return and_(*tests)


def _timed(since: datetime | None = None, until: datetime | None = None) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for records whose key begins with a time within these bounds. The index by key serves them."""
    low, high = _key_bounds(since, until)
    return RECORD.c.record_key >= low, RECORD.c.record_key < high


def _key_bounds(since: datetime | None, until: datetime | None) -> tuple[str, str]:
    """Return the lowest key of a time within these bounds, and the lowest one above them."""
    high = min(key_floor(until + MICROSECOND), OTHER_KEYS_FROM) if until else OTHER_KEYS_FROM
    return key_floor(since) if since else "", high


def key_floor(at: datetime) -> str:
    """Return the lowest record key of an instant: keys begin with epoch microseconds as 16 hex digits."""
    return f"{to_micros(at):016x}"


def _within(source: str, start: datetime, end: datetime) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for records of a source with start <= occurred_at <= end that the upstream still holds."""
    return (*between(source, start, end), RECORD.c.vanished_at.is_(None))


def between(source: str, start: datetime, end: datetime) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for records of a source with start <= occurred_at <= end and a readable time."""
    return _in_keys(source, key_floor(start), key_floor(end + MICROSECOND))


def _in_keys(source: Any, low: Any, high: Any) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for records of a source with low <= key < high, which are texts or parameters."""
    return RECORD.c.source == source, RECORD.c.record_key >= low, RECORD.c.record_key < high


# Built once, because to choose a bound takes many.
_ANY_HELD = (
    select(RECORD.c.id)
    .where(*_in_keys(*map(bindparam, ("name", "low", "high"))), RECORD.c.vanished_at.is_(None))
    .limit(1)
)


def conditions(wanted: RecordFilter) -> list[ColumnElement[bool]]:
    """Return the SQL conditions of a filter."""
    given = ((condition, getattr(wanted, name)) for name, condition in _CONDITIONS.items())
    return [condition(value) for condition, value in given if value]


def _matching(wanted: RecordFilter) -> Select[Any]:
    return _RECORDS.where(*conditions(wanted))


def _ascii_lower(text: str) -> str:
    return text.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")


def _is_entity(name: str) -> Callable[[str], ColumnElement[bool]]:
    return lambda value: or_(RECORD.c[f"{name}_id"] == value, RECORD.c[f"{name}_name"].in_(forms(value)))


_CONDITIONS: Mapping[str, Callable[[Any], ColumnElement[bool]]] = {
    "kinds": RECORD.c.action_kind.in_,
    "operations": RECORD.c.operation.in_,
    # `lower` of the store knows only ASCII.
    "user": lambda name: func.lower(RECORD.c.user_name).in_(map(_ascii_lower, forms(name))),
    "scope": lambda scope: RECORD.c.scope == scope,
    "account": _is_entity("account"),
    "cluster": _is_entity("cluster"),
    "keyword": lambda word: or_(*(RECORD.c.description.icontains(form, autoescape=True) for form in forms(word))),
    "since": lambda since: RECORD.c.occurred_at >= since,
    "until": lambda until: RECORD.c.occurred_at <= until,
}
"""The condition for each field of a `RecordFilter`."""


def _record(row: Sequence[Any]) -> Record:
    (
        key, source, occurred, seen, kind, raw, domain_type, user, description,
        account_id, account_name, cluster_id, cluster_name, organisation_id, organisation_name,
        operation, scope, severity, upstream_id, is_time_readable, is_backlog, late_by, local_id,
    ) = row  # fmt: skip
    # By position, because access by name takes five times as long.
    try:
        return Record(
            key,
            source,
            from_micros(occurred),
            _seen_at(seen),
            kind,
            raw,
            domain_type,
            user,
            description,
            _entity(account_id, account_name),
            _entity(cluster_id, cluster_name),
            _entity(organisation_id, organisation_name),
            operation,
            scope,
            severity,
            upstream_id,
            bool(is_time_readable),
            bool(is_backlog),
            None if late_by is None else timedelta(microseconds=late_by),
            local_id,
        )
    except DAMAGES as exc:
        raise damaged(exc) from exc


def _entity(entity_id: str | None, name: str | None) -> Entity:
    return NOTHING if entity_id is None and name is None else Entity(entity_id, name)
