"""The revision of a store's schema: create the newest one, migrate an older one, and refuse what this version cannot use."""

from __future__ import annotations

from sqlalchemy import Connection
from sqlalchemy.schema import CreateIndex, CreateTable

from actionwatch.base.errors import SchemaMismatch, StoreMissing, StoreOwned
from actionwatch.store import schema
from actionwatch.store.backend import Backend
from actionwatch.store.tables import METADATA

FIRST_VERSION = "1000"  # that of 1.0; a development version before it had a lower one
SCHEMA_VERSION = "1000"  # the newest revision under migrations/versions/
UNFINISHED = "unfinished"  # the revision of a store that `copying.py` has not copied completely


def read_revision(connection: Connection) -> str | None:
    """Return the revision of the schema; None if there is none."""
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def set_up(backend: Backend, connection: Connection, *, may_migrate: bool) -> str | None:
    """Create the tables in an empty database, or migrate an older schema. Return the revision that it had.

    Raises: SchemaMismatch, when another program, or a newer or an unreleased actionwatch, wrote this store, or an older one did
    and not `may_migrate`; StoreOwned, when a replica runs that cannot use the new schema.
    """
    found = read_revision(connection)
    if found is None:
        _check_empty(backend.site.name, connection)
        _create(backend, connection)
    elif found < SCHEMA_VERSION:
        if found < FIRST_VERSION or not may_migrate:
            raise _older(backend, found)
        if backend.is_shared and found < backend.minimum_reader and backend.peers.roster().hosts:
            raise StoreOwned(
                f"a replica runs on {backend.site.name} that cannot use schema {SCHEMA_VERSION}: stop all replicas"
            )
        _migrate(backend, connection)
    _check_revision(backend, connection, found or SCHEMA_VERSION)
    backend.prepare(connection)
    _check_tables(backend, connection, found or SCHEMA_VERSION)
    return found


def _create(backend: Backend, connection: Connection) -> None:
    """Create the newest schema in an empty database; a test compares it with what the migrations make of the one of 1.0."""
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


def check(backend: Backend, connection: Connection, *, is_older_accepted: bool) -> None:
    """Refuse to read a schema that this version does not know. Raises: StoreMissing, SchemaMismatch."""
    found, path = read_revision(connection), backend.site.name
    if found is None:
        _check_empty(path, connection)
        raise StoreMissing(
            f"the store {path} is empty: check store.url; 'actionwatch run' sets it up at its first start"
        )
    if found < SCHEMA_VERSION:
        if is_older_accepted and found >= FIRST_VERSION:
            return
        raise _older(backend, found)
    _check_revision(backend, connection, found)
    _check_tables(backend, connection, found)


def _check_revision(backend: Backend, connection: Connection, found: str) -> None:
    """Refuse a newer schema that this version cannot use. Raises: SchemaMismatch."""
    if found == UNFINISHED:
        raise SchemaMismatch(
            f"the store {backend.site.name} is an unfinished copy: repeat 'actionwatch store copy', or name another database"
        )
    if found > SCHEMA_VERSION:
        minimum = connection.exec_driver_sql("SELECT minimum_reader FROM alembic_version").scalar()
        if minimum is None or minimum > SCHEMA_VERSION:
            raise SchemaMismatch(
                f"the store {backend.site.name} has schema {found}, this actionwatch knows {SCHEMA_VERSION}: "
                "use the newer version on it"
            )


def _check_empty(path: str, connection: Connection) -> None:
    """Refuse a database without a revision that has tables. Raises: SchemaMismatch."""
    names = schema.read_tables(connection)
    if names:
        raise SchemaMismatch(
            f"the store {path} has the table {names[0]}, and no revision of actionwatch: check store.url, it may be the "
            "database of another program"
        )


def _check_tables(backend: Backend, connection: Connection, found: str) -> None:
    """Refuse tables that differ from those of this version's revision. A newer one may add columns. Raises: SchemaMismatch."""
    shape, is_newer = dict(backend.shape(connection)), found > SCHEMA_VERSION
    difference = schema.find_difference(connection, shape, is_newer=is_newer)
    if difference is None:
        return
    if is_newer:
        raise SchemaMismatch(
            f"the store {backend.site.name} has a newer schema, and this actionwatch, which knows {SCHEMA_VERSION}, cannot "
            f"use it ({difference.what}): use the newer version on it"
        )
    if difference.remedy is not None:
        raise SchemaMismatch(f"the store {backend.site.name} was changed: {difference.what}: {difference.remedy}")
    raise SchemaMismatch(
        f"the store {backend.site.name} does not have the tables of its schema {SCHEMA_VERSION}: {difference.what}. An "
        f"unreleased actionwatch wrote it, or it was changed by hand: {backend.replacing}"
    )


def _older(backend: Backend, found: str) -> SchemaMismatch:
    if found < FIRST_VERSION:
        return SchemaMismatch(
            f"the store {backend.site.name} has schema {found} of a development version before 1.0, which no release upgrades: "
            f"{backend.beginning_anew}, and reads from the upstream what its log still has"
        )
    return SchemaMismatch(
        f"the store {backend.site.name} has the older schema {found}, this actionwatch reads {SCHEMA_VERSION}: "
        f"{backend.upgrading}"
    )
