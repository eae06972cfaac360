"""`store upgrade`: an older schema is upgraded when a person asks, and what was done is printed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from actionwatch.store.revision import SCHEMA_VERSION
from tests import postgresql
from tests.integration.cli.conftest import Desk, new_desk
from tests.integration.store.test_database import create_first_schema
from tests.integration.store.test_upgrade import FIRST


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Desk]:
    """A desk with an empty database in PostgreSQL."""
    with postgresql.other_database("shared") as url, new_desk(tmp_path, url) as fresh:
        yield fresh


def test_shared_store_is_upgraded_only_on_request(shared: Desk) -> None:
    """`run` refuses an older schema with exit status 1 and names the command, which upgrades it once."""
    with contextlib.closing(shared.open_store()) as database, database.write() as connection:
        connection.exec_driver_sql(FIRST)
    for arguments in (("run", "--once"), ("status",), ("alerts", "list")):
        refused = shared.call(*arguments)
        assert refused.status == 1
        assert "run 'actionwatch store upgrade'" in refused.err + refused.out
    done = shared.call("store", "upgrade")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("postgresql+psycopg://postgres@/shared?")
    assert done.out.endswith(f": upgraded from schema 0004 to {SCHEMA_VERSION}\n")
    again = shared.call("store", "upgrade", "-o", "json")
    assert (again.json["before"], again.json["schema"]) == (SCHEMA_VERSION, SCHEMA_VERSION)
    assert shared.call("store", "upgrade").out.endswith(f": has schema {SCHEMA_VERSION}, nothing to upgrade\n")
    assert shared.call("run", "--once").status == 0


def test_empty_database_is_created(shared: Desk) -> None:
    """In an empty database, the command creates the tables, as the first start of a service does."""
    done = shared.call("store", "upgrade")
    assert (done.status, done.err) == (0, "")
    assert done.out.endswith(f": was empty, created with schema {SCHEMA_VERSION}\n")
    assert shared.call("store", "upgrade").out.endswith("nothing to upgrade\n")
    assert shared.call("run", "--once").status == 0


def test_file_is_upgraded_while_nothing_runs(tmp_path: Path) -> None:
    """The command upgrades a SQLite store too, but not below a service, and creates none."""
    with new_desk(tmp_path) as desk:
        missing = desk.call("store", "upgrade")
        assert (missing.status, missing.out) == (1, "")
        assert "there is no store" in missing.err
        assert not desk.file.exists()
        with contextlib.closing(desk.open_store()) as database:
            with database.write() as connection:
                create_first_schema(connection)
            with database.joined():
                refused = desk.call("store", "upgrade")
                assert (refused.status, refused.out) == (1, "")
                assert "another actionwatch runs on" in refused.err
        assert desk.call("store", "upgrade").out == f"{desk.file}: upgraded from schema 0001 to {SCHEMA_VERSION}\n"
