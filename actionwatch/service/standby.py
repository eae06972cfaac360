"""Stand by while another replica runs on the store: answer health checks, and wait for its lease to end."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

import structlog

from actionwatch.base.errors import StoreError
from actionwatch.service.app import App
from actionwatch.service.signals import Asked
from actionwatch.service.threads import Threads

LOOK_SECONDS = 1.0

log = structlog.get_logger()


def is_taken(app: App) -> bool:
    """Return whether another process runs, or may run, on a shared store."""
    try:
        return app.database.is_shared and app.database.is_owned()
    except StoreError as exc:  # it may be a network that is cut, or a failover: whoever owns it must be asked again
        log.warning("store_failed", step="stand by", error=str(exc))
        return True


def stand_by(app: App, asked: Asked) -> bool:
    """Wait until no other process runs on the store. Return False if this one is asked to end before that."""
    threads = Threads(functools.partial(asked.ask, "died"))
    with _health(app, threads) as url, _ending(threads):
        log.info("standing_by", store=app.database.name, why="another replica runs on it", url=url)
        while is_taken(app):
            if asked.wait(LOOK_SECONDS) in ("end", "died"):
                threads.check()
                return False
    log.info("taking_over", store=app.database.name)
    return True


@contextlib.contextmanager
def _ending(threads: Threads) -> Iterator[None]:
    """Note at the end of the block that its threads are meant to end."""
    try:
        yield
    finally:
        threads.stopping.set()


def _health(app: App, threads: Threads) -> contextlib.AbstractContextManager[str]:
    """Serve the health checks: alive, and not ready because another replica does the work."""
    from actionwatch.web.routes import standby_routes
    from actionwatch.web.server import serving

    options = app.settings.web
    return serving(
        standby_routes(),
        options.listen.host,
        options.listen.port,
        options.access_token,
        threads.start,
        names=options.hosts,
    )
