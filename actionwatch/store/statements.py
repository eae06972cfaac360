"""Statements that the modules of the store share: many rows at a time, and conditions that an index serves, in any database."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from itertools import chain, count
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Insert,
    Row,
    Select,
    Table,
    and_,
    bindparam,
    literal,
    literal_column,
    select,
    tuple_,
)
from sqlalchemy.dialects import sqlite

from actionwatch.base.model import Level

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

_T = TypeVar("_T")
_ROWS_PER_STATEMENT = 250  # with two dozen columns, far below the 32,766 values that SQLite accepts
PageKey = tuple[Any, ...]
"""Where a page of a list begins: the values, of the item before it, by which the list is ordered."""
PageKind = type[datetime] | type[str] | type[Level]
"""The type of such a value."""
LAST_CHARACTER = "\U0010ffff"  # no id contains it


def portions(items: Collection[_T], most: int = _ROWS_PER_STATEMENT) -> Iterator[Sequence[_T]]:
    """Yield the items in parts of `most`, by default as many as one statement can take."""
    listed = list(items)
    return (listed[start : start + most] for start in range(0, len(listed), most))


def bulk_read(
    connection: Connection, table: Table, columns: Sequence[str], column: str, values: Collection[Any]
) -> Iterator[Sequence[Any]]:
    """Yield columns of the rows where `column` has one of the values, as the database stores them.

    Uses the driver, because SQLAlchemy spends more time on a statement with many values than SQLite.
    """
    head = f"SELECT {', '.join(columns)} FROM {table.name} WHERE {column} "  # noqa: S608  # nosec
    for some in portions(values):
        if is_postgresql(connection):
            yield from connection.exec_driver_sql(
                f"{head}= ANY ({_array(connection.dialect, table.c[column])})", (list(some),)
            )
        else:
            yield from connection.exec_driver_sql(f"{head}IN ({', '.join('?' * len(some))})", tuple(some))


def bulk_find(
    connection: Connection, table: Table, columns: Sequence[str], key: Sequence[str], values: Collection[Sequence[Any]]
) -> Iterator[Sequence[Any]]:
    """Yield columns of the rows with these keys, as the database stores them. An index must begin with the key."""
    is_it = " AND ".join(f"{table.name}.{name} = given.column{place}" for place, name in enumerate(key, 1))
    return bulk_join(connection, table, columns, key, values, is_it)


def bulk_join(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    like: Sequence[str],
    values: Collection[Sequence[Any]],
    condition: str,
) -> Iterator[Sequence[Any]]:
    """Yield columns of the rows that meet a condition with given values, once for each, as the database stores them.

    The condition is SQL about the table and about `given.column1`, `given.column2`..., which have the types of the columns
    `like`. An index must serve it.
    """
    listed = ", ".join(f"{table.name}.{name}" for name in columns)
    for some in portions(values):
        given, parameters = _given(connection, [table.c[name] for name in like], list(zip(*some, strict=True)))
        # SQLite reads the tables of a CROSS JOIN in this order.
        statement = f"SELECT {listed} FROM ({given}) AS given CROSS JOIN {table.name} WHERE {condition}"  # noqa: S608  # nosec
        yield from connection.exec_driver_sql(statement, parameters).all()  # row by row takes three times as long


def count_of_each(
    connection: Connection,
    table: Table,
    like: Sequence[str],
    values: Sequence[Sequence[Any]],
    condition: str,
    name: int,
) -> Iterator[tuple[Any, int]]:
    """Count the rows that meet a condition with given values, as in `bulk_join`, which must fit into one statement.

    Yields: the value at place `name` of each, and its count.
    """
    given, parameters = _given(connection, [table.c[each] for each in like], list(zip(*values, strict=True)))
    counted = f"(SELECT count(*) FROM {table.name} WHERE {condition})"  # noqa: S608  # nosec
    statement = f"SELECT given.column{name + 1}, {counted} FROM ({given}) AS given"  # noqa: S608  # nosec
    for row in connection.exec_driver_sql(statement, parameters):
        yield row[0], row[1]


def stream_rows(
    connection: Connection, statement: Select[Any], held: int = 1000, values: Mapping[str, Any] | None = None
) -> Iterator[Row[Any]]:
    """Yield the rows of a query, holding few of them, and close its cursor however the iteration ends."""
    with connection.execute(statement, values, execution_options={"yield_per": held}) as rows:
        yield from rows


def bulk_insert(
    connection: Connection, table: Table, columns: Mapping[str, Sequence[Any]], otherwise: str = "DO NOTHING"
) -> int:
    """Insert rows, given by column, and skip those whose key exists. Return how many are new.

    `otherwise`: what to do instead with those whose key exists, as SQL after ON CONFLICT. No two rows have one key then.

    Uses the driver, because SQLAlchemy's executemany spends five times as long on a row; and many rows per statement, because
    the driver lets other threads run during each statement, and then waits up to 5 ms for its turn.
    """
    new_count = 0
    size = len(next(iter(columns.values()), ()))
    for start in range(0, size, _ROWS_PER_STATEMENT):
        some = _not_null({name: values[start : start + _ROWS_PER_STATEMENT] for name, values in columns.items()})
        given, values = _inserted(connection, [table.c[name] for name in some], list(some.values()))
        statement = f"INSERT INTO {table.name} ({', '.join(some)}) {given} ON CONFLICT {otherwise}"  # nosec
        new_count += connection.exec_driver_sql(statement, values).rowcount
    return new_count


def bulk_update(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    only: tuple[str, str],
) -> int:
    """Set columns of rows; the first column is the key. Many rows per statement, as in `bulk_insert`.

    `only` is a column and the value that a row must have there to be changed. Return how many rows changed.
    """
    key, *changed = columns
    column, value = only
    changes = ", ".join(f"{name} = given.column{place}" for place, name in enumerate(changed, 2))
    is_chosen = f"{table.name}.{key} = given.column1 AND {table.name}.{column} = "
    is_chosen += "%s" if is_postgresql(connection) else "?"
    changed_count = 0
    for some in portions(rows):
        given, values = _given(connection, [table.c[name] for name in columns], list(zip(*some, strict=True)))
        statement = f"UPDATE {table.name} SET {changes} FROM ({given}) AS given WHERE {is_chosen}"  # noqa: S608  # nosec
        changed_count += connection.exec_driver_sql(statement, (*values, value)).rowcount
    return changed_count


def is_postgresql(connection: Connection) -> bool:
    """Return whether the database is PostgreSQL."""
    return connection.dialect.name == "postgresql"


def _not_null(columns: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
    """Leave out columns that are null in all rows, but not the first: the driver spends more time on a NULL than on a text."""
    first = next(iter(columns))
    return {name: each for name, each in columns.items() if name == first or each.count(None) < len(each)}


def _inserted(
    connection: Connection, columns: Sequence[Column[Any]], values: Sequence[Sequence[Any]]
) -> tuple[str, tuple[Any, ...]]:
    """Return `_given`, with one parameter for all rows that SQLite inserts where these have the same value.

    Its driver spends as long on a value as SQLite, and longer on a boolean or a NULL. Only in a whole statement, because SQLite
    compiles one for each set of such columns. The first column is not among them, so that a row has a value.
    """
    if is_postgresql(connection) or len(values[0]) < _ROWS_PER_STATEMENT:
        return _given(connection, columns, values)
    is_shared = [False, *(each.count(each[0]) == len(each) for each in values[1:])]
    given, own = _given(
        connection, columns, [each for each, is_one in zip(values, is_shared, strict=True) if not is_one]
    )
    places = count(1)
    chosen = ", ".join("?" if is_one else f"column{next(places)}" for is_one in is_shared)
    shared = [each[0] for each, is_one in zip(values, is_shared, strict=True) if is_one]
    # Without a condition, SQLite would take ON CONFLICT for the condition of a join.
    return f"SELECT {chosen} FROM ({given}) WHERE true", (*shared, *own)  # noqa: S608  # nosec


def _given(
    connection: Connection, columns: Sequence[Column[Any]], values: Sequence[Sequence[Any]]
) -> tuple[str, tuple[Any, ...]]:
    """Return the query of rows, given by column, for a statement of the driver, and its parameters.

    Its columns are column1, column2... PostgreSQL takes each column as an array in binary form: one parameter for all its
    values, as fast as COPY. And unlike COPY, it waits for all of them before it begins, so that a process that freezes
    meanwhile holds nobody up.
    """
    if is_postgresql(connection):
        names = ", ".join(f"column{place}" for place, _ in enumerate(columns, 1))
        arrays = ", ".join(_array(connection.dialect, column) for column in columns)
        query = f"SELECT * FROM unnest({arrays}) AS given ({names})"  # noqa: S608  # nosec
        return query, tuple(map(list, values))
    marks = f"({', '.join('?' * len(values))})"
    return f"VALUES {', '.join([marks] * len(values[0]))}", tuple(chain.from_iterable(zip(*values, strict=True)))


@functools.lru_cache(maxsize=1024)
def _array(dialect: Dialect, column: Column[Any]) -> str:
    """Return the placeholder for values of a column in a statement of PostgreSQL's driver."""
    type_ = column.type.compile(dialect).partition(" ")[0]  # without its collation
    return f"%b::{type_}[]"


