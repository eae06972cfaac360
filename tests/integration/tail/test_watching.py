"""What is reported: changes of linked accounts, self-alerts that open once and resolve, and the heartbeat."""

from __future__ import annotations

import itertools
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from actionwatch.base.errors import AccessDenied, SourceError, SourceUnavailable
from actionwatch.base.model import Entity, LinkedAccount
from actionwatch.instaclustr.client import Client
from actionwatch.instaclustr.kinds import KINDS, OWN_KINDS
from actionwatch.matching.operator_actions import OperatorActions
from actionwatch.matching.self_alerts import SelfAlertStore
from actionwatch.service.heartbeat import HeartbeatSender
from actionwatch.store import accounts, records, self_alerts, unproved_windows
from actionwatch.store.database import Database
from actionwatch.tail.accounts import IDP_SYNC, AccountWatch
from actionwatch.tail.health import SourceWatch
from actionwatch.tail.record_watch import kept_kinds
from actionwatch.tail.source import SourceTail
from actionwatch.tail.state import PollReport, TailState
from tests.builders import NOON, Clock, make_record
from tests.integration.tail.test_tail import HOUR, bench
from tests.simulation.killing import Killed, MortalDatabase
from tests.upstreams import POLL, SOURCE, DirectClient, World, addressing, open_troubles, self_watch, tail_of
from tests.waiting import beside, wait_for_event

# -- linked accounts


class Listing(Client):
    """The accounts that a test sets."""

    def __init__(self, **names: str) -> None:
        self.names = names
        self.raw: dict[str, Any] = {IDP_SYNC: True}

    def linked_accounts(self) -> list[LinkedAccount]:
        """Return them."""
        return [LinkedAccount(account_id, name, self.raw) for account_id, name in self.names.items()]


def changes(database: Database) -> list[tuple[str, str | None]]:
    """Return the records about accounts, in order."""
    with database.read() as connection:
        found = records.read_after(connection, 0, 99)
    return [(record.action_kind, record.account.name) for record in found]


def test_changes_of_accounts_create_records(database: Database) -> None:
    """An account that appears, vanishes, is renamed or loses its sync creates a record; the first listing creates none."""
    clock, listing, woken = Clock(), Listing(a="Alpha", b="Beta"), list[bool]()
    watch = AccountWatch(
        SOURCE,
        listing,
        database,
        clock,
        reporting(database, clock),
        organisation="org",
        on_stored=lambda: woken.append(True),
    )
    steps: list[tuple[Callable[[], object], list[tuple[str, str | None]]]] = [
        (lambda: None, []),
        (lambda: listing.names.update(c="Gamma"), [("_LINKED_ACCOUNT_ADDED", "Gamma")]),
        (lambda: listing.names.update(a="Alef"), [("_LINKED_ACCOUNT_RENAMED", "Alef")]),
        (lambda: listing.names.pop("b"), [("_LINKED_ACCOUNT_REMOVED", "Beta")]),
        (lambda: listing.names.update(b="Beta"), [("_LINKED_ACCOUNT_ADDED", "Beta")]),
        (
            lambda: listing.raw.update({IDP_SYNC: False}),
            [("_LINKED_ACCOUNT_IDP_SYNC_LOST", name) for name in ("Alef", "Gamma", "Beta")],
        ),
        (lambda: None, []),
        (listing.raw.clear, []),
        (lambda: listing.raw.update({IDP_SYNC: False}), []),
        (lambda: listing.raw.update({IDP_SYNC: True}), []),
        (listing.raw.clear, []),
    ]
    seen = 0
    for step, wanted in steps:
        step()
        clock.advance(minutes=5)
        assert watch.run_once() == len(wanted)
        assert sorted(changes(database)[seen:], key=str) == sorted(wanted, key=str)
        seen += len(wanted)
    assert len(woken) == 5


def test_several_changes_of_one_listing(database: Database) -> None:
    """Each change of a listing creates a record, and an account that did not change keeps its place in the history."""
    clock, listing = Clock(), Listing(a="Alpha", b="Beta")
    watch = AccountWatch(SOURCE, listing, database, clock, reporting(database, clock), organisation="org")
    watch.run_once()
    clock.advance(hours=1)
    listing.names = {"c": "Gamma", "d": "Delta", "a": "Alpha", "b": "Bet"}
    assert watch.run_once() == 3
    with database.read() as connection:
        history = accounts.name_history(connection, "org")
    assert {key: [name for _, name in names] for key, names in history.items() if key} == {
        "a": ["Alpha"],
        "b": ["Beta", "Bet"],
        "c": ["Gamma"],
        "d": ["Delta"],
    }


