"""A site with an upstream of its own for each test, its logs left behind, and no thread."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from actionwatch.emulator.app import create_app
from actionwatch.emulator.server import running
from actionwatch.emulator.state import Organisation
from tests import waiting
from tests.integration.reload.kit import Site


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Start an upstream in which nothing happens but what the test appends."""
    organisation = Organisation()
    account = organisation.add_account("payments")
    cluster = organisation.add_cluster("payments-prod", account=account)
    with running(create_app(organisation)) as url:
        yield Site(tmp_path, url, organisation, account, cluster)


@pytest.fixture(autouse=True)
def logs_left_alone() -> Iterator[None]:
    """Take back what `serve` sets up for its logs."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Fail a test that leaves a thread running."""
    with waiting.no_thread_left():
        yield
