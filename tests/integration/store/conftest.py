"""The fixtures of these tests."""

from tests.fixtures import database

__all__ = ["database"]