def columns_of(noun: Any) -> dict[str, Any]:
    """Return the fields of a dataclass by name, for its row. `asdict` copies each value, which takes longer than the insert."""
    return {each.name: getattr(noun, each.name) for each in fields(noun)}


def upsert(connection: Connection, table: Table, *rows: Mapping[str, Any], added: tuple[str, ...] = ()) -> None:
    """Insert rows with the same columns. Where the primary key exists, replace those columns, or add to the `added` ones."""
    if rows:
        connection.execute(_upserting(is_postgresql(connection), table, tuple(rows[0]), added), rows)


@functools.cache  # building the statement costs as much as running it
def _upserting(is_postgresql: bool, table: Table, columns: tuple[str, ...], added: tuple[str, ...]) -> Insert:
    statement: sqlite.Insert | postgresql.Insert
    if is_postgresql:
        from sqlalchemy.dialects import postgresql  # only where it is used: it takes long to import

        statement = postgresql.insert(table)
    else:
        statement = sqlite.insert(table)
    statement = statement.values({name: bindparam(name) for name in columns})
    key = [column.name for column in table.primary_key]
    changed: dict[str, Any] = {name: statement.excluded[name] for name in columns if name not in key}
    changed |= {name: table.c[name] + statement.excluded[name] for name in added}
    return statement.on_conflict_do_update(index_elements=key, set_=changed)


