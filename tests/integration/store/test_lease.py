"""The lease of a store in PostgreSQL, against a real server: one owner at a time, judged by the database's clock."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
import time_machine

from actionwatch.base.errors import StoreError, StoreOwned
from actionwatch.store import lease, positions
from actionwatch.store.database import Database
from tests import postgresql
from tests.positions import move_to
from tests.waiting import beside, wait_for_event, wait_until

QUICK = timedelta(milliseconds=20)
LOCK = b"SELECT pg_advisory_xact_lock(1633907831)"  # the write lock of stores
LOST = "no longer owns"


@pytest.fixture
def url() -> Iterator[str]:
    """The URL of an empty store."""
    with postgresql.other_database("lease_test") as found:
        with contextlib.closing(Database(found)) as database:
            database.upgrade()
        yield found


@pytest.fixture
def replica(url: str) -> Iterator[Callable[[], Database]]:
    """Opens the store as another process would."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(contextlib.closing(Database(url)))


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a lease last longer than any test."""
    monkeypatch.setattr(lease, "SPAN", timedelta(hours=1))


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `keep` renew so often that tests need not wait."""
    monkeypatch.setattr(lease, "RENEW_EVERY", QUICK)


def execute(url: str, statement: str) -> None:
    """Change the database as its administrator."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute(statement.encode())


def row(url: str) -> tuple[Any, ...]:
    """Return owner, term, end and note of the lease."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        found = connection.execute("SELECT owner, term, until > clock_timestamp(), note FROM lease").fetchone()
    assert found is not None
    return found


def waiting_count(url: str) -> int:
    """Return how many transactions wait for the write lock."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        ).fetchone()
    assert found is not None
    return int(found[0])


def is_there(url: str, query: str) -> bool:
    """Return whether a query has a row."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        return connection.execute(query.encode()).fetchone() is not None


def expire(url: str) -> None:
    """Let the lease end, as if its owner had died a while ago."""
    execute(url, "UPDATE lease SET until = clock_timestamp() - interval '1 second'")


def test_lease_is_taken_once_and_released(url: str, replica: Callable[[], Database]) -> None:
    """One process holds the lease; a second is refused; after a clean end it is free at once, and the next term is higher."""
    one, other = replica(), replica()
    with one.owned():
        assert (one.is_owned(), other.is_owned()) == (True, True)
        with pytest.raises(StoreOwned, match="another actionwatch runs on"), other.owned():
            raise AssertionError("two owners")
        first = row(url)
    assert not other.is_owned()
    with other.owned():
        second = row(url)
    assert (first[1], second[1]) == (1, 2)
    assert first[0] != second[0]


def test_lease_that_expired_is_taken_over(url: str, replica: Callable[[], Database], often: None) -> None:
    """When the lease has expired, another process takes over. Nothing that the old owner writes later has an effect."""
    old, new = replica(), replica()
    with contextlib.ExitStack() as newer:
        with old.owned() as owned:
            with old.write() as connection:
                move_to(connection, "match", 1)
            expire(url)
            assert_refused(old)
            newer.enter_context(new.owned()).write(b"new")
            assert_refused(old)
            owned.write(b"old")
            with pytest.raises(StoreError, match=LOST):
                owned.keep(threading.Event())
        assert_refused(old)
        assert row(url)[1:] == (2, True, b"new")
        with new.write() as connection:
            assert positions.read(connection, "match") == 1


def test_write_that_waits_during_a_take_over_is_refused(url: str, replica: Callable[[], Database]) -> None:
    """A write of the old owner that began before the take-over, and waited for the lock meanwhile, changes nothing."""
    old, new = replica(), replica()
    is_taken, may_end = threading.Event(), threading.Event()

    def take_over() -> None:
        with new.owned():
            is_taken.set()
            wait_for_event(may_end, "the end of the test")

    with old.owned(), contextlib.ExitStack() as stack:
        with psycopg.connect(url.replace("+psycopg", "")) as other:
            other.execute(LOCK)
            expire(url)
            stack.enter_context(beside(take_over, stop=may_end.set))
            wait_until(lambda: waiting_count(url) == 1, "the take-over to wait")
            stack.enter_context(beside(lambda: assert_refused(old)))  # the server serves those who wait in their order
            wait_until(lambda: waiting_count(url) == 2, "the write to wait")
        wait_for_event(is_taken, "the take-over")
    with new.read() as connection:
        assert positions.read(connection, "match") == 0


