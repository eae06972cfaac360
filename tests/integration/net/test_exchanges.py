"""The HTTP client with servers of every kind: a whole response or a TransportError, over connections that are kept."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import trustme

from actionwatch.base.errors import TransportError
from actionwatch.net.http import HttpClient
from actionwatch.net.http_response import HttpResponse
from actionwatch.net.tls import ClientCertificate, tls_context
from tests.cases import in_one_test
from tests.integration.notifiers.conftest import CA
from tests.integration.notifiers.http_end import HttpEnd, Reply, dead_port
from tests.integration.notifiers.proxy_end import ProxyEnd
from tests.integration.notifiers.smtp_end import RawEnd, hang
from tests.waiting import LIMIT, all_at_once, pause

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
FORGED = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged"
SHORT = 0.3  # seconds, for exchanges that must time out


def client(timeout: float = LIMIT, **given: object) -> contextlib.closing[HttpClient]:
    """Make a client, which the end of a `with` block closes."""
    return contextlib.closing(HttpClient(timeout=timedelta(seconds=timeout), **given))  # type: ignore[arg-type]


@pytest.fixture
def patient_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep connections open long enough for a busy machine."""
    monkeypatch.setattr("actionwatch.net.http.MAX_IDLE_SECONDS", LIMIT)


def take_request(connection: socket.socket) -> bytes:
    """Read one whole request: a connection that is closed with unread bytes is reset, and its response may be lost."""
    taken = b""
    while not (head := re.match(rb"(?s).*?\r\n\r\n", taken)) or len(taken) < head.end() + _length(head[0]):
        if not (piece := connection.recv(65_536)):
            break
        taken += piece
    return taken


def _length(head: bytes) -> int:
    found = re.search(rb"(?i)content-length: *(\d+)", head)
    return int(found[1]) if found else 0


