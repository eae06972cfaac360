"""The database behind the store: engines, transactions and the schema version. Only this module knows SQLite.

Writers take the write lock at once (`BEGIN IMMEDIATE`), because a transaction that reads first and writes later fails under
contention instead of waiting. The writers of one process queue in the process, because SQLite would let each poll for the lock
and serve the newest first. Readers use a second engine that cannot write. With WAL, readers and the writer do not wait for each
other.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import quote

from sqlalchemy import (
    URL,
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Insert,
    QueuePool,
    Select,
    Table,
    and_,
    bindparam,
    create_engine,
    event,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from actionwatch.base.errors import SchemaMismatch, StoreBusy, StoreClosed, StoreError, StoreMissing
from actionwatch.store import ownership, schema
from actionwatch.store.tables import METADATA
from actionwatch.store.wal_checkpoints import LONGEST_LOG_BYTES, Checkpoints

SCHEMA_VERSION = "0004"  # the newest revision under migrations/versions/
_T = TypeVar("_T")
_BUSY_TIMEOUT_MS = 30_000
_PAGE_BYTES = 16_384
_ROWS_PER_STATEMENT = 250  # with two dozen columns, far below the 32,766 values that SQLite accepts
_LAST_CHARACTER = "\U0010ffff"  # no id contains it
_REPLACE = (
    "stop the service, then run 'actionwatch store restore BACKUP --replace', or move it away with its -wal and -shm: "
    "'actionwatch run' creates a new store"
)
_DAMAGES = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_REMEDIES = {
    sqlite3.SQLITE_FULL: "free space on the disk of",
    sqlite3.SQLITE_IOERR: "check the disk of",
    sqlite3.SQLITE_CANTOPEN: "check the owner and the mode of the file and the folder of",
}
_MOUNTS = Path("/proc/self/mountinfo")  # Linux only
_WRITER_PRAGMAS = (
    f"page_size={_PAGE_BYTES}",  # of a new file: backfills store a quarter more records per second than with 4096
    "journal_mode=WAL",
    f"wal_autocheckpoint={LONGEST_LOG_BYTES // _PAGE_BYTES}",
)
# Survives a kill at any point; a power cut may lose the last commits, which are repeated.
_REPEATED = "synchronous=NORMAL"
# Survives a power cut too, and so does every commit before it; each waits for the disk.
_DURABLE = "synchronous=FULL"


class StoreReader:
    """A store that is only read: it creates no file and changes no schema. Safe to share between threads."""

    def __init__(self, path: Path, reader: Engine) -> None:
        self.path = path
        self._reader = reader
        self._is_closed = False

    @classmethod
    def open(cls, url: str | URL, busy_timeout_ms: int = _BUSY_TIMEOUT_MS, *, is_older_accepted: bool = False) -> Self:
        """Open an existing store at an SQLAlchemy URL. An older schema is accepted to copy it, not to read rows.

        Raises: StoreMissing; SchemaMismatch, when the store has another schema than this version; StoreError. Each names the
        file and the remedy.
        """
        path = path_of(url)
        if not path.exists():
            raise StoreMissing(
                f"there is no store at {path}: check store.url in the configuration; "
                "'actionwatch run' creates the store at its first start"
            )
        reader = _reading_engine(path, busy_timeout_ms)
        try:
            with _translated(path), reader.begin() as connection:
                _check_version(path, connection, is_older_accepted=is_older_accepted)
        except StoreError:
            reader.dispose()
            raise
        return cls(path, reader)

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """Run a transaction that sees one state of the store and cannot write.

        Raises: StoreBusy, StoreClosed, StoreError.
        """
        self._check_open()
        with _translated(self.path), self._reader.begin() as connection:
            yield connection

    def copy_to(self, path: Path) -> None:
        """Copy one state of the store into an empty file, while others read and write it, and check the copy.

        Raises: StoreBusy, StoreClosed; StoreError, when the store is damaged or the copy cannot be written.
        """
        with self.read() as connection, contextlib.closing(sqlite3.connect(path)) as copy:
            source: Any = connection.connection.driver_connection  # the one of sqlite3
            try:
                source.backup(copy)
                copy.execute("PRAGMA journal_mode=DELETE").close()  # one file, without a log beside it
                finding: str = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
            except sqlite3.Error as exc:
                is_damage = getattr(exc, "sqlite_errorcode", 0) & 0xFF in _DAMAGES
                raise _failure(self.path if is_damage else path, exc) from exc
        if finding != "ok":
            raise _damaged(self.path, finding)

    def is_owned(self) -> bool:
        """Return whether a process owns this store now: the service, or a round of it."""
        return ownership.is_owned(self.path)

    def read_note(self) -> bytes:
        """Return what the service that runs on this store wrote for commands; empty if none runs."""
        return ownership.read_note(self.path)

    def close(self) -> None:
        """Close every pooled connection. A thread that still uses the store gets StoreClosed."""
        self._is_closed = True
        self._reader.dispose()

    def _check_open(self) -> None:
        if self._is_closed:
            raise StoreClosed("the store is closed, because the process is stopping")


class Database(StoreReader):
    """A store that is read and written. Safe to share between threads; every transaction has its own connection."""

    def __init__(self, url: str, busy_timeout_ms: int = _BUSY_TIMEOUT_MS) -> None:
        """Open the database at an SQLAlchemy URL. Create the file (mode 0600) if there is none, but no tables.

        Raises: StoreError, when the file cannot be created or opened.
        """
        path = path_of(url)
        _prepare_file(path)
        super().__init__(path, _engine(path, begin="BEGIN", pragmas=("query_only=ON",), timeout_ms=busy_timeout_ms))
        # Two engines, because SQLite does not change `synchronous` inside a transaction.
        self._writer, self._durable_writer = (
            _engine(path, begin="BEGIN IMMEDIATE", pragmas=(*_WRITER_PRAGMAS, each), timeout_ms=busy_timeout_ms)
            for each in (_REPEATED, _DURABLE)
        )
        self._busy_seconds = busy_timeout_ms / 1000
        self._turn = threading.Lock()
        self._checkpoints = Checkpoints(self.path, self._turn)
        self._watcher: sqlite3.Connection | None = None
        self.write_failure: str | None = None
        """Why the last write transaction failed (a full disk); None while the store can be written."""

    @contextlib.contextmanager
    def write(self, on_commit: Callable[[], None] = lambda: None, *, is_durable: bool = False) -> Iterator[Connection]:
        """Run a transaction that may write. It commits at the end of the block and rolls back on any error.

        `on_commit` is called after the commit, before any other writer of this process begins. A commit that `is_durable`
        survives a power cut: for what a person did, because nothing repeats it.
        Raises: StoreBusy, StoreClosed, StoreError.
        """
        with self._my_turn():
            self._check_open()
            try:
                writer = self._durable_writer if is_durable else self._writer
                with _translated(self.path), writer.begin() as connection:
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
        """Return a number that every commit changes, ours or another process's. It costs a hundredth of a query.

        Raises: StoreClosed, StoreError.
        """
        self._check_open()
        try:
            if self._watcher is None:
                self._watcher = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
            number: int = self._watcher.execute("PRAGMA data_version").fetchone()[0]
        except sqlite3.Error as exc:
            raise _failure(self.path, exc) from exc
        return number

    def upgrade(self) -> None:
        """Create the tables in an empty database, or migrate an older schema to this version.

        Raises: SchemaMismatch, when a newer or an unreleased actionwatch, or another program, wrote this store.
        """
        with _translated(self.path), self._writer.begin() as connection:
            found = _version(connection)
            if found is not None and found > SCHEMA_VERSION:
                raise _newer(self.path, found)
            if found is None:
                _check_empty(self.path, connection)
                _create(connection)
            elif found < SCHEMA_VERSION:
                # alembic takes 0.75 s and 8 MB to import.
                from actionwatch.store.migrations import migrate

                migrate(connection)
            _check_tables(self.path, connection)

    @contextlib.contextmanager
    def owned(self) -> Iterator[ownership.Ownership]:
        """Be the only service on this store until the block ends, because a start ends every lease.

        The lock file is next to the real file, also if links lead there. A file with a second name is refused: SQLite keeps its
        log next to the name that it opened, so that two names mean two logs.

        Raises: StoreBusy, when another process owns it; StoreError.
        """
        _refuse_second_name(self.path)
        with ownership.owning(self.path) as owned:
            yield owned

    def close(self) -> None:
        """Close every pooled connection, after the transaction that writes now. A thread that comes later gets StoreClosed."""
        self._is_closed = True
        with contextlib.suppress(StoreBusy), self._my_turn():
            pass
        self._checkpoints.close()
        if self._watcher is not None:
            self._watcher.close()
        self._writer.dispose()
        self._durable_writer.dispose()
        super().close()

    @contextlib.contextmanager
    def _my_turn(self) -> Iterator[None]:
        if not self._turn.acquire(timeout=self._busy_seconds):
            raise StoreBusy("the store is busy: another step of this process has been writing for too long")
        try:
            yield
        finally:
            self._turn.release()


def portions(items: Collection[_T]) -> Iterator[Sequence[_T]]:
    """Yield the items in parts that one statement can take."""
    listed = list(items)
    return (listed[start : start + _ROWS_PER_STATEMENT] for start in range(0, len(listed), _ROWS_PER_STATEMENT))


def bulk_read(
    connection: Connection, table: Table, columns: Sequence[str], column: str, values: Collection[Any]
) -> Iterator[Sequence[Any]]:
    """Yield columns of the rows where `column` has one of the values, as the database stores them.

    Uses the driver, because SQLAlchemy spends more time on a statement with many values than SQLite.
    """
    head = f"SELECT {', '.join(columns)} FROM {table.name} WHERE {column} IN "  # noqa: S608  # nosec
    for some in portions(values):
        yield from connection.exec_driver_sql(f"{head}({', '.join('?' * len(some))})", tuple(some))


def bulk_insert(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> int:
    """Insert rows and skip those whose key exists. Return how many are new.

    Uses the driver, because SQLAlchemy's executemany spends five times as long on a row; and many rows per statement, because
    the driver lets other threads run during each statement, and then waits up to 5 ms for its turn.
    """
    row_marks = f"({', '.join('?' * len(columns))})"
    head = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES "  # noqa: S608  # nosec
    new_count = 0
    for some in portions(rows):
        statement = f"{head}{', '.join([row_marks] * len(some))} ON CONFLICT DO NOTHING"
        new_count += connection.exec_driver_sql(statement, tuple(chain.from_iterable(some))).rowcount
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
    row_marks = f"({', '.join('?' * len(columns))})"
    changes = ", ".join(f"{name} = given.column{place}" for place, name in enumerate(changed, 2))
    count = 0
    for some in portions(rows):
        given = f"(VALUES {', '.join([row_marks] * len(some))}) AS given"
        is_chosen = f"{table.name}.{key} = given.column1 AND {table.name}.{column} = ?"
        statement = f"UPDATE {table.name} SET {changes} FROM {given} WHERE {is_chosen}"  # noqa: S608  # nosec
        count += connection.exec_driver_sql(statement, (*chain.from_iterable(some), value)).rowcount
    return count


def upsert(connection: Connection, table: Table, *rows: Mapping[str, Any], added: tuple[str, ...] = ()) -> None:
    """Insert rows with the same columns. Where the primary key exists, replace those columns, or add to the `added` ones."""
    if rows:
        connection.execute(_upserting(table, tuple(rows[0]), added), rows)


@functools.cache  # building the statement costs as much as running it
def _upserting(table: Table, columns: tuple[str, ...], added: tuple[str, ...]) -> Insert:
    statement = sqlite.insert(table).values({name: bindparam(name) for name in columns})
    key = [column.name for column in table.primary_key]
    changed: dict[str, Any] = {name: statement.excluded[name] for name in columns if name not in key}
    changed |= {name: table.c[name] + statement.excluded[name] for name in added}
    return statement.on_conflict_do_update(index_elements=key, set_=changed)


def first_two(statement: Select[Any], column: Column[Any], beginning: str) -> Select[Any]:
    """Return the query of the first two rows of a statement whose id has a prefix: two show that it is not unique."""
    return statement.where(has_prefix(column, beginning)).order_by(column).limit(2)


def has_prefix(column: Column[Any], beginning: str) -> ColumnElement[bool]:
    """Return the condition for texts with a prefix. An index serves it; it would not serve LIKE, which ignores case."""
    return and_(column >= beginning, column < f"{beginning}{_LAST_CHARACTER}")


def without_index(column: Column[Any]) -> ColumnElement[Any]:
    """Return a column for a condition, so that SQLite does not use an index for it.

    SQLite has no statistics and would choose an index on a condition that in fact most rows meet.
    """
    return column + 0 if isinstance(column.type, BigInteger) else column.concat("")


def _version(connection: Connection) -> str | None:
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def _create(connection: Connection) -> None:
    """Create the newest schema in an empty database; a test compares it with what the migrations make of the first one."""
    METADATA.create_all(connection)
    connection.exec_driver_sql(
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
        "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
    )
    connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{SCHEMA_VERSION}')")  # noqa: S608  # nosec


def _check_version(path: Path, connection: Connection, *, is_older_accepted: bool) -> None:
    """Refuse to read a schema that this version does not know. Raises: StoreMissing, SchemaMismatch."""
    found = _version(connection)
    if found is None:
        _check_empty(path, connection)
        raise StoreMissing(
            f"the store {path} is empty: check store.url; 'actionwatch run' sets it up at its first start"
        )
    if found > SCHEMA_VERSION:
        raise _newer(path, found)
    if found < SCHEMA_VERSION:
        if is_older_accepted:
            return
        raise SchemaMismatch(
            f"the store {path} has the older schema {found}, this actionwatch reads {SCHEMA_VERSION}: "
            "start 'actionwatch run' of this version, which upgrades it"
        )
    _check_tables(path, connection)


def _check_empty(path: Path, connection: Connection) -> None:
    """Refuse a database without a revision that has tables. Raises: SchemaMismatch."""
    names = schema.read_tables(connection)
    if names:
        raise SchemaMismatch(
            f"the store {path} has the table {names[0]}, and no revision of actionwatch: check store.url, it may be the "
            "database of another program"
        )


def _check_tables(path: Path, connection: Connection) -> None:
    """Refuse tables that differ from those of the newest revision. Raises: SchemaMismatch."""
    difference = schema.find_difference(connection)
    if difference is not None:
        raise SchemaMismatch(
            f"the store {path} does not have the tables of its schema {SCHEMA_VERSION}: {difference}. An unreleased "
            f"actionwatch wrote it, or it was changed by hand: {_REPLACE}"
        )


def _newer(path: Path, found: str) -> SchemaMismatch:
    return SchemaMismatch(
        f"the store {path} has schema {found}, this actionwatch knows {SCHEMA_VERSION}: use the newer version on it"
    )


def path_of(url: str | URL) -> Path:
    """Return the real path of the file of a URL: links are followed, as SQLite follows them."""
    return Path(make_url(url).database or "").resolve()


def _refuse_second_name(path: Path) -> None:
    """Refuse a file that has hard links or is mounted by itself (sqlite.org/howtocorrupt.html, "Multiple links").

    Raises: StoreError.
    """
    if path.stat().st_nlink > 1:
        raise StoreError(
            f"the store {path} has a second name (a hard link): remove one, otherwise they overwrite each other"
        )
    mounted = str(path).replace(" ", r"\040")
    with contextlib.suppress(OSError):
        if any(line.split()[4] == mounted for line in _MOUNTS.read_text().splitlines()):
            raise StoreError(f"the store {path} is mounted as a single file: mount its folder, which holds its log too")


def _prepare_file(path: Path) -> None:
    """Create the file if there is none, before SQLite does, because alerts and audit records are private.

    Do not open an existing file: closing it would release the locks that SQLite holds on it for this process.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError as exc:
        raise StoreError(f"cannot open the store {path}: {exc.strerror}") from exc


