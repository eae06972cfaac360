"""The hits of correlations: a record in a group.

A rule has a number here, another one each time that it is fed again: what is left of the one before is deleted bit by bit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from sys import intern
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import BigInteger, Connection, Row, Table, bindparam, func, literal, select, tuple_

from actionwatch.base.clock import ALWAYS, MICROSECOND, from_micros, to_micros
from actionwatch.base.model import Hit, HitOrder, RecordRef
from actionwatch.store.column_types import DAMAGES, as_stored, damaged
from actionwatch.store.statements import bulk_insert, bulk_join, count_of_each, has_row, portions
from actionwatch.store.tables import CORRELATION_VERSION, HIT, RECORD, TOUCHED_GROUP

_FIRST = to_micros(ALWAYS)
_PAGE = 2000  # hits that are read at once: a group may have a million
_MOST = 20_000  # hits of several groups
_KEY = ("rule", "group_id", "at", "step", "key")
_REPLACED = ("record_id", "is_backlog", "value")
_VALUES = ", ".join(f"{name} = excluded.{name}" for name in _REPLACED)
_OTHERWISE = f"({', '.join(_KEY)}) DO UPDATE SET {_VALUES} WHERE hit.is_backlog AND NOT excluded.is_backlog"  # nosec
_c = HIT.c
_PLACE = as_stored([_c.at, _c.step, _c.key])
_READ = select(*as_stored([_c.at, _c.step, _c.key, *(_c[name] for name in _REPLACED)])).where(
    _c.rule == bindparam("rule"), _c.group_id == bindparam("group")
)
_GIVEN = tuple_(
    *(bindparam(name, type_=column.type) for name, column in zip(("at", "step", "key"), _PLACE, strict=True))
)
_AFTER = _READ.where(tuple_(*_PLACE) > _GIVEN).order_by(*_PLACE).limit(_PAGE)
_IS_SINCE = _PLACE[0] >= bindparam("since", type_=BigInteger())
_BEFORE = _READ.where(_IS_SINCE, tuple_(*_PLACE) < _GIVEN).order_by(*(column.desc() for column in _PLACE)).limit(1)
_BEFORE_OF_STEP = _BEFORE.where(_c.step == bindparam("wanted"))
_DELETE = {
    table: table.delete().where(*(column == bindparam(f"of_{column.name}") for column in as_stored(table.primary_key)))
    for table in (HIT, TOUCHED_GROUP)
}
_IS_FROM = "hit.rule = given.column1 AND hit.group_id = given.column2 AND hit.at >= given.column3"
_IS_FROM_LAST = """hit.rule = given.column1 AND hit.group_id = given.column2 AND hit.at >= coalesce((
SELECT max(earlier.at) FROM hit AS earlier WHERE earlier.rule = given.column1 AND earlier.group_id = given.column2
AND earlier.at < given.column3 AND earlier.at >= given.column4 AND earlier.step >= given.column5), given.column3)"""
_COLUMNS = ("group_id", "at", "step", "key", *_REPLACED)
_STORED_KEY = as_stored(_c[name] for name in _KEY)
_OLD = (
    select(*_STORED_KEY, has_row(RECORD.c.id == _c.record_id))
    .where(_STORED_KEY[2] < bindparam("before", type_=BigInteger()))
    .order_by(*_STORED_KEY)
    .limit(bindparam("most"))
)
_encode, _decode_value = msgspec.json.Encoder().encode, msgspec.json.Decoder(tuple[str, ...]).decode

_order = attrgetter("order")


class HitKey(NamedTuple):
    """The primary key of a hit, as the database stores it."""

    rule: int
    group_id: str
    at: int
    step: int
    key: str


HitsOfGroup = tuple[int, str, Sequence[Hit]]
"""The number of the rule, the id of the group, and hits, each once."""


def insert(connection: Connection, hits: Iterable[HitsOfGroup]) -> None:
    """Insert hits, each once: one that may alert replaces the same action that another source read as backlog."""
    times: dict[datetime, int] = {}  # most hits share theirs with others
    rows: list[tuple[Any, ...]] = []
    for number, group, its in hits:
        for hit in its:
            at = times.get(hit.at)
            if at is None:
                at = times[hit.at] = to_micros(hit.at)
            (record,) = hit.records
            value = None if hit.value is None else _encode(hit.value).decode()
            rows.append((number, group, at, hit.step, hit.key, record.id, record.is_backlog, value))
    if rows:
        columns = dict(zip((*_KEY, *_REPLACED), zip(*rows, strict=True), strict=True))
        bulk_insert(connection, HIT, columns, _OTHERWISE)


def read_from(connection: Connection, number: int, group: str, at: datetime) -> Iterator[Hit]:
    """Yield the hits of a group from a time on, in order."""
    after: Mapping[str, Any] = {"at": to_micros(at), "step": -1, "key": ""}
    while True:
        rows = connection.execute(_AFTER, {"rule": number, "group": group, **after}).all()
        for row in rows:
            yield _hit(row)
        if len(rows) < _PAGE:
            return
        after = dict(zip(("at", "step", "key"), rows[-1][:3], strict=True))


def read_all_from(
    connection: Connection,
    number: int,
    places: Collection[tuple[str, datetime]],
    *,
    last: tuple[int, timedelta] | None = None,
) -> dict[str, list[Hit]]:
    """Read the hits of groups from a time on, in order, by the id of the group. Groups with many hits may be left out.

    `last`: also those since the newest hit of this step, or a later one, within a time before.
    """
    found: dict[str, list[Hit]] = {}
    for some in portions([(number, group, to_micros(at)) for group, at in places]):
        rows = _read_of(connection, some, last)
        if len(rows) == _MOST:
            few = _with_few(connection, some)
            some = [each for each in some if each[1] in few]
            rows = _read_of(connection, some, last, most=len(few) * _PAGE)
        found |= {group: [] for _, group, _ in some}
        for row in rows:
            found[row[0]].append(_hit(row[1:]))
    for its in found.values():
        its.sort(key=_order)
    return found


def _read_of(
    connection: Connection, places: Sequence[tuple[Any, ...]], last: tuple[int, timedelta] | None, most: int = _MOST
) -> list[Sequence[Any]]:
    like: Sequence[str] = _KEY[:3]
    condition, given = _IS_FROM, places
    if last is not None:
        step, within = last
        like, condition = (*_KEY[:3], "at", "step"), _IS_FROM_LAST
        given = [(*each, max(each[2] - within // MICROSECOND, _FIRST), step) for each in places]
    return list(bulk_join(connection, HIT, _COLUMNS, like, given, f"{condition} LIMIT {most}")) if given else []


def _with_few(connection: Connection, places: Collection[tuple[Any, ...]]) -> set[str]:
    """Return which groups have few hits from a time on, so that these can be held."""
    found = set[str]()
    for some in portions(places):
        found |= {
            group for group, count in count_of_each(connection, HIT, _KEY[:3], some, _IS_FROM, 1) if count <= _PAGE
        }
    return found


def read_before(
    connection: Connection, number: int, group: str, order: HitOrder, step: int | None, since: datetime
) -> Hit | None:
    """Read the newest hit of a group before a place, and not before a time, of one step or of any."""
    values = {"rule": number, "group": group, "since": to_micros(since), **_given(order)}
    statement = _BEFORE if step is None else _BEFORE_OF_STEP
    row = connection.execute(statement, values if step is None else {**values, "wanted": step}).first()
    return None if row is None else _hit(row)


def newest_number(connection: Connection) -> int:
    """Return the highest number of a rule that has hits, or groups that were touched; 0 without any."""
    tables = HIT.c.rule, TOUCHED_GROUP.c.rule
    return max(connection.execute(select(func.max(column))).scalar() or 0 for column in tables)


def find_without_record(
    connection: Connection, before: datetime, after: HitKey | None, limit: int
) -> tuple[list[HitKey], HitKey | None]:
    """Find hits before a time whose record is deleted. An index by record would cost as much as all hits.

    Looks at `limit` old hits after a key. Returns: the keys that were found, and where to continue; None at the end.
    """
    statement = _OLD if after is None else _OLD.where(tuple_(*_STORED_KEY) > tuple_(*map(literal, after)))
    rows = connection.execute(statement, {"before": to_micros(before), "most": limit}).all()
    found = [HitKey(*row[:5]) for row in rows if not row[5]]
    return found, HitKey(*rows[-1][:5]) if len(rows) == limit else None


def delete_all(connection: Connection, keys: Sequence[HitKey]) -> None:
    """Delete hits."""
    _delete_all(connection, HIT, keys)


def delete_others(connection: Connection, numbers: Collection[int], limit: int) -> int:
    """Delete at most `limit` hits, or touched groups, of a rule with another number. Return how many."""
    for table in (HIT, TOUCHED_GROUP):
        other = _other(connection, table, numbers)
        if other is not None:
            key = as_stored(table.primary_key)
            doomed = connection.execute(select(*key).where(table.c.rule == other).limit(limit)).all()
            _delete_all(connection, table, doomed)
            return len(doomed)
    return 0


def _other(connection: Connection, table: Table, numbers: Collection[int]) -> int | None:
    """Return the lowest number of a rule in a table that is not one of these."""
    lowest = select(func.min(table.c.rule))
    found: int | None = connection.execute(lowest).scalar()
    while found is not None and found in numbers:
        found = connection.execute(lowest.where(table.c.rule > found)).scalar()
    return found


def _delete_all(connection: Connection, table: Table, keys: Sequence[Sequence[Any]]) -> None:
    """Delete rows by their keys, each by the index: a list of rows is compared with all of a group."""
    names = [f"of_{column.name}" for column in table.primary_key]
    if keys:
        connection.execute(_DELETE[table], [dict(zip(names, key, strict=True)) for key in keys])


# -- groups that were touched ------------------------------------------------------------------------------------------

_WIDEN = """(rule, group_id) DO UPDATE SET
first_at = CASE WHEN excluded.first_at < touched_group.first_at THEN excluded.first_at ELSE touched_group.first_at END,
last_at = CASE WHEN excluded.last_at > touched_group.last_at THEN excluded.last_at ELSE touched_group.last_at END"""


def touch(
    connection: Connection, touched: Sequence[tuple[int, str, tuple[str | None, ...], datetime, datetime]]
) -> None:
    """Note where groups were touched: rule, id and values of the group, the first and the last time."""
    if not touched:
        return
    columns: dict[str, Sequence[Any]] = {
        "rule": [each[0] for each in touched],
        "group_id": [each[1] for each in touched],
        "group_values": [_encode(each[2]).decode() for each in touched],
        "first_at": [to_micros(each[3]) for each in touched],
        "last_at": [to_micros(each[4]) for each in touched],
    }
    bulk_insert(connection, TOUCHED_GROUP, columns, _WIDEN)


def read_touched(connection: Connection, number: int, limit: int) -> list[Row[Any]]:
    """Read some groups of a rule that were touched: id, values, the first and the last time."""
    columns = [TOUCHED_GROUP.c[name] for name in ("group_id", "group_values", "first_at", "last_at")]
    statement = select(*columns).where(TOUCHED_GROUP.c.rule == number).order_by(TOUCHED_GROUP.c.group_id).limit(limit)
    return list(connection.execute(statement))


def forget_touched(connection: Connection, number: int, groups: Collection[str]) -> None:
    """Forget where groups were touched."""
    its = TOUCHED_GROUP.c
    for some in portions(groups):
        connection.execute(TOUCHED_GROUP.delete().where(its.rule == number, its.group_id.in_(some)))


def touched_rules(connection: Connection) -> set[int]:
    """Return the numbers of the rules that run and of which a group was touched."""
    number = CORRELATION_VERSION.c.number
    return set(connection.execute(select(number).where(has_row(TOUCHED_GROUP.c.rule == number))).scalars())


# -- rows --------------------------------------------------------------------------------------------------------------


def _hit(row: Sequence[Any]) -> Hit:
    micros, step, key, record_id, is_backlog, value = row
    try:
        at = from_micros(micros)
        its = (RecordRef(key, record_id, at, bool(is_backlog)),)
        return Hit(at, step, key, its, None if value is None else tuple(map(intern, _decode_value(value))))
    except (*DAMAGES, msgspec.MsgspecError) as exc:
        raise damaged(exc) from exc


def _given(order: HitOrder) -> dict[str, Any]:
    return {"at": to_micros(order[0]), "step": order[1], "key": order[2]}
