"""Our clock is set while the upstream's continues: every record is read in time, and nothing is proved that was not read."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta

import pytest

from actionwatch.matching.self_alerts import SelfAlertStore
from actionwatch.service.clock_watch import ClockWatch
from actionwatch.service.heartbeat import HeartbeatSender
from actionwatch.store import marks, polls, receipts
from actionwatch.store.database import Database
from actionwatch.tail.cursor import EDGE
from actionwatch.tail.source import SourceTail
from actionwatch.tail.state import ALLOWED_SKEW, PollReport
from tests.builders import Machine
from tests.integration.tail.test_watching import Monitor, monitor
from tests.upstreams import (
    POLL,
    SOURCE,
    DirectClient,
    World,
    addressing,
    logged_actions,
    open_troubles,
    self_watch,
    stored,
    tail_of,
)

__all__ = ["monitor"]

STEPS = [timedelta(hours=-1), timedelta(hours=25), timedelta(days=-400), timedelta(days=3000), timedelta(minutes=-2)]
SWEEPS = (timedelta(hours=1), timedelta(hours=6))


@dataclass
class Site:
    """A tail on a machine with its own clock, separate from the upstream's."""

    world: World
    database: Database
    machine: Machine
    client: DirectClient
    tail: SourceTail
    watch: ClockWatch

    def pass_time(self, **span: float) -> None:
        """Let time pass on both machines."""
        self.machine.advance(**span)
        self.world.clock.advance(**span)

    def poll(self, seconds: float = 30) -> PollReport:
        """Let time pass, check the clock, poll."""
        self.pass_time(seconds=seconds)
        self.watch.run_once()
        return self.tail.run_once()

    def marks(self) -> marks.Marks:
        """Read the marks."""
        with self.database.read() as connection:
            found = marks.read(connection, SOURCE)
        assert found is not None
        return found


def site(world: World, database: Database, machine: Machine | None = None) -> Site:
    """Make a tail in a process that has just started."""
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


def restarted(here: Site) -> Site:
    """Start another process on the same machine, after something has happened."""
    here.machine.restart()
    here.world.log()
    again = site(here.world, here.database, here.machine)
    again.watch.start()
    return again


@pytest.mark.parametrize("step", [timedelta(seconds=-7), timedelta(seconds=-40)])
def test_poll_after_a_small_step_back_reads_up_to_now(world: World, database: Database, step: timedelta) -> None:
    """A poll that learns from its response that its window ended too early reads on: the newest records may vanish soon."""
    here = site(world, database)
    for _ in range(4):
        world.log()
        here.poll()
    assert here.marks().bounds_unit is not None  # so that the window is not widened to a whole day
    here.machine.now += step
    here.pass_time(seconds=5)
    world.log()
    here.pass_time(seconds=1)
    here.tail.run_once()
    assert stored(database) == logged_actions(world.organisation.truth())


@pytest.mark.parametrize(
    ("step", "fraction"), [(STEPS[0], 0.0), (STEPS[1], 0.4), (STEPS[2], 0.6), (STEPS[3], 0.999), (STEPS[4], 0.999)]
)
def test_record_of_the_same_second_is_read_although_the_clocks_differ(
    world: World, database: Database, step: timedelta, fraction: float
) -> None:
    """The upstream's `Date` has no fractions of a second: a record may be later than it, and yet be there."""
    here = site(world, database)
    for seconds in (30.25, 30.25, 30.5):
        here.pass_time(seconds=seconds)
        world.log()
        here.poll(1)
    assert here.marks().bounds_unit == EDGE  # so that the window is not widened to a whole second
    here.machine.now += step
    here.pass_time(seconds=5 + fraction)
    again = restarted(here)
    again.tail.run_once()
    assert stored(database) == logged_actions(world.organisation.truth())
    assert again.marks().proved_through <= world.clock()


@pytest.mark.parametrize("step", STEPS)
def test_process_with_a_wrong_clock_reads_everything(world: World, database: Database, step: timedelta) -> None:
    """A process whose clock is behind the stored times, or far ahead of them, reads everything in its first poll.

    If only the upstream says that the clock is behind, the process proves nothing until its clock is right.
    """
    here = site(world, database)
    world.log()
    here.poll()
    here.machine.now += step
    here.pass_time(minutes=5)
    again = restarted(here)
    again.tail.run_once()
    assert stored(database) == logged_actions(world.organisation.truth())
    is_confirmed = step > -ALLOWED_SKEW
    assert (world.clock() - timedelta(seconds=5) <= again.marks().proved_through <= world.clock()) == is_confirmed
    with database.read() as connection:
        poll = polls.read_all(connection)[SOURCE]
        assert all(receipt.starts_at <= receipt.ends_at for receipt in receipts.stream(connection))
    assert poll.last_poll_at == again.machine()
    assert abs(again.machine() + poll.clock_skew - world.clock()) < timedelta(seconds=5)
    assert ("clock_stepped" in open_troubles(database)) == (step < timedelta(minutes=-5))
    assert "clock_skew" in open_troubles(database)
    again.machine.now -= step
    again.poll()
    assert world.clock() - timedelta(seconds=5) <= again.marks().proved_through <= world.clock()


def test_cron_runs_on_a_slow_clock_read_each_record_at_once(world: World, database: Database) -> None:
    """Cron runs on a machine that is an hour behind read each record in the first run after it."""
    machine = Machine()
    machine.now -= timedelta(hours=1)
    for _ in range(3):
        machine.restart()
        here = site(world, database, machine)
        here.watch.start()
        world.log()
        here.poll(300)
        assert stored(database) == logged_actions(world.organisation.truth())


def test_sweeps_without_the_upstreams_time(world: World, database: Database) -> None:
    """Without a `Date` in responses, a sweep whose last check is now in the future does not wait an hour."""
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
    assert stored(database) == logged_actions(world.organisation.truth())


def test_daily_check_of_filters_continues_after_a_clock_step(world: World, database: Database) -> None:
    """A daily check is not postponed by a month if the clock is set back by a month."""
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
def test_heartbeat_survives_a_clock_step(world: World, database: Database, step: timedelta, monitor: Monitor) -> None:
    """The heartbeat continues between a step and the next poll, and stops when the polls stop."""
    here = site(world, database)
    with closing(HeartbeatSender(monitor.url, lambda: {SOURCE: POLL}, database, here.machine)) as heartbeat:
        here.poll()
        here.machine.now += step
        here.watch.run_once()
        assert heartbeat.run_once()
        here.pass_time(minutes=11)
        assert not heartbeat.run_once()


def test_record_keys_survive_a_clock_step_back(world: World, database: Database) -> None:
    """A field that appears after the clock was set back by days does not change the keys of earlier records."""
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
    assert stored(database) == logged_actions(world.organisation.truth())
    assert "window_shrunk" not in open_troubles(database)
