"""Jobs run at their intervals, also if the clock is set."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from actionwatch.base.clock import go_by, machine_now, utc_now
from actionwatch.base.daemon_threads import DaemonThreads
from actionwatch.service.schedule import Interval, add_job, catch_up, make_scheduler, run_now, start
from tests.builders import NOON
from tests.cases import in_one_test
from tests.waiting import wait_for_event

MINUTE = timedelta(minutes=1)


def run_in_thread(target: Callable[[], None]) -> None:
    """Run a scheduler in a thread."""
    threading.Thread(target=target, daemon=True).start()


@in_one_test(
    ("after", "wanted"),
    [
        (timedelta(0), MINUTE),
        (timedelta(seconds=1), MINUTE),
        (timedelta(seconds=59), MINUTE),
        (timedelta(minutes=1), 2 * MINUTE),
        (timedelta(minutes=3, seconds=30), 4 * MINUTE),
        (timedelta(hours=-1), MINUTE),
    ],
)
def test_next_time_keeps_the_interval(after: timedelta, wanted: timedelta) -> None:
    """The next time is the first one after now that is a multiple of the interval."""
    assert Interval(MINUTE).get_next_fire_time(NOON, NOON + after) == NOON + wanted


def test_first_run_is_after_one_interval() -> None:
    """A job that never ran runs after an interval."""
    assert Interval(MINUTE).get_next_fire_time(None, NOON) == NOON + MINUTE


@pytest.mark.parametrize("off", [timedelta(days=-2), timedelta(days=2)])
def test_jobs_run_by_the_clock_of_the_scheduler(off: timedelta) -> None:
    """A process that goes by another clock than the machine's, that of its store, still runs its jobs at once."""
    ran, again = threading.Event(), threading.Event()
    go_by(lambda: machine_now() + off)
    scheduler = make_scheduler(DaemonThreads("jobs"))
    try:
        add_job(scheduler, ran.set, MINUTE, is_first_now=True)
        job = add_job(scheduler, again.set, MINUTE, is_first_now=False)
        start(scheduler, run_in_thread)
        wait_for_event(ran, "the first run")
        run_now(job)
        wait_for_event(again, "the run that was asked for")
    finally:
        go_by(machine_now)
        scheduler.shutdown()


def test_clock_set_forward_causes_one_run() -> None:
    """A clock that was set forward by centuries causes one run, without a count of the missed ones."""
    ran = threading.Event()
    scheduler = make_scheduler(DaemonThreads("jobs"))
    add_job(scheduler, ran.set, timedelta(seconds=0.5), is_first_now=True)
    (job,) = scheduler.get_jobs()
    job.modify(next_run_time=datetime(1026, 1, 1, tzinfo=UTC))
    start(scheduler, run_in_thread)
    try:
        wait_for_event(ran, "the job")
    finally:
        scheduler.shutdown()


def test_job_in_the_far_future_runs_now() -> None:
    """A job that would wait longer than its interval, because the clock was set back, runs now.

    The others keep their times.
    """
    ran = threading.Event()
    scheduler = make_scheduler(DaemonThreads("jobs"))
    add_job(scheduler, ran.set, MINUTE, is_first_now=False)
    add_job(scheduler, lambda: None, 5 * MINUTE, is_first_now=False)
    start(scheduler, run_in_thread)
    try:
        ours, other = sorted(scheduler.get_jobs(), key=lambda job: job.trigger.interval)
        ours.modify(next_run_time=utc_now() + timedelta(hours=1))
        due_at = other.next_run_time
        catch_up(scheduler)
        wait_for_event(ran, "the job")
        assert other.next_run_time == due_at
    finally:
        scheduler.shutdown()
