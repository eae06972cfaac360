"""Where a source begins, whose marks it takes over, and when it lists the linked accounts."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from actionwatch.base.errors import AccessDenied, StoreError
from actionwatch.base.model import LinkedAccount
from actionwatch.instaclustr.client import Client
from actionwatch.matching.self_alerts import SelfAlertStore
from actionwatch.store import marks
from actionwatch.store.database import Database
from actionwatch.tail.accounts import AccountWatch
from tests.builders import NOON, make_marks
from tests.integration.tail.test_tail import HOUR, bench
from tests.upstreams import SOURCE, DirectClient, World, addressing, open_troubles, self_watch, tail_of
from tests.waiting import beside, wait_for_event

MINUTE = timedelta(minutes=1)


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
    on = bench(world, database, configured=frozenset({SOURCE, "beta"}))
    on.poll(0)
    with database.read() as connection:
        names = set(marks.read_all(connection))
        former = marks.former_names(connection, SOURCE)
    assert former == ([taken] if taken else [])
    assert names == {SOURCE, *(name for name, _, _ in left if name != taken)}
    assert (on.marks().begins_at < NOON) is (taken is not None)


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
