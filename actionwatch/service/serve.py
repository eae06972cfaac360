"""`run`: run the service until a signal stops it, and restart it in the same process with a changed configuration.

SIGHUP reads the configuration again. If only its sources changed, the service tails the new ones without a pause. If anything
else changed, it stops cleanly and starts with the new one. If the new one is broken, or the service cannot start with it, the
previous one stays in use and a self-alert reports the reason.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import structlog

from actionwatch.base.errors import ConfigError, Fault, StoreUnreachable
from actionwatch.service.announcement import Announcement, configuration_state
from actionwatch.service.app import App, set_up_logs
from actionwatch.service.configuration import read_settings, read_sources
from actionwatch.service.configuration_watch import (
    ConfigurationWatch,
    SourceFilesWatch,
    changes,
    differ_only_in_sources,
)
from actionwatch.service.organisations import refuse_other_organisations
from actionwatch.service.replicas import ReplicaWatch
from actionwatch.service.service import Service
from actionwatch.service.signals import Asked
from actionwatch.service.store_wait import wait_for_store
from actionwatch.settings import Settings
from actionwatch.store.membership import Membership

_UNCHANGED = "the configuration did not change"
_PREVIOUS = "the previous configuration stays in use"
# SQLite's driver lets other threads run at each row, and a thread that computes keeps its turn for 5 ms by default: ten streams
# would make a batch of records wait for seconds.
_SWITCH_SECONDS = 0.0005

log = structlog.get_logger()


class Screen(Protocol):
    """The view of the services of a process for a person."""

    def started(self, app: App, url: str) -> None:
        """Show the parts and the URL of a service that started."""

    def stopping(self) -> None:
        """Show that the process was asked to end, and waits for what its threads have begun."""


def serve(config: Path, settings: Settings, asked: Asked, screen: Screen | None = None) -> None:
    """Run the service until it is asked to end, with the newest valid configuration.

    Raises: any error that prevents the first start, and ThreadDied.
    """
    if settings.streams:
        sys.setswitchinterval(_SWITCH_SECONDS)
    process = _Process(config, settings, asked, screen)
    while process.run_service():
        pass


@dataclass(frozen=True, slots=True)
class _RefusedChange:
    """A configuration with which the service did not start, and why."""

    settings: Settings
    fault: Fault


@dataclass(frozen=True, slots=True)
class _Running:
    """A service that runs."""

    app: App
    service: Service
    watch: ConfigurationWatch
    membership: Membership


class _Process:
    """The services that follow each other in one process, each with its own configuration."""

    def __init__(self, config: Path, settings: Settings, asked: Asked, screen: Screen | None) -> None:
        self._config = config
        self._screen = screen
        self._settings = settings
        self._asked = asked
        self._before: Settings | None = None
        """The configuration to return to if the service does not start with the newest one."""
        self._refused: _RefusedChange | None = None
        self._reported_through: int | None = None
        """The newest entry in the history of the rules that a report has named."""
        self._state = configuration_state(config)
        self._announcement = Announcement(self._state)

    def run_service(self) -> bool:
        """Run one service to its end. Return whether another one follows."""
        try:
            with contextlib.closing(App(self._settings)) as app:
                refuse_other_organisations(self._settings, self._config, app.database)
                service, watch = self._build(app)
                with service.running() as membership:
                    running = _Running(app, service, watch, membership)
                    self._announce(service, watch, membership)
                    if self._screen:
                        self._screen.started(app, service.url)
                    self._before = self._refused = None
                    changed = self._wait(running)
                    if changed is None and self._screen:
                        self._screen.stopping()
                if changed is not None:
                    service.threads.join("match", None)  # without a limit: two matchers must not run at once
        except StoreUnreachable as exc:
            return wait_for_store(self._settings, exc, self._asked) and self._read_again()
        except Exception as exc:
            if self._before is None:
                raise  # the first start failed, or the configuration did not change
            log.error("configuration_refused", file=str(self._config), error=str(exc))
            what = f"the service cannot start with it: {exc}"
            self._refused = _RefusedChange(self._settings, Fault(str(self._config), 0, 0, what, "fix it and reload"))
            changed, self._before = self._before, None
        else:
            self._before = self._settings
        if changed is None:
            return False
        self._settings = changed
        set_up_logs(changed)
        return True

    def _read_again(self) -> bool:
        """Use the configuration as it is now, because it may have changed while the store was away. Return True."""
        self._state = configuration_state(self._config)
        try:
            found = read_settings(self._config)
        except ConfigError as exc:
            for fault in exc.faults:
                log.error("configuration_refused", fault=str(fault))
            return True
        if found != self._settings:
            self._before, self._settings = self._settings, found
            set_up_logs(found)
        return True

    def _build(self, app: App) -> tuple[Service, ConfigurationWatch]:
        refused = self._refused
        watch = ConfigurationWatch(
            self._config,
            self._settings,
            app.own_alerts,
            self._asked.ask,
            refused.settings if refused else None,
        )
        on_death = functools.partial(self._asked.ask, "died")
        replicas = ReplicaWatch(self._config, self._settings, app.leading_alerts) if app.database.is_shared else None
        fault = refused.fault if refused else None
        files = self._settings.source_files
        sources = SourceFilesWatch(files.path, self._asked.ask) if files is not None else None
        service = Service(app, fault, on_death=on_death, watch=watch, sources=sources, replicas=replicas)
        return service, watch

    def _announce(self, service: Service, watch: ConfigurationWatch, membership: Membership) -> None:
        """Let commands find the service, and report the result of the reload that started it."""
        self._announcement.start(membership)
        if not service.leads():
            watch.is_refused = False  # only the leader has reported it
        loaded = self._loaded(service)
        if self._refused is not None:
            faults = [str(self._refused.fault), *service.reloader.faults]
            self._announcement.end_reload([_PREVIOUS, *loaded], faults)
        elif self._before is not None:
            self._announcement.use(self._state)
            lines = [*changes(self._before, self._settings), *loaded]
            self._announcement.end_reload(lines, service.reloader.faults)

    def _wait(self, running: _Running) -> Settings | None:
        """Wait until the service is asked to end (None), or finds a changed configuration; reload files when asked.

        Raises: ThreadDied.
        """
        while (word := self._asked.wait()) != "end":
            running.service.threads.check()
            if word == "reload":
                found = self._reload(running)
                if found is not None:
                    return found
            elif word == "sources":
                self._read_sources(running)
        return None

    def _reload(self, running: _Running) -> Settings | None:
        """Read everything again. Return the configuration if the service must start again for it."""
        self._state = configuration_state(self._config)
        lines, faults = [_UNCHANGED], []
        try:
            found = read_settings(self._config)
            if differ_only_in_sources(self._settings, found):
                lines = self._use_sources(running, found)
        except ConfigError as exc:
            lines, faults = [_PREVIOUS], [str(fault) for fault in exc.faults]
            self._refuse(running, exc)
        else:
            if found != self._settings:
                log.info("configuration_changed", file=str(self._config))
                return found
            self._accept(running)
            self._announcement.use(self._state)
        faults += running.service.reload()
        self._announcement.end_reload([*lines, *self._loaded(running.service)], faults)
        return None

    def _read_sources(self, running: _Running) -> None:
        """Use the files of the sources as they are now. Nothing else of the configuration is read."""
        try:
            sources = read_sources(self._settings, self._config)
            if sources != self._settings.sources:
                self._use_sources(running, self._settings.model_copy(update={"sources": sources}))
        except ConfigError as exc:
            self._refuse(running, exc)
        else:
            self._accept(running)

    def _use_sources(self, running: _Running, found: Settings) -> list[str]:
        """Use a configuration that differs only in its sources, while the service runs. Return what changed.

        Raises: ConfigError, for a source whose name belongs to another organisation.
        """
        refuse_other_organisations(found, self._config, running.app.database)
        lines = changes(self._settings, found)
        set_up_logs(found)  # first: it knows the secrets
        running.service.use_sources(found, running.membership)
        self._settings = found
        running.watch.use(found)
        log.info("sources_changed", sources=len(found.sources), changes=len(lines))
        return lines

    def _refuse(self, running: _Running, error: ConfigError) -> None:
        for fault in error.faults:
            log.error("configuration_refused", fault=str(fault))
        reloader = running.service.reloader
        refuse = functools.partial(reloader.broken_files.refuse_configuration, self._config, error.faults)
        # If only the leader may, `watch` reports it.
        running.watch.is_refused = running.service.steps.attempt("reload", refuse)

    def _accept(self, running: _Running) -> None:
        reloader = running.service.reloader
        accept = functools.partial(reloader.broken_files.accept_configuration, self._config)
        running.service.steps.attempt("reload", accept)
        running.watch.is_refused = False

    def _loaded(self, service: Service) -> list[str]:
        """Return what is loaded, and each rule that changed since this was reported; not what the first start found."""
        changed, self._reported_through = service.reloader.changed_rules(self._reported_through)
        return [service.reloader.summary, *changed]
