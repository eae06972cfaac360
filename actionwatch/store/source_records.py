"""The records of one source in a window of time: how many the upstream holds, and which ones vanished from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, CursorResult, bindparam, func, select

from actionwatch.base.clock import MICROSECOND
from actionwatch.base.model import Record
from actionwatch.store.record_keys import in_keys, key_floor
from actionwatch.store.record_rows import RECORDS, record_of
from actionwatch.store.tables import RECORD

_COUNTED_TOGETHER = 20_000  # records: SQLite sorts them by kind in memory, 60 bytes each
# Built once, because to choose a bound takes many.
_IN_KEYS = in_keys(*map(bindparam, ("name", "low", "high")))
_IS_HELD = RECORD.c.vanished_at.is_(None)
_ANY_HELD = select(RECORD.c.id).where(*_IN_KEYS, _IS_HELD).limit(1)
_NEXT_PART = (
    select(RECORD.c.record_key).where(*_IN_KEYS).order_by(RECORD.c.record_key).offset(bindparam("most")).limit(1)
)
_IS_GONE = RECORD.c.vanished_at.is_not(None)
_COUNT_STORED = select(func.count()).where(*_IN_KEYS)
_COUNT_GONE = _COUNT_STORED.where(_IS_GONE)
_HELD_KEYS = select(RECORD.c.id, RECORD.c.record_key).where(*_IN_KEYS, _IS_HELD)
_GONE_KEYS = select(RECORD.c.record_key).where(*_IN_KEYS, _IS_GONE)
_COUNT_VANISHED = select(func.count()).where(
    RECORD.c.source.in_(bindparam("names", expanding=True)), RECORD.c.record_key >= bindparam("low"), _IS_GONE
)
_ANY_BEYOND = select(RECORD.c.record_key).where(*_IN_KEYS).offset(bindparam("most")).limit(1)
_KINDS = select(RECORD.c.action_kind, func.count()).where(*_IN_KEYS, _IS_HELD).group_by(RECORD.c.action_kind)


def count_kinds(connection: Connection, source: str, start: datetime, end: datetime) -> Counter[str]:
    """Count by kind the records of a source with start <= occurred_at <= end that the upstream still holds.

    Records that are not from the upstream or have no readable time do not count.
    """
    counts: Counter[str] = Counter()
    low: str | None = key_floor(start)
    high = key_floor(end + MICROSECOND)
    while low is not None:
        given = {"name": source, "low": low, "high": high}
        low = connection.execute(_NEXT_PART, given | {"most": _COUNTED_TOGETHER}).scalar()
        for kind, count in connection.execute(_KINDS, given | {"high": low or high}):
            counts[kind] += count
    return counts


def count_held(connection: Connection, source: str, start: datetime, end: datetime) -> int:
    """Count the records that `count_kinds` counts, with indexes only: reading each costs a third of storing it."""
    given = _given(source, start, end)
    counts = [connection.execute(each, given).scalar() or 0 for each in (_COUNT_STORED, _COUNT_GONE)]
    return counts[0] - counts[1]


def mark_vanished(
    connection: Connection, source: str, start: datetime, end: datetime, present: Collection[str], at: datetime
) -> None:
    """Mark the records of start..end whose key is not in `present`, the keys at the upstream."""
    _mark(connection, connection.execute(_HELD_KEYS, _given(source, start, end)), present, at)


def _mark(connection: Connection, held: CursorResult[Any], present: Collection[str], at: datetime) -> None:
    for row in held.all():
        if row.record_key not in present:
            connection.execute(RECORD.update().where(RECORD.c.id == row.id).values(vanished_at=at))


def unmark_vanished(
    connection: Connection, source: str, start: datetime, end: datetime, present: Collection[str]
) -> None:
    """Unmark the records of start..end that the upstream shows again."""
    gone = connection.execute(_GONE_KEYS, _given(source, start, end)).scalars().all()
    for key in [key for key in gone if key in present]:
        is_it = (RECORD.c.source == source, RECORD.c.record_key == key)
        connection.execute(RECORD.update().where(*is_it).values(vanished_at=None))


def mark_vanished_formerly(
    connection: Connection,
    names: Sequence[str],
    start: datetime,
    end: datetime,
    present: Collection[str],
    at: datetime,
) -> None:
    """Mark and unmark the records of start..end that a source read under its former names, as those under its name.

    `names` are all names of the source, the latest first. What was read again under a later name belongs to that one.
    """
    later = RECORD.alias()
    for number, name in enumerate(names[1:], 1):
        unmark_vanished(connection, name, start, end, present)
        again = select(later.c.id).where(later.c.record_key == RECORD.c.record_key, later.c.source.in_(names[:number]))
        held = connection.execute(_HELD_KEYS.where(~again.exists()), _given(name, start, end))
        _mark(connection, held, present, at)


def count_vanished(connection: Connection, source: str, since: datetime, former_names: Sequence[str] = ()) -> int:
    """Count the records of a source since a time that the upstream no longer holds."""
    given = {"names": [source, *former_names], "low": key_floor(since)}
    return connection.execute(_COUNT_VANISHED, given).scalar() or 0


def read_vanished(
    connection: Connection, source: str, since: datetime, after: datetime | None, former_names: Sequence[str] = ()
) -> list[Record]:
    """Read the records of a source after a time that were marked as vanished after another one, the oldest first."""
    statement = RECORDS.where(*_since(since, source, former_names))
    is_it = _IS_GONE if after is None else RECORD.c.vanished_at > after
    return [record_of(row) for row in connection.execute(statement.where(is_it).order_by(RECORD.c.record_key))]


def is_quiet(connection: Connection, source: str, start: datetime, end: datetime) -> bool:
    """Return whether a source has no record between two times."""
    return connection.execute(_ANY_HELD, _given(source, start, end)).first() is None


def has_more(connection: Connection, source: str, start: datetime, end: datetime, count: int) -> bool:
    """Return whether more than `count` records of a source are stored between two times, without counting them all."""
    return connection.execute(_ANY_BEYOND, _given(source, start, end) | {"most": count}).first() is not None


def _since(since: datetime, source: str, former_names: Sequence[str]) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for records of a source since a time, under any of its names."""
    return RECORD.c.source.in_([source, *former_names]), RECORD.c.record_key >= key_floor(since)


def _given(source: str, start: datetime, end: datetime) -> dict[str, Any]:
    """Return the values of `_IN_KEYS` for the records of a source with start <= occurred_at <= end."""
    return {"name": source, "low": key_floor(start), "high": key_floor(end + MICROSECOND)}
