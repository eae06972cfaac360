"""The fixtures of the notifiers' tests, which have the far ends of HTTP."""

from tests.integration.notifiers.conftest import ca_file, nothing_left_behind, server_context, small_heap

__all__ = ["ca_file", "nothing_left_behind", "server_context", "small_heap"]
