"""Serve HTTP in a thread. access.py decides who may read what. A loopback listener answers only requests for this machine by
address or as localhost, and for configured names: hosts.py has the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import threading
from collections.abc import Callable, Collection, Iterator, Sequence

import uvicorn
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from actionwatch.base.errors import ActionwatchError
from actionwatch.text.options import is_loopback
from actionwatch.web.access import Access, Guard
from actionwatch.web.applications import application
from actionwatch.web.connections import BoundedConnection
from actionwatch.web.hosts import NOT_SERVED, is_served

_STOP_SECONDS = 3.0
# That answer pages. The loop shares the interpreter with them, and each may keep it for 5 ms: with 40, as is usual, a probe
# waits for seconds.
THREADS = 4
_DATE_SECONDS = 1.0  # the resolution of the Date header
# In the kernel, of a response. Otherwise it keeps megabytes, and a slow client seems to take nothing for minutes.
_UNSENT_BYTES = 16384
_BACKLOG = 32  # also how many connections asyncio accepts before the first of them is counted


@contextlib.contextmanager
def serving(
    routes: Sequence[BaseRoute],
    host: str,
    port: int,
    access: Access | None,
    start_thread: Callable[[str, Callable[[], None]], threading.Thread],
    names: Collection[str] = (),
) -> Iterator[str]:
    """Serve until the block ends, and yield the base URL. `start_thread` starts a named thread and returns it.

    `access` decides who may read and decide; without it, everybody who can connect reads everything.
    `names` are the host names, besides localhost, by which clients may address a loopback listener.

    Raises: ActionwatchError, if the address cannot be used.
    """
    app: ASGIApp = application(list(routes))
    if access is not None:
        app = Guard(app, access)
    if is_loopback(host):
        app = _HostCheck(app, names)
    config = uvicorn.Config(
        app,
        http=BoundedConnection,
        ws="none",  # an upgraded connection would not be counted
        backlog=_BACKLOG,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,  # otherwise everybody on this machine could pretend to have another address
        timeout_graceful_shutdown=1,
    )
    with _listen(host, port) as listener:
        server = _Server(config)
        thread = start_thread("web", functools.partial(server.run, [listener]))
        try:
            yield f"http://{host if ':' not in host else f'[{host}]'}:{listener.getsockname()[1]}"
        finally:
            server.stop()
            thread.join(_STOP_SECONDS)


class _Server(uvicorn.Server):
    """A server that sleeps until it has to stop: uvicorn wakes up ten times a second, a fifth of the CPU of an idle service."""

    _loop: asyncio.AbstractEventLoop | None = None

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopping = asyncio.Event()

    async def main_loop(self) -> None:
        """Update the Date header once a second until `stop` is called."""
        self._loop = asyncio.get_running_loop()
        to_thread.current_default_thread_limiter().total_tokens = THREADS
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _DATE_SECONDS)

    def stop(self) -> None:
        """Stop soon. Any thread may call this, also before the server has started."""
        self.should_exit = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended already
                self._loop.call_soon_threadsafe(self._stopping.set)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # TCP by name, because asyncio turns off Nagle's algorithm only then: else each response waits 40 ms for an acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):  # Linux and macOS
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)  # its connections inherit it
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)  # a client that connects before the server has started waits
    except (OSError, UnicodeError) as exc:  # UnicodeError: a name with an empty or too long part
        listener.close()
        reason = exc.strerror if isinstance(exc, OSError) else "not a host name"
        raise ActionwatchError(f"cannot listen on {host}:{port}: {reason}: choose another web.listen") from exc
    return listener


class _HostCheck:
    """Refuse requests for foreign host names."""

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self._app = app
        self._names = frozenset(name.lower() for name in names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_served(Request(scope).headers.get("host"), self._names):
            await PlainTextResponse(f"{NOT_SERVED}\n", 421)(scope, receive, send)
            return
        await self._app(scope, receive, send)
