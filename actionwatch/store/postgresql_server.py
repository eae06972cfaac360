"""The PostgreSQL server of a store: how connections to it are opened, and what its errors mean."""

from __future__ import annotations

from typing import Any

import psycopg
from sqlalchemy import URL, Engine, QueuePool, create_engine, event

from actionwatch.base.errors import SchemaMismatch, StoreBusy, StoreError, StoreUnreachable
from actionwatch.text.redaction import Redaction

REPLACING = "name an empty database in store.url, or restore a backup of this one with pg_restore"
# No prepared statements, so that a pooler can be used. A broken network is noticed within ten seconds.
_CONNECTING: dict[str, Any] = {
    "prepare_threshold": None,
    "connect_timeout": 5,
    "application_name": "actionwatch",
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 10_000,
}
# As many threads poll by default. By default of the library, each connection beyond five is opened for one transaction, which
# costs the server and us more than the transaction. The last one used comes first, so that few are opened.
_KEPT = 16
_MAX_ERROR_CHARS = 1000
_BUSY_STATES = {"40001", "40P01", "55P03", "57014"}  # serialization, deadlock, a lock or a statement that took too long
# Shut down, starting, a connection that broke, and a server that accepts no writes until it is the primary.
_AWAY_STATES = {"57P01", "57P02", "57P03", "08000", "08001", "08003", "08004", "08006", "25006"}
_WRONG_TABLES = {
    "42P01",
    "42P07",
    "42703",
    "42701",
    "42704",
    "42710",
}  # undefined or duplicate tables, columns, objects
_REMEDIES = {
    "25006": "it accepts no writes: name the primary server in store.url",
    "28000": "check the user in store.url, and what pg_hba.conf allows",
    "28P01": "check the password in store.url",
    "3D000": "create the database, or check store.url",
    "42501": "give the user of store.url the right to create tables in the schema",
    "53100": "free space on the disk of the server",
    "53300": "allow more connections on the server, or use a pooler",
}


class Server:
    """See `Site`."""

    path = None

    def __init__(self, url: URL) -> None:
        self.name = url.render_as_string(hide_password=True)
        self._url = url
        self._passwords: set[str] = set()
        """Those that libpq has sent or may have sent, from wherever it took them: the server may return them in an error."""

    def check_exists(self) -> None:
        """Leave the answer to the first transaction."""

    def create(self) -> None:
        """Leave the database to its owner; the tables come with the first start."""

    def check_in_place(self) -> None:
        """Do nothing: the server keeps its files."""

    def failure(self, error: BaseException) -> StoreError:
        """Return our error for an error of psycopg."""
        self._note_password(getattr(error, "pgconn", None))  # of a connection that failed
        text = " ".join(Redaction(self._passwords).excerpt(str(error), _MAX_ERROR_CHARS).split())
        state = getattr(error, "sqlstate", None) or ""
        if state in _BUSY_STATES:
            return StoreBusy(f"the store is busy: {text}")
        if isinstance(error, psycopg.OperationalError) and not state:
            return StoreUnreachable(f"the store {self.name} cannot be reached: {text}")
        if state in _WRONG_TABLES:
            return SchemaMismatch(f"the store {self.name} does not have the tables of its schema ({text}): {REPLACING}")
        remedy = _REMEDIES.get(state)
        kind = StoreUnreachable if state in _AWAY_STATES else StoreError
        return kind(f"the store {self.name} failed: {text}" + (f": {remedy}" if remedy else ""))

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Open a connection that commits each statement."""
        url = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        connection = psycopg.connect(url, autocommit=True, **_CONNECTING)
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        self._note_password(connection.pgconn)
        return connection

    def engine(self) -> Engine:
        """Return an engine, whose connections begin transactions as SQLAlchemy does."""
        engine = create_engine(
            self._url, poolclass=QueuePool, pool_size=_KEPT, pool_use_lifo=True, connect_args=_CONNECTING
        )

        @event.listens_for(engine, "connect")
        def _note(connection: Any, _: object) -> None:
            self._note_password(connection.pgconn)

        return engine

    def _note_password(self, connection: psycopg.pq.abc.PGconn | None) -> None:
        if connection is not None and connection.password:
            self._passwords.add(connection.password.decode("utf-8", "replace"))
