"""Replicas and roles on a store in PostgreSQL, against a real server: one owner at a time, judged by the database's clock."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit, urlunsplit

import psycopg
import pytest
import time_machine

from actionwatch.base.errors import RoleLost, StoreBusy, StoreClosed, StoreOwned, StoreUnreachable
from actionwatch.service.roles import Role, Roles
from actionwatch.store import lease, positions
from actionwatch.store.database import Database
from actionwatch.store.membership import Membership
from actionwatch.store.postgresql import copy_rows
from tests import postgresql
from tests.chaos.database_proxy import DatabaseProxy
from tests.positions import move_to
from tests.waiting import beside, join, wait_for_event, wait_until

LOCK = b"SELECT pg_advisory_xact_lock(1633907831)"  # the write lock of stores
OTHERS = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
LOST = "no longer has the role"
ROLE = "leader"


@pytest.fixture
def replica(url: str) -> Iterator[Callable[[], Database]]:
    """Opens the store as another process would."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(contextlib.closing(Database(url)))


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a lease last longer than any test."""
    monkeypatch.setattr(lease, "SPAN", timedelta(hours=1))


def execute(url: str, statement: str) -> None:
    """Change the database as its administrator."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute(statement.encode())


def row(url: str) -> tuple[Any, ...]:
    """Return owner and term of the role, and whether the owner lives."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        found = connection.execute(
            "SELECT owner, term, until > clock_timestamp() FROM role LEFT JOIN replica ON id = owner"
        ).fetchone()
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
    """Let all leases end, as if their owners had died a while ago."""
    execute(url, "UPDATE replica SET until = clock_timestamp() - interval '1 second'")


@contextlib.contextmanager
def leading(database: Database) -> Iterator[Membership]:
    """Be a replica with the role until the block ends."""
    with database.joined() as membership:
        assert membership.take_roles([ROLE])
        yield membership


def test_role_is_taken_once_and_released(url: str, replica: Callable[[], Database]) -> None:
    """One replica has a role; a second does not get it; after a clean end it is free at once, and the next term is higher."""
    one, other = replica(), replica()
    with other.joined() as second:
        with leading(one) as first:
            assert not second.take_roles([ROLE])
            assert (first.has(ROLE), second.has(ROLE)) == (True, False)
            assert list(second.renew().holders) == [ROLE]
            before = row(url)
        assert second.take_roles([ROLE])
        after = row(url)
    assert (before[1], after[1]) == (1, 2)
    assert before[0] != after[0]


def test_role_is_handed_over(replica: Callable[[], Database]) -> None:
    """A replica that hands a role over no longer writes for it, and another one takes it at once."""
    one, other = replica(), replica()
    with leading(one) as first, other.joined() as second:
        first.hand_over([ROLE])
        assert not first.has(ROLE)
        assert_refused(one)
        assert second.take_roles([ROLE])
        write(other, 2)


def test_roster_says_who_lives(url: str, replica: Callable[[], Database]) -> None:
    """Every replica and every command see which replicas live and what they wrote; nobody after their end."""
    one, other, command = replica(), replica(), replica()
    assert not command.is_owned()
    with one.joined() as first, other.joined() as second:
        first.write(b"process 7")
        found = second.renew()
        assert (found.mine, len(found.hosts)) == (other.peers.sender, 2)
        assert command.peers.roster().notes == {one.peers.sender: b"process 7", other.peers.sender: b""}
        expire(url)
        assert not command.is_owned()
        first.renew()
        assert list(command.peers.roster().hosts) == [one.peers.sender]
    assert not command.is_owned()


def test_round_is_refused_beside_a_replica(replica: Callable[[], Database]) -> None:
    """A process that must be alone is refused while a replica lives; replicas are not."""
    one, other = replica(), replica()
    with one.joined():
        with pytest.raises(StoreOwned, match="another actionwatch runs on"), other.joined(alone=True):
            raise AssertionError("not alone")
        with other.joined():
            pass
    with other.joined(alone=True):
        pass


def test_round_takes_the_roles_of_a_dead_replica(url: str, replica: Callable[[], Database]) -> None:
    """A replica that has not renewed its lease for too long holds up no round, and can write nothing beside it."""
    one, other = replica(), replica()
    with leading(one):
        expire(url)
        with other.joined(alone=True) as alone:
            assert alone.take_roles([ROLE])
            assert_refused(one)


def test_role_that_ended_is_taken_over(url: str, replica: Callable[[], Database]) -> None:
    """When a lease has ended, another replica takes over. Nothing that the old owner writes for the role has an effect."""
    old, new = replica(), replica()
    with leading(old) as first:
        write(old, 1)
        expire(url)
        assert_refused(old)
        with leading(new):
            assert_refused(old)
            first.renew()
            assert not first.has(ROLE)
            assert_refused(old)
            assert row(url)[1:] == (2, True)
            with old.write():  # what every replica may write
                pass
    with new.read() as connection:
        assert positions.read(connection, "match") == 1


def test_role_that_ended_is_kept_if_nobody_took_it(url: str, replica: Callable[[], Database]) -> None:
    """After the server was away for longer than a lease, its owner has it again, in the same term."""
    one = replica()
    with leading(one) as first:
        expire(url)
        assert_refused(one)
        first.renew()
        assert first.has(ROLE)
        assert row(url)[1:] == (1, True)
        write(one, 1)


def test_role_that_came_back_has_a_new_term(url: str, replica: Callable[[], Database]) -> None:
    """A renewal does not keep a role that another replica had in between."""
    one, other = replica(), replica()
    with leading(one) as first:
        expire(url)
        with leading(other):
            pass
        first.renew()
        assert not first.has(ROLE)
        assert_refused(one)
        assert first.take_roles([ROLE])
        assert row(url)[1:] == (3, True)


def test_role_whose_take_over_got_no_answer_is_taken_again(url: str, replica: Callable[[], Database]) -> None:
    """The server committed it, and the connection broke: the replica does not know of the role, and nobody else gets it."""
    one, other = replica(), replica()
    with one.joined() as first, other.joined() as second:
        execute(url, f"INSERT INTO role VALUES ('{ROLE}', '{one.peers.sender}', 4)")
        assert list(second.renew().holders) == [ROLE]
        assert not second.take_roles([ROLE])
        assert list(first.renew().holders) == []
        assert_refused(one)
        assert first.take_roles([ROLE])
        assert row(url)[1:] == (5, True)
        write(one, 1)


def test_role_whose_lease_ended_while_it_began_is_taken_again(url: str, replica: Callable[[], Database]) -> None:
    """A replica that was frozen while it began a role does not keep the lease of a role that it does not have."""
    one = replica()
    begun: list[str] = []

    def begin() -> None:
        if not begun:
            expire(url)
        begun.append(ROLE)
        write(one, len(begun))

    roles = Roles([Role(ROLE, begin, lambda: None)])
    with one.joined() as membership:
        roles.start(membership)
        for _ in range(2):
            roles.renew(membership)
            roles.spread(membership)
        assert roles.has(ROLE)


def test_renewal_does_not_join_after_the_end(url: str, replica: Callable[[], Database]) -> None:
    """A renewal that comes while a replica ends does not let it live on, and no connection stays."""
    one = replica()
    with leading(one) as membership:
        membership.renew()
    with pytest.raises(StoreClosed):
        membership.renew()
    assert not is_there(url, "SELECT FROM replica")
    one.close()
    wait_until(lambda: not is_there(url, OTHERS), "the connections to end")


def test_write_that_waits_during_a_take_over_is_refused(url: str, replica: Callable[[], Database]) -> None:
    """A write of the old owner that began before the take-over, and waited for the lock meanwhile, changes nothing."""
    old, new = replica(), replica()
    is_taken = threading.Event()

    with leading(old), new.joined() as second, contextlib.ExitStack() as stack:
        with psycopg.connect(url.replace("+psycopg", "")) as other:
            other.execute(LOCK)
            expire(url)
            stack.enter_context(beside(lambda: is_taken.set() if second.take_roles([ROLE]) else None))
            wait_until(lambda: waiting_count(url) == 1, "the take-over to wait")
            stack.enter_context(beside(lambda: assert_refused(old)))  # the server serves those who wait in their order
            wait_until(lambda: waiting_count(url) == 2, "the write to wait")
        wait_for_event(is_taken, "the take-over")
    with new.read() as connection:
        assert positions.read(connection, "match") == 0


def test_take_over_waits_for_a_write_that_began_before(url: str, replica: Callable[[], Database]) -> None:
    """A write that has the lock when the lease ends is done before the take-over, so that the new owner sees it."""
    old, new = replica(), replica()
    seen: list[int] = []

    def take_over(membership: Membership) -> None:
        assert membership.take_roles([ROLE])
        with new.read() as connection:
            seen.append(positions.read(connection, "match"))

    with (
        new.joined() as second,
        leading(old),
        contextlib.ExitStack() as stack,
        old.as_holder(ROLE).write() as connection,
    ):
        expire(url)
        stack.enter_context(beside(lambda: take_over(second)))
        wait_until(lambda: waiting_count(url) == 1, "the take-over to wait")
        move_to(connection, "match", 7)
    assert seen == [7]


def test_server_that_is_silent(replica: Callable[[], Database]) -> None:
    """While the server does not answer, renewals and writes fail with what to do; afterwards the replica continues."""
    one = replica()
    with leading(one) as first:
        with postgresql.stopped():
            with pytest.raises(StoreUnreachable):
                first.renew()
            with pytest.raises(StoreUnreachable), one.write():
                raise AssertionError("a write without a server")
        first.renew()
        write(one, 1)


@pytest.fixture
def proxy(url: str, tmp_path: Path) -> Iterator[DatabaseProxy]:
    """Forwards to the server of the store."""
    with DatabaseProxy(tmp_path / "proxy", Path(parse_qs(urlsplit(url).query)["host"][0])) as found:
        yield found


@pytest.fixture
def frozen(url: str, proxy: DatabaseProxy, tmp_path: Path) -> Iterator[Database]:
    """The store, opened by a process that freezes when its proxy stalls."""
    address = urlsplit(url)
    through = address._replace(query=urlencode({**dict(parse_qsl(address.query)), "host": str(tmp_path / "proxy")}))
    with contextlib.closing(Database(urlunsplit(through))) as database:
        yield database
        proxy.cut()


def test_replica_that_freezes_in_a_renewal_keeps_nothing(
    frozen: Database, proxy: DatabaseProxy, replica: Callable[[], Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica that freezes while it renews holds rows of its leases: the server lets go of them, and another takes over."""
    monkeypatch.setattr(lease, "SPAN", timedelta(0))
    with replica().joined() as second, frozen.joined() as first:
        assert first.take_roles([ROLE])
        proxy.last_words = b"INSERT INTO replica"
        with beside(lambda: assert_cut_off(first.renew), proxy.cut):
            wait_until(lambda: proxy.mode == "stall", "a frozen renewal")
            wait_until(lambda: takes(second), "the other to take over")