def test_fields_that_nobody_uses_add_no_history(database: Database) -> None:
    """However often other fields of an account change, it has one entry, with the newest fields; records show those."""
    clock, listing = Clock(), Listing(a="Alpha", b="Beta")
    watch = AccountWatch(SOURCE, listing, database, clock, reporting(database, clock), organisation="org")

    def entries() -> list[int]:
        clock.advance(minutes=5)
        watch.run_once()
        with database.read() as connection:
            assert {each.raw["count"] for each in accounts.read_current(connection, "org").values()} == {number}
            return [len(names) for key, names in accounts.name_history(connection, "org").items() if key]

    for number in range(100):
        listing.raw = {IDP_SYNC: True, "count": number}
        assert entries() == [1, 1]
    listing.raw = {IDP_SYNC: False, "count": number}
    assert entries() == [2, 2]
    listing.names["a"] = "Alef"
    assert entries() == [3, 2]
    assert Counter(kind for kind, _ in changes(database)) == {
        "_LINKED_ACCOUNT_IDP_SYNC_LOST": 2,
        "_LINKED_ACCOUNT_RENAMED": 1,
    }
    with database.read() as connection:
        (lost, *_) = records.read_after(connection, 0, 9)
    assert json.loads(lost.raw)["before"] == {IDP_SYNC: True, "count": 99}


def test_record_of_a_change(database: Database) -> None:
    """The record of a change contains what rules read: its kind, time, account, description, and the account as it was."""
    clock, listing = Clock(), Listing(a="Old")
    watch = AccountWatch(SOURCE, listing, database, clock, reporting(database, clock), organisation="org")
    watch.run_once()
    clock.advance(hours=1)
    listing.names["a"] = "New"
    watch.run_once()
    del listing.names["a"]
    watch.run_once()
    with database.read() as connection:
        found = {record.action_kind: record for record in records.read_after(connection, 0, 9)}
    renamed, removed = found["_LINKED_ACCOUNT_RENAMED"], found["_LINKED_ACCOUNT_REMOVED"]
    operation, severity, text = OWN_KINDS["_LINKED_ACCOUNT_RENAMED"]
    assert (renamed.source, renamed.occurred_at, renamed.seen_at) == (SOURCE, clock(), clock())
    assert (renamed.operation, renamed.scope, renamed.severity) == (operation, "organisation", severity)
    assert (renamed.account, renamed.description) == (Entity("a", "New"), text.format(name="New", before="Old"))
    assert renamed.key.startswith("own-")
    assert renamed.key != removed.key
    assert json.loads(renamed.raw) == {"action": renamed.action_kind, "account": listing.raw, "before": listing.raw}
    assert (removed.account, removed.is_backlog) == (Entity("a", "New"), False)


def test_first_account_of_an_organisation_creates_a_record(database: Database) -> None:
    """The first account of an organisation that had none creates a record."""
    clock, listing = Clock(), Listing()
    watch = AccountWatch(SOURCE, listing, database, clock, reporting(database, clock), organisation="org")
    watch.run_once()
    listing.names["a"] = "Alpha"
    assert watch.run_once() == 1
    with database.read() as connection:
        assert list(accounts.read_current(connection, "org")) == ["a"]


def name_at(watch: AccountWatch, account_id: str | None, at: datetime, recorded: str | None) -> str | None:
    """Return the name that a record shows, of an account in a record of that time that has a name or none."""
    (record,) = watch.name_accounts([make_record(occurred_at=at, account=Entity(account_id, recorded))])
    return record.account.name


def test_account_names_have_a_history(database: Database) -> None:
    """A record shows the name that its account had at its time, and the name in the record takes precedence."""
    clock, listing = Clock(), Listing(a="Old")
    watch = AccountWatch(SOURCE, listing, database, clock, reporting(database, clock), organisation="org")
    watch.run_once()
    assert name_at(watch, "a", NOON, None) == "Old"
    clock.advance(hours=1)
    listing.names["a"] = "New"
    watch.run_once()
    before, after = NOON + timedelta(minutes=30), NOON + timedelta(hours=2)
    assert name_at(watch, "a", before, None) == "Old"
    assert name_at(watch, "a", before, "New") == "Old"
    assert name_at(watch, "a", before - HOUR, "New") == "Old"
    assert name_at(watch, "a", before, "Something else") == "Something else"
    assert name_at(watch, "a", after, None) == name_at(watch, "a", NOON + HOUR, None) == "New"
    assert name_at(watch, "b", after, None) is None
    assert name_at(watch, "b", after, "Named") == "Named"
    assert name_at(watch, None, after, None) is None
    assert name_at(watch, None, after, "New") == "New"


