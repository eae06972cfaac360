"""Upgrades of a store in PostgreSQL, which replicas of two versions use: a person starts them, and old replicas continue."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from actionwatch.base.errors import SchemaMismatch, StoreError, StoreOwned
from actionwatch.store import lease, migrations, positions
from actionwatch.store.database import Database, StoreReader
from actionwatch.store.postgresql import PostgresqlBackend
from actionwatch.store.revision import SCHEMA_VERSION
from tests import postgresql
from tests.migrations import LATER, migrate_later
from tests.positions import move_to
from tests.waiting import beside, wait_until

FIRST = (Path(__file__).parent / "schema_0004_postgresql.sql").read_text()
SHAPE = """
SELECT relname, attname, format_type(atttypid, atttypmod), collname, attnotnull, pg_get_expr(adbin, adrelid)
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid LEFT JOIN pg_collation ON pg_collation.oid = attcollation
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped
UNION ALL SELECT tablename, indexname, indexdef, NULL, NULL, NULL FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), NULL, NULL, NULL
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
"""


@pytest.fixture
def replica() -> Iterator[Callable[[], Database]]:
    """Opens a database, empty at first, as another process would."""
    with postgresql.other_database("upgraded") as url, contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(contextlib.closing(Database(url)))


@pytest.fixture
def old(replica: Callable[[], Database]) -> Database:
    """A store with the first schema in PostgreSQL, and a position in it."""
    opened = replica()
    with opened.write() as connection:
        connection.exec_driver_sql(FIRST)
        move_to(connection, positions.MATCHED, 7)
    return opened


def revision(database: Database) -> str | None:
    """Return the revision of the schema."""
    with database.read() as connection:
        found: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        return found


def position(database: Database) -> int:
    """Return the position that the fixture moved."""
    with database.read() as connection:
        return positions.read(connection, positions.MATCHED)


def test_migrated_store_equals_a_new_one(old: Database) -> None:
    """The migrations lead from the first schema to the tables, indexes and constraints of a new store, and keep the rows."""
    assert old.upgrade() == "0004"
    with postgresql.other_database("new") as url, contextlib.closing(Database(url)) as new:
        new.set_up()
        shapes = []
        for each in (old, new):
            with each.read() as connection:
                shapes.append({tuple(row) for row in connection.exec_driver_sql(SHAPE)})
    assert shapes[0] == shapes[1]
    assert len(shapes[0]) > 300
    assert position(old) == 7
    assert old.upgrade() == SCHEMA_VERSION


def test_oldest_version_that_may_use_the_schema_finds_its_own(old: Database) -> None:
    """The newest schema has each column and each index of the oldest one whose version may use it, unchanged."""
    with old.write() as connection:
        migrations.migrate(connection, revision=PostgresqlBackend.minimum_reader)
        expected = dict(old._backend.shape(connection))
        migrations.migrate(connection)
        found = dict(old._backend.shape(connection))
    assert {name: found.get(name) for name in expected} == expected


def test_start_refuses_an_older_schema(old: Database) -> None:
    """A service and a command refuse an older schema, name the remedy, and change nothing."""
    remedy = r"older schema 0004, this actionwatch reads .*: run 'actionwatch store upgrade'"
    with pytest.raises(SchemaMismatch, match=remedy):
        old.set_up()
    with pytest.raises(SchemaMismatch, match=remedy):
        StoreReader.open(postgresql.url_of("upgraded"))
    assert (revision(old), position(old)) == ("0004", 7)
    old.upgrade()
    old.set_up()


def test_start_creates_the_tables_of_an_empty_database(replica: Callable[[], Database]) -> None:
    """The first start needs no upgrade: an empty database has no replica that could be disturbed."""
    new = replica()
    new.set_up()
    assert revision(new) == SCHEMA_VERSION


def test_older_version_continues_after_an_expanding_upgrade(replica: Callable[[], Database], tmp_path: Path) -> None:
    """A replica that runs while a newer version adds a column reads and writes on, and others of its version can start."""
    running = replica()
    running.set_up()
    with running.joined(), contextlib.closing(StoreReader.open(postgresql.url_of("upgraded"))) as reader:
        with replica().write() as connection:
            migrate_later(connection, tmp_path)
        with running.write() as connection:
            move_to(connection, positions.MATCHED, 8)
        with reader.read() as seen:
            assert positions.read(seen, positions.MATCHED) == 8
        another = replica()
        another.set_up()
        assert another.upgrade() == LATER
        StoreReader.open(postgresql.url_of("upgraded")).close()
        assert (revision(another), position(another)) == (LATER, 8)


def test_newer_schema_may_have_other_indexes(replica: Callable[[], Database], tmp_path: Path) -> None:
    """A newer schema without an index of ours can be used; without a unique one, the newer version is the remedy."""
    store = replica()
    store.set_up()
    with store.write() as connection:
        migrate_later(connection, tmp_path)
        connection.exec_driver_sql("DROP INDEX delivery_by_creation")
    store.set_up()
    with store.write() as connection:
        connection.exec_driver_sql("DROP INDEX token_by_digest")
    with pytest.raises(
        SchemaMismatch, match=r"newer schema.*\(the index token_by_digest is missing\): use the newer version"
    ):
        store.set_up()


def test_schema_that_excludes_this_version_is_refused(replica: Callable[[], Database], tmp_path: Path) -> None:
    """A newer schema whose minimum reader is newer than this version is refused, and not changed."""
    store = replica()
    store.set_up()
    with store.write() as connection:
        migrate_later(connection, tmp_path, LATER)
    for refused in (store.set_up, store.upgrade, lambda: StoreReader.open(postgresql.url_of("upgraded"))):
        with pytest.raises(SchemaMismatch, match=rf"schema {LATER}, this actionwatch knows .*: use the newer version"):
            refused()


def test_upgrade_that_excludes_running_replicas_is_refused(
    old: Database, replica: Callable[[], Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A schema that the running replica cannot use waits until it is stopped; one that it can use does not."""
    running = replica()
    with old.write() as connection:  # as a version before this one has them
        connection.exec_driver_sql(f"DROP TABLE lease; {lease.CREATE}")
    with running.joined():
        with pytest.raises(StoreOwned, match=r"a replica runs on .*: stop all replicas"):
            old.upgrade()
        assert revision(old) == "0004"
        monkeypatch.setattr(PostgresqlBackend, "minimum_reader", "0004")
        old.upgrade()
    assert revision(old) == SCHEMA_VERSION


