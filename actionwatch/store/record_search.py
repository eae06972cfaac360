"""Search the records with a filter: the newest, the next, or all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import chain
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Tuple,
    and_,
    desc,
    false,
    func,
    literal,
    null,
    or_,
    select,
    true,
    tuple_,
)

from actionwatch.base.clock import EPOCH, MICROSECOND
from actionwatch.base.model import Record, RecordFilter
from actionwatch.base.search_words import words_of
from actionwatch.base.unicode import forms
from actionwatch.store import record_blocks
from actionwatch.store.database import StoreReader
from actionwatch.store.record_blocks import SIZE
from actionwatch.store.record_keys import (
    IN_TIME,
    OTHER_KEYS_FROM,
    key_bounds,
    key_floor,
    key_time,
    timed,
)
from actionwatch.store.record_rows import RECORDS, place_of, record_of
from actionwatch.store.record_values import Wanted, has_value_with, is_named, wanted_of
from actionwatch.store.records import newest_id
from actionwatch.store.statements import PageKey, stream_rows, without_index
from actionwatch.store.tables import HAS_OTHER_KEY, RECORD

_PORTION = 1000  # records in memory
_END: PageKey = (EPOCH, "", "")
_NEWEST_FIRST = tuple(map(desc, IN_TIME))
_OTHERS_IN_TIME = (RECORD.c.occurred_at, *IN_TIME)  # the index of the records that have other keys


def search(
    connection: Connection, wanted: RecordFilter, limit: int, after: PageKey | None, most: int | None
) -> tuple[list[Record], PageKey | None]:
    """Read the next records that match a filter, newest first, after a place. Also return after which place the list continues.

    A place is the event time, the key and the source; None: the list ends. Looks at about `most` records whose keys begin with
    the time, and at as many others (None: at all), so that even a list without any record may continue. Records of a user, a
    cluster, an account or a kind are found however old they are: `most` counts what was read for them in vain.

    With a text, a place is two: how far all records were read, and how far those were whose values have the words. So a record
    with a word in its description only may come after older ones.
    """
    if words_of(wanted.text):
        return _search_text(connection, wanted, limit, after, most)
    return _search(connection, wanted, limit, after, most, conditions(_timeless(wanted)), wanted_of(connection, wanted))


def _timeless(wanted: RecordFilter) -> RecordFilter:
    return replace(wanted, since=None, until=None)


def _search_text(
    connection: Connection, wanted: RecordFilter, limit: int, after: PageKey | None, most: int | None
) -> tuple[list[Record], PageKey | None]:
    """Search all of the next `most` records for the words; and for the rest of the page, the blocks that have their values."""
    plain = replace(wanted, text=None)
    has_values = and_(*map(has_value_with, words_of(wanted.text)))
    read_to, valued_to = (after[:3], after[3:]) if after else (None, None)
    found: list[Record] = []
    if read_to != _END:
        matching = conditions(_timeless(wanted))
        if valued_to and read_to and valued_to < read_to:
            matching.append(or_(tuple_(*_OTHERS_IN_TIME) < _place(valued_to), has_values.is_not(true())))
        found, place = _search(connection, plain, limit, read_to, most, matching, wanted_of(connection, plain))
        read_to = place or _END
    valued_to = min(valued_to or read_to, read_to)
    if len(found) < limit and valued_to != _END:
        matching = [*conditions(_timeless(plain)), has_values]
        values = wanted_of(connection, wanted)
        older, place = _search(connection, plain, limit - len(found), valued_to, most, matching, values)
        found, valued_to = [*found, *older], place or _END
    return found, None if read_to == valued_to == _END else (*read_to, *valued_to)


def _search(
    connection: Connection,
    wanted: RecordFilter,
    limit: int,
    after: PageKey | None,
    most: int | None,
    matching: Sequence[ColumnElement[bool]],
    values: Sequence[Wanted],
) -> tuple[list[Record], PageKey | None]:
    """Search within the times of a filter for records that meet conditions. `values`: what those must have; empty: any."""
    low, high = key_bounds(wanted.since, wanted.until)
    below, others_below = _below(high, after), _others_below(wanted.until, after)
    chosen = RECORDS.where(*matching)
    reached: list[PageKey] = []
    if most is not None:
        reached += [] if values else _nth(connection, most, RECORD.c.record_key >= low, *below)
        reached += _nth_other(connection, most, _others_from(wanted.since, None), others_below)
    low = max([low, *map(_lowest_key, reached)])
    if values:
        found, end = _read_blocks(connection, chosen, values, (low, high, after), limit, most)
        reached += end
    else:
        statement = chosen.where(RECORD.c.record_key >= low, *below).order_by(*_NEWEST_FIRST).limit(limit + 1)
        found = list(map(record_of, connection.execute(statement)))
    horizon = max(reached, default=None)  # what is behind it is left to the next search
    others = chosen.where(HAS_OTHER_KEY, *_others_from(wanted.since, horizon), *others_below)
    rows = connection.execute(others.order_by(*map(desc, _OTHERS_IN_TIME)).limit(limit + 1))
    found = sorted([*found, *map(record_of, rows)], key=place_of, reverse=True)
    if len(found) > limit:
        return found[:limit], place_of(found[limit - 1])
    return found, horizon


def _read_blocks(
    connection: Connection,
    chosen: Select[Any],
    values: Sequence[Wanted],
    bounds: tuple[str, str, PageKey | None],
    limit: int,
    most: int | None,
) -> tuple[list[Record], list[PageKey]]:
    """Read the records with keys within bounds and behind a place, in the blocks that have the values: one more than `limit`.

    Also return the place where it stopped, after `most` records that it read in vain.
    """
    low, high, after = bounds
    end = min(high, _lowest_key(after)) if after else high
    found: list[Record] = []
    in_vain = 0
    for block in record_blocks.walk(connection, values, low, end):
        below = [RECORD.c.record_key <= block.high] if block.high < end else _below(high, after)
        statement = chosen.where(RECORD.c.record_key >= max(low, block.low), *below).order_by(*_NEWEST_FIRST)
        new = list(map(record_of, connection.execute(statement.limit(limit + 1 - len(found)))))
        found += new
        if len(found) > limit:
            break
        in_vain += max(block.size - len(new) * SIZE, 0)  # each record that was found pays for a block
        at = key_time(block.low)
        if most is not None and in_vain >= most and at is not None and block.low < end:
            return found, [(at, block.low, "")]
    return found, []


def _nth(connection: Connection, number: int, *bounds: ColumnElement[bool]) -> list[PageKey]:
    """Return the place of the record with that number within bounds, newest first; nothing if there are fewer."""
    nth = select(RECORD.c.record_key).where(*bounds).order_by(*_NEWEST_FIRST).offset(number - 1).limit(1)
    key: str | None = connection.execute(nth).scalar()
    at = key_time(key) if key else None
    return [(at, key, "")] if at and key else []


def _lowest_key(place: PageKey) -> str:
    """Return the lowest key of a record with a time in its key that is not behind a place."""
    at, key, _ = place
    return key_floor(at + MICROSECOND) if key >= OTHER_KEYS_FROM else key


def _nth_other(connection: Connection, number: int, *bounds: Sequence[ColumnElement[bool]]) -> list[PageKey]:
    """Return the place of the record with that number among those with other keys, newest first; nothing if there are fewer."""
    nth = select(*_OTHERS_IN_TIME).where(HAS_OTHER_KEY, *chain(*bounds)).order_by(*map(desc, _OTHERS_IN_TIME))
    return [tuple(row) for row in connection.execute(nth.offset(number - 1).limit(1))]


# As `_below`, these bound the index once at each end.
def _others_below(until: datetime | None, place: PageKey | None) -> list[ColumnElement[bool]]:
    """Return the conditions for records with other keys that are not newer than a time, and are behind a place."""
    if place is not None and (until is None or place[0] <= until):
        return [tuple_(*_OTHERS_IN_TIME) < _place(place)]
    return [RECORD.c.occurred_at <= until] if until else []


def _others_from(since: datetime | None, place: PageKey | None) -> list[ColumnElement[bool]]:
    """Return the conditions for records with other keys that are not older than a time, nor behind a place."""
    if place is not None and (since is None or place[0] >= since):
        return [tuple_(*_OTHERS_IN_TIME) >= _place(place)]
    return [RECORD.c.occurred_at >= since] if since else []


def _place(place: PageKey) -> Tuple:
    return tuple_(*(literal(value, column.type) for value, column in zip(place, _OTHERS_IN_TIME, strict=True)))


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

    `until`: count only records up to that time. Records whose keys begin with the time and the others are counted apart: if
    there are so many of both, the later time is returned.
    """
    statement = select(RECORD.c.occurred_at).where(*timed(until=until)).order_by(*map(desc, IN_TIME))
    found: datetime | None = connection.execute(statement.offset(number - 1).limit(1)).scalar()
    others = _nth_other(connection, number, _others_below(until, None))
    return max((at for at in (found, *(place[0] for place in others)) if at is not None), default=None)


