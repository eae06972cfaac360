"""A store in a SQLite file. Only this module knows SQLite.

Writers take the write lock at once (`BEGIN IMMEDIATE`). With WAL, readers and the writer do not wait for each other.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, PoolProxiedConnection, QueuePool, create_engine, event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from actionwatch.base.errors import SchemaMismatch, StoreBusy, StoreError, StoreMissing, StoreReplaced
from actionwatch.store import ownership
from actionwatch.store.membership import Peers
from actionwatch.store.schema import OWN_TABLES
from actionwatch.store.wal_checkpoints import LONGEST_LOG_BYTES, Checkpoints

_PAGE_BYTES = 16_384
_BEGINNING_ANEW = "move it away with its -wal, -shm and .lock: 'actionwatch run' creates a new store"
_REPLACING = f"stop the service, then run 'actionwatch store restore BACKUP --replace', or {_BEGINNING_ANEW}"
_BUSY_STEP = 0.01  # seconds
_DAMAGES = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_REMEDIES = {
    sqlite3.SQLITE_FULL: "free space on the disk of",
    sqlite3.SQLITE_IOERR: "check the disk of",
    sqlite3.SQLITE_CANTOPEN: "check the owner and the mode of the file and the folder of",
}
_WRONG_TABLES = re.compile("no such (table|column|index|view)|has no column named|duplicate column|already exists")
_MOUNTS = Path("/proc/self/mountinfo")  # Linux only
_WRITER_PRAGMAS = (
    f"page_size={_PAGE_BYTES}",  # of a new file: backfills store a quarter more records per second than with 4096
    "journal_mode=WAL",
    "cache_size=-16384",  # KiB
    f"wal_autocheckpoint={LONGEST_LOG_BYTES // _PAGE_BYTES}",
    f"journal_size_limit={LONGEST_LOG_BYTES}",  # a log that a long reader has made longer is cut again
)
# Each reading thread has a connection, and each of these fills its cache in time. The operating system caches the file too.
_READER_PRAGMAS = ("query_only=ON", "cache_size=-4096")
# Survives a kill at any point; a power cut may lose the last commits, which are repeated.
_REPEATED = "synchronous=NORMAL"
# Survives a power cut too, and so does every commit before it; each waits for the disk.
_DURABLE = "synchronous=FULL"
MAX_COMPILED = 1000  # statements, each a few ten kilobytes; the demo has about 100 different ones

_COLUMNS = """
SELECT tables.name, columns.name, columns.type, columns."notnull", columns.pk
FROM sqlite_master AS tables JOIN pragma_table_info(tables.name) AS columns WHERE tables.type = 'table'
"""
# An index of an expression has columns without a name.
_INDEXES = """
SELECT indexes.name, indexes."unique", tables.name, coalesce(columns.name, '')
FROM sqlite_master AS tables JOIN pragma_index_list(tables.name) AS indexes JOIN pragma_index_info(indexes.name) AS columns
WHERE tables.type = 'table' AND indexes.origin <> 'pk' ORDER BY indexes.name, columns.seqno
"""
_TRIGGERS = "SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger'"  # ours are temporary: not among these


class _Dialect(SQLiteDialect_pysqlite):
    """The dialect of every engine here. All are equal, so that a statement is compiled once, not again by each engine.

    It begins a transaction with the given statement. A listener to `begin` could do that too, but then SQLAlchemy looks for
    listeners around every statement, which takes a quarter of its time.
    """

    supports_statement_cache = True

    def __init__(self, begin: str = "BEGIN", **options: Any) -> None:
        super().__init__(**options)
        self._begin = begin

    def do_begin(self, dbapi_connection: PoolProxiedConnection) -> None:
        """Begin a transaction."""
        raw: Any = dbapi_connection.driver_connection
        raw.execute(self._begin).close()

    def __eq__(self, other: object) -> bool:
        return type(other) is _Dialect

    def __hash__(self) -> int:
        return hash(_Dialect)


class _Compiled(dict[Any, Any]):
    """The compiled statements of a process. It starts again when it is full, because some statements have many forms."""

    def __setitem__(self, key: Any, value: Any) -> None:
        if len(self) >= MAX_COMPILED:
            self.clear()
        super().__setitem__(key, value)


registry.register("sqlite.actionwatch", __name__, _Dialect.__name__)
_OPTIONS = {"compiled_cache": _Compiled()}


class SqliteBackend:
    """The file of one URL."""

    is_shared = False
    further_tables = ()
    driver_error: type[Exception] = sqlite3.Error
    replacing = _REPLACING
    beginning_anew = f"stop the service, and {_BEGINNING_ANEW}"
    minimum_reader = "1000"
    upgrading = "start 'actionwatch run' of this version, which upgrades it"

    def __init__(self, url: URL, busy_seconds: float, turn: threading.Lock) -> None:
        self.path = path_of(url)
        self.name = str(self.path)
        self.peers: Peers = ownership.Owner(self.path)
        self._busy_seconds = busy_seconds
        self._is_created = False
        self._files: dict[Path, tuple[int, int]] = {}
        """The device and the inode of each file of the store, while a service works on it."""
        self._checkpoints = Checkpoints(self.path, turn, self._open)
        self._watcher: sqlite3.Connection | None = None
        self._watching = threading.Lock()  # SQLite's driver crashes if a thread closes what another one uses

    def check_exists(self) -> None:
        """Check that there is a file. Raises: StoreMissing."""
        if not self.path.exists():
            raise StoreMissing(
                f"there is no store at {self.path}: check store.url in the configuration; "
                "'actionwatch run' creates the store at its first start"
            )

    def create(self) -> None:
        """Create the file (mode 0600) if there is none. Raises: StoreError."""
        _prepare_file(self.path)
        self._is_created = True

    def check_in_place(self) -> None:
        """Check that the paths lead to the files that a service works on. What it wrote to other files, nobody would find."""
        for path, known in self._files.items():
            if (found := _identity(path)) != known:
                raise StoreReplaced(
                    f"{path} was {'deleted' if found is None else 'replaced'} while this process worked on it, and nothing "
                    f"more is written: put the right file at {self.path} and start again; "
                    "'actionwatch store restore' restores a backup"
                )

    def prepare(self, connection: Connection) -> None:
        """Need no other table."""

    def build_indexes(self) -> None:
        """Leave them to the migration: nothing else uses the file meanwhile."""

    def reader(self) -> Engine:
        """Return the engine of readers: for a store that is only read, one that leaves no other file behind."""
        if self._is_created:
            return self._engine(begin="BEGIN", pragmas=_READER_PRAGMAS)
        return _reading_engine(self.path, self._busy_seconds)

    def writer(self, *, is_durable: bool) -> Engine:
        """Return an engine of writers: one for each kind, because SQLite does not change `synchronous` in a transaction."""
        pragmas = (*_WRITER_PRAGMAS, _DURABLE if is_durable else _REPEATED)
        return self._engine(begin="BEGIN IMMEDIATE", pragmas=pragmas)

    def _engine(self, *, begin: str, pragmas: Sequence[str]) -> Engine:
        """Return an engine of the created file. While a service works on it, no connection opens another file in its place."""
        seconds, check = self._busy_seconds, self.check_in_place
        return _engine(self.path, begin=begin, pragmas=pragmas, busy_seconds=seconds, before_open=check)

    def failure(self, error: BaseException) -> StoreError:
        """Return our error for an error of the driver."""
        if isinstance(error, UnicodeDecodeError):
            return _damaged(self.path, str(error))
        return _failure(self.path, error)

    def shape(self, connection: Connection) -> Iterator[tuple[str, tuple[object, ...]]]:
        """Yield the columns and indexes of the tables, and the triggers of ours."""
        for table, name, type_, is_required, place in connection.exec_driver_sql(_COLUMNS):
            yield f"column {table}.{name}", (type_, not is_required, place > 0)
        columns: dict[tuple[str, bool, str], list[str]] = {}
        for name, is_unique, table, column in connection.exec_driver_sql(_INDEXES):
            columns.setdefault((name, bool(is_unique), table), []).append(column)
        for (name, is_unique, table), names in columns.items():
            yield f"index {name}", (is_unique, names, table)
        for name, table in connection.exec_driver_sql(_TRIGGERS):
            if table in OWN_TABLES:
                yield f"trigger {name} of the table {table}", ()

    def version(self) -> int:
        """Return SQLite's `data_version`, which costs a hundredth of a query."""
        with self._watching:
            if self._watcher is None:
                self._watcher = self._open()
            number: int = self._watcher.execute("PRAGMA data_version").fetchone()[0]
        return number

    def _open(self, busy_seconds: float = 5.0) -> sqlite3.Connection:
        """Open a connection to the file that a service works on; to no other one in its place. Creates none.

        Raises: StoreReplaced; sqlite3.Error.
        """
        return _connect(self.path, busy_seconds, before_open=self.check_in_place)

    def note_commit(self) -> None:
        """Count a commit, so that the log is written back in time."""
        self._checkpoints.note_commit()

    @contextlib.contextmanager
    def joined(self, *, alone: bool) -> Iterator[ownership.Ownership]:
        """Hold the lock of the file until the block ends: the process is alone on it.

        The lock file is next to the real file, even if links lead there. A file with a second name is refused: SQLite keeps its
        log next to the name that it opened, so that two names mean two logs.

        Raises: StoreBusy, when another process holds it; StoreError.
        """
        del alone
        _refuse_second_name(self.path)
        with ownership.owning(self.path) as owned:
            self.version()  # from now on there is a log
            files = (self.path, self.path.with_name(f"{self.path.name}-wal"), ownership.lock_path(self.path))
            self._files = {path: found for path in files if (found := _identity(path)) is not None}
            try:
                yield owned
            finally:
                self._files = {}

    def copy_to(self, connection: Connection, path: Path) -> None:
        """Copy one state of the store into an empty file, while others read and write it, and check the copy."""
        with contextlib.closing(sqlite3.connect(path)) as copy:
            source: Any = connection.connection.driver_connection  # the one of sqlite3
            try:
                source.backup(copy)
                copy.execute("PRAGMA journal_mode=DELETE").close()  # one file, without a log next to it
                finding: str = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
            except sqlite3.Error as exc:
                is_damage = getattr(exc, "sqlite_errorcode", 0) & 0xFF in _DAMAGES
                raise _failure(self.path if is_damage else path, exc) from exc
        if finding != "ok":
            raise _damaged(self.path, finding)

    def close(self) -> None:
        """End the checkpoints and the look at the version."""
        self._checkpoints.close()
        with self._watching:
            if self._watcher is not None:
                self._watcher.close()


