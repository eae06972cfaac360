"""The fixtures of these tests: an empty store, a post office over it, and a desk for what people decide."""

import pytest

from actionwatch.store.database import Database
from tests.fixtures import database, no_thread_left, post
from tests.integration.delivery.kit import Desk

__all__ = ["database", "no_thread_left", "post"]


@pytest.fixture
def desk(database: Database) -> Desk:
    """One receiver, a hook, and people who decide."""
    return Desk(database)