def test_late_record_of_a_renamed_account(world: World, database: Database) -> None:
    """A record that arrives after its account was renamed shows the name of its time."""
    account = world.organisation.inventory.add_account("payments")
    client = DirectClient(world.emulator, world.clock)
    watch = AccountWatch(SOURCE, client, database, world.clock, reporting(database, world.clock), organisation="org")
    tail = tail_of(database, client, world.clock, self_watch(database, client, world.clock), start=HOUR, accounts=watch)
    watch.run_once()
    world.clock.advance(minutes=10)
    world.organisation.inventory.remove_account(account.id)
    renamed = type(account)(account.id, "payments (renamed)")
    world.organisation.inventory._accounts[account.id] = renamed
    watch.run_once()
    world.log(ago=540, account=renamed, description="old")
    world.log(account=renamed, description="new")
    tail.run_once()
    with database.read() as connection:
        found = records.read_after(connection, 0, 9)
    names = {record.description: record.account.name for record in found if not record.action_kind.startswith("_")}
    assert names == {"old": "payments", "new": "payments (renamed)"}


def test_failed_listing_removes_no_account(world: World, database: Database) -> None:
    """A listing that fails removes no account."""
    world.organisation.inventory.add_account("payments")
    client = DirectClient(world.emulator, world.clock)
    watch = AccountWatch(SOURCE, client, database, world.clock, reporting(database, world.clock), organisation="org")
    watch.run_once()
    world.faults.set("forbidden:status")
    assert watch.run_once() == 0
    assert changes(database) == []


def reporting(database: Database, clock: Clock) -> SelfAlertStore:
    """Open self-alerts that go to the hook."""
    return SelfAlertStore(database, addressing(), clock)


@dataclass
class Accounts(Client):
    """A listing that fails as a test sets."""

    error: SourceError | None = None

    def linked_accounts(self) -> list[LinkedAccount]:
        """Return no accounts, or fail."""
        if self.error is not None:
            raise self.error
        return []


FORBIDDEN = AccessDenied("the upstream forbids this: HTTP 403", "the key must be an organisation management key")
FAULT = SourceUnavailable("the upstream has a fault: HTTP 500")


def test_refused_listing_raises_a_self_alert(database: Database) -> None:
    """A refused listing raises one alert that names the affected rules, and that resolves afterwards."""
    clock, listing = Clock(), Accounts()
    names = ["linked_account_vanished", "linked_account_appeared"]
    watch = AccountWatch(
        SOURCE, listing, database, clock, reporting(database, clock), organisation="org", affected_rules=lambda: names
    )

    def check() -> list[str]:
        clock.advance(minutes=5)
        watch.run_once()
        watch.note_poll()
        return open_troubles(database)

    assert check() == []
    listing.error = FORBIDDEN
    assert check() == check() == ["accounts_refused"]
    with database.read() as connection:
        (found,) = self_alerts.read_all(connection)
    assert "linked_account_appeared, linked_account_vanished" in found.what
    assert "since 2026-11-25T12:05" in found.what
    assert found.remedy == FORBIDDEN.remedy
    listing.error = None
    assert check() == []
    assert history(database) == ["accounts_refused"]


def test_listing_that_keeps_failing_raises_a_self_alert(database: Database) -> None:
    """A listing that keeps failing raises an alert, at any time and also in cron runs; a single failure does not."""
    clock, listing = Clock(), Accounts(FAULT)

    def watch() -> AccountWatch:
        return AccountWatch(SOURCE, listing, database, clock, reporting(database, clock), organisation="org")

    def check(on: AccountWatch) -> list[str]:
        clock.advance(minutes=5)
        on.run_once()
        on.note_poll()
        return open_troubles(database)

    running = watch()
    assert [check(running) for _ in range(3)] == [[], [], ["accounts_refused"]]
    with database.read() as connection:
        (found,) = self_alerts.read_all(connection)
    assert found.what.startswith("the linked accounts could not be listed yet: the upstream has a fault")
    assert found.what.endswith("Affected rules: none")
    listing.error = None
    assert check(running) == []
    listing.error = FAULT
    assert [check(watch()) for _ in range(3)] == [[], [], ["accounts_refused"]]
    with database.read() as connection:
        (found,) = self_alerts.read_all(connection)
    assert found.remedy


