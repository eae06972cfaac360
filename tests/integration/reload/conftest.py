"""Fixtures: a site with a separate upstream for each test, logs restored afterwards, and no thread left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from actionwatch.emulator.app import create_app
from actionwatch.emulator.server import running
from actionwatch.emulator.state import Organisation
from tests.fixtures import logs_left_alone, no_thread_left
from tests.integration.reload.kit import Site

__all__ = ["logs_left_alone", "no_thread_left", "site"]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Start an upstream that contains only what the test appends."""
    organisation = Organisation()
    account = organisation.inventory.add_account("payments")
    cluster = organisation.inventory.add_cluster("payments-prod", account=account)
    with running(create_app(organisation)) as url:
        yield Site(tmp_path, url, organisation, account, cluster)
