"""Which rows the seals attest, and how the hash of a row is computed.

Rows of a numbered table never change: ids only grow, and only retention deletes. In the other tables, each version of a row is
sealed. A column that only records what a process does next with a row, or what another table attests, is not sealed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Connection, Select, Table, select

from actionwatch.store.column_types import as_stored
from actionwatch.store.seal_tree import leaf_hash
from actionwatch.store.statements import bulk_find
from actionwatch.store.tables import (
    ALERT,
    ALERT_HISTORY,
    ALERT_RECORD,
    DELIVERY,
    RECEIPT,
    RECORD,
    RULE_HISTORY,
    RULE_VERSION,
    SILENCE,
    TOKEN,
)

_NUL, _REPLACED = "\0", "\ufffd"
MAX_ID = 2**63 - 1
NUMBER = re.compile("[0-9]{1,18}")  # an id, or the number of a seal, as a text
_SURROGATE = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True, slots=True)
class SealedTable:
    """A table whose rows are sealed, its name, the sealed columns, and those of the key."""

    table: Table
    name: str
    names: tuple[str, ...]
    key: tuple[str, ...]
    is_numbered: bool

    def rows(self) -> Select[Any]:
        """Return the query of the sealed columns of all rows."""
        return select(*as_stored(self.table.c[name] for name in self.names))

    def key_of(self, row: Sequence[Any]) -> str:
        """Return the key of a row of `names`, as seals name it: the columns of the key come first."""
        return " ".join(map(str, row[: len(self.key)]))

    def key_in(self, row: str) -> str:
        """Return the SQL expression for the key of a row with this name."""
        return " || ' ' || ".join(f"{row}.{name}" for name in self.key)

    def read(self, connection: Connection, keys: Collection[str]) -> Iterator[Sequence[Any]]:
        """Yield the sealed columns of the rows with these keys. A key that no row can have is ignored."""
        places = [place for place in map(self._place, keys) if place is not None]
        return bulk_find(connection, self.table, self.names, self.key, places)

    def leaf(self, key: str, row: Sequence[Any] | None) -> bytes:
        """Return the hash of a row, or of its absence.

        It is the hash of the JSON [table, key, {column: value}] without nulls, so that a column that is added later changes no
        hash. Booleans are numbers in SQLite, and PostgreSQL stores no NUL (see `copying.py`), so the hash is the same in both.
        In SQLite, another program can store bytes in a text column.
        """
        values = None
        if row is not None:
            values = {
                name: int(value) if value is True or value is False else value
                for name, value in zip(self.names, row, strict=True)
                if value is not None
            }
            if any(isinstance(value, bytes) for value in row):
                values = {name: _without_bytes(value) for name, value in values.items()}
        try:
            content = msgspec.json.encode((self.name, key, values))
        except UnicodeEncodeError:
            written = {name: _without_bytes(_as_bytes(value)) for name, value in (values or {}).items()}
            content = msgspec.json.encode((self.name, _as_bytes(key).hex(), written))
        if values is not None and b"\\u0000" in content:
            values = {
                name: value.replace(_NUL, _REPLACED) if isinstance(value, str) else value
                for name, value in values.items()
            }
            content = msgspec.json.encode((self.name, key, values))
        return leaf_hash(content)

    def _place(self, key: str) -> tuple[Any, ...] | None:
        if not is_text(key):
            return None
        parts = key.rsplit(" ", len(self.key) - 1)
        is_number = [isinstance(self.table.c[name].type, BigInteger) for name in self.key]
        try:
            place = tuple(int(part) if number else part for part, number in zip(parts, is_number, strict=True))
        except ValueError:
            return None
        return None if any(isinstance(part, int) and abs(part) > MAX_ID for part in place) else place


def is_text(value: str) -> bool:
    """Return whether a value of `reading_any_text` is valid text: another program can store any bytes as text in SQLite."""
    return value.isascii() or not _SURROGATE.search(value)


def _as_bytes(value: Any) -> Any:
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


def _without_bytes(value: Any) -> Any:
    """Return a value for bytes that differs from their base64 text, as which JSON would encode them."""
    return {"blob": value.hex()} if isinstance(value, bytes) else value


def _sealed(table: Table, *left_out: str, is_numbered: bool = False) -> SealedTable:
    key = tuple(str(column.name) for column in table.primary_key.columns)
    others = (str(column.name) for column in table.c if column.name not in (*key, *left_out))
    return SealedTable(table, str(table.name), (*key, *others), key, is_numbered)


SEALED: Mapping[str, SealedTable] = {
    sealed.name: sealed
    for sealed in (
        _sealed(RECORD, "vanished_at", is_numbered=True),  # receipts attest which records had vanished
        _sealed(RECEIPT, is_numbered=True),
        _sealed(RULE_HISTORY, is_numbered=True),
        _sealed(ALERT_HISTORY, is_numbered=True),
        _sealed(ALERT),
        _sealed(ALERT_RECORD, "occurred_at"),  # the record attests it
        _sealed(DELIVERY, "due_at", "started_at", "leased_until", "leased_by"),
        _sealed(SILENCE),
        _sealed(RULE_VERSION),
        _sealed(TOKEN, "last_used_at"),
    )
}
