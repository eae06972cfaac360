"""Two replicas on a store in PostgreSQL: one that was silent for too long sends nothing that others may have sent."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from actionwatch.base.errors import StoreBusy, StoreUnreachable
from actionwatch.store import lease
from actionwatch.store.database import Database
from actionwatch.store.membership import Membership
from tests import postgresql
from tests.integration.delivery.delivering import hook
from tests.integration.kit import Post, Sender, settle
from tests.waiting import LIMIT, wait_until

NEVER, AT_ONCE = timedelta(hours=1), timedelta(0)
Replica = tuple[Post, Membership]


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a lease last longer than any test."""
    monkeypatch.setattr(lease, "SPAN", NEVER)


@pytest.fixture
def replica(url: str) -> Iterator[Callable[[], Replica]]:
    """Starts a process that shares the store, and sends one message at a time to the receiver `hook`."""
    with contextlib.ExitStack() as stack:

        def start() -> Replica:
            database = stack.enter_context(contextlib.closing(Database(url)))
            membership = stack.enter_context(database.joined())
            return Post(database, senders={"hook": Sender()}, channel={"concurrency": 1}), membership

        yield start


def connected_again(work: Callable[[], object]) -> bool:
    """Return whether some work needed no connection of before the outage, each of which fails once."""
    try:
        work()
    except StoreUnreachable:
        return False
    return True


def follows() -> bool:
    """Return that the process does not lead."""
    return False


def query(url: str, statement: str) -> list[Any]:
    """Query or change the database as its administrator."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        found = connection.execute(statement.encode())
        return found.fetchall() if found.description else []


def test_replica_that_was_silent_sends_nothing_more(
    replica: Callable[[], Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a replica had claimed and not sent when its lease ended, it leaves to others, even if it renews the lease."""
    post, membership = replica()
    post.open_alerts("one", "two", "three")
    hook(post).gate.clear()
    with post.delivering(leads=follows) as worker:
        worker.run_once(0.0)
        wait_until(lambda: hook(post).sent, "a message to hold")
        assert worker.receivers.under_way() == 3
        monkeypatch.setattr(lease, "SPAN", AT_ONCE)
        membership.renew()
        monkeypatch.setattr(lease, "SPAN", NEVER)
        hook(post).gate.set()
        settle(worker)
    assert [row.attempts for row in post.rows()] == [1, 2, 2]  # they were claimed again
    assert len(set(hook(post).ids)) == len(hook(post).ids) == 3
    assert post.states() == ["hook opened sent"] * 3


def test_replica_whose_lease_has_ended_claims_nothing(
    replica: Callable[[], Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica whose last renewal is too long ago records what it sent, but claims nothing until it has renewed its lease."""
    post, membership = replica()
    post.open_alerts("one")
    with post.delivering(leads=follows) as worker:
        worker.run_once(0.0)
        wait_until(lambda: hook(post).sent, "the message")
        post.open_alerts("two")
        monkeypatch.setattr(lease, "SPAN", AT_ONCE)
        with pytest.raises(StoreBusy, match="has not renewed its lease"):
            worker.run_once(LIMIT)
        assert post.states() == ["hook opened sent", "hook opened pending"]
        monkeypatch.setattr(lease, "SPAN", NEVER)
        membership.renew()
        settle(worker)
    assert post.states() == ["hook opened sent"] * 2
    assert len(hook(post).sent) == 2


def test_replica_that_has_left_sends_nothing(url: str) -> None:
    """A send that waits behind one that hangs is not begun once its process has left: others may send the message then."""
    with contextlib.closing(Database(url)) as database:
        post = Post(database, senders={"hook": Sender()}, channel={"concurrency": 1})
        hook(post).gate.clear()
        with database.joined():
            post.open_alerts("one", "two")
            worker = post.worker(leads=follows)
            worker.run_once(0.0)
            wait_until(lambda: hook(post).sent, "a message to hold")
        hook(post).gate.set()
        worker.finish()
    assert len(hook(post).sent) == 1
    assert sorted(query(url, "SELECT status FROM delivery")) == [("pending",), ("sent",)]


def test_claims_outlast_an_outage(url: str, replica: Callable[[], Replica]) -> None:
    """After an outage, the claims of a replica that has not renewed its lease yet stay, until it had the time to do so."""
    (one, first), (two, second) = replica(), replica()
    one.open_alerts("a")
    hook(one).gate.clear()
    with one.delivering(leads=follows) as sending, two.delivering(leads=follows) as other:
        sending.run_once(0.0)
        wait_until(lambda: hook(one).sent, "a message to hold")
        with postgresql.stopped(), pytest.raises(StoreUnreachable):
            second.renew()
        query(url, "UPDATE replica SET until = clock_timestamp() - interval '1 second'")
        second.renew()
        wait_until(lambda: connected_again(other.recover), "a connection")
        wait_until(lambda: connected_again(lambda: settle(other)), "a connection")
        assert hook(two).sent == []
        first.renew()
        hook(one).gate.set()
        wait_until(lambda: connected_again(lambda: settle(sending)), "a connection")
        assert query(url, "SELECT status FROM delivery") == [("sent",)]


def test_claims_of_a_dead_replica_are_released(
    url: str, replica: Callable[[], Replica], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica releases the claims of one whose lease has ended when it has renewed its own for as long as a lease lasts."""
    (one, _), (two, second) = replica(), replica()
    one.open_alerts("a")
    hook(one).gate.clear()
    with one.delivering(leads=follows) as sending, two.delivering(leads=follows) as other:
        sending.run_once(0.0)
        wait_until(lambda: hook(one).sent, "a message to hold")
        query(
            url,
            f"UPDATE replica SET until = clock_timestamp() - interval '1 second' WHERE id = '{one.database.peers.sender}'",
        )
        other.recover()
        settle(other)
        assert hook(two).sent == []
        # The other had joined, and renewed its lease, for as long as this lease lasts.
        monkeypatch.setattr(lease, "SPAN", timedelta(seconds=1))

        def has_released() -> bool:
            second.renew()
            other.recover()
            settle(other)
            return bool(hook(two).sent)

        wait_until(has_released, "the claim of the dead replica")
    assert one.states() == ["hook opened sent"]