def stream(connection: Connection, wanted: RecordFilter) -> Iterator[Record]:
    """Yield every record that matches a filter, in the order stored, without holding them all in memory."""
    within = _ids_within(connection, wanted.since, wanted.until)
    statement = _matching(wanted).where(*within).order_by(RECORD.c.id)
    return map(record_of, stream_rows(connection, statement))


def stream_in_portions(store: StoreReader, wanted: RecordFilter) -> Iterator[Record]:
    """Yield what `stream` yields at the beginning, in short transactions: a pager takes records as slowly as a person reads.

    The log of SQLite grows as long as a transaction reads. What retention deletes meanwhile is left out.
    """
    with store.read() as connection:
        within = [*_ids_within(connection, wanted.since, wanted.until), RECORD.c.id <= newest_id(connection)]
    portion = _matching(wanted).where(*within).order_by(RECORD.c.id).limit(_PORTION)
    after = 0
    while True:
        with store.read() as connection:
            found = [record_of(row) for row in connection.execute(portion.where(RECORD.c.id > after))]
        yield from found
        if len(found) < _PORTION:
            return
        after = found[-1].id


def _ids_within(
    connection: Connection, since: datetime | None, until: datetime | None
) -> Sequence[ColumnElement[bool]]:
    """Return the conditions for ids from the lowest to the highest one of the records within these bounds.

    Only the indexes by time are read for it. In their order, all records of a long time would have to be sorted by id.
    """
    if since is None and until is None:
        return []
    # Without the index by id: PostgreSQL would follow it from the first record on, up to one within the bounds.
    ends = select(func.min(without_index(RECORD.c.id)), func.max(without_index(RECORD.c.id)))
    others = ends.where(HAS_OTHER_KEY, *_others_from(since, None), *_others_below(until, None))
    found = [connection.execute(each).one() for each in (ends.where(*timed(since, until)), others)]
    ids = [number for row in found for number in row if number is not None]
    return [RECORD.c.id.between(min(ids), max(ids))] if ids else [false()]


