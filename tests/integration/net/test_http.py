"""The HTTP client with real sockets: a whole response within the limits, or an error that contains no secret."""

from __future__ import annotations

import gzip
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta

import pytest

from actionwatch.base.errors import TransportError
from actionwatch.net.http import HttpClient, basic
from actionwatch.net.http_response import USER_AGENT
from tests.cases import in_one_test
from tests.waiting import LIMIT, PATIENT, beside, pause

QUICK = timedelta(seconds=0.4)  # for responses that do not end
OK = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"  # the server handles one request per connection

Act = Callable[[socket.socket], None]


@contextmanager
def server(act: Act) -> Iterator[tuple[str, list[bytes]]]:
    """Call `act` for each connection after the head of its request. Yields the URL and the heads."""
    heads: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(LIMIT)
                    head = _request(connection)
                    if head:
                        heads.append(head)
                        try:
                            act(connection)
                        except OSError:
                            continue

        with beside(serve, stop=lambda: listener.shutdown(socket.SHUT_RDWR)):
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", heads


def _request(connection: socket.socket) -> bytes:
    """Read a whole request, because a close with unread bytes would reset the connection."""
    head = b""
    while b"\r\n\r\n" not in head and (chunk := connection.recv(65536)):
        head += chunk
    length = re.search(rb"content-length: (\d+)", head.lower())
    end = head.find(b"\r\n\r\n") + 4 + (int(length[1]) if length else 0)
    while len(head) < end and (chunk := connection.recv(65536)):
        head += chunk
    return head


def responding(data: bytes) -> Act:
    """Respond with these bytes."""
    return lambda connection: connection.sendall(data)


def dripping(head: bytes) -> Act:
    """Send this, then a byte from time to time, until the client closes."""

    def act(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(b"x")
            pause(0.05)

    return act


def hang(connection: socket.socket) -> None:
    """Send nothing until the client closes."""
    while connection.recv(65536):
        continue


def test_request_is_sent_unchanged() -> None:
    """The request arrives unchanged: method, path with query, headers and body, without other headers."""
    with server(responding(OK)) as (url, heads), closing(HttpClient(timeout=PATIENT, headers={"x-own": "1"})) as client:
        answer = client.request("POST", f"{url}/a?b=c%2Fd", headers={"x-one": "2"}, content=b"body")
        client.request("GET", f"{url}/list", params=[("from", "a b"), ("to", 3)])
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"ok", "2")
    assert answer.took > timedelta(0)
    first, second = heads
    assert first.startswith(b"POST /a?b=c%2Fd HTTP/1.1\r\n")
    for wanted in (f"user-agent: {USER_AGENT}", "x-own: 1", "x-one: 2", "content-length: 4"):
        assert wanted.encode() in first.lower()
    assert second.startswith((b"GET /list?from=a%20b&to=3 HTTP/1.1\r\n", b"GET /list?from=a+b&to=3 HTTP/1.1\r\n"))


def test_proxy_of_the_environment_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment is not used."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with server(responding(OK)) as (url, _), closing(HttpClient(timeout=PATIENT)) as client:
        assert client.request("GET", url).status == 200


def test_redirect_is_returned() -> None:
    """A redirect is returned, not followed."""
    data = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
    with (
        server(responding(data)) as (url, heads),
        closing(HttpClient(timeout=PATIENT, headers={"authorization": basic("user", "word")})) as client,
    ):
        answer = client.request("GET", url)
    assert (answer.status, answer.headers["location"]) == (302, "http://127.0.0.1:1/")
    assert len(heads) == 1


def test_size_limit_applies_to_the_decompressed_response() -> None:
    """The size limit applies to the decompressed response, so that a small one cannot fill the memory."""
    packed = gzip.compress(b"0" * 5_000_000)
    head = f"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {len(packed)}\r\n\r\n".encode()
    with server(responding(head + packed)) as (url, _):
        small = HttpClient(timeout=PATIENT, max_body_bytes=1_000_000)
        with closing(small), pytest.raises(TransportError, match="larger than 1000000 bytes"):
            small.request("GET", url)
        with closing(HttpClient(timeout=PATIENT, max_body_bytes=5_000_000)) as client:
            assert len(client.request("GET", url).body) == 5_000_000


FAULTS: dict[str, tuple[Act, str]] = {
    "cut off": (responding(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"), "no valid response"),
    "closed": (responding(b""), "no valid response"),
    "no HTTP": (responding(b"SSH-2.0-OpenSSH\r\n\r\n"), "no valid response"),
    "hangs": (hang, "no response within the timeout"),
    "drips": (dripping(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"), "no response within the timeout"),
    "drips its head": (dripping(b"HTTP/1.1 200 OK\r\nx-header: "), "no response within the timeout"),
    "drips its status": (dripping(b"HTTP/1.1 200 "), "no response within the timeout"),
    "bad gzip": (
        responding(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nnope"),
        "cannot be decompressed",
    ),
}


@in_one_test("name", FAULTS)
def test_incomplete_exchange_is_an_error(name: str) -> None:
    """An exchange without a whole response in time is an error that does not contain the URL."""
    act, words = FAULTS[name]
    timeout = QUICK if "timeout" in words else PATIENT
    with (
        server(act) as (url, _),
        closing(HttpClient(timeout=timeout)) as client,
        pytest.raises(TransportError, match=words) as caught,
    ):
        client.request("POST", f"{url}/services/T0/SECRET?token=SECRET", content=b"{}")
    assert "SECRET" not in str(caught.value)


@in_one_test(
    "url",
    [
        "http://127.0.0.1:1/SECRET",
        "http://[::1/SECRET",
        "nothing://x/SECRET",
        "SECRET",
        "http://a b/SECRET",
        "http://x:99999/SECRET",
    ],
)
def test_unusable_url_is_an_error(url: str) -> None:
    """An unusable URL is a TransportError that does not contain it."""
    with closing(HttpClient(timeout=PATIENT)) as client, pytest.raises(TransportError) as caught:
        client.request("GET", url)
    assert "SECRET" not in str(caught.value)
