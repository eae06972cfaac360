"""A stranger who can connect to the listener cannot stop the service, fill its log, or read it through a browser."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from actionwatch.store.database import Database
from actionwatch.web import connections, server
from actionwatch.web.access import Access
from actionwatch.web.connections import MAX_CONNECTIONS
from actionwatch.web.query import MAX_PARAMETERS, MAX_QUERY_BYTES
from actionwatch.web.requests import read_body
from actionwatch.web.routes import health_routes
from tests import http_client
from tests.children import child
from tests.fixtures import database
from tests.integration.web.console_kit import Served
from tests.threads import start_thread
from tests.waiting import LIMIT, wait_until

__all__ = ["database"]
serving = functools.partial(server.serving, start_thread=start_thread)
HALF = b"GET /page HTTP/1.1\r\nHost: localhost\r\nX-Filler: "
BODY_LACKS = b"POST /form HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n1"
DESCRIPTORS = 240
SOON = 0.7  # seconds; a deadline for what must not become complete
FILES = 40  # what the pipeline opens while strangers connect: the store, the upstream, a few receivers

# The listener in its own process, with few descriptors. `/work` opens files, as the pipeline does.
LISTENER = f"""
import contextlib, resource, sys, tempfile, threading
resource.setrlimit(resource.RLIMIT_NOFILE, ({DESCRIPTORS}, {DESCRIPTORS}))
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from actionwatch.text import logs
from actionwatch.web.server import serving
from tests.threads import start_thread

logs.set_up("info", "json", [])

def work(_):
    with contextlib.ExitStack() as stack:
        for _ in range({FILES}):
            stack.enter_context(tempfile.TemporaryFile())
    return PlainTextResponse("worked")

with serving([Route("/work", work)], "127.0.0.1", 0, None, start_thread) as url:
    print(url, flush=True)
    sys.stdin.read()
