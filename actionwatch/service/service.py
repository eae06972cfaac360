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
from typing import TypeVar

import structlog
from apscheduler.schedulers.background import BackgroundScheduler

from actionwatch.base.errors import ActionwatchError, ConfigError, Fault
from actionwatch.notifiers.base import notifier_module
from actionwatch.service import prune
from actionwatch.service.app import App, build_heartbeat, set_up_logs
from actionwatch.service.clock_watch import ClockWatch
from actionwatch.service.configuration import read_settings
from actionwatch.service.lookback import look_back
from actionwatch.service.organisations import refuse_other_organisations
from actionwatch.service.reload import Reloader
from actionwatch.service.schedule import add_job, catch_up, make_scheduler
from actionwatch.service.signals import Asked
from actionwatch.settings import Settings
from actionwatch.tail.health import judge_disk

SILENCES_EVERY = timedelta(seconds=30)  # how soon a change of the files is seen
CLOCK_SECONDS = 1.0  # how soon a step of the clock is seen
MATCH_SECONDS = 5.0  # the matcher looks by itself this often; new records wake it at once
PRUNE_EVERY = timedelta(hours=1)
DISK_EVERY = timedelta(minutes=1)

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
                service = Service(app, refused)
                with service.running():
                    before = refused = None
                    following = _wait(service, config, settings, asked)
                if following is not None:
                    service.wait_for_matcher()
        except Exception as exc:
            if before is None:
                raise  # a first start, or no matter of the configuration
            log.error("configuration_refused", file=str(config), error=str(exc))
            refused = Fault(
                str(config), 0, 0, f"the service does not start with it: {exc}", "mend it, then reload again"
            )
            settings, before = before, None
            set_up_logs(settings)
            continue
        if following is None:
            return
        before, settings = settings, following
        set_up_logs(settings)


def _wait(service: Service, config: Path, settings: Settings, asked: Asked) -> Settings | None:
    """Wait for the end (None), or for settings that are others; meanwhile do what is asked."""
    while asked.wait() == "reload":
        try:
            found = read_settings(config)
        except ConfigError as exc:
            for fault in exc.faults:
                log.error("configuration_refused", fault=str(fault))
            guarded("refuse", functools.partial(service.reloader.refuse, config, exc.faults))
        else:
            if found != settings:
                log.info("configuration_changed", file=str(config))
                return found
            guarded("accept", functools.partial(service.reloader.accept, config))
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
    with app.database.owned():
        clock_watch = ClockWatch(app.clock, app.database, app.troubles, [tail.follow_clock for tail in app.tails])
        clock_watch.start()
        Reloader(app).start()
        for source, tail in zip(app.settings.sources, app.tails, strict=True):
            report = _attempt(f"poll of {source.name}", tail.run_once, failures)
            if report is not None and report.error is not None:
                failures.append(str(report.error))
            elif report is not None and app.database.write_failure is not None:
                failures.append(f"poll of {source.name} not recorded: {app.database.write_failure}")
        _attempt("disk", functools.partial(judge_disk, app.database.path, app.troubles), failures)
        _attempt("clock", clock_watch.run_once, failures)  # a backlog may have taken hours
        _attempt("match", app.matcher.run_once, failures)
        due_until = app.clock() + wait
        _attempt("deliver", functools.partial(app.deliverer().drain, wait), failures)
    return Round(failures, due_until)


def _attempt(step: str, run: Callable[[], Result], failures: list[str]) -> Result | None:
    """Run a step of a round; what it raises is logged and noted as a failure."""
    try:
        return run()
    except ActionwatchError as exc:
        log.error("step_failed", step=step, error=str(exc))
        failures.append(f"{step}: {exc}")
    except Exception as exc:
        log.exception("step_failed", step=step, error=str(exc))
        failures.append(f"{step}: {exc!r}")
    return None


