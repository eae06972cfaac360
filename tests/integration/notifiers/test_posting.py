"""_posting.py and _line.py: whole answers or a TransportError, from servers of every manner."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import trustme

from actionwatch.base.errors import TransportError
from actionwatch.net.http_response import Answer
from actionwatch.notifiers import _posting
from actionwatch.notifiers._posting import Identity, Poster
from tests.integration.notifiers.conftest import CA
from tests.integration.notifiers.http_end import HttpEnd, Reply, dead_port
from tests.integration.notifiers.proxy_end import ProxyEnd
from tests.integration.notifiers.smtp_end import RawEnd, hang

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@contextmanager
def posting(timeout: float = 0.5, **given: object) -> Iterator[Poster]:
    """A client, closed in the end."""
    made = Poster(timeout=timedelta(seconds=timeout), **given)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        made.close()


def saying(*pieces: bytes, pause: float = 0.0) -> Callable[[socket.socket, threading.Event], None]:
    """Answer each connection's first request with these bytes, then hang up."""

    def treat(connection: socket.socket, released: threading.Event) -> None:
        connection.recv(65_536)
        try:
            for piece in pieces:
                connection.sendall(piece)
                released.wait(pause)
        except OSError:
            return

    return treat


def ask(*pieces: bytes, pause: float = 0.0, **given: object) -> Answer:
    """Ask a server that says this."""
    with RawEnd(saying(*pieces, pause=pause)) as server, posting(**given) as poster:  # type: ignore[arg-type]
        return poster.post(f"http://127.0.0.1:{server.port}/", headers={}, content=b"{}")


@pytest.mark.parametrize(
    ("said", "status", "body"),
    [
        (OK, 200, b"ok"),
        (OK.replace(b"\r\n", b"\n"), 200, b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 204\r\ncontent-length: 5\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", 304, b""),
        (b"HTTP/1.1 500 \r\n\r\nuntil the end", 500, b"until the end"),
        (b"HTTP/1.0 200 OK\r\n\r\nold", 200, b"old"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK, 200, b"ok"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0a;x=1\r\n0123456789\r\n0\r\n\r\n", 200,
         b"abc0123456789"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nlate: 1\r\nlater: 2\r\n\r\n", 200, b"x"),
    ],
)  # fmt: skip
def test_answers_are_read_as_they_are_framed(said: bytes, status: int, body: bytes) -> None:
    """Some server's way to answer is not understood, whether it comes at once or byte by byte."""
    for pieces in ([said], [said[at : at + 1] for at in range(len(said))]):
        answer = ask(*pieces)
        assert (answer.status, answer.body) == (status, body)


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (b"", "hung up"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "not HTTP"),
        (b"HTTP/2 200\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 101 Switching Protocols\r\ncontent-length: x\r\n\r\n", "how long"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "cannot be read"),
        (b"HTTP/1.1 200 OK\r\na: b\r\n folded\r\n\r\n", "cannot be read"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", "hung up"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5, 6\r\n\r\nabcdef", "how long"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "how long"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n", "transfer coding"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", "chunks"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nabcd\r\n", "chunks|larger"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n", "larger than"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 40_000 + b"\r\n", "head is larger"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2_000, "larger than 1000"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"190\r\n" + b"x" * 400 + b"\r\n", "hung up"),
    ],
)
def test_what_is_no_answer_is_said(said: bytes, fault: str) -> None:
    """A broken answer counts as delivered, hangs, fills the memory, or raises something else."""
    with pytest.raises(TransportError, match=fault):
        ask(said, max_body_bytes=1_000)


@pytest.mark.parametrize("said", [OK, b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 50 + b"\r\n"])
def test_a_server_that_drips_is_given_up(said: bytes) -> None:
    """A server that sends a byte now and then, headers included, holds a worker for ever."""
    started = time.monotonic()
    with pytest.raises(TransportError, match="within the timeout"):
        ask(*(said[at : at + 1] for at in range(len(said))), pause=0.05, timeout=0.3)
    assert time.monotonic() - started < 1


def test_a_server_that_does_not_read_is_given_up() -> None:
    """A server whose window is full holds a worker for ever."""
    with RawEnd(hang) as server, posting(0.3) as poster:
        started = time.monotonic()
        with pytest.raises(TransportError, match="within the timeout"):
            poster.post(f"http://127.0.0.1:{server.port}/", headers={}, content=b"x" * 32 * 1024 * 1024)
        assert time.monotonic() - started < 2


