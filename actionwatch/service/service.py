"""The running service around an `App`: what starts, in which order, which role does what, and how all of it stops.

The loops are in `loops.py`, the jobs in `jobs.py`, and the web listener in `web_listener.py`.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta

import structlog

from actionwatch.alerts.self_alerts import OF_SOURCES, SelfAlerts
from actionwatch.base.errors import Fault
from actionwatch.matching.self_alerts import SelfAlertStore
from actionwatch.service.app import App
from actionwatch.service.buttons import listen
from actionwatch.service.clock_watch import ClockWatch
from actionwatch.service.configuration_watch import ConfigurationWatch, SourceFilesWatch
from actionwatch.service.heartbeat import HeartbeatSender
from actionwatch.service.jobs import Jobs
from actionwatch.service.loops import Loops
from actionwatch.service.polls import Polls, PollWatch
from actionwatch.service.readiness import Readiness
from actionwatch.service.reload import Reloader
from actionwatch.service.replicas import ReplicaWatch
from actionwatch.service.roles import Role, Roles
from actionwatch.service.source_steps import SourceSteps
from actionwatch.service.step_watch import StepWatch
from actionwatch.service.streams import forget_removed, role_of
from actionwatch.service.threads import Threads
from actionwatch.service.web_listener import WebListener
from actionwatch.settings import Settings
from actionwatch.store.membership import LEADER, Membership, Roster, tail_role

_STOP_SECONDS = 7.5  # for all threads together; leases and store need up to 1 s more, and requests of the console 1 s

log = structlog.get_logger()


class Service:
    """A scheduler for polls and other jobs, a thread each for matching and delivering, and the web listener."""

    def __init__(
        self,
        app: App,
        refused: Fault | None = None,
        on_death: Callable[[], None] = lambda: None,
        stop_seconds: float = _STOP_SECONDS,
        watch: ConfigurationWatch | None = None,
        sources: SourceFilesWatch | None = None,
        replicas: ReplicaWatch | None = None,
        *,
        open_to_actions: bool = False,
    ) -> None:
        """`refused` is the reason why the service does not run with a newer configuration. `watch` looks for one, `sources` for
        changes in the files of sources; `replicas` compares this replica with others.

        `open_to_actions`: without a token, everybody who can open the console may acknowledge, resolve and silence alerts.

        `on_death` is called in a thread that ends while the service runs. `threads.check` raises an error afterwards.
        `stop_seconds`: how long the end of `running` waits for threads that do not end.
        """
        self._app = app
        self._watch = watch
        self._source_files = sources
        self._replicas = replicas
        self._stop_seconds = stop_seconds
        self.threads = Threads(on_death)
        elapsed = app.machine.elapsed
        self.steps = StepWatch(app.self_alerts, elapsed, app.own_alerts, functools.partial(_alerts_of, app))
        self.polls = Polls(app.settings.upstream.threads, elapsed, app.machine.chance)
        self.source_steps = SourceSteps(app, self.steps, self.polls)
        roles = [
            self._leading(),
            *(self.source_steps.role(name) for name in app.source_names()),
            *(
                role_of(stream, lambda role: self.jobs.forget_role(role), lambda role: self.jobs.run_role(role))
                for stream in app.streams.values()
            ),
        ]
        self.roles = Roles(roles, self._note_replicas)
        self.source_steps.follow(self.roles)
        self._poll_watch = PollWatch(
            self.polls.lateness,
            app.tails.upstreams,
            app.leading_alerts,
            app.own_alerts,
            functools.partial(self.roles.has, LEADER),
        )
        self.jobs = Jobs(app, self.steps, self.roles)
        self.reloader = Reloader(app, refused)
        self.worker = app.delivery_worker(self.leads)
        url = app.settings.heartbeat.address

        def intervals() -> Mapping[str, timedelta]:
            return app.settings.poll_intervals

        self._heartbeat = HeartbeatSender(url, intervals, app.database, app.clock) if url else None
        followers = [self.worker.follow_clock, self._follow_clock]
        self._clock_watch = ClockWatch(app.clock, app.leading, app.leading_alerts, followers, elapsed, leads=self.leads)
        self.loops = Loops(app, self.threads, self.steps, self.roles, self.worker, self._watch_clock)
        self._readiness = Readiness(
            app.database,
            intervals,
            app.tails.ages,
            self.steps,
            self.roles,
            lambda: app.records_learned if self.leads() else None,
            elapsed,
        )
        self._web = WebListener(
            app,
            self.threads,
            self._readiness,
            self.roles,
            self.worker.wake,
            lambda: {**self.threads.are_alive(), **self.steps.stuck()},
            self.polls.lateness,
            open_to_actions=open_to_actions,
        )
        self.url = ""

    @contextlib.contextmanager
    def ready(self) -> Iterator[Membership]:
        """Join the store, and take the roles, until the block ends. The steps can run then, but nothing runs them yet."""
        with contextlib.ExitStack() as stack:
            membership = stack.enter_context(self._app.database.joined())
            self.loops.watch_steps()
            self._add_jobs(membership, listen(self._app, self.worker.wake, stack))
            if self._app.database.is_shared:
                self.loops.keep_roles(membership, stack)
            self.roles.start(membership)
            if self._app.database.is_shared:
                self.loops.follow_replicas(membership)
            if not self.leads():
                self.reloader.follow()
            yield membership

    @contextlib.contextmanager
    def running(self) -> Iterator[Membership]:
        """Run until the block ends, then stop cleanly: messages that are being sent are finished and recorded.

        A thread that hangs, for example in a request to an upstream that does not answer, is left behind. It ends with the
        process, or where it meets the closed store; the next start repeats what it did not commit.
        """
        with self.ready() as membership, contextlib.ExitStack() as stack:
            self.loops.watch_store(self._readiness, stack)
            self.url = stack.enter_context(self._web.serving())
            stack.callback(self._stop_threads)
            self.loops.start_steps(self.reloader)
            self.polls.start(self.threads)
            self.jobs.start(self.threads)
            stack.callback(self.jobs.stop)
            self.loops.watch_clock()
            stack.callback(self.threads.stopping.set)
            if self._heartbeat:
                stack.callback(self._heartbeat.close)
            # Only the leader needs the rules; reading them takes a replica's start a second and its memory.
            known = {"rules": len(self._app.rules.rules)} if self.leads() else {}
            log.info("service_started", sources=list(self._app.tails.sources), **known, url=self.url)
            yield membership
            log.info("service_stopping")
        log.info("service_stopped")

    def reload(self) -> list[str]:
        """Load changed rules, lists, templates and silences now. Return what is wrong with them, or what failed."""
        works = {"reload": self.reloader.follow}
        if self.leads():
            works = {"reload": self.reloader.run_once, "silences": self.reloader.load_silences}
        failed = [step for step, work in works.items() if not self.steps.attempt(step, work)]
        return [*self.reloader.faults, *(f"{step}: {self.steps.error_of(step)}" for step in failed)]

    def use_sources(self, settings: Settings, membership: Membership) -> None:
        """Tail the sources of a configuration that differs in nothing else."""
        ended, begun = self._app.tails.changes(settings)
        self.roles.remove(membership, [tail_role(name) for name in ended])
        for name in ended:
            self.source_steps.forget(name)
        self._app.use_sources(settings)
        for name in begun:
            self.roles.add(self.source_steps.role(name))
        if not self._app.database.is_shared:  # otherwise, the replicas share them
            self.roles.start(membership)
        if self.leads():
            self.steps.attempt("reload", self.reloader.settle_sources)
        else:  # the leader may have done that before this process polled them for the last time
            over = [(trouble, name) for name in set(ended) - set(begun) for trouble in OF_SOURCES]
            self.steps.attempt("reload", functools.partial(self._app.self_alerts.settle_all, over))
        if self._replicas is not None:
            self._replicas.use(settings)
        self._app.record_signal.set()

    def leads(self) -> bool:
        """Return whether this process is the leader."""
        return self.roles.has(LEADER)

    def _leading(self) -> Role:
        """Return the role that matches, and does what the store needs once."""

        def begin() -> None:
            self._app.begin_leading()
            self._clock_watch.start()
            self._app.rule_failures.settle_failures()
            forget_removed(self._app.leading, self._app.settings.streams)
            self.reloader.start()
            self.steps.start()
            self.jobs.forget_role(LEADER)

        def end() -> None:
            self._app.matcher.stop()
            self._app.record_signal.set()

        return Role(LEADER, begin, end, lambda: self.jobs.run_role(LEADER), is_movable=False)

    def _note_replicas(self, before: Roster, now: Roster) -> None:
        """Take up the messages of a replica that has ended. The thread that renews leases calls it: it must not wait."""
        if before.hosts.keys() - now.hosts.keys():
            self.worker.recover_soon()

    def _watch_clock(self) -> None:
        self.jobs.catch_up()
        self._clock_watch.run_once()

    def _follow_clock(self, step: timedelta) -> None:
        for tail in self._app.tails.steps.values():
            tail.follow_clock(step)

    def _add_jobs(self, membership: Membership, button_checks: Mapping[str, Callable[[], object]]) -> None:
        """Add the jobs, in the order in which they first run."""
        comparison = functools.partial(self._compare, self._replicas, membership) if self._replicas else None
        self.jobs.add_streams()
        self.jobs.add_deliveries(self.worker, button_checks)
        self.jobs.add_watches(self._heartbeat, comparison, self._watch, self._source_files, self._poll_watch)
        self.jobs.add_upkeep(self.reloader)

    def _compare(self, replicas: ReplicaWatch, membership: Membership) -> None:
        """Publish what this replica runs with; on the leader, compare them, and settle what ended replicas left."""
        membership.publish(replicas.digest())
        if self.leads():
            if (
                self._app.database.peers.is_steady()
            ):  # after an outage of the store, others may not have renewed their lease yet
                self._app.leading_alerts.settle_gone(self.roles.roster.hosts)
            replicas.compare(self.roles.roster)

    def _stop_threads(self) -> None:
        """Stop all threads except the web listener and the one that keeps the lease, which stop last."""
        deadline = time.monotonic() + self._stop_seconds
        self.threads.stopping.set()
        self.roles.end()
        self._app.record_signal.set()
        self.polls.wake()
        self.worker.stop()
        others = [name for name in self.threads.are_alive() if name not in ("web", "lease")]
        for name in others:
            self.threads.join(name, max(deadline - time.monotonic(), 0))
        job_count = self.jobs.join(max(deadline - time.monotonic(), 0))
        alive = [name for name in others if self.threads.are_alive()[name]]
        if alive or job_count:
            log.warning(
                "threads_left", threads=alive, jobs=job_count, remedy="the next start repeats what they did not commit"
            )


def _alerts_of(app: App, role: str) -> SelfAlerts:
    """Return self-alerts that this process reports only while it has a role."""
    return SelfAlertStore(app.database.as_holder(role), app.addressing, app.clock)
