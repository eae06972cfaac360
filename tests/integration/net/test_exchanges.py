"""The HTTP client against servers of every kind: whole responses or a TransportError, over connections that are kept."""

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
from tests.integration.notifiers.conftest import CA
from tests.integration.notifiers.http_end import HttpEnd, Reply, dead_port
from tests.integration.notifiers.proxy_end import ProxyEnd
from tests.integration.notifiers.smtp_end import RawEnd, hang
from tests.waiting import LIMIT, all_at_once, pause

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
FORGED = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged"
SHORT = 0.3  # seconds, for exchanges that are to end by the timeout


def client(timeout: float = LIMIT, **given: object) -> contextlib.closing[HttpClient]:
    """Make a client, which the end of a `with` block closes."""
    return contextlib.closing(HttpClient(timeout=timedelta(seconds=timeout), **given))  # type: ignore[arg-type]


@pytest.fixture
def patient_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have connections that do not expire while a busy machine gets to the next request."""
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


def saying(*pieces: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Answer the first request of each connection with these bytes, then close."""

    def treat(connection: socket.socket, released: threading.Event) -> None:
        take_request(connection)
        with contextlib.suppress(OSError):
            for piece in pieces:
                connection.sendall(piece)
            # Closed with something of the request unread, the connection would be reset, and the response lost.
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65_536):
                continue

    return treat


