"""Our clock is set while the upstream's goes on: everything is read in time, and nothing is taken to be read that was not."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pytest

from actionwatch.instaclustr.wire import Page
from actionwatch.matching.self_alerts import SelfAlertStore
from actionwatch.service.clock_watch import ClockWatch
from actionwatch.service.heartbeat import Heartbeat
from actionwatch.store import marks, polls, receipts, unproved_windows
from actionwatch.store.database import Database
from actionwatch.tail.source import SourceTail
from actionwatch.tail.state import PollReport, ServerClock
from tests.builders import Machine
from tests.integration.tail.test_watching import Monitor
from tests.upstreams import (
    POLL,
    SOURCE,
    DirectClient,
    World,
    addressing,
    happened,
    open_troubles,
    self_watch,
    stored,
    tail_of,
)

STEPS = [timedelta(hours=-1), timedelta(hours=25), timedelta(days=-400), timedelta(days=3000), timedelta(minutes=-2)]
SWEEPS = (timedelta(hours=1), timedelta(hours=6))


@dataclass
class Site:
    """A tail on a machine of its own, far from the upstream's."""

    world: World
    database: Database
    machine: Machine
    client: DirectClient
    tail: SourceTail
    watch: ClockWatch

    def pass_time(self, **span: float) -> None:
        """Let time pass here and there."""
        self.machine.advance(**span)
        self.world.clock.advance(**span)

    def poll(self, seconds: float = 30) -> PollReport:
        """Wait, watch the clock, poll."""
        self.pass_time(seconds=seconds)
        self.watch.run_once()
        return self.tail.run_once()

    def marks(self) -> marks.Marks:
        """Read how far it is."""
        with self.database.read() as connection:
            found = marks.read(connection, SOURCE)
        assert found is not None
        return found


def site(world: World, database: Database, machine: Machine | None = None) -> Site:
    """Set up a tail, as a process that just started."""
    machine = machine or Machine()
    client = DirectClient(world.emulator, machine)
    tail = tail_of(
        database,
        client,
        machine,
        self_watch(database, client, machine),
        page_size=1000,
        sweeps=SWEEPS,
        start=timedelta(hours=8),
    )
    troubles = SelfAlertStore(database, addressing(), machine)
    return Site(
        world,
        database,
        machine,
        client,
        tail,
        ClockWatch(machine.clock, database, troubles, [tail.follow_clock], machine.elapsed),
    )


@pytest.mark.parametrize("step", STEPS)
def test_a_step_between_two_polls(world: World, database: Database, step: timedelta) -> None:
    """What happened before and after a step is read by the next poll, late or not; no mark goes beyond the upstream's now."""
    here = site(world, database)
    world.log()
    here.poll()
    here.machine.now += step
    here.pass_time(seconds=10)
    world.log()
    requests = world.requests()
    report = here.poll(1)
    assert stored(database) == happened(world.organisation.truth())
    assert world.requests() - requests <= 3
    assert not report.unproved
    for _ in range(5):
        world.log()
        here.poll()
    assert stored(database) == happened(world.organisation.truth())
    found = here.marks()
    now = world.clock()
    assert now - timedelta(seconds=40) <= found.proved_through <= now
    assert found.seen_through <= now
    assert "proof_lagging" not in open_troubles(database)
    with database.read() as connection:
        assert all(record_late is None for (record_late,) in connection.exec_driver_sql("SELECT late_by FROM record"))


@pytest.mark.parametrize("step", STEPS)
def test_a_step_that_nobody_noticed_yet(world: World, database: Database, step: timedelta) -> None:
    """A poll between a step and its notice reads as if there was none."""
    here = site(world, database)
    here.poll()
    here.machine.now += step
    here.pass_time(seconds=30)
    world.log()
    here.tail.run_once()
    assert stored(database) == happened(world.organisation.truth())
    assert here.marks().proved_through <= world.clock()


@pytest.mark.parametrize("step", STEPS)
def test_a_round_by_a_clock_that_was_set_before(world: World, database: Database, step: timedelta) -> None:
    """A process whose clock is behind the store's times, or far ahead of them, reads all that there is in its first poll."""
    here = site(world, database)
    world.log()
    here.poll()
    here.machine.now += step
    here.pass_time(minutes=5)
    here.machine.restart()
    world.log()
    again = site(world, database, here.machine)
    again.watch.start()
    again.tail.run_once()
    assert stored(database) == happened(world.organisation.truth())
    assert world.clock() - timedelta(seconds=5) <= again.marks().proved_through <= world.clock()
    with database.read() as connection:
        poll = polls.read_all(connection)[SOURCE]
    assert poll.last_poll_at == again.machine()
    assert abs(again.machine() + poll.clock_skew - world.clock()) < timedelta(seconds=5)
    assert ("clock_stepped" in open_troubles(database)) == (step < timedelta(minutes=-5))


def test_one_that_is_always_behind(world: World, database: Database) -> None:
    """Rounds for cron on a machine an hour behind read each record in the first round after it."""
    machine = Machine()
    machine.now -= timedelta(hours=1)
    for _ in range(3):
        machine.restart()
        here = site(world, database, machine)
        here.watch.start()
        world.log()
        here.poll(300)
        assert stored(database) == happened(world.organisation.truth())