# -- self-alerts


def history(database: Database) -> list[str]:
    """Return the self-alerts that were ever opened, in order."""
    with database.read() as connection:
        rows = connection.exec_driver_sql("SELECT labels FROM alert ORDER BY opened_at, id").all()
    return [row[0].split('"')[3] for row in rows]


def test_added_field_while_two_sources_are_read_first_stores_no_record_twice(world: World, database: Database) -> None:
    """No record is stored twice if a field appears after one source has ended its first poll, and amid that of another."""
    for number in range(12):
        world.log(ago=60 * number)
    both = frozenset({SOURCE, "live"})
    live = bench(world, database, name="live", configured=lambda: both)
    live.client.reader.source = "live"
    live.poll()
    history = bench(world, database, start=HOUR, page_size=4, alert_backlog=True, configured=lambda: both)

    def add_field() -> None:
        if history.client.request_count == 3:  # the clock, and two pages
            world.log()
            live.poll(1)
            world.faults.set("unknown_field")

    history.client.before_request = add_field
    history.poll(0)
    assert [record.source for record in history.records()].count("live") == 1
    stored = Counter(record.description for record in history.records() if record.source == SOURCE)
    assert len(stored) == stored.total() == 13
    bench(world, database, "unknown_field", configured=lambda: both).poll()
    assert len(history.records()) == 14
    assert open_troubles(database) == ["unknown_field"]


# -- the heartbeat


