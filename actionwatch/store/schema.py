"""Compare the tables of a store with `tables.py`, because a revision is only a promise: unreleased versions share one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sqlalchemy import Connection

from actionwatch.store.tables import METADATA


def read_tables(connection: Connection) -> list[str]:
    """Return the names of all tables."""
    return connection.dialect.get_table_names(connection)


def find_difference(connection: Connection, found: Mapping[str, tuple[object, ...]], *, may_add: bool) -> str | None:
    """Return the first column or index that a store should have and does not, or has and should not. `found` are those it has.

    Further tables and indexes are allowed: no statement of ours depends on them. Further columns of our tables are allowed if
    `may_add`, for a newer schema, which may have other indexes too: only what a unique one refuses changes a result.
    """
    expected = dict(_expected(connection))
    for name, shape in expected.items():
        if may_add and name.startswith("index ") and not shape[0]:
            continue
        if name not in found:
            return f"the {name} is missing"
        if found[name] != shape:
            return f"the {name} differs"
    if may_add:
        return None
    unknown = (name for name in found if name not in expected and name.startswith("column "))
    return next((f"the {name} is unknown" for name in unknown if _table_of(name) in METADATA.tables), None)


def _expected(connection: Connection) -> Iterator[tuple[str, tuple[object, ...]]]:
    for table in METADATA.tables.values():
        for column in table.columns:
            type_ = column.type.compile(connection.dialect)
            yield f"column {table.name}.{column.name}", (type_, column.nullable, column.primary_key)
        for index in table.indexes:
            yield f"index {index.name}", (bool(index.unique), [column.name for column in index.columns])


def _table_of(column: str) -> str:
    return column.removeprefix("column ").partition(".")[0]