@pytest.mark.parametrize("step", STEPS)
def test_sweeps_go_on(world: World, database: Database, step: timedelta) -> None:
    """A record that comes hours late is found by the sweeps in time, though the clock was set meanwhile."""
    here = site(world, database)
    world.log()
    here.poll()
    here.pass_time(hours=3)
    world.log()
    here.poll()
    here.poll()
    here.machine.now += step
    here.poll()
    world.log(ago=9000)
    for _ in range(20):
        here.poll(120)
    assert stored(database) == happened(world.organisation.truth())


def test_sweeps_without_the_upstreams_time(world: World, database: Database) -> None:
    """Without a `Date` in responses, a sweep that was checked in what is now the future waits an hour."""
    world.faults.set("no_date")
    here = site(world, database)
    world.log()
    here.poll()
    here.pass_time(hours=3)
    world.log()
    here.poll()
    here.poll()
    here.machine.set_clock(hours=-1)
    world.log(ago=9000)
    for _ in range(4):
        here.poll(120)
    assert stored(database) == happened(world.organisation.truth())


def test_a_window_in_doubt_does_not_wait_for_longer_than_any(world: World, database: Database) -> None:
    """What was put off until a time that is far ahead now is asked again at once."""
    world.faults.set("no_date")
    here = site(world, database)
    world.log()
    here.poll()
    here.pass_time(hours=3)
    world.log()
    here.poll()
    doubt = unproved_windows.UnprovedWindow(
        source=SOURCE,
        starts_at=world.clock() - timedelta(hours=2),
        ends_at=world.clock() - timedelta(hours=1),
        reach=SWEEPS[0],
        due_at=world.clock() + timedelta(minutes=50),
        failure_count=1,
    )
    with database.write() as connection:
        unproved_windows.write(connection, [doubt])
    here.poll()
    assert in_doubt(database) == [doubt]
    here.machine.set_clock(hours=-1)
    here.poll()
    assert in_doubt(database) == []


def in_doubt(database: Database) -> list[unproved_windows.UnprovedWindow]:
    """Read the windows that could not be proved."""
    with database.read() as connection:
        return [found for found in unproved_windows.read(connection, SOURCE) if found.failure_count]


def test_filters_are_tried_again(world: World, database: Database) -> None:
    """What is tried once a day is not put off for a month since the clock was set back by one."""
    world.faults.set("total:absent", "counts:absent")
    here = site(world, database)
    world.log()
    here.poll()
    here.machine.set_clock(days=-30)
    world.faults.set("total:absent", "counts:absent", "filter_ignored:all")
    here.poll()
    here.poll()
    assert "filter_ignored" in open_troubles(database)


@pytest.mark.parametrize("step", STEPS)
def test_freshness_outlasts_a_step(world: World, database: Database, step: timedelta) -> None:
    """The heartbeat misses no beat between a step and the next poll, and stops when polls do."""
    monitor = Monitor()
    here = site(world, database)
    heartbeat = Heartbeat(monitor.url, {SOURCE: POLL}, database, here.machine)
    try:
        here.poll()
        here.machine.now += step
        here.watch.run_once()
        assert heartbeat.run_once()
        here.pass_time(minutes=11)
        assert not heartbeat.run_once()
    finally:
        heartbeat.close()
        monitor.close()


@pytest.mark.parametrize("skew", [timedelta(0), timedelta(minutes=-30)])
def test_the_upstreams_time_goes_on(skew: timedelta) -> None:
    """After a step of our clock, the upstream's time steps too, although its `Date` is known."""
    machine, step = Machine(), timedelta(hours=-1)
    heard, unheard = ServerClock(machine), ServerClock(machine)
    heard.compare(Page((), None, None, machine(), server_date=machine() + skew))
    before = heard.now()
    machine.now += step
    machine.clock.take_up(step)
    for server in (heard, unheard):
        server.follow_clock(step)
    assert heard.now() == before
    assert unheard.now() == machine()


def test_identity_outlasts_a_step_back(world: World, database: Database) -> None:
    """A field that appears after the clock was set back by days does not change what earlier records are known by."""
    here = site(world, database)
    world.log()
    here.poll()
    here.machine.set_clock(days=-5)
    here.poll()
    world.faults.set("unknown_field")
    for _ in range(3):
        here.poll()
    here.machine.restart()
    again = site(world, database, here.machine)
    again.poll()
    assert stored(database) == happened(world.organisation.truth())
    assert "window_shrunk" not in open_troubles(database)


@pytest.mark.parametrize("step", [timedelta(hours=-1), timedelta(hours=25), timedelta(seconds=-40)])
def test_receipts_agree_though_the_clock_was_set(world: World, database: Database, step: timedelta) -> None:
    """A receipt counts records that were stored after it, or none that vanished after it, because of a step of the clock."""
    here = site(world, database)
    for _ in range(3):
        world.log()
        here.poll()
    here.machine.set_clock(seconds=step.total_seconds())
    world.log()
    world.log(ago=50)
    here.poll()
    world.faults.set("vanish:0s,times=1")
    here.poll()
    with database.read() as connection:
        found = list(receipts.stream(connection, SOURCE))
        again = [receipts.recompute(connection, receipt) for receipt in found]
    assert len(found) >= 5
    assert again == found
