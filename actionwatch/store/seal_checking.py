"""Compare the rows of the store with the chain of seals. `cli/store.py` calls it, even while a service runs.

It reads the seals from the newest to the oldest, each with its rows, in one transaction and little memory.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from actionwatch.base.plurals import counted
from actionwatch.store import unsealed
from actionwatch.store.seal_tree import fold, keys_of, unpack
from actionwatch.store.sealed_tables import SEALED, SealedTable
from actionwatch.store.seals import CUT, READ, Head, Seal, read_leaves, read_packed, state_of
from actionwatch.store.statements import reading_any_text, stream_rows
from actionwatch.store.tables import SEAL, SEALED_ROW

_MAX_DIFFERENCES = 20  # that are named: one change of the chain can affect every row
_SUSPECTS = 250  # rows that are looked up together
_CHANGED = "changed: it is not what seal {} attests"
_MISSING = "missing: seal {} has it, and no later one says that it was removed"
_ADDED = "added: actionwatch did not write it"


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs: a row by its table and key, or a seal by its number."""

    table: str
    key: str
    what: str


@dataclass(frozen=True, slots=True)
class CheckedTable:
    """How many rows of a table are sealed, wait for the next seal, and are removed according to the seals that are kept."""

    name: str
    sealed: int
    unsealed: int
    removed: int


@dataclass(frozen=True, slots=True)
class StoreVerification:
    """What the check found. `differences` are the first ones of `difference_count`; with none, everything agrees."""

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
class _Progress:
    """What the seals of a table state, from the newest to the one that was read last."""

    attested_count: int = 0
    """How many rows are sealed, according to the newest seal."""
    leaf_count: int = 0
    removed_count: int = 0
    newest_id: int = 0
    lowest_id: int | None = None
    """The lowest id of the seals that were read."""
    checked_from: int | None = None
    """The lowest id of the rows that were compared."""


class _Suspects:
    """Rows that differ. They are no differences if actionwatch has noted a write that is not sealed yet."""

    def __init__(self, connection: Connection, table: SealedTable, differences: _Differences) -> None:
        self._connection, self._table, self._differences = connection, table, differences
        self._found: list[tuple[str, str]] = []

    def add(self, key: str, what: str) -> None:
        self._found.append((key, what))
        if len(self._found) >= _SUSPECTS:
            self.settle()

    def settle(self) -> None:
        """Report the rows that no note explains."""
        noted = unsealed.find(self._connection, self._table.name, [key for key, _ in self._found])
        for key, what in self._found:
            if key not in noted:
                self._differences.add(self._table.name, key, what)
        self._found.clear()


