"""Fixtures of the store tests."""

from tests.fixtures import database, new_store

__all__ = ["database", "new_store"]
