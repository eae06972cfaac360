"""A real HTTP server on loopback whose every answer a test decides, down to the bytes on the wire."""

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
class Asked:
    """One request as it came."""

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
class Answered:
    """One response; `wire` replaces all of it by raw bytes."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    wire: Callable[[Any], None] | None = None


Answering = Callable[[Asked], Answered]


class Upstream:
    """The server; `asked` lists the requests in the order in which they came."""

    def __init__(self, answering: Answering) -> None:
        self.asked: list[Asked] = []
        self._answering = answering
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                parts = urlsplit(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, parts.path, parse_qs(parts.query), headers, body)
                upstream.asked.append(asked)
                upstream.send(self, upstream._answering(asked))

            do_GET = do_POST = do_DELETE = do_PUT = _answer  # noqa: N815 - the base class's names

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # the client hung up, as some tests mean it to

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

    def send(self, handler: BaseHTTPRequestHandler, answered: Answered) -> None:
        if answered.wire:
            answered.wire(handler)
            return
        handler.send_response(answered.status)
        for name, value in {"content-length": str(len(answered.body)), **answered.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(answered.body)

    def __enter__(self) -> Upstream:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        join(self._thread)
        self._server.server_close()


def answer(document: object, status: int = 200, **headers: str) -> Answered:
    """Answer with a JSON document; underscores in header names become hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answered(status, json.dumps(document).encode(), {"content-type": "application/json", **named})


def listing(
    records: list[dict[str, Any]], *, clamp: int = 1000, has_total: bool = True, total: int | None = None
) -> Answering:
    """Page a list of records as the documentation says, with pages of at most `clamp`."""

    def answering(asked: Asked) -> Answered:
        page = records[asked.index : asked.index + min(asked.size, clamp)]
        envelope: dict[str, Any] = {"startIndex": asked.index, "itemsPerPage": len(page), "resources": page}
        if has_total:
            envelope["totalResults"] = len(records) if total is None else total
        return answer([envelope])

    return answering


def actions(count: int) -> list[dict[str, Any]]:
    """Make that many distinct records."""
    return [{"id": f"r-{n}", "action": "CREATE_CLUSTER", "timestamp": 1699190130000 + n} for n in range(count)]
