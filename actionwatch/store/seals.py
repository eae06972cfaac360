"""The chain of seals: what each seal attests, and how the next one is made. `seal_checking.py` verifies it.

A seal attests new rows of one table, new versions of rows that changed, and which rows were removed, as the root of a tree of
hashes. It contains the digest of the seal before it. To hide a change of a row, its seal and all later seals must be changed,
and then the digest of the newest one, the head, differs: see docs/proof.md.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any, Self

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, select

from actionwatch.base.clock import from_micros, to_micros
from actionwatch.store import unsealed
from actionwatch.store.column_types import DAMAGES, as_stored
from actionwatch.store.seal_tree import Leaf, fold, keys_of, pack, unpack
from actionwatch.store.sealed_tables import MAX_ID, NUMBER, SEALED, SealedTable, is_text
from actionwatch.store.statements import bulk_find, portions, reading_any_text, stream_rows, upsert
from actionwatch.store.tables import SEAL, SEALED_ROW
from actionwatch.store.unsealed import Note

_BATCH = 1000  # rows in one seal: 20 ms of the write lock
MAX_FOLDED = 50  # earlier seals whose leaves one seal folds: 0.2 s of the write lock if each has `_BATCH` rows
CUT = "seal"
"""The table name of a seal that states which older seals stay. The others may be deleted."""
_TABLE = SEAL.c
# As they are stored: a value that cannot be read must not stop a check, nor the next seal.
READ = as_stored(column for column in _TABLE if column.name != "leaves")
"""The columns that `Seal.of` reads, then the digest."""
_LEAVES = as_stored([_TABLE.leaves])[0]
_IS_NUMBER = _TABLE.last_id <= MAX_ID


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """What a seal attests.

    `row_count` rows are sealed in this version, of a numbered table those with ids from `first_id` to `last_id`.
    `removed_count` rows were removed. `states` has, by number, each earlier seal with versions that this one replaces: the
    SHA-256 of its leaves before and after. After this seal, `sealed_count` existing rows of the table are sealed. `root` is
    that of the tree over the new versions, then the removed rows. `previous` is the digest of the seal before, if any.

    A cut has the table name `CUT` and no rows: of the seals up to `last_id`, those in `states` stay. Its `states` have their
    digest and the state of their leaves.
    """

    number: int
    at: datetime
    table_name: str
    first_id: int | None
    last_id: int | None
    row_count: int
    removed_count: int
    sealed_count: int
    states: Mapping[str, tuple[str, str]]
    root: str
    previous: str

    @classmethod
    def of(cls, row: Row[Any]) -> Self:
        """Return the seal in a row with the columns `READ`. Raises: ValueError, if another program damaged it."""
        values: dict[str, Any] = dict(zip((each.name for each in fields(cls)), row, strict=False))
        try:
            values |= {"at": from_micros(values["at"]), "states": json.loads(values["states"])}
            if not all(NUMBER.fullmatch(number) for number in values["states"]):
                raise ValueError("a seal names another one by a text")
            return msgspec.convert(values, cls)
        except DAMAGES as exc:
            raise ValueError(f"a seal cannot be read: {exc}") from exc

    @property
    def digest(self) -> str:
        """SHA-256 of the JSON array of its values in the order above, the time in microseconds since 1970, without spaces."""
        values = {**asdict(self), "at": to_micros(self.at), "states": dict(sorted(self.states.items()))}
        return hashlib.sha256(json.dumps(list(values.values()), separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Head:
    """The newest seal, or an earlier one that somebody noted."""

    number: int
    digest: str
    at: datetime | None = None

    def __str__(self) -> str:
        return f"{self.number}:{self.digest}"


@dataclass
class _Batch:
    """What the next seal of a table attests: new versions, and removed rows with the seal that has their last version."""

    new: dict[str, bytes] = field(default_factory=dict)
    gone: dict[str, int] = field(default_factory=dict)
    again: dict[str, int] = field(default_factory=dict)
    first_id: int | None = None
    last_id: int | None = None
    done: list[int] = field(default_factory=list)
    partly: tuple[int, int] | None = None


def read_head(connection: Connection) -> Head | None:
    """Read the newest seal; None before the first one."""
    newest = select(*as_stored([_TABLE.number, _TABLE.digest, _TABLE.at])).order_by(_TABLE.number.desc()).limit(1)
    row = connection.execute(newest).first()
    if row is None:
        return None
    try:
        at = from_micros(row.at)
    except DAMAGES:
        at = None
    return Head(row.number, row.digest if isinstance(row.digest, str) else "", at)


def seal_next(connection: Connection, now: datetime, limit: int = _BATCH, tables: Collection[str] = SEALED) -> int:
    """Seal the rows of the oldest notes, at most `limit` of one of the tables. Return how many notes there were."""
    with reading_any_text(connection):
        notes = unsealed.read_next(connection, limit, tables)
        if not notes:
            return 0
        table = SEALED[notes[0].table_name]
        batch = _numbered(connection, table, notes, limit) if table.is_numbered else _keyed(connection, table, notes)
        if batch.new or batch.gone:
            _write(connection, table, batch, now)
        unsealed.settle(connection, batch.done, batch.partly)
        return len(notes)


def read_packed(connection: Connection, number: int) -> bytes | None:
    """Read the leaves of a seal that are still needed, as they are stored."""
    packed: bytes | None = connection.execute(select(_LEAVES).where(_TABLE.number == number)).scalar()
    return packed


def read_leaves(connection: Connection, number: int) -> list[Leaf]:
    """Read the leaves of a seal that are still needed. Raises: ValueError, if they were damaged."""
    return unpack(read_packed(connection, number))


def state_of(packed: bytes | None) -> str:
    """Return the state of the leaves of a seal: which ones are left."""
    return hashlib.sha256(packed if isinstance(packed, bytes) else str(packed or "").encode()).hexdigest()


def delete_older(connection: Connection, before: datetime, now: datetime, limit: int) -> int:
    """Delete at most `limit` seals that were made before a time and have no rows left. Return how many.

    A cut states which older seals stay. The others are deleted when the cut was itself made before that time: so it is part of
    the chain of each head that was noted since, and nobody can add a cut later that hides a change from this head.
    """
    is_old = (_TABLE.table_name == CUT, _TABLE.at < before)
    newest = select(_TABLE.last_id, _TABLE.states).where(*is_old).order_by(_TABLE.number.desc()).limit(1)
    cut = connection.execute(newest).first()
    unneeded: list[int] = []
    if cut is not None:
        upto = select(_TABLE.number).where(_TABLE.number <= cut.last_id).order_by(_TABLE.number)
        found = connection.execute(upto.limit(limit + len(cut.states))).scalars()
        unneeded = [number for number in found if str(number) not in cut.states][:limit]
    for some in portions(unneeded):
        connection.execute(SEAL.delete().where(_TABLE.number.in_(some)))
    if len(unneeded) < limit:
        _write_cut(connection, before, now)
    return len(unneeded)


def _write_cut(connection: Connection, before: datetime, now: datetime) -> None:
    """Write a cut, if it lets more seals be deleted than it states."""
    head = read_head(connection)
    if head is None:
        return
    cuts = select(_TABLE.last_id, _TABLE.states).where(_TABLE.table_name == CUT).order_by(_TABLE.number.desc())
    cut = connection.execute(cuts.limit(1)).first()
    reached, stated = (cut.last_id, cut.states) if cut else (0, {})
    is_young = (_TABLE.number > reached, _TABLE.at >= before)
    first = connection.execute(select(_TABLE.number).where(*is_young).order_by(_TABLE.number).limit(1)).scalar()
    end = head.number if first is None else first - 1
    if end - reached <= len(stated) + 1:
        return
    states = _states_of_kept(connection, (_TABLE.number > reached) & (_TABLE.number <= end))
    new_count = end - reached - len(states)
    for some in portions([int(number) for number in stated]):
        states |= _states_of_kept(connection, _TABLE.number.in_(some))
    if new_count > len(states) + 1:
        seal = Seal(
            number=head.number + 1,
            at=now,
            table_name=CUT,
            first_id=None,
            last_id=end,
            row_count=0,
            removed_count=0,
            sealed_count=len(states),
            states=states,
            root="",
            previous=head.digest,
        )
        connection.execute(SEAL.insert().values(**asdict(seal), digest=seal.digest))


def _states_of_kept(connection: Connection, condition: ColumnElement[bool]) -> dict[str, tuple[str, str]]:
    """Return the digest and the state of the leaves of the seals that must stay, by number.

    These are those with rows, and of each table the newest one and the one with the newest id, where the next one continues.
    """
    its = [select(_TABLE.number).where(_TABLE.table_name == name) for name in SEALED]
    newest = [each.order_by(_TABLE.number.desc()).limit(1) for each in its]
    newest += [each.where(_IS_NUMBER).order_by(_TABLE.last_id.desc()).limit(1) for each in its]
    needed = {connection.execute(each).scalar() for each in newest} - {None}
    is_kept = _TABLE.leaves.is_not(None) | _TABLE.number.in_(needed)
    rows = stream_rows(connection, select(_TABLE.number, _TABLE.digest, _LEAVES).where(condition, is_kept))
    return {str(row.number): (row.digest, state_of(row.leaves)) for row in rows}


def _numbered(connection: Connection, table: SealedTable, notes: Sequence[Note], limit: int) -> _Batch:
    """Collect new rows by their ids, each once. A row that is sealed and has been noted again was deleted."""
    batch, perhaps_gone = _Batch(done=[note.id for note in notes if not note.has_ids]), list[str]()
    newest = select(_TABLE.last_id).where(_TABLE.table_name == table.name, _IS_NUMBER)
    last: int = connection.execute(newest.order_by(_TABLE.last_id.desc()).limit(1)).scalar() or 0
    column, reached = table.table.c.id, last
    for first, end, spanned in _spans([note for note in notes if note.has_ids], last):
        if end <= last:
            perhaps_gone += [str(first)] if first == end else []
            batch.done += [note.id for note in spanned]
            continue
        found = table.rows().where(column > max(first - 1, reached), column <= end).order_by(column)
        rows = connection.execute(found.limit(limit - len(batch.new))).all()
        batch.new |= {key: table.leaf(key, row) for row in rows for key in [table.key_of(row)]}
        if rows:
            batch.first_id, batch.last_id = batch.first_id or rows[0][0], rows[-1][0]
            reached = rows[-1][0]
        if len(batch.new) == limit:
            batch.done += [note.id for note in spanned if (note.last_id or int(note.row_key)) <= reached]
            partial = next((note for note in spanned if int(note.row_key) <= reached < (note.last_id or 0)), None)
            batch.partly = (partial.id, reached + 1) if partial else None
            break
        batch.done += [note.id for note in spanned]
    there = {table.key_of(row) for row in table.read(connection, perhaps_gone)}
    batch.gone, left = _holders_of_ids(
        connection, table, [key for key in dict.fromkeys(perhaps_gone) if key not in there]
    )
    waiting = {note.id for note in notes if note.row_key in left and note.last_id in (None, int(note.row_key))}
    batch.done = [note for note in batch.done if note not in waiting]
    return batch


def _spans(notes: Sequence[Note], last: int) -> list[tuple[int, int, list[Note]]]:
    """Return the ids of notes in their order; those after the last sealed one are joined where one follows the other."""
    spans: list[tuple[int, int, list[Note]]] = []
    for note in notes:
        first = int(note.row_key)
        end = first if note.last_id is None else note.last_id
        if spans and last < spans[-1][0] <= first <= spans[-1][1] + 1:
            low, high, spanned = spans.pop()
            spanned.append(note)
            spans.append((low, max(high, end), spanned))
        else:
            spans.append((first, end, [note]))
    return spans


def _holders_of_ids(
    connection: Connection, table: SealedTable, keys: Collection[str]
) -> tuple[dict[str, int], Collection[str]]:
    """Return the seal that has each of these ids, and the ids that are left after `MAX_FOLDED` seals.

    Ids that were never sealed are left out.
    """
    found: dict[str, int] = {}
    rest = sorted(map(int, keys))
    for _ in range(MAX_FOLDED):
        if not rest:
            break
        its = select(_TABLE.number, _TABLE.first_id, _TABLE.last_id).where(_TABLE.table_name == table.name)
        row = connection.execute(
            its.where(_TABLE.last_id >= rest[0], _IS_NUMBER).order_by(_TABLE.last_id).limit(1)
        ).first()
        if row is None:
            return found, ()
        held = _keys(connection, row.number)
        found |= {str(each): row.number for each in rest if each <= row.last_id and str(each) in held}
        rest = [each for each in rest if each > row.last_id]
    return found, set(map(str, rest))


def _keyed(connection: Connection, table: SealedTable, notes: Sequence[Note]) -> _Batch:
    """Collect the versions that differ from the sealed ones, and the sealed rows that were removed. Each note is one row."""
    keys = dict.fromkeys(note.row_key for note in notes if is_text(note.row_key))
    holders = _read_holders(connection, table.name, keys)
    folded = set(list(dict.fromkeys(holders[key] for key in keys if key in holders))[:MAX_FOLDED])
    keys = {key: None for key in keys if holders.get(key) is None or holders[key] in folded}
    batch = _Batch(done=[note.id for note in notes if note.row_key in keys or not is_text(note.row_key)])
    holders = {key: holder for key, holder in holders.items() if holder in folded}
    sealed = {number: _keys(connection, number) for number in set(holders.values())}
    rows = {table.key_of(row): row for row in table.read(connection, keys)}
    for key in keys:
        holder = holders.get(key)
        if key not in rows:
            if holder is not None:
                batch.gone[key] = holder
            continue
        leaf = table.leaf(key, rows[key])
        if holder is None or sealed[holder].get(key) != leaf:
            batch.new[key] = leaf
            if holder is not None:
                batch.again[key] = holder
    return batch


def _read_holders(connection: Connection, table: str, keys: Collection[str]) -> dict[str, int]:
    places = [(table, key) for key in keys]
    rows = bulk_find(connection, SEALED_ROW, ("row_key", "seal"), ("table_name", "row_key"), places)
    return {row[0]: row[1] for row in rows}


def _keys(connection: Connection, number: int) -> dict[str, bytes]:
    """Return the leaves of a seal by their keys; none if it was damaged: `store verify` reports it."""
    try:
        return keys_of(read_leaves(connection, number))
    except ValueError:
        return {}


def _write(connection: Connection, table: SealedTable, batch: _Batch, now: datetime) -> None:
    """Write the seal of a batch, and fold the leaves that it replaces."""
    head = read_head(connection)
    of_table = (
        select(_TABLE.sealed_count).where(_TABLE.table_name == table.name).order_by(_TABLE.number.desc()).limit(1)
    )
    counted = connection.execute(of_table).scalar()
    sealed_count = counted if isinstance(counted, int) else 0  # `store verify` reports a damaged one
    leaves: list[Leaf] = [*batch.new.items(), *((key, table.leaf(key, None)) for key in batch.gone)]
    root, kept = fold(leaves, len(leaves), batch.gone)
    replaced: defaultdict[int, set[str]] = defaultdict(set)
    for key, holder in (batch.again | batch.gone).items():
        replaced[holder].add(key)
    seal = Seal(
        number=head.number + 1 if head else 1,
        at=now,
        table_name=table.name,
        first_id=batch.first_id,
        last_id=batch.last_id,
        row_count=len(batch.new),
        removed_count=len(batch.gone),
        sealed_count=sealed_count + len(batch.new) - len(batch.again) - len(batch.gone),
        states={str(number): _fold_away(connection, number, keys) for number, keys in replaced.items()},
        root=root.hex(),
        previous=head.digest if head else "",
    )
    connection.execute(SEAL.insert().values(**asdict(seal), digest=seal.digest, leaves=pack(kept)))
    if not table.is_numbered:
        held = [{"table_name": table.name, "row_key": key, "seal": seal.number} for key in batch.new]
        upsert(connection, SEALED_ROW, *held)
        for some in portions(batch.gone):
            of_keys = (SEALED_ROW.c.table_name == table.name, SEALED_ROW.c.row_key.in_(some))
            connection.execute(SEALED_ROW.delete().where(*of_keys))


def _fold_away(connection: Connection, number: int, keys: Collection[str]) -> tuple[str, str]:
    """Fold leaves of an earlier seal, and return their state before and after.

    Those that were damaged stay as they are: `store verify` reports them.
    """
    its = select(_LEAVES, _TABLE.row_count + _TABLE.removed_count).where(_TABLE.number == number)
    packed, count = connection.execute(its).one()
    try:
        _, kept = fold(unpack(packed), count, keys)
    except ValueError:
        return state_of(packed), state_of(packed)
    folded = pack(kept)
    connection.execute(SEAL.update().where(_TABLE.number == number).values(leaves=folded))
    return state_of(packed), state_of(folded)
