"""Fixtures of the web tests."""

from tests.fixtures import database

__all__ = ["database"]