def test_take_over_waits_for_a_write_that_began_before(url: str, replica: Callable[[], Database]) -> None:
    """A write that has the lock when the lease expires ends before the take-over, so that the new owner sees it."""
    old, new = replica(), replica()
    seen: list[int] = []

    def take_over() -> None:
        with new.owned(), new.read() as connection:
            seen.append(positions.read(connection, "match"))

    with old.owned(), contextlib.ExitStack() as stack, old.write() as connection:
        expire(url)
        stack.enter_context(beside(take_over))
        wait_until(lambda: waiting_count(url) == 1, "the take-over to wait")
        move_to(connection, "match", 7)
    assert seen == [7]


def test_lease_is_renewed_until_its_end(url: str, replica: Callable[[], Database], often: None) -> None:
    """An owner that keeps its lease has it for longer than one span, in the same term. A stop ends `keep`."""
    one = replica()
    stopping = threading.Event()
    with one.owned() as owned, beside(lambda: owned.keep(stopping), stop=stopping.set):
        for _ in range(2):
            execute(url, "UPDATE lease SET until = clock_timestamp() + interval '1 day'")
            wait_until(
                lambda: is_there(url, "SELECT FROM lease WHERE until < clock_timestamp() + interval '2 hours'"),
                "a renewal, which sets the end by the span",
            )
        assert row(url)[1:3] == (1, True)


def test_server_that_is_silent_ends_the_lease(replica: Callable[[], Database], monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner that cannot reach the server gives up when the lease may have expired, and says that it lost the store."""
    monkeypatch.setattr(lease, "RENEW_EVERY", QUICK)
    one = replica()
    with one.owned() as owned:
        monkeypatch.setattr(lease, "SPAN", 10 * QUICK)
        with postgresql.stopped():
            with pytest.raises(StoreError, match=LOST):
                owned.keep(threading.Event())
            with pytest.raises(StoreError, match="the store"), one.write():
                raise AssertionError("a write without a server")


def test_clock_of_the_process_plays_no_part(url: str, replica: Callable[[], Database]) -> None:
    """Only the server's clock decides: a process whose clock is years off sees and takes the lease like any other."""
    one, other = replica(), replica()
    for off in (timedelta(days=3650), timedelta(days=-3650)):
        with time_machine.travel(datetime.now(UTC) + off, tick=True):
            with one.owned():
                assert other.is_owned()
                with pytest.raises(StoreOwned), other.owned():
                    raise AssertionError("two owners")
                assert is_there(url, "SELECT FROM lease WHERE until < clock_timestamp() + interval '2 hours'")
            assert not other.is_owned()


def test_note_is_for_commands(replica: Callable[[], Database]) -> None:
    """A command reads the note of the owner, and nothing after its end."""
    one, other = replica(), replica()
    with one.owned() as owned:
        assert other.read_note() == b""
        owned.write(b"process 7")
        assert other.read_note() == b"process 7"
    assert other.read_note() == b""
    with other.owned():
        assert one.read_note() == b""


def test_command_writes_beside_the_owner(replica: Callable[[], Database]) -> None:
    """A process that never held the lease can write: a person acknowledges and silences from anywhere."""
    one, other = replica(), replica()
    with one.owned(), other.write() as connection:
        move_to(connection, "match", 3)
    with one.read() as connection:
        assert positions.read(connection, "match") == 3


def test_commit_that_began_early_changes_the_version(url: str, replica: Callable[[], Database]) -> None:
    """A commit changes the version also if a later transaction, such as a renewal of the lease, has ended before it."""
    one, other = replica(), replica()
    with other.owned():
        with one.write() as connection:
            move_to(connection, "match", 1)
            execute(url, "UPDATE lease SET note = 'later'")
            before = other.version()
        assert other.version() != before


def assert_refused(database: Database) -> None:
    """Check that a process that lost the lease cannot write, durably or not."""
    for is_durable in (False, True):
        with pytest.raises(StoreError, match=LOST), database.write(is_durable=is_durable) as connection:
            move_to(connection, "match", 9)
