"""An upstream that refuses, for three different reasons."""

from __future__ import annotations

import pytest

from actionwatch.store import alerts
from actionwatch.store.database import Database
from tests.integration.tail.test_tail import bench
from tests.upstreams import World


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("error:401", "rejected the API key"),
        ("error:403", "denied access"),
        ("error:404", "does not know the organisation"),
    ],
)
def test_a_wrong_organisation_does_not_blame_the_key(world: World, database: Database, fault: str, text: str) -> None:
    """Each refusal raises an alert with its own reason, and the title accuses nothing that may be right."""
    bench(world, database, fault).poll()
    with database.read() as connection:
        (alert,) = alerts.read_newest(connection, 10)
    assert text in alert.body
    assert alert.title == "Blind: the upstream denies access to acme"
