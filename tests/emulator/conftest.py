"""A small organisation with known times, behind a real socket."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from actionwatch.emulator.app import DEMO_KEY, DEMO_USER, create_app
from actionwatch.emulator.faults.playing import Faults
from actionwatch.emulator.inventory import Account, Cluster
from actionwatch.emulator.server import running
from actionwatch.emulator.state import Organisation
from tests import http_client

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


@dataclass
class FakeClock:
    """A clock that moves only if it is set."""

    now: datetime = NOON

    def __call__(self) -> datetime:
        return self.now


@dataclass
class World:
    """An organisation with one account, one cluster and a clock that a test sets, and a client of its API."""

    organisation: Organisation
    clock: FakeClock
    account: Account
    cluster: Cluster
    faults: Faults
    url: str
    client: httpx.Client

    def log(self, kind: str, minutes: float = 0, **fields: object) -> None:
        """Log an action some minutes after noon."""
        self.organisation.append(kind, at=NOON + timedelta(minutes=minutes), **fields)  # type: ignore[arg-type]

    def request(self, query: str = "") -> dict[str, object]:
        """Return the only envelope of a response."""
        answer = self.client.get(f"/user-actions?{query}")
        assert answer.status_code == 200, answer.text
        (envelope,) = answer.json()
        return dict(envelope)

    def kinds(self, query: str = "") -> list[str]:
        """Return the kinds of a page, in its order."""
        resources = self.request(query)["resources"]
        assert isinstance(resources, list)
        return [record["action"] for record in resources]


@pytest.fixture
def world() -> Iterator[World]:
    """Serve a new world."""
    with serve_world() as fresh:
        yield fresh


@pytest.fixture(scope="module")
def shared() -> Iterator[World]:
    """Serve one empty world to all tests of a module that do not change it, because a server takes 0.2 s."""
    with serve_world() as empty:
        yield empty


@contextmanager
def serve_world() -> Iterator[World]:
    """Serve a world during the block."""
    clock = FakeClock()
    organisation = Organisation(clock=clock)
    account = organisation.inventory.add_account("payments")
    cluster = organisation.inventory.add_cluster("payments-prod-kafka", account=account)
    app = create_app(organisation)
    with running(app) as url:
        base = f"{url}/v1/organisations/{organisation.id}"
        with http_client.client(base_url=base, auth=(DEMO_USER, DEMO_KEY)) as client:
            yield World(organisation, clock, account, cluster, app.state.emulator.faults, url, client)