def _reading_engine(path: Path, timeout_ms: int) -> Engine:
    """Return an engine that reads a file and leaves no other file behind.

    Even to read, SQLite needs a log and its index next to the file; the last connection removes them when it closes. If they
    cannot be created (a full disk, a read-only folder) and nothing runs, the file alone is the whole store.
    """
    engine = _engine(path, begin="BEGIN", pragmas=("query_only=ON",), timeout_ms=timeout_ms, mode="mode=rw")
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")
    except OperationalError:
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            return engine  # the next read raises the error
        engine.dispose()
        return _engine(path, begin="BEGIN", pragmas=("query_only=ON",), timeout_ms=timeout_ms, mode="immutable=1")
    except (SQLAlchemyError, UnicodeDecodeError):
        pass  # the next read raises it again
    return engine


def _engine(path: Path, *, begin: str, pragmas: Sequence[str], timeout_ms: int, mode: str = "mode=rwc") -> Engine:
    def connect() -> sqlite3.Connection:
        name = f"file:{quote(str(path))}?{mode}"
        return sqlite3.connect(name, uri=True, timeout=timeout_ms / 1000, check_same_thread=False)

    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool)

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # the driver would begin transactions according to its own rules
        for pragma in ("foreign_keys=ON", "temp_store=MEMORY", "cache_size=-16384", *pragmas):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except DBAPIError as exc:
        raise _failure(path, exc.orig or exc) from exc
    except UnicodeDecodeError as exc:  # the driver raises it for a message of SQLite that quotes a damaged schema
        raise _damaged(path, str(exc)) from exc
    except SQLAlchemyError as exc:
        raise StoreError(f"the store failed: {exc}") from exc


def _failure(path: Path, error: BaseException) -> StoreError:
    """Return our error for an error of SQLite."""
    text = str(error)
    if isinstance(error, sqlite3.OperationalError) and ("locked" in text or "busy" in text):
        return StoreBusy(f"the store is busy: {text}")
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest is detail
    if code in _DAMAGES:
        return _damaged(path, text)
    remedy = _REMEDIES.get(code)
    return StoreError(f"the store failed: {text}: {remedy} {path}" if remedy else f"the store failed: {text}")


def _damaged(path: Path, text: str) -> StoreError:
    return StoreError(f"the store {path} is damaged, or no database ({text}): check store.url; {_REPLACE}")
