"""The history of rows that change: the hash of each version. Append-only.

The function that changes a row of `VERSIONED` calls `change` or `note` in the transaction of the change. So the chain of seals
attests each version, and `store verify` compares each row with its last one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Table, Update

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


def change(connection: Connection, statement: Update, values: dict[str, Any] | None = None) -> list[str]:
    """Run an UPDATE, and note the new versions. Return the keys of the rows that it changed."""
    versioned = VERSIONED[statement.entity_description["name"]]
    with reading_any_text(connection):
        rows = connection.execute(statement.returning(*versioned.stored()), values or {}).all()
    _append(connection, versioned, rows)
    return [row[0] for row in rows]


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
