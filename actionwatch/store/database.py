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
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, Any, Self, cast
from urllib.parse import quote

from sqlalchemy import Connection, Engine, Insert, QueuePool, Table, bindparam, create_engine, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from actionwatch.base.errors import SchemaMismatch, StoreBusy, StoreError, StoreMissing
from actionwatch.store.tables import METADATA
from actionwatch.store.wal_checkpoints import LONGEST_LOG_BYTES, Checkpoints

SCHEMA_VERSION = "0001"  # the newest revision under migrations/versions/
BUSY_TIMEOUT_MS = 30_000
PAGE_BYTES = 16_384
ROWS_A_STATEMENT = (
    250  # times two dozen columns: well below the 32,766 values that SQLite takes, the least of all databases
)
LOCK_SECONDS = (
    1.0  # how long a service waits for the store's lock: a command that looks whether one runs holds it for an instant
)
LOCK_STEP = 0.02
MOUNTS = Path("/proc/self/mountinfo")  # Linux; elsewhere nothing is known of mounts
WRITER_PRAGMAS = (
    f"page_size={PAGE_BYTES}",  # for a new file: a quarter more records a second than with 4096, measured on backfills
    "journal_mode=WAL",
    "synchronous=NORMAL",  # a process may be killed anywhere; a power cut may lose the last commits, all of which are repeated
    f"wal_autocheckpoint={LONGEST_LOG_BYTES // PAGE_BYTES}",
)


