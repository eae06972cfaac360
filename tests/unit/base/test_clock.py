"""The clock follows small corrections of the machine's clock at once, and holds back steps."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from actionwatch.base.clock import STEP, Clock, utc_now
from tests.builders import NOON, Machine

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("seconds", [0, 0.5, -0.5, 59, -59])
def test_small_correction_is_followed(seconds: float) -> None:
    """A correction below a minute is followed at once, and is no step."""
    machine = Machine()
    machine.set_clock(seconds=seconds)
    assert machine.clock.step() == timedelta(0)
    assert machine.clock() == machine.now


@pytest.mark.parametrize("step", [STEP, -STEP, timedelta(hours=25), -timedelta(hours=1), timedelta(days=5000)])
def test_step_is_held_back_until_it_is_taken_up(step: timedelta) -> None:
    """After a step, time continues from before until the step is taken up."""
    machine = Machine()
    machine.now += step
    machine.advance(seconds=10)
    assert machine.clock() == NOON + 10 * SECOND
    assert machine.clock.step() == step
    machine.clock.take_up(step)
    assert machine.clock() == machine.now == NOON + step + 10 * SECOND
    assert machine.clock.step() == timedelta(0)


def test_step_that_is_undone_is_no_step() -> None:
    """A clock that is set back and corrected within a moment made no step."""
    machine = Machine()
    machine.set_clock(hours=-1)
    assert machine.clock() == NOON
    machine.set_clock(hours=1)
    assert machine.clock.step() == timedelta(0)


def test_slow_corrections_are_no_step() -> None:
    """Corrections over hours are no step."""
    machine = Machine()
    for _ in range(200):
        machine.advance(minutes=1)
        machine.set_clock(seconds=0.7)
        assert machine.clock() == machine.now
    assert machine.clock.step() == timedelta(0)


def test_sleep_of_the_machine_is_a_step() -> None:
    """The monotonic clock stands still while a machine sleeps, so the sleep is a step."""
    machine = Machine()
    machine.now += timedelta(hours=8)
    assert machine.clock.step() == timedelta(hours=8)


def test_pause_between_two_readings_is_no_step() -> None:
    """If the process pauses between reading one clock and the other, there is no step."""
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


def test_concurrent_readings_during_a_step() -> None:
    """Many threads that read during a step get neither an earlier time nor one ahead of the new time."""
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


def test_real_clock_gives_the_current_time() -> None:
    """With the clocks of the machine, the result is the current time."""
    clock = Clock()
    assert abs(clock() - utc_now()) < STEP
    assert clock.step() == timedelta(0)
