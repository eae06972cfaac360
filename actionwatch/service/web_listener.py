"""The web listener of the service: its routes, who may use them, and what it reads of the running service."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from actionwatch.base.access import AccessRole
from actionwatch.base.lateness import Lateness
from actionwatch.service.app import App, dead_letters, operator_actions
from actionwatch.service.configuration import known_lists
from actionwatch.service.policies import rate_of, unrouted
from actionwatch.service.readiness import Readiness
from actionwatch.service.roles import Roles
from actionwatch.service.rule_text import text_in_file
from actionwatch.service.silence_doubts import find_doubts
from actionwatch.service.stretches import read_many_stretches
from actionwatch.service.threads import Threads

if TYPE_CHECKING:
    from actionwatch.web.access import Access
    from actionwatch.web.parts import Parts


class WebListener:
    """Serves the health checks, the metrics, the API and the console of a service."""

    def __init__(
        self,
        app: App,
        threads: Threads,
        readiness: Readiness,
        roles: Roles,
        wake: Callable[[], None],
        alive: Callable[[], Mapping[str, bool]],
        lateness: Callable[[], Lateness],
        *,
        open_to_actions: bool,
    ) -> None:
        """`wake` is called after an action has enqueued messages. For `open_to_actions`, see `Service`.

        `alive` returns for `/healthz` which threads, and steps that are stuck, are alive; `lateness` how late polls begin.
        """
        self._app = app
        self._threads = threads
        self._readiness = readiness
        self._roles = roles
        self._wake = wake
        self._open_to_actions = open_to_actions
        self._alive = alive
        self._lateness = lateness

    def serving(self) -> contextlib.AbstractContextManager[str]:
        """Serve until the block ends. The value is the URL."""
        # Only the service needs starlette and uvicorn, which take long to import.
        from actionwatch.web.routes import api_routes, console_routes, health_routes, metrics_routes
        from actionwatch.web.server import serving

        app, options, parts = self._app, self._app.settings.web, self._parts()
        routes = [
            *health_routes(self._alive, self._readiness.reasons),
            *metrics_routes(
                app.database,
                lambda: app.settings.poll_intervals,
                app.clock,
                self._roles.held,
                app.settings.streams,
                self._lateness,
                by_source=app.settings.web.source_metrics,
            ),
            *api_routes(parts),
            *console_routes(parts),
        ]
        address = options.listen
        return serving(
            routes, address.host, address.port, self._access(), self._threads.start, names=options.served_names
        )

    def _access(self) -> Access:
        from actionwatch.web.access import Access
        from actionwatch.web.proxy import TrustedProxy

        app, options = self._app, self._app.settings.web
        role = AccessRole.OPERATOR if self._open_to_actions else AccessRole.READER
        open_to = None if options.is_token_required else role
        return Access(
            options.access_token,
            app.database,
            app.clock,
            open_to=open_to,
            proxy=TrustedProxy(**dict(options.proxy), hosts=options.served_names) if options.proxy else None,
        )

    def _parts(self) -> Parts:
        from actionwatch.web.parts import Configuration, Destination, Parts, ServiceState

        app = self._app
        without_route = unrouted(app.settings)
        configuration = Configuration(
            sources=lambda: app.settings.poll_intervals,
            receivers=[
                Destination(each.name, each.type, rate_of(each), each.name in without_route)
                for each in app.settings.receivers
            ],
            streams=app.settings.streams,
            max_silence=app.settings.max_silence,
            rules=lambda: app.rules.rules,
            lists=lambda: known_lists(app.settings),
            text_of=text_in_file,
            doubts=lambda made, now: find_doubts(app.settings, app.rules, made, now),
        )
        service = ServiceState(
            unready=lambda: list(self._readiness.reasons()),
            stretches=lambda connection, names, since: read_many_stretches(connection, names, app.settings, since),
            roster=lambda: self._roles.roster if app.database.is_shared else None,
        )
        return Parts(
            database=app.database,
            clock=app.clock,
            configuration=configuration,
            service=service,
            actions=operator_actions(app, self._wake),
            dead_letters=dead_letters(app, self._wake),
        )
