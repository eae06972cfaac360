"""Fixtures of the service tests."""

from tests.fixtures import database, no_thread_left, post, unguarded

__all__ = ["database", "no_thread_left", "post", "unguarded"]
