"""The running service: the scheduler, the threads and the web listener around an `App`; and what a signal makes of it.

SIGHUP has the files read anew. A configuration that changed is taken up whole: the service ends cleanly and starts with it, in
this process; one that is broken, or with which it does not start, leaves the one before in use, and people are told.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol, TypeVar

import structlog
from apscheduler.schedulers.blocking import BlockingScheduler

from actionwatch.base.errors import ActionwatchError, ConfigError, Fault
from actionwatch.notifiers.base import notifier_module
from actionwatch.service import prune
from actionwatch.service.app import App, build_heartbeat, set_up_logs
from actionwatch.service.clock_watch import ClockWatch
from actionwatch.service.configuration import read_settings
from actionwatch.service.lookback import look_back
from actionwatch.service.organisations import refuse_other_organisations
from actionwatch.service.reload import Reloader
from actionwatch.service.schedule import add_job, catch_up, make_scheduler, start
from actionwatch.service.signals import Asked
from actionwatch.service.step_watch import FAILURES, StepWatch
from actionwatch.settings import Settings
from actionwatch.store import backlog_progress, positions
from actionwatch.tail.health import judge_disk

SILENCES_EVERY = timedelta(seconds=30)  # how soon a change of the files is seen
CLOCK_SECONDS = 1.0  # how soon a step of the clock is seen
MATCH_SECONDS = 5.0  # the matcher looks by itself this often; new records wake it at once
PRUNE_EVERY = timedelta(hours=1)
DISK_EVERY = timedelta(minutes=1)
CHECK_EVERY = timedelta(minutes=1)
RARE = timedelta(minutes=10)  # a step that runs less often counts as failing at its first failure

log = structlog.get_logger()

Result = TypeVar("Result")


def serve(config: Path, settings: Settings, asked: Asked) -> None:
    """Run the service until it is asked to end, taking up a changed configuration whenever it is asked to "reload".

    Raises: whatever keeps it from starting with the settings it is given.
    """
    before: Settings | None = None
    refused: Fault | None = None
    while True:
        try:
            with contextlib.closing(App(settings)) as app:
                refuse_other_organisations(settings, config, app.database)
                service = Service(app, refused, on_death=functools.partial(asked.ask, "died"))
                with service.running():
                    before = refused = None
                    following = _wait(service, config, settings, asked)
                if following is not None:
                    service.wait_for_matcher()
        except Exception as exc:
            if before is None:
                raise  # a first start, or no matter of the configuration
            log.error("configuration_refused", file=str(config), error=str(exc))
            refused = Fault(str(config), 0, 0, f"the service does not start with it: {exc}", "fix it and reload")
            settings, before = before, None
            set_up_logs(settings)
            continue
        if following is None:
            return
        before, settings = settings, following
        set_up_logs(settings)


def _wait(service: Service, config: Path, settings: Settings, asked: Asked) -> Settings | None:
    """Wait for the end (None), or for settings that are others; meanwhile do what is asked.

    Raises: ThreadDied.
    """
    while (word := asked.wait()) != "end":
        service.check_threads()
        if word != "reload":
            continue
        try:
            found = read_settings(config)
        except ConfigError as exc:
            for fault in exc.faults:
                log.error("configuration_refused", fault=str(fault))
            service.steps.attempt("reload", functools.partial(service.reloader.refuse, config, exc.faults))
        else:
            if found != settings:
                log.info("configuration_changed", file=str(config))
                return found
            service.steps.attempt("reload", functools.partial(service.reloader.accept, config))
        service.reload()
    return None


@dataclass(frozen=True, slots=True)
class Round:
    """What one round came to: why which steps failed, and up to when messages were due in it."""

    failures: list[str]
    due_until: datetime


def run_once(app: App, wait: timedelta) -> Round:
    """Poll each source once, match, deliver what is due, and wait for retries due within `wait`.

    A step that fails keeps none of the others from being done.
    """
    failures: list[str] = []
    steps = StepWatch(app.troubles)
    polls = [f"tail {source.name}" for source in app.settings.sources]
    for name in (*polls, "disk", "clock", "match", "deliver"):
        steps.add(name, failures=1)
    with app.database.owned():
        clock_watch = ClockWatch(app.clock, app.database, app.troubles, [tail.follow_clock for tail in app.tails])
        clock_watch.start()
        Reloader(app).start()
        steps.start()
        attempt = functools.partial(_attempt, steps, failures)
        for source, poll, tail in zip(app.settings.sources, polls, app.tails, strict=True):
            report = attempt(poll, tail.run_once)
            if report is not None and report.error is not None:
                failures.append(str(report.error))
            elif report is not None and app.database.write_failure is not None:
                failures.append(f"poll of {source.name} not recorded: {app.database.write_failure}")
        attempt("disk", functools.partial(judge_disk, app.database.path, app.troubles))
        attempt("clock", clock_watch.run_once)  # a backlog may have taken hours
        attempt("match", app.matcher.run_once)
        due_until = app.clock() + wait
        attempt("deliver", functools.partial(app.deliverer().drain, wait))
    return Round(failures, due_until)


def _attempt(steps: StepWatch, failures: list[str], step: str, run: Callable[[], Result]) -> Result | None:
    """Run a step of a round; what it raises is logged, reported, and added to the failures."""
    try:
        result = run()
    except Exception as exc:
        steps.note_failure(step, exc)
        failures.append(f"{step}: {exc if isinstance(exc, ActionwatchError) else repr(exc)}")
        return None
    steps.note_success(step)
    return result


class ThreadDied(ActionwatchError):
    """A thread of the service ended though nobody stopped it: the process ends, so that its supervisor restarts it."""


class Listener(Protocol):
    """What hears the buttons of a receiver."""

    def check(self) -> None:
        """Check that presses are heard.

        Raises: ActionwatchError.
        """
        ...


class Service:
    """The running service: a scheduler for the polls, a thread each for matching and delivering, the web listener."""

    def __init__(self, app: App, refused: Fault | None = None, on_death: Callable[[], None] = lambda: None) -> None:
        """`refused`: why it does not run with another configuration.

        `on_death` is called in a thread that ends though nobody stopped it; `check_threads` raises then.
        """
        self._app = app
        self._on_death = on_death
        self._deaths: list[str] = []
        self.steps = StepWatch(app.troubles)
        self._listeners: dict[str, Listener] = {}
        self.reloader = Reloader(app, refused)
        self._deliverer = app.deliverer()
        self._heartbeat = build_heartbeat(app)
        followers = [self._deliverer.follow_clock, *(tail.follow_clock for tail in app.tails)]
        self._clock_watch = ClockWatch(app.clock, app.database, app.troubles, followers)
        self._stopping = threading.Event()
        self._threads: dict[str, threading.Thread] = {}
        self._joined: list[threading.Thread] = []
        """Those that end when `_stopping` is set; the web listener stops its own."""
        self.url = ""

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run until the block ends, then end cleanly: what is being sent is finished and recorded."""
        settings = self._app.settings
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._app.database.owned())
            self._clock_watch.start()
            self.reloader.start()
            for name in ("deliver", "reload", "clock"):
                self.steps.add(name)
            self.steps.add("match", progress=self._positions)
            self._listen_to_buttons(stack)
            scheduler = self._scheduler()
            self.steps.start()
            self.url = stack.enter_context(self._web())
            stack.callback(self._stop_threads)
            self._start("match", self._match)
            self._start(
                "deliver", functools.partial(self._deliverer.run, functools.partial(self.steps.attempt, "deliver"))
            )
            watching = functools.partial(self.steps.attempt, "reload")
            self._start("reload", functools.partial(self.reloader.watch, self._stopping, watching))
            start(scheduler, functools.partial(self._start, "schedule"))
            stack.callback(scheduler.shutdown, wait=True)
            self._start("clock", functools.partial(self._watch_clock, scheduler))
            stack.callback(self._stop_polling)
            if self._heartbeat:
                stack.callback(self._heartbeat.close)
            sources = [source.name for source in settings.sources]
            log.info("service_started", sources=sources, rules=len(self._app.rules.rules), url=self.url)
            yield
            log.info("service_stopping")
        log.info("service_stopped")

    def reload(self) -> None:
        """Take up what changed in any file, now."""
        self.steps.attempt("reload", self.reloader.run_once)
        self.steps.attempt("silences", self._app.reread_silences)

    def wait_for_matcher(self) -> None:
        """Wait, as long as it takes, until the matching has ended: two at once must not be."""
        self._threads["match"].join()

    def workers(self) -> dict[str, bool]:
        """Say which of the threads live."""
        return {name: thread.is_alive() for name, thread in self._threads.items()}

    def check_threads(self) -> None:
        """Check that no thread has ended.

        Raises: ThreadDied.
        """
        if self._deaths:
            raise ThreadDied(f"{self._deaths[0]}: the log has the traceback; the process ends, restart it")

    def _listen_to_buttons(self, stack: contextlib.ExitStack) -> None:
        """Where a receiver has buttons, have presses carried out as decisions of whoever pressed."""
        actions = self._app.operator_actions(self._deliverer.wake)
        for receiver in self._app.settings.receivers:
            make = getattr(notifier_module(receiver.type), "listener", None)
            listener = make and make(receiver.options, actions.act, receiver=receiver.name)
            if listener is not None:
                listener.start()
                stack.callback(listener.close)
                self._listeners[receiver.name] = listener

    def _web(self) -> contextlib.AbstractContextManager[str]:
        # starlette and uvicorn are for the service alone; other commands need not wait for them.
        from actionwatch.web.health import health_routes
        from actionwatch.web.scrapes import metrics_routes
        from actionwatch.web.server import serving

        settings, database = self._app.settings, self._app.database
        intervals = {source.name: source.poll_interval for source in settings.sources}
        metrics = metrics_routes(database, intervals.keys(), self._app.clock, lambda: self._app.matcher.dropped_groups)
        web = [*health_routes(database, intervals, self.workers, self._ages, self.steps.reasons), *metrics]
        listen = settings.web.listen
        return serving(web, listen.host, listen.port, settings.web.access_token, self._start_thread)

    def _scheduler(self) -> BlockingScheduler:
        """One job a source, and one for each other step that is run at intervals; a stuck one delays no other."""
        app = self._app
        scheduler = make_scheduler(len(app.tails) + len(self._listeners) + 5)

        def add(
            step: str,
            run: Callable[[], object],
            every: timedelta,
            *,
            is_first_now: bool = True,
            progress: Callable[[], object] = lambda: None,
        ) -> None:
            self.steps.add(step, failures=FAILURES if every < RARE else 1, progress=progress)
            add_job(scheduler, functools.partial(self.steps.attempt, step, run), every, is_first_now=is_first_now)

        for source, tail in zip(app.settings.sources, app.tails, strict=True):
            progress = functools.partial(self._backlog, source.name)
            add(f"tail {source.name}", tail.run_once, source.poll_interval, progress=progress)
        for receiver, listener in self._listeners.items():
            add(f"buttons {receiver}", listener.check, CHECK_EVERY, is_first_now=False)
        add("send", self._deliverer.check_sends, CHECK_EVERY, is_first_now=False)
        add("disk", functools.partial(judge_disk, app.database.path, app.troubles), DISK_EVERY)
        if self._heartbeat:
            add("heartbeat", self._heartbeat.run_once, app.settings.heartbeat.interval, is_first_now=False)
        add("silences", app.reread_silences, SILENCES_EVERY, is_first_now=False)
        keep = app.settings.store.retention
        retention = prune.Retention(keep.records, keep.deliveries, keep.receipts)
        add("prune", functools.partial(_prune, app, retention), PRUNE_EVERY)
        return scheduler

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
        """Say how long ago each source was last polled."""
        names = [source.name for source in self._app.settings.sources]
        return {name: tail.age for name, tail in zip(names, self._app.tails, strict=True)}

    def _match(self) -> None:
        while not self._stopping.is_set():
            self._app.wait_for_records(MATCH_SECONDS)
            self.steps.attempt("match", self._match_once)

    def _match_once(self) -> None:
        if self._app.matcher.run_once():
            self._deliverer.wake()

    def _start(self, name: str, target: Callable[[], None]) -> None:
        self._joined.append(self._start_thread(name, target))

    def _start_thread(self, name: str, target: Callable[[], None]) -> threading.Thread:
        """Start a thread whose end, unless the service stops, ends the process."""
        thread = threading.Thread(target=self._run_thread, args=(name, target), name=name, daemon=True)
        self._threads[name] = thread
        thread.start()
        return thread

    def _run_thread(self, name: str, target: Callable[[], None]) -> None:
        raised: BaseException | None = None
        try:
            target()
        except BaseException as exc:
            raised = exc
        if raised is not None or not self._stopping.is_set():
            self._deaths.append(f"the thread {name} ended" + (f" with {raised!r}" if raised else ""))
            self._on_death()  # first: to write a log takes memory, which may be what is missing
            log.critical("thread_died", thread=name, error=repr(raised), exc_info=raised)

    def _stop_polling(self) -> None:
        for tail in self._app.tails:
            tail.stop()

    def _stop_threads(self) -> None:
        self._stopping.set()
        self._app.matcher.stop()
        self._app.wake_matcher()
        self._deliverer.stop()
        for thread in self._joined:
            thread.join(10)


def _prune(app: App, retention: prune.Retention) -> None:
    with app.database.read() as connection:
        back = look_back(connection, app.settings.sources, app.rules.rules)
    prune.run_once(app.database, retention, app.clock(), back)
