"""Fixtures: a store, an upstream, and a site of a service."""

from __future__ import annotations

from tests.fixtures import database, logs_left_alone
from tests.integration.reload.conftest import site
from tests.integration.tail.conftest import world

__all__ = ["database", "logs_left_alone", "site", "world"]
