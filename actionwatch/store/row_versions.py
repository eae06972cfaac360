"""The versions of alerts and silences, numbered in the order of their commits: streams read which of them have changed.

The function that changes such a row calls `note` in the transaction of the change.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, Table

from actionwatch.store.statements import bulk_insert, portions
from actionwatch.store.tables import ROW_VERSION


def note(connection: Connection, table: Table, keys: Collection[str]) -> None:
    """Note that these rows have a new version."""
    columns = {"table_name": [str(table.name)] * len(keys), "row_key": list(keys)}
    bulk_insert(connection, ROW_VERSION, columns)


def forget(connection: Connection, table: Table, keys: Collection[str]) -> None:
    """Forget the versions of rows that are deleted."""
    for some in portions(keys):
        its = (ROW_VERSION.c.table_name == table.name, ROW_VERSION.c.row_key.in_(some))
        connection.execute(ROW_VERSION.delete().where(*its))
