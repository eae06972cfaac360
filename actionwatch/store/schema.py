"""Compare a store with what this version creates, because a revision is only a promise: unreleased versions share one.

What another program added is harmless (a table, a view, an index for its queries, the log of a tool that rebuilds a table), or
changes what actionwatch writes: a unique index, a trigger, a rule. Those are refused, because a trigger can hold back each
delivery and leave no trace.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from actionwatch.store.tables import METADATA

Shape = tuple[object, ...]
OWN_TABLES = (*METADATA.tables, "alembic_version")
LOG_TRIGGER = "log trigger "
"""Begins the name of a trigger that only notes elsewhere what is written: if it fails, the write fails, and says so."""
_DROP = "it can change or hold back what actionwatch writes: find out who added it, and drop it"


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference, and its remedy; None: the store must be replaced."""

    what: str
    remedy: str | None = None


def read_tables(connection: Connection) -> list[str]:
    """Return the names of all tables."""
    return connection.dialect.get_table_names(connection)


def find_difference(connection: Connection, found: Mapping[str, Shape], *, is_newer: bool) -> Difference | None:
    """Return the first thing that a store should have and does not, or has and should not.

    `found` are the columns, indexes, triggers and rules that it has. A newer schema may have further columns, and other
    indexes: only what a unique one refuses changes a result.
    """
    expected = dict(_expected(connection))
    for name, shape in expected.items():
        if is_newer and name.startswith("index ") and not shape[0]:
            continue
        if name not in found:
            return Difference(f"the {name} is missing")
        if found[name] != shape:
            return Difference(f"the {name} differs")
    if is_newer:
        return None
    for name, shape in found.items():
        if name in expected:
            continue
        if name.startswith("column ") and _table_of(name) in METADATA.tables:
            return Difference(f"the {name} is unknown")
        is_harmless = name.startswith(("column ", LOG_TRIGGER)) or (
            name.startswith("index ") and not is_restricting(shape)
        )
        if not is_harmless:
            return Difference(f"the {name} is not one that actionwatch creates", _DROP)
    return None


def find_additions(connection: Connection, found: Mapping[str, Shape], tables: Collection[str]) -> list[str]:
    """Name the tables, views, indexes and triggers of other programs that change nothing of what actionwatch writes.

    `tables` are those that a kind of database needs beside the store's.
    """
    own = {*OWN_TABLES, *tables}
    expected = dict(_expected(connection))
    return [
        *(f"table {name}" for name in read_tables(connection) if name not in own),
        *(f"view {name}" for name in connection.dialect.get_view_names(connection)),
        *(name for name in found if name.startswith(("index ", LOG_TRIGGER)) and name not in expected),
    ]


def is_restricting(index: Shape) -> bool:
    """Return whether an index refuses rows of a table of ours that our own indexes accept.

    A copy of one of ours does not: REINDEX CONCURRENTLY and pg_repack build one, and leave it if they are interrupted.
    """
    is_unique, columns, name = index
    table = METADATA.tables.get(str(name))
    if not is_unique or table is None:
        return bool(is_unique) and name in OWN_TABLES
    own = [index.columns for index in table.indexes if index.unique] + [table.primary_key.columns]
    return columns not in [[column.name for column in each] for each in own]


def _expected(connection: Connection) -> Iterator[tuple[str, Shape]]:
    for table in METADATA.tables.values():
        for column in table.columns:
            type_ = column.type.compile(connection.dialect)
            yield f"column {table.name}.{column.name}", (type_, column.nullable, column.primary_key)
        for index in table.indexes:
            yield f"index {index.name}", (bool(index.unique), [column.name for column in index.columns], table.name)


def _table_of(column: str) -> str:
    return column.removeprefix("column ").partition(".")[0]
