"""Copy a store from a SQLite file to PostgreSQL: in parts, each of which commits with its progress, and compared at the end.

Until the end the target has a revision that no version uses, so that no service starts on a part of a store. A copy that was
killed continues after the last part; parts follow the primary keys, so that none is copied twice. `cli/store.py` calls it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Table

from actionwatch.base.errors import StoreError
from actionwatch.store.database import Database, StoreReader
from actionwatch.store.ownership import owning
from actionwatch.store.revision import SCHEMA_VERSION, UNFINISHED, read_revision
from actionwatch.store.sqlite import path_of
from actionwatch.store.tables import METADATA

PART_ROWS = 10_000  # takes a fraction of a second, so that little is repeated after a kill
_CREATE = "CREATE TABLE copy_progress (origin text NOT NULL, name text PRIMARY KEY, after text)"
_BEGIN = "INSERT INTO copy_progress VALUES (%s, %s, NULL)"
_ORIGINS = "SELECT DISTINCT origin FROM copy_progress"
_AFTER = "SELECT after FROM copy_progress WHERE name = %s"
_MOVE = "UPDATE copy_progress SET after = %s WHERE name = %s"
_CONTINUE_IDS = "SELECT setval(pg_get_serial_sequence(%s, 'id'), %s)"


class CopiedTable(NamedTuple):
    """A table whose rows are the same in both stores."""

    name: str
    row_count: int
    digest: str
    """SHA-256 of the rows in the order of their keys."""


def copy_store(origin: str, target: str, on_rows: Callable[[int, int], None]) -> list[CopiedTable]:
    """Copy the store at a URL of SQLite into an empty database at a URL of PostgreSQL, or continue such a copy.

    `on_rows` is called after each part with the number of rows that are copied, and of those of the whole store.
    Raises: StoreBusy, when a service runs on the origin; StoreMissing, SchemaMismatch; StoreError, when the target has other
    data or a service, or differs at the end because the origin changed meanwhile.
    """
    path = path_of(origin)
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(contextlib.closing(StoreReader.open(origin)))
        stack.enter_context(owning(path))
        source = stack.enter_context(reader.read())
        if read_revision(source) != SCHEMA_VERSION:
            raise StoreError(
                f"the store {path} has a newer schema than {SCHEMA_VERSION}: copy it with the newer version"
            )
        database = stack.enter_context(contextlib.closing(Database(target)))
        _begin(database, str(path))
        _copy_tables(source, database, on_rows)
        copied = _compare(source, database, str(path))
        _finish(source, database)
    return copied


def _begin(database: Database, origin: str) -> None:
    """Make the target an unfinished copy of `origin`. Raises: StoreError, when it is anything else than empty."""
    with database.read() as connection:
        is_continued = read_revision(connection) == UNFINISHED
    if not is_continued:
        database.set_up()
    with database.write() as connection:
        _refuse_service(database)
        if is_continued:
            begun = connection.exec_driver_sql(_ORIGINS).scalars().all()
            if begun != [origin]:
                raise StoreError(
                    f"{database.name} has an unfinished copy of {', '.join(begun)}: continue that one, or name an "
                    "empty database"
                )
            return
        for name in METADATA.tables:
            if connection.exec_driver_sql(f"SELECT 1 FROM {name} LIMIT 1").first():  # noqa: S608  # nosec
                raise StoreError(
                    f"{database.name} has a store already (the table {name} has rows), which is not overwritten: "
                    "name an empty database"
                )
        connection.exec_driver_sql(_CREATE)
        connection.exec_driver_sql(_BEGIN, [(origin, name) for name in METADATA.tables])
        _set_revision(connection, UNFINISHED)


def _refuse_service(database: Database) -> None:
    if database.is_owned():
        raise StoreError(f"a service runs on {database.name}: stop it, and name an empty database")


def _copy_tables(source: Connection, database: Database, on_rows: Callable[[int, int], None]) -> None:
    """Copy the rows that are missing. `source` is one transaction, which sees one state."""
    total = _count(source)
    with database.read() as connection:
        done = _count(connection)
    for table in METADATA.tables.values():
        while copied := _copy_part(source, database, table):
            done += copied
            on_rows(done, total)


def _count(connection: Connection) -> int:
    """Return how many rows all tables have."""
    counts = (f"(SELECT count(*) FROM {name})" for name in METADATA.tables)  # noqa: S608  # nosec
    found: int = connection.exec_driver_sql(f"SELECT {' + '.join(counts)}").scalar() or 0
    return found


def _copy_part(source: Connection, database: Database, table: Table) -> int:
    """Copy the next rows of a table together with the progress. Return how many; 0 at its end."""
    from actionwatch.store.postgresql import copy_rows

    count = 0
    last: Sequence[Any] = ()
    with database.write() as connection:
        _refuse_service(database)
        after = connection.exec_driver_sql(_AFTER, (table.name,)).scalar()

        def rows() -> Iterator[Sequence[Any]]:
            nonlocal count, last
            for key, row in _next_rows(source, table, json.loads(after) if after else ()):
                count, last = count + 1, key
                yield [_storable(value) for value in row]

        copy_rows(connection, table.name, list(table.c.keys()), rows())
        if count:
            connection.exec_driver_sql(_MOVE, (json.dumps(last), table.name))
    return count


def _next_rows(source: Connection, table: Table, after: Sequence[Any]) -> Iterator[tuple[Any, Sequence[Any]]]:
    """Yield key and row of a part of a table of SQLite, in the order of the keys."""
    key, names = list(table.primary_key.columns.keys()), list(table.c.keys())
    listed = ", ".join(key)
    condition = f"WHERE ({listed}) > ({', '.join('?' * len(key))})" if after else ""
    statement = f"SELECT {listed}, {', '.join(names)} FROM {table.name} {condition} ORDER BY {listed} LIMIT {PART_ROWS}"  # noqa: S608  # nosec
    for row in source.exec_driver_sql(statement, tuple(after)):
        yield tuple(row[: len(key)]), row[len(key) :]


def _storable(value: object) -> object:
    """Return a value of SQLite as PostgreSQL stores it: its text has no NUL, which older versions stored."""
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


def _compare(source: Connection, database: Database, origin: str) -> list[CopiedTable]:
    """Compare all rows of both stores. Raises: StoreError, with the first table that differs."""
    copied = []
    with database.read() as connection:
        for table in METADATA.tables.values():
            expected, found = _digest(source, table), _digest(connection, table)
            if found != expected:
                raise StoreError(
                    f"the table {table.name} of {database.name} differs from {origin} ({found.row_count:,} rows, "
                    f"{expected.row_count:,} there): the origin changed between two parts of the copy, or the copy was "
                    "changed: copy again into an empty database"
                )
            copied.append(found)
    return copied


def _digest(connection: Connection, table: Table) -> CopiedTable:
    """Read a table in the order of its keys. The same rows give the same digest in both databases."""
    key = ", ".join(table.primary_key.columns.keys())
    statement = f"SELECT {', '.join(table.c.keys())} FROM {table.name} ORDER BY {key}"  # noqa: S608  # nosec
    found, count = hashlib.sha256(), 0
    with connection.exec_driver_sql(statement, execution_options={"yield_per": 1000}) as rows:
        for row in rows:
            found.update(json.dumps([_plain(value) for value in row]).encode())
            count += 1
    return CopiedTable(table.name, count, found.hexdigest())


def _plain(value: object) -> object:
    """Return a value in one form for both databases: truth values are numbers in SQLite."""
    if isinstance(value, bool):
        return int(value)
    return value.hex() if isinstance(value, bytes) else _storable(value)


def _finish(source: Connection, database: Database) -> None:
    """Let ids continue after the highest one that was ever given, and give the target its revision."""
    given: dict[str, int] = dict(source.exec_driver_sql("SELECT name, seq FROM sqlite_sequence").all())
    with database.write(is_durable=True) as connection:
        for table in METADATA.tables.values():
            if table.autoincrement_column is None:
                continue
            newest = connection.exec_driver_sql(f"SELECT max(id) FROM {table.name}").scalar() or 0  # noqa: S608  # nosec
            if highest := max(newest, given.get(table.name, 0)):
                connection.exec_driver_sql(_CONTINUE_IDS, (table.name, highest))
        connection.exec_driver_sql("DROP TABLE copy_progress")
        _set_revision(connection, SCHEMA_VERSION)
        connection.exec_driver_sql("ANALYZE")  # otherwise the first queries would read whole tables


def _set_revision(connection: Connection, revision: str) -> None:
    connection.exec_driver_sql("UPDATE alembic_version SET version_num = %s", (revision,))
