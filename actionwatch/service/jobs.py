"""The jobs at intervals, one for each step but those of the sources (`source_steps.py`). Jobs do not delay each other."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import timedelta

from apscheduler.job import Job

from actionwatch.base.daemon_threads import DaemonThreads
from actionwatch.delivery.worker import DeliveryWorker
from actionwatch.service import schedule
from actionwatch.service.app import App
from actionwatch.service.configuration_watch import LOOK_EVERY, ConfigurationWatch, SourceFilesWatch
from actionwatch.service.disk import check_disk
from actionwatch.service.heartbeat import HeartbeatSender
from actionwatch.service.log_check import LogCheck
from actionwatch.service.polls import LOOK_EVERY as POLLS_EVERY
from actionwatch.service.polls import PollWatch
from actionwatch.service.reload import Reloader
from actionwatch.service.replicas import LOOK_EVERY as REPLICAS_EVERY
from actionwatch.service.roles import Roles
from actionwatch.service.step_watch import FAILURES, StepWatch
from actionwatch.service.streams import StreamWatch
from actionwatch.service.threads import Threads
from actionwatch.store.membership import LEADER, stream_role

_SILENCES_EVERY = timedelta(seconds=30)  # how soon a change of the silence files is noticed
_STREAMS_EVERY = timedelta(seconds=1)  # how soon a stream sends what is stored
_SOURCES_EVERY = timedelta(seconds=1)  # how soon a change of their files is noticed
_LAG_EVERY = timedelta(seconds=30)
_PRUNE_EVERY = timedelta(hours=1)
_DISK_EVERY = timedelta(minutes=1)
_CHECK_EVERY = timedelta(minutes=1)
_RARE = timedelta(minutes=10)  # a step that runs less often counts as failing at its first failure


def attempt_as(steps: StepWatch, roles: Roles, role: str | None, step: str, run: Callable[[], object]) -> None:
    """Run a watched step, if this process has the role that it needs (None: every process runs it)."""
    with roles.working(role) as is_mine:
        if is_mine:
            steps.attempt(step, run)


class Jobs:
    """The jobs of one service, each of which is a watched step. One of a role runs only while this process has the role."""

    def __init__(self, app: App, steps: StepWatch, roles: Roles) -> None:
        self._app = app
        self._steps = steps
        self._roles = roles
        self._threads = DaemonThreads("job")
        self._scheduler = schedule.make_scheduler(self._threads)
        self._of_role: defaultdict[str, list[tuple[str, Job]]] = defaultdict(list)
        """For each role its steps, with their jobs."""
        self._is_started = False
        self.work: dict[str, Callable[[], None]] = {}
        """What runs each step once."""

    def add_streams(self) -> None:
        """Add the sending of each stream, and the watch over how far they lag."""
        app = self._app
        for name, stream in app.streams.items():
            role = stream_role(name)
            self._add(f"stream {name}", stream.run_once, _STREAMS_EVERY, progress=stream.progress, role=role)
        watch = StreamWatch(app.settings.streams, app.database, app.leading_alerts, app.clock)
        self._add("streams", watch.run_once, _LAG_EVERY, is_first_now=False, role=LEADER)

    def add_deliveries(self, worker: DeliveryWorker, button_checks: Mapping[str, Callable[[], object]]) -> None:
        """Add the checks of the senders, and of the listener of each receiver with buttons."""
        for receiver, check in button_checks.items():
            self._add(f"buttons {receiver}", check, _CHECK_EVERY, is_first_now=False)
        self._add("send", worker.receivers.check_sends, _CHECK_EVERY, is_first_now=False)

    def add_watches(
        self,
        heartbeat: HeartbeatSender | None,
        replicas: Callable[[], None] | None,
        configuration: ConfigurationWatch | None,
        sources: SourceFilesWatch | None,
        polls: PollWatch,
    ) -> None:
        """Add what watches the process and its surroundings, and what reports to other services."""
        app = self._app
        if app.database.path is not None:
            self._add("disk", functools.partial(check_disk, app.database.path, app.self_alerts), _DISK_EVERY)
        self._add("polls", polls.run_once, POLLS_EVERY, is_first_now=False)
        self._add("log", LogCheck().run_once, _CHECK_EVERY, is_first_now=False)
        if heartbeat:
            self._add("heartbeat", heartbeat.run_once, app.settings.heartbeat.interval, is_first_now=False, role=LEADER)
        if replicas is not None:
            self._add("replicas", replicas, REPLICAS_EVERY)
        if configuration:
            self._add("configuration", configuration.run_once, LOOK_EVERY)
        if sources:
            self._add("sources", sources.run_once, _SOURCES_EVERY)

    def add_upkeep(self, reloader: Reloader) -> None:
        """Add what the store needs: the silences of files, and retention."""
        self._add("silences", reloader.load_silences, _SILENCES_EVERY, is_first_now=False, role=LEADER)
        self._add("prune", self._app.apply_retention, _PRUNE_EVERY, role=LEADER)

    def start(self, threads: Threads) -> None:
        """Run the jobs from now on. The thread of the scheduler is one of `threads`."""
        schedule.start(self._scheduler, functools.partial(threads.start, "schedule"))
        self._is_started = True

    def run_role(self, role: str) -> None:
        """Run the steps of a role now."""
        if self._is_started:
            for _, job in self._of_role[role]:
                schedule.run_now(job)

    def forget_role(self, role: str) -> None:
        """Forget how the steps of a role went before."""
        for step, _ in self._of_role[role]:
            self._steps.forget(step)

    def catch_up(self) -> None:
        """Run the jobs now that the clock, which was set back, would delay."""
        schedule.catch_up(self._scheduler)

    def stop(self) -> None:
        """Start no other job."""
        self._scheduler.shutdown()

    def join(self, seconds: float) -> int:
        """Wait until no job runs, but no longer than `seconds`. Return how many still run."""
        return self._threads.join(seconds)

    def _add(
        self,
        step: str,
        run: Callable[[], object],
        every: timedelta,
        *,
        is_first_now: bool = True,
        progress: Callable[[], object] = lambda: None,
        role: str | None = None,
    ) -> None:
        """Run a step at intervals, and watch it."""
        failures = FAILURES if every < _RARE else 1
        self._steps.add(step, failures=failures, progress=progress, role=role)
        work = self.work[step] = functools.partial(attempt_as, self._steps, self._roles, role, step, run)
        job = schedule.add_job(self._scheduler, work, every, is_first_now=is_first_now)
        if role is not None:
            self._of_role[role].append((step, job))
