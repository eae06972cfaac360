"""A fresh store, and a desk over it, for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import open_database
from tests.integration.lifecycle.kit import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """Open an empty store with one receiver, a hook."""
    database = open_database(tmp_path)
    yield Desk(database)
    database.close()
