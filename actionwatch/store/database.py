"""The store: transactions and the schema version, in any database. Each kind of database has a `Backend` in its own module.

Writers take the write lock at once, because a transaction that reads first and writes later fails under contention instead of
waiting. The writers of one process queue in the process, because the database would let each poll for the lock and serve the
newest first. Readers use a second engine that cannot write, and each of their transactions sees one state of the store.
"""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, Self

from sqlalchemy import (
    URL,
    Connection,
    Engine,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.schema import CreateIndex, CreateTable

from actionwatch.base.errors import (
    RoleLost,
    SchemaMismatch,
    StoreBusy,
    StoreClosed,
    StoreError,
    StoreMissing,
    StoreOwned,
)
from actionwatch.store import schema
from actionwatch.store.membership import ROLE, Membership, Roster
from actionwatch.store.tables import METADATA

SCHEMA_VERSION = "0013"  # the newest revision under migrations/versions/
UNFINISHED = "unfinished"  # the revision of a store that `copying.py` has not copied completely
BUSY_SECONDS = 30.0  # how long a transaction waits for the write lock


class Backend(Protocol):
    """What only one kind of database knows: its engines, its errors, and who owns the store."""

    name: str
    """The store in messages: a path, or a URL without the password."""
    is_shared: bool
    """Whether processes on several machines can use the store."""
    look_seconds: float
    """How often to look whether another process wrote to the store."""
    driver_error: type[Exception]
    """What the driver raises where a statement does not go through SQLAlchemy."""
    replacing: str
    """How a person replaces a store that cannot be used."""
    upgrading: str
    """How a person upgrades a store with an older schema."""
    minimum_reader: str
    """The oldest schema whose version of actionwatch can read and write the newest one, so that replicas of it continue after
    an upgrade. A revision that only adds (tables, nullable columns, indexes) leaves it; any other sets it to itself."""

    @property
    def path(self) -> Path | None:
        """The file, if the store is one."""
        ...

    @property
    def sender(self) -> str | None:
        """The name of this process among those that send messages, if there can be others."""
        ...

    def check_exists(self) -> None:
        """Check that there is a store to read. Raises: StoreMissing, StoreError."""
        ...

    def create(self) -> None:
        """Create an empty database if there is none, and it can. Raises: StoreError."""
        ...

    def prepare(self, connection: Connection) -> None:
        """Create what this kind of database needs in addition to the tables of the store."""
        ...

    def build_indexes(self) -> None:
        """Build the indexes of the newest schema, as far as its columns exist, while others read and write, if it can."""
        ...

    def reader(self) -> Engine:
        """Return an engine whose transactions see one state of the store and cannot write."""
        ...

    def writer(self, *, is_durable: bool) -> Engine:
        """Return an engine whose transactions hold the write lock from their beginning.

        Commits that are not durable may be lost in a power cut of the machine, never in a kill of the process.
        """
        ...

    def failure(self, error: BaseException) -> StoreError:
        """Return our error for an error of the driver, with the remedy."""
        ...

    def shape(self, connection: Connection) -> Iterator[tuple[str, tuple[object, ...]]]:
        """Yield what `schema.expected` yields for the tables that the database has."""
        ...

    def version(self) -> int:
        """Return a number that every commit changes, ours or another process's. Raises: errors of the driver."""
        ...

    def listen(self, on_hint: Callable[[], None], stopping: threading.Event) -> bool:
        """Call `on_hint` soon after another process may have stored records, until `stopping`. Return False if it cannot."""
        ...

    def note_commit(self) -> None:
        """Note that this process has committed, while it holds `turn`."""
        ...

    def now(self) -> datetime:
        """Return the time by the one clock of all processes on the store."""
        ...

    def roster(self) -> Roster:
        """Return the services, or the round of one, that run on the store. Raises: StoreError."""
        ...

    def read_senders(self, connection: Connection) -> Collection[str]:
        """Return the replicas that live and send messages."""
        ...

    def joined(self, *, alone: bool) -> contextlib.AbstractContextManager[Membership]:
        """Be a service on the store until the block ends. Raises: StoreBusy, when it cannot, or not `alone`; StoreError."""
        ...

    def copy_to(self, connection: Connection, path: Path) -> None:
        """Copy the state that a transaction sees into an empty file, and check the copy. Raises: StoreError."""
        ...

    def close(self) -> None:
        """Release what it holds in addition to the engines."""
        ...


@dataclass(slots=True)
class _State:
    """What an open store and its handles for roles share."""

    is_closed: bool = False
    write_failure: str | None = None


class StoreReader:
    """A store that is only read: it creates no file and changes no schema. Safe to share between threads."""

    def __init__(self, backend: Backend) -> None:
        self.name = backend.name
        self.path = backend.path
        self.is_shared = backend.is_shared
        self._backend = backend
        self._reader = backend.reader()
        self._state = _State()

    @classmethod
    def open(cls, url: str | URL, busy_seconds: float = BUSY_SECONDS, *, is_older_accepted: bool = False) -> Self:
        """Open an existing store at an SQLAlchemy URL. An older schema is accepted to copy it, not to read rows.

        Raises: StoreMissing; SchemaMismatch, when the store has another schema than this version; StoreError. Each names the
        store and the remedy.
        """
        backend = backend_of(url, busy_seconds)
        backend.check_exists()
        store = cls(backend)
        try:
            with store.read() as connection:
                _check_version(backend, connection, is_older_accepted=is_older_accepted)
        except StoreError:
            store.close()
            raise
        return store

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """Run a transaction that sees one state of the store and cannot write.

        Raises: StoreBusy, StoreClosed, StoreError.
        """
        self._check_open()
        with self._translated(), self._reader.begin() as connection:
            yield connection

    def copy_to(self, path: Path) -> None:
        """Copy one state of the store into an empty file, while others read and write it, and check the copy.

        Raises: StoreBusy, StoreClosed; StoreError, when the store is damaged or the copy cannot be written.
        """
        with self.read() as connection:
            self._backend.copy_to(connection, path)

    def is_owned(self) -> bool:
        """Return whether a process runs on this store now: a service, or a round of one."""
        return bool(self._backend.roster().hosts)

    def roster(self) -> Roster:
        """Return the services that run on this store, with what they wrote for commands."""
        return self._backend.roster()

    def close(self) -> None:
        """Close every pooled connection. A thread that still uses the store gets StoreClosed."""
        self._state.is_closed = True
        self._backend.close()
        self._reader.dispose()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as exc:
            raise self._backend.failure(exc.orig or exc) from exc
        # A driver raises UnicodeDecodeError for a message that quotes a damaged schema.
        except (self._backend.driver_error, UnicodeDecodeError) as exc:
            raise self._backend.failure(exc) from exc
        except SQLAlchemyError as exc:
            raise StoreError(f"the store failed: {exc}") from exc

    def _check_open(self) -> None:
        if self._state.is_closed:
            raise StoreClosed("the store is closed, because the process is stopping")


class Database(StoreReader):
    """A store that is read and written. Safe to share between threads; every transaction has its own connection."""

    def __init__(self, url: str, busy_seconds: float = BUSY_SECONDS) -> None:
        """Open the store at an SQLAlchemy URL. Create a database (a file has mode 0600) if there is none, but no tables.

        Raises: StoreError, when it cannot be created or opened.
        """
        self._turn = threading.Lock()
        backend = backend_of(url, busy_seconds, self._turn)
        backend.create()
        super().__init__(backend)
        self._writer, self._durable_writer = (backend.writer(is_durable=each) for each in (False, True))
        self._busy_seconds = busy_seconds

    @contextlib.contextmanager
    def write(self, on_commit: Callable[[], None] = lambda: None, *, is_durable: bool = False) -> Iterator[Connection]:
        """Run a transaction that may write. It commits at the end of the block and rolls back on any error.

        `on_commit` is called after the commit, before any other writer of this process begins. A commit that `is_durable`
        survives a power cut: for what a person did, because nothing repeats it.
        Raises: StoreBusy, StoreClosed, RoleLost, StoreError.
        """
        with self._my_turn():
            self._check_open()
            try:
                writer = self._durable_writer if is_durable else self._writer
                with self._translated(), writer.begin() as connection:
                    yield connection
            except (StoreBusy, RoleLost):
                raise
            except StoreError as exc:
                self._state.write_failure = str(exc)
                raise
            self._state.write_failure = None
            on_commit()
            self._backend.note_commit()

    @property
    def write_failure(self) -> str | None:
        """Why the last write transaction failed (a full disk); None while the store can be written."""
        return self._state.write_failure

    def version(self) -> int:
        """Return a number that every commit changes, ours or another process's. It costs a hundredth of a query.

        Raises: StoreClosed, StoreError.
        """
        self._check_open()
        with self._translated():
            return self._backend.version()

    def listen(self, on_hint: Callable[[], None], stopping: threading.Event) -> bool:
        """Call `on_hint` soon after another process may have stored records, until `stopping`.

        Return False at once if the database gives no hints. One can be missing: whoever waits for records looks at `version`
        too, every `look_seconds`.
        """
        return self._backend.listen(on_hint, stopping)

    def set_up(self) -> None:
        """Prepare the store for a service: create the tables in an empty database, and migrate an older schema.

        A person upgrades a store that is shared, because replicas of the older version may use it.
        Raises: SchemaMismatch, when a newer or an unreleased actionwatch, or another program, wrote this store; or an older
        one wrote a store that is shared.
        """
        self._set_up(may_migrate=not self.is_shared)

    def upgrade(self) -> str | None:
        """Create the tables in an empty database, or migrate an older schema. Return the schema that it had.

        Raises: SchemaMismatch, as `set_up`; StoreOwned, when a replica runs that cannot use the new schema.
        """
        self._backend.build_indexes()
        return self._set_up(may_migrate=True)

    def _set_up(self, *, may_migrate: bool) -> str | None:
        with self._translated(), self._durable_writer.begin() as connection:
            found = read_revision(connection)
            if found is None:
                _check_empty(self.name, connection)
                _create(self._backend, connection)
            elif found < SCHEMA_VERSION:
                if not may_migrate:
                    raise _older(self._backend, found)
                if self.is_shared and found < self._backend.minimum_reader and self.is_owned():
                    raise StoreOwned(
                        f"a replica runs on {self.name} that cannot use schema {SCHEMA_VERSION}: stop all replicas"
                    )
                _migrate(self._backend, connection)
            _check_readable(self._backend, connection, found or SCHEMA_VERSION)
            self._backend.prepare(connection)
        return found

    def joined(self, *, alone: bool = False) -> contextlib.AbstractContextManager[Membership]:
        """Be a service on this store until the block ends: the only one on a file, one of the replicas on a shared store.

        Raises: StoreBusy, when another process runs on the file, or on a store that this one wants `alone`; StoreError.
        """
        return self._backend.joined(alone=alone)

    def as_holder(self, role: str) -> Self:
        """Return the same store, whose write transactions fail while this process runs as a replica without that role."""
        if not self.is_shared:
            return self
        handle = copy.copy(self)
        handle._writer, handle._durable_writer = (
            each.execution_options(**{ROLE: role}) for each in (self._writer, self._durable_writer)
        )
        return handle

    def now(self) -> datetime:
        """Return the time by the one clock of all processes on the store."""
        return self._backend.now()

    @property
    def sender(self) -> str | None:
        """The name of this process among those that send messages, if there can be others."""
        return self._backend.sender

    @property
    def look_seconds(self) -> float:
        """How often to look whether another process wrote to the store."""
        return self._backend.look_seconds

    def read_senders(self, connection: Connection) -> Collection[str]:
        """Return the live replicas that send messages; on a file only this process."""
        return self._backend.read_senders(connection)

    def close(self) -> None:
        """Close every pooled connection, after the transaction that writes now. A thread that comes later gets StoreClosed."""
        self._state.is_closed = True
        with contextlib.suppress(StoreBusy), self._my_turn():
            pass
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


def backend_of(url: str | URL, busy_seconds: float = BUSY_SECONDS, turn: threading.Lock | None = None) -> Backend:
    """Return what knows the database at a URL. `turn` is the lock that the writers of this process hold."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "postgresql":
        try:
            from actionwatch.store.postgresql import PostgresqlBackend
        except ImportError as exc:  # psycopg is an optional package
            raise StoreError(
                f"a store in PostgreSQL needs more packages ({exc}): install the project's requirements/postgres.txt"
            ) from exc
        return PostgresqlBackend(parsed, busy_seconds)
    from actionwatch.store.sqlite import SqliteBackend

    return SqliteBackend(parsed, busy_seconds, turn or threading.Lock())


def read_revision(connection: Connection) -> str | None:
    """Return the revision of the schema; None if there is none."""
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def _create(backend: Backend, connection: Connection) -> None:
    """Create the newest schema in an empty database; a test compares it with what the migrations make of the first one."""
    for table in METADATA.sorted_tables:
        connection.execute(CreateTable(table))
        # In one order in every store: SQLite chooses by it among indexes that it believes to be as good.
        for index in sorted(table.indexes, key=lambda each: str(each.name)):
            connection.execute(CreateIndex(index))
    connection.exec_driver_sql(
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, minimum_reader VARCHAR(32), "
        "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
    )
    values = f"'{SCHEMA_VERSION}', '{backend.minimum_reader}'"
    connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ({values})")  # noqa: S608  # nosec


def _migrate(backend: Backend, connection: Connection) -> None:
    """Migrate an older schema to the newest."""
    from actionwatch.store.migrations import migrate  # alembic takes 0.75 s and 8 MB to import

    migrate(connection)
    connection.exec_driver_sql(f"UPDATE alembic_version SET minimum_reader = '{backend.minimum_reader}'")  # noqa: S608  # nosec


def _check_version(backend: Backend, connection: Connection, *, is_older_accepted: bool) -> None:
    """Refuse to read a schema that this version does not know. Raises: StoreMissing, SchemaMismatch."""
    found, path = read_revision(connection), backend.name
    if found is None:
        _check_empty(path, connection)
        raise StoreMissing(
            f"the store {path} is empty: check store.url; 'actionwatch run' sets it up at its first start"
        )
    if found < SCHEMA_VERSION:
        if is_older_accepted:
            return
        raise _older(backend, found)
    _check_readable(backend, connection, found)


def _check_readable(backend: Backend, connection: Connection, found: str) -> None:
    """Refuse a newer schema that this version cannot use, and tables that differ. Raises: SchemaMismatch."""
    if found == UNFINISHED:
        raise SchemaMismatch(
            f"the store {backend.name} is an unfinished copy: repeat 'actionwatch store copy', or name another database"
        )
    if found > SCHEMA_VERSION:
        minimum = connection.exec_driver_sql("SELECT minimum_reader FROM alembic_version").scalar()
        if minimum is None or minimum > SCHEMA_VERSION:
            raise SchemaMismatch(
                f"the store {backend.name} has schema {found}, this actionwatch knows {SCHEMA_VERSION}: "
                "use the newer version on it"
            )
    _check_tables(backend, connection, is_newer=found > SCHEMA_VERSION)


def _check_empty(path: str, connection: Connection) -> None:
    """Refuse a database without a revision that has tables. Raises: SchemaMismatch."""
    names = schema.read_tables(connection)
    if names:
        raise SchemaMismatch(
            f"the store {path} has the table {names[0]}, and no revision of actionwatch: check store.url, it may be the "
            "database of another program"
        )


def _check_tables(backend: Backend, connection: Connection, *, is_newer: bool) -> None:
    """Refuse tables that differ from those of this version's revision. A newer one may add columns. Raises: SchemaMismatch."""
    difference = schema.find_difference(connection, dict(backend.shape(connection)), may_add=is_newer)
    if difference is not None:
        raise SchemaMismatch(
            f"the store {backend.name} does not have the tables of its schema {SCHEMA_VERSION}: {difference}. An unreleased "
            f"actionwatch wrote it, or it was changed by hand: {backend.replacing}"
        )


def _older(backend: Backend, found: str) -> SchemaMismatch:
    return SchemaMismatch(
        f"the store {backend.name} has the older schema {found}, this actionwatch reads {SCHEMA_VERSION}: {backend.upgrading}"
    )