"""


def page(_: Request) -> Response:
    """Return more than the buffers of a connection hold."""
    return PlainTextResponse("x" * 20_000_000)


async def form(request: Request) -> Response:
    """Return the body of a form."""
    return Response(await read_body(request))


async def endless(_: Request) -> Response:
    """Never return."""
    await asyncio.Event().wait()
    raise AssertionError


PAGES = [
    Route("/page", page),
    Route("/small", lambda _: PlainTextResponse("small")),
    Route("/form", form, methods=["POST"]),
    Route("/endless", endless),
]


@contextlib.contextmanager
def connected(url: str, count: int, given: bytes = HALF) -> Iterator[list[socket.socket]]:
    """Open connections, and send the same on each."""
    port = int(url.rpartition(":")[2])
    with contextlib.ExitStack() as stack:
        opened = []
        for _ in range(count):
            one = stack.enter_context(connection_to(port))
            with contextlib.suppress(ConnectionError):
                one.sendall(given)
            opened.append(one)
        yield opened


def connection_to(port: int) -> socket.socket:
    """Connect again where the queue of the listener was full: the kernel would try again only after a second or more."""

    def attempt() -> socket.socket | None:
        try:
            return socket.create_connection(("127.0.0.1", port), 0.1)
        except TimeoutError:
            return None

    found = wait_until(attempt, "a connection")
    found.settimeout(LIMIT)
    return found


def is_closed(one: socket.socket, given: bytes = b"") -> bool:
    """Return whether the server has closed a connection, without reading from it. Send more first, if that is given."""
    try:
        if given:
            one.sendall(given)
        one.settimeout(0)  # with a timeout, recv waits for it, also with MSG_DONTWAIT
        return one.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
    finally:
        one.settimeout(LIMIT)


def test_half_sent_requests_leave_descriptors_for_the_pipeline() -> None:
    """Any number of half-sent requests leaves the process able to serve a request and to open files, and fills no log."""
    options: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with child([sys.executable, "-c", LISTENER], **options) as process:
        assert process.stdout
        assert process.stdin
        url = process.stdout.readline().strip()
        for _ in range(2):
            with connected(url, DESCRIPTORS + 160):
                assert http_client.get(f"{url}/work").text == "worked"
        process.stdin.close()
        process.stdin = None
        _, logged = process.communicate(timeout=LIMIT)
    lines = [json.loads(line) for line in logged.splitlines()]
    assert [line["event"] for line in lines] == ["web_connection_dropped"]
    assert "more than 60 connections are open" in lines[0]["reason"]


def test_connections_have_a_limit() -> None:
    """Connections beyond the limit close others that wait, so that a new client is served."""
    with serving(PAGES, "127.0.0.1", 0, None) as url, connected(url, MAX_CONNECTIONS + 30) as opened:
        wait_until(lambda: sum(map(is_closed, opened)) >= 30, "30 closed connections")
        assert http_client.get(f"{url}/small").text == "small"


def test_incomplete_bodies_leave_room() -> None:
    """Any number of requests whose body is incomplete leaves the listener able to serve a new client."""
    with serving(PAGES, "127.0.0.1", 0, None) as url, connected(url, MAX_CONNECTIONS + 20, BODY_LACKS) as opened:
        wait_until(lambda: sum(map(is_closed, opened)) == 20, "20 closed connections")
        assert http_client.get(f"{url}/small").text == "small"


def test_requests_under_way_leave_room() -> None:
    """Where every connection has a request that is being answered, a new client takes the place of one of them."""
    asked = b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with serving(PAGES, "127.0.0.1", 0, None) as url, connected(url, MAX_CONNECTIONS, asked) as opened:
        assert http_client.get(f"{url}/small").text == "small"
        assert sum(map(is_closed, opened)) == 1


def test_probes_wait_for_no_page() -> None:
    """Health and readiness are answered while strangers occupy every thread that answers pages."""
    over = threading.Event()

    def occupying(_: Request) -> Response:
        over.wait(LIMIT)
        return PlainTextResponse("over")

    routes = [Route("/occupying", occupying), *health_routes(dict)]
    asked = b"GET /occupying HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with serving(routes, "127.0.0.1", 0, None) as url, connected(url, MAX_CONNECTIONS - 1, asked):
        assert [http_client.get(f"{url}{path}").status_code for path in ("/healthz", "/readyz")] == [200, 200]
        over.set()


def test_the_oldest_that_waits_goes_first() -> None:
    """A connection too many closes the one that has waited longest for its request, and none that is being answered."""
    asked = b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with serving(PAGES, "127.0.0.1", 0, None) as url, connected(url, 1, asked) as answered:
        assert http_client.get(f"{url}/small").text == "small"  # that request has begun
        with connected(url, 1) as oldest:
            assert http_client.get(f"{url}/small").text == "small"
            with connected(url, MAX_CONNECTIONS - 1) as others:
                wait_until(lambda: is_closed(oldest[0]), "the end of the oldest")
                assert not is_closed(others[-1])
                assert not is_closed(answered[0])


def test_a_body_in_parts_is_read() -> None:
    """A body that becomes complete in time is read."""
    with serving(PAGES, "127.0.0.1", 0, None) as url, connected(url, 1, BODY_LACKS) as slow:
        slow[0].sendall(b"23456")
        slow[0].sendall(b"789")
        wait_until(lambda: slow[0].recv(1000).endswith(b"123456789"), "the body")


def test_a_body_has_as_long_as_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that never becomes complete ends its connection like half a head, also after an early answer."""
    monkeypatch.setattr(connections, "SERVE_SECONDS", 100 * LIMIT)
    monkeypatch.setattr(connections, "_WAIT_SECONDS", SOON)
    early = BODY_LACKS.replace(b"/form", b"/small")
    with (
        serving(PAGES, "127.0.0.1", 0, None) as url,
        connected(url, 1) as half,
        connected(url, 2, BODY_LACKS) as never,
        connected(url, 1, early) as answered,
    ):
        wait_until(lambda: all(map(is_closed, never)), "the end of bodies", pause=0.3)
        wait_until(lambda: is_reset(answered[0]), "the end of a body that nobody reads", pause=0.3)
        wait_until(lambda: is_closed(half[0]), "the end of the request")


@pytest.mark.parametrize("target", ["/form", "/small"])
def test_a_body_of_two_lengths_ends_its_connection(target: str) -> None:
    """A request with Content-Length and Transfer-Encoding is the last one: a proxy may see another request in its rest."""
    head = (
        f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    )
    given = head.encode() + b"GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with serving(PAGES, "127.0.0.1", 0, None) as url, connected(url, 1, given) as opened:
        answer = opened[0].makefile("rb").read()
    assert b"connection: close\r\n" in answer
    assert answer.count(b"HTTP/1.1") == 1


