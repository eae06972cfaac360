"""`run`: run the service until a signal stops it, and restart it in the same process with a changed configuration.

SIGHUP reads the configuration again. If it changed, the service stops cleanly and starts with the new one. If the new one is
broken, or the service cannot start with it, the previous one stays in use and a self-alert reports the reason.
"""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path

import structlog

from actionwatch.base.errors import ConfigError, Fault
from actionwatch.service.app import App, set_up_logs
from actionwatch.service.configuration import read_settings
from actionwatch.service.organisations import refuse_other_organisations
from actionwatch.service.service import Service
from actionwatch.service.signals import Asked
from actionwatch.settings import Settings

log = structlog.get_logger()


def serve(config: Path, settings: Settings, asked: Asked) -> None:
    """Run the service until it is asked to end, with the newest valid configuration.

    Raises: any error that prevents the first start, and ThreadDied.
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
                    changed = _wait(service, config, settings, asked)
                if changed is not None:
                    service.wait_for_matcher()
        except Exception as exc:
            if before is None:
                raise  # the first start failed, or the configuration did not change
            log.error("configuration_refused", file=str(config), error=str(exc))
            refused = Fault(str(config), 0, 0, f"the service does not start with it: {exc}", "fix it and reload")
            settings, before = before, None
            set_up_logs(settings)
            continue
        if changed is None:
            return
        before, settings = settings, changed
        set_up_logs(settings)


def _wait(service: Service, config: Path, settings: Settings, asked: Asked) -> Settings | None:
    """Wait until the service is asked to end (None), or finds a changed configuration; reload files when asked.

    Raises: ThreadDied.
    """
    while (word := asked.wait()) != "end":
        service.threads.check()
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
