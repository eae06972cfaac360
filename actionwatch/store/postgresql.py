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
from sqlalchemy import URL, Connection, Engine, Text, event
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateIndex

from actionwatch.base.errors import RoleLost, StoreError
from actionwatch.store import record_hints
from actionwatch.store.lease import CREATE, FROZEN_AFTER, TAKE_LOCK, Leases, opened, read_time
from actionwatch.store.membership import ROLE, Peers
from actionwatch.store.postgresql_server import REPLACING, Server
from actionwatch.store.replicas import Replicas
from actionwatch.store.schema import LOG_TRIGGER, OWN_TABLES
from actionwatch.store.tables import METADATA

# A search hashes the values with a word. If they do not fit, the server compares them with each record: that takes minutes.
_WORK_MEM = "SELECT set_config('work_mem', '64MB', false) WHERE pg_size_bytes(current_setting('work_mem')) < 64 << 20"
_IDLE = f"idle_in_transaction_session_timeout = '{FROZEN_AFTER.total_seconds():g}s'"
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
    *("row_version", "hit", "touched_group"),
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

    is_shared = True
    further_tables = ("replica", "role")
    driver_error: type[Exception] = psycopg.Error
    beginning_anew = "name an empty database in store.url: 'actionwatch run' creates its tables"
    replacing = REPLACING
    minimum_reader = "1000"
    upgrading = "run 'actionwatch store upgrade' of this version, after a backup"

    def __init__(self, url: URL, busy_seconds: float) -> None:
        self.site = Server(url)
        self.failure = self.site.failure
        self._busy_seconds = busy_seconds
        self._watcher: psycopg.Connection[tuple[Any, ...]] | None = None
        self._watching = threading.Lock()
        self._dialect = url.get_dialect()()
        self._leases = Leases(self.site.connect, self.failure, self.site.name)
        self.peers: Peers = Replicas(self._leases, self.site.connect, self.failure)

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
        with opened(self.site.connect, self.failure) as connection:
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
        engine = self.site.engine()

        @event.listens_for(engine, "connect")
        def _prepare(connection: Any, _: object) -> None:
            connection.execute(_WORK_MEM)
            connection.commit()
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True

        return engine

    def writer(self, *, is_durable: bool) -> Engine:
        """Return an engine of writers. Only commits that are durable wait for the disk."""
        engine = self.site.engine()
        commit = "on" if is_durable else "off"
        settings = (f"lock_timeout = {int(self._busy_seconds * 1000)}", _IDLE, f"synchronous_commit = {commit}")
        begin = "; ".join([*(f"SET LOCAL {each}" for each in settings), TAKE_LOCK])

        @event.listens_for(engine, "connect")
        def _prepare(connection: Any, _: object) -> None:
            connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED  # the server may have another default

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            record_hints.take_note(connection)  # by a transaction that was rolled back
            role: str | None = connection.get_execution_options().get(ROLE)
            fence = self._leases.check([role]) if role else None
            driver: Any = connection.connection.driver_connection  # psycopg's: several statements in one round trip
            with driver.cursor() as cursor:
                cursor.execute(begin if fence is None else f"{begin}; {fence}")
                while cursor.nextset():
                    pass
                if fence is not None and cursor.fetchone() is None:
                    raise RoleLost(
                        f"this process no longer has the role {role} on {self.site.name}: another one takes over"
                    )

        @event.listens_for(engine, "commit")
        def _notify(connection: Connection) -> None:
            if record_hints.take_note(connection):
                driver: Any = connection.connection.driver_connection
                driver.execute(record_hints.NOTIFY, (self._leases.id,))

        return engine

    def shape(self, connection: Connection) -> Iterator[tuple[str, tuple[object, ...]]]:
        """Yield the columns and indexes of the tables, and the triggers and rules on our tables."""
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
                self._watcher = self.site.connect()
            ((snapshot,),) = self._watcher.execute("SELECT pg_current_snapshot()::text")
        return hash(snapshot)

    def note_commit(self) -> None:
        """Do nothing: the server keeps its log short by itself."""

    def copy_to(self, connection: Connection, path: Path) -> None:
        """Refuse it. Raises: StoreError."""
        del connection
        raise StoreError(
            f"{path} is not written: back up {self.site.name} with pg_dump, or as you back up your other databases"
        )

    def close(self) -> None:
        """Close the connection that looks at the version."""
        if self._watcher is not None:
            self._watcher.close()

    def joined(self, *, alone: bool) -> contextlib.AbstractContextManager[Leases]:
        """Be a replica until the block ends. Raises: StoreOwned, when it must be `alone` and another one lives; StoreError."""
        return self._leases.joined(alone=alone)


def copy_rows(connection: Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Insert rows with COPY, whose keys do not exist."""
    driver: Any = connection.connection.driver_connection
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), names)
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)