class _Check:
    """One check. `tables` has the tables that have seals."""

    def __init__(self, connection: Connection, noted: Head | None) -> None:
        self.connection = connection
        self.noted = noted
        self.differences = _Differences()
        self.tables: dict[str, _Progress] = {}
        self.newer: Seal | None = None
        self._reach = self._attested_reach = 0
        """Up to which number the newest cut allows seals to be deleted, and the newest cut that the noted head attests."""
        self._stated: dict[int, str] = {}
        """The digests of the seals that are kept, according to the cuts that the noted head attests."""
        self._kept: set[int] = set()
        """The seals that are kept according to the newest cut, and that are still to be read."""
        self._is_too_old = False
        self._states: dict[int, tuple[Seal, str]] = {}
        """The state of the leaves of a seal that is still to be read, and the newest seal that states it."""
        self._earlier: dict[int, str] = {}
        """The state of these leaves before that."""

    def take(self, seal: Seal, digest: str) -> None:
        """Check the next older seal, and its rows."""
        if seal.digest != digest:
            self.differences.add("seal", seal.number, "changed: its values do not have its digest")
        self._check_place(seal, digest)
        if self.noted is not None and self.noted.number == seal.number and self.noted.digest != digest:
            self.differences.add("seal", seal.number, f"its digest was {self.noted.digest}: the chain was made again")
        self.newer = seal
        if seal.table_name == CUT:
            self._take_cut(seal)
        elif seal.table_name in SEALED:
            self._check_rows(seal)
        self._take_states(seal)

    def _check_place(self, seal: Seal, digest: str) -> None:
        """Check that a newer seal attests this one: the next one, or a cut if those in between were deleted."""
        newer = self.newer
        stated = self._stated.get(seal.number)
        is_next = newer is None or newer.number == seal.number + 1
        if newer is not None and not is_next:
            self._check_gap(newer.number - 1, f"seal {seal.number} follows")
        elif newer is not None and newer.previous != digest:
            self.differences.add("seal", seal.number, f"changed: seal {newer.number} follows another one")
        if seal.number == 1 and seal.previous:
            self.differences.add("seal", 1, "changed: it follows another one")
        if stated != digest and (stated or (not is_next and seal.number <= self._attested_reach)):
            self.differences.add("seal", seal.number, "changed: no later seal states that it stays")
        self._kept.discard(seal.number)

    def _check_gap(self, number: int, what: str) -> None:
        """Check that a cut allows seals up to a number to be deleted; below the noted head, a cut that the head attests."""
        if number > self._reach:
            self.differences.add("seal", number, f"missing, or not in its place: {what}")
        elif self.noted is not None and self._attested_reach < number <= self.noted.number and not self._is_too_old:
            self._is_too_old = True
            what = f"cannot be compared with the seals up to {number}: retention deleted some since; note a newer head"
            self.differences.add("seal", self.noted.number, what)

    def _take_cut(self, seal: Seal) -> None:
        stated = {int(key): digest for key, (digest, _) in seal.states.items()}
        reach = seal.last_id or 0
        if not self._reach:
            self._reach, self._kept = reach, set(stated)
        if self.noted is not None and seal.number > self.noted.number:
            return  # anyone can have written it after the head was noted
        self._attested_reach = max(self._attested_reach, reach)
        for number in stated.keys() & self._stated.keys():
            if stated[number] != self._stated[number]:
                self.differences.add("seal", number, f"changed: seal {seal.number} states that another one stays")
        self._stated |= stated

    def check_oldest(self) -> None:
        """Check that no seal is missing before the oldest one, and that the seals that a cut keeps exist."""
        if self.newer is not None and self.newer.number > 1:
            self._check_gap(self.newer.number - 1, f"seal {self.newer.number} is the oldest one")
        for number in sorted(self._kept, reverse=True):
            self.differences.add("seal", number, "missing: a later seal states that it stays")

    def _take_states(self, seal: Seal) -> None:
        for key, (before, after) in seal.states.items():
            number = int(key)
            before = after if seal.table_name == CUT else before
            # Seals before the cut that folded leaves may have been deleted. The cut has the newest state.
            if seal.number > self._reach and self._earlier.get(number, after) != after:
                self.differences.add(
                    "seal", number, f"changed: seal {seal.number} left other leaves than a later one found"
                )
            self._earlier[number] = before
            self._states.setdefault(number, (seal, after))

    def _check_rows(self, seal: Seal) -> None:
        table = SEALED[seal.table_name]
        progress = self.tables.setdefault(table.name, _Progress(seal.sealed_count))
        progress.removed_count += seal.removed_count
        held: dict[str, bytes] = {}
        packed = read_packed(self.connection, seal.number)
        try:
            leaves = unpack(packed)
            held = keys_of(leaves)
            if leaves and fold(leaves, seal.row_count + seal.removed_count)[0].hex() != seal.root:
                self.differences.add("seal", seal.number, "changed: its leaves do not have its root")
        except ValueError:
            self.differences.add("seal", seal.number, "damaged: its leaves cannot be read")
        self._earlier.pop(seal.number, None)
        by, state = self._states.pop(seal.number, (None, ""))
        if by is not None and state_of(packed) != state:
            self.differences.add("seal", seal.number, f"changed: its leaves are not those that seal {by.number} left")
        elif by is None and len(held) != seal.row_count:
            what = f"changed: it has the leaves of {counted(len(held), 'row')}, {seal.row_count} are expected"
            self.differences.add("seal", seal.number, what)
        progress.leaf_count += len(held)
        if table.is_numbered:
            self._check_ids(table, seal, progress, held)
        elif held:
            self._compare(table, seal, held, table.read(self.connection, held))

    def _check_ids(self, table: SealedTable, seal: Seal, progress: _Progress, held: dict[str, bytes]) -> None:
        """Compare the rows from the first id of a seal to those that were compared before."""
        if seal.first_id is None or seal.last_id is None:
            return
        progress.newest_id = progress.newest_id or seal.last_id
        if progress.lowest_id is not None and seal.last_id >= progress.lowest_id:
            self.differences.add(
                "seal", seal.number, f"changed: a later seal has ids up to {seal.last_id} of {table.name} too"
            )
        progress.lowest_id = seal.first_id
        if held:
            column = table.table.c.id
            end = progress.newest_id + 1 if progress.checked_from is None else progress.checked_from
            rows = table.rows().where(column >= seal.first_id, column < end).order_by(column)
            self._compare(table, seal, held, stream_rows(self.connection, rows))
            progress.checked_from = seal.first_id

    def _compare(self, table: SealedTable, seal: Seal, held: dict[str, bytes], rows: Iterator[Sequence[Any]]) -> None:
        """Compare rows with the leaves of a seal. actionwatch changes no numbered row, so a note does not excuse one."""
        suspects = _Suspects(self.connection, table, self.differences)
        for row in rows:
            key = table.key_of(row)
            leaf = held.pop(key, None)
            if leaf == table.leaf(key, row):
                continue
            what = _ADDED if leaf is None else _CHANGED.format(seal.number)
            if table.is_numbered:
                self.differences.add(table.name, key, what)
            else:
                suspects.add(key, what)
        for key in held:
            suspects.add(key, _MISSING.format(seal.number))
        suspects.settle()

    def check_rest(self) -> None:
        """Check the rows that are in no seal, and the number of rows in the seals."""
        for name, table in SEALED.items():
            progress = self.tables.get(name, _Progress())
            if table.is_numbered:
                self._check_unsealed_ids(table, progress)
            else:
                self._check_unsealed_keys(table, progress)
            if progress.leaf_count != progress.attested_count:
                attested = counted(progress.attested_count, "row")
                self.differences.add(
                    name, "", f"{attested} are sealed, the seals that are there have {progress.leaf_count}"
                )

    def _check_unsealed_ids(self, table: SealedTable, progress: _Progress) -> None:
        spans = unsealed.read_spans(self.connection, table.name)
        column = table.table.c.id
        lowest = progress.newest_id + 1 if progress.checked_from is None else progress.checked_from
        place = 0
        for key in self._ids(table, column < lowest):
            self.differences.add(table.name, key, _ADDED)
        for key in self._ids(table, column > progress.newest_id):
            while place < len(spans) and spans[place][1] < key:
                place += 1
            if place == len(spans) or key < spans[place][0]:
                self.differences.add(table.name, key, _ADDED)

    def _ids(self, table: SealedTable, condition: ColumnElement[bool]) -> Iterator[int]:
        column = table.table.c.id
        return (row[0] for row in stream_rows(self.connection, select(column).where(condition).order_by(column)))

    def _check_unsealed_keys(self, table: SealedTable, progress: _Progress) -> None:
        suspects = _Suspects(self.connection, table, self.differences)
        key = table.key_in(table.name)
        is_listed = f"SELECT 1 FROM sealed_row WHERE table_name = '{table.name}' AND row_key = {key}"  # noqa: S608  # nosec
        statement = f"SELECT {key} FROM {table.name} WHERE NOT EXISTS ({is_listed})"  # noqa: S608  # nosec
        with self.connection.exec_driver_sql(statement, execution_options={"yield_per": 1000}) as rows:
            for row in rows:
                suspects.add(row[0], _ADDED)
        suspects.settle()
        listed = select(SEALED_ROW.c.row_key, SEALED_ROW.c.seal).where(SEALED_ROW.c.table_name == table.name)
        count = self.connection.execute(select(func.count()).select_from(listed.subquery())).scalar_one()
        if count != progress.leaf_count:
            for row in stream_rows(self.connection, listed):
                if row.row_key not in self._keys(row.seal):
                    self.differences.add(table.name, row.row_key, f"{_ADDED}: seal {row.seal} does not have it")

    @functools.lru_cache(maxsize=64)  # noqa: B019  # one check ends with the process
    def _keys(self, number: int) -> dict[str, bytes]:
        try:
            return keys_of(read_leaves(self.connection, number))
        except ValueError:
            return {}


