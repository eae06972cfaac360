"""Serve an emulator on a socket: in a thread for tests and the demo, or until a signal for the command."""

import asyncio
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread

import uvicorn
from starlette.types import ASGIApp

from actionwatch.emulator.app import create_app
from actionwatch.emulator.connection import ConnectedProtocol
from actionwatch.emulator.state import Organisation

THREAD_SECONDS = 60  # what a thread may take to start, or to end once told: much, for a busy machine
GRACE_SECONDS = 1  # for requests still under way at the end; an emulator owes them nothing


@contextmanager
def running(app: ASGIApp | Organisation, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve in a thread and yield the base URL (port 0: a free one); on leaving, thread and socket are gone.

    An organisation is served with the demo credentials.
    """
    listener = _listener(host, port)
    server = _ThreadServer(_config(app))
    thread = Thread(target=_serve, args=(server, listener), name="emulator")
    thread.start()
    try:
        if not server.is_ready.wait(THREAD_SECONDS) or not server.started:
            raise RuntimeError("the emulator did not start")
        yield _url(listener)
    finally:
        server.end()
        thread.join()
        server.join_workers()
        listener.close()


def serve_forever(
    app: ASGIApp | Organisation,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    announce: Callable[[str], object] = lambda _: None,
) -> None:
    """Serve in this thread until SIGINT or SIGTERM, then return; only the main thread may call this.

    `announce` is told the base URL once connections are accepted.
    """
    server = uvicorn.Server(_config(app))
    with _listener(host, port) as listener, _ended_by_signals(server):
        announce(_url(listener))
        server.run(sockets=[listener])


@contextmanager
def _ended_by_signals(server: uvicorn.Server) -> Iterator[None]:
    """End the server on a signal that comes before it listens to signals itself, and take those that it raises anew once it
    has ended: what the caller has to clean up comes after."""

    def end(*_: object) -> None:
        server.should_exit = True

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, end) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


class _ThreadServer(uvicorn.Server):
    """A server that says when it is ready and ends when told to, where uvicorn would poll ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_ready = Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def main_loop(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        self.is_ready.set()
        await self._ended.wait()

    def end(self) -> None:
        """Ask the server to end, from any thread."""
        self.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._ended.set)

    def join_workers(self) -> None:
        """Wait for the threads that ran handlers: the loop told them to end, but nobody else waits for them."""
        for worker in threading.enumerate():
            if self._loop is not None and getattr(worker, "loop", None) is self._loop:
                worker.join(THREAD_SECONDS)


def _config(app: ASGIApp | Organisation) -> uvicorn.Config:
    return uvicorn.Config(
        create_app(app) if isinstance(app, Organisation) else app,
        http=ConnectedProtocol,
        log_config=None,
        access_log=False,
        date_header=False,  # the app sends the organisation's clock
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=GRACE_SECONDS,
    )


def _listener(host: str, port: int) -> socket.socket:
    """Bind a socket that says it is TCP: asyncio turns Nagle off only for those, and Nagle costs 40 ms an answer."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def _serve(server: _ThreadServer, listener: socket.socket) -> None:
    try:
        server.run(sockets=[listener])
    finally:
        server.is_ready.set()  # a server that failed to start must not keep its caller waiting


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
