"""The routes: `/healthz` (threads run), `/readyz` (polls succeed, the store is writable), `/metrics`, the API, the console."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from anyio import fail_after, to_thread
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from actionwatch.base.errors import StoreError
from actionwatch.base.lateness import Lateness, never_late
from actionwatch.base.reasons import Reason, short_reason
from actionwatch.settings import Stream
from actionwatch.store.database import Database
from actionwatch.web.access import Access, is_direct
from actionwatch.web.attempts import TooManyAttempts
from actionwatch.web.parts import Parts
from actionwatch.web.problems import API_PATH, problem
from actionwatch.web.proxy import Refused

_CREDENTIALS = frozenset({"authorization", "cookie"})  # that only the store can check
_IDENTIFY_SECONDS = 0.5  # a probe waits for a second


def health_routes(
    workers: Callable[[], Mapping[str, bool]], unready: Callable[[], Iterable[str]] = lambda: ()
) -> list[Route]:
    """Build the two routes. `workers` returns which threads are alive, `unready` why the service is not ready, at once."""

    return _routes(
        lambda: sorted(name for name, is_alive in workers().items() if not is_alive), lambda: list(unready())
    )


def waiting_routes(reason: str) -> list[Route]:
    """Build the routes of a process that waits for its store: it is alive, and not ready for a reason.

    Every other path answers that the store is away. The reason is for people with a token and the log, not for strangers.
    """

    def away(request: Request) -> Response:
        what = "the store does not answer, so nothing is watched: /readyz has the reason"
        if request.url.path.startswith(API_PATH):
            return problem(503, what)
        return PlainTextResponse(f"{what}\n", 503)

    return [*_routes(list, lambda: [Reason(reason, "the store does not answer")]), Route("/{path:path}", away)]


def _routes(dead_threads: Callable[[], list[str]], unready: Callable[[], list[str]]) -> list[Route]:
    # Both answer from memory, without a thread, because strangers can occupy all of them.
    async def healthz(_: Request) -> Response:
        dead = dead_threads()
        return JSONResponse({"status": "dead" if dead else "ok", "dead": dead}, status_code=503 if dead else 200)

    async def readyz(request: Request) -> Response:
        reasons = unready()
        if reasons and not await _may_see_all(request):
            reasons = list(map(short_reason, reasons))
        return JSONResponse({"ready": not reasons, "reasons": reasons}, status_code=503 if reasons else 200)

    return [Route("/healthz", healthz), Route("/readyz", readyz)]


async def _may_see_all(request: Request) -> bool:
    """Return whether whoever sends a request may read all of the console. A probe waits neither for the store nor a thread."""
    access: Access | None = getattr(request.state, "access", None)
    if access is None:
        return True
    try:
        if _CREDENTIALS.isdisjoint(request.headers):
            visitor = access.identify(request)
        else:
            with fail_after(_IDENTIFY_SECONDS):
                visitor = await to_thread.run_sync(access.identify, request, abandon_on_cancel=True)
    except (Refused, TooManyAttempts, StoreError, TimeoutError):
        return False
    return visitor is not None and (not visitor.is_open or is_direct(request))


def metrics_routes(
    database: Database,
    sources: Callable[[], Mapping[str, timedelta]],
    clock: Callable[[], datetime],
    roles: Callable[[], Mapping[str, bool]] = dict,
    streams: Sequence[Stream] = (),
    lateness: Callable[[], Lateness] = never_late,
    *,
    by_source: bool = True,
) -> list[Route]:
    """Build the route of the metrics. The first scrape imports metrics.py. `sources` are the intervals of their polls."""

    def metrics(_: Request) -> Response:
        from actionwatch.web.metrics import StoreCollector, scrape

        return scrape(StoreCollector(database, sources(), clock, roles, streams, by_source, lateness))

    return [Route("/metrics", metrics)]


def api_routes(parts: Parts) -> list[BaseRoute]:
    """Build the route of the API. The first request imports it."""

    def build() -> ASGIApp:
        from actionwatch.web.api.app import create_app

        return create_app(parts)

    return [Mount("/api/v1", _Lazy(build))]


def console_routes(parts: Parts) -> list[BaseRoute]:
    """Build the route of the console, which takes every path that the routes before it do not. The first request imports it."""

    def build() -> ASGIApp:
        from actionwatch.web.console.app import create_app

        return create_app(parts)

    return [Mount("/", _Lazy(build))]


class _Lazy:
    """An application that is built at the first request."""

    def __init__(self, build: Callable[[], ASGIApp]) -> None:
        self._build = build
        self._app: ASGIApp | None = None
        self._lock = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._lock:
            if self._app is None:
                self._app = await run_in_threadpool(self._build)  # probes are answered meanwhile
        await self._app(scope, receive, send)
