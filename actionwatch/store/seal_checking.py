"""Compare the rows of the store with the chain of seals. `cli/store.py` calls it, even while a service runs.

It reads everything in one transaction and little memory: the chain, then the rows of each table in the order of its seals, then
the rows that change, each with the last entry of its history.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Select, func, select

from actionwatch.store.sealed_tables import SEALED, VERSIONED, SealedTable
from actionwatch.store.seals import (
    BATCH,
    CUT,
    HELD,
    KEPT,
    LEAVES,
    MAX_ID,
    READ,
    ROWS,
    Cuts,
    Head,
    Leaf,
    Seal,
    attesting,
    count_unsealed,
    newest_sealed,
    unpack,
)
from actionwatch.store.statements import has_row, reading_any_text, stream_rows
from actionwatch.store.tables import ROW_HISTORY, SEAL

_MAX_DIFFERENCES = 20  # that are named: one change of the chain can affect every row
_CHANGED = "changed: it is not what seal {} attests"
_MISSING = "missing: seal {} has it, and no later one says that it was deleted"
_ADDED = "added: actionwatch did not write it"
_RESTORED = "added: a later seal than {} says that it was deleted"
_NOT_LAST = "changed: it is not the last version in its history"
_WITHOUT_ROW = "missing: its history does not say that it was deleted"


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference: a row by its table and key, or a seal by its number."""

    table: str
    key: str
    what: str


@dataclass(frozen=True, slots=True)
class CheckedTable:
    """The number of rows of a table that are sealed, wait for a seal, and are deleted according to the seals that are kept.

    If its rows change, each counts with its last version, and it is unknown how many were deleted.
    """

    name: str
    sealed: int
    unsealed: int
    removed: int | None


@dataclass(frozen=True, slots=True)
class StoreVerification:
    """The result of the check. `differences` are the first ones of `difference_count`; with none, everything agrees."""

    tables: tuple[CheckedTable, ...]
    seal_count: int
    oldest: Head | None
    head: Head | None
    differences: tuple[Difference, ...]
    difference_count: int


@dataclass
class _Differences:
    """Collects what differs, up to a number."""

    found: list[Difference] = field(default_factory=list)
    count: int = 0

    def add(self, table: str, key: object, what: str) -> None:
        self.count += 1
        if len(self.found) < _MAX_DIFFERENCES:
            readable = str(key).encode("utf-8", "backslashreplace").decode()
            self.found.append(Difference(table, readable, what))


@dataclass
class _Chain:
    """The seals, from the newest to the oldest. `known` is the highest number of the seals that may keep rows.

    `noted` is the newest one that people can note: see `seals.read_head`.
    """

    head: Head | None = None
    noted: Head | None = None
    oldest: Head | None = None
    count: int = 0
    known: int = MAX_ID


def check(
    connection: Connection, noted: Head | None = None, on_seal: Callable[[int, int], None] = lambda *_: None
) -> StoreVerification:
    """Compare everything, within one transaction. `noted` is an earlier head, which must be part of the chain.

    `on_seal` is called after each seal whose rows were compared, with the number of these seals so far, and of all of them.
    """
    differences = _Differences()
    with reading_any_text(connection):
        chain = _check_chain(connection, noted, differences)
        total = connection.execute(select(func.count()).where(SEAL.c.kind != CUT)).scalar_one()
        done = 0
        for table in SEALED.values():
            for _ in _check_rows(connection, table, chain.known, differences):
                done += 1
                on_seal(done, total)
        tables = [_count(connection, name) for name in SEALED]
        tables += [_check_versions(connection, table, differences) for table in VERSIONED.values()]
    return StoreVerification(
        tuple(tables), chain.count, chain.oldest, chain.noted or chain.head, tuple(differences.found), differences.count
    )


def _check_chain(connection: Connection, noted: Head | None, differences: _Differences) -> _Chain:
    """Check that each seal has its digest and its leaves, and that the next one attests it."""
    chain, newer = _Chain(), None
    for row in stream_rows(connection, select(*READ, LEAVES).order_by(SEAL.c.number.desc()), HELD):
        try:
            seal = Seal.of(row)
        except ValueError:
            differences.add("seal", row.number, "damaged: it cannot be read")
            continue
        chain.oldest = Head(seal.number, row.digest, seal.at)
        chain.head = chain.head or chain.oldest
        chain.noted = chain.noted or (chain.oldest if seal.kind == ROWS else None)
        chain.count += 1
        if seal.digest != row.digest:
            differences.add("seal", seal.number, "changed: its values do not have its digest")
        if not isinstance(row.leaves, bytes) or hashlib.sha256(row.leaves).hexdigest() != seal.leaves_digest:
            differences.add("seal", seal.number, "changed: its leaves do not have its digest")
        if newer is not None and newer.number != seal.number + 1:
            differences.add("seal", newer.number - 1, f"missing, or not in its place: seal {seal.number} follows")
        elif newer is not None and newer.previous != row.digest:
            differences.add("seal", seal.number, f"changed: seal {newer.number} follows another one")
        if noted is not None and noted.number == seal.number and noted.digest != row.digest:
            differences.add("seal", seal.number, f"its digest was {noted.digest}: the chain was made again")
        newer = seal
    if newer is not None and newer.number == 1 and newer.previous:
        differences.add("seal", 1, "changed: it follows another one")
    _check_ends(connection, chain, noted, differences)
    return chain