def test_a_connection_is_kept_and_replaced_when_the_server_closed_it() -> None:
    """Every message costs a handshake, or the first one after a pause fails."""
    accepted = []

    def treat(connection: socket.socket, released: threading.Event) -> None:
        accepted.append(1)
        for _ in range(2):
            connection.recv(65_536)
            connection.sendall(OK)

    with RawEnd(treat) as server, posting() as poster:
        for _ in range(6):
            assert poster.post(f"http://127.0.0.1:{server.port}/", headers={}, content=b"").body == b"ok"
            time.sleep(0.02)  # for the server's goodbye to arrive
    assert len(accepted) == 3


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        OK + b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ],
)
def test_a_connection_that_cannot_be_trusted_is_not_used_again(said: bytes) -> None:
    """An answer that came too early is taken for that to the next message."""
    accepted = []

    def treat(connection: socket.socket, released: threading.Event) -> None:
        accepted.append(1)
        connection.recv(65_536)
        connection.sendall(said)
        connection.recv(65_536)

    with RawEnd(treat) as server, posting() as poster:
        for _ in range(2):
            assert poster.post(f"http://127.0.0.1:{server.port}/", headers={}, content=b"").body == b"ok"
    assert len(accepted) == 2


def test_the_request_is_what_was_asked_for() -> None:
    """Host, path, query or length reach the server changed."""
    with HttpEnd(lambda _: Reply(200)) as server, posting() as poster:
        poster.post(f"{server.url}/a b/é?x=%20&y=ü#part", headers={"X-Own": "é"}, content=b"abc")
        [request] = server.requests
    assert request.path == "/a%20b/%C3%A9?x=%20&y=%C3%BC"
    assert request.headers["host"] == server.url.removeprefix("http://")
    assert request.headers["x-own"].encode("latin-1").decode("latin-1") == "é"
    assert request.headers["user-agent"].startswith("actionwatch/")
    assert request.body == b"abc"


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\nb", "a\0b", "日本"])
def test_a_header_cannot_forge_another(value: str) -> None:
    """A value ends its line and goes on as a header of its own."""
    with HttpEnd(lambda _: Reply(200)) as server, posting() as poster:
        with pytest.raises(TransportError, match="header"):
            poster.post(f"{server.url}/", headers={"x": value}, content=b"")
        assert not server.requests


@pytest.mark.parametrize("url", ["ftp://x.example/", "http://", "http://[::1", "http://x:99999/", "http://a..b/", "x"])
def test_an_address_that_is_none_is_said_without_it(url: str) -> None:
    """A wrong address raises something else, or stands in the message."""
    with posting() as poster, pytest.raises(TransportError) as caught:
        poster.post(url, headers={}, content=b"")
    assert url not in str(caught.value) or len(url) < 3


def test_a_port_where_nothing_listens_is_said() -> None:
    """A refused connection raises something else."""
    with posting() as poster, pytest.raises(TransportError, match=r"cannot connect.*refused.*check host and port"):
        poster.post(f"http://127.0.0.1:{dead_port()}/", headers={}, content=b"")


@pytest.mark.parametrize(
    ("address", "remedy"),
    [
        ("https://no-such-host.invalid/", "check the name of the host"),
        ("https://127.0.0.1:{plain}/", "check that host and port are those for TLS"),
        ("https://127.0.0.1:{tls}/", "name its authority in ca_file"),
    ],
)
def test_what_keeps_us_from_connecting_is_said_with_its_remedy(
    server_context: ssl.SSLContext, address: str, remedy: str
) -> None:
    """Somebody reads that it does not work, and not what to do."""
    with HttpEnd(lambda _: Reply(204)) as plain, HttpEnd(lambda _: Reply(204), server_context) as tls:
        url = address.format(plain=plain.url.rpartition(":")[2], tls=tls.url.rpartition(":")[2])
        with posting() as poster, pytest.raises(TransportError, match=f"cannot connect: .*{remedy}"):
            poster.reach(url)


def test_closing_closes_what_is_in_use_too() -> None:
    """A connection that was in use when the service ended stays open."""
    with HttpEnd(lambda _: Reply(200)) as server, posting() as poster:
        server.reply = lambda _: poster.close() or Reply(200)  # type: ignore[func-returns-value]
        poster.post(f"{server.url}/", headers={}, content=b"")
        assert not poster._idle