class StoreReader:
    """A store that is only read: no file is created, no schema is changed. Safe to share between threads."""

    def __init__(self, path: Path, reader: Engine) -> None:
        self.path = path
        self._reader = reader

    @classmethod
    def open(cls, url: str, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> Self:
        """Open an existing store at an SQLAlchemy URL.

        Raises: StoreMissing; SchemaMismatch, when the store has another schema than this version; StoreError.
        """
        path = _path_of(url)
        if not path.exists():
            raise StoreMissing(
                f"there is no store at {path}: check store.url in the configuration; "
                "'actionwatch run' creates the store at its first start"
            )
        reader = _reading_engine(path, busy_timeout_ms)
        try:
            with _translated(), reader.begin() as connection:
                _check_version(path, _version(connection))
        except StoreError:
            reader.dispose()
            raise
        return cls(path, reader)

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """Run a transaction that sees one state of the store and cannot write.

        Raises: StoreBusy, StoreError.
        """
        with _translated(), self._reader.begin() as connection:
            yield connection

    def is_owned(self) -> bool:
        """Return whether a process owns this store now: the service, or a round of it."""
        try:
            with _lock_path(self.path).open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False  # no process ever owned it, or its lock is not ours to read
        return False

    def close(self) -> None:
        """Close every pooled connection."""
        self._reader.dispose()


class Database(StoreReader):
    """A store that is read and written. Safe to share between threads; every transaction has its own connection."""

    def __init__(self, url: str, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> None:
        """Open the database at an SQLAlchemy URL, making the file (mode 0600) if there is none; the schema is not touched.

        Raises: StoreError, when the file cannot be made or opened.
        """
        path = _path_of(url)
        _prepare_file(path)
        super().__init__(path, _engine(path, begin="BEGIN", pragmas=("query_only=ON",), timeout_ms=busy_timeout_ms))
        self._writer = _engine(path, begin="BEGIN IMMEDIATE", pragmas=WRITER_PRAGMAS, timeout_ms=busy_timeout_ms)
        self._busy_seconds = busy_timeout_ms / 1000
        self._turn = threading.Lock()
        self._checkpoints = Checkpoints(self.path, self._turn)
        self._watcher: sqlite3.Connection | None = None
        self.write_failure: str | None = None
        """Why the last write transaction failed (a full disk); None while the store can be written."""

    @contextlib.contextmanager
    def write(self, on_commit: Callable[[], None] = lambda: None) -> Iterator[Connection]:
        """Run a transaction that may write; commits at the end of the block, rolls back on any error.

        `on_commit` is called once it is committed, before any other writer of this process begins.
        Raises: StoreBusy, StoreError.
        """
        with self._my_turn():
            try:
                with _translated(), self._writer.begin() as connection:
                    yield connection
            except StoreBusy:
                raise
            except StoreError as exc:
                self.write_failure = str(exc)
                raise
            self.write_failure = None
            on_commit()
            self._checkpoints.note_commit()

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
            raise _newer(found)
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

        The lock stands beside the file itself, whatever links lead there. A second name for the file is refused: SQLite keeps
        its log beside the name that it is given, so that two names mean two logs.

        Raises: StoreBusy, when another process owns it; StoreError.
        """
        _refuse_second_name(self.path)
        try:
            file = _lock_path(self.path).open("w")
        except OSError as exc:
            raise StoreError(f"cannot open {_lock_path(self.path)}: {exc.strerror}") from exc
        with file:
            _lock(file, self.path)
            yield

    def close(self) -> None:
        """Close every pooled connection."""
        self._checkpoints.close()
        if self._watcher is not None:
            self._watcher.close()
        self._writer.dispose()
        super().close()

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


def bulk_update(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    only: tuple[str, str],
) -> int:
    """Set these columns, the first of which is the key, row by row: many rows a statement too, for the same reason.

    `only` names a column and the value that a row must have in it to be changed. Return how many rows changed.
    """
    key, *changed = columns
    column, value = only
    count = 0
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    row_marks = f"({', '.join([mark] * len(columns))})"
    changes = ", ".join(f"{name} = given.column{place}" for place, name in enumerate(changed, 2))
    for start in range(0, len(rows), ROWS_A_STATEMENT):
        some = rows[start : start + ROWS_A_STATEMENT]
        given = f"(VALUES {', '.join([row_marks] * len(some))}) AS given"
        is_chosen = f"{table.name}.{key} = given.column1 AND {table.name}.{column} = {mark}"
        statement = f"UPDATE {table.name} SET {changes} FROM {given} WHERE {is_chosen}"  # noqa: S608  # nosec
        count += connection.exec_driver_sql(statement, (*chain.from_iterable(some), value)).rowcount
    return count


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


def _check_version(path: Path, found: str | None) -> None:
    """Refuse to read a schema that this version does not know. Raises: StoreMissing, SchemaMismatch."""
    if found is None:
        raise StoreMissing(
            f"the store {path} is empty: check store.url; 'actionwatch run' sets it up at its first start"
        )
    if found > SCHEMA_VERSION:
        raise _newer(found)
    if found < SCHEMA_VERSION:
        raise SchemaMismatch(
            f"the store {path} has the older schema {found}, this actionwatch reads {SCHEMA_VERSION}: "
            "start 'actionwatch run' of this version, which upgrades it"
        )


def _newer(found: str) -> SchemaMismatch:
    return SchemaMismatch(
        f"the store has schema {found}, this actionwatch knows {SCHEMA_VERSION}: use the newer version on it"
    )


def _path_of(url: str) -> Path:
    """Give the file that a URL leads to, by its own name: links are followed, as SQLite follows them."""
    return Path(make_url(url).database or "").resolve()


def _lock_path(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _lock(file: IO[str], path: Path) -> None:
    """Take the lock. Raises: StoreBusy, when another process keeps it."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            if time.monotonic() >= deadline:
                raise StoreBusy(
                    f"another actionwatch runs on {path}: stop it, or give this one its own store.url"
                ) from exc
            time.sleep(LOCK_STEP)
        else:
            return


def _refuse_second_name(path: Path) -> None:
    """Refuse a file that has hard links or is mounted by itself (sqlite.org/howtocorrupt.html, "Multiple links").

    Raises: StoreError.
    """
    if path.stat().st_nlink > 1:
        raise StoreError(
            f"the store {path} has a second name (a hard link): remove one, else they overwrite each other"
        )
    mounted = str(path).replace(" ", r"\040")
    with contextlib.suppress(OSError):
        if any(line.split()[4] == mounted for line in MOUNTS.read_text().splitlines()):
            raise StoreError(f"the store {path} is mounted as a single file: mount its folder, which holds its log too")


def _prepare_file(path: Path) -> None:
    """Create the file where there is none, before SQLite does: alerts and audit records are private.

    A file that exists is not opened here: closing it would release the locks that SQLite holds on it for this process.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError as exc:
        raise StoreError(f"cannot open the store {path}: {exc.strerror}") from exc


def _reading_engine(path: Path, timeout_ms: int) -> Engine:
    """Make an engine that reads a file and creates nothing that stays.

    SQLite needs a log and its index beside the file even to read; the last connection that closes removes them. Where they
    cannot be created (a full disk, a read-only folder) and nothing runs, the file alone is the whole store.
    """
    engine = _engine(path, begin="BEGIN", pragmas=("query_only=ON",), timeout_ms=timeout_ms, mode="mode=rw")
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")
    except OperationalError:
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            return engine  # whoever reads is told what is wrong
        engine.dispose()
        return _engine(path, begin="BEGIN", pragmas=("query_only=ON",), timeout_ms=timeout_ms, mode="immutable=1")
    except SQLAlchemyError:
        pass
    return engine


def _engine(path: Path, *, begin: str, pragmas: Sequence[str], timeout_ms: int, mode: str = "mode=rwc") -> Engine:
    def connect() -> sqlite3.Connection:
        name = f"file:{quote(str(path))}?{mode}"
        return sqlite3.connect(name, uri=True, timeout=timeout_ms / 1000, check_same_thread=False)

    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool)

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