class Service:
    """The running service: a scheduler for the polls, a thread each for matching and delivering, the web listener."""

    def __init__(self, app: App, refused: Fault | None = None) -> None:
        """`refused`: why it does not run with another configuration."""
        self._app = app
        self.reloader = Reloader(app, refused)
        self._deliverer = app.deliverer()
        self._heartbeat = build_heartbeat(app)
        followers = [self._deliverer.follow_clock, *(tail.follow_clock for tail in app.tails)]
        self._clock_watch = ClockWatch(app.clock, app.database, app.troubles, followers)
        self._stopping = threading.Event()
        self._threads: dict[str, threading.Thread] = {}
        self.url = ""

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Run until the block ends, then end cleanly: what is being sent is finished and recorded."""
        settings = self._app.settings
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._app.database.owned())
            self._clock_watch.start()
            self.reloader.start()
            self.url = stack.enter_context(self._web())
            stack.callback(self._stop_threads)
            self._start("match", self._match)
            self._start("deliver", self._deliverer.run)
            self._start("reload", functools.partial(self.reloader.watch, self._stopping))
            self._listen_to_buttons(stack)
            scheduler = self._scheduler()
            scheduler.start()
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
        guarded("reload", self.reloader.run_once)
        guarded("silences", self._app.reread_silences)

    def wait_for_matcher(self) -> None:
        """Wait, as long as it takes, until the matching has ended: two at once must not be."""
        self._threads["match"].join()

    def workers(self) -> dict[str, bool]:
        """Say which of the threads live."""
        return {name: thread.is_alive() for name, thread in self._threads.items()}

    def _listen_to_buttons(self, stack: contextlib.ExitStack) -> None:
        """Where a receiver has buttons, have presses carried out as decisions of whoever pressed."""
        people = self._app.people(self._deliverer.wake)
        for receiver in self._app.settings.receivers:
            make = getattr(notifier_module(receiver.type), "listener", None)
            listener = make and make(receiver.options, people.act, receiver=receiver.name)
            if listener is not None:
                listener.start()
                stack.callback(listener.close)

    def _web(self) -> contextlib.AbstractContextManager[str]:
        # starlette and uvicorn are for the service alone; other commands need not wait for them.
        from actionwatch.web.health import health_routes
        from actionwatch.web.scrapes import metrics_routes
        from actionwatch.web.server import serving

        settings, database = self._app.settings, self._app.database
        intervals = {source.name: source.poll_interval for source in settings.sources}
        metrics = metrics_routes(database, intervals.keys(), self._app.clock, lambda: self._app.matcher.dropped_groups)
        web = [*health_routes(database, intervals, self.workers, self._ages), *metrics]
        return serving(web, settings.web.listen.host, settings.web.listen.port, settings.web.access_token)

    def _scheduler(self) -> BackgroundScheduler:
        """One job a source, each with a thread of its own, so that a stuck source delays no other."""
        app = self._app
        scheduler = make_scheduler(len(app.tails) + 4)

        def add(step: str, run: Callable[[], object], every: timedelta, *, is_first_now: bool = True) -> None:
            add_job(scheduler, functools.partial(guarded, step, run), every, is_first_now=is_first_now)

        for source, tail in zip(app.settings.sources, app.tails, strict=True):
            add(f"tail {source.name}", tail.run_once, source.poll_interval)
        add("disk", functools.partial(judge_disk, app.database.path, app.troubles), DISK_EVERY)
        if self._heartbeat:
            add("heartbeat", self._heartbeat.run_once, app.settings.heartbeat.interval, is_first_now=False)
        add("silences", app.reread_silences, SILENCES_EVERY, is_first_now=False)
        keep = app.settings.store.retention
        retention = prune.Retention(keep.records, keep.deliveries, keep.receipts)
        add("prune", functools.partial(_prune, app, retention), PRUNE_EVERY)
        return scheduler

    def _watch_clock(self, scheduler: BackgroundScheduler) -> None:
        while not self._stopping.wait(CLOCK_SECONDS):
            guarded("clock", functools.partial(catch_up, scheduler))
            guarded("clock", self._clock_watch.run_once)

    def _ages(self) -> dict[str, timedelta | None]:
        """Say how long ago each source was last polled."""
        names = [source.name for source in self._app.settings.sources]
        return {name: tail.age for name, tail in zip(names, self._app.tails, strict=True)}

    def _match(self) -> None:
        while not self._stopping.is_set():
            self._app.wait_for_records(MATCH_SECONDS)
            if guarded("match", self._app.matcher.run_once):
                self._deliverer.wake()

    def _start(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads[name] = thread
        thread.start()

    def _stop_polling(self) -> None:
        for tail in self._app.tails:
            tail.stop()

    def _stop_threads(self) -> None:
        self._stopping.set()
        self._app.matcher.stop()
        self._app.wake_matcher()
        self._deliverer.stop()
        for thread in self._threads.values():
            thread.join(10)


def _prune(app: App, retention: prune.Retention) -> None:
    with app.database.read() as connection:
        back = look_back(connection, app.settings.sources, app.rules.rules)
    prune.run_once(app.database, retention, app.clock(), back)


def guarded(step: str, run: Callable[[], Result]) -> Result | None:
    """Run one step; whatever it raises is logged, and the next run tries again: no step may end the service."""
    try:
        return run()
    except Exception as exc:
        log.exception("step_failed", step=step, error=str(exc))
        return None