def test_connections_go_stale() -> None:
    """A connection that a balancer has forgotten long ago is used again."""
    with HttpEnd(lambda _: Reply(200)) as server, posting() as poster:
        poster.post(f"{server.url}/", headers={}, content=b"")
        target, line, since = poster._idle.pop()
        poster._idle.append((target, line, since - _posting.MAX_IDLE_SECONDS))
        poster.post(f"{server.url}/", headers={}, content=b"")
        assert [kept[1] is line for kept in poster._idle] == [False]


# -- proxies ---------------------------------------------------------------------------------------------------------------


def test_a_proxy_tunnels_tls_and_sees_nothing_of_it(server_context: ssl.SSLContext, ca_file: Path) -> None:
    """The proxy is passed by, gets no credentials, or reads the message."""
    with ProxyEnd() as proxy, HttpEnd(lambda _: Reply(200, b"taken"), server_context) as server:
        with posting(2, proxy=proxy.url, ca_file=ca_file) as poster:
            for _ in range(2):
                assert poster.post(f"{server.url}/secret", headers={"x": "s3cret"}, content=b"{}").body == b"taken"
        place = server.url.removeprefix("https://")
        assert proxy.seen == [f"CONNECT {place} HTTP/1.1\r\nhost: {place}\r\nproxy-authorization: Basic dXNlcjpwQHNz"]


def test_a_proxy_passes_plain_requests_on() -> None:
    """A plain address is asked for without the proxy, or not in the form that proxies want."""
    with ProxyEnd() as proxy, HttpEnd(lambda _: Reply(200, b"taken")) as server:
        with posting(2, proxy=proxy.url) as poster:
            assert poster.post(f"{server.url}/hook?a=1", headers={}, content=b"{}").body == b"taken"
        assert proxy.seen[0].startswith(f"POST {server.url}/hook?a=1 HTTP/1.1\r\n")
        assert "proxy-authorization: Basic dXNlcjpwQHNz" in proxy.seen[0]
        assert server.requests[0].path == "/hook?a=1"


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "the proxy answered 407"),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "in the server's place"),
        (b"", "cannot connect"),
        (b"nonsense\r\n\r\n", "not HTTP"),
    ],
)
def test_a_proxy_that_refuses_is_said(said: bytes, fault: str) -> None:
    """A proxy's refusal is taken for the receiver's answer."""
    with ProxyEnd(said) as proxy, posting(proxy=proxy.url) as poster, pytest.raises(TransportError, match=fault):
        poster.post("https://receiver.example/", headers={}, content=b"{}")


# -- certificates ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wanting_context() -> ssl.SSLContext:
    """A server's side of TLS that wants the client's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.issue_cert("127.0.0.1").configure_cert(context)
    CA.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    """A certificate of the same authority, its key beside it."""
    issued = CA.issue_cert("actionwatch.example")
    (tmp_path / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    return Identity(tmp_path / "cert.pem", tmp_path / "key.pem")


def test_a_server_that_asks_is_shown_who_we_are(
    wanting_context: ssl.SSLContext, ca_file: Path, identity: Identity
) -> None:
    """A receiver behind mutual TLS cannot be reached, with the key in a file of its own or in one with the certificate."""
    both = identity.cert_file.with_name("both.pem")
    assert identity.key_file
    both.write_bytes(identity.key_file.read_bytes() + identity.cert_file.read_bytes())
    for shown in (identity, Identity(both)):
        with (
            HttpEnd(lambda _: Reply(200, b"taken"), wanting_context) as server,
            posting(2, ca_file=ca_file, identity=shown) as poster,
        ):
            assert poster.post(f"{server.url}/", headers={}, content=b"{}").body == b"taken"


def test_without_a_certificate_such_a_server_takes_nothing(
    wanting_context: ssl.SSLContext, ca_file: Path, tmp_path: Path
) -> None:
    """A message goes to a server that refused us, or the refusal is no TransportError."""
    stranger = tmp_path / "stranger.pem"
    trustme.CA().issue_cert("actionwatch.example").private_key_and_cert_chain_pem.write_to_path(str(stranger))
    for shown in (None, Identity(stranger)):
        with HttpEnd(lambda _: Reply(200), wanting_context) as server:
            with posting(2, ca_file=ca_file, identity=shown) as poster, pytest.raises(TransportError):
                poster.post(f"{server.url}/", headers={}, content=b"{}")
            assert not server.requests
