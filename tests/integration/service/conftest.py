"""Fixtures of the service tests."""

from tests.fixtures import database, new_store, no_thread_left, post

__all__ = ["database", "new_store", "no_thread_left", "post"]
