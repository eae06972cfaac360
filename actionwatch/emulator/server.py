"""Serve an emulator on a socket: in a thread for tests and the demo, or until a signal for the command."""

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread

import uvicorn
from starlette.types import ASGIApp

from actionwatch.emulator.app import create_app
from actionwatch.emulator.connection import ConnectedProtocol
from actionwatch.emulator.state import Organisation

_GRACE_SECONDS = 1  # for requests still under way at the end: nobody needs their responses


@contextmanager
def running(app: ASGIApp | Organisation, port: int = 0) -> Iterator[str]:
    """Serve in a thread and yield the base URL (port 0: a free one). The block ends after the thread and the socket.

    An organisation is served with the demo credentials.
    """
    server = uvicorn.Server(_config(app))
    with _listener(port) as listener:  # a client that connects before the server has started waits in the backlog
        thread = Thread(target=server.run, kwargs={"sockets": [listener]}, name="emulator")
        thread.start()
        try:
            yield _url(listener)
        finally:
            server.should_exit = True
            thread.join()


def serve_forever(
    app: ASGIApp | Organisation, port: int = 0, *, announce: Callable[[str], object] = lambda _: None
) -> None:
    """Serve in this thread until SIGINT or SIGTERM, then return; only the main thread may call this.

    It calls `announce` with the base URL once connections are accepted.
    """
    server = uvicorn.Server(_config(app))
    with _listener(port) as listener, _ended_by_signals(server):
        announce(_url(listener))
        server.run(sockets=[listener])


@contextmanager
def _ended_by_signals(server: uvicorn.Server) -> Iterator[None]:
    """Let a signal that arrives before uvicorn handles signals end the server too.

    uvicorn raises the signal again once it has ended. This handler takes it, so that the caller can clean up.
    """

    def end(*_: object) -> None:
        server.should_exit = True

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, end) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def _config(app: ASGIApp | Organisation) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(app) if isinstance(app, Organisation) else app,
        http=ConnectedProtocol,
        log_config=None,
        access_log=False,
        date_header=False,  # the app sends the organisation's clock
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )


def _listener(port: int) -> socket.socket:
    """Listen on a loopback socket that names its protocol: only there asyncio disables Nagle, a delay of 40 ms."""
    unnamed = socket.create_server(("127.0.0.1", port), backlog=128)
    return socket.socket(fileno=unnamed.detach())


def _url(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"
