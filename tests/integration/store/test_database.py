"""One SQLite file: who can read and write it at what time, and which schema it has."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from actionwatch.base.clock import from_micros, to_micros
from actionwatch.base.errors import SchemaMismatch, StoreBusy, StoreClosed, StoreError, StoreReplaced
from actionwatch.store import positions, sqlite_file
from actionwatch.store.backend import backend_of
from actionwatch.store.database import Database, StoreReader
from actionwatch.store.revision import SCHEMA_VERSION
from actionwatch.store.statements import has_prefix
from actionwatch.store.tables import ALERT, DELIVERY, RECORD, SILENCE
from actionwatch.store.wal_checkpoints import (
    FIRST_COMMITS,
    IDLE_LOG_BYTES,
    LEAST_COMMITS,
    LONGEST_LOG_BYTES,
    MOST_COMMITS,
    Checkpoints,
)
from tests import postgresql
from tests.builders import NOON, file_of, only_sqlite, open_database, url_of
from tests.children import child, printed, run_child
from tests.positions import move_to
from tests.threads import raise_in_thread
from tests.waiting import LIMIT, all_at_once, beside, join, wait_for_event, wait_until


def test_new_store_gets_the_newest_schema(tmp_path: Path) -> None:
    """A new store has the newest schema after one upgrade; a second upgrade changes nothing."""
    database = Database(f"sqlite:///{tmp_path / 'deep' / 'down' / 'store.db'}")
    assert _revisions(database) == []
    database.upgrade()
    assert _revisions(database) == [SCHEMA_VERSION]
    database.upgrade()
    database.close()


def _revisions(database: Database) -> list[str]:
    """Return the revision in the store; nothing before it has tables."""
    with database.read() as connection:
        if not connection.dialect.has_table(connection, "alembic_version"):
            return []
        return list(connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars())


def _schema(database: Database) -> dict[str, list[str]]:
    """Return the words of the statement that created each table and index, in any order."""
    with database.read() as connection:
        rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        return {name: sorted(re.findall(r"[^\s,()\"]+", sql)) for name, sql in rows}


def test_data_version_changes_with_every_commit(tmp_path: Path, database: Database) -> None:
    """The version changes with each commit of this or another process, and with nothing else."""
    other = Database(url_of(database))
    seen = [database.version()]
    for each in (database, other):
        with each.read() as connection:
            positions.read_both(connection)
        assert database.version() == seen[-1]
        with each.write() as connection:
            move_to(connection, positions.MATCHED, len(seen))
        seen.append(database.version())
    assert len(set(seen)) == 3
    other.close()


def test_newer_schema_is_refused(tmp_path: Path) -> None:
    """A store that a newer actionwatch wrote is refused and not changed."""
    database = open_database(tmp_path)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999', minimum_reader = '9999'")
    with pytest.raises(SchemaMismatch, match=r"schema 9999.*use the newer version"):
        database.upgrade()
    database.close()


@pytest.mark.parametrize(
    ("statement", "difference"),
    [
        ("DROP TABLE sweep", "the column sweep.source is missing"),
        ("ALTER TABLE poll DROP COLUMN clock_skew", "the column poll.clock_skew is missing"),
        ("ALTER TABLE poll ADD COLUMN note TEXT", "the column poll.note is unknown"),
        ("DROP TABLE position; CREATE TABLE position (name TEXT NOT NULL PRIMARY KEY, record_id TEXT NOT NULL)",
         "the column position.record_id differs"),
        ("DROP TABLE position; CREATE TABLE position (name TEXT NOT NULL PRIMARY KEY, record_id BIGINT)",
         "the column position.record_id differs"),
        ("DROP TABLE position; CREATE TABLE position (name TEXT NOT NULL, record_id BIGINT NOT NULL)",
         "the column position.name differs"),
        ("DROP INDEX record_by_key", "the index record_by_key is missing"),
        ("DROP INDEX record_by_key; CREATE INDEX record_by_key ON record (record_key, source)",
         "the index record_by_key differs"),
        ("DROP INDEX record_by_key; CREATE UNIQUE INDEX record_by_key ON record (record_key)",
         "the index record_by_key differs"),
        ("DELETE FROM alembic_version", "no revision of actionwatch"),
        ("DROP TABLE alembic_version", "no revision of actionwatch"),
    ],
)  # fmt: skip
def test_other_tables_are_refused(tmp_path: Path, statement: str, difference: str) -> None:
    """A store of an unreleased version, with this revision and other tables, is refused."""
    database = open_database(tmp_path)
    with database.write() as connection:
        for each in statement.split("; "):
            connection.exec_driver_sql(each)
    before = _schema(database)
    with pytest.raises(SchemaMismatch, match=f"{re.escape(str(database.path))}.*{difference}"):
        database.upgrade()
    assert _schema(database) == before
    database.close()
    with pytest.raises(SchemaMismatch, match=f"{re.escape(str(database.path))}.*{difference}"):
        StoreReader.open(f"sqlite:///{database.path}")


def test_further_tables_are_accepted(tmp_path: Path) -> None:
    """A table or an index that an operator added, or the statistics of ANALYZE, do not prevent a start."""
    database = open_database(tmp_path)
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE note (content TEXT)")
        connection.exec_driver_sql("CREATE INDEX mine ON record (user_name)")
        connection.exec_driver_sql("ANALYZE")
    database.upgrade()
    database.close()
    StoreReader.open(f"sqlite:///{database.path}").close()


FOREIGN = {
    "trigger": ["CREATE TRIGGER hold BEFORE INSERT ON delivery BEGIN SELECT RAISE(IGNORE); END"],
    "unique index": ["CREATE UNIQUE INDEX hold ON delivery (receiver)"],
    "unique expression": ["CREATE UNIQUE INDEX hold ON delivery (lower(receiver))"],
    "unique index of a quoted table": ['CREATE UNIQUE INDEX hold ON "position" (record_id)'],
}
FOREIGN_POSTGRESQL = {
    "trigger": [
        "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
        "CREATE TRIGGER hold BEFORE INSERT ON delivery FOR EACH ROW EXECUTE FUNCTION hold()",
    ],
    **{kind: statements for kind, statements in FOREIGN.items() if kind.startswith("unique")},
    "exclusion": ["ALTER TABLE delivery ADD CONSTRAINT hold EXCLUDE (receiver WITH =)"],
    "rule": ["CREATE RULE hold AS ON INSERT TO delivery DO INSTEAD NOTHING"],
    "policy": ["CREATE POLICY hold ON delivery USING (false)"],
}


@pytest.mark.parametrize(
    ("store", "kind"), [*(("sqlite", kind) for kind in FOREIGN), *(("postgresql", kind) for kind in FOREIGN_POSTGRESQL)]
)
def test_what_can_hold_back_writes_is_refused(kind: str, store: str, tmp_path: Path) -> None:
    """A trigger, a rule or a unique index of another program can hold back each delivery, unseen: no start, no command."""
    with contextlib.ExitStack() as stack:
        is_shared = store == "postgresql"
        url = stack.enter_context(postgresql.empty_store("foreign")) if is_shared else f"sqlite:///{tmp_path / 's.db'}"
        database = stack.enter_context(contextlib.closing(Database(url)))
        database.upgrade()
        with database.write() as connection:
            for statement in (FOREIGN_POSTGRESQL if is_shared else FOREIGN)[kind]:
                connection.exec_driver_sql(statement)
        for use in (database.set_up, database.upgrade, lambda: StoreReader.open(url).close()):
            with pytest.raises(
                SchemaMismatch, match=r"was changed: the .*hold.* is not one that actionwatch creates.*drop it"
            ):
                use()


REPACK = [
    "CREATE SCHEMA repack",
    "CREATE FUNCTION repack.repack_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$",
]


@pytest.mark.parametrize(
    ("statements", "added"),
    [
        (
            [
                "CREATE TRIGGER repack_trigger AFTER INSERT OR DELETE OR UPDATE ON delivery FOR EACH ROW "
                "EXECUTE FUNCTION repack.repack_trigger('id')",
                "ALTER TABLE delivery ENABLE ALWAYS TRIGGER repack_trigger",
            ],
            "log trigger repack_trigger of the table delivery",
        ),
        (["CREATE UNIQUE INDEX delivery_pkey_ccnew ON delivery (id)"], "index delivery_pkey_ccnew"),
        (["CREATE UNIQUE INDEX index_17 ON record (record_key, source)"], "index index_17"),
    ],
    ids=["pg_repack", "primary key", "unique index"],
)
def test_tools_that_rebuild_tables_are_not_refused(statements: list[str], added: str) -> None:
    """While pg_repack or REINDEX CONCURRENTLY runs, or if one was interrupted, the service starts. What is left is named."""
    with postgresql.empty_store("rebuilt") as url, contextlib.closing(Database(url)) as database:
        database.upgrade()
        with database.write() as connection:
            for statement in [*REPACK, *statements]:
                connection.exec_driver_sql(statement)
        database.set_up()
        with contextlib.closing(StoreReader.open(url)) as store, store.read() as connection:
            assert added in store.find_additions(connection)


def test_trigger_that_only_looks_like_that_of_pg_repack_is_refused() -> None:
    """A trigger before the write can hold it back, whatever it is called."""
    with postgresql.empty_store("pretended") as url, contextlib.closing(Database(url)) as database:
        database.upgrade()
        with database.write() as connection:
            for statement in [
                *REPACK,
                "CREATE TRIGGER repack_trigger BEFORE INSERT ON delivery FOR EACH ROW EXECUTE FUNCTION repack.repack_trigger()",
            ]:
                connection.exec_driver_sql(statement)
        with pytest.raises(SchemaMismatch, match="trigger repack_trigger of the table delivery"):
            database.set_up()


def test_table_that_is_dropped_meanwhile_is_reported_with_a_remedy(database: Database) -> None:
    """A table that vanishes while a store is open is a store that was changed by hand, not an error of the driver."""
    with database.write() as connection:
        connection.exec_driver_sql("DROP TABLE poll")
    with pytest.raises(SchemaMismatch, match="does not have the tables of its schema"), database.read() as connection:
        connection.exec_driver_sql("SELECT * FROM poll")


def test_two_simultaneous_starts_migrate_once(tmp_path: Path) -> None:
    """If two processes start on an empty store at the same time, both can use it."""
    code = (
        "import sys; from actionwatch.store.database import Database; "
        "d = Database(sys.argv[1]); d.upgrade(); print(d.path); d.close()"
    )
    path = tmp_path / "store.db"
    command = [sys.executable, "-c", code, f"sqlite:///{path}"]
    with child(command, stdout=subprocess.PIPE) as one, child(command, stdout=subprocess.PIPE) as other:
        assert [printed(process)[0].strip() for process in (one, other)] == [str(path)] * 2
    database = Database(f"sqlite:///{path}")
    assert _revisions(database) == [SCHEMA_VERSION]
    database.close()


def test_file_is_private(tmp_path: Path) -> None:
    """Only the owner can read the store and the files that SQLite keeps next to it."""
    before = os.umask(0)
    try:
        database = open_database(tmp_path)
        with database.write() as connection:
            move_to(connection, "match", 1)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        database.close()
    finally:
        os.umask(before)
    assert modes == {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}


def test_store_that_cannot_be_created_is_reported_with_its_path(tmp_path: Path) -> None:
    """If the file cannot be created, the error names its path."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot open the store .*file/store\.db"):
        Database(f"sqlite:///{tmp_path / 'file' / 'store.db'}")