def test_upgrade_that_fails_changes_nothing(old: Database) -> None:
    """A store that has not the tables of its schema is refused in the same transaction that migrates it."""
    with old.write() as connection:
        connection.exec_driver_sql("ALTER TABLE poll DROP COLUMN clock_skew")
    with pytest.raises(StoreError, match=r"column poll\.clock_skew is missing"):
        old.upgrade()
    assert revision(old) == "0004"


def test_indexes_are_built_while_others_write(old: Database, replica: Callable[[], Database]) -> None:
    """An upgrade builds the indexes of large tables before it takes the write lock, also those that were left half built."""
    upgrading = replica()
    url = postgresql.url_of("upgraded").replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO position VALUES ('one', 1, 1), ('two', 1, 1)")
        with pytest.raises(psycopg.errors.UniqueViolation):  # which leaves an index that is not valid
            connection.execute("CREATE UNIQUE INDEX CONCURRENTLY alert_by_end ON position (record_id)")

        def are_built() -> bool:
            valid = "SELECT count(*) FROM pg_index JOIN pg_class ON oid = indexrelid WHERE indisvalid AND relname IN "
            return connection.execute(valid.encode() + b"('alert_by_end', 'receipt_by_end')").fetchone() == (2,)

        with contextlib.ExitStack() as stack, old.write():
            stack.enter_context(beside(upgrading.upgrade))
            wait_until(are_built, "the indexes")
            assert revision(old) == "0004"
    assert revision(old) == SCHEMA_VERSION