class Monitor:
    """A service that waits for heartbeats."""

    def __init__(self) -> None:
        self.beats, self.status = 0, 200
        monitor = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                monitor.beats += 1
                self.send_response(monitor.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/"

    def close(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def monitor() -> Iterator[Monitor]:
    """Wait for heartbeats."""
    made = Monitor()
    yield made
    made.close()


def test_heartbeat_needs_proof(world: World, database: Database, monitor: Monitor) -> None:
    """The heartbeat starts after the first proof, stops while the proof lags, and continues afterwards."""
    with closing(HeartbeatSender(monitor.url, lambda: {SOURCE: POLL}, database, world.clock)) as heartbeat:
        assert not heartbeat.run_once()
        on = bench(world, database)
        on.poll()
        assert heartbeat.run_once()
        world.faults.set("total:more")
        for _ in range(25):
            world.log()
            on.poll()
        assert not heartbeat.run_once()
        assert monitor.beats == 1
        world.faults.clear()
        on.poll()
        assert heartbeat.run_once()
        monitor.status = 500
        assert not heartbeat.run_once()
        monitor.close()
        assert not heartbeat.run_once()


@pytest.mark.parametrize("stale", [{"acme"}, {"emca"}, {"acme", "emca"}])
def test_heartbeat_needs_every_source(world: World, database: Database, stale: set[str], monitor: Monitor) -> None:
    """The heartbeat stops while one of two sources is stale, and continues when both are fresh."""
    sources = {name: bench(World(world.clock), database, name=name, organisation=name) for name in ("acme", "emca")}
    with closing(
        HeartbeatSender(monitor.url, lambda: {"acme": POLL, "emca": POLL}, database, world.clock)
    ) as heartbeat:
        for on in sources.values():
            on.poll()
        assert heartbeat.run_once()
        world.clock.advance(hours=1)
        for name in sources.keys() - stale:
            sources[name].poll()
        assert not heartbeat.run_once()
        for name in stale:
            sources[name].poll()
        assert heartbeat.run_once()
        assert monitor.beats == 2


def test_heartbeat_stops_after_the_clock_was_set_back(world: World, database: Database, monitor: Monitor) -> None:
    """If the clock is set back by an hour, the heartbeat does not continue for an hour after the last poll."""
    with closing(HeartbeatSender(monitor.url, lambda: {SOURCE: POLL}, database, world.clock)) as heartbeat:
        bench(world, database).poll()
        assert heartbeat.run_once()
        world.clock.advance(hours=-1)
        assert not heartbeat.run_once()
        assert monitor.beats == 1


@pytest.mark.parametrize(("clock", "is_confirmed"), [("clock:-30m", True), ("clock:4m", True), ("clock:30m", False)])
def test_heartbeat_uses_the_clock_of_the_upstream(
    world: World, database: Database, clock: str, is_confirmed: bool, monitor: Monitor
) -> None:
    """The heartbeat follows the proof by the upstream's clock. Far ahead of our clock, nothing is proved, so it stops."""
    with closing(HeartbeatSender(monitor.url, lambda: {SOURCE: POLL}, database, world.clock)) as heartbeat:
        on = bench(world, database, clock)
        on.poll()
        on.poll()
        assert heartbeat.run_once() == is_confirmed
        world.faults.set(clock, "total:more")
        for _ in range(25):
            world.log()
            on.poll()
        assert not heartbeat.run_once()


# -- several sources


def test_hanging_source_does_not_block_another(world: World, database: Database) -> None:
    """A source whose upstream hangs does not block another source in the same store."""
    other = World(world.clock)
    hangs, is_hanging = threading.Event(), threading.Event()
    stuck = bench(other, database, name="stuck")

    def hang() -> None:
        is_hanging.set()
        wait_for_event(hangs, "the end of the test")

    stuck.client.before_request = hang
    with beside(stuck.tail.run_once, stop=hangs.set):
        wait_for_event(is_hanging, "a request that hangs")
        on = bench(world, database)
        on.poll()
        world.log()
        on.poll()
        assert len(on.records()) == 1


# -- a killed process and the next one


class Mortal(SourceWatch):
    """A watch whose process is killed after a poll and before the report."""

    def note_poll(self, report: PollReport, state: TailState) -> None:
        """Die."""
        raise Killed


def mortal_tail(world: World, database: Database, client: DirectClient) -> SourceTail:
    """Return the tail of a process that reports nothing."""
    troubles = SelfAlertStore(database, addressing(), world.clock)
    watch = Mortal(SOURCE, POLL, kept_kinds([*KINDS, *OWN_KINDS]), client.reader, database, troubles, world.clock)
    return tail_of(database, client, world.clock, watch, start=HOUR)


def test_unknown_kind_is_reported_although_a_process_is_killed(tmp_path: Path) -> None:
    """If a process stores a record of an unknown kind and is killed, the next one reports the kind."""
    database = MortalDatabase(tmp_path)

    def nth(number: int) -> Callable[[], bool]:
        calls = itertools.count(1)
        return lambda: next(calls) == number

    for die_at in itertools.count(1):
        world = World()
        world.log("LOGIN", ago=1800)
        world.log(ago=60)
        database.renew()
        on = bench(world, database, start=HOUR)
        database.dies = nth(die_at)
        try:
            on.poll()
            break
        except Killed:
            database.dies = lambda: False
        bench(world, database, start=HOUR).poll()
        assert on.is_complete(), die_at
        assert history(database) == ["unknown_kind"], die_at
    database.close()
    assert die_at > 8, "so many commits does a poll have, each of them before and after"


def test_windows_without_proof_are_reported_by_the_next_process(world: World, database: Database) -> None:
    """A process cannot prove a window for the third time, is killed before it reports it, and nobody ever does."""
    on = bench(world, database, start=HOUR)
    on.poll()
    failing = unproved_windows.UnprovedWindow(
        source=SOURCE, starts_at=NOON - HOUR, ends_at=NOON, reach=HOUR, due_at=NOON + HOUR, failure_count=3
    )
    with database.write() as connection:
        unproved_windows.write(connection, [failing])
    with pytest.raises(Killed):
        mortal_tail(world, database, on.client).run_once()
    on.poll()
    assert open_troubles(database) == ["window_unproved"]
    with database.read() as connection:
        (opened,) = self_alerts.read_all(connection)
    OperatorActions(database, addressing(), world.clock).resolve(opened.alert_id, "sam")
    on.poll()
    assert open_troubles(database) == [], "it is reported again after a person resolved it"


def test_listing_of_another_process_is_recent(database: Database) -> None:
    """A process that takes over a source lists its accounts when the next listing is due, also if the clock was set back."""
    clock = Clock()

    def watch() -> AccountWatch:
        return AccountWatch(SOURCE, Accounts(), database, clock, reporting(database, clock), organisation="org")

    first = watch()
    assert first.may_rest() == timedelta(0)
    first.run_once()
    clock.advance(minutes=2)
    assert watch().may_rest() == timedelta(minutes=3)
    reporting(database, clock).report("accounts_refused", SOURCE, "403", "allow it")
    assert watch().may_rest() == timedelta(0)
    reporting(database, clock).settle_trouble("accounts_refused", SOURCE)
    clock.advance(minutes=3)
    assert watch().may_rest() == timedelta(0)
    clock.advance(minutes=-10)
    assert watch().may_rest() == timedelta(0)