def test_each_wait_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that never becomes complete, though it grows, and a response that is never read end their connections."""
    monkeypatch.setattr(connections, "_WAIT_SECONDS", SOON)
    asked = HALF + b"\r\n\r\n"
    refused = b"POST /small HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
    with (
        serving(PAGES, "127.0.0.1", 0, None) as url,
        connected(url, 1) as half,
        connected(url, 1, asked) as unread,
        connected(url, 1, refused) as endless,
    ):
        wait_until(lambda: is_closed(half[0], b"x"), "the end of the request", pause=0.3)
        wait_until(lambda: is_closed(endless[0], b"x"), "the end of the body", pause=0.3)
        # Only sending shows that the other end of a full connection is gone.
        wait_until(lambda: is_reset(unread[0]), "the end of the response", pause=0.3)


def is_reset(one: socket.socket) -> bool:
    """Return whether sending fails."""
    try:
        one.sendall(b"G")
    except ConnectionError:
        return True
    return False


@pytest.mark.parametrize("token", [None, "open-sesame"])
def test_foreign_host_name_reads_nothing(token: str | None) -> None:
    """A page whose host name leads to the loopback address reads nothing there."""
    headers = {"authorization": f"Bearer {token}"}
    with serving(PAGES, "127.0.0.1", 0, Access(token) if token else None, names=["Metrics.example.com"]) as url:

        def status(host: str) -> int:
            return http_client.get(f"{url}/small", headers={**headers, "host": host}).status_code

        port = url.rpartition(":")[2]
        for name in ("localhost", "LOCALHOST", "127.0.0.1", "[::1]", "192.0.2.7", "metrics.example.COM"):
            assert (status(name), status(f"{name}:{port}")) == (200, 200), name
        for name in (
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "[localhost]",
            "a@evil.example",
        ):
            assert (status(name), status(f"{name}:{port}")) == (421, 421), name


def test_request_without_a_host_is_served() -> None:
    """Health checks of load balancers send HTTP/1.0 without a host; no browser does."""
    with serving(PAGES, "127.0.0.1", 0, None) as url, connected(url, 1, b"GET /small HTTP/1.0\r\n\r\n") as opened:
        assert opened[0].makefile("rb").read().endswith(b"small")


@pytest.mark.parametrize(
    "host", ["localhost/sign-in?", "localhost/static/x?", "localhost/healthz?", "localhost/healthz#"]
)
def test_a_host_name_opens_no_path(host: str) -> None:
    """A Host header with the path of an open page in it opens no other page, whatever starlette makes of it."""
    with serving(PAGES, "127.0.0.1", 0, Access("open-sesame")) as url:
        refused = http_client.get(f"{url}/small", headers={"host": host})
    assert refused.status_code == 401


PLACES = ("/", "/alerts", "/records", "/silences", "/sign-in", "/api/v1/alerts", "/static/console.css", "/healthz")


@pytest.mark.parametrize("path", PLACES)
def test_a_query_is_bounded(database: Database, path: str) -> None:
    """A query of more than 100 parameters or 8 KB is refused with its size, before it is parsed or a token is checked."""
    many, large = "&".join(f"n{number}=1" for number in range(MAX_PARAMETERS)), f"a={'b' * (MAX_QUERY_BYTES - 2)}"
    with Served(database).open("open-sesame") as client:
        for refused, words in (
            (f"{many}&n=1", "the query has 101 parameters"),
            (f"{large}b", "the query has 8,193 bytes"),
        ):
            answer = client.get(f"{path}?{refused}")
            assert (answer.status_code, words in answer.text) == (400, True), answer.text
        for accepted in (many, large):
            assert "the query has" not in client.get(f"{path}?{accepted}").text


def test_a_long_query_leads_to_the_overview(database: Database) -> None:
    """The sign-in form can be opened from every page: a query that makes its own too long leads to the overview afterwards."""
    with Served(database).open("open-sesame") as client:
        led = client.get(f"/records?{'&'.join(['user=%25%25%25'] * MAX_PARAMETERS)}")
        assert led.headers["location"] == "/sign-in?next=%2F"
        assert client.get(led.headers["location"]).status_code == 200


def test_a_form_is_bounded(database: Database) -> None:
    """A form of more than 100 fields is refused with their number, before it is parsed."""
    with Served(database).open("open-sesame") as client:
        answer = client.post("/sign-in", data={f"n{number}": "1" for number in range(MAX_PARAMETERS + 1)})
        assert (answer.status_code, "the form has 101 parameters" in answer.text) == (400, True)
        assert client.post("/sign-in", data={f"n{number}": "1" for number in range(MAX_PARAMETERS)}).status_code == 403


@pytest.mark.parametrize("path", ["/alerts/", "/api/v1/alerts/", "/api/v1", "/healthz/", "/static/console.css/"])
def test_no_slash_leads_elsewhere(database: Database, path: str) -> None:
    """A path with a slash too many is unknown: a redirect would lead to the host that a client names."""
    with Served(database).open() as client:
        answer = client.get(path, headers={"host": "127.0.0.1"})
        assert (answer.status_code, "location" in answer.headers) == (404, False)
