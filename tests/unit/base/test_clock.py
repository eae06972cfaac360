"""The clock follows small corrections of the machine's clock at once, and holds back steps."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

import pytest

from actionwatch.base.clock import STEP, Clock, SharedClock, go_by, machine_now, utc_now
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


def test_shared_clock_shows_the_time_elsewhere() -> None:
    """After a reading, the clock shows the other machine's time, and goes on with our monotonic clock."""
    seconds = [1000.0]
    shared = SharedClock(lambda: seconds[0])
    assert abs(shared() - machine_now()) < STEP
    shared.compare(lambda: NOON)
    seconds[0] += 90
    assert shared() == NOON + timedelta(seconds=90)


def test_shared_clock_ignores_a_slow_reading() -> None:
    """A reading that took long says little about the time: the one before it counts."""
    seconds = [1000.0]
    shared = SharedClock(lambda: seconds[0])
    shared.compare(lambda: NOON)

    def slowly() -> datetime:
        seconds[0] += 5
        return NOON

    shared.compare(slowly)
    assert shared() == NOON + timedelta(seconds=5)


def test_process_goes_by_another_clock() -> None:
    """Everything that asks for the time gets that of the chosen clock, until the machine's is chosen again."""
    try:
        go_by(lambda: NOON)
        assert utc_now() == NOON
    finally:
        go_by(machine_now)
    assert abs(utc_now() - machine_now()) < STEP
