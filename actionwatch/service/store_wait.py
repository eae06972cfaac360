"""Wait for a store whose server does not respond: answer health checks meanwhile, and report why nothing is watched."""

from __future__ import annotations

import contextlib
import functools

import structlog

from actionwatch.base.access import AccessRole
from actionwatch.base.errors import StoreError, StoreUnreachable
from actionwatch.service.signals import Asked
from actionwatch.service.threads import Threads
from actionwatch.settings import Settings
from actionwatch.store.backend import backend_of
from actionwatch.store.database import StoreReader

LOOK_SECONDS = 1.0

log = structlog.get_logger()


def wait_for_store(settings: Settings, error: StoreUnreachable, asked: Asked) -> bool:
    """Wait until the server of the store answers. Return False if the process is asked to end before that."""
    from actionwatch.web.access import Access
    from actionwatch.web.routes import waiting_routes
    from actionwatch.web.server import serving

    threads = Threads(functools.partial(asked.ask, "died"))
    options = settings.web
    address, reason = options.listen, str(error)
    with contextlib.ExitStack() as stack:
        stack.enter_context(
            serving(
                waiting_routes(reason),
                address.host,
                address.port,
                Access(options.access_token, open_to=None if options.is_token_required else AccessRole.READER),
                threads.start,
                names=options.served_names,
            )
        )
        stack.callback(threads.stopping.set)
        log.warning(
            "store_unreachable", error=reason, remedy="the service retries each second; nothing is watched until then"
        )
        while True:
            word = asked.wait(LOOK_SECONDS)
            if word in ("end", "died"):
                threads.check()
                return False
            if word == "reload" or _answers(settings):
                return True


def _answers(settings: Settings) -> bool:
    """Return whether the server answers, be it with an error that a start reports."""
    try:
        with contextlib.closing(StoreReader(backend_of(settings.store.url))) as store, store.read():
            return True
    except StoreUnreachable:
        return False
    except StoreError:
        return True
