"""The interface of a kind of database for `database.py`. `sqlite.py` and `postgresql.py` implement it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Protocol

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.engine import make_url

from actionwatch.base.errors import StoreError
from actionwatch.store.membership import Membership, Peers

BUSY_SECONDS = 30.0  # how long a transaction waits for the write lock


class Site(Protocol):
    """The place of a store: a file, or a server."""

    name: str
    """The store in messages: a path, or a URL without the password."""

    @property
    def path(self) -> Path | None:
        """The file, if the store is one."""
        ...

    def check_exists(self) -> None:
        """Check that there is a store to read. Raises: StoreMissing, StoreError."""
        ...

    def create(self) -> None:
        """Create an empty database if there is none, and it can. Raises: StoreError."""
        ...

    def check_in_place(self) -> None:
        """Check that a service still works on the store that it joined. Raises: StoreReplaced."""
        ...


class Backend(Protocol):
    """One kind of database: its engines, its errors, its owner, and the remedies for people."""

    is_shared: bool
    """Whether processes on several machines can use the store."""
    driver_error: type[Exception]
    """What the driver raises where a statement does not go through SQLAlchemy."""
    replacing: str
    """How a person replaces a store that cannot be used."""
    beginning_anew: str
    """How a person begins with an empty store, up to its first start."""
    upgrading: str
    """How a person upgrades a store with an older schema."""
    minimum_reader: str
    """The oldest schema whose version of actionwatch can read and write the newest one, so that replicas of it continue after
    an upgrade. A revision that only adds (tables, nullable columns, indexes) leaves it; any other, also one that replaces an
    index, sets it to itself."""

    @property
    def site(self) -> Site:
        """The place of the store."""
        ...

    @property
    def peers(self) -> Peers:
        """The services that may work on the store beside this process."""
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
        """Yield the columns and indexes of the tables, and the triggers and rules on our tables, by name: see `schema.py`."""
        ...

    @property
    def further_tables(self) -> Collection[str]:
        """The tables that `prepare` creates."""
        ...

    def version(self) -> int:
        """Return a number that every commit changes, ours or another process's. Raises: errors of the driver."""
        ...

    def note_commit(self) -> None:
        """Note that this process has committed, while it holds `turn`."""
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