def conditions(wanted: RecordFilter) -> list[ColumnElement[bool]]:
    """Return the SQL conditions of a filter."""
    given = ((condition, getattr(wanted, name)) for name, condition in _CONDITIONS.items())
    return [condition(value) for condition, value in given if value]


def _matching(wanted: RecordFilter) -> Select[Any]:
    return RECORDS.where(*conditions(wanted))


def _is_entity(name: str) -> Callable[[str], ColumnElement[bool]]:
    return lambda value: is_named(name, value, RECORD.c[f"{name}_name"], RECORD.c[f"{name}_id"])


def _describes(word: str) -> ColumnElement[bool]:
    return or_(*(RECORD.c.description.icontains(form, autoescape=True) for form in forms(word)))


def _has_words(text: str) -> ColumnElement[bool]:
    return and_(true(), *(or_(has_value_with(word), _describes(word)) for word in words_of(text)))


_CONDITIONS: Mapping[str, Callable[[Any], ColumnElement[bool]]] = {
    "kinds": RECORD.c.action_kind.in_,
    "operations": RECORD.c.operation.in_,
    "user": lambda name: is_named("user", name, RECORD.c.user_name, null()),
    "scope": lambda scope: RECORD.c.scope == scope,
    "account": _is_entity("account"),
    "cluster": _is_entity("cluster"),
    "keyword": _describes,
    "text": _has_words,
    "since": lambda since: RECORD.c.occurred_at >= since,
    "until": lambda until: RECORD.c.occurred_at <= until,
}
"""The condition for each field of a `RecordFilter`."""
