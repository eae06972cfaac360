"""Run jobs at intervals even if the machine's clock is set, although APScheduler uses that clock.

After a step forward each job runs once, a little early. After a step back the jobs would wait until the old time is reached
again; `catch_up`, which is called each second, runs them now.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from apscheduler.events import EVENT_SCHEDULER_STARTED
from apscheduler.executors.pool import BasePoolExecutor
from apscheduler.job import Job
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.triggers.base import BaseTrigger

from actionwatch.base.clock import machine_now
from actionwatch.base.daemon_threads import DaemonThreads

_TOLERANCE = timedelta(seconds=1)


class Interval(BaseTrigger):
    """Fires once per interval. Skips missed times at once, where APScheduler's own trigger counts them one by one.

    After a step forward by years, that counting takes minutes and gigabytes.
    """

    def __init__(self, interval: timedelta) -> None:
        self.interval = interval

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """Return the first time after now that is a whole number of intervals after the previous one."""
        if previous_fire_time is None:
            return now + self.interval
        missed_count = max((now - previous_fire_time) // self.interval, 0)
        return previous_fire_time + (missed_count + 1) * self.interval


class _Jobs(BasePoolExecutor):
    def __init__(self, threads: DaemonThreads) -> None:
        super().__init__(threads)  # type: ignore[no-untyped-call]


def make_scheduler(threads: DaemonThreads) -> BlockingScheduler:
    """Build a scheduler whose `start` blocks. It never runs a job twice at once, and merges the runs that a job missed.

    Its `shutdown` does not wait for the jobs that run; `threads.join` does.
    """
    return BlockingScheduler(
        timezone="UTC",
        executors={"default": _Jobs(threads)},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
    )


def add_job(scheduler: BaseScheduler, run: Callable[[], object], interval: timedelta, *, is_first_now: bool) -> Job:
    """Run a job once per interval, the first time now or after one interval."""
    first_at = machine_now() + (timedelta(0) if is_first_now else interval)
    job: Job = scheduler.add_job(run, Interval(interval), next_run_time=first_at)
    return job


def run_now(job: Job) -> None:
    """Run a job now, and then once per interval."""
    job.modify(next_run_time=machine_now())


def start(scheduler: BaseScheduler, start_thread: Callable[[Callable[[], None]], object]) -> None:
    """Run a scheduler in a thread that `start_thread` starts. Return when it can be shut down."""
    is_started = threading.Event()
    scheduler.add_listener(lambda _: is_started.set(), EVENT_SCHEDULER_STARTED)
    start_thread(scheduler.start)
    is_started.wait()


def catch_up(scheduler: BaseScheduler) -> None:
    """Run the jobs now that are scheduled for later than one interval from now: the clock was set back."""
    now = machine_now()
    for job in scheduler.get_jobs():
        if job.next_run_time - now > job.trigger.interval + _TOLERANCE:
            run_now(job)
