"""The store: transactions, in any database. Each kind of database has a `Backend` in its own module.

Writers take the write lock at once, because a transaction that reads first and writes later fails under contention instead of
waiting. The writers of one process queue in the process, because the database would let each poll for the lock and serve the
newest first. Readers use a second engine that cannot write, and each of their transactions sees one state of the store.
"""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sqlalchemy import URL, Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from actionwatch.base.errors import RoleLost, StoreBusy, StoreClosed, StoreError
from actionwatch.store import revision, schema
from actionwatch.store.backend import BUSY_SECONDS, Backend, backend_of
from actionwatch.store.membership import ROLE, Membership

_CLOSE_SECONDS = 0.5


@dataclass(slots=True)
class _State:
    """The state that an open store and its handles for roles share."""

    is_closed: bool = False
    write_failure: str | None = None


class StoreReader:
    """A store that is only read: it creates no file and changes no schema. Safe to share between threads."""

    def __init__(self, backend: Backend) -> None:
        self.name = backend.site.name
        self.path = backend.site.path
        self.is_shared = backend.is_shared
        self.peers = backend.peers
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
        backend.site.check_exists()
        store = cls(backend)
        try:
            with store.read() as connection:
                revision.check(backend, connection, is_older_accepted=is_older_accepted)
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

    def find_additions(self, connection: Connection) -> list[str]:
        """Name what another program added to the database, and what changes nothing of what actionwatch writes."""
        return schema.find_additions(connection, dict(self._backend.shape(connection)), self._backend.further_tables)

    def copy_to(self, path: Path) -> None:
        """Copy one state of the store into an empty file, while others read and write it, and check the copy.

        Raises: StoreBusy, StoreClosed; StoreError, when the store is damaged or the copy cannot be written.
        """
        with self.read() as connection:
            self._backend.copy_to(connection, path)

    def is_owned(self) -> bool:
        """Return whether a process runs on this store now: a service, or a round of one."""
        return bool(self.peers.roster().hosts)

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
        backend.site.create()
        super().__init__(backend)
        self._writer, self._durable_writer = (backend.writer(is_durable=each) for each in (False, True))
        self._busy_seconds = busy_seconds

    @contextlib.contextmanager
    def write(self, on_commit: Callable[[], None] = lambda: None, *, is_durable: bool = False) -> Iterator[Connection]:
        """Run a transaction that may write. It commits at the end of the block and rolls back on any error.

        `on_commit` is called after the commit, before any other writer of this process begins. A commit that `is_durable`
        survives a power cut: for what a person did, because nothing repeats it.
        Raises: StoreBusy, StoreClosed, StoreReplaced, RoleLost, StoreError.
        """
        with self._my_turn(self._busy_seconds):
            self._check_open()
            try:
                self._backend.site.check_in_place()
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

    def check_in_place(self) -> None:
        """Check that this process, as a service, still works on the store that it joined. Costs no access to the store.

        Raises: StoreReplaced.
        """
        self._backend.site.check_in_place()

    def version(self) -> int:
        """Return a number that every commit changes, ours or another process's. It costs a hundredth of a query.

        Raises: StoreClosed, StoreError.
        """
        self._check_open()
        with self._translated():
            return self._backend.version()

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
        with self._translated(), self._reader.begin() as connection:
            found = revision.read_revision(connection)
        if found is not None and revision.FIRST_VERSION <= found <= revision.SCHEMA_VERSION:
            self._backend.build_indexes()
        return self._set_up(may_migrate=True)

    def _set_up(self, *, may_migrate: bool) -> str | None:
        with self._translated(), self._durable_writer.begin() as connection:
            return revision.set_up(self._backend, connection, may_migrate=may_migrate)

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

    def close(self) -> None:
        """Close every pooled connection. A thread that comes later gets StoreClosed.

        Wait a little for the transaction that writes now: a longer one is that of a thread for which nobody waits any longer.
        """
        self._state.is_closed = True
        with contextlib.suppress(StoreBusy), self._my_turn(_CLOSE_SECONDS):
            pass
        self._writer.dispose()
        self._durable_writer.dispose()
        super().close()

    @contextlib.contextmanager
    def _my_turn(self, seconds: float) -> Iterator[None]:
        if not self._turn.acquire(timeout=seconds):
            raise StoreBusy("the store is busy: another step of this process has been writing for too long")
        try:
            yield
        finally:
            self._turn.release()
