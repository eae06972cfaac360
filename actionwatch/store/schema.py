"""Compare the tables of a store with `tables.py`, because a revision is only a promise: unreleased versions share one."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection

from actionwatch.store.tables import METADATA

_COLUMNS = """
SELECT tables.name, columns.name, columns.type, columns."notnull", columns.pk
FROM sqlite_master AS tables JOIN pragma_table_info(tables.name) AS columns WHERE tables.type = 'table'
"""
_INDEXES = """
SELECT indexes.name, indexes."unique", columns.name
FROM sqlite_master AS tables JOIN pragma_index_list(tables.name) AS indexes JOIN pragma_index_info(indexes.name) AS columns
WHERE tables.type = 'table' ORDER BY indexes.name, columns.seqno
"""


def read_tables(connection: Connection) -> list[str]:
    """Return the names of all tables."""
    return connection.dialect.get_table_names(connection)


def find_difference(connection: Connection) -> str | None:
    """Return the first column or index that a store should have and does not, or has and should not.

    Further tables and indexes are allowed: no statement of ours depends on them.
    """
    expected, found = dict(_expected(connection)), dict(_found(connection))
    for name, shape in expected.items():
        if name not in found:
            return f"the {name} is missing"
        if found[name] != shape:
            return f"the {name} differs"
    unknown = (name for name in found if name not in expected and name.startswith("column "))
    return next((f"the {name} is unknown" for name in unknown if _table_of(name) in METADATA.tables), None)


def _expected(connection: Connection) -> Iterator[tuple[str, tuple[object, ...]]]:
    for table in METADATA.tables.values():
        for column in table.columns:
            type_ = column.type.compile(connection.dialect)
            yield f"column {table.name}.{column.name}", (type_, column.nullable, column.primary_key)
        for index in table.indexes:
            yield f"index {index.name}", (bool(index.unique), [column.name for column in index.columns])


def _found(connection: Connection) -> Iterator[tuple[str, tuple[object, ...]]]:
    for table, name, type_, is_required, place in connection.exec_driver_sql(_COLUMNS):
        yield f"column {table}.{name}", (type_, not is_required, place > 0)
    columns: dict[tuple[str, bool], list[str]] = {}
    for name, is_unique, column in connection.exec_driver_sql(_INDEXES):
        columns.setdefault((name, bool(is_unique)), []).append(column)
    for (name, is_unique), names in columns.items():
        yield f"index {name}", (is_unique, names)


def _table_of(column: str) -> str:
    return column.removeprefix("column ").partition(".")[0]