def check(
    connection: Connection, noted: Head | None = None, on_seal: Callable[[int, int], None] = lambda *_: None
) -> StoreVerification:
    """Compare everything, within one transaction. `noted` is an earlier head, which must be part of the chain.

    `on_seal` is called after each seal with the number of seals read so far, and of all seals.
    """
    with reading_any_text(connection):
        return _check(connection, noted, on_seal)


def _check(connection: Connection, noted: Head | None, on_seal: Callable[[int, int], None]) -> StoreVerification:
    found = _Check(connection, noted)
    total = connection.execute(select(func.count()).select_from(SEAL)).scalar_one()
    oldest = head = None
    count = 0
    for row in stream_rows(connection, select(*READ).order_by(SEAL.c.number.desc())):
        digest = row.digest
        try:
            seal = Seal.of(row)
        except ValueError:
            found.differences.add("seal", row.number, "damaged: it cannot be read")
            continue
        oldest = Head(seal.number, digest, seal.at)
        head = head or oldest
        found.take(seal, digest)
        count += 1
        on_seal(count, total)
    found.check_oldest()
    found.check_rest()
    if noted is not None:
        _check_noted(noted, oldest, head, found.differences)
    waiting = unsealed.count(connection)
    tables = []
    for name in SEALED:
        progress = found.tables.get(name, _Progress())
        tables.append(CheckedTable(name, progress.leaf_count, waiting.get(name, 0), progress.removed_count))
    return StoreVerification(
        tuple(tables), count, oldest, head, tuple(found.differences.found), found.differences.count
    )


def _check_noted(noted: Head, oldest: Head | None, head: Head | None, differences: _Differences) -> None:
    """Check that the chain contains a noted head."""
    if head is None or noted.number > head.number:
        end = "there is no seal" if head is None else f"the newest seal is {head.number}"
        differences.add("seal", noted.number, f"missing: {end}")
    elif oldest is not None and noted.number < oldest.number:
        what = f"cannot be compared: the oldest seal that retention keeps is {oldest.number}; note a newer head"
        differences.add("seal", noted.number, what)