def first_two(statement: Select[Any], column: Column[Any], beginning: str) -> Select[Any]:
    """Return the query of the first two rows of a statement whose id has a prefix: two show that it is not unique."""
    return statement.where(has_prefix(column, beginning)).order_by(column).limit(2)


def has_prefix(column: Column[Any], beginning: str) -> ColumnElement[bool]:
    """Return the condition for texts with a prefix. An index serves it; it would not serve LIKE, which ignores case."""
    return and_(column >= beginning, column < f"{beginning}{LAST_CHARACTER}")


def is_after(columns: Sequence[ColumnElement[Any]], place: PageKey | None) -> list[ColumnElement[bool]]:
    """Return the condition for rows after a place, in ascending order of columns. An index that begins with them serves it."""
    if place is None:
        return []
    values = [literal(value, column.type) for column, value in zip(columns, place, strict=True)]
    return [tuple_(*columns) > tuple_(*values)]


def without_index(column: ColumnElement[Any]) -> ColumnElement[Any]:
    """Return a column for a condition, so that SQLite does not use an index for it.

    SQLite has no statistics and would choose an index on a condition that in fact most rows meet.
    """
    return column + 0 if isinstance(column.type, BigInteger) else column.concat("")


def has_row(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return the condition that a row of another table meets conditions, which an index must serve.

    PostgreSQL answers EXISTS for many rows by reading the other table once, as a whole, also where a LIMIT ends the search
    after a few. It looks up a value for one row at a time.
    """
    return select(literal_column("1")).where(*conditions).limit(1).scalar_subquery().is_not(None)
