"""Fixtures of the web tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser import chromium
from tests.fixtures import database, unguarded

__all__ = ["database", "unguarded"]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One browser for all web tests of a process, because a start takes as long as a test. Each test has its own windows."""
    with chromium() as started:
        yield started
