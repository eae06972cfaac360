"""Fixtures for the delivery tests: an empty store, a pipeline on it, and a pipeline with policies and operator actions."""

import pytest

from actionwatch.store.database import Database
from tests.fixtures import database, new_store, no_thread_left, post
from tests.integration.delivery.kit import Desk

__all__ = ["database", "new_store", "no_thread_left", "post"]


@pytest.fixture
def desk(database: Database) -> Desk:
    """A pipeline with one receiver, `hook`, and with operator actions."""
    return Desk(database)
