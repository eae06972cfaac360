"""Upgrades of a store: of what earlier releases wrote, and by the next release, which replicas of this one survive."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection

from actionwatch.base.errors import SchemaMismatch
from actionwatch.store import positions
from actionwatch.store.database import Database, StoreReader
from actionwatch.store.revision import FIRST_VERSION, SCHEMA_VERSION
from actionwatch.store.tables import METADATA
from tests import postgresql, releases
from tests.next_release import NEXT, NextRelease
from tests.positions import move_to
from tests.waiting import beside, wait_until

KINDS = ("sqlite", "postgresql")
SHAPE = """
SELECT relname, attname, format_type(atttypid, atttypmod), collname, attnotnull, pg_get_expr(adbin, adrelid)
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid LEFT JOIN pg_collation ON pg_collation.oid = attcollation
LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped
UNION ALL SELECT tablename, indexname, indexdef, NULL, NULL, NULL FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), NULL, NULL, NULL
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
"""


@dataclass
class Place:
    """Two databases of a kind, empty at first."""

    url: str
    other: str
    stack: contextlib.ExitStack

    @property
    def is_shared(self) -> bool:
        """Whether replicas can use them."""
        return self.url.startswith("postgresql")

    def open(self, url: str = "") -> Database:
        """Open one as another process would."""
        return self.stack.enter_context(contextlib.closing(Database(url or self.url)))


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A place in each kind of database."""
    with contextlib.ExitStack() as stack:
        if request.param == "sqlite":
            one, other = (f"sqlite:///{tmp_path / name}.db" for name in ("one", "other"))
        else:
            one, other = (stack.enter_context(postgresql.other_database(name)) for name in ("one", "other"))
        yield Place(one, other, stack)


@pytest.fixture
def shared() -> Iterator[Place]:
    """A place where replicas can run."""
    with postgresql.other_database("one") as url, contextlib.ExitStack() as stack:
        yield Place(url, "", stack)


def shape(database: Database) -> set[tuple[object, ...]]:
    """Return the tables, indexes and constraints of a store: in SQLite the words of their statements, in any order."""
    with database.read() as connection:
        if database.is_shared:
            return {tuple(row) for row in connection.exec_driver_sql(SHAPE)}
        found = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        return {(name, *sorted(re.findall(r"[^\s,()\"]+", statement))) for name, statement in found}


def columns(connection: Connection) -> dict[str, list[str]]:
    """Return the columns of each table that a store has."""
    dialect = connection.dialect
    tables = [
        name for name in dialect.get_table_names(connection) if name not in ("alembic_version", "replica", "role")
    ]
    return {name: [each["name"] for each in dialect.get_columns(connection, name)] for name in tables}


def revision(database: Database) -> str | None:
    """Return the revision of the schema."""
    with database.read() as connection:
        found: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        return found


def filled(place: Place) -> Database:
    """A store of this version with rows in each table."""
    database = place.open()
    database.upgrade()
    releases.fill_all(database)
    return database


@pytest.mark.parametrize("schema", releases.revisions())
def test_store_of_an_earlier_release_is_upgraded(place: Place, schema: str) -> None:
    """What a release wrote becomes a store of this version: the tables of a new one, all rows, and a chain that agrees.

    If this fails while no release has the schema, write its stores again (`python -m tests.releases`). Otherwise it needs a
    migration.
    """
    releases.load(releases.file_of(schema, KINDS[place.is_shared]).read_text(), place.url)
    database, new = place.open(), place.open(place.other)
    with database.read() as connection:
        its_columns, its_shape = columns(connection), dict(database._backend.shape(connection))
        before = releases.rows(connection, its_columns)
    assert min(map(len, before.values())) > 0, "a table without rows"
    assert database.upgrade() == schema
    new.upgrade()
    assert (revision(database), shape(database)) == (SCHEMA_VERSION, shape(new))
    with database.read() as connection:
        assert releases.rows(connection, its_columns) == before
        if schema >= database._backend.minimum_reader:  # replicas of that release may still run: they find their own
            found = dict(database._backend.shape(connection))
            assert {name: found.get(name) for name in its_shape} == its_shape
    database.set_up()


def test_stores_of_the_first_release_are_there() -> None:
    """Each release from 1.0 on has a store in each kind of database."""
    assert releases.revisions()[0] == FIRST_VERSION
    assert all(releases.file_of(each, kind).exists() for each in releases.revisions() for kind in KINDS)


def test_next_release_upgrades_a_store_and_this_one_continues(place: Place, next_release: NextRelease) -> None:
    """A release that adds a column keeps all rows. This version, which runs meanwhile, reads, writes and starts again."""
    running = filled(place)
    with running.read() as connection:
        of_this_version = {table.name: table.columns.keys() for table in METADATA.sorted_tables}
        before = releases.rows(connection, of_this_version)
    with (
        running.joined() if place.is_shared else contextlib.nullcontext(),
        contextlib.closing(StoreReader.open(place.url)) as reader,
    ):
        assert next_release.upgrade(place.url).stdout == f"{SCHEMA_VERSION}\n"
        with reader.read() as seen:
            assert releases.rows(seen, of_this_version) == before
        with running.write() as connection:
            move_to(connection, positions.MATCHED, 8)
        another = place.open()
        another.set_up()
        assert another.upgrade() == NEXT
        with reader.read() as seen:
            assert positions.read(seen, positions.MATCHED) == 8
    StoreReader.open(place.url).close()
    assert next_release.upgrade(place.other).stdout == "None\n"
    assert shape(running) == shape(place.open(place.other))


