"""A store in PostgreSQL, version 14 or later. Only this module knows PostgreSQL.

One write transaction runs at a time, in all processes: each takes an advisory lock first, under READ COMMITTED, because a
snapshot from before the lock would hide what the writer before it has committed. So positions, ids and ordinals mean the same
as in SQLite. Reading transactions see one snapshot and do not wait. Nothing depends on a session, so that a pooler in
transaction mode can be used.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import URL, Connection, Engine, QueuePool, Text, create_engine, event
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateIndex

from actionwatch.base.errors import RoleLost, SchemaMismatch, StoreBusy, StoreError, StoreUnreachable
from actionwatch.store.lease import CREATE, FROZEN_AFTER, TAKE_LOCK, Leases, opened, read_time
from actionwatch.store.membership import ROLE, Peers, is_tail_role
from actionwatch.store.record_hints import NOTIFY
from actionwatch.store.replicas import Replicas
from actionwatch.store.schema import LOG_TRIGGER, OWN_TABLES
from actionwatch.store.tables import METADATA
from actionwatch.text.redaction import Redaction

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
_MAX_ERROR_CHARS = 1000
_IDLE = f"idle_in_transaction_session_timeout = '{FROZEN_AFTER.total_seconds():g}s'"
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
_COLUMNS = """
SELECT pg_class.relname, attname, format_type(atttypid, atttypmod), collname, attnotnull, coalesce(attnum = ANY (indkey), false)
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
LEFT JOIN pg_collation ON pg_collation.oid = attcollation
LEFT JOIN pg_index ON indrelid = pg_class.oid AND indisprimary
WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
"""
# An index of an expression has columns without a name. An exclusion constraint refuses rows as a unique index does.
_INDEXES = """
SELECT named.relname, indisunique, array_agg(coalesce(attname, '') ORDER BY place), indexed.relname
FROM pg_index JOIN pg_class named ON named.oid = indexrelid JOIN pg_class indexed ON indexed.oid = indrelid
CROSS JOIN unnest(indkey) WITH ORDINALITY AS keys (number, place)
LEFT JOIN pg_attribute ON attrelid = indrelid AND attnum = number
WHERE named.relnamespace = current_schema()::regnamespace AND NOT indisprimary GROUP BY 1, 2, 4
"""
_INVALID = """
SELECT relname FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE relnamespace = current_schema()::regnamespace AND NOT indisvalid
"""
# The tables that grow with the log. By default the server cleans and counts a table again when a fifth of it has changed: of 50
# million records, ten million. Until then, deleted rows stay, and plans are made for the store of months ago.
_LARGE = (
    *("record", "receipt", "alert", "alert_record", "alert_history", "delivery", "correlated_alert"),
    *("row_history", "seal", "hit", "touched_group"),
)
_AUTOVACUUM = """autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02,
autovacuum_analyze_scale_factor = 0.01"""
# A table to which an operator has given options keeps them.
_WITHOUT_OPTIONS = """
SELECT relname FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r' AND reloptions IS NULL AND relname = ANY (%s)
"""
# pg_repack has a trigger while it rebuilds a table: after each row (the bits 1 and not 2), which holds nothing back.
_TRIGGERS = """
SELECT tgname, relname, prosrc, tgenabled::text,
    proname = 'repack_trigger' AND pronamespace = to_regnamespace('repack') AND tgtype & 3 = 1
FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid JOIN pg_proc ON pg_proc.oid = tgfoid
WHERE relnamespace = current_schema()::regnamespace AND NOT tgisinternal AND relname = ANY (%s)
"""
_RULES = """
SELECT rulename, relname FROM pg_rewrite JOIN pg_class ON pg_class.oid = ev_class
WHERE relnamespace = current_schema()::regnamespace AND relname = ANY (%s)
UNION ALL SELECT polname, relname FROM pg_policy JOIN pg_class ON pg_class.oid = polrelid
WHERE relnamespace = current_schema()::regnamespace AND relname = ANY (%s)
UNION ALL SELECT conname, relname FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
WHERE relnamespace = current_schema()::regnamespace AND relname = ANY (%s) AND contype = 'x'
"""


@compiles(Text, "postgresql")
def _as_bytes(_: Text, __: Any, **___: Any) -> str:
    """Keys and times in keys are compared by their bytes, as in SQLite, whatever the locale of the database."""
    return 'TEXT COLLATE "C"'


# PostgreSQL has the same partial indexes.
for _table in METADATA.tables.values():
    for _index in _table.indexes:
        _index.dialect_options["postgresql"]["where"] = _index.dialect_options["sqlite"]["where"]


class PostgresqlBackend:
    """The database of one URL."""

    path = None
    is_shared = True
    further_tables = ("replica", "lease")
    driver_error: type[Exception] = psycopg.Error
    beginning_anew = "name an empty database in store.url: 'actionwatch run' creates its tables"
    replacing = "name an empty database in store.url, or restore a backup of this one with pg_restore"
    minimum_reader = "1000"
    upgrading = "run 'actionwatch store upgrade' of this version, after a backup"

    def __init__(self, url: URL, busy_seconds: float) -> None:
        self.name = url.render_as_string(hide_password=True)
        self._passwords: set[str] = set()
        """Those that libpq has sent or may have sent, from wherever it took them: the server may return them in an error."""
        self._url = url
        self._busy_seconds = busy_seconds
        self._watcher: psycopg.Connection[tuple[Any, ...]] | None = None
        self._watching = threading.Lock()
        self._dialect = url.get_dialect()()
        self._leases = Leases(self._connect, self.failure, self.name)
        self.peers: Peers = Replicas(self._leases, self._connect, self.failure)

    def check_exists(self) -> None:
        """Leave the answer to the first transaction."""

    def create(self) -> None:
        """Leave the database to its owner; the tables come with the first start."""

    def check_in_place(self) -> None:
        """Do nothing: the server keeps its files."""

    def prepare(self, connection: Connection) -> None:
        """Create the tables of the replicas and their roles, and read the clock of the server for the first time.

        Large tables get options of autovacuum.
        """
        connection.exec_driver_sql(CREATE)
        for name in connection.exec_driver_sql(_WITHOUT_OPTIONS, (list(_LARGE),)).scalars().all():
            connection.exec_driver_sql(f"ALTER TABLE {name} SET ({_AUTOVACUUM})")
        driver: Any = connection.connection.driver_connection
        self._leases.clock.compare(lambda: read_time(driver))

    def build_indexes(self) -> None:
        """Build the indexes of the newest schema whose columns exist, without keeping replicas from writing meanwhile."""
        with opened(self._connect, self.failure) as connection:
            for (name,) in connection.execute(_INVALID).fetchall():  # a build of them was interrupted
                connection.execute(sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.Identifier(name)))
            columns = {f"{row[0]}.{row[1]}" for row in connection.execute(_COLUMNS)}
            there = {row[0] for row in connection.execute(_INDEXES)}
            for index in [each for table in METADATA.tables.values() for each in table.indexes]:
                if index.name not in there and {str(column) for column in index.columns} <= columns:
                    statement = str(CreateIndex(index).compile(dialect=self._dialect))
                    connection.execute(statement.replace(" INDEX ", " INDEX CONCURRENTLY ", 1).encode())

    def reader(self) -> Engine:
        """Return the engine of readers: each transaction sees one snapshot, and the server refuses writes."""
        engine = self._engine()

        @event.listens_for(engine, "connect")
        def _prepare(connection: Any, _: object) -> None:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True

        return engine

    def writer(self, *, is_durable: bool) -> Engine:
        """Return an engine of writers. Only commits that are durable wait for the disk."""
        engine = self._engine()
        commit = "on" if is_durable else "off"
        settings = (f"lock_timeout = {int(self._busy_seconds * 1000)}", _IDLE, f"synchronous_commit = {commit}")
        begin = "; ".join([*(f"SET LOCAL {each}" for each in settings), TAKE_LOCK])

        @event.listens_for(engine, "connect")
        def _prepare(connection: Any, _: object) -> None:
            connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED  # the server may have another default

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            role: str | None = connection.get_execution_options().get(ROLE)
            fence = self._leases.check(role) if role else None
            driver: Any = connection.connection.driver_connection  # psycopg's: several statements in one round trip
            with driver.cursor() as cursor:
                cursor.execute(begin if fence is None else f"{begin}; {fence}")
                while cursor.nextset():
                    pass
                if fence is not None and cursor.fetchone() is None:
                    raise RoleLost(f"this process no longer has the role {role} on {self.name}: another one takes over")

        @event.listens_for(engine, "commit")
        def _notify(connection: Connection) -> None:
            if is_tail_role(connection.get_execution_options().get(ROLE, "")):
                driver: Any = connection.connection.driver_connection
                driver.execute(NOTIFY, (self._leases.id,))

        return engine

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
            return SchemaMismatch(
                f"the store {self.name} does not have the tables of its schema ({text}): {self.replacing}"
            )
        remedy = _REMEDIES.get(state)
        kind = StoreUnreachable if state in _AWAY_STATES else StoreError
        return kind(f"the store {self.name} failed: {text}" + (f": {remedy}" if remedy else ""))

    def shape(self, connection: Connection) -> Iterator[tuple[str, tuple[object, ...]]]:
        """Yield the columns and indexes of the tables, and the triggers and rules of ours."""
        for table, name, type_, collation, is_required, is_key in connection.exec_driver_sql(_COLUMNS):
            spelled = type_.upper() + (f' COLLATE "{collation}"' if type_ == "text" else "")
            yield f"column {table}.{name}", (spelled, not is_required, is_key)
        for name, is_unique, columns, table in connection.exec_driver_sql(_INDEXES):
            yield f"index {name}", (is_unique, list(columns), table)
        own = list(OWN_TABLES)
        for name, table, body, enabled, is_log in connection.exec_driver_sql(_TRIGGERS, (own,)):
            yield f"{LOG_TRIGGER if is_log else 'trigger '}{name} of the table {table}", (body, enabled)
        for name, table in connection.exec_driver_sql(_RULES, (own, own, own)):
            yield f"rule {name} of the table {table}", ()

    def version(self) -> int:
        """Return a number for which transactions of the server have ended.

        The next transaction to begin would not do: one that began before a reading may commit after it.
        """
        with self._watching:
            if self._watcher is None or self._watcher.closed:
                self._watcher = self._connect()
            ((snapshot,),) = self._watcher.execute("SELECT pg_current_snapshot()::text")
        return hash(snapshot)

    def note_commit(self) -> None:
        """Do nothing: the server keeps its log short by itself."""

    def copy_to(self, connection: Connection, path: Path) -> None:
        """Refuse it. Raises: StoreError."""
        del connection
        raise StoreError(
            f"{path} is not written: back up {self.name} with pg_dump, or as you back up your other databases"
        )

    def close(self) -> None:
        """Close the connection that looks at the version."""
        if self._watcher is not None:
            self._watcher.close()

    def joined(self, *, alone: bool) -> contextlib.AbstractContextManager[Leases]:
        """Be a replica until the block ends. Raises: StoreOwned, when it must be `alone` and another one lives; StoreError."""
        return self._leases.joined(alone=alone)

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Open a connection that commits each statement."""
        url = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        connection = psycopg.connect(url, autocommit=True, **_CONNECTING)
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        self._note_password(connection.pgconn)
        return connection

    def _engine(self) -> Engine:
        engine = create_engine(self._url, poolclass=QueuePool, connect_args=_CONNECTING)

        @event.listens_for(engine, "connect")
        def _note(connection: Any, _: object) -> None:
            self._note_password(connection.pgconn)

        return engine

    def _note_password(self, connection: psycopg.pq.abc.PGconn | None) -> None:
        if connection is not None and connection.password:
            self._passwords.add(connection.password.decode("utf-8", "replace"))


def copy_rows(connection: Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Insert rows with COPY, whose keys do not exist."""
    driver: Any = connection.connection.driver_connection
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), names)
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)