def delete_sessions(path: Path) -> None:
    """Delete the sessions in the copy of a store, because people have signed out of some since then."""
    with contextlib.closing(sqlite3.connect(path)) as copy, copy:
        copy.execute("DELETE FROM session")


def path_of(url: str | URL) -> Path:
    """Return the real path of the file of a URL: links are followed, as SQLite follows them.

    Raises: StoreError, for the URL of another database.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        raise StoreError(f"{parsed} is not a SQLite file: back it up and restore it with pg_dump and pg_restore")
    return Path(parsed.database or "").resolve()


def _identity(path: Path) -> tuple[int, int] | None:
    """Return the device and the inode of a file; None if there is none."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


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

    Raises: StoreError, also if the file is gone that a service had: an empty one in its place would hide the loss.
    """
    lock = ownership.lock_path(path)
    if lock.exists() and not path.exists():
        raise StoreError(
            f"the store {path} is gone, and {lock.name} shows that there was one: put it back, or restore a backup with "
            f"'actionwatch store restore'; to begin with an empty store, delete {lock.name}"
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except OSError as exc:
        raise StoreError(f"cannot open the store {path}: {exc.strerror}") from exc


def _reading_engine(path: Path, busy_seconds: float) -> Engine:
    """Return an engine that reads a file and leaves no other file behind.

    Even to read, SQLite needs a log and its index next to the file; the last connection removes them when it closes. If they
    cannot be created (a full disk, a read-only folder) and nothing runs, the file alone is the whole store.
    """
    engine = _engine(path, begin="BEGIN", pragmas=_READER_PRAGMAS, busy_seconds=busy_seconds, mode="mode=rw")
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql("SELECT count(*) FROM sqlite_master")
    except OperationalError:
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            return engine  # the next read raises the error
        engine.dispose()
        return _engine(path, begin="BEGIN", pragmas=_READER_PRAGMAS, busy_seconds=busy_seconds, mode="immutable=1")
    except (SQLAlchemyError, UnicodeDecodeError):
        pass  # the next read raises it again
    return engine


def _connect(
    path: Path, busy_seconds: float, *, mode: str = "mode=rw", before_open: Callable[[], None]
) -> sqlite3.Connection:
    before_open()
    name = f"file:{quote(str(path))}?{mode}"
    return sqlite3.connect(name, uri=True, timeout=busy_seconds, isolation_level=None, check_same_thread=False)


def _engine(
    path: Path,
    *,
    begin: str,
    pragmas: Sequence[str],
    busy_seconds: float,
    mode: str = "mode=rw",
    before_open: Callable[[], None] = lambda: None,
) -> Engine:
    def connect() -> sqlite3.Connection:
        return _connect(path, busy_seconds, mode=mode, before_open=before_open)

    engine = create_engine(
        "sqlite+actionwatch://", creator=connect, poolclass=QueuePool, execution_options=_OPTIONS, begin=begin
    )

    @event.listens_for(engine.pool, "connect")
    def _prepare(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # the driver would begin transactions according to its own rules
        for pragma in ("foreign_keys=ON", "temp_store=MEMORY", *pragmas):
            _set(connection, pragma, busy_seconds)

    return engine


def _set(connection: sqlite3.Connection, pragma: str, busy_seconds: float) -> None:
    """Set a pragma. SQLite itself does not wait while another process sets the journal mode of a new file."""
    ends_at = time.monotonic() + busy_seconds
    while True:
        try:
            connection.execute(f"PRAGMA {pragma}").close()
            return
        except sqlite3.OperationalError as exc:
            if exc.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() >= ends_at:
                raise
        time.sleep(_BUSY_STEP)


def _failure(path: Path, error: BaseException) -> StoreError:
    """Return our error for an error of SQLite."""
    text = str(error)
    if isinstance(error, sqlite3.OperationalError) and ("locked" in text or "busy" in text):
        return StoreBusy(f"the store is busy: {text}")
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest is detail
    if code in _DAMAGES:
        return _damaged(path, text)
    if code == sqlite3.SQLITE_ERROR and _WRONG_TABLES.search(text):
        return SchemaMismatch(f"the store {path} does not have the tables of its schema ({text}): {_REPLACING}")
    remedy = _REMEDIES.get(code)
    return StoreError(f"the store failed: {text}: {remedy} {path}" if remedy else f"the store failed: {text}")


def _damaged(path: Path, text: str) -> StoreError:
    return StoreError(f"the store {path} is damaged, or no database ({text}): check store.url; {_REPLACING}")
