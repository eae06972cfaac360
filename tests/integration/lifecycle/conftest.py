"""A fresh store, and a desk over it, for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import open_database
from tests.integration.lifecycle.kit import Desk
from tests.transitions import guard_transitions


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Open an empty store with one receiver, a hook; it refuses transitions that the table does not have."""
    database = open_database(tmp_path)
    guard_transitions(database)
    yield Desk(database)
    database.close()
