"""A store, a world and a server that hands on to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from actionwatch.store.database import Database
from tests.builders import open_database
from tests.upstreams import Switch, World, serving


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Open an empty store."""
    opened = open_database(tmp_path)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def served() -> Iterator[tuple[Switch, str]]:
    """Serve whatever world a test puts there."""
    with serving() as found:
        yield found


@pytest.fixture
def world() -> World:
    """Found an empty world at noon."""
    return World()
