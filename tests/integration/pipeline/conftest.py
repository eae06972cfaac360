"""A fresh store and a post office over it for each test, and the check that no thread is left behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from actionwatch.store.database import Database
from tests import waiting
from tests.builders import open_database
from tests.integration.pipeline.kit import Post
from tests.transitions import guard_transitions


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Open an empty store; it refuses transitions of deliveries that the table does not have."""
    opened = open_database(tmp_path)
    guard_transitions(opened)
    yield opened
    opened.close()


@pytest.fixture
def post(database: Database) -> Post:
    """One receiver, `hook`, that takes everything."""
    return Post(database)


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Fail a test that leaves a thread running."""
    with waiting.no_thread_left():
        yield