def dripping(said: bytes, endless: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Send a beginning, then a little now and then until the client or the test ends it."""

    def treat(connection: socket.socket, released: threading.Event) -> None:
        take_request(connection)
        with contextlib.suppress(OSError):
            connection.sendall(said)
            while not released.wait(SHORT / 10):
                connection.sendall(endless)

    return treat


def serving(*responses: bytes) -> tuple[list[int], Callable[[socket.socket, threading.Event], None]]:
    """Answer the requests of each connection with these in turn, then close; gives the connections as well."""
    accepted: list[int] = []

    def treat(connection: socket.socket, released: threading.Event) -> None:
        accepted.append(1)
        with contextlib.suppress(OSError):
            for response in responses:
                if not take_request(connection):
                    return
                connection.sendall(response)

    return accepted, treat


def ask(*pieces: bytes, **given: object) -> HttpResponse:
    """Ask a server that says this."""
    with RawEnd(saying(*pieces)) as server, client(**given) as made:  # type: ignore[arg-type]
        return made.request("POST", f"http://127.0.0.1:{server.port}/", content=b"{}")


@pytest.mark.parametrize(
    ("said", "status", "body"),
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
def test_a_response_is_read_as_it_is_framed(said: bytes, status: int, body: bytes) -> None:
    """The response of some server is not understood, whether it comes at once or byte by byte."""
    for pieces in ([said], [said[at : at + 1] for at in range(len(said))]):
        answer = ask(*pieces)
        assert (answer.status, answer.body) == (status, body)


@pytest.mark.parametrize(
    ("said", "fault"),
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
def test_what_is_no_response_is_an_error(said: bytes, fault: str) -> None:
    """A broken response counts as delivered, hangs, fills the memory, or raises something else."""
    with pytest.raises(TransportError, match=fault):
        ask(said, max_body_bytes=1_000)


@pytest.mark.parametrize(
    ("said", "endless"),
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
def test_a_server_that_drips_is_given_up(said: bytes, endless: bytes) -> None:
    """A server that sends a little now and then, be it in the head, holds a worker for ever."""
    with (
        RawEnd(dripping(said, endless)) as server,
        client(SHORT) as made,
        pytest.raises(TransportError, match="within the timeout"),
    ):
        made.request("POST", f"http://127.0.0.1:{server.port}/", content=b"{}")


def test_a_server_that_drips_in_its_handshake_is_given_up() -> None:
    """A server that never ends the TLS handshake holds a worker for ever."""
    record = b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc"  # a ServerHello of 16 KB is announced
    with (
        RawEnd(dripping(record, b"\0")) as server,
        client(SHORT) as made,
        pytest.raises(TransportError, match="no connection within the timeout"),
    ):
        made.request("POST", f"https://127.0.0.1:{server.port}/", content=b"{}")


def test_a_server_that_does_not_read_is_given_up() -> None:
    """A server whose window is full holds a worker for ever."""
    with (
        RawEnd(hang) as server,
        client(SHORT) as made,
        pytest.raises(TransportError, match="within the timeout"),
    ):
        made.request("POST", f"http://127.0.0.1:{server.port}/", content=b"x" * 32 * 1024 * 1024)


def test_a_server_that_reads_slowly_is_given_up() -> None:
    """A server that takes a little of the message now and then holds a worker for ever."""

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
    """Twenty posts to two paths of one host open more than one connection."""
    with HttpEnd(lambda _: Reply(200)) as server, client() as made:
        for number in range(20):
            made.request("POST", f"{server.url}/{number % 2}?n={number}", content=b"")
        assert len(server.requests) == 20
        assert server.connection_count == 1


@pytest.mark.usefixtures("patient_connections")
def test_threads_have_connections_to_themselves_and_few() -> None:
    """Threads wait for each other, or every thread that ever sent keeps a connection open."""
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
def test_a_connection_is_replaced_when_the_server_closed_it() -> None:
    """Every message costs a handshake, or the first one after a pause fails."""
    accepted, treat = serving(OK, OK)
    with RawEnd(treat) as server, client() as made:
        for number in range(6):
            assert made.request("POST", f"http://127.0.0.1:{server.port}/", content=b"").body == b"ok"
            if number % 2:
                server.wait_for_a_close()
    assert len(accepted) == 3


@pytest.mark.usefixtures("patient_connections")
def test_a_message_is_not_sent_again_once_it_was_sent() -> None:
    """A connection that the server closes instead of answering has the message sent twice within one attempt."""
    accepted, treat = serving(OK, b"")
    with RawEnd(treat) as server, client() as made:
        url = f"http://127.0.0.1:{server.port}/"
        assert made.request("POST", url, content=b"").status == 200
        with pytest.raises(TransportError, match="disconnected without sending a response"):
            made.request("POST", url, content=b"")
    assert len(accepted) == 1


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        OK + FORGED,
        OK + b"H",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" + FORGED,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nlate: 1\r\n\r\n" + FORGED,
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ],
)
def test_a_connection_with_more_than_its_response_is_not_used_again(said: bytes) -> None:
    """A response that came too early is taken for that to the next message, which counts as delivered."""
    accepted, treat = serving(said, FORGED)
    with RawEnd(treat) as server, client() as made:
        for _ in range(2):
            assert made.request("POST", f"http://127.0.0.1:{server.port}/", content=b"").body == b"ok"
    assert len(accepted) == 2


@pytest.mark.parametrize("said", [b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 204 No\r\ncontent-length: 6\r\n\r\n"])
def test_what_follows_a_response_without_a_body_is_not_used_either(said: bytes) -> None:
    """The bytes behind a 204 are taken for the response to the next message."""
    accepted, treat = serving(said + FORGED, FORGED)
    with RawEnd(treat) as server, client() as made:
        for _ in range(2):
            assert made.request("POST", f"http://127.0.0.1:{server.port}/", content=b"").status == 204
    assert len(accepted) == 2


def test_connections_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that a load balancer has forgotten long ago is used again."""
    monkeypatch.setattr("actionwatch.net.http.MAX_IDLE_SECONDS", 0.1)
    with HttpEnd(lambda _: Reply(200)) as server, client() as made:
        made.request("POST", f"{server.url}/", content=b"")
        pause(0.2)
        made.request("POST", f"{server.url}/", content=b"")
        assert server.connection_count == 2


def test_closing_closes_what_is_in_use_too() -> None:
    """A connection that was in use when the service ended stays open, or its message is lost."""
    with HttpEnd(lambda _: Reply(200)) as server, client() as made:
        server.reply = lambda _: made.close() or Reply(200)  # type: ignore[func-returns-value]
        assert made.request("POST", f"{server.url}/", content=b"").status == 200
        with pytest.raises(TransportError, match="closed"):
            made.request("POST", f"{server.url}/", content=b"")


def test_cookies_are_not_kept() -> None:
    """What one response sets goes along with the next message."""
    with HttpEnd(lambda _: Reply(200, b"", {"set-cookie": "session=abc; path=/"})) as server, client() as made:
        for _ in range(2):
            made.request("POST", f"{server.url}/", content=b"")
        assert [request.headers.get("cookie") for request in server.requests] == [None, None]


@pytest.mark.parametrize("location", ["http://127.0.0.1:1/", "http://[::1", "http://x:port/", ""])
def test_a_redirect_is_a_response(location: str) -> None:
    """A redirect is followed, or one to nowhere is no response."""
    with HttpEnd(lambda _: Reply(302, b"", {"location": location})) as server, client() as made:
        answer = made.request("POST", f"{server.url}/", content=b"")
        assert (answer.status, answer.headers["location"]) == (302, location)
        assert len(server.requests) == 1


def test_a_netrc_of_the_environment_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that somebody keeps for other programs go to a receiver."""
    (tmp_path / ".netrc").write_text("default login somebody password s3cret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with HttpEnd(lambda _: Reply(200)) as server, client() as made:
        made.request("POST", f"{server.url}/", content=b"")
        assert "authorization" not in server.requests[0].headers


# -- requests --------------------------------------------------------------------------------------------------------------


def test_the_request_is_what_was_asked_for() -> None:
    """Host, path, query or length reach the server changed."""
    with HttpEnd(lambda _: Reply(200)) as server, client() as made:
        made.request("POST", f"{server.url}/a b/é?x=%20&y=ü#part", headers={"X-Own": "e"}, content=b"abc")
        [request] = server.requests
    assert request.path == "/a%20b/%C3%A9?x=%20&y=%C3%BC"
    assert request.headers["host"] == server.url.removeprefix("http://")
    assert request.headers["x-own"] == "e"
    assert request.headers["user-agent"].startswith("actionwatch/")
    assert request.body == b"abc"


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\nb", "a\0b", "日本"])
def test_a_header_cannot_forge_another(value: str) -> None:
    """A value ends its line and goes on as a header of its own, or stands in the error."""
    with HttpEnd(lambda _: Reply(200)) as server, client() as made:
        with pytest.raises(TransportError, match="header") as caught:
            made.request("POST", f"{server.url}/", headers={"x": value}, content=b"")
        assert value not in str(caught.value)
        assert not server.requests


@pytest.mark.parametrize("url", ["ftp://x.example/", "http://", "http://[::1", "http://x:99999/", "http://a..b/", "x"])
def test_an_address_that_is_none_is_not_shown(url: str) -> None:
    """A wrong address raises something else, or stands in the message."""
    with client() as made, pytest.raises(TransportError) as caught:
        made.request("POST", url, content=b"")
    assert url not in str(caught.value) or len(url) < 3


def test_a_port_where_nothing_listens_is_an_error() -> None:
    """A refused connection raises something else."""
    with (
        client() as made,
        dead_port() as port,
        pytest.raises(TransportError, match=r"cannot connect.*refused.*check host and port"),
    ):
        made.request("POST", f"http://127.0.0.1:{port}/", content=b"")


def test_reaching_sends_nothing(server_context: ssl.SSLContext, ca_file: Path) -> None:
    """A live check posts something to the receiver, or does not connect."""
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
def test_a_failed_connection_comes_with_its_remedy(server_context: ssl.SSLContext, address: str, remedy: str) -> None:
    """Somebody reads that it does not work, and not what to do."""
    with HttpEnd(lambda _: Reply(204)) as plain, HttpEnd(lambda _: Reply(204), server_context) as tls:
        url = address.format(plain=plain.url.rpartition(":")[2], tls=tls.url.rpartition(":")[2])
        with client() as made, pytest.raises(TransportError, match=f"cannot connect: .*{remedy}"):
            made.reach(url)


# -- proxies ---------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("patient_connections")
def test_a_proxy_tunnels_tls_and_sees_nothing_of_it(server_context: ssl.SSLContext, ca_file: Path) -> None:
    """The proxy is passed by, gets no credentials, or reads the message."""
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


def test_a_proxy_passes_plain_requests_on() -> None:
    """A plain address is asked for without the proxy, or not in the form that proxies want."""
    with ProxyEnd() as proxy, HttpEnd(lambda _: Reply(200, b"taken")) as server:
        with client(proxy=proxy.url) as made:
            assert made.request("POST", f"{server.url}/hook?a=1", content=b"{}").body == b"taken"
        assert proxy.seen[0].startswith(f"POST {server.url}/hook?a=1 HTTP/1.1\r\n")
        assert "proxy-authorization: basic dxnlcjpwqhnz" in proxy.seen[0].lower()
        assert server.requests[0].path == "/hook?a=1"


def test_reaching_through_a_proxy_opens_the_tunnel_and_sends_nothing(
    server_context: ssl.SSLContext, ca_file: Path
) -> None:
    """A live check through a proxy posts something, or stops at the proxy."""
    with ProxyEnd() as proxy, HttpEnd(lambda _: Reply(200), server_context) as server:
        with client(proxy=proxy.url, ca_file=ca_file) as made:
            made.reach(f"{server.url}/hook")
        assert len(proxy.seen) == 1
        assert server.connection_count == 1
        assert not server.requests


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "the proxy answered 407"),
        (b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "cannot connect: the proxy sent data of its own"),
        (b"", "disconnected without sending a response"),
        (b"nonsense\r\n\r\n", "no valid response"),
    ],
)
def test_a_proxy_that_refuses_is_an_error(said: bytes, fault: str) -> None:
    """The refusal of a proxy is taken for the response of the receiver."""
    with ProxyEnd(said) as proxy, client(proxy=proxy.url) as made, pytest.raises(TransportError, match=fault):
        made.request("POST", "https://receiver.example/", content=b"{}")


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
def identity(tmp_path: Path) -> ClientCertificate:
    """A certificate of the same authority, its key beside it."""
    issued = CA.issue_cert("actionwatch.example")
    (tmp_path / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    return ClientCertificate(tmp_path / "cert.pem", tmp_path / "key.pem")


def test_a_server_that_asks_is_shown_who_we_are(
    wanting_context: ssl.SSLContext, ca_file: Path, identity: ClientCertificate
) -> None:
    """A receiver behind mutual TLS cannot be reached, with the key in a file of its own or in one with the certificate."""
    both = identity.cert_file.with_name("both.pem")
    assert identity.key_file
    both.write_bytes(identity.key_file.read_bytes() + identity.cert_file.read_bytes())
    for shown in (identity, ClientCertificate(both)):
        with (
            HttpEnd(lambda _: Reply(200, b"taken"), wanting_context) as server,
            client(ca_file=ca_file, identity=shown) as made,
        ):
            assert made.request("POST", f"{server.url}/", content=b"{}").body == b"taken"


def test_without_a_certificate_such_a_server_takes_nothing(
    wanting_context: ssl.SSLContext, ca_file: Path, tmp_path: Path
) -> None:
    """A message goes to a server that refused us, or the refusal is no TransportError."""
    stranger = tmp_path / "stranger.pem"
    trustme.CA().issue_cert("actionwatch.example").private_key_and_cert_chain_pem.write_to_path(str(stranger))
    for shown in (None, ClientCertificate(stranger)):
        with HttpEnd(lambda _: Reply(200), wanting_context) as server:
            with client(ca_file=ca_file, identity=shown) as made, pytest.raises(TransportError):
                made.request("POST", f"{server.url}/", content=b"{}")
            assert not server.requests


def test_mail_does_not_offer_http() -> None:
    """The HTTP client changes the TLS context that mail shares with it, so that a mail server is offered HTTP."""

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
