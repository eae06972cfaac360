"""Fixtures of the store tests."""

from tests.fixtures import database

__all__ = ["database"]