def test_other_file_is_refused_as_a_store(tmp_path: Path) -> None:
    """A file that is not a database is refused as a store, and not overwritten."""
    path = tmp_path / "store.db"
    path.write_text("something else, long enough to be looked at" * 100)
    database = Database(f"sqlite:///{path}")
    with pytest.raises(StoreError, match="not a database"):
        database.upgrade()
    database.close()
    assert path.read_text().startswith("something else")


def test_prefix_is_looked_up_in_the_index(database: Database) -> None:
    """A prefix reads a range of the index of any table, and no other row."""
    only_sqlite(database)
    with database.read() as connection:
        for column in (ALERT.c.id, DELIVERY.c.id, SILENCE.c.id, RECORD.c.record_key):
            statement = select(column).where(has_prefix(column, "00ab"))
            text = str(statement.compile(connection.engine, compile_kwargs={"literal_binds": True}))
            (step,) = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")
            assert step[3].startswith(f"SEARCH {column.table.name} USING COVERING INDEX "), step[3]
            assert step[3].endswith(f"({column.name}>? AND {column.name}<?)"), step[3]


def test_reader_cannot_write(database: Database) -> None:
    """A read transaction that tries to write fails, and changes nothing."""
    with pytest.raises(StoreError, match=r"read-?only"), database.read() as connection:
        move_to(connection, "match", 1)
    with database.read() as connection:
        assert positions.read(connection, "match") == 0


