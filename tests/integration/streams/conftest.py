"""Fixtures of the tests of streams."""

from tests.fixtures import database, new_store

__all__ = ["database", "new_store"]
