"""A fresh store for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from actionwatch.store.database import Database
from tests.builders import open_database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Open an empty store."""
    opened = open_database(tmp_path)
    yield opened
    opened.close()
