"""Where a source begins, whose marks it takes over, and when it lists the linked accounts."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from actionwatch.base.errors import AccessDenied, StoreError
from actionwatch.base.model import LinkedAccount
from actionwatch.instaclustr.client import Client
from actionwatch.instaclustr.kinds import KINDS
from actionwatch.matching.self_alerts import SelfAlertStore
from actionwatch.store import marks, polls, receipts, self_alerts
from actionwatch.store.database import Database
from actionwatch.store.self_alerts import OpenSelfAlert
from actionwatch.tail.accounts import AccountWatch
from actionwatch.tail.health import SourceWatch
from actionwatch.tail.record_watch import kept_kinds
from actionwatch.tail.source import SourceTail
from tests.builders import NOON, make_marks
from tests.integration.tail.test_tail import HOUR, bench
from tests.statements import count_rows, questions
from tests.upstreams import POLL, SOURCE, DirectClient, World, addressing, open_troubles, self_watch, stored, tail_of
from tests.waiting import beside, wait_for_event

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


@pytest.mark.parametrize(
    ("left", "taken"),
    [
        ([("old", "org", 5)], "old"),
        ([("old", "org", 5), ("older", "org", 9)], "old"),
        ([("older", "org", 9), ("old", "org", 5)], "old"),
        ([("a", "org", 5), ("b", "org", 5)], "b"),
        ([("beta", "org", 5)], None),  # still configured
        ([("old", "another", 5)], None),
        ([("beta", "org", 5), ("old", "org", 9)], "old"),
        ([], None),
    ],
)
def test_a_renamed_source_continues(
    world: World, database: Database, left: list[tuple[str, str, int]], taken: str | None
) -> None:
    """A renamed source continues the source of its organisation that was read last and is not configured."""
    with database.write() as connection:
        for name, organisation, minutes in left:
            at = NOON - minutes * MINUTE
            marks.write(connection, make_marks(name=name, organisation=organisation, begins_at=at, mark=at))
    on = bench(world, database, configured=lambda: {SOURCE, "beta"})
    on.poll(0)
    with database.read() as connection:
        names = set(marks.read_all(connection))
        former = marks.former_names(connection, SOURCE)
    assert former == ([taken] if taken else [])
    assert names == {SOURCE, *(name for name, _, _ in left if name != taken)}
    assert (on.marks().begins_at < NOON) is (taken is not None)


def test_a_poll_reads_no_rows_of_other_sources(world: World, database: Database) -> None:
    """A poll reads as many rows beside 200 other sources, each with a self-alert, as alone."""
    on = bench(world, database)
    on.poll(0)
    with questions() as alone:
        on.poll(60)
    with database.read() as connection:
        read_alone = count_rows(connection, alone)
    with database.write() as connection:
        for number in range(200):
            name = f"other {number}"
            marks.write(connection, make_marks(name=name, organisation="another"))
            self_alerts.insert(connection, OpenSelfAlert("upstream_unreachable", name, NOON, "away", "wait", name))
    with questions() as beside_others:
        on.poll(60)
    with database.read() as connection:
        assert count_rows(connection, beside_others) == read_alone


def renamed(world: World, database: Database, name: str) -> SourceTail:
    """Make the tail of the only source, under a new name."""
    client = DirectClient(world.emulator, world.clock)
    client.reader.source = name
    alerts = SelfAlertStore(database, addressing(), world.clock)
    watch = SourceWatch(name, POLL, kept_kinds(KINDS), client.reader, database, alerts, world.clock)
    options = {"overlap": 5 * MINUTE, "sweeps": (2 * HOUR,), "page_size": 1000, "configured": lambda: {name}}
    return tail_of(database, client, world.clock, watch, name=name, start=2 * HOUR, **options)


def what_vanished(database: Database) -> list[str]:
    """Return what the self-alerts say that are open."""
    with database.read() as connection:
        return [found.what.partition(" that it")[0] for found in self_alerts.read_all(connection)]


@pytest.mark.parametrize("names", [["acme", "b"], ["acme", "b", "c"], ["acme", "b", "acme"]])
@pytest.mark.parametrize("is_gone_first", [True, False])
def test_what_vanishes_around_a_rename_is_reported(
    world: World, database: Database, names: list[str], is_gone_first: bool
) -> None:
    """A record that was read under a former name and vanishes is reported once, until it is shown again."""
    for number in range(30):
        world.log(ago=100 * number + 0.3)
    gone = world.log(ago=2050, description="gone")

    def poll(tail: SourceTail) -> None:
        for _ in range(2):
            world.clock.advance(minutes=13)
            assert tail.run_once().error is None

    for name in names[:-1] if is_gone_first else names:
        poll(renamed(world, database, name))
    assert what_vanished(database) == []
    world.faults.add("vanish:0s,keyword=gone")
    last = renamed(world, database, names[-1])
    poll(last)
    assert what_vanished(database) == ["the upstream no longer shows 1 record"]
    poll(last)
    assert what_vanished(database) == ["the upstream no longer shows 1 record"]
    with database.read() as connection:
        found = list(receipts.stream(connection))
        assert [receipts.recompute(connection, receipt) for receipt in found] == found
    world.faults.clear()
    world.organisation.append(gone.kind, at=gone.at, description=gone.description)
    poll(last)
    assert what_vanished(database) == []


def test_a_renamed_source_proves_records_that_have_other_fields_now(world: World, database: Database) -> None:
    """Records that the former name stored, and that the upstream shows with other fields, are proved under the new name."""
    tail = renamed(world, database, "acme")
    tail.run_once()
    for number in range(4):
        world.log(ago=number)
    world.clock.advance(minutes=1)
    assert tail.run_once().new_count == 4
    world.faults.add("organisation:absent")
    tail = renamed(world, database, "b")
    for _ in range(2):
        world.clock.advance(minutes=1)
        report = tail.run_once()
        assert (report.unproved, report.proved_count > 0) == ([], True)
    with database.read() as connection:
        found = list(receipts.stream(connection))
        assert [receipts.recompute(connection, receipt) for receipt in found] == found
    assert len(stored(database)) == 4


class Accounts(Client):
    """Accounts that cannot be listed, or an empty list."""

    def __init__(self, error: AccessDenied | None = None) -> None:
        self.error = error
        self.listed_count = 0

    def linked_accounts(self) -> list[LinkedAccount]:
        """List nothing, or fail."""
        self.listed_count += 1
        if self.error is not None:
            raise self.error
        return []


@pytest.mark.parametrize(
    ("fault", "troubles"),
    [("", ["accounts_refused"]), ("unauthorised", ["key_refused"])],
)
def test_failed_listing_is_reported_after_a_poll(
    world: World, database: Database, fault: str, troubles: list[str]
) -> None:
    """A failed listing is reported by the next poll, unless the poll fails too."""
    world.faults.set(*fault.split())
    accounts = Accounts(AccessDenied("the upstream forbids this", "ask for rights"))
    alerts = SelfAlertStore(database, addressing(), world.clock)
    watch = AccountWatch(SOURCE, accounts, database, world.clock, alerts, organisation="org")
    client = DirectClient(world.emulator, world.clock)
    tail = tail_of(database, client, world.clock, self_watch(database, client, world.clock), start=HOUR, accounts=watch)
    watch.run_once()
    is_noted = [tail.age is not None]
    for _ in range(2):
        tail.run_once()
        is_noted.append(tail.age is not None)
    assert is_noted == [False, True, True]
    assert accounts.listed_count == 1
    assert open_troubles(database) == troubles


class HangingAccounts(Accounts):
    """A listing that gets no answer until the test ends."""

    def __init__(self) -> None:
        super().__init__()
        self.is_over = threading.Event()

    def linked_accounts(self) -> list[LinkedAccount]:
        """Wait."""
        wait_for_event(self.is_over, "the end of the test")
        return super().linked_accounts()


def test_listing_that_hangs_or_fails_stops_no_poll(world: World, database: Database) -> None:
    """A poll stores and proves what is new although the listing of the accounts hangs, or cannot be stored."""
    world.log()
    accounts = HangingAccounts()
    alerts = SelfAlertStore(database, addressing(), world.clock)
    watch = AccountWatch(SOURCE, accounts, database, world.clock, alerts, organisation="org", first_seconds=0)
    client = DirectClient(world.emulator, world.clock)
    tail = tail_of(database, client, world.clock, self_watch(database, client, world.clock), start=HOUR, accounts=watch)
    with beside(watch.run_once, stop=accounts.is_over.set):
        world.clock.advance(seconds=30)
        assert (tail.run_once().new_count, accounts.listed_count) == (1, 0)
    assert accounts.listed_count == 1
    with database.write() as connection:
        connection.exec_driver_sql("DROP TABLE linked_account")
    with pytest.raises(StoreError, match="linked_account"):
        watch.run_once()
    world.log(description="another")
    world.clock.advance(seconds=30)
    assert tail.run_once().new_count == 1


def test_source_waits_after_failures(world: World, database: Database) -> None:
    """After failures, polls that come before the backoff ends are left out, whatever the clock says; a success ends it."""
    seconds = [0.0]
    client = DirectClient(world.emulator, world.clock)
    watch = self_watch(database, client, world.clock)
    tail = tail_of(
        database, client, world.clock, watch, start=HOUR, poll_interval=10 * SECOND, elapsed=lambda: seconds[0]
    )

    def polled(count: int) -> list[int]:
        """Let the scheduler call so many times; return in which calls the source was polled."""
        found = []
        for number in range(count):
            before = client.request_count
            if not tail.waits:
                tail.run_once()
            if client.request_count > before:
                found.append(number)
            seconds[0] += 10
            world.clock.advance(seconds=10)
        return found

    assert polled(3) == [0, 1, 2]
    world.faults.set("rate_limited")
    assert polled(100) == [0, 2, 6, 14, 30, 60, 90]
    with database.read() as connection:
        (poll,) = polls.read_all(connection).values()
    assert (poll.failures, poll.backoff, poll.resumes_at) == (7, 5 * MINUTE, poll.last_poll_at + 5 * MINUTE)
    world.clock.advance(hours=-5)
    assert polled(20) == []
    world.faults.clear()
    assert polled(3) == [0, 1, 2]
    with database.read() as connection:
        (poll,) = polls.read_all(connection).values()
    assert (poll.failures, poll.backoff) == (0, timedelta(0))


def test_source_waits_as_long_as_it_is_asked_to(world: World, database: Database) -> None:
    """A Retry-After that is longer than the backoff is respected, and another source is polled meanwhile."""
    seconds = [0.0]
    client = DirectClient(world.emulator, world.clock)
    watch = self_watch(database, client, world.clock)
    options = {"start": HOUR, "poll_interval": 10 * SECOND, "elapsed": lambda: seconds[0]}
    tail = tail_of(database, client, world.clock, watch, **options)
    other = tail_of(database, client, world.clock, watch, name="other", **options)
    world.faults.set("rate_limited:400s,times=2")
    tail.run_once()
    assert open_troubles(database) == ["upstream_unreachable"]
    for elapsed, is_polled in ((399.9, False), (400.0, True)):
        seconds[0] = elapsed
        assert (not tail.waits) is is_polled
    tail.run_once()
    before = client.request_count
    assert not other.waits
    other.run_once()
    assert client.request_count > before
    assert open_troubles(database) == []
