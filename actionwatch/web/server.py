"""Serve the web listener in a thread of its own, behind a token where it listens beyond loopback."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hmac
import socket
import threading
from collections.abc import Callable, Iterator, Sequence

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from actionwatch.base.errors import ActionwatchError

OPEN_PATHS = frozenset({"/healthz", "/readyz"})  # probes carry no token, and these say nothing of the records
STOP_SECONDS = 3.0
DATE_SECONDS = 1.0  # the resolution of the header
BACKLOG = 128


def _start_thread(name: str, target: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread


@contextlib.contextmanager
def serving(
    routes: Sequence[Route],
    host: str,
    port: int,
    token: str | None,
    start_thread: Callable[[str, Callable[[], None]], threading.Thread] = _start_thread,
) -> Iterator[str]:
    """Serve until the block ends; yields the base URL. `start_thread` starts a thread of a name and returns it.

    Raises: ActionwatchError, when the address cannot be listened on.
    """
    app: ASGIApp = Starlette(routes=list(routes))
    config = uvicorn.Config(
        _Guard(app, token) if token else app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    with _listen(host, port) as listener:
        server = _Server(config)
        thread = start_thread("web", functools.partial(server.run, [listener]))
        try:
            yield f"http://{host if ':' not in host else f'[{host}]'}:{listener.getsockname()[1]}"
        finally:
            server.end()
            thread.join(STOP_SECONDS)


class _Server(uvicorn.Server):
    """uvicorn's own, but told when to end: it would look ten times a second, which is a fifth of what an idle service costs."""

    _loop: asyncio.AbstractEventLoop | None = None

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ending = asyncio.Event()

    async def main_loop(self) -> None:
        """Keep the date that answers bear, until told to end."""
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), DATE_SECONDS)

    def end(self) -> None:
        """End soon; may be called from any thread, before the start too."""
        self.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it ended by itself
                self._loop.call_soon_threadsafe(self._ending.set)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)  # from here on a client waits for the server's start instead of being refused
    except (OSError, UnicodeError) as exc:  # a name with an empty or overlong part is no OSError
        listener.close()
        reason = exc.strerror if isinstance(exc, OSError) else "not a host name"
        raise ActionwatchError(f"cannot listen on {host}:{port}: {reason}: choose another web.listen") from exc
    return listener


class _Guard:
    """Ask for `Authorization: Bearer TOKEN` on everything but the probes."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            given = Request(scope).headers.get("authorization", "").encode("latin-1")  # the bytes as they came
            if not hmac.compare_digest(given, self._token):
                refusal = PlainTextResponse("a token is needed\n", 401, {"www-authenticate": "Bearer"})
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)
