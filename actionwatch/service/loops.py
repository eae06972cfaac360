"""The loops of the service: each runs in its own thread until the service stops."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable

import structlog

from actionwatch.delivery.worker import DeliveryWorker
from actionwatch.service.app import App
from actionwatch.service.jobs import attempt_as
from actionwatch.service.readiness import LOOK_SECONDS as READ_SECONDS
from actionwatch.service.readiness import Readiness
from actionwatch.service.reload import Reloader
from actionwatch.service.roles import LOOK_SECONDS, Roles, keep
from actionwatch.service.step_watch import StepWatch
from actionwatch.service.threads import Threads
from actionwatch.store import positions
from actionwatch.store.membership import LEADER, Membership

_READ_ENDS_SECONDS = 0.5  # how long an end waits for a read of the store: a longer one shows a server that is silent
_CLOCK_SECONDS = 1.0  # how soon a step of the clock is noticed
MATCH_SECONDS = 5.0  # new records wake the matcher at once; this is the longest wait without any
# Between two runs. Each costs several milliseconds, for one record too: those that a fleet stores meanwhile are one batch.
_PAUSE_SECONDS = 0.2

log = structlog.get_logger()


class MatchLoop:
    """The loop that matches new records: those of this process, and of other replicas. It wakes the delivery worker."""

    def __init__(self, app: App, steps: StepWatch, roles: Roles, wake: Callable[[], None]) -> None:
        self._app = app
        self._steps = steps
        self._roles = roles
        self._wake = wake

    def watch(self) -> None:
        """Watch the step from now on."""
        self._steps.add("match", progress=self._positions, role=LEADER)

    def run(self, stopping: threading.Event) -> None:
        """Match new records until the service stops."""
        while not stopping.is_set():
            self._app.record_signal.wait_for_records(MATCH_SECONDS)
            self.match()
            stopping.wait(_PAUSE_SECONDS)

    def match(self) -> None:
        """Match the records that wait."""
        attempt_as(self._steps, self._roles, LEADER, "match", self._match_once)

    def listen_to_hints(self, stopping: threading.Event) -> None:
        """End the wait for records when another replica has stored some."""
        if not self._app.database.peers.listen(self._app.record_signal.set, stopping):
            log.info(
                "record_hints_off",
                why="a pooler is between this process and PostgreSQL: the matcher looks for records instead",
            )
            stopping.wait()

    def _match_once(self) -> None:
        if self._app.matcher.run_once():
            self._wake()

    def _positions(self) -> object:
        with self._app.database.read() as connection:
            return positions.read_both(connection), self._app.matcher.step_count


class Loops:
    """The loops of one service, which are watched steps: matching, delivering, reloading, and watching clock and roles."""

    def __init__(
        self,
        app: App,
        threads: Threads,
        steps: StepWatch,
        roles: Roles,
        worker: DeliveryWorker,
        watch_clock: Callable[[], None],
    ) -> None:
        self._watch_clock_once = watch_clock
        self._app = app
        self._threads = threads
        self._stopping = threads.stopping
        self._steps = steps
        self._roles = roles
        self._worker = worker
        self.matching = MatchLoop(app, steps, roles, worker.wake)

    def watch_steps(self) -> None:
        """Watch the steps of the loops from now on."""
        for name in ("deliver", "reload", "clock", "roles", "readiness"):
            self._steps.add(name)
        self.matching.watch()

    def keep_roles(self, membership: Membership, stack: contextlib.ExitStack) -> None:
        """Keep the roles until the last thread has ended: from the first one on, because beginning it may outlast a lease."""
        ended = threading.Event()
        self._threads.start("lease", functools.partial(keep, self._roles, membership, ended))
        stack.callback(ended.set)
        stack.callback(self._stopping.set)

    def follow_replicas(self, membership: Membership) -> None:
        """Share the roles with other replicas, and match the records that they store."""
        self._threads.start("roles", functools.partial(self._spread_roles, membership))
        self._threads.start("hints", functools.partial(self.matching.listen_to_hints, self._stopping))

    def start_steps(self, reloader: Reloader) -> None:
        """Match, deliver and reload from now on."""
        self._threads.start("match", functools.partial(self.matching.run, self._stopping))
        delivering = functools.partial(self._steps.attempt, "deliver")
        self._threads.start("deliver", functools.partial(self._worker.run, delivering))
        reloading = functools.partial(self._steps.attempt, "reload")
        leads = functools.partial(self._roles.has, LEADER)
        self._threads.start("reload", functools.partial(reloader.watch, self._stopping, reloading, leads))

    def watch_store(self, readiness: Readiness, stack: contextlib.ExitStack) -> None:
        """Keep the facts of the store in memory that `/readyz` needs, from now on, until the stack unwinds."""
        reading = self._threads.start("readiness", functools.partial(self._watch_store, readiness))
        stack.callback(reading.join, _READ_ENDS_SECONDS)  # before the store closes, if the rest of the start fails
        stack.callback(self._stopping.set)

    def _watch_store(self, readiness: Readiness) -> None:
        self._steps.attempt("readiness", readiness.look)
        while not self._stopping.wait(READ_SECONDS):
            self._steps.attempt("readiness", readiness.look)

    def watch_clock(self) -> None:
        """Watch the clock and the steps from now on."""
        self._threads.start("clock", self._watch_clock)

    def _spread_roles(self, membership: Membership) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            self._steps.attempt("roles", functools.partial(self._roles.spread, membership))

    def _watch_clock(self) -> None:
        while not self._stopping.wait(_CLOCK_SECONDS):
            self.look_at_clock()

    def look_at_clock(self) -> None:
        """Look whether the clock was set, and at what each step does. Raises: StoreReplaced, which ends the process."""
        self._app.database.check_in_place()
        self._steps.attempt("clock", self._watch_clock_once)
        self._steps.look()
