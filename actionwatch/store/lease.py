"""Who runs on a store in PostgreSQL: a lease that the database's clock judges.

Each take-over raises the term. The owner's write transactions check owner and term after they have the write lock, and a
take-over needs that lock too: so a process that was frozen or cut off never writes beside its successor, however late it wakes.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
from psycopg import sql

from actionwatch.base.errors import StoreError, StoreOwned

SPAN = timedelta(seconds=8)  # after a death, another replica takes over within this time and its next look
RENEW_EVERY = timedelta(seconds=2)
CREATE = """
CREATE TABLE IF NOT EXISTS lease (
    name text PRIMARY KEY, owner text NOT NULL, host text NOT NULL, term bigint NOT NULL, until timestamptz NOT NULL,
    note bytea NOT NULL
)
"""
_TAKE = """
INSERT INTO lease AS held VALUES ('service', %(owner)s, %(host)s, 1, clock_timestamp() + %(span)s, '')
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, host = excluded.host, term = held.term + 1, until = excluded.until,
    note = ''
WHERE held.until <= clock_timestamp() RETURNING term
"""
_RENEW = """
UPDATE lease SET until = clock_timestamp() + %(span)s
WHERE name = 'service' AND owner = %(owner)s AND term = %(term)s AND until > clock_timestamp()
"""
_RELEASE = """
UPDATE lease SET until = '-infinity', note = '' WHERE name = 'service' AND owner = %(owner)s AND term = %(term)s
"""
_NOTE = "UPDATE lease SET note = %(note)s WHERE name = 'service' AND owner = %(owner)s AND term = %(term)s"
_CHECK = """
SELECT 1 FROM lease WHERE name = 'service' AND owner = {owner} AND term = {term} AND until > clock_timestamp()
"""
_HOLDER = "SELECT host, note FROM lease WHERE name = 'service' AND until > clock_timestamp()"

Connect = Callable[[], "psycopg.Connection[tuple[Any, ...]]"]
"""Opens a connection that commits each statement."""


class Lease:
    """The lease of this process, which it holds or wants."""

    def __init__(self, connect: Connect, lock: str, name: str) -> None:
        """`lock` is the statement that takes the write lock in a transaction; `name` is that of the store in messages."""
        self._connect = connect
        self._lock = lock
        self._name = name
        self._owner = secrets.token_hex(8)
        self._host = socket.gethostname()
        self._term = 0  # the term since which, or until which, it was held; 0: never

    def check(self) -> str | None:
        """Return the query that has a row only while this process owns the store; None if it never did."""
        if not self._term:
            return None
        return sql.SQL(_CHECK).format(owner=self._owner, term=self._term).as_string()

    @contextlib.contextmanager
    def held(self) -> Iterator[Lease]:
        """Hold it until the block ends. Raises: StoreOwned, when another process holds it; StoreError."""
        with contextlib.closing(self._connect()) as connection:
            with connection.transaction():
                connection.execute(self._lock)
                row = connection.execute(_TAKE, self._values()).fetchone()
            if row is None:
                host, _ = holder(connection) or ("another machine", b"")
                raise StoreOwned(
                    f"another actionwatch runs on {self._name}, on {host}: stop it, or give this one its own store.url"
                )
            self._term = row[0]
        try:
            yield self
        finally:
            with contextlib.suppress(psycopg.Error, StoreError), contextlib.closing(self._connect()) as connection:
                connection.execute(_RELEASE, self._values())

    def write(self, note: bytes) -> None:
        """Replace the note that commands read."""
        with contextlib.suppress(psycopg.Error, StoreError), contextlib.closing(self._connect()) as connection:
            connection.execute(_NOTE, {**self._values(), "note": note})

    def keep(self, stopping: threading.Event) -> None:
        """Renew it until `stopping`. Raises: StoreError, when it is lost, or may be lost because the database is silent."""
        renewed = time.monotonic()
        while not stopping.wait(RENEW_EVERY.total_seconds()):
            began = time.monotonic()
            with contextlib.suppress(psycopg.Error, StoreError), contextlib.closing(self._connect()) as connection:
                if not connection.execute(_RENEW, self._values()).rowcount:
                    break
                renewed = began
            if time.monotonic() - renewed >= SPAN.total_seconds():
                break
        if not stopping.is_set():
            raise StoreError(f"this process no longer owns {self._name}: another one takes over")

    def _values(self) -> dict[str, Any]:
        return {"owner": self._owner, "host": self._host, "term": self._term, "span": SPAN}


def holder(connection: psycopg.Connection[tuple[Any, ...]]) -> tuple[str, bytes] | None:
    """Return the host of the process that holds the lease, and its note; None if none does."""
    row = connection.execute(_HOLDER).fetchone()
    return None if row is None else (row[0], bytes(row[1]))