def test_schema_that_excludes_this_version_is_refused(place: Place, excluding_release: NextRelease) -> None:
    """A newer schema that this version cannot use is refused by the service and by commands, and not changed."""
    database = filled(place)
    assert excluding_release.upgrade(place.url).returncode == 0
    before = shape(database)
    for refused in (database.set_up, database.upgrade, lambda: StoreReader.open(place.url)):
        with pytest.raises(
            SchemaMismatch, match=rf"has schema {NEXT}, this actionwatch knows .*: use the newer version"
        ):
            refused()
    assert shape(database) == before


def test_newer_schema_may_have_other_indexes(place: Place, next_release: NextRelease) -> None:
    """A newer schema without an index of ours can be used; without a unique one, the newer version is the remedy."""
    store = filled(place)
    next_release.upgrade(place.url)
    with store.write() as connection:
        connection.exec_driver_sql("DROP INDEX delivery_by_creation")
    store.set_up()
    with store.write() as connection:
        connection.exec_driver_sql("DROP INDEX token_by_digest")
    remedy = r"newer schema.*\(the index token_by_digest is missing\): use the newer version"
    with pytest.raises(SchemaMismatch, match=remedy):
        store.set_up()


def test_upgrade_that_fails_changes_nothing(place: Place, next_release: NextRelease) -> None:
    """A store that has not the tables of its schema is refused, in one sentence, by the transaction that migrates it."""
    database = filled(place)
    with database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE poll DROP COLUMN clock_skew")
    before = shape(database)
    failed = next_release.upgrade(place.url)
    assert failed.returncode == 1
    assert "column poll.clock_skew is missing" in failed.stderr.splitlines()[-1]
    assert (revision(database), shape(database)) == (SCHEMA_VERSION, before)


@pytest.mark.parametrize("schema", ["0001", "0019"])
def test_store_of_a_development_version_is_refused(place: Place, schema: str) -> None:
    """A store from before 1.0 is refused with the remedy, by services, upgrades, commands and backups, and not changed."""
    database = filled(place)
    with database.write() as connection:
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{schema}', minimum_reader = NULL")
        connection.exec_driver_sql("DROP INDEX row_version_by_row")  # an upgrade would build it
    before = shape(database)
    remedy = "name an empty database in store.url" if place.is_shared else "stop the service, and move it away"
    uses: list[Callable[[], object]] = [database.set_up, database.upgrade, lambda: StoreReader.open(place.url)]
    uses.append(lambda: StoreReader.open(place.url, is_older_accepted=True))
    for use in uses:
        with pytest.raises(SchemaMismatch, match=f"schema {schema} of a development version before 1.0.*: {remedy}"):
            use()
    assert (revision(database), shape(database)) == (schema, before)


def test_upgrade_that_excludes_running_replicas_is_refused(shared: Place, excluding_release: NextRelease) -> None:
    """A schema that a running replica cannot use waits until it is stopped."""
    running = filled(shared)
    with running.joined():
        refused = excluding_release.upgrade(shared.url)
        assert refused.returncode == 1
        assert re.search(r"a replica runs on .*: stop all replicas", refused.stderr)
        assert revision(running) == SCHEMA_VERSION
    assert excluding_release.upgrade(shared.url).returncode == 0
    assert revision(running) == NEXT


def test_start_creates_the_tables_of_an_empty_database(shared: Place) -> None:
    """The first start needs no upgrade: an empty database has no replica that could be disturbed."""
    new = shared.open()
    new.set_up()
    assert revision(new) == SCHEMA_VERSION


def test_indexes_are_built_while_others_write(shared: Place) -> None:
    """An upgrade builds missing indexes before it takes the write lock, also those that were left half built."""
    old, upgrading = filled(shared), shared.open()
    with psycopg.connect(shared.url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("DROP INDEX alert_by_end, receipt_by_end")
        connection.execute("INSERT INTO position VALUES ('one', 1, 1), ('two', 1, 1)")
        with pytest.raises(psycopg.errors.UniqueViolation):  # which leaves an index that is not valid
            connection.execute("CREATE UNIQUE INDEX CONCURRENTLY alert_by_end ON position (record_id)")

        def are_built() -> bool:
            valid = "SELECT count(*) FROM pg_index JOIN pg_class ON oid = indexrelid WHERE indisvalid AND relname IN "
            return connection.execute(valid.encode() + b"('alert_by_end', 'receipt_by_end')").fetchone() == (2,)

        with contextlib.ExitStack() as stack, old.write():
            stack.enter_context(beside(upgrading.upgrade))
            wait_until(are_built, "the indexes")
    old.set_up()
