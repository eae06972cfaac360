"""The replicas on a store in PostgreSQL, as one of them sees the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

import psycopg
from sqlalchemy import Connection

from actionwatch.base.errors import StoreError
from actionwatch.store import lease, record_hints
from actionwatch.store.membership import Roster

_LIVING_IDS = "SELECT id FROM replica WHERE until > clock_timestamp()"


class Replicas:
    """See `Peers`."""

    look_seconds: float = 0.1  # the replica that sends an alert may be another than the one that opened it

    def __init__(
        self,
        leases: lease.Leases,
        connect: Callable[[], lease.Connection],
        failure: Callable[[psycopg.Error], StoreError],
    ) -> None:
        self._leases = leases
        self._connect = connect
        self._failure = failure
        self.sender: str | None = leases.id

    def now(self) -> datetime:
        """Return the time of the server, as far as this process has compared its own clock with it."""
        return self._leases.clock()

    def roster(self) -> Roster:
        """Return the replicas that live. Raises: StoreError."""
        with lease.opened(self._connect, self._failure) as connection:
            try:
                return lease.roster(connection)
            except psycopg.errors.UndefinedTable:  # no service has started on it yet
                return Roster("", {})

    def read_senders(self, connection: Connection) -> Collection[str]:
        """Return the replicas that live."""
        return list(connection.exec_driver_sql(_LIVING_IDS).scalars())

    def held_roles(self, connection: Connection, roles: Collection[str]) -> Collection[str]:
        """Return which of these roles this process has. All, if it never was a replica."""
        check = self._leases.check(roles)
        if check is None:
            return roles
        driver: Any = connection.connection.driver_connection
        return {row[0] for row in driver.execute(check).fetchall()}

    def term(self) -> int | None:
        """Return the number of the time in which this process is a replica without a pause; None if it is none now."""
        return self._leases.term()

    def is_steady(self) -> bool:
        """Return whether a replica that `read_senders` did not return is dead."""
        return self._leases.is_steady()

    def listen(self, on_hint: Callable[[], None], stopping: threading.Event) -> bool:
        """Call `on_hint` soon after another process has stored records, until `stopping`, if there is no pooler."""
        return record_hints.listen(self._connect, self._leases.id, on_hint, stopping)
