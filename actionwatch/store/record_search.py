"""Search the records with a filter: the newest, the next, or all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, desc, func, or_, select

from actionwatch.base.clock import MICROSECOND
from actionwatch.base.model import Record, RecordFilter
from actionwatch.base.unicode import forms
from actionwatch.store.record_keys import (
    HAS_OTHER_KEY,
    IN_TIME,
    OTHER_KEYS_FROM,
    key_bounds,
    key_floor,
    key_time,
    timed,
)
from actionwatch.store.record_rows import IS_COUNTED, RECORDS, place_of, record_of
from actionwatch.store.statements import PageKey, stream_rows
from actionwatch.store.tables import RECORD


def find(connection: Connection, wanted: RecordFilter, limit: int | None) -> list[Record]:
    """Read the newest records (by event time) that match a filter, newest first."""
    statements = (
        _matching(wanted).where(*timed(wanted.since, wanted.until)).order_by(*map(desc, IN_TIME)),
        _matching(wanted).where(HAS_OTHER_KEY).order_by(RECORD.c.occurred_at.desc(), *map(desc, IN_TIME)),
    )
    found = [record_of(row) for statement in statements for row in connection.execute(statement.limit(limit))]
    return sorted(found, key=place_of, reverse=True)[:limit]


def search(
    connection: Connection, wanted: RecordFilter, limit: int, after: PageKey | None, most: int
) -> tuple[list[Record], PageKey | None]:
    """Read the next records that match a filter, newest first, after a place. Also return after which place the list continues.

    A place is the event time, the key and the source. Looks at about `most` records, so that even a list without any record
    may continue; None: it ends.
    """
    low, high = key_bounds(wanted.since, wanted.until)
    below = _below(high, after)
    newest_first = tuple(map(desc, IN_TIME))
    in_time = (RECORD.c.record_key >= low, *below)
    nth = select(RECORD.c.record_key).where(*in_time).order_by(*newest_first).offset(most - 1).limit(1)
    horizon: str | None = connection.execute(nth).scalar()
    horizon_at = key_time(horizon) if horizon else None
    others = [RECORD.c.occurred_at >= horizon_at] if horizon_at else []
    if after is not None:
        others.append(or_(RECORD.c.occurred_at < after[0], and_(RECORD.c.occurred_at == after[0], _is_before(after))))
    statements = (
        _matching(wanted).where(RECORD.c.record_key >= (horizon or low), *below).order_by(*newest_first),
        _matching(wanted).where(HAS_OTHER_KEY, *others).order_by(RECORD.c.occurred_at.desc(), *newest_first),
    )
    rows = (row for statement in statements for row in connection.execute(statement.limit(limit + 1)))
    found = sorted(map(record_of, rows), key=place_of, reverse=True)
    if len(found) > limit:
        return found[:limit], place_of(found[limit - 1])
    return found, (horizon_at, horizon, "") if horizon and horizon_at else None


def _below(high: str, place: PageKey | None) -> list[ColumnElement[bool]]:
    """Return the conditions for records whose key is lower than a bound, and that are behind a place, newest first.

    They bound the key once: of two upper bounds SQLite uses the first for the index, and would read all rows between them.
    """
    if place is None:
        return [RECORD.c.record_key < high]
    at, key, _ = place
    if key >= OTHER_KEYS_FROM:  # after all records of its time whose key begins with it
        return [RECORD.c.record_key < min(high, key_floor(at + MICROSECOND))]
    return [RECORD.c.record_key <= key if key < high else RECORD.c.record_key < high, _is_before(place)]


def _is_before(place: PageKey) -> ColumnElement[bool]:
    _, key, source = place
    return or_(RECORD.c.record_key < key, and_(RECORD.c.record_key == key, RECORD.c.source < source))


def time_of_nth(connection: Connection, number: int, until: datetime | None) -> datetime | None:
    """Return the time of the record with that number, counted back from the newest; None if there are fewer.

    `until`: count only records up to that time. Records without a readable time do not count.
    """
    statement = select(RECORD.c.occurred_at).where(*timed(until=until)).order_by(*map(desc, IN_TIME))
    found: datetime | None = connection.execute(statement.offset(number - 1).limit(1)).scalar()
    return found


def stream(connection: Connection, wanted: RecordFilter, *, is_once: bool = False) -> Iterator[Record]:
    """Yield every record that matches a filter, in the order stored, without holding them all in memory.

    `is_once`: yield each action once, even if several sources read it.
    """
    statement = _matching(wanted).where(*[IS_COUNTED] if is_once else []).order_by(RECORD.c.id)
    return map(record_of, stream_rows(connection, statement))


def conditions(wanted: RecordFilter) -> list[ColumnElement[bool]]:
    """Return the SQL conditions of a filter."""
    given = ((condition, getattr(wanted, name)) for name, condition in _CONDITIONS.items())
    return [condition(value) for condition, value in given if value]


def _matching(wanted: RecordFilter) -> Select[Any]:
    return RECORDS.where(*conditions(wanted))


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