def test_reader_sees_one_state(database: Database) -> None:
    """A read transaction does not see later commits, and does not block writers."""
    with database.read() as reading:
        assert positions.read(reading, "match") == 0
        with database.write() as connection:
            move_to(connection, "match", 1)
        assert positions.read(reading, "match") == 0
    with database.read() as reading:
        assert positions.read(reading, "match") == 1


def test_error_rolls_back(database: Database) -> None:
    """If its block raises, a write transaction is rolled back completely, and the next one works."""

    def fail() -> None:
        with database.write() as connection:
            move_to(connection, "match", 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.write() as connection:
        assert positions.read(connection, "match") == 0


def test_writers_wait_for_each_other(database: Database) -> None:
    """Writers that read before they write take turns: no addition is lost, and none fails."""

    def add() -> None:
        for _ in range(20):
            with database.write() as connection:
                move_to(connection, "match", positions.read(connection, "match") + 1)

    all_at_once(*[add] * 4)
    with database.read() as connection:
        assert positions.read(connection, "match") == 80


def test_second_database_waits(tmp_path: Path) -> None:
    """A writer of another connection pool, as in another process, waits until the first has committed."""
    one, other = open_database(tmp_path), open_database(tmp_path)
    begun = threading.Event()

    def write() -> None:
        begun.set()
        with other.write() as connection:
            move_to(connection, "match", positions.read(connection, "match") + 1)

    with contextlib.ExitStack() as stack, one.write() as connection:
        thread = stack.enter_context(beside(write))
        wait_for_event(begun, "the other writer's attempt")
        thread.join(0.05)  # time for a wrong order
        assert thread.is_alive()
        move_to(connection, "match", 10)
    with one.read() as connection:
        assert positions.read(connection, "match") == 11
    one.close()
    other.close()


def test_locked_store_raises_store_busy(tmp_path: Path) -> None:
    """A store that stays locked raises the temporary error StoreBusy, and the pool can still be used."""
    one, other = open_database(tmp_path), Database(f"sqlite:///{tmp_path / 'store.db'}", busy_seconds=10 / 1000)
    with one.write(), pytest.raises(StoreBusy), other.write():
        raise AssertionError("two writers at once")
    with other.write() as connection:
        move_to(connection, "match", 1)
    one.close()
    other.close()


def test_writer_that_waits_too_long_raises_store_busy(tmp_path: Path) -> None:
    """A writer that waits too long for another thread gets the temporary error StoreBusy."""
    database = open_database(tmp_path)
    impatient = Database(f"sqlite:///{database.path}", busy_seconds=10 / 1000)
    refused: list[StoreBusy] = []

    def write() -> None:
        try:
            with impatient.write():
                raise AssertionError("two writers at once")
        except StoreBusy as exc:
            refused.append(exc)

    with impatient.write(), beside(write):
        pass
    assert [str(exc) for exc in refused] == [
        "the store is busy: another step of this process has been writing for too long"
    ]
    impatient.close()
    database.close()


def test_second_service_on_a_store_is_refused(database: Database) -> None:
    """While one process is the service of a store, a second is refused; after the first ends or is killed, it is accepted."""
    only_sqlite(database)  # a lease outlives a kill: test_lease.py
    code = (
        "import os, sys; from actionwatch.store.database import Database; d = Database(sys.argv[1])\n"
        "with d.joined():\n  print('owned', flush=True); sys.stdin.readline(); os._exit(9)"
    )
    url = url_of(database)
    with child([sys.executable, "-c", code, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "owned\n"
        with pytest.raises(StoreBusy, match="another actionwatch runs on"), database.joined():
            raise AssertionError("two owners")
        printed(other, "\n")
    with database.joined():
        pass
    with database.joined():
        pass


def test_second_service_is_refused_under_any_path(tmp_path: Path) -> None:
    """Two services on one store are refused under any path: a link to the file or its folder, a relative path."""
    real, other = tmp_path / "real", tmp_path / "other"
    real.mkdir()
    other.mkdir()
    open_database(real).close()
    (other / "linked.db").symlink_to(real / "store.db")
    (tmp_path / "folder").symlink_to(real)
    code = (
        "import sys; from actionwatch.store.database import Database; d = Database(sys.argv[1])\n"
        "with d.joined(): print('owned')"
    )
    with contextlib.closing(Database(f"sqlite:///{real / 'store.db'}")) as database, database.joined():
        for name in (other / "linked.db", tmp_path / "folder" / "store.db", Path("..") / "real" / "store.db"):
            second = run_child([sys.executable, "-c", code, f"sqlite:///{name}"], cwd=other)
            assert second.returncode == 1, name
            assert "another actionwatch runs" in second.stderr
    assert list(other.iterdir()) == [other / "linked.db"]


def test_hard_link_is_refused(tmp_path: Path) -> None:
    """A hard link would have its own log and lock file, so no service starts on either name."""
    open_database(tmp_path).close()
    (tmp_path / "second.db").hardlink_to(tmp_path / "store.db")
    for name in ("store.db", "second.db"):
        database = Database(f"sqlite:///{tmp_path / name}")
        with pytest.raises(StoreError, match="second name"), database.joined():
            raise AssertionError("owned under one of two names")
        database.close()
    (tmp_path / "second.db").unlink()
    with contextlib.closing(Database(f"sqlite:///{tmp_path / 'store.db'}")) as database, database.joined():
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_file_mounted_alone_is_refused(tmp_path: Path) -> None:
    """A database that is mounted as a single file is refused, because its log would be outside the mount and lost."""
    open_database(tmp_path).close()
    mounted = tmp_path / "a folder" / "mounted.db"
    mounted.parent.mkdir()
    mounted.touch()
    assert run_child(["mount", "--bind", tmp_path / "store.db", mounted]).returncode == 0
    try:
        database = Database(f"sqlite:///{mounted}")
        with pytest.raises(StoreError, match="mount its folder"), database.joined():
            raise AssertionError("owned")
        database.close()
    finally:
        assert run_child(["umount", mounted]).returncode == 0


def test_write_failure_is_reported_while_it_lasts(database: Database) -> None:
    """A process that cannot write to a full store reports that, until a write succeeds again."""
    only_sqlite(database)

    def fill(connection: Connection) -> None:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS filler (content BLOB)")
        connection.exec_driver_sql("INSERT INTO filler VALUES (zeroblob(1000000))")

    assert database.write_failure is None
    with database.write() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1")  # at least what is already used
    remedy = re.escape(f"disk is full: free space on the disk of {database.path}")
    with pytest.raises(StoreError, match=remedy), database.write() as connection:
        fill(connection)
    assert "full" in (database.write_failure or "")
    with database.write() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=100000")
        fill(connection)
    assert database.write_failure is None


@pytest.mark.parametrize("offset", [timedelta(0), timedelta(microseconds=1), timedelta(days=-30_000)])
def test_times_keep_microseconds(offset: timedelta) -> None:
    """A time is read back to the microsecond, also before 1970."""
    assert from_micros(to_micros(NOON + offset)) == NOON + offset


def test_checkpoints_run_while_writers_continue(database: Database) -> None:
    """After many commits the log is checkpointed by another thread, and writing continues."""

    def commit() -> None:
        for _ in range(MOST_COMMITS):
            with database.write() as connection:
                move_to(connection, "checkpointed", positions.read(connection, "checkpointed") + 1)

    def is_carried_over() -> bool:
        # In another process: closing the file here would release the locks that SQLite holds on it for this process.
        return run_child(["grep", "-q", "checkpointed", file_of(database)]).returncode == 0

    assert not is_carried_over()
    commit()
    wait_until(is_carried_over, "what was written in the file")
    commit()
    with database.read() as connection:
        assert positions.read(connection, "checkpointed") == 2 * MOST_COMMITS


def log_of(database: Database) -> Path:
    """Return the write-ahead log of a store."""
    return file_of(database).with_name(f"{file_of(database).name}-wal")


def grow_log(database: Database, size: int) -> int:
    """Write so many bytes, in as many commits as start the checkpoints. Return the length of the log."""
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE bulk (body BLOB)")
    for _ in range(FIRST_COMMITS):
        with database.write() as connection:
            connection.exec_driver_sql("INSERT INTO bulk VALUES (zeroblob(?))", (size // FIRST_COMMITS,))
    return log_of(database).stat().st_size


def test_log_is_cut_when_nothing_is_written(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long log gives its space back while no checkpoint is due, as soon as no reader needs it."""
    only_sqlite(database)
    monkeypatch.setattr("actionwatch.store.wal_checkpoints.IDLE_SECONDS", 0.02)
    with database.read() as reader:
        reader.exec_driver_sql("SELECT count(*) FROM record")
        assert grow_log(database, 2 * IDLE_LOG_BYTES) > IDLE_LOG_BYTES
    wait_until(lambda: log_of(database).stat().st_size == 0, "the end of the log")
    with database.write() as connection:
        move_to(connection, "after", 7)
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM bulk").scalar() == FIRST_COMMITS
        assert positions.read(connection, "after") == 7


def test_log_that_a_reader_made_long_is_cut_by_a_busy_service(database: Database) -> None:
    """While a command reads for long, the log grows; after that, the next checkpoints cut it to its limit."""
    only_sqlite(database)
    with database.read() as reader:
        reader.exec_driver_sql("SELECT count(*) FROM record")
        longest = grow_log(database, LONGEST_LOG_BYTES + IDLE_LOG_BYTES)

    def commit() -> bool:
        for _ in range(LEAST_COMMITS):
            with database.write() as connection:
                move_to(connection, "busy", positions.read(connection, "busy") + 1)
        return log_of(database).stat().st_size <= LONGEST_LOG_BYTES < longest

    wait_until(commit, "a log within its limit")


def test_checkpoints_create_no_file_in_the_place_of_a_store_that_was_moved_away(tmp_path: Path) -> None:
    """The thread may begin just after an operator moved the store away. It opens no other file."""
    path = tmp_path / "store.db"
    backend = backend_of(f"sqlite:///{path}")
    backend.site.create()
    path.unlink()
    for _ in range(FIRST_COMMITS):
        backend.note_commit()
    with pytest.raises(sqlite3.OperationalError):
        backend.version()
    backend.close()
    assert not path.exists()


def test_burst_of_commits_has_few_checkpoints(tmp_path: Path) -> None:
    """Each makes an alert wait: within ten seconds the next one comes after more commits."""
    checkpoints = Checkpoints(tmp_path / "store", threading.Lock(), lambda _: sqlite3.connect(":memory:"))
    counts = []
    with contextlib.closing(checkpoints):
        for number in range(LEAST_COMMITS + 2 * MOST_COMMITS):
            checkpoints.note_commit()
            if checkpoints.commit_count == 0:
                counts.append(number + 1)
    assert counts == [LEAST_COMMITS, LEAST_COMMITS + MOST_COMMITS, LEAST_COMMITS + 2 * MOST_COMMITS]


def test_checkpoints_continue_after_an_exception(database: Database) -> None:
    """After an exception in the checkpoint thread, checkpoints continue."""
    only_sqlite(database)

    def commit() -> None:
        for _ in range(MOST_COMMITS):
            with database.write() as connection:
                move_to(connection, "checkpointed", 1)

    def threads() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "checkpoints"]

    commit()
    (first,) = threads()
    wait_until(lambda: raise_in_thread("checkpoints", "_run_checkpoints", SystemExit), "the end of the checkpoint")
    commit()
    join(first)
    commit()
    wait_until(threads, "another thread")


def test_threads_may_look_at_the_version_of_a_store_that_is_closed(tmp_path: Path) -> None:
    """They end with an error. SQLite's driver would crash the process if a connection were closed while it is in use."""

    def look() -> None:
        with contextlib.suppress(StoreError):
            while True:
                looked.set()
                database.version()

    for number in range(20):
        database, looked = open_database(tmp_path, f"{number}.db"), threading.Event()
        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_for_event(looked, "a look")
        database.close()
        for thread in threads:
            join(thread)


def test_close_waits_for_no_writer_that_hangs(tmp_path: Path) -> None:
    """A store closes while a thread hangs in a transaction, however long writers wait for each other."""
    database = Database(url_of(open_database(tmp_path)), busy_seconds=10 * LIMIT)
    is_writing, may_end = threading.Event(), threading.Event()

    def write() -> None:
        with database.write():
            is_writing.set()
            wait_for_event(may_end, "the end of the test")

    with beside(write, stop=may_end.set):
        wait_for_event(is_writing, "a writer")
        with beside(database.close) as closing:
            join(closing)
            assert not may_end.is_set()


def test_closed_store_refuses_and_lets_the_writer_end(tmp_path: Path) -> None:
    """A store that is closed while a thread writes closes after that; later reads and writes raise StoreClosed."""
    database = open_database(tmp_path)
    is_writing, may_end = threading.Event(), threading.Event()

    def write() -> None:
        with database.write() as connection:
            move_to(connection, positions.MATCHED, 7)
            is_writing.set()
            wait_for_event(may_end, "the end of the store")

    with beside(write, stop=may_end.set):
        wait_for_event(is_writing, "a writer")
        with beside(database.close):
            wait_until(lambda: _refuses(database), "the store to refuse")
            may_end.set()
    for _ in range(2):
        assert _refuses(database)
        with pytest.raises(StoreClosed), database.write():
            pass
        with pytest.raises(StoreClosed):
            database.version()
        database.close()
    again = open_database(tmp_path)
    with again.read() as connection:
        assert positions.read(connection, positions.MATCHED) == 7
    again.close()


def _refuses(database: Database) -> bool:
    try:
        with database.read():
            return False
    except StoreClosed:
        return True


def test_statement_is_compiled_once_for_all_engines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Another store, and the writers of the same one, do not compile a statement again. SQLAlchemy logs which it compiles."""
    statement = select(RECORD.c.id.label("only_here")).where(RECORD.c.id == 77)  # which nothing else runs
    for name in ("one", "other"):
        with (
            caplog.at_level("INFO", "sqlalchemy.engine"),
            contextlib.closing(open_database(tmp_path / name)) as database,
        ):
            for transaction in (database.read(), database.write(), database.write(is_durable=True)):
                with transaction as connection:
                    connection.execute(statement)
    how = [record.getMessage() for record in caplog.records if "(77,)" in record.getMessage()]
    assert [text.split()[0] for text in how] == ["[generated", *["[cached"] * 5]


def test_compiled_statements_do_not_fill_the_memory(tmp_path: Path) -> None:
    """After more different statements than are kept, the store works on, and keeps no more."""
    with contextlib.closing(open_database(tmp_path)) as database, database.read() as connection:
        kept = connection.get_execution_options()["compiled_cache"]
        for number in range(sqlite_file.MAX_COMPILED + 1):
            connection.execute(select(RECORD.c.id.label(f"id_{number}")).limit(1))
            assert 0 < len(kept) <= sqlite_file.MAX_COMPILED


@pytest.mark.parametrize("way", ["deleted", "replaced"])
@pytest.mark.parametrize("suffix", ["", "-wal", ".lock"])
def test_nothing_is_written_to_a_file_that_was_replaced(tmp_path: Path, suffix: str, way: str) -> None:
    """If the store, its log or its lock is deleted or replaced, the service writes nothing more, and says what to do."""
    with contextlib.closing(open_database(tmp_path)) as database:
        assert database.path is not None
        with database.joined():
            with database.write() as connection:
                move_to(connection, positions.MATCHED, 1)
            database.check_in_place()
            file = database.path.with_name(database.path.name + suffix)
            copy = file.rename(tmp_path / "moved")
            if way == "replaced":
                shutil.copy(copy, file)
            with pytest.raises(StoreReplaced, match=f"{file} was {way} .* 'actionwatch store restore'"):
                database.check_in_place()
            with pytest.raises(StoreReplaced), database.write() as connection:
                move_to(connection, positions.MATCHED, 2)
            assert way in (database.write_failure or "")
        database.check_in_place()  # a service that has ended works on no file


def test_nothing_is_written_after_the_folder_was_replaced(tmp_path: Path) -> None:
    """A file in the place of the folder of the store is reported as the loss of the store."""
    folder = tmp_path / "folder"
    folder.mkdir()
    with contextlib.closing(open_database(folder)) as database, database.joined():
        folder.rename(tmp_path / "moved")
        folder.touch()
        with pytest.raises(StoreReplaced, match="was deleted"):
            database.check_in_place()


def test_store_that_is_gone_is_not_replaced_by_an_empty_one(tmp_path: Path) -> None:
    """A service whose file is gone does not begin again with an empty store, which would hide the loss."""
    with contextlib.closing(open_database(tmp_path)) as database, database.joined():
        pass
    path = tmp_path / "store.db"
    path.unlink()
    with pytest.raises(StoreError, match=r"is gone, and store\.db\.lock shows .* 'actionwatch store restore'.* delete"):
        Database(f"sqlite:///{path}")
    assert not path.exists()
    (tmp_path / "store.db.lock").unlink()
    Database(f"sqlite:///{path}").close()


@pytest.mark.parametrize("foreign", [None, b"", b"no database"])
def test_no_new_connection_opens_a_file_that_replaced_the_store(tmp_path: Path, foreign: bytes | None) -> None:
    """A thread that reads for the first time after the store was replaced neither reads nor creates the other file."""
    with contextlib.closing(open_database(tmp_path)) as database:
        assert database.path is not None
        with database.joined(), database.read() as connection:
            connection.execute(select(RECORD.c.id)).all()
            database.path.rename(tmp_path / "moved")
            if foreign is not None:
                database.path.write_bytes(foreign)
            with pytest.raises(StoreReplaced), database.read():
                pass
            connection.execute(select(RECORD.c.id)).all()
        assert (database.path.read_bytes() if database.path.exists() else None) == foreign
