"""Stores as releases wrote them, with rows in each table, as SQL: later versions upgrade them.

`python -m tests.releases` writes those of this version. After its release, its files never change.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
from sqlalchemy import Column, Connection, select

from actionwatch.store.database import Database
from actionwatch.store.tables import METADATA
from tests import postgresql
from tests.children import run_child
from tests.integration.store.filling import fill

FOLDER = Path(__file__).parent
_SESSION = ("SET ", "SELECT pg_catalog.set_config", "\\", "--")
"""The beginnings of lines of pg_dump that a server of another version refuses, or that say nothing of the store."""


def file_of(revision: str, kind: str) -> Path:
    """Return the file with the store of a revision in a kind of database."""
    return FOLDER / f"schema_{revision}_{kind}.sql"


def revisions() -> list[str]:
    """Return the revisions of which there are stores."""
    return sorted(path.name.split("_")[1] for path in FOLDER.glob("schema_*_sqlite.sql"))


def fill_all(database: Database) -> None:
    """Write rows into each table: what a service writes into most, any values into the others."""
    fill(database, count=3)
    with database.write() as connection:
        for table in METADATA.sorted_tables:
            if connection.execute(select(table).limit(1)).first() is None:
                names = ", ".join(table.columns.keys())
                values = ", ".join(map(_literal, table.columns))
                connection.exec_driver_sql(f"INSERT INTO {table.name} ({names}) VALUES ({values})")


def _literal(column: Column[object]) -> str:
    kind = str(column.type.compile())
    return {"BIGINT": "7", "INTEGER": "7", "BOOLEAN": "true"}.get(kind, f"'{column.name}'")


def rows(connection: Connection, columns: dict[str, list[str]]) -> dict[str, list[tuple[object, ...]]]:
    """Return these columns of tables, as they are stored."""
    return {
        table: sorted(map(tuple, connection.exec_driver_sql(f"SELECT {', '.join(names)} FROM {table}")), key=repr)
        for table, names in columns.items()
    }


def dump_sqlite(path: Path) -> str:
    """Return the statements that make a store again."""
    with closing(sqlite3.connect(path)) as connection:
        return "\n".join([*connection.iterdump(), ""])


def dump_postgresql(url: str) -> str:
    """Return the statements that make a store again, for each supported version of the server."""
    command: list[str | Path] = [
        postgresql.programs() / "pg_dump",
        "--inserts",
        "--no-owner",
        "--no-privileges",
        _plain(url),
    ]
    done = run_child(command)
    assert done.returncode == 0, done.stderr
    return "\n".join(_of_the_store(done.stdout.splitlines())) + "\n"


def _of_the_store(lines: list[str]) -> Iterator[str]:
    return (line for line in lines if line and not line.startswith(_SESSION))


def load(text: str, url: str) -> None:
    """Make a store of a dump, in an empty database."""
    if url.startswith("sqlite"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
            connection.executescript(text)
    else:
        with psycopg.connect(_plain(url), autocommit=True) as server:
            server.execute(text.encode())


def _plain(url: str) -> str:
    return url.replace("+psycopg", "")
