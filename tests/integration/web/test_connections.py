"""How long a connection is served: a download as long as its client takes it, every other response for a fixed time."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import StreamingResponse
from starlette.routing import BaseRoute, Mount, Route

from actionwatch.web import connections, server
from actionwatch.web.connections import Bound, download
from tests import http_client
from tests.threads import start_thread
from tests.waiting import LIMIT, pause, wait_until

SECONDS = 1.5  # that a request is served
LARGE = 20_000_000  # more than the buffers of a connection hold


async def working(count: int) -> AsyncIterator[bytes]:
    """Yield nothing for a time, then a word."""
    for _ in range(count):
        await asyncio.sleep(SECONDS / 10)
        yield b""
    yield b"found"


async def pinging() -> AsyncIterator[bytes]:
    """Yield without an end."""
    while True:
        await asyncio.sleep(SECONDS / 10)
        yield b"."


async def one_chunk() -> AsyncIterator[bytes]:
    """Yield one chunk."""
    yield b"x" * LARGE


ONE = Bound("test", 1, "another one is being sent")


def pages() -> BaseRoute:
    """Return an application with the pages, which counts what it sends."""
    made = Starlette(
        routes=[
            Route("/large", lambda request: download(request, ONE, one_chunk(), {})),
            Route("/search", lambda request: download(request, ONE, working(30), {})),
            Route("/pings", lambda _: StreamingResponse(pinging())),
        ]
    )
    made.state.stream_counts = Counter()
    return Mount("/", made)


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve the pages with a short deadline."""
    monkeypatch.setattr(connections, "SERVE_SECONDS", SECONDS)
    with server.serving([pages()], "127.0.0.1", 0, None, start_thread) as served:
        yield served


def asking(url: str, path: str, version: str) -> socket.socket:
    """Send a request, and read nothing."""
    opened = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), LIMIT)
    opened.sendall(f"GET {path} HTTP/{version}\r\nHost: localhost\r\n\r\n".encode())
    return opened


def test_a_slow_download_becomes_complete(url: str) -> None:
    """A client that takes a little all the time gets all of it, also after several deadlines, whatever the kernel buffers."""
    taken = 0
    with asking(url, "/large", "1.0") as slow:
        for _ in range(90):
            taken += len(slow.recv(20_000))
            pause(SECONDS / 30)
        while got := slow.recv(LARGE):
            taken += len(got)
    assert taken > LARGE


def test_a_download_that_is_not_taken_ends(url: str) -> None:
    """A client that takes nothing is dropped, and gets an incomplete file."""
    with asking(url, "/large", "1.1") as stalled:  # in 1.0, more than a request ends a connection
        wait_until(lambda: is_reset(stalled), "the end of the download", pause=0.3)


def is_reset(one: socket.socket) -> bool:
    """Return whether sending fails, which alone shows that the other end of a full connection is gone."""
    try:
        one.sendall(b"G")
    except ConnectionError:
        return True
    return False


def test_a_long_search_is_no_stall(url: str) -> None:
    """A download for which the server searches longer than the deadline becomes complete."""
    assert http_client.get(f"{url}/search").text == "found"


def test_other_responses_are_not_prolonged(url: str) -> None:
    """A stream that is no download ends at its deadline, though its client takes all that is sent."""
    with pytest.raises(httpx.TransportError):
        http_client.get(f"{url}/pings")
