"""A real HTTP server on loopback whose every response a test decides, down to the bytes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from actionwatch.instaclustr.client import Client, RetryOptions
from actionwatch.instaclustr.origin import ConnectionOptions
from tests.waiting import PATIENT, join

API_KEY = "key-71f3-secret"
IMPATIENT = RetryOptions(
    attempts=4,
    at_most=PATIENT,
    first_wait=timedelta(milliseconds=1),
    longest_wait=timedelta(milliseconds=5),
    jitter=timedelta(milliseconds=1),
)


@dataclass
class ReceivedRequest:
    """A request that arrived."""

    method: str
    path: str
    params: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def index(self) -> int:
        return int(self.params["recordIndex"][0])

    @property
    def size(self) -> int:
        return int(self.params["pageSize"][0])


@dataclass
class Response:
    """A response; `wire` replaces all of it by raw bytes."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    wire: Callable[[Any], None] | None = None


Responder = Callable[[ReceivedRequest], Response]


class Upstream:
    """The server; `asked` lists the requests in the order of arrival."""

    def __init__(self, responder: Responder) -> None:
        self.asked: list[ReceivedRequest] = []
        self._responder = responder
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            def _respond(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                parts = urlsplit(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = ReceivedRequest(self.command, parts.path, parse_qs(parts.query), headers, body)
                upstream.asked.append(asked)
                upstream.send(self, upstream._responder(asked))

            do_GET = do_POST = do_DELETE = do_PUT = _respond  # noqa: N815 - the base class's names

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # the client closed the connection, as some tests intend

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def connection(self, **changes: Any) -> ConnectionOptions:
        plain: dict[str, Any] = {
            "base_url": self.url, "organisation_id": "org-1", "username": "watcher", "api_key": API_KEY,
            "timeout": PATIENT,
        }  # fmt: skip
        return ConnectionOptions(**{**plain, **changes})

    def client(self, retry: RetryOptions = IMPATIENT, **changes: Any) -> Client:
        return Client(self.connection(**changes), source="acme", retry=retry)

    def send(self, handler: BaseHTTPRequestHandler, response: Response) -> None:
        if response.wire:
            response.wire(handler)
            return
        handler.send_response(response.status)
        for name, value in {"content-length": str(len(response.body)), **response.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(response.body)

    def __enter__(self) -> Upstream:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        join(self._thread)
        self._server.server_close()


def respond(document: object, status: int = 200, **headers: str) -> Response:
    """Respond with a JSON document; underscores in header names become hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status, json.dumps(document).encode(), {"content-type": "application/json", **named})


def listing(
    records: list[dict[str, Any]], *, clamp: int = 1000, has_total: bool = True, total: int | None = None
) -> Responder:
    """Divide a list of records into pages as documented, of at most `clamp` records."""

    def responder(asked: ReceivedRequest) -> Response:
        page = records[asked.index : asked.index + min(asked.size, clamp)]
        envelope: dict[str, Any] = {"startIndex": asked.index, "itemsPerPage": len(page), "resources": page}
        if has_total:
            envelope["totalResults"] = len(records) if total is None else total
        return respond([envelope])

    return responder


def actions(count: int) -> list[dict[str, Any]]:
    """Make so many different records."""
    return [{"id": f"r-{n}", "action": "CREATE_CLUSTER", "timestamp": 1699190130000 + n} for n in range(count)]
