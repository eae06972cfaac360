"""A store in a SQLite file. Only this module knows SQLite.

Writers take the write lock at once (`BEGIN IMMEDIATE`). With WAL, readers and the writer do not wait for each other.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.engine import make_url

from actionwatch.base.errors import SchemaMismatch, StoreBusy, StoreError
from actionwatch.store import ownership
from actionwatch.store.membership import Peers
from actionwatch.store.schema import OWN_TABLES
from actionwatch.store.sqlite_file import DURABLE, REPEATED, WRITER_PRAGMAS, StoreFile
from actionwatch.store.wal_checkpoints import Checkpoints

_BEGINNING_ANEW = "move it away with its -wal, -shm and .lock: 'actionwatch run' creates a new store"
_REPLACING = f"stop the service, then run 'actionwatch store restore BACKUP --replace', or {_BEGINNING_ANEW}"
_DAMAGES = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_REMEDIES = {
    sqlite3.SQLITE_FULL: "free space on the disk of",
    sqlite3.SQLITE_IOERR: "check the disk of",
    sqlite3.SQLITE_CANTOPEN: "check the owner and the mode of the file and the folder of",
}
_WRONG_TABLES = re.compile("no such (table|column|index|view)|has no column named|duplicate column|already exists")
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
_TRIGGERS = "SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger'"


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
        self.site = StoreFile(path_of(url), busy_seconds)
        self.peers: Peers = ownership.Owner(self.site.path)
        self._checkpoints = Checkpoints(self.site.path, turn, self.site.connect)
        self._watcher: sqlite3.Connection | None = None
        self._watching = threading.Lock()  # SQLite's driver crashes if a thread closes what another one uses

    def prepare(self, connection: Connection) -> None:
        """Need no other table."""

    def build_indexes(self) -> None:
        """Leave them to the migration: nothing else uses the file meanwhile."""

    def reader(self) -> Engine:
        """Return the engine of readers: for a store that is only read, one that leaves no other file behind."""
        return self.site.reading_engine()

    def writer(self, *, is_durable: bool) -> Engine:
        """Return an engine of writers: one for each kind, because SQLite does not change `synchronous` in a transaction."""
        return self.site.engine("BEGIN IMMEDIATE", (*WRITER_PRAGMAS, DURABLE if is_durable else REPEATED))

    def failure(self, error: BaseException) -> StoreError:
        """Return our error for an error of the driver."""
        if isinstance(error, UnicodeDecodeError):
            return _damaged(self.site.path, str(error))
        return _failure(self.site.path, error)

    def shape(self, connection: Connection) -> Iterator[tuple[str, tuple[object, ...]]]:
        """Yield the columns and indexes of the tables, and the triggers on our tables."""
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
                self._watcher = self.site.connect()
            number: int = self._watcher.execute("PRAGMA data_version").fetchone()[0]
        return number

    def note_commit(self) -> None:
        """Count a commit, so that the log is written back in time."""
        self._checkpoints.note_commit()

    @contextlib.contextmanager
    def joined(self, *, alone: bool) -> Iterator[ownership.Ownership]:
        """Hold the lock of the file until the block ends: the process is alone on it.

        The lock file is next to the real file, even if links lead there.

        Raises: StoreBusy, when another process holds it; StoreError.
        """
        del alone
        self.site.refuse_second_name()
        with ownership.owning(self.site.path) as owned:
            self.version()  # from now on there is a log
            with self.site.staying():
                yield owned

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
                raise _failure(self.site.path if is_damage else path, exc) from exc
        if finding != "ok":
            raise _damaged(self.site.path, finding)

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
