"""A copy of a store from SQLite to PostgreSQL: complete, also after kills; refused where it would mix two stores."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from actionwatch.base.access import AccessRole, AccessToken, digest_of
from actionwatch.base.errors import SchemaMismatch, StoreBusy, StoreError
from actionwatch.store import copying, positions, records, sessions, tokens
from actionwatch.store.copying import copy_store
from actionwatch.store.database import Database, StoreReader
from actionwatch.store.tables import METADATA
from tests import postgresql
from tests.builders import NOON, make_record, open_database, url_of
from tests.children import run_child
from tests.integration.kit import KindRule, Post

COPY = """
import os, signal, sys
from sqlalchemy import Engine, event
from actionwatch.store import copying

place, seen = sys.argv[3], []

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def before_statement(connection, cursor, statement, *_):
    seen.append(statement)

def before_commit(connection):
    seen.append("COMMIT")
    if place == "finish" and "ANALYZE" in seen or place == str(seen.count("COMMIT")):
        die()

def after_part(done, total):
    if place == f"{done} rows":
        die()

event.listen(Engine, "before_cursor_execute", before_statement)
event.listen(Engine, "commit", before_commit)
copying.PART_ROWS = 50
copying.copy_store(sys.argv[1], sys.argv[2], after_part)
"""


def ignore(_: int, __: int) -> None:
    """Take the progress."""


@pytest.fixture
def origin(tmp_path: Path) -> Iterator[Database]:
    """A SQLite store with 120 records, of which the newest is deleted, alerts, deliveries, a token and its session."""
    database = open_database(tmp_path)
    post = Post(database)
    post.store(
        *(make_record(number, minutes=number, description=f"Zürich {number} \\ \t\n") for number in range(1, 121))
    )
    post.matcher(KindRule()).run_once()
    post.deliver()
    with database.write() as connection:
        connection.exec_driver_sql("DELETE FROM record WHERE id = 120")
        token = AccessToken("id-1", "sam", AccessRole.OPERATOR, NOON, "admin")
        tokens.insert(connection, token, digest_of("secret"))
        sessions.insert(connection, "cookie", "id-1", NOON)
    yield database
    database.close()


@pytest.fixture
def target() -> Iterator[str]:
    """The URL of an empty database."""
    with postgresql.other_database("copied") as url:
        yield url


def content(database: StoreReader) -> dict[str, list[tuple[object, ...]]]:
    """Return all rows of all tables."""
    with database.read() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(table.select().order_by(*table.primary_key))]
            for table in METADATA.tables.values()
        }


def test_copy_has_every_row(origin: Database, target: str) -> None:
    """All rows are the same, the report counts them, and ids continue after the highest that was ever given."""
    seen: list[tuple[int, int]] = []
    copied = copy_store(url_of(origin), target, lambda done, total: seen.append((done, total)))
    with contextlib.closing(Database(target)) as copy:
        copy.set_up()
        assert content(copy) == content(origin)
        counts = {table.name: table.row_count for table in copied}
        assert counts == {name: len(rows) for name, rows in content(origin).items()}
        assert (counts["record"], counts["alert"], counts["delivery"]) == (119, 120, 120)
        assert seen[-1] == (sum(counts.values()),) * 2
        with copy.write() as connection:
            records.insert_new(connection, [make_record(500, minutes=500)])
            assert records.newest_id(connection) == 121
            assert positions.read(connection, positions.MATCHED) == 120
        post = Post(copy)
        assert post.matcher(KindRule()).run_once() == 1
        assert len(post.alerts()) == 121


def test_killed_copy_continues(origin: Database, target: str) -> None:
    """After kills before and after commits the copy continues, copies no row twice, and is complete. No service uses a part."""
    for place in ("3", "50 rows", "6", "finish"):
        killed = run_child([sys.executable, "-c", COPY, url_of(origin), target, place])
        assert killed.returncode == -signal.SIGKILL, (place, killed.stderr)
    with contextlib.closing(Database(target)) as copy:
        for refused in (copy.set_up, copy.upgrade, lambda: StoreReader.open(target)):
            with pytest.raises(SchemaMismatch, match="is an unfinished copy: repeat 'actionwatch store copy'"):
                refused()
        ended = run_child([sys.executable, "-c", COPY, url_of(origin), target, "never"])
        assert ended.returncode == 0, ended.stderr
        copy.set_up()
        assert content(copy) == content(origin)


def test_target_with_other_data_is_refused(origin: Database, target: str, tmp_path: Path) -> None:
    """A finished copy, and a part of a copy of another file, are not changed."""
    copy_store(url_of(origin), target, ignore)
    with pytest.raises(StoreError, match=r"has a store already \(the table .* has rows\).*: name an empty database"):
        copy_store(url_of(origin), target, ignore)
    with postgresql.other_database("half") as half:
        assert run_child([sys.executable, "-c", COPY, url_of(origin), half, "6"]).returncode == -signal.SIGKILL
        other = open_database(tmp_path / "other")
        other.close()
        with pytest.raises(StoreError, match=r"has an unfinished copy of .*store\.db: continue that one"):
            copy_store(url_of(other), half, ignore)


def test_running_services_are_refused(origin: Database, target: str) -> None:
    """Nothing is copied from a store on which a service runs, nor into one."""
    with origin.joined(), pytest.raises(StoreBusy, match=r"another actionwatch runs on .*: stop it"):
        copy_store(url_of(origin), target, ignore)
    with contextlib.closing(Database(target)) as running:
        running.set_up()
        with running.joined(), pytest.raises(StoreError, match=r"a service runs on .*: stop it"):
            copy_store(url_of(origin), target, ignore)


def test_change_between_two_parts_is_found(origin: Database, target: str) -> None:
    """If a command changes the origin while a copy is interrupted, the end finds it, and no service starts on the copy."""
    assert run_child([sys.executable, "-c", COPY, url_of(origin), target, "finish"]).returncode == -signal.SIGKILL
    with origin.write() as connection:
        connection.exec_driver_sql("UPDATE alert SET title = 'changed'")
    with pytest.raises(StoreError, match=r"the table alert of .* differs from .*: copy again into an empty database"):
        copy_store(url_of(origin), target, ignore)
    with pytest.raises(SchemaMismatch, match="unfinished copy"):
        StoreReader.open(target)


def test_text_that_postgresql_refuses_is_replaced(origin: Database, target: str) -> None:
    """A NUL that an older version stored does not end the copy: it becomes U+FFFD, as in records of today."""
    with origin.write() as connection:
        connection.exec_driver_sql("UPDATE record SET description = 'a' || char(0) || 'b' WHERE id = 7")
    copy_store(url_of(origin), target, ignore)
    with contextlib.closing(StoreReader.open(target)) as copy, copy.read() as connection:
        assert connection.exec_driver_sql("SELECT description FROM record WHERE id = 7").scalar() == "a\ufffdb"


def test_empty_store_is_copied(target: str, tmp_path: Path) -> None:
    """A store without rows gives an empty store."""
    with contextlib.closing(open_database(tmp_path)) as empty:
        assert {table.row_count for table in copy_store(url_of(empty), target, ignore)} == {0}
    StoreReader.open(target).close()
    assert copying.PART_ROWS == 10_000