def responding(*pieces: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Respond to the first request of each connection with these bytes, then close."""

    def treat(connection: socket.socket, released: threading.Event) -> None:
        take_request(connection)
        with contextlib.suppress(OSError):
            for piece in pieces:
                connection.sendall(piece)
            # With unread bytes of the request, the close would reset the connection, and the response would be lost.
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65_536):
                continue

    return treat


def dripping(response: bytes, endless: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Send the beginning, then a little from time to time until the client or the test ends it."""

    def treat(connection: socket.socket, released: threading.Event) -> None:
        take_request(connection)
        with contextlib.suppress(OSError):
            connection.sendall(response)
            while not released.wait(SHORT / 10):
                connection.sendall(endless)

    return treat


def serving(*responses: bytes) -> tuple[list[int], Callable[[socket.socket, threading.Event], None]]:
    """Respond to the requests of each connection with these texts in turn, then close. Also returns the connections."""
    accepted: list[int] = []

    def treat(connection: socket.socket, released: threading.Event) -> None:
        accepted.append(1)
        with contextlib.suppress(OSError):
            for response in responses:
                if not take_request(connection):
                    return
                connection.sendall(response)

    return accepted, treat


def request_from(*pieces: bytes, **given: object) -> HttpResponse:
    """Send a request to a server that responds with this."""
    with RawEnd(responding(*pieces)) as server, client(**given) as made:  # type: ignore[arg-type]
        return made.request("POST", f"http://127.0.0.1:{server.port}/", content=b"{}")


@in_one_test(
    ("response", "status", "body"),
    [
        (OK, 200, b"ok"),
        (OK.replace(b"\r\n", b"\n"), 200, b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 204\r\ncontent-length: 5\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", 304, b""),
        (b"HTTP/1.1 500 \r\n\r\nuntil\r\n\r\nthe end", 500, b"until\r\n\r\nthe end"),
        (b"HTTP/1.0 200 OK\r\n\r\nold", 200, b"old"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nan\r\n\r\nend", 200, b"an\r\n\r\nend"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + OK, 200, b"ok"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0a;x=1\r\n0123\r\n\r\n89\r\n0\r\n\r\n", 200,
         b"abc0123\r\n\r\n89"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nlate: 1\r\nlater: 2\r\n\r\n", 200, b"x"),
    ],
)  # fmt: skip
def test_response_is_parsed_with_any_framing(response: bytes, status: int, body: bytes) -> None:
    """The response is parsed correctly with any framing, whether it arrives at once or byte by byte."""
    for pieces in ([response], [response[at : at + 1] for at in range(len(response))]):
        answer = request_from(*pieces)
        assert (answer.status, answer.body) == (status, body)


@in_one_test(
    ("response", "fault"),
    [
        (b"", "disconnected without sending a response"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "illegal status line"),
        (b"HTTP/2 200\r\n\r\n", "illegal status line"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "illegal header line"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", "closed connection"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5, 6\r\n\r\nabcdef", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", "Content-Length"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n", "(?i)transfer-encoding"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", "illegal chunk header"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nabcd\r\n", "malformed chunk"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 40_000 + b"\r\n", "too long|broke"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2_000, "larger than 1000"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2000\r\n\r\n" + b"x" * 2_000, "larger than 1000"),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"190\r\n" + b"x" * 400 + b"\r\n",
            "closed connection",
        ),
    ],
)
def test_broken_response_is_an_error(response: bytes, fault: str) -> None:
    """A broken response is a TransportError, and uses little time and memory."""
    with pytest.raises(TransportError, match=fault):
        request_from(response, max_body_bytes=1_000)


@in_one_test(
    ("response", "endless"),
    [
        (b"HTTP/1.1 200", b"x"),
        (b"HTTP/1.1 200 OK\r\n", b"x: y\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n", b"x"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n"),
    ],
)
def test_slow_server_times_out(response: bytes, endless: bytes) -> None:
    """A server that sends a little from time to time, also in the head, times out."""
    with (
        RawEnd(dripping(response, endless)) as server,
        client(SHORT) as made,
        pytest.raises(TransportError, match="within the timeout"),
    ):
        made.request("POST", f"http://127.0.0.1:{server.port}/", content=b"{}")


def test_slow_tls_handshake_times_out() -> None:
    """A server that never ends the TLS handshake times out."""
    record = b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc"  # a ServerHello of 16 KB is announced
    with (
        RawEnd(dripping(record, b"\0")) as server,
        client(SHORT) as made,
        pytest.raises(TransportError, match="no connection within the timeout"),
    ):
        made.request("POST", f"https://127.0.0.1:{server.port}/", content=b"{}")


def test_server_that_does_not_read_times_out() -> None:
    """A server whose receive window is full times out."""
    with (
        RawEnd(hang) as server,
        client(SHORT) as made,
        pytest.raises(TransportError, match="within the timeout"),
    ):
        made.request("POST", f"http://127.0.0.1:{server.port}/", content=b"x" * 32 * 1024 * 1024)


def test_server_that_reads_slowly_times_out() -> None:
    """A server that reads a little of the message from time to time times out."""

    def sip(connection: socket.socket, released: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while connection.recv(64 * 1024) and not released.wait(SHORT / 10):
                continue

    with (
        RawEnd(sip) as server,
        client(SHORT) as made,
        pytest.raises(TransportError, match="within the timeout"),
    ):
        made.request("POST", f"http://127.0.0.1:{server.port}/", content=b"x" * 64 * 1024 * 1024)


# -- connections -----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("patient_connections")
def test_connections_are_kept_per_origin() -> None:
    """Twenty posts to two paths of one host open one connection."""
    with HttpEnd(lambda _: Reply(200)) as server, client() as made:
        for number in range(20):
            made.request("POST", f"{server.url}/{number % 2}?n={number}", content=b"")
        assert len(server.requests) == 20
        assert server.connection_count == 1


@pytest.mark.usefixtures("patient_connections")
def test_threads_do_not_wait_for_each_other_and_share_few_connections() -> None:
    """Threads do not wait for each other, and few connections stay open."""
    together = threading.Barrier(4)

    def reply(_: object) -> Reply:
        together.wait(LIMIT)
        return Reply(200)

    with HttpEnd(reply) as server, client() as made:
        for _ in range(3):
            all_at_once(*[lambda: made.request("POST", f"{server.url}/", content=b"")] * 4)
        assert len(server.requests) == 12
        assert server.connection_count == 4


@pytest.mark.usefixtures("patient_connections")
def test_closed_connection_is_replaced() -> None:
    """Connections are reused, and one that the server closed is replaced without an error."""
    accepted, treat = serving(OK, OK)
    with RawEnd(treat) as server, client() as made:
        for number in range(6):
            assert made.request("POST", f"http://127.0.0.1:{server.port}/", content=b"").body == b"ok"
            if number % 2:
                server.wait_for_a_close()
    assert len(accepted) == 3


@pytest.mark.usefixtures("patient_connections")
def test_sent_message_is_not_repeated_within_an_attempt() -> None:
    """If the server closes the connection instead of responding, the message is not sent twice in one attempt."""
    accepted, treat = serving(OK, b"")
    with RawEnd(treat) as server, client() as made:
        url = f"http://127.0.0.1:{server.port}/"
        assert made.request("POST", url, content=b"").status == 200
        with pytest.raises(TransportError, match="disconnected without sending a response"):
            made.request("POST", url, content=b"")
    assert len(accepted) == 1


@in_one_test(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        OK + FORGED,
        OK + b"H",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" + FORGED,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nlate: 1\r\n\r\n" + FORGED,
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ],
)
def test_connection_with_surplus_bytes_is_not_reused(response: bytes) -> None:
    """A response that arrives too early is not taken for the response to the next message."""
    accepted, treat = serving(response, FORGED)
    with RawEnd(treat) as server, client() as made:
        for _ in range(2):
            assert made.request("POST", f"http://127.0.0.1:{server.port}/", content=b"").body == b"ok"
    assert len(accepted) == 2


@pytest.mark.parametrize(
    "response", [b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 204 No\r\ncontent-length: 6\r\n\r\n"]
)
def test_bytes_after_a_response_without_a_body_are_not_used(response: bytes) -> None:
    """Bytes after a 204 are not taken for the response to the next message."""
    accepted, treat = serving(response + FORGED, FORGED)
    with RawEnd(treat) as server, client() as made:
        for _ in range(2):
            assert made.request("POST", f"http://127.0.0.1:{server.port}/", content=b"").status == 204
    assert len(accepted) == 2


def test_connections_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that was idle for long is not reused."""
    monkeypatch.setattr("actionwatch.net.http.MAX_IDLE_SECONDS", 0.1)
    with HttpEnd(lambda _: Reply(200)) as server, client() as made:
        made.request("POST", f"{server.url}/", content=b"")
        pause(0.2)
        made.request("POST", f"{server.url}/", content=b"")
        assert server.connection_count == 2


def test_close_waits_for_connections_in_use() -> None:
    """A connection that is in use when the client closes is closed after its message."""
    with HttpEnd(lambda _: Reply(200)) as server, client() as made:
        server.reply = lambda _: made.close() or Reply(200)  # type: ignore[func-returns-value]
        assert made.request("POST", f"{server.url}/", content=b"").status == 200
        with pytest.raises(TransportError, match="closed"):
            made.request("POST", f"{server.url}/", content=b"")


def test_cookies_are_not_kept() -> None:
    """A cookie of one response is not sent with the next message."""
    with HttpEnd(lambda _: Reply(200, b"", {"set-cookie": "session=abc; path=/"})) as server, client() as made:
        for _ in range(2):
            made.request("POST", f"{server.url}/", content=b"")
        assert [request.headers.get("cookie") for request in server.requests] == [None, None]


@pytest.mark.parametrize("location", ["http://127.0.0.1:1/", "http://[::1", "http://x:port/", ""])
def test_redirect_is_a_response(location: str) -> None:
    """A redirect is returned and not followed, whatever its target."""
    with HttpEnd(lambda _: Reply(302, b"", {"location": location})) as server, client() as made:
        answer = made.request("POST", f"{server.url}/", content=b"")
        assert (answer.status, answer.headers["location"]) == (302, location)
        assert len(server.requests) == 1


def test_netrc_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials in a netrc file are not sent."""
    (tmp_path / ".netrc").write_text("default login user password s3cret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with HttpEnd(lambda _: Reply(200)) as server, client() as made:
        made.request("POST", f"{server.url}/", content=b"")
        assert "authorization" not in server.requests[0].headers


# -- requests --------------------------------------------------------------------------------------------------------------


def test_request_is_sent_unchanged() -> None:
    """Host, path, query and length are sent unchanged."""
    with HttpEnd(lambda _: Reply(200)) as server, client() as made:
        made.request("POST", f"{server.url}/a b/é?x=%20&y=ü#part", headers={"X-Own": "e"}, content=b"abc")
        [request] = server.requests
    assert request.path == "/a%20b/%C3%A9?x=%20&y=%C3%BC"
    assert request.headers["host"] == server.url.removeprefix("http://")
    assert request.headers["x-own"] == "e"
    assert request.headers["user-agent"].startswith("actionwatch/")
    assert request.body == b"abc"


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\nb", "a\0b", "日本"])
def test_header_cannot_forge_another(value: str) -> None:
    """A header value with a line end is an error that does not contain the value."""
    with HttpEnd(lambda _: Reply(200)) as server, client() as made:
        with pytest.raises(TransportError, match="header") as caught:
            made.request("POST", f"{server.url}/", headers={"x": value}, content=b"")
        assert value not in str(caught.value)
        assert not server.requests


@in_one_test("url", ["ftp://x.example/", "http://", "http://[::1", "http://x:99999/", "http://a..b/", "x"])
def test_invalid_url_is_not_shown(url: str) -> None:
    """An invalid URL is an error that does not contain it."""
    with client() as made, pytest.raises(TransportError) as caught:
        made.request("POST", url, content=b"")
    assert url not in str(caught.value) or len(url) < 3


def test_refused_connection_is_an_error() -> None:
    """A refused connection is a TransportError."""
    with (
        client() as made,
        dead_port() as port,
        pytest.raises(TransportError, match=r"cannot connect.*refused.*check host and port"),
    ):
        made.request("POST", f"http://127.0.0.1:{port}/", content=b"")


def test_connect_sends_nothing(server_context: ssl.SSLContext, ca_file: Path) -> None:
    """A live check connects and posts nothing."""
    for context in (None, server_context):
        with HttpEnd(lambda _: Reply(204), context) as server, client(ca_file=ca_file) as made:
            made.reach(f"{server.url}/hook")
            made.request("POST", f"{server.url}/hook", content=b"")
            assert len(server.requests) == 1
            assert server.connection_count >= 1


@pytest.mark.parametrize(
    ("address", "remedy"),
    [
        ("https://no-such-host.invalid/", "check the host name"),
        ("https://127.0.0.1:{plain}/", "check that host and port expect TLS"),
        ("https://127.0.0.1:{tls}/", "set ca_file to its authority"),
    ],
)
def test_failed_connection_has_a_remedy(server_context: ssl.SSLContext, address: str, remedy: str) -> None:
    """The error of a failed connection contains a remedy."""
    with HttpEnd(lambda _: Reply(204)) as plain, HttpEnd(lambda _: Reply(204), server_context) as tls:
        url = address.format(plain=plain.url.rpartition(":")[2], tls=tls.url.rpartition(":")[2])
        with client() as made, pytest.raises(TransportError, match=f"cannot connect: .*{remedy}"):
            made.reach(url)


# -- proxies ---------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("patient_connections")
def test_proxy_tunnels_tls(server_context: ssl.SSLContext, ca_file: Path) -> None:
    """The proxy gets its credentials, is used, and cannot read the message."""
    with ProxyEnd() as proxy, HttpEnd(lambda _: Reply(200, b"taken"), server_context) as server:
        with client(proxy=proxy.url, ca_file=ca_file) as made:
            for _ in range(2):
                assert (
                    made.request("POST", f"{server.url}/secret", headers={"x": "s3cret"}, content=b"{}").body
                    == b"taken"
                )
        place = server.url.removeprefix("https://")
        [seen] = proxy.seen  # one tunnel for both messages
        head, *fields = seen.split("\r\n")
        assert head == f"CONNECT {place} HTTP/1.1"
        assert sorted(fields) == ["Accept: */*", f"Host: {place}", "Proxy-Authorization: Basic dXNlcjpwQHNz"]


def test_proxy_forwards_plain_requests() -> None:
    """A plain http URL is requested through the proxy, in the format that proxies need."""
    with ProxyEnd() as proxy, HttpEnd(lambda _: Reply(200, b"taken")) as server:
        with client(proxy=proxy.url) as made:
            assert made.request("POST", f"{server.url}/hook?a=1", content=b"{}").body == b"taken"
        assert proxy.seen[0].startswith(f"POST {server.url}/hook?a=1 HTTP/1.1\r\n")
        assert "proxy-authorization: basic dxnlcjpwqhnz" in proxy.seen[0].lower()
        assert server.requests[0].path == "/hook?a=1"


def test_connect_through_a_proxy_opens_the_tunnel_and_sends_nothing(
    server_context: ssl.SSLContext, ca_file: Path
) -> None:
    """A live check through a proxy opens the tunnel and posts nothing."""
    with ProxyEnd() as proxy, HttpEnd(lambda _: Reply(200), server_context) as server:
        with client(proxy=proxy.url, ca_file=ca_file) as made:
            made.reach(f"{server.url}/hook")
        assert len(proxy.seen) == 1
        assert server.connection_count == 1
        assert not server.requests


@pytest.mark.parametrize(
    ("response", "fault"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "the proxy answered 407"),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "cannot connect: the proxy sent unexpected data"),
        (b"", "disconnected without sending a response"),
        (b"nonsense\r\n\r\n", "no valid response"),
    ],
)
def test_refusal_of_a_proxy_is_an_error(response: bytes, fault: str) -> None:
    """The refusal of a proxy is not taken for a response of the receiver."""
    with ProxyEnd(response) as proxy, client(proxy=proxy.url) as made, pytest.raises(TransportError, match=fault):
        made.request("POST", "https://receiver.example/", content=b"{}")


# -- certificates ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wanting_context() -> ssl.SSLContext:
    """A server's side of TLS that requires a client certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CA.issue_cert("127.0.0.1").configure_cert(context)
    CA.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.fixture
def identity(tmp_path: Path) -> ClientCertificate:
    """A certificate of the same authority, with its key."""
    issued = CA.issue_cert("actionwatch.example")
    (tmp_path / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    return ClientCertificate(tmp_path / "cert.pem", tmp_path / "key.pem")


def test_client_certificate_is_presented(
    wanting_context: ssl.SSLContext, ca_file: Path, identity: ClientCertificate
) -> None:
    """A receiver with mutual TLS accepts messages, with the key in a separate file or in one with the certificate."""
    both = identity.cert_file.with_name("both.pem")
    assert identity.key_file
    both.write_bytes(identity.key_file.read_bytes() + identity.cert_file.read_bytes())
    for shown in (identity, ClientCertificate(both)):
        with (
            HttpEnd(lambda _: Reply(200, b"taken"), wanting_context) as server,
            client(ca_file=ca_file, identity=shown) as made,
        ):
            assert made.request("POST", f"{server.url}/", content=b"{}").body == b"taken"


def test_server_that_requires_a_certificate_refuses_without_one(
    wanting_context: ssl.SSLContext, ca_file: Path, tmp_path: Path
) -> None:
    """Without a certificate, the server's refusal is a TransportError."""
    other = tmp_path / "other.pem"
    trustme.CA().issue_cert("actionwatch.example").private_key_and_cert_chain_pem.write_to_path(str(other))
    for shown in (None, ClientCertificate(other)):
        with HttpEnd(lambda _: Reply(200), wanting_context) as server:
            with client(ca_file=ca_file, identity=shown) as made, pytest.raises(TransportError):
                made.request("POST", f"{server.url}/", content=b"{}")
            assert not server.requests


def test_mail_does_not_offer_http() -> None:
    """The HTTP client does not change the TLS context that it shares with mail."""

    def hello(context: ssl.SSLContext) -> bytes:
        outgoing = ssl.MemoryBIO()
        handshake = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="x.example")
        with contextlib.suppress(ssl.SSLWantReadError):
            handshake.do_handshake()
        return outgoing.read()

    closes_at_once = RawEnd(lambda connection, released: None)
    with closes_at_once as server, client() as made, pytest.raises(TransportError):
        made.request("POST", f"https://127.0.0.1:{server.port}/", content=b"")
    assert b"http/1.1" in hello(tls_context(alpn="http/1.1"))
    assert b"http/1.1" not in hello(tls_context())


def test_address_that_drops_packets_leaves_time_for_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host has two addresses, and the network drops what is sent to the first, as on a broken IPv6 route."""
    with contextlib.ExitStack() as stack, RawEnd(responding(OK)) as end, client(10 * SHORT) as http:
        hole = stack.enter_context(socket.socket())
        hole.bind(("127.0.0.2", 0))
        hole.listen(0)
        for _ in range(4):  # more than its queue has room for: the system drops what else arrives
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(hole.getsockname())
        addresses = [hole.getsockname(), ("127.0.0.1", end.port)]
        found = [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address) for address in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        assert http.request("GET", "http://two-addresses.example/").status == 200
