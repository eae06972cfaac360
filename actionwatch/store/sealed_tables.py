"""Which rows the chain of seals attests, and how the hash of a row is computed.

The rows of a table in `SEALED` are written once, and numbered in the order of their commits, because one process at a time
writes, in PostgreSQL too. The rows of a table in `VERSIONED` change, and each version has a row in `row_history`. A column that
only records what a process does next with a row, or what another table attests, has no part in the hash.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Boolean, Column, ColumnElement, Connection, Select, Table, select
from sqlalchemy.exc import OperationalError

from actionwatch.store.column_types import as_stored
from actionwatch.store.statements import is_postgresql
from actionwatch.store.tables import (
    ALERT,
    ALERT_HISTORY,
    ALERT_RECORD,
    DELIVERY,
    RECEIPT,
    RECORD,
    ROW_HISTORY,
    RULE_HISTORY,
    RULE_VERSION,
    SILENCE,
    TOKEN,
)

_ENCODE = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), default=lambda value: {"blob": value.hex()}
).encode


@dataclass(frozen=True, slots=True)
class SealedTable:
    """A table, its columns that have a part in the hash, the key first, and the places of those with truth values."""

    table: Table
    name: str
    columns: tuple[str, ...]
    truth_values: tuple[int, ...]
    stored: tuple[ColumnElement[Any], ...]
    """The columns, which are read as the database stores them: `hash` takes a row of them."""

    @property
    def key(self) -> Column[Any]:
        """The column of the key."""
        return self.table.c[self.columns[0]]

    def rows(self) -> Select[Any]:
        """Return the query of the columns of all rows."""
        return select(*self.stored)

    def hash(self, row: Sequence[Any]) -> bytes:
        """Return the hash of a row: SHA-256 of the JSON array of the table's name and the columns, without nulls at its end.

        So a column that is added at the end later changes no hash, and the hash is the same in both databases.
        """
        values = [self.name, *row]
        for place in self.truth_values:  # numbers in SQLite
            values[place] = int(values[place]) if isinstance(values[place], bool) else values[place]
        return _hash(_ENCODE(values))

    def read(self, connection: Connection, first: int, last: int, limit: int) -> list[tuple[int, bytes]]:
        """Read the ids from `first` to `last`, at most `limit`, in their order, with the hash of each row.

        SQLite makes the JSON array in a third of the time that its driver takes to return the columns.
        """
        listed = ", ".join(self.columns)
        span = f"FROM {self.name} WHERE id BETWEEN {first} AND {last} ORDER BY id LIMIT {limit}"  # nosec
        if not is_postgresql(connection):
            with contextlib.suppress(
                OperationalError
            ):  # JSON has no bytes, which another program can store in any column
                found = connection.exec_driver_sql(f"SELECT id, json_array('{self.name}', {listed}) {span}").all()
                return [(row[0], _hash(row[1])) for row in found]
        return [(row[0], self.hash(row)) for row in connection.exec_driver_sql(f"SELECT {listed} {span}")]


def _hash(array: str) -> bytes:
    while array.endswith(",null]"):
        array = f"{array[:-6]}]"
    if "\\u0000" in array:  # PostgreSQL stores no NUL: see `copying.py`
        values = [value.replace("\0", "\ufffd") if isinstance(value, str) else value for value in json.loads(array)]
        array = _ENCODE(values)
    return hashlib.sha256(array.encode("utf-8", "surrogateescape")).digest()


def _tables(*tables: tuple[Table, tuple[str, ...]]) -> Mapping[str, SealedTable]:
    found = {}
    for table, left_out in tables:
        key = list(table.primary_key.columns)
        columns = [*key, *(each for each in table.c if each not in key and each.name not in left_out)]
        flags = [place for place, each in enumerate(columns, 1) if isinstance(each.type, Boolean)]
        name = str(table.name)
        names = tuple(str(each.name) for each in columns)
        found[name] = SealedTable(table, name, names, tuple(flags), tuple(as_stored(columns)))
    return found


SEALED = _tables(
    (RECORD, ("vanished_at",)),  # receipts attest it
    (RECEIPT, ()),
    (RULE_HISTORY, ()),
    (ALERT_HISTORY, ()),
    (ALERT_RECORD, ("occurred_at",)),  # the record attests it
    (ROW_HISTORY, ()),
)
VERSIONED = _tables(
    (ALERT, ()),
    (DELIVERY, ("due_at", "started_at", "leased_until", "leased_by")),
    (SILENCE, ()),
    (RULE_VERSION, ()),
    (TOKEN, ("last_used_at",)),
)