def test_end_waits_for_no_silent_server(frozen: Database, proxy: DatabaseProxy) -> None:
    """A replica ends while the server is silent in the middle of its last statements, or of a renewal: its leases end later."""
    with frozen.joined() as first:
        assert first.take_roles([ROLE])
        proxy.last_words = b"DELETE FROM replica"
    wait_until(lambda: proxy.mode == "stall", "the last words")
    assert frozen.peers.term() is None
    proxy.mode = "pass"
    with frozen.joined() as first:
        proxy.last_words = b"INSERT INTO replica"
        renewal = threading.Thread(target=assert_cut_off, args=(first.renew,))
        renewal.start()
        wait_until(lambda: proxy.mode == "stall", "a renewal that hangs")
    assert renewal.is_alive()
    proxy.cut()
    join(renewal)


def test_replica_that_freezes_in_a_write_holds_nobody_up(
    frozen: Database, proxy: DatabaseProxy, replica: Callable[[], Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server cannot end a session that waits for a COPY of a frozen process: a replica ends it, and goes on writing."""
    monkeypatch.setattr(lease, "FROZEN_AFTER", timedelta(seconds=0.1))
    proxy.last_words = b'COPY "seen_field"'
    one, other = replica(), replica()

    def copy() -> None:
        with frozen.write() as connection:
            copy_rows(connection, "seen_field", ("organisation", "name", "seen_at"), [("o", "field", 1)])

    with one.joined() as first, beside(lambda: assert_cut_off(copy), proxy.cut):
        wait_until(lambda: proxy.mode == "stall", "a frozen write")
        ended: list[int] = []
        with beside(lambda: write(other, 5)) as writer:

            def is_free() -> bool:
                ended.append(first.renew().frozen_writers)
                return not writer.is_alive()

            wait_until(is_free, "the write of another")
        assert sum(ended) == 1
    with one.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM seen_field").scalar() == 0


def test_lock_of_another_program_is_its_own(
    url: str, replica: Callable[[], Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Locks of two numbers, or of a larger one, that look similar are not the write lock: nobody ends their sessions."""
    monkeypatch.setattr(lease, "FROZEN_AFTER", timedelta(0))
    with replica().joined() as first, psycopg.connect(url.replace("+psycopg", "")) as other:
        other.execute("SELECT pg_advisory_lock(7, 1633907831), pg_advisory_lock((1::bigint << 32) + 1633907831)")
        first.renew()
        assert other.execute("SELECT 1").fetchone() == (1,)


def test_clock_of_the_process_plays_no_part(url: str, replica: Callable[[], Database]) -> None:
    """Only the server's clock decides: a process whose clock is years off takes roles like any other, and reports its time."""
    one, other = replica(), replica()
    for off in (timedelta(days=3650), timedelta(days=-3650)):
        with time_machine.travel(datetime.now(UTC) + off, tick=True):
            with leading(one) as first, other.joined() as second:
                assert not second.take_roles([ROLE])
                assert is_there(url, "SELECT FROM replica WHERE until < clock_timestamp() + interval '2 hours'")
                first.renew()
                assert abs(one.peers.now() - datetime.now(UTC)) > timedelta(days=3600)
            assert not other.is_owned()


def test_command_writes_beside_the_owner(replica: Callable[[], Database]) -> None:
    """A process that never was a replica can write, also for a role: a person acknowledges and silences from anywhere."""
    one, other = replica(), replica()
    with leading(one):
        write(other, 3)
    with one.read() as connection:
        assert positions.read(connection, "match") == 3


def test_commit_that_began_early_changes_the_version(url: str, replica: Callable[[], Database]) -> None:
    """A commit changes the version also if a later transaction, such as a renewal of the lease, has ended before it."""
    one, other = replica(), replica()
    with leading(other):
        with one.write() as connection:
            move_to(connection, "match", 1)
            execute(url, "UPDATE replica SET note = 'later'")
            before = other.version()
        assert other.version() != before


def takes(membership: Membership) -> bool:
    """Return whether a replica takes the role, now that it waits for nobody."""
    with contextlib.suppress(StoreBusy):
        return bool(membership.take_roles([ROLE]))
    return False


def assert_cut_off(act: Callable[[], object]) -> None:
    """Check that the server has ended the session of an act."""
    with pytest.raises(StoreUnreachable):
        act()


def write(database: Database, position: int) -> None:
    """Write for the role."""
    with database.as_holder(ROLE).write() as connection:
        move_to(connection, "match", position)


def assert_refused(database: Database) -> None:
    """Check that a process that does not have the role cannot write for it, durably or not."""
    for is_durable in (False, True):
        with (
            pytest.raises(RoleLost, match=LOST),
            database.as_holder(ROLE).write(is_durable=is_durable) as connection,
        ):
            move_to(connection, "match", 9)