def _check_ends(connection: Connection, chain: _Chain, noted: Head | None, differences: _Differences) -> None:
    """Check that retention may have deleted the seals before the oldest one, and that the chain contains a noted head.

    Anyone can have written a seal after the head was noted: it does not explain what is missing.
    """
    missing = chain.oldest.number - 1 if chain.oldest else 0
    kept = select(func.max(SEAL.c.through)).where(SEAL.c.kind == KEPT, SEAL.c.through <= MAX_ID)
    if missing > (connection.execute(kept).scalar() or 0):
        differences.add("seal", missing, "missing: no later seal lets it be deleted")
    if noted is None:
        return
    if chain.head is None or noted.number > chain.head.number:
        end = "there is no seal" if chain.head is None else f"the newest seal is {chain.head.number}"
        differences.add("seal", noted.number, f"missing: {end}")
    elif noted.number <= missing or missing > (
        connection.execute(kept.where(SEAL.c.number <= noted.number)).scalar() or 0
    ):
        what = f"cannot be compared: retention deleted the seals up to {missing} since; note a newer head"
        differences.add("seal", noted.number, what)
    else:
        chain.known = noted.number


def _check_rows(connection: Connection, table: SealedTable, known: int, differences: _Differences) -> Iterator[None]:
    """Compare the rows of a table with the seals that attest them. Yields after each seal."""
    cuts, bound = Cuts(connection, table.name), None
    for row in attesting(connection, table.name, known=known):
        try:
            seal, leaves = Seal.of(row), dict(unpack(row.leaves))
        except ValueError:
            continue  # the chain reports it
        if bound is not None and (seal.last_id < bound - 1 or (seal.last_id >= bound and seal.kind == ROWS)):
            differences.add("seal", seal.number, f"changed: a later one begins with the id {bound} of {table.name}")
        end = seal.last_id if bound is None else min(seal.last_id, bound - 1)
        leaves = {key: leaf for key, leaf in leaves.items() if key <= end}
        gone = cuts.between(seal.first_id, end)
        for key, found in _read(connection, table, seal.first_id, end):
            leaf = leaves.pop(key, None)
            if leaf is None:
                differences.add(table.name, key, _ADDED)
            elif leaf != found:
                differences.add(table.name, key, _CHANGED.format(seal.number))
            elif key in gone:
                differences.add(table.name, key, _RESTORED.format(seal.number))
        for key, leaf in leaves.items():
            if key not in gone:
                differences.add(table.name, key, _MISSING.format(seal.number))
            elif gone[key] != leaf:
                differences.add(table.name, key, f"{_CHANGED.format(seal.number)}, and it was deleted since")
        bound = seal.first_id
        yield
    if bound is not None and bound > 1:
        differences.add(table.name, "", f"the rows with ids below {bound} are in no seal")


def _read(connection: Connection, table: SealedTable, first: int, last: int) -> Iterator[Leaf]:
    """Yield the rows of a table from an id to another. The first seal also has the ids that no row should have."""
    after = -MAX_ID if first == 1 else first - 1
    while rows := table.read(connection, after + 1, last, BATCH):
        yield from rows
        after = rows[-1][0]


def _count(connection: Connection, name: str) -> CheckedTable:
    key = SEALED[name].key
    newest = newest_sealed(connection, name)
    sealed = connection.execute(select(func.count(key)).where(key <= newest)).scalar_one()
    of_cuts = select(func.sum(SEAL.c.row_count)).where(SEAL.c.table_name == name, SEAL.c.kind == CUT)
    removed = connection.execute(of_cuts.where(SEAL.c.row_count <= MAX_ID)).scalar() or 0
    return CheckedTable(name, sealed, count_unsealed(connection, name), int(removed))


def _check_versions(connection: Connection, table: SealedTable, differences: _Differences) -> CheckedTable:
    """Compare each row of a table that changes with the last entry of its history."""
    newest, counts = newest_sealed(connection, ROW_HISTORY.name), [0, 0]
    entries, keys_left = _versions(table.name)
    for number, digest, *values in map(tuple[Any, ...], stream_rows(connection, entries)):
        if number is None:
            differences.add(table.name, values[0], _ADDED)
        elif table.hash(values).hex() != digest:
            differences.add(table.name, values[0], _NOT_LAST)
        counts[number is not None and number <= newest] += 1
    for row in stream_rows(connection, keys_left):
        differences.add(table.name, row.row_key, _WITHOUT_ROW)
    return CheckedTable(table.name, counts[True], counts[False], None)


@functools.cache
def _versions(name: str) -> tuple[Select[Any], Select[Any]]:
    """Return the query of each row of a table with the last entry of its history, and that of the entries without a row."""
    table, history, entry = VERSIONED[name], ROW_HISTORY.c, ROW_HISTORY.alias()
    last = select(func.max(history.id)).where(history.table_name == name, history.row_key == table.key)
    joined = table.table.outerjoin(entry, entry.c.id == last.scalar_subquery())
    entries = select(entry.c.id, entry.c.digest, *table.stored).select_from(joined)
    keys_left = select(history.row_key).where(history.table_name == name, ~has_row(table.key == history.row_key))
    return entries, keys_left.distinct().order_by(history.row_key)
