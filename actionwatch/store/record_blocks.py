"""Blocks of records in the order of their keys, each with the values that its records have.

To find the records of a rare user among millions, a search reads the sets of all blocks, and then the few blocks that have the
user. Compared with an index for each of the columns, storing costs a tenth, and the file is hardly larger. The sets are kept in
the transaction that stores or deletes the records, and may have values that are no longer there, never fewer.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from sqlalchemy import Connection, bindparam, func, select

from actionwatch.store import record_values
from actionwatch.store.record_values import StoredValues, Wanted
from actionwatch.store.statements import LAST_CHARACTER, bulk_insert
from actionwatch.store.tables import RECORD, RECORD_BLOCK

SIZE = 512  # records: reading a block takes a millisecond, and reading the sets of 10 million records 50
_MOST = 4 * SIZE  # of a block into which another source puts its records of the same time
_FEW = SIZE // 8
_FIRST_READ, _MOST_READ = 64, 4096  # sets in one statement: a search for what is frequent ends soon
_MOST_JOINED = 16 * SIZE
_B = RECORD_BLOCK.c
_BLOCK = (_B.low_key, _B.high_key, _B.size, _B.value_bits)
_AT = select(*_BLOCK).where(_B.low_key <= bindparam("key")).order_by(_B.low_key.desc()).limit(1)
_NEXT = select(func.min(_B.low_key)).where(_B.low_key > bindparam("key"))
_GROW = (
    RECORD_BLOCK.update()
    .where(_B.low_key == bindparam("at"))
    .values({name: bindparam(name) for name in ("high_key", "size", "value_bits")})
)
_COLUMNS = tuple(RECORD.c[name] for name in ("record_key", *record_values.COLUMNS))


@dataclass(frozen=True, slots=True)
class Block:
    """The records with keys from `low` to `high`, about `size` many."""

    low: str
    high: str
    size: int
    bits: int


def note_stored(connection: Connection, columns: Mapping[str, Sequence[Any]]) -> None:
    """Add records, given by column in the order of their keys, to the blocks in which they are."""
    keys, values = columns["record_key"], StoredValues(connection, columns)
    start = 0
    while start < len(keys):
        block = _read_at(connection, keys[start])
        following = connection.execute(_NEXT, {"key": keys[start]}).scalar()
        end = bisect_left(keys, following, start) if following is not None else len(keys)
        if block is not None:
            start = _add(connection, block, keys, values, start, end)
        _insert(connection, keys, values, start, end)
        start = end


def note_deleted(connection: Connection, keys: Sequence[str]) -> None:
    """Take the records that had these keys out of their blocks. A block of which little is left gets its values again."""
    ordered = sorted(keys)
    start = 0
    while start < len(ordered):
        block = _read_at(connection, ordered[start])
        after = bisect_right(ordered, max(block.high if block else "", ordered[start]), start)
        size = block.size - (after - start) if block else 0
        if block and size > _FEW:
            connection.execute(RECORD_BLOCK.update().where(_B.low_key == block.low).values(size=size))
        elif block:
            _make_again(connection, block.low, block.high)
        start = after


def _read_at(connection: Connection, key: str) -> Block | None:
    """Return the last block that begins at or before a key."""
    row = connection.execute(_AT, {"key": key}).first()
    return _block_of(row) if row else None


def _block_of(row: Sequence[Any]) -> Block:
    return Block(row[0], row[1], row[2], int.from_bytes(row[3], "little"))


def _add(connection: Connection, block: Block, keys: Sequence[str], values: StoredValues, start: int, end: int) -> int:
    """Add those of the records that are within a block, and as many after it as it has room for. Return which is the next."""
    within = bisect_right(keys, block.high, start, end)
    after = _end_of_key(keys, max(within, min(start + SIZE - block.size, end)), end)
    if after == start:
        return start
    size, high = block.size + after - start, max(block.high, keys[after - 1])
    bits = _packed(block.bits | values.bits(start, after))
    connection.execute(_GROW, {"at": block.low, "high_key": high, "size": size, "value_bits": bits})
    if size > _MOST:
        _make_again(connection, block.low, high)
    return after


def _insert(connection: Connection, keys: Sequence[str], values: StoredValues, start: int, end: int) -> None:
    """Make blocks of records."""
    places = []
    while start < end:
        after = _end_of_key(keys, min(start + SIZE, end), end)
        places.append((start, after))
        start = after
    columns: dict[str, Sequence[Any]] = {
        "low_key": [keys[first] for first, _ in places],
        "high_key": [keys[after - 1] for _, after in places],
        "size": [after - first for first, after in places],
        "value_bits": [_packed(values.bits(first, after)) for first, after in places],
    }
    bulk_insert(connection, RECORD_BLOCK, columns)


def _end_of_key(keys: Sequence[str], place: int, end: int) -> int:
    """Return where the records of a key end: those of several sources with one key are in one block."""
    return bisect_right(keys, keys[place - 1], place, end) if 0 < place < end else place


def _packed(bits: int) -> bytes:
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def _make_again(connection: Connection, low: str, high: str) -> None:
    """Make blocks of the records that are in a block now."""
    found = select(*_COLUMNS).where(RECORD.c.record_key.between(low, high)).order_by(RECORD.c.record_key)
    rows = connection.execute(found).all()
    connection.execute(RECORD_BLOCK.delete().where(_B.low_key == low))
    columns = {str(column.name): [row[place] for row in rows] for place, column in enumerate(_COLUMNS)}
    _insert(connection, columns["record_key"], StoredValues(connection, columns), 0, len(rows))


def walk(connection: Connection, wanted: Sequence[Wanted], low: str, high: str) -> Iterator[Block]:
    """Yield the blocks with keys from `low` to `high` that may have a record with all that is wanted, the newest first.

    Neighbours are joined, each time twice as many, so that one statement reads them.
    """
    for each in wanted:
        if not each.bits:  # only a key has it, if at all
            low, high = max(low, each.key or LAST_CHARACTER), min(high, f"{each.key or ''}{LAST_CHARACTER}")
    joined, most = None, SIZE
    for row in _read_back(connection, low, high):
        is_chosen = _may_have(row, wanted)
        if is_chosen:
            block = _block_of(row)
            joined = Block(block.low, joined.high, joined.size + block.size, 0) if joined else block
        if joined and (joined.size >= most or not is_chosen):
            yield joined
            joined, most = None, min(2 * most, _MOST_JOINED)
    if joined:
        yield joined


def _may_have(row: Sequence[Any], wanted: Sequence[Wanted]) -> bool:
    """Return whether a record of a block may have all that is wanted."""
    low, high, _, packed = row
    bits = int.from_bytes(packed, "little")
    for each in wanted:
        is_there = each.key is not None and low <= f"{each.key}{LAST_CHARACTER}" and each.key <= high
        if not is_there and not bits & each.bits:
            return False
    return True


def _read_back(connection: Connection, low: str, high: str) -> Iterator[Sequence[Any]]:
    """Yield the rows of all blocks with keys from `low` to `high`, the newest first."""
    limit, is_next = _FIRST_READ, _B.low_key <= high
    while low <= high:
        statement = select(*_BLOCK).where(is_next).order_by(_B.low_key.desc()).limit(limit)
        rows = connection.execute(statement).all()
        yield from takewhile(lambda row: row[1] >= low, rows)
        if len(rows) < limit or rows[-1][1] < low:
            return
        limit, is_next = min(4 * limit, _MOST_READ), _B.low_key < rows[-1][0]


def delete_unused_values(connection: Connection) -> None:
    """Delete the values that no block has."""
    used = 0
    for (bits,) in connection.execute(select(_B.value_bits)):
        used |= int.from_bytes(bits, "little")
    record_values.delete_unused(connection, used)
