"""The database behind the store: engines, transactions, schema version. All that is SQLite's own stands here.

Writers take the write lock at once (`BEGIN IMMEDIATE`): a transaction that reads first and writes later would fail under
contention instead of waiting. Those of one process queue for it in the process: SQLite would have them ask again after 1, 2,
5, 10 ms, and who just came would be served first. Readers use a second engine that cannot write. WAL lets both go on side by
side.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Connection, Engine, Insert, Table, bindparam, create_engine, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from actionwatch.base.errors import SchemaMismatch, StoreBusy, StoreError
from actionwatch.store.tables import METADATA
from actionwatch.store.wal_checkpoints import LONGEST_LOG_BYTES, Checkpoints

SCHEMA_VERSION = "0001"  # the newest revision under migrations/versions/
BUSY_TIMEOUT_MS = 30_000
PAGE_BYTES = 16_384
ROWS_A_STATEMENT = (
    250  # times two dozen columns: well below the 32,766 values that SQLite takes, the least of all databases
)
WRITER_PRAGMAS = (
    f"page_size={PAGE_BYTES}",  # for a new file: a quarter more records a second than with 4096, measured on backfills
    "journal_mode=WAL",
    "synchronous=NORMAL",  # a process may be killed anywhere; a power cut may lose the last commits, all of which are repeated
    f"wal_autocheckpoint={LONGEST_LOG_BYTES // PAGE_BYTES}",
)


class Database:
    """One database. Safe to share between threads; every transaction has its own connection."""

    def __init__(self, url: str, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> None:
        """Open the database at an SQLAlchemy URL, making the file (mode 0600) if there is none; the schema is not touched.

        Raises: StoreError, when the file cannot be made or opened.
        """
        self.path = _prepare_file(url)
        self._writer = _engine(url, begin="BEGIN IMMEDIATE", pragmas=WRITER_PRAGMAS, timeout_ms=busy_timeout_ms)
        self._reader = _engine(url, begin="BEGIN", pragmas=("query_only=ON",), timeout_ms=busy_timeout_ms)
        self._busy_seconds = busy_timeout_ms / 1000
        self._turn = threading.Lock()
        self._checkpoints = Checkpoints(self.path, self._turn)
        self._watcher: sqlite3.Connection | None = None

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """Run a transaction that may write; commits at the end of the block, rolls back on any error.

        Raises: StoreBusy, StoreError.
        """
        with self._my_turn():
            with _translated(), self._writer.begin() as connection:
                yield connection
            self._checkpoints.note_commit()

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """Run a transaction that sees one state of the store and cannot write.

        Raises: StoreBusy, StoreError.
        """
        with _translated(), self._reader.begin() as connection:
            yield connection

    def version(self) -> int:
        """Give a number that any commit changes, ours or another process's: it costs a hundredth of looking what is there.

        Raises: StoreError.
        """
        try:
            if self._watcher is None:
                self._watcher = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            number: int = self._watcher.execute("PRAGMA data_version").fetchone()[0]
        except sqlite3.Error as exc:
            raise StoreError(f"cannot read the store: {exc}") from exc
        return number

    def upgrade(self) -> None:
        """Bring the schema to this version; does nothing where it is there already.

        Raises: SchemaMismatch, when a newer actionwatch wrote this store.
        """
        found = self.schema_version()
        if found == SCHEMA_VERSION:
            return
        if found is not None and found > SCHEMA_VERSION:
            raise SchemaMismatch(
                f"the store has schema {found}, this actionwatch knows {SCHEMA_VERSION}: use the newer version on it"
            )
        with _translated(), self._writer.begin() as connection:
            if _version(connection) is None:
                _create(connection)
                return
            # alembic takes 0.75 s and 8 MB to import: only where there is something to migrate.
            from actionwatch.store.migrations.env import migrate

            migrate(connection)

    def schema_version(self) -> str | None:
        """Give the schema's revision; None for an empty database."""
        with _translated(), self._writer.begin() as connection:
            return _version(connection)

    @contextlib.contextmanager
    def owned(self) -> Iterator[None]:
        """Be the one service on this store until the block ends: on SQLite a start takes back every lease.

        Raises: StoreBusy, when another process is it.
        """
        with self.path.with_name(self.path.name + ".lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as exc:
                raise StoreBusy(
                    f"another actionwatch runs on {self.path}: stop it, or give this one its own store.url"
                ) from exc
            yield

    def close(self) -> None:
        """Close every pooled connection."""
        self._checkpoints.close()
        if self._watcher is not None:
            self._watcher.close()
        self._writer.dispose()
        self._reader.dispose()

    @contextlib.contextmanager
    def _my_turn(self) -> Iterator[None]:
        if not self._turn.acquire(timeout=self._busy_seconds):
            raise StoreBusy("the store is busy: another step of this process has been writing for too long")
        try:
            yield
        finally:
            self._turn.release()


def bulk_insert(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> int:
    """Insert rows, skipping those whose key is there already; give how many were new.

    Through the driver, for SQLAlchemy's own executemany spends five times as long on a row, and many rows a statement: SQLite's
    driver lets other threads run once a statement, and each time takes up to 5 ms to get its turn again from a busy one.
    """
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    row_marks = f"({', '.join([mark] * len(columns))})"
    head = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES "  # noqa: S608  # nosec
    whole = len(rows) - len(rows) % ROWS_A_STATEMENT
    new_count = 0
    for start in range(0, whole, ROWS_A_STATEMENT):
        values = tuple(chain.from_iterable(rows[start : start + ROWS_A_STATEMENT]))
        many = head + ", ".join([row_marks] * ROWS_A_STATEMENT) + " ON CONFLICT DO NOTHING"
        new_count += max(connection.exec_driver_sql(many, values).rowcount, 0)
    if whole < len(rows):
        one = head + row_marks + " ON CONFLICT DO NOTHING"
        new_count += max(connection.exec_driver_sql(one, [tuple(row) for row in rows[whole:]]).rowcount, 0)
    return new_count


def bulk_update(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Set these columns, the first of which is the key, row by row: many rows a statement too, for the same reason."""
    key, *changed = columns
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    row_marks = f"({', '.join([mark] * len(columns))})"
    changes = ", ".join(f"{name} = given.column{place}" for place, name in enumerate(changed, 2))
    for start in range(0, len(rows), ROWS_A_STATEMENT):
        some = rows[start : start + ROWS_A_STATEMENT]
        given = f"(VALUES {', '.join([row_marks] * len(some))}) AS given"
        statement = f"UPDATE {table.name} SET {changes} FROM {given} WHERE {table.name}.{key} = given.column1"  # noqa: S608  # nosec
        connection.exec_driver_sql(statement, tuple(chain.from_iterable(some)))


def upsert(connection: Connection, table: Table, values: Mapping[str, Any], *, key: Sequence[str]) -> None:
    """Insert a row, or replace those of its columns that `values` names where the key is there already."""
    connection.execute(_upserting(connection.dialect.name, table, tuple(values), tuple(key)), values)


@functools.cache
def _upserting(dialect_name: str, table: Table, columns: tuple[str, ...], key: tuple[str, ...]) -> Insert:
    """Make the statement, whose form is each database's own; once, because that costs as much as carrying it out."""
    statement = insert_into(table, dialect_name)
    changed = {name: statement.excluded[name] for name in columns if name not in key}
    values: dict[str, Any] = {name: bindparam(name) for name in columns}
    return statement.values(values).on_conflict_do_update(index_elements=list(key), set_=changed)


def insert_into(table: Table, dialect_name: str) -> sqlite.Insert:
    """Begin an insert that may meet its like, in the form of this database."""
    if dialect_name == "postgresql":
        # 2 MB of memory: only where it is one.
        from sqlalchemy.dialects import postgresql

        return cast("sqlite.Insert", postgresql.insert(table))  # the two are alike in all that is used here
    return sqlite.insert(table)


def _version(connection: Connection) -> str | None:
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def _create(connection: Connection) -> None:
    """Make the newest schema in an empty database: what all migrations together make."""
    METADATA.create_all(connection)
    connection.exec_driver_sql(
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
        "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
    )
    connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{SCHEMA_VERSION}')")  # noqa: S608  # nosec


def _prepare_file(url: str) -> Path:
    path = Path(make_url(url).database or "")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Made before SQLite makes it: alerts and audit records are nobody else's business.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as exc:
        raise StoreError(f"cannot open the store {path}: {exc.strerror}") from exc
    return path


def _engine(url: str, *, begin: str, pragmas: Sequence[str], timeout_ms: int) -> Engine:
    engine = create_engine(url, connect_args={"timeout": timeout_ms / 1000, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # the driver would begin transactions by its own rules
        for pragma in ("foreign_keys=ON", "temp_store=MEMORY", "cache_size=-16384", *pragmas):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OperationalError as exc:
        text = str(exc.orig)
        if "locked" in text or "busy" in text:
            raise StoreBusy(f"the store is busy: {text}") from exc
        raise StoreError(f"the store failed: {text}") from exc
    except DBAPIError as exc:
        raise StoreError(f"the store failed: {exc.orig}") from exc
    except SQLAlchemyError as exc:
        raise StoreError(f"the store failed: {exc}") from exc
