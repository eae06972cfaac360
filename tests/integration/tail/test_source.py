"""Where a source begins, whose marks it takes over, and when it lists the linked accounts."""

from __future__ import annotations

from datetime import timedelta

import pytest

from actionwatch.base.errors import AccessDenied
from actionwatch.base.model import LinkedAccount
from actionwatch.instaclustr.client import Client
from actionwatch.matching.self_alerts import SelfAlertStore
from actionwatch.store import marks
from actionwatch.store.database import Database
from actionwatch.tail.accounts import AccountWatch
from tests.builders import NOON, make_marks
from tests.integration.tail.test_tail import HOUR, bench
from tests.upstreams import SOURCE, DirectClient, World, addressing, open_troubles, self_watch, tail_of

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
def test_accounts_are_listed_from_time_to_time(
    world: World, database: Database, fault: str, troubles: list[str]
) -> None:
    """The second poll lists no accounts. A failed listing is reported unless the poll fails too."""
    world.faults.set(*fault.split())
    accounts = Accounts(AccessDenied("the upstream forbids this", "ask for rights"))
    alerts = SelfAlertStore(database, addressing(), world.clock)
    watch = AccountWatch(SOURCE, accounts, database, world.clock, alerts, organisation="org")
    client = DirectClient(world.emulator, world.clock)
    tail = tail_of(database, client, world.clock, self_watch(database, client, world.clock), start=HOUR, accounts=watch)
    is_noted = [tail.age is not None]
    for _ in range(2):
        tail.run_once()
        is_noted.append(tail.age is not None)
    assert is_noted == [False, True, True]
    assert accounts.listed_count == 1
    assert open_troubles(database) == troubles
