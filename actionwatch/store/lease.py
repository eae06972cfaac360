"""Which replicas run on a store in PostgreSQL, and which roles each has: leases that the database's clock judges.

Each replica has a lease, which says that it lives. A role, such as the tail of a source, belongs to one replica while that
one lives: so a renewal costs the same for a thousand roles. Each take-over raises the term of the role. A transaction that
writes for a role checks owner and term after it has the write lock, and a take-over needs that lock too: so a process that
was frozen or cut off never writes after its successor has taken over, however late it wakes.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql

from actionwatch.base.clock import SharedClock, seconds_passed
from actionwatch.base.errors import StoreClosed, StoreError, StoreOwned
from actionwatch.store.membership import ENDED, Place, Roster, last_owner

SPAN = timedelta(seconds=6)  # after a death, another replica takes over within this time and its next look
_FORGOTTEN_AFTER = timedelta(days=1)
# A process that is frozen while it writes would hold up everyone: its session is ended.
FROZEN_AFTER = timedelta(seconds=8)
_LEAVE_SECONDS = 0.5  # how long an end waits for the server: if it is silent, the leases end by themselves
_WRITE_LOCK = 1633907831  # a number that no other program uses for its locks
TAKE_LOCK = f"SELECT pg_advisory_xact_lock({_WRITE_LOCK})"
CREATE = """
CREATE TABLE IF NOT EXISTS replica (
    id text PRIMARY KEY, host text NOT NULL, since timestamptz NOT NULL, until timestamptz NOT NULL, note bytea NOT NULL,
    digest text NOT NULL
);
CREATE TABLE IF NOT EXISTS role (name text PRIMARY KEY, owner text NOT NULL, term bigint NOT NULL)
"""
_JOIN = """
INSERT INTO replica VALUES (%(owner)s, %(host)s, clock_timestamp(), clock_timestamp() + %(span)s, %(note)s, %(digest)s)
ON CONFLICT (id) DO UPDATE SET until = excluded.until, note = excluded.note, digest = excluded.digest
"""
_OTHERS = "SELECT host FROM replica WHERE id <> %(owner)s AND until > clock_timestamp()"
# Also after the lease had ended, if nobody has taken them since: owner and term show that.
_MINE = "SELECT name, term FROM role WHERE owner = %(owner)s"
# Its own too: the answer to an earlier statement may have been lost.
_TAKE = """
INSERT INTO role AS held SELECT name, %(owner)s, 1 FROM unnest(%(roles)s::text[]) AS name
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, term = held.term + 1
WHERE held.owner NOT IN (SELECT id FROM replica WHERE id <> %(owner)s AND until > clock_timestamp()) RETURNING name, term
"""
_HAND_OVER = "UPDATE role SET owner = '' WHERE owner = %(owner)s AND name = ANY (%(roles)s)"
# A service leaves its row for a day, so that `status` knows how it ended.
_END = "UPDATE replica SET until = least(until, clock_timestamp()), note = %(note)s WHERE id = %(owner)s"
_LEAVE = """
DELETE FROM replica WHERE id = %(owner)s AND note = '' OR until < clock_timestamp() - %(forgotten)s
"""
_FORGET = "DELETE FROM replica WHERE until <= clock_timestamp()"
_LAST = "SELECT note FROM replica WHERE until <= clock_timestamp() ORDER BY until DESC LIMIT 1"
_NOTE = "UPDATE replica SET note = %(note)s WHERE id = %(owner)s"
_CHECK = """
SELECT name FROM role JOIN replica ON id = owner WHERE (name, term) IN ({held}) AND id = {owner} AND until > clock_timestamp()
"""
_LIVING = "SELECT id, host, note, digest FROM replica WHERE until > clock_timestamp() ORDER BY since, id"
_HELD = "SELECT name, owner FROM role JOIN replica ON id = owner WHERE until > clock_timestamp()"

_PATIENCE = "SET LOCAL lock_timeout = '2s'; SET LOCAL idle_in_transaction_session_timeout = '4s'"
# The server ends a session that is idle in a transaction, but not one in the middle of a statement whose client is silent.
# A lock of two numbers, or of one with more than 32 bits, has the same `objid` with other values than 0 and 1.
# It waits for a moment until the session has ended (milliseconds), so that the next renewal does not end it again.
_END_FROZEN = f"""
SELECT pg_terminate_backend(pid, 500) FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND database = datid AND (classid, objid, objsubid) = (0, {_WRITE_LOCK}, 1) AND granted
AND datname = current_database() AND usename = current_user
AND wait_event_type = 'Client' AND state_change < clock_timestamp() - %(frozen_after)s
"""  # noqa: S608  # nosec

Connection = psycopg.Connection[tuple[Any, ...]]


class Leases:
    """The lease of this process, and the roles that it has. Safe to share between threads."""

    def __init__(
        self,
        connect: Callable[[], Connection],
        failure: Callable[[psycopg.Error], StoreError],
        name: str,
    ) -> None:
        """`connect` opens a connection that commits each statement; `failure` returns our error for one of the driver.

        `name` is that of the store in messages.
        """
        self._connect = connect
        self._failure = failure
        self._name = name
        self.id = secrets.token_hex(8)
        self.clock = SharedClock()
        self._host = socket.gethostname()
        self._note = b""
        self._digest = ""
        self._has_joined = False
        self._place = Place()
        self._terms: dict[str, int] = {}  # several threads change it, one role at a time
        self._session = _Session(connect, failure, name)

    def check(self, roles: Collection[str]) -> str | None:
        """Return the query of those of the roles that this process has now; None if it never was a replica."""
        if not self._has_joined:
            return None
        held = [sql.SQL("({}, {})").format(role, self._terms.get(role, 0)) for role in roles]
        return sql.SQL(_CHECK).format(held=sql.SQL(", ").join(held), owner=self.id).as_string()

    @contextlib.contextmanager
    def joined(self, *, alone: bool) -> Iterator[Leases]:
        """Be a replica until the block ends. Raises: StoreOwned, when it must be `alone` and another one lives; StoreError."""
        began = seconds_passed()
        with opened(self._connect, self._failure) as connection, connection.transaction():
            connection.execute(TAKE_LOCK)
            other = connection.execute(_OTHERS, self._values()).fetchone() if alone else None
            if other is not None:
                raise StoreOwned(
                    f"another actionwatch runs on {self._name}, on {other[0]}: stop it, or give this one its own store.url"
                )
            if alone:
                connection.execute(_FORGET)
            connection.execute(_JOIN, self._values())
        self._place = self._place.taken(began, seconds_passed(), alone=alone)
        self._has_joined, self._session.has_ended = True, False
        try:
            yield self
            self._note = ENDED if self._note else b""
        finally:
            self._leave()

    def write(self, note: bytes) -> None:
        """Replace the note that commands and other replicas read."""
        self._note = note  # a renewal writes it too, if the server does not answer now
        with contextlib.suppress(StoreError), self._session.use() as connection:
            connection.execute(_NOTE, self._values())

    def publish(self, digest: str) -> None:
        """Publish the digest of the files of this process, from the next renewal on."""
        self._digest = digest

    def renew(self) -> Roster:
        """Renew the leases, and say who runs and who has which role. Raises: StoreError."""
        try:
            with self._session.use() as connection:
                before, began = dict(self._terms), seconds_passed()
                self.clock.compare(lambda: read_time(connection))
                with connection.transaction():
                    connection.execute(_PATIENCE)
                    connection.execute(_JOIN, self._values())
                    kept = dict(connection.execute(_MINE, self._values()).fetchall())
                self._place = self._place.renewed(began, seconds_passed(), SPAN)
                ended_count = len(connection.execute(_END_FROZEN, self._values()).fetchall())
                found = replace(roster(connection, self.id, self._terms), frozen_writers=ended_count)
        except StoreError:
            self._place = self._place.not_renewed()
            raise
        for role, term in before.items():
            if kept.get(role) != term == self._terms.get(role):
                self._terms.pop(role, None)
        return found

    def term(self) -> int | None:
        """Return the number of the time in which this process is a replica without a pause; None if it is none now.

        What it claimed in an earlier term, others may have claimed since. It has one as long as it never was a replica.
        """
        if not self._has_joined:
            return 0
        return None if self._session.has_ended else self._place.term_at(seconds_passed(), SPAN)

    def is_steady(self) -> bool:
        """Return whether a replica whose lease has ended is dead: after an outage of the server, each gets a lease to renew."""
        return not self._has_joined or self._place.is_steady_at(seconds_passed(), SPAN)

    def take_roles(self, roles: Sequence[str]) -> list[str]:
        """Take those of these roles that no living replica has, and return them. Raises: StoreError."""
        with opened(self._connect, self._failure) as connection, connection.transaction():
            connection.execute(_PATIENCE)
            connection.execute(TAKE_LOCK)  # whoever had the roles has committed what it still could
            terms = dict(connection.execute(_TAKE, self._values(roles)).fetchall())
        self._terms.update(terms)
        return [role for role in roles if role in terms]

    def has(self, role: str) -> bool:
        """Return whether this process took a role, and no renewal since has shown that it lost it."""
        return role in self._terms

    def hand_over(self, roles: Sequence[str]) -> None:
        """Let other replicas take roles at once. Raises: StoreError."""
        for role in roles:
            self._terms.pop(role, None)
        with self._session.use() as connection:
            connection.execute(_HAND_OVER, self._values(roles))

    def _leave(self) -> None:
        """Let the others see at once that this replica has ended, with its roles; but wait for no silent server."""
        self._session.has_ended = True
        ending = threading.Thread(target=self._end, name="leave", daemon=True)
        ending.start()
        ending.join(_LEAVE_SECONDS)

    def _end(self) -> None:
        with self._session.ending():  # a renewal that ends later would join again
            self._terms.clear()
            with contextlib.suppress(StoreError), opened(self._connect, self._failure) as connection:
                connection.execute(_END, self._values())
                connection.execute(_LEAVE, self._values())

    def _values(self, roles: Sequence[str] = ()) -> dict[str, Any]:
        return {
            "owner": self.id,
            "host": self._host,
            "span": SPAN,
            "frozen_after": FROZEN_AFTER,
            "note": self._note,
            "digest": self._digest,
            "roles": list(roles),
            "forgotten": _FORGOTTEN_AFTER,
        }


class _Session:
    """A connection that stays open, because a renewal comes each second; once it `has_ended`, nobody can use it."""

    def __init__(
        self, connect: Callable[[], Connection], failure: Callable[[psycopg.Error], StoreError], name: str
    ) -> None:
        self.has_ended = False
        self._connect = connect
        self._failure = failure
        self._name = name
        self._turn = threading.Lock()
        self._connection: Connection | None = None

    @contextlib.contextmanager
    def use(self) -> Iterator[Connection]:
        """Yield the connection to one thread at a time. Raises: StoreError."""
        with self.ending():
            if self.has_ended:
                raise StoreClosed(f"this process is no longer a replica on {self._name}, because it is stopping")
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = self._connect()
                yield self._connection
            except psycopg.Error as exc:
                if self._connection is not None:
                    self._connection.close()
                raise self._failure(exc) from exc

    @contextlib.contextmanager
    def ending(self) -> Iterator[None]:
        """Keep others from the connection. Close it if it has ended meanwhile."""
        with self._turn:
            try:
                yield
            finally:
                if self.has_ended and self._connection is not None:
                    self._connection.close()


@contextlib.contextmanager
def opened(connect: Callable[[], Connection], failure: Callable[[psycopg.Error], StoreError]) -> Iterator[Connection]:
    """Open a connection until the block ends. Raises: StoreError, for each error of the driver."""
    try:
        with contextlib.closing(connect()) as connection:
            yield connection
    except psycopg.Error as exc:
        raise failure(exc) from exc


def roster(connection: Connection, mine: str = "", roles: Collection[str] = ()) -> Roster:
    """Return which replicas live, and who has which role. `mine` is the id of this process; it knows that it has `roles`."""
    living = connection.execute(_LIVING).fetchall()
    held = connection.execute(_HELD).fetchall()
    last = None if living else connection.execute(_LAST).fetchone()
    return Roster(
        mine,
        hosts={row[0]: row[1] for row in living},
        notes={row[0]: bytes(row[2]) for row in living},
        digests={row[0]: row[3] for row in living},
        holders={name: owner for name, owner in held if owner != mine or name in roles},
        last=last_owner(bytes(last[0]) if last else b""),
    )


def read_time(connection: Connection) -> datetime:
    """Read the clock of the server."""
    ((now,),) = connection.execute("SELECT clock_timestamp()")
    found: datetime = now
    return found.astimezone(UTC)
