"""Fixtures that several packages share. The `conftest.py` of each package imports those that its tests need."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actionwatch.store.database import Database
from tests import postgresql, waiting
from tests.builders import open_database
from tests.integration.kit import Post
from tests.plain_logs import log_plainly
from tests.transitions import guard_transitions


@pytest.fixture
def new_store(tmp_path: Path, store_kind: str) -> Callable[[], Database]:
    """Open an empty store of the kind under test, in place of the one before. The caller closes it."""
    if store_kind != "sqlite":
        return postgresql.open_store
    numbers = itertools.count()

    def open_file() -> Database:
        number = next(numbers)
        return open_database(tmp_path / f"store-{number}" if number else tmp_path)

    return open_file


@pytest.fixture
def database(tmp_path: Path, store_kind: str) -> Iterator[Database]:
    """Open an empty store that refuses delivery transitions that are not in the table."""
    if store_kind == "sqlite":
        opened = open_database(tmp_path, is_guarded=True)
    else:
        opened = postgresql.open_store()
        guard_transitions(opened)
    yield opened
    opened.close()


@pytest.fixture
def unguarded(database: Database) -> None:
    """Let other processes open the store: they refuse one with the triggers of the guard, which are not ours."""
    on = " ON delivery" if database.is_shared else ""
    with database.write() as connection:
        for event in ("update", "insert"):
            connection.exec_driver_sql(f"DROP TRIGGER guard_{event}{on}")


@pytest.fixture
def post(database: Database) -> Post:
    """A pipeline with one receiver, `hook`, that accepts everything."""
    return Post(database)


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Fail a test that leaves a thread running."""
    with waiting.no_thread_left():
        yield


@pytest.fixture(autouse=True)
def logs_left_alone() -> Iterator[None]:
    """Undo the log setup of a command, because its stream ends with the call."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    log_plainly()
    root.handlers[:] = handlers
    root.setLevel(level)
