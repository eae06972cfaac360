"""Many organisations behind one URL: their keys, their steady logs, and faults and control requests for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
import yaml

from actionwatch.emulator.app import create_app
from actionwatch.emulator.fleet import HISTORY, Member, create_fleet, sources_of
from actionwatch.emulator.server import running
from tests import http_client
from tests.emulator.conftest import NOON, FakeClock

MINUTE = timedelta(minutes=1)


class Fleet:
    """Three served organisations whose clock the test sets."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.members = create_fleet(3, MINUTE, seed=7, clock=self.clock)
        first, *others = self.members
        self.app = create_app(first.organisation, user_name="demo", api_key=first.api_key, others=others)
        self.url = ""

    def get(self, member: Member, query: str = "", key: str | None = None) -> httpx.Response:
        """Request the user actions of an organisation."""
        url = f"{self.url}/v1/organisations/{member.organisation.id}/user-actions?{query}"
        return http_client.get(url, auth=(member.user_name, key or member.api_key))

    def total(self, member: Member, query: str = "") -> int:
        """Return how many records match."""
        (envelope,) = self.get(member, query).json()
        return int(envelope["totalResults"])

    def control(self, method: str, path: str, **options: object) -> httpx.Response:
        """Send a control request."""
        return http_client.request(method, f"{self.url}/_emulator{path}", **options)


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    """Serve three organisations."""
    made = Fleet()
    with running(made.app) as made.url:
        yield made


def test_the_same_seed_gives_the_same_organisations() -> None:
    """Names, ids, keys and labels follow from the seed; each organisation has other ones."""
    one, again, other = (create_fleet(50, MINUTE, seed=seed) for seed in (1, 1, 2))
    assert sources_of(one, "http://x") == sources_of(again, "http://x")
    assert not {each.api_key for each in one} & {each.api_key for each in other}
    assert not {each.organisation.id for each in one} & {each.organisation.id for each in other}
    sources = yaml.safe_load(sources_of(one, "http://x"))
    assert len({each["organisation_id"] for each in sources}) == len({each["api_key"] for each in sources}) == 50
    labels = [each["labels"] for each in sources]
    assert {each["tier"] for each in labels} == {"basic", "silver", "gold"}
    assert 50 // 4 <= len({each["customer"] for each in labels}) < 50
    for one_labels in labels:
        assert {each["tier"] for each in labels if each["customer"] == one_labels["customer"]} == {one_labels["tier"]}


def test_each_organisation_has_its_key(fleet: Fleet) -> None:
    """A key opens its organisation only, and an unknown organisation is denied."""
    one, other, _ = fleet.members
    assert fleet.get(one).status_code == 200
    assert fleet.get(other, key=one.api_key).status_code == 401
    unknown = f"{fleet.url}/v1/organisations/00000000-0000-4000-8000-000000000000/user-actions"
    assert http_client.get(unknown, auth=("demo", one.api_key)).status_code == 403


def test_logs_grow_at_the_rate(fleet: Fleet) -> None:
    """Each log has the history at the start and one record a period later, in time and not visible before its time."""
    per_period = HISTORY // MINUTE
    for member in fleet.members:
        assert fleet.total(member) == per_period
    fleet.clock.now = NOON + timedelta(minutes=10)
    for member in fleet.members:
        until = f"startTime={int(NOON.timestamp() * 1000)}"
        assert fleet.total(member) == per_period + 10
        assert fleet.total(member, until) == 10
        assert fleet.total(member, until) == 10, "the same when it is read again"
    kinds = {record["action"] for record in fleet.get(fleet.members[0], "pageSize=1000").json()[0]["resources"]}
    assert len(kinds) > 3


def test_an_outage_is_that_of_all(fleet: Fleet) -> None:
    """A fault applies to all organisations, and ends for all."""
    assert fleet.control("PUT", "/faults", json=["error:status=503"]).status_code == 200
    assert [fleet.get(member).status_code for member in fleet.members] == [503] * 3
    assert fleet.control("DELETE", "/faults").status_code == 200
    assert [fleet.get(member).status_code for member in fleet.members] == [200] * 3
    assert fleet.control("GET", "/traffic").json() == {"user_actions": {"200": 3, "503": 3}}


def test_records_vanish_from_all(fleet: Fleet) -> None:
    """A fault that removes records removes those of each organisation."""
    before = [fleet.total(member) for member in fleet.members]
    fleet.control("PUT", "/faults", json=["vanish:30m"])
    assert [fleet.total(member) for member in fleet.members] < before
    assert all(fleet.total(member) < count for member, count in zip(fleet.members, before, strict=True))


def test_control_requests_name_an_organisation(fleet: Fleet) -> None:
    """The truth is that of all organisations, or of a named one; actions go to the named one, else to the first."""
    one, other, _ = (member.organisation.id for member in fleet.members)
    fleet.control("POST", f"/actions?organisation={other}", json=[{"action": "DELETE_CLUSTER", "userName": "eve"}])
    fleet.control("POST", "/actions", json=[{"action": "DELETE_CLUSTER", "userName": "bob"}])
    assert fleet.control("GET", "/truth?organisation=none").status_code == 400
    records = [httpx.Response(200, text=line).json() for line in fleet.control("GET", "/truth").text.splitlines()]
    assert len({record["organisationId"] for record in records}) == 3
    made = {record["userName"]: record["organisationId"] for record in records if record["userName"] in ("eve", "bob")}
    assert made == {"eve": other, "bob": one}
