"""Fixtures of the notifier tests, which include HTTP far ends."""

from tests.integration.notifiers.conftest import ca_file, nothing_left_behind, server_context, small_heap

__all__ = ["ca_file", "nothing_left_behind", "server_context", "small_heap"]
