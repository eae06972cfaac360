"""Fixtures: a store, an emulated world, and a server that forwards to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fixtures import database
from tests.upstreams import Switch, World, serving

__all__ = ["database", "served", "world"]


@pytest.fixture(scope="session")
def served() -> Iterator[tuple[Switch, str]]:
    """Serve the world that a test chooses."""
    with serving() as found:
        yield found


@pytest.fixture
def world() -> World:
    """Make an empty world at noon."""
    return World()
