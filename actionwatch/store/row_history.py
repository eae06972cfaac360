"""The history of rows that change: the hash of each version. Append-only.

The function that changes a row of `VERSIONED` calls `change` or `note` in the transaction of the change. So the chain of seals
attests each version, and `store verify` compares each row with its last one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import Connection, Table, Update
from sqlalchemy.sql.dml import ReturningUpdate

from actionwatch.store import seals
from actionwatch.store.sealed_tables import VERSIONED, SealedTable
from actionwatch.store.statements import bulk_insert, bulk_read, portions, reading_any_text
from actionwatch.store.tables import ROW_HISTORY


def note(connection: Connection, table: Table, keys: Collection[str]) -> None:
    """Note the version that these rows have now; a key without a row is ignored."""
    versioned = VERSIONED[str(table.name)]
    with reading_any_text(connection):
        rows = list(bulk_read(connection, table, versioned.columns, versioned.columns[0], keys))
    _append(connection, versioned, rows)


@dataclass(frozen=True, slots=True)
class Change:
    """An UPDATE that returns the rows. One that is run often is built once, because that takes longer than to run it."""

    versioned: SealedTable
    statement: ReturningUpdate[Any]

    @classmethod
    def of(cls, statement: Update) -> Self:
        """Build it."""
        versioned = VERSIONED[statement.entity_description["name"]]
        return cls(versioned, statement.returning(*versioned.stored))

    def run(self, connection: Connection, values: Mapping[str, Any]) -> list[str]:
        """Run it, and note the new versions. Return the keys of the rows that it changed."""
        with reading_any_text(connection):
            rows = connection.execute(self.statement, values).all()
        _append(connection, self.versioned, rows)
        return [row[0] for row in rows]


def change(connection: Connection, statement: Update) -> list[str]:
    """Run an UPDATE, and note the new versions. Return the keys of the rows that it changed."""
    return Change.of(statement).run(connection, {})


def delete(connection: Connection, table: Table, keys: Collection[str]) -> int:
    """Delete rows together with their history. Return how many."""
    key = VERSIONED[str(table.name)].key
    count = 0
    for some in portions(keys):
        count += connection.execute(table.delete().where(key.in_(some))).rowcount
        seals.delete(connection, ROW_HISTORY, ROW_HISTORY.c.table_name == table.name, ROW_HISTORY.c.row_key.in_(some))
    return count


def _append(connection: Connection, versioned: SealedTable, rows: Sequence[Sequence[Any]]) -> None:
    columns = {
        "table_name": [versioned.name] * len(rows),
        "row_key": [row[0] for row in rows],
        "digest": [versioned.hash(row).hex() for row in rows],
    }
    bulk_insert(connection, ROW_HISTORY, columns)
