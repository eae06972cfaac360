"""A real HTTP server on loopback whose responses a test sets: the far end of webhooks and of Slack."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.integration.notifiers.listener import FarEnd
from tests.waiting import LIMIT, join

FAR_END = "far end"  # the name of the thread of a server


@dataclass(frozen=True)
class Reply:
    """A response, or a failure: `hang` until the server closes, `reset`, `close` before a response, `cut` within it."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: str | None = None


@dataclass(frozen=True)
class Request:
    """A request; `headers` are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed as JSON."""
        return json.loads(self.body)


class HttpEnd(FarEnd):
    """Serves until closed. `reply` decides each response. Tests replace it, or set `queue` for the next responses."""

    def __init__(self, reply: Callable[[Request], Reply], context: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.requests: list[Request] = []
        self.connection_count = 0
        self.queue: list[Reply] = []
        self.reply = reply
        self.released = threading.Event()
        self._server = _Server(self, port)
        if context:
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, name=FAR_END)
        self._thread.start()
        scheme = "https" if context else "http"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Release hanging requests, break connections that are still open, and stop."""
        self.released.set()
        self._server.shutdown()
        self._server.break_connections()
        self._server.server_close()
        join(self._thread)


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 64

    def __init__(self, end: HttpEnd, port: int) -> None:
        self.end = end
        self._connections: list[socket.socket] = []
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Count the connection, and serve it in a thread."""
        self.end.connection_count += 1
        self._connections.append(request)
        super().process_request(request, client_address)

    def break_connections(self) -> None:
        """End every thread that waits for the next request of a client."""
        for connection in self._connections:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(
                    connection, socket.SHUT_RDWR
                )  # TLS would send a closing message first, and wait for the client

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: these tests break connections on purpose."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = LIMIT
    wbufsize = -1  # head and body in one packet: two of them cost 40 ms each time (Nagle and delayed ACK)
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Print nothing."""

    def do_POST(self) -> None:
        end = self.server.end
        length = int(self.headers.get("content-length", "0"))
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True  # the client closed in the middle of its request
            return
        request = Request(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
        end.requests.append(request)
        reply = end.queue.pop(0) if end.queue else end.reply(request)
        if reply.fault:
            self._fail(reply)
            return
        self._answer(reply, len(reply.body))

    do_GET = do_HEAD = do_POST  # noqa: N815

    def _answer(self, reply: Reply, length: int) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(length))
        self.end_headers()
        self.wfile.write(reply.body)
        self.wfile.flush()

    def _fail(self, reply: Reply) -> None:
        self.close_connection = True
        if reply.fault == "hang":
            self.server.end.released.wait()
        elif reply.fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # Without `close` here, `shutdown` of the server class would send an orderly end first.
            self.rfile.close()
            self.wfile.close()
            self.connection.close()
        elif reply.fault == "cut":
            self._answer(Reply(200, b"half"), 100)


@contextlib.contextmanager
def dead_port() -> Iterator[int]:
    """Return a port on which nothing listens during the block, and which nobody else can use."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
