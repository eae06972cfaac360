"""The clock follows what the machine's clock is corrected by, and holds back what it is set by."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from actionwatch.base.clock import STEP, Clock, utc_now
from tests.builders import NOON, Machine

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("seconds", [0, 0.5, -0.5, 59, -59])
def test_corrections_are_followed(seconds: float) -> None:
    """A correction below a minute is followed at once, and is no step."""
    machine = Machine()
    machine.set_clock(seconds=seconds)
    assert machine.clock.step() == timedelta(0)
    assert machine.clock() == machine.now


@pytest.mark.parametrize("step", [STEP, -STEP, timedelta(hours=25), -timedelta(hours=1), timedelta(days=5000)])
def test_a_step_is_held_back(step: timedelta) -> None:
    """After a step time goes on from before, until the step is taken up."""
    machine = Machine()
    machine.now += step
    machine.advance(seconds=10)
    assert machine.clock() == NOON + 10 * SECOND
    assert machine.clock.step() == step
    machine.clock.take_up(step)
    assert machine.clock() == machine.now == NOON + step + 10 * SECOND
    assert machine.clock.step() == timedelta(0)


def test_a_step_that_is_undone_is_none() -> None:
    """A clock that was set back and then right again within a moment made no step."""
    machine = Machine()
    machine.set_clock(hours=-1)
    assert machine.clock() == NOON
    machine.set_clock(hours=1)
    assert machine.clock.step() == timedelta(0)


def test_corrections_add_up_to_no_step() -> None:
    """A clock that is slewed for hours was never set."""
    machine = Machine()
    for _ in range(200):
        machine.advance(minutes=1)
        machine.set_clock(seconds=0.7)
        assert machine.clock() == machine.now
    assert machine.clock.step() == timedelta(0)


def test_a_machine_that_slept_made_a_step() -> None:
    """The monotonic clock stands while a machine sleeps: what it slept is a step."""
    machine = Machine()
    machine.now += timedelta(hours=8)
    assert machine.clock.step() == timedelta(hours=8)


def test_a_process_that_was_stopped_between_two_readings() -> None:
    """Where the process stands still between reading one clock and the other, no step is seen."""
    machine, stops = Machine(), [timedelta(minutes=10)]  # the first while it is made

    def wall() -> object:
        found = machine.now
        if stops:
            machine.advance(seconds=stops.pop().total_seconds())
        return found

    clock = Clock(wall, machine.elapsed)  # type: ignore[arg-type]
    stops.append(timedelta(minutes=10))
    assert clock.step() == timedelta(0)
    stops.append(timedelta(minutes=10))
    assert clock() == machine.now


def test_threads_share_it() -> None:
    """Read by many threads at once while it is set, it goes neither back nor ahead of what it was set to."""
    machine = Machine()
    read: list[list[object]] = []

    def work() -> None:
        read.append([machine.clock() for _ in range(500)])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    machine.set_clock(hours=1)
    machine.clock.take_up(machine.clock.step())
    for thread in threads:
        thread.join()
    assert {at for some in read for at in some} <= {NOON, NOON + timedelta(hours=1)}


def test_the_real_one() -> None:
    """By the machine's own clocks it gives the time."""
    clock = Clock()
    assert abs(clock() - utc_now()) < STEP
    assert clock.step() == timedelta(0)
