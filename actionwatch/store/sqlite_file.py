"""The file of a SQLite store: whether it is there, still the same, and how connections to it are opened."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Engine, PoolProxiedConnection, QueuePool, create_engine, event
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from actionwatch.base.errors import StoreError, StoreMissing, StoreReplaced
from actionwatch.store import ownership
from actionwatch.store.wal_checkpoints import LONGEST_LOG_BYTES

_PAGE_BYTES = 16_384
_BUSY_STEP = 0.01  # seconds
_MOUNTS = Path("/proc/self/mountinfo")  # Linux only
WRITER_PRAGMAS = (
    f"page_size={_PAGE_BYTES}",  # of a new file: backfills store a quarter more records per second than with 4096
    "journal_mode=WAL",
    "cache_size=-16384",  # KiB
    f"wal_autocheckpoint={LONGEST_LOG_BYTES // _PAGE_BYTES}",
    f"journal_size_limit={LONGEST_LOG_BYTES}",  # a log that a long reader has made longer is cut again
)
# Each reading thread has a connection, and each of these fills its cache in time. The operating system caches the file too.
_READER_PRAGMAS = ("query_only=ON", "cache_size=-1024")
# Survives a kill at any point; a power cut may lose the last commits, which are repeated.
REPEATED = "synchronous=NORMAL"
# Survives a power cut too, and so does every commit before it; each waits for the disk.
DURABLE = "synchronous=FULL"
MAX_COMPILED = 1000  # statements, each a few ten kilobytes; the demo has about 100 different ones


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


class StoreFile:
    """See `Site`."""

    def __init__(self, path: Path, busy_seconds: float) -> None:
        self.path = path
        self.name = str(path)
        self._busy_seconds = busy_seconds
        self._is_created = False
        self._known: dict[Path, tuple[int, int]] = {}
        """The device and the inode of each file of the store, while a service works on it."""

    def check_exists(self) -> None:
        """Check that there is a file. Raises: StoreMissing."""
        if not self.path.exists():
            raise StoreMissing(
                f"there is no store at {self.path}: check store.url in the configuration; "
                "'actionwatch run' creates the store at its first start"
            )

    def create(self) -> None:
        """Create the file if there is none, before SQLite does, because alerts and audit records are private.

        Do not open an existing file: closing it would release the locks that SQLite holds on it for this process.

        Raises: StoreError, also if the file is gone that a service had: an empty one in its place would hide the loss.
        """
        lock = ownership.lock_path(self.path)
        if lock.exists() and not self.path.exists():
            raise StoreError(
                f"the store {self.path} is gone, and {lock.name} shows that there was one: put it back, or restore a backup "
                f"with 'actionwatch store restore'; to begin with an empty store, delete {lock.name}"
            )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except OSError as exc:
            raise StoreError(f"cannot open the store {self.path}: {exc.strerror}") from exc
        self._is_created = True

    def check_in_place(self) -> None:
        """Check that the paths lead to the files that a service works on. What it wrote to other files, nobody would find."""
        for path, known in self._known.items():
            if (found := _identity(path)) != known:
                raise StoreReplaced(
                    f"{path} was {'deleted' if found is None else 'replaced'} while this process worked on it, and nothing "
                    f"more is written: put the right file at {self.path} and start again; "
                    "'actionwatch store restore' restores a backup"
                )

    def refuse_second_name(self) -> None:
        """Refuse a file that has hard links or is mounted by itself (sqlite.org/howtocorrupt.html, "Multiple links").

        Raises: StoreError.
        """
        if self.path.stat().st_nlink > 1:
            raise StoreError(
                f"the store {self.path} has a second name (a hard link): remove one, otherwise they overwrite each other"
            )
        mounted = str(self.path).replace(" ", r"\040")
        with contextlib.suppress(OSError):
            if any(line.split()[4] == mounted for line in _MOUNTS.read_text().splitlines()):
                raise StoreError(
                    f"the store {self.path} is mounted as a single file: mount its folder, which holds its log too"
                )

    @contextlib.contextmanager
    def staying(self) -> Iterator[None]:
        """Let `check_in_place` compare the files with those of now, until the block ends."""
        files = (self.path, self.path.with_name(f"{self.path.name}-wal"), ownership.lock_path(self.path))
        self._known = {path: found for path in files if (found := _identity(path)) is not None}
        try:
            yield
        finally:
            self._known = {}

    def engine(self, begin: str, pragmas: Sequence[str]) -> Engine:
        """Return an engine of the created file. While a service works on it, no connection opens another file in its place."""
        return _engine(
            self.path, begin=begin, pragmas=pragmas, busy_seconds=self._busy_seconds, before_open=self.check_in_place
        )

    def reading_engine(self) -> Engine:
        """Return the engine of readers: for a store that is only read, one that leaves no other file behind."""
        if self._is_created:
            return self.engine("BEGIN", _READER_PRAGMAS)
        return _reading_engine(self.path, self._busy_seconds)

    def connect(self, busy_seconds: float = 5.0) -> sqlite3.Connection:
        """Open a connection to the file that a service works on; to no other one in its place. Creates none.

        Raises: StoreReplaced; sqlite3.Error.
        """
        return _connect(self.path, busy_seconds, before_open=self.check_in_place)


def _identity(path: Path) -> tuple[int, int] | None:
    """Return the device and the inode of a file; None if there is none."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


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
