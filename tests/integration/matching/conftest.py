"""Fixtures of the matching tests."""

from tests.fixtures import database, new_store, no_thread_left, post

__all__ = ["database", "new_store", "no_thread_left", "post"]
