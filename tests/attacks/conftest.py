"""Fixtures: a store, and an upstream."""

from __future__ import annotations

from tests.fixtures import database, logs_left_alone
from tests.integration.tail.conftest import world

__all__ = ["database", "logs_left_alone", "world"]
