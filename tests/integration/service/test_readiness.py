"""Readiness answers from memory, and knows what this replica has and what it does not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit, urlunsplit

import pytest

from actionwatch.base.errors import StoreError
from actionwatch.service.readiness import SILENT_AFTER, Readiness
from actionwatch.service.roles import Role, Roles
from actionwatch.service.step_watch import FAILURES, StepWatch
from actionwatch.store import lease, polls, positions, records
from actionwatch.store.database import Database
from actionwatch.store.membership import Membership, tail_role
from tests import postgresql
from tests.builders import make_record
from tests.chaos.database_proxy import DatabaseProxy
from tests.integration.kit import Post
from tests.positions import move_to
from tests.waiting import beside, wait_until

ROLE = tail_role("acme")


class Time:
    """A monotonic clock that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Replica:
    """A replica that tails a source, its steps, and its readiness."""

    def __init__(self, database: Database, membership: Membership) -> None:
        self.time = Time()
        self.database = database
        self.membership = membership
        self.steps = StepWatch(Post(database).troubles)
        self.steps.add("tail acme", role=ROLE)
        self.roles = Roles([Role(ROLE, lambda: None, lambda: None)], elapsed=self.time)
        self.roles.start(membership)
        ages = {"acme": timedelta(seconds=1)}
        self.records_learned: int | None = None
        self.readiness = Readiness(
            database,
            lambda: {"acme": timedelta(seconds=30)},
            lambda: ages,
            self.steps,
            self.roles,
            lambda: self.records_learned,
            self.time,
        )

    @property
    def reasons(self) -> list[str]:
        return list(self.readiness.reasons())


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[DatabaseProxy]:
    """Forwards to the server of the store."""
    with DatabaseProxy(tmp_path / "proxy", Path(postgresql.socket_folder())) as found:
        yield found


@pytest.fixture
def replica(proxy: DatabaseProxy, tmp_path: Path) -> Iterator[Replica]:
    """A replica that is ready, on a store behind the proxy."""
    with postgresql.other_database("readiness_test") as direct:
        address = urlsplit(direct)
        through = address._replace(query=urlencode({**dict(parse_qsl(address.query)), "host": str(tmp_path / "proxy")}))
        assert parse_qs(address.query)["host"] == [str(proxy.server)]
        with contextlib.closing(Database(urlunsplit(through))) as database:
            database.upgrade()
            with database.joined() as membership:
                found = Replica(database, membership)
                with database.write() as connection:
                    polls.note_poll(connection, "acme", database.peers.now(), None)
                found.readiness.look()
                assert found.reasons == []
                yield found


def test_readiness_waits_for_no_database(replica: Replica, proxy: DatabaseProxy) -> None:
    """While the database is silent, readiness answers from memory. Once the facts are old, it names their age."""
    proxy.mode = "stall"
    with beside(replica.readiness.look, stop=proxy.cut) as looking:
        assert replica.reasons == []
        replica.time.now += SILENT_AFTER.total_seconds() + 1
        assert replica.reasons == ["the store has not answered for 11s"]
        assert looking.is_alive()
    (reason,) = replica.reasons
    assert "cannot be reached" in reason or "failed" in reason
    proxy.mode = "pass"

    def is_ready() -> bool:
        replica.readiness.look()
        return replica.reasons == []

    wait_until(is_ready, "a connection")


def test_replica_that_is_no_member_is_not_ready(replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica whose lease has ended says so, and since when, until it has renewed it."""
    monkeypatch.setattr(lease, "SPAN", timedelta(0))
    replica.time.now += 98
    replica.readiness.look()
    assert replica.reasons == ["this replica has not renewed its lease for 1m38s, so other replicas do its work"]
    monkeypatch.setattr(lease, "SPAN", timedelta(hours=1))
    replica.membership.renew()
    assert replica.reasons == []


def test_failures_of_a_role_end_with_it(replica: Replica) -> None:
    """A replica that has lost a role no longer shows how its steps failed: another one runs them."""

    def fail() -> None:
        raise StoreError("odd")

    for _ in range(FAILURES):
        replica.steps.attempt("tail acme", fail)
    assert replica.reasons == ["step tail acme: failed 3 times in a row: odd"]
    replica.roles._held.clear()
    assert replica.reasons == []


def test_learning_is_a_reason_with_its_progress(replica: Replica) -> None:
    """Until correlations have caught up after a start, the process is not ready; it reports how far they are."""
    with replica.database.write() as connection:
        records.insert_new(connection, [make_record(n) for n in range(3)])
        move_to(connection, positions.CORRELATED, 1)
    replica.records_learned = 4000
    replica.readiness.look()
    assert replica.reasons == [
        "learning: correlations have read 4,000 records since the start, and about 2 wait for them; plain rules are ready"
    ]
    replica.records_learned = None
    assert replica.reasons == []
