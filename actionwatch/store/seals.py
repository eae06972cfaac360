"""The chain of seals: what each seal attests, and how the next one is made. `seal_checking.py` verifies it.

A seal attests rows of one table by their hashes, and contains the digest of the seal before it. No seal ever changes. To hide a
change of a row, its seal and all later ones must be made again, and then the digest of the newest one, the head, differs: see
docs/proof.md. There are three kinds of seals:

- `rows`: the next rows of a table, in the order of their ids. All ids up to the newest sealed one belong to one of these seals.
- `cut`: rows that were deleted, in the transaction that deleted them.
- `kept`: the rows that are left of old seals, so that the old seals can be deleted.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Self

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Select, Table, bindparam, func, select

from actionwatch.base.clock import from_micros, to_micros
from actionwatch.store.column_types import DAMAGES, as_stored
from actionwatch.store.sealed_tables import SEALED
from actionwatch.store.statements import portions, reading_any_text, stream_rows
from actionwatch.store.tables import RECORD, SEAL

ROWS, CUT, KEPT = "rows", "cut", "kept"
Leaf = tuple[int, bytes]
"""The id of a row, and its hash."""
BATCH = 4000  # rows in one seal: 20 ms of the write lock
HELD = 20  # seals with their leaves that are in memory at once: 3 MB
MAX_ID = 2**63 - 1
_MOST_COUNTED = 10_000  # rows that `status` counts: the service seals more in a run
WORTH_KEEPING = 500  # old seals that one set of new ones replaces
_LEAF = struct.Struct(">q32s")
_TABLE = SEAL.c
# As they are stored: a value that cannot be read must not stop a check, nor the next seal.
READ = as_stored(column for column in _TABLE if column.name != "leaves")
"""The columns that `Seal.of` reads, then the digest."""
LEAVES = as_stored([_TABLE.leaves])[0]
# Built once, because that takes longer than to run them. Another program can have stored a text, greater than any number.
_LAST = (
    select(*as_stored([_TABLE.number, _TABLE.digest, _TABLE.at]))
    .where(_TABLE.number <= MAX_ID)
    .order_by(_TABLE.number.desc())
    .limit(1)
)
_LAST_OF_ROWS = _LAST.where(_TABLE.kind == ROWS)
_ITS = (_TABLE.table_name == bindparam("name"), _TABLE.kind == bindparam("of"), _TABLE.last_id <= MAX_ID)
_INSERT = SEAL.insert()
_OF_TABLE = (_TABLE.table_name == bindparam("name"), _TABLE.last_id <= MAX_ID)
_NEWEST_FIRST = select(*READ, LEAVES).where(*_OF_TABLE).order_by(_TABLE.last_id.desc())
_OF_ROWS = _NEWEST_FIRST.where(_TABLE.kind == ROWS, _TABLE.number <= bindparam("through"))
_KEPT_THROUGH = select(func.max(_TABLE.through)).where(
    *_OF_TABLE, _TABLE.kind == KEPT, _TABLE.number <= bindparam("known")
)
_OF_KEPT = _NEWEST_FIRST.where(
    _TABLE.kind == KEPT, _TABLE.through == _KEPT_THROUGH.scalar_subquery(), _TABLE.first_id < bindparam("lowest")
)
_NEWEST = select(_TABLE.last_id).where(*_ITS).order_by(_TABLE.last_id.desc()).limit(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """A seal of `row_count` rows with ids from `first_id` to `last_id`, whose packed leaves have a digest.

    `previous` is the digest of the seal before, if any. A cut has the time of the seal before it. If the kind is `kept`, the
    seals up to the number `through` may be deleted.
    """

    number: int
    at: datetime
    table_name: str
    kind: str
    first_id: int
    last_id: int
    row_count: int
    through: int
    leaves_digest: str
    previous: str

    @classmethod
    def of(cls, row: Row[Any]) -> Self:
        """Return the seal in a row with the columns `READ`. Raises: ValueError, if another program damaged it."""
        values: dict[str, Any] = dict(zip((each.name for each in fields(cls)), row, strict=False))
        try:
            return msgspec.convert(values | {"at": from_micros(values["at"])}, cls)
        except DAMAGES as exc:
            raise ValueError(f"a seal cannot be read: {exc}") from exc

    @property
    def digest(self) -> str:
        """SHA-256 of the JSON array of its values in the order above, the time in microseconds since 1970, without spaces."""
        values = {**asdict(self), "at": to_micros(self.at)}
        return hashlib.sha256(json.dumps(list(values.values()), separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Head:
    """The newest seal, or an earlier one that somebody noted."""

    number: int
    digest: str
    at: datetime | None = None

    def __str__(self) -> str:
        return f"{self.number}:{self.digest}"


@dataclass(frozen=True, slots=True)
class Waiting:
    """The number of rows that wait for a seal, or a lower bound of it."""

    row_count: int
    is_lower_bound: bool


def read_head(connection: Connection) -> Head | None:
    """Read the newest seal that no power cut can lose, for people to note; None before the first one.

    A seal of rows is durable with all before it; a cut is as durable as the deletion that it states.
    """
    row = connection.execute(_LAST_OF_ROWS).first()
    return _read_last(connection) if row is None else _head_of(row)


def _read_last(connection: Connection) -> Head | None:
    """Read the newest seal, which the next one follows."""
    row = connection.execute(_LAST).first()
    return None if row is None else _head_of(row)


def _head_of(row: Row[Any]) -> Head:
    try:
        at = from_micros(row.at)
    except DAMAGES:
        at = None
    return Head(row.number, row.digest if isinstance(row.digest, str) else "", at)


def newest_sealed(connection: Connection, table_name: str) -> int:
    """Return the newest id of a table that is sealed; 0 before the first one."""
    found = (connection.execute(_NEWEST, {"name": table_name, "of": kind}).scalar() for kind in (ROWS, KEPT))
    return next(filter(None, found), 0)


def count_unsealed(connection: Connection, table_name: str, most: int = MAX_ID) -> int:
    """Count the rows of a table after the newest sealed one, at most `most`."""
    asked = {"after": newest_sealed(connection, table_name), "most": most}
    found: int = connection.execute(_unsealed(table_name), asked).scalar_one()
    return found


@functools.cache
def _unsealed(table_name: str) -> Select[Any]:
    key = SEALED[table_name].key
    found = select(key).where(key > bindparam("after")).limit(bindparam("most")).subquery()
    return select(func.count()).select_from(found)


def count_waiting(connection: Connection, most: int = _MOST_COUNTED) -> Waiting:
    """Count the rows that wait for a seal, at most `most` of each table: after that, the number is a lower bound."""
    counts = [count_unsealed(connection, name, most + 1) for name in SEALED]
    return Waiting(sum(min(each, most) for each in counts), any(each > most for each in counts))


def is_complete(connection: Connection, tables: Collection[str] = SEALED) -> bool:
    """Return whether all rows of these tables are sealed."""
    return not any(count_unsealed(connection, name, 1) for name in tables)


def seal_next(connection: Connection, now: datetime, limit: int = BATCH, tables: Collection[str] = SEALED) -> int:
    """Seal the next rows of each of the tables, at most `limit` in total. Return how many.

    Records come last: a backlog of them must not keep the others waiting.
    """
    count = 0
    for name in sorted(tables, key=lambda each: each == RECORD.name):
        first = newest_sealed(connection, name) + 1
        with reading_any_text(connection):
            leaves = SEALED[name].read(connection, first, MAX_ID, limit - count) if count < limit else []
        if leaves:
            _append(connection, now, name, ROWS, (first, leaves[-1][0]), leaves)
            count += len(leaves)
    return count


def delete(connection: Connection, table: Table, *conditions: ColumnElement[bool]) -> Sequence[Row[Any]]:
    """Delete rows of a table in `SEALED`. A cut states which sealed ones there were. Return them, with the hashed columns.

    The cut has their present hashes, so that a row which another program changed before still differs from its seal.
    """
    sealed = SEALED[str(table.name)]
    with reading_any_text(connection):
        rows = connection.execute(table.delete().where(*conditions).returning(*sealed.stored)).all()
    newest = newest_sealed(connection, sealed.name) if rows else 0
    leaves = sorted((row[0], sealed.hash(row)) for row in rows if row[0] <= newest)
    if leaves:
        head = _read_last(connection)
        at = head.at if head and head.at else from_micros(0)
        for some in portions(leaves, BATCH):  # who checks the chain holds few leaves at a time
            _append(connection, at, sealed.name, CUT, (some[0][0], some[-1][0]), some)
    return rows


def unpack(packed: object) -> list[Leaf]:
    """Return the leaves of a seal. Raises: ValueError, if they were damaged."""
    if not isinstance(packed, bytes) or len(packed) % _LEAF.size:
        raise ValueError("the leaves of a seal cannot be read")
    return list(_LEAF.iter_unpack(packed))


class Cuts:
    """The cuts of a table. It reads each of them once, for ranges of ids in descending order."""

    def __init__(self, connection: Connection, table_name: str) -> None:
        its = (_TABLE.table_name == table_name, _TABLE.kind == CUT, _TABLE.last_id <= MAX_ID)
        newest_first = select(_TABLE.last_id, LEAVES).where(*its).order_by(_TABLE.last_id.desc())
        self._rows = stream_rows(connection, newest_first, HELD)
        self._next = next(self._rows, None)
        self._leaves: dict[int, bytes] = {}

    def between(self, first: int, last: int) -> Mapping[int, bytes]:
        """Return the leaves of the rows that were deleted, at least those with ids from `first` to `last`."""
        self._leaves = {key: leaf for key, leaf in self._leaves.items() if key <= last}
        while self._next is not None and self._next.last_id >= first:
            with contextlib.suppress(ValueError):  # `store verify` reports that the cut was damaged
                self._leaves.update((key, leaf) for key, leaf in unpack(self._next.leaves) if key <= last)
            self._next = next(self._rows, None)
        return self._leaves


def delete_older(connection: Connection, before: datetime, now: datetime) -> None:
    """Delete the seals that were made before a time and that older ones of the kind `kept` replace; write such seals.

    A seal of the kind `kept` lets others be deleted only when it was itself made before that time. So it is part of the chain
    of each head that was noted since, and nobody can add one later that hides a change from this head.
    """
    kept = select(func.max(_TABLE.through)).where(_TABLE.kind == KEPT, _TABLE.through <= MAX_ID)
    replaced = connection.execute(kept.where(_TABLE.at < before)).scalar() or 0
    connection.execute(SEAL.delete().where(_TABLE.number <= replaced))
    head = _read_last(connection)
    young = select(_TABLE.number).where(_TABLE.at >= before).order_by(_TABLE.number).limit(1)
    through = (connection.execute(young).scalar() or (head.number + 1 if head else 1)) - 1
    stated = connection.execute(kept).scalar() or 0
    size = connection.execute(select(func.count()).where(_TABLE.kind == KEPT, _TABLE.number > replaced)).scalar_one()
    if through - stated < max(WORTH_KEEPING, 10 * size):
        return
    try:
        left = {name: _read_left(connection, name, through) for name in SEALED}
    except ValueError:
        return  # a seal was damaged: `store verify` reports it, and it stays
    for name, (end, leaves) in left.items():
        _keep(connection, now, name, end, leaves, through)


def _read_left(connection: Connection, name: str, through: int) -> tuple[int, list[Leaf]]:
    """Return the highest id of a table in the seals up to the number `through`, and the leaves of the rows that are left.

    Raises: ValueError, if one of these seals was damaged.
    """
    cuts, left, end, bound = Cuts(connection, name), list[Leaf](), 0, MAX_ID
    for row in attesting(connection, name, through):
        seal = Seal.of(row)
        gone = cuts.between(seal.first_id, seal.last_id)
        left += [leaf for leaf in reversed(unpack(row.leaves)) if leaf[0] < bound and leaf[0] not in gone]
        end, bound = end or seal.last_id, seal.first_id
    return end, left[::-1]


def _keep(connection: Connection, now: datetime, name: str, end: int, left: Sequence[Leaf], through: int) -> None:
    """Write the seals that replace those up to the number `through`, of the ids from 1 to `end`."""
    first = 1
    for some in portions(left, BATCH) if left else [[]]:
        last = end if some[-1:] == left[-1:] else some[-1][0]
        _append(connection, now, name, KEPT, (first, last), some, through)
        first = last + 1


def attesting(connection: Connection, name: str, through: int = MAX_ID, known: int = MAX_ID) -> Iterator[Row[Any]]:
    """Yield the seals that attest the rows of a table, with `READ` and the leaves, the highest ids first.

    These are the seals of rows up to the number `through`, and below them the newest ones of the kind `kept`, of those up
    to the number `known`.
    """
    lowest = MAX_ID
    for row in stream_rows(connection, _OF_ROWS, HELD, {"name": name, "through": through}):
        lowest = row.first_id
        yield row
    yield from stream_rows(connection, _OF_KEPT, HELD, {"name": name, "known": known, "lowest": lowest})


def _append(
    connection: Connection,
    at: datetime,
    name: str,
    kind: str,
    span: tuple[int, int],
    leaves: Sequence[Leaf],
    through: int = 0,
) -> None:
    """Append a seal to the chain."""
    head = _read_last(connection)
    packed = b"".join(_LEAF.pack(*leaf) for leaf in leaves)
    seal = Seal(
        number=head.number + 1 if head else 1,
        at=at,
        table_name=name,
        kind=kind,
        first_id=span[0],
        last_id=span[1],
        row_count=len(leaves),
        through=through,
        leaves_digest=hashlib.sha256(packed).hexdigest(),
        previous=head.digest if head else "",
    )
    connection.execute(_INSERT, {**asdict(seal), "digest": seal.digest, "leaves": packed})
