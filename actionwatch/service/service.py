"""The running service: the scheduler, the threads and the web listener around an `App`."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from apscheduler.job import Job
from apscheduler.schedulers.blocking import BlockingScheduler

from actionwatch.base import tracing
from actionwatch.base.access import AccessRole
from actionwatch.base.daemon_threads import DaemonThreads
from actionwatch.base.errors import Fault
from actionwatch.notifiers.base import notifier_module
from actionwatch.service import prune
from actionwatch.service.app import App
from actionwatch.service.blindness import read_blindness
from actionwatch.service.clock_watch import ClockWatch
from actionwatch.service.configuration import known_lists
from actionwatch.service.configuration_watch import LOOK_EVERY, ConfigurationWatch
from actionwatch.service.disk import check_disk
from actionwatch.service.heartbeat import Heartbeat
from actionwatch.service.reload import Reloader
from actionwatch.service.replicas import LOOK_EVERY as REPLICAS_EVERY
from actionwatch.service.replicas import ReplicaWatch
from actionwatch.service.roles import LOOK_SECONDS, Role, Roles
from actionwatch.service.schedule import add_job, catch_up, make_scheduler, run_now, start
from actionwatch.service.sealing import SEAL_EVERY, Sealing
from actionwatch.service.signing_in import openid_provider, trusted_proxy
from actionwatch.service.silence_doubts import find_doubts
from actionwatch.service.silence_preview import preview
from actionwatch.service.step_watch import FAILURES, StepWatch
from actionwatch.service.stretches import read_stretches
from actionwatch.service.threads import Threads
from actionwatch.settings import Source, Telemetry
from actionwatch.store import backlog_progress, positions, receivers
from actionwatch.store.membership import LEADER, Membership, Roster, tail_role
from actionwatch.tail.accounts import LIST_EVERY

if TYPE_CHECKING:
    from actionwatch.service.telemetry import TraceExporter
    from actionwatch.web.access import Access
    from actionwatch.web.parts import Parts

SILENCES_EVERY = timedelta(seconds=30)  # how soon a change of the silence files is noticed
CLOCK_SECONDS = 1.0  # how soon a step of the clock is noticed
MATCH_SECONDS = 5.0  # new records wake the matcher at once; this is the longest wait without any
PRUNE_EVERY = timedelta(hours=1)
DISK_EVERY = timedelta(minutes=1)
CHECK_EVERY = timedelta(minutes=1)
EXPORT_EVERY = timedelta(seconds=5)  # of spans
STOP_SECONDS = 8.5  # for all threads together; the web listener and the leases need up to 1.5 s more
RARE = timedelta(minutes=10)  # a step that runs less often counts as failing at its first failure

log = structlog.get_logger()


class Service:
    """A scheduler for polls and other jobs, a thread each for matching and delivering, and the web listener."""

    def __init__(
        self,
        app: App,
        refused: Fault | None = None,
        on_death: Callable[[], None] = lambda: None,
        stop_seconds: float = STOP_SECONDS,
        watch: ConfigurationWatch | None = None,
        replicas: ReplicaWatch | None = None,
        *,
        open_to_actions: bool = False,
    ) -> None:
        """`refused` is the reason why the service does not run with a newer configuration. `watch` looks for one; `replicas`
        compares this replica with others.

        `open_to_actions`: without a token, everybody who can open the console may acknowledge, resolve and silence alerts.

        `on_death` is called in a thread that ends while the service runs. `threads.check` raises an error afterwards.
        `stop_seconds`: how long the end of `running` waits for threads that do not end.
        """
        self._app = app
        self._watch = watch
        self._replicas = replicas
        self._open_to_actions = open_to_actions
        self._stop_seconds = stop_seconds
        self.threads = Threads(on_death)
        self._jobs = DaemonThreads("job")
        self._stopping = self.threads.stopping
        self.steps = StepWatch(app.leading_alerts, own_alerts=app.own_alerts)
        roles = [self._leading(), *(self._tailing(source) for source in app.settings.sources)]
        self.roles = Roles(roles, self._note_replicas)
        self._jobs_of: defaultdict[str, list[tuple[str, Job]]] = defaultdict(list)
        """For each role its steps, with their jobs."""
        self._button_checks: dict[str, Callable[[], object]] = {}
        """For each receiver with buttons, the check that its listener is connected."""
        self.reloader = Reloader(app, refused)
        self._worker = app.delivery_worker(self.leads)
        url = app.settings.heartbeat.address
        self._heartbeat = Heartbeat(url, app.poll_intervals, app.database, app.clock) if url else None
        self._sealing = Sealing(app.leading, app.clock)
        followers = [self._worker.follow_clock, self._follow_clock]
        self._clock_watch = ClockWatch(app.clock, app.leading, app.leading_alerts, followers, leads=self.leads)
        self._traces = _build_traces(app.settings.telemetry)
        self._is_scheduling = False
        self.url = ""

    @contextlib.contextmanager
    def running(self) -> Iterator[Membership]:
        """Run until the block ends, then stop cleanly: messages that are being sent are finished and recorded.

        A thread that hangs, for example in a request to an upstream that does not answer, is left behind. It ends with the
        process, or where it meets the closed store; the next start repeats what it did not commit.
        """
        with contextlib.ExitStack() as stack:
            membership = stack.enter_context(self._app.database.joined())
            if self._traces is not None:
                tracing.collect_with(self._traces.take)
                stack.callback(self._traces.close)
                stack.callback(tracing.collect_with, None)
            for name in ("deliver", "reload", "clock", "roles"):
                self.steps.add(name)
            self.steps.add("match", progress=self._positions, is_of_role=True)
            self._listen_to_buttons(stack)
            scheduler = self._scheduler(membership)
            if self._app.database.is_shared:
                self._keep(membership, stack)
            self.roles.start(membership)
            if self._app.database.is_shared:
                self.threads.start("roles", functools.partial(self._spread_roles, membership))
                self.threads.start("hints", self._listen_to_hints)
            if not self.leads():
                self.reloader.follow()
            self.url = stack.enter_context(self._web())
            stack.callback(self._stop_threads)
            self.threads.start("match", self._match)
            delivering = functools.partial(self.steps.attempt, "deliver")
            self.threads.start("deliver", functools.partial(self._worker.run, delivering))
            self.threads.start("reload", self._reload_changed)
            start(scheduler, functools.partial(self.threads.start, "schedule"))
            self._is_scheduling = True
            stack.callback(scheduler.shutdown)
            self.threads.start("clock", functools.partial(self._watch_clock, scheduler))
            stack.callback(self._stopping.set)
            if self._heartbeat:
                stack.callback(self._heartbeat.close)
            # Only the leader needs the rules; reading them takes a replica's start a second and its memory.
            known = {"rules": len(self._app.rules.rules)} if self.leads() else {}
            log.info("service_started", sources=list(self._app.tails), **known, url=self.url)
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

    def wait_for_matcher(self) -> None:
        """Wait without a limit until matching has ended, because two matchers must not run at once."""
        self.threads.join("match", None)

    def leads(self) -> bool:
        """Return whether this process is the leader."""
        return self.roles.has(LEADER)

    def _keep(self, membership: Membership, stack: contextlib.ExitStack) -> None:
        """Keep the roles from the first on, whose beginning may outlast a lease, until the last thread has ended."""
        ended = threading.Event()
        self.threads.start("lease", functools.partial(self.roles.renew, membership, ended))
        stack.callback(ended.set)
        stack.callback(self._stopping.set)

    def _spread_roles(self, membership: Membership) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            self.steps.attempt("roles", functools.partial(self.roles.spread, membership))

    def _listen_to_hints(self) -> None:
        """Wake the matcher when another replica has stored records."""
        if not self._app.database.listen(self._app.wake_matcher, self._stopping):
            log.info(
                "record_hints_off",
                why="a pooler is between this process and PostgreSQL: the matcher looks for records instead",
            )
            self._stopping.wait()

    def _leading(self) -> Role:
        """Return the role that matches, and does what the store needs once."""

        def begin() -> None:
            self._app.begin_leading()
            self._clock_watch.start()
            self.reloader.start()
            self.steps.start()
            self._forget_steps(LEADER)

        def end() -> None:
            self._app.matcher.stop()
            self._app.wake_matcher()

        return Role(LEADER, begin, end, functools.partial(self._run_steps, LEADER), is_movable=False)

    def _tailing(self, source: Source) -> Role:
        """Return the role that tails a source."""
        role = tail_role(source.name)

        def begin() -> None:
            self._app.begin_tailing(source)
            self._forget_steps(role)

        def end() -> None:
            self._app.tails[source.name].stop()

        return Role(role, begin, end, functools.partial(self._run_steps, role))

    def _forget_steps(self, role: str) -> None:
        """Forget how the steps of a role went before."""
        for step, _ in self._jobs_of[role]:
            self.steps.forget(step)

    def _run_steps(self, role: str) -> None:
        """Run the steps of a role now."""
        if self._is_scheduling:
            for _, job in self._jobs_of[role]:
                run_now(job)

    def _note_replicas(self, before: Roster, now: Roster) -> None:
        """Take up the messages of a replica that has ended. The thread that renews leases calls it: it must not wait."""
        if before.hosts.keys() - now.hosts.keys():
            self._worker.recover_soon()

    def _follow_clock(self, step: timedelta) -> None:
        for tail in self._app.tails.values():
            tail.follow_clock(step)

    def _reload_changed(self) -> None:
        """Load files when they change."""
        attempt = functools.partial(self.steps.attempt, "reload")
        self.reloader.watch(self._stopping, attempt, self.leads)

    def _listen_to_buttons(self, stack: contextlib.ExitStack) -> None:
        """Start the listener of each receiver with buttons. A click is an action of the user who clicked."""
        actions = self._app.operator_actions(self._worker.wake)
        for receiver in self._app.settings.receivers:
            make = getattr(notifier_module(receiver.type), "listener", None)
            reference_of = functools.partial(self._reference_of, receiver.name)
            listener = make and make(receiver.options, actions.act, reference_of, receiver=receiver.name)
            if listener is not None:
                listener.start()
                stack.callback(listener.close)
                self._button_checks[receiver.name] = listener.check

    def _reference_of(self, receiver: str, alert_id: str) -> str | None:
        """Return what a receiver called its message about an alert."""
        with self._app.database.read() as connection:
            return receivers.read_references(connection, [alert_id], receiver).get(alert_id)

    def _web(self) -> contextlib.AbstractContextManager[str]:
        # Only the service needs starlette and uvicorn, which take long to import.
        from actionwatch.web.routes import api_routes, console_routes, health_routes, metrics_routes
        from actionwatch.web.server import serving

        app, options, parts = self._app, self._app.settings.web, self._parts()
        routes = [
            *health_routes(app.database, app.poll_intervals, self.threads.are_alive, self._ages, self._reasons),
            *metrics_routes(app.database, app.tails.keys(), app.clock, self._dropped_groups, self.roles.held),
            *api_routes(parts),
            *console_routes(parts),
        ]
        address = options.listen
        return serving(
            routes, address.host, address.port, self._access(), self.threads.start, names=options.served_names
        )

    def _access(self) -> Access:
        from actionwatch.web.access import Access

        app, options = self._app, self._app.settings.web
        role = AccessRole.OPERATOR if self._open_to_actions else AccessRole.READER
        open_to = None if options.is_token_required else role
        return Access(
            options.access_token,
            app.database,
            app.clock,
            open_to=open_to,
            proxy=trusted_proxy(options),
            openid=openid_provider(options, app.clock),
        )

    def _parts(self) -> Parts:
        from actionwatch.service.trial import Trials
        from actionwatch.web.parts import Destination, Parts
        from actionwatch.web.routes import read_unready

        app = self._app
        return Parts(
            database=app.database,
            clock=app.clock,
            sources=app.poll_intervals.keys(),
            receivers=[Destination(each.name, each.type, each.rate_per_second) for each in app.settings.receivers],
            unready=lambda: [
                *read_unready(app.database, app.poll_intervals, self._ages()),
                *self._reasons(),
            ],
            stretches=lambda connection, source, since: read_stretches(connection, source, app.settings, since),
            blindness=lambda connection, since, now: read_blindness(
                connection, app.settings, app.rules.rules, since, now
            ),
            rules=lambda: app.rules.rules,
            lists=lambda: known_lists(app.settings),
            actions=app.operator_actions(self._worker.wake),
            dead_letters=app.dead_letters(self._worker.wake),
            previews=lambda connection, made, now: list(map(str, preview(connection, made, now))),
            doubts=lambda made: find_doubts(app.settings, app.rules, made, app.clock()),
            try_draft=Trials(app.settings).run,
            max_silence=app.settings.max_silence,
            is_stopping=self._stopping.is_set,
            roster=lambda: self.roles.roster if app.database.is_shared else None,
        )

    def _scheduler(self, membership: Membership) -> BlockingScheduler:
        """Schedule one job for each source and for each other step that runs at intervals. Jobs do not delay each other."""
        app = self._app
        scheduler = make_scheduler(self._jobs)
        add = functools.partial(self._schedule, scheduler)
        for source in app.tails:  # first, because the first poll of each waits a little for it
            add(
                f"accounts {source}", functools.partial(self._list_accounts, source), LIST_EVERY, role=tail_role(source)
            )
        for source, interval in app.poll_intervals.items():
            progress = functools.partial(self._backlog, source)
            poll = functools.partial(self._poll, source)
            add(f"tail {source}", poll, interval, progress=progress, role=tail_role(source))
        for receiver, check in self._button_checks.items():
            add(f"buttons {receiver}", check, CHECK_EVERY, is_first_now=False)
        add("send", self._worker.check_sends, CHECK_EVERY, is_first_now=False)
        if app.database.path is not None:
            add("disk", functools.partial(check_disk, app.database.path, app.self_alerts), DISK_EVERY)
        if self._heartbeat:
            add("heartbeat", self._heartbeat.run_once, app.settings.heartbeat.interval, is_first_now=False, role=LEADER)
        if self._traces is not None:
            add("telemetry", self._traces.run_once, EXPORT_EVERY)
        if self._replicas is not None:
            add("replicas", functools.partial(self._compare, self._replicas, membership), REPLICAS_EVERY)
        if self._watch:
            add("configuration", self._watch.run_once, LOOK_EVERY)
        add("silences", self.reloader.load_silences, SILENCES_EVERY, is_first_now=False, role=LEADER)
        add("prune", self._prune, PRUNE_EVERY, role=LEADER)
        add("seal", self._sealing.run_once, SEAL_EVERY, role=LEADER)
        return scheduler

    def _schedule(
        self,
        scheduler: BlockingScheduler,
        step: str,
        run: Callable[[], object],
        every: timedelta,
        *,
        is_first_now: bool = True,
        progress: Callable[[], object] = lambda: None,
        role: str | None = None,
    ) -> None:
        """Run a step at intervals, and watch it. One of a role runs only while this process has the role."""
        failures = FAILURES if every < RARE else 1
        self.steps.add(step, failures=failures, progress=progress, is_of_role=role is not None)
        work = functools.partial(self._attempt_as, role, step, run)
        job = add_job(scheduler, work, every, is_first_now=is_first_now)
        if role is not None:
            self._jobs_of[role].append((step, job))

    def _attempt_as(self, role: str | None, step: str, run: Callable[[], object]) -> None:
        """Run a step, if this process has the role that it needs."""
        with self.roles.working(role) as is_mine:
            if is_mine:
                self.steps.attempt(step, run)

    def _list_accounts(self, source: str) -> None:
        self._app.account_watches[source].run_once()

    def _poll(self, source: str) -> None:
        self._app.tails[source].run_if_due()

    def _compare(self, replicas: ReplicaWatch, membership: Membership) -> None:
        """Tell the others what this replica runs with; on the leader, compare them, and settle what ended replicas left."""
        membership.publish(replicas.digest())
        if self.leads():
            self._app.leading_alerts.settle_gone(self.roles.roster.hosts)
            replicas.compare(self.roles.roster)

    def _prune(self) -> None:
        app = self._app
        with app.database.read() as connection:
            back = prune.look_back(connection, app.settings.sources, app.rules.rules)
        prune.run_once(app.leading, app.settings.store.retention, app.clock(), back)

    def _watch_clock(self, scheduler: BlockingScheduler) -> None:
        def watch() -> None:
            catch_up(scheduler)
            self._clock_watch.run_once()

        while not self._stopping.wait(CLOCK_SECONDS):
            self.steps.attempt("clock", watch)
            self.steps.look()

    def _positions(self) -> object:
        with self._app.database.read() as connection:
            return positions.read_both(connection)

    def _backlog(self, source: str) -> object:
        with self._app.database.read() as connection:
            return backlog_progress.read_all(connection).get(source)

    def _ages(self) -> dict[str, timedelta | None]:
        """Return how long ago each source that this process tails was last polled."""
        return {name: tail.age for name, tail in self._app.tails.items() if self.roles.has(tail_role(name))}

    def _dropped_groups(self) -> int:
        return self._app.matcher.dropped_groups if self.leads() else 0

    def _reasons(self) -> Iterator[str]:
        """Describe each step that fails, and each role that no replica has."""
        yield from self.steps.reasons()
        yield from self.roles.missing()

    def _match(self) -> None:
        while not self._stopping.is_set():
            self._app.wait_for_records(MATCH_SECONDS)
            self._attempt_as(LEADER, "match", self._match_once)
        if self.leads():
            self.steps.attempt("match", self._app.matcher.save)

    def _match_once(self) -> None:
        if self._app.matcher.run_once():
            self._worker.wake()

    def _stop_threads(self) -> None:
        """Stop all threads except the web listener and the one that keeps the lease, which stop last."""
        deadline = time.monotonic() + self._stop_seconds
        self._stopping.set()
        self.roles.end()
        self._app.wake_matcher()
        self._worker.stop()
        others = [name for name in self.threads.are_alive() if name not in ("web", "lease")]
        for name in others:
            self.threads.join(name, max(deadline - time.monotonic(), 0))
        job_count = self._jobs.join(max(deadline - time.monotonic(), 0))
        alive = [name for name in others if self.threads.are_alive()[name]]
        if alive or job_count:
            log.warning(
                "threads_left", threads=alive, jobs=job_count, remedy="the next start repeats what they did not commit"
            )
        else:  # otherwise one of them may hold the write lock
            self._attempt_as(LEADER, "seal", self._sealing.finish)


def _build_traces(options: Telemetry | None) -> TraceExporter | None:
    """Build what sends spans. Only where it is configured, because the library takes long to import."""
    if options is None:
        return None
    from actionwatch.service.telemetry import TraceExporter

    return TraceExporter(options)
