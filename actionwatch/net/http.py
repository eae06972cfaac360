"""The only HTTP client: everything that actionwatch sends over HTTP goes through here, and only this module imports httpx.

It returns whole responses or raises `TransportError`. One deadline bounds an exchange, from connecting to the last byte; the
size of a response is bounded too. It repeats nothing, follows no redirect, keeps no cookies, and reads neither proxies nor
credentials from the environment. No message holds a URL, because a webhook's URL is a secret.

It uses httpx's URLs and headers with its own transport, and not httpx's client: the client adds what we must not have
(redirects, cookies, the environment), and takes 40 % of the CPU of a post.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import logging
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlencode

import httpcore
import httpx

from actionwatch.base.errors import TransportError
from actionwatch.net.content_coding import ENCODINGS, read_body
from actionwatch.net.deadline import Deadline, DeadlineNetwork, DeadlineStream
from actionwatch.net.http_response import USER_AGENT, HttpResponse
from actionwatch.net.tls import ClientCertificate, tls_context

MAX_BODY_BYTES = 16 * 1024 * 1024  # a page of 1,000 records is about 1 MB
MAX_IDLE_SECONDS = 4.0  # Node's servers close after 5: a connection that is closed while we use it costs an attempt
_MAX_OPTIONAL_SECONDS = 5.0  # for a body that is optional: the status is known, and others wait
_ORIGINS_KEPT = 4  # a client talks to one origin, or to a few

# They log every request at DEBUG and INFO, with URLs and headers.
logging.getLogger("httpx").setLevel(logging.WARNING)
logging.getLogger("httpcore").setLevel(logging.WARNING)


class HttpClient:
    """Pooled connections with the same options. Safe to share between threads.

    Each exchange borrows a transport for itself alone: threads that share one transport are four times slower.
    """

    def __init__(
        self,
        *,
        timeout: timedelta,
        headers: Mapping[str, str] | None = None,
        ca_file: Path | None = None,
        identity: ClientCertificate | None = None,
        proxy: str | None = None,
        max_body_bytes: int = MAX_BODY_BYTES,
        is_body_optional: bool = False,
    ) -> None:
        """Open no connection yet. `timeout` bounds an exchange as a whole; looking up a name is up to the system.

        `is_body_optional`: status and headers are the response, even if its body is cut, unreadable, endless or too large. The
        body is then what could be read of it.

        Raises: OSError, ValueError, if a certificate file cannot be used.
        """
        self._timeout = timeout.total_seconds()
        self._max_body_bytes = max_body_bytes
        self._is_body_optional = is_body_optional
        self._headers = {"accept": "*/*", "accept-encoding": ENCODINGS, "user-agent": USER_AGENT}
        self._headers |= _lower(headers)
        self._tls = tls_context(ca_file, identity, alpn="http/1.1")
        self._proxy = httpx.Proxy(proxy) if proxy else None
        self._idle: deque[Transport] = deque()
        self._is_closed = False

    def request(
        self,
        method: str,
        url: str,
        *,
        path: str = "",
        params: Sequence[tuple[str, str | int]] = (),
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        timeout: timedelta | None = None,
    ) -> HttpResponse:
        """Exchange one request for one whole response, whatever its status. `timeout` replaces that of the client.

        `path` is appended to a URL without a query, and is quoted. URLs are remembered, and it is not: a fleet has thousands.

        Raises: TransportError if no whole response arrived within the timeout; TooLarge.
        """
        started = time.monotonic()
        with self._borrowed(timeout) as transport:
            response = transport.exchange(self._request(method, url, path, params, headers, content))
            with contextlib.closing(response):
                answered = dict(httpx.Headers(response.headers).items())
                body = self._read_body(response, answered.get("content-encoding", ""), transport.deadline)
        took = timedelta(seconds=time.monotonic() - started)
        return HttpResponse(response.status, answered, body, took)

    def _read_body(self, response: httpcore.Response, coding: str, deadline: Deadline) -> bytes:
        body = bytearray()
        try:
            if self._is_body_optional:
                deadline.shorten(_MAX_OPTIONAL_SECONDS)
            read_body(response.iter_stream(), coding, self._max_body_bytes, body)
        except (TransportError, *_LIBRARY_ERRORS):
            if not self._is_body_optional:
                raise
        return bytes(body)

    def reach(self, url: str) -> None:
        """Open a connection to where a request would go, TLS included, and send nothing.

        Raises: TransportError.
        """
        with self._borrowed() as transport, contextlib.suppress(_ConnectedError):
            request = self._request("HEAD", url, "", (), None, None)
            request.extensions["trace"] = _stop_before_sending
            transport.exchange(request).close()

    def close(self) -> None:
        """Close the connections; one that is in use closes after its response."""
        self._is_closed = True
        while self._idle:
            self._idle.pop().close()

    def _request(
        self,
        method: str,
        url: str,
        path: str,
        params: Sequence[tuple[str, str | int]],
        headers: Mapping[str, str] | None,
        content: bytes | None,
    ) -> httpcore.Request:
        address = _parse(url)
        target = address.raw_path if not path else address.raw_path.rstrip(b"/") + path.encode("ascii")
        if params:
            target = b"%b?%b" % (target.partition(b"?")[0], urlencode(params).encode("ascii"))
        merged = {"host": address.netloc.decode("ascii"), **self._headers, **_lower(headers)}
        if content or method == "POST":
            merged["content-length"] = str(len(content or b""))
        encoded = [(name.encode("ascii"), value.encode("ascii")) for name, value in merged.items()]
        return httpcore.Request(method, _core_url(address, target), headers=encoded, content=content)

    @contextlib.contextmanager
    def _borrowed(self, timeout: timedelta | None = None) -> Iterator[Transport]:
        """Lend an idle or a new transport for one exchange, and translate the exceptions of the libraries."""
        if self._is_closed:
            raise TransportError("the client is closed")
        transport = self._take_idle() or _Network.connect(self._tls, self._proxy)
        transport.deadline.start(self._timeout if timeout is None else timeout.total_seconds())
        try:
            yield transport
        except _LIBRARY_ERRORS as exc:
            # The text of a LocalProtocolError holds the header that it refuses, which may be a secret.
            raise TransportError(_explain(exc)) from (None if isinstance(exc, httpcore.LocalProtocolError) else exc)
        finally:
            self._give_back(transport)

    def _give_back(self, transport: Transport) -> None:
        self._idle.append(transport)
        if self._is_closed:
            self.close()

    def _take_idle(self) -> Transport | None:
        try:
            return self._idle.pop()  # the one used last: its connection is the most likely to be still open
        except IndexError:
            return None


class Transport(Protocol):
    """The carrier of one exchange at a time."""

    deadline: Deadline
    """Of the current exchange."""

    def exchange(self, request: httpcore.Request) -> httpcore.Response:
        """Send a request and read the head of its response; errors are httpcore's."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


class _Sockets:
    """A few connections, at most one of them in use, and the deadline of that exchange."""

    def __init__(self, tls: ssl.SSLContext, proxy: httpx.Proxy | None) -> None:
        self.deadline = Deadline()
        self._pool = httpcore.ConnectionPool(
            ssl_context=tls,
            proxy=httpcore.Proxy(_core_url(proxy.url, proxy.url.raw_path), auth=proxy.raw_auth) if proxy else None,
            max_connections=_ORIGINS_KEPT,
            keepalive_expiry=MAX_IDLE_SECONDS,
            network_backend=DeadlineNetwork(self.deadline),
        )

    def exchange(self, request: httpcore.Request) -> httpcore.Response:
        """Send a request and read the head of its response; errors are httpcore's."""
        response = self._pool.handle_request(request)
        headers = httpx.Headers(response.headers)
        stream = response.extensions["network_stream"]
        length = headers.get("content-length")
        if length is not None and isinstance(stream, DeadlineStream) and "transfer-encoding" not in headers:
            stream.expect_body(int(length))
        return response

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()


class _Network:
    """The network of this process."""

    connect: Callable[[ssl.SSLContext, httpx.Proxy | None], Transport] = _Sockets


@contextlib.contextmanager
def network(transport: Transport) -> Iterator[None]:
    """Let this transport carry the exchanges of this process instead of sockets, until the block ends."""
    _Network.connect = staticmethod(lambda _tls, _proxy: transport)
    try:
        yield
    finally:
        _Network.connect = _Sockets


@functools.lru_cache(maxsize=64)  # parsing it takes as long as sending the request
def _parse(url: str) -> httpx.URL:
    parsed = httpx.URL(url)
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise httpx.UnsupportedProtocol("no HTTP URL")
    return parsed


def basic(user: str, password: str) -> str:
    """Return the header `Authorization` of a user."""
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def _lower(headers: Mapping[str, str] | None) -> dict[str, str]:
    return {name.lower(): value for name, value in (headers or {}).items()}


def _core_url(url: httpx.URL, target: bytes) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=target)


class _ConnectedError(Exception):
    """Ends the exchange of `reach` once the connection is open."""


def _stop_before_sending(event: str, info: Mapping[str, Any]) -> None:
    """Watch httpcore's steps (https://www.encode.io/httpcore/extensions/#trace); a tunnel through a proxy is opened first."""
    if event == "http11.send_request_headers.started" and info["request"].method != b"CONNECT":
        raise _ConnectedError


_LIBRARY_ERRORS = (
    httpx.HTTPError,
    httpx.InvalidURL,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
    UnicodeError,
)


def _explain(exc: Exception) -> str:
    """Describe what failed, without the URL and the headers that some messages of the libraries contain."""
    match exc:
        case httpcore.ConnectTimeout():
            return "no connection within the timeout"
        case httpcore.TimeoutException():
            return "no response within the timeout"
        case httpcore.ConnectError():
            return f"cannot connect: {exc}"
        case httpcore.ProxyError():
            return f"the proxy answered {exc}: check its address, its credentials and what it allows"
        case httpcore.NetworkError():
            return f"the connection broke: {exc}"
        case httpcore.RemoteProtocolError():
            return f"no valid response: {exc}"
        case httpx.InvalidURL() | httpx.UnsupportedProtocol() | httpcore.UnsupportedProtocol():
            return "not a usable URL"
        case httpcore.LocalProtocolError() | UnicodeError():
            return "a header contains characters that HTTP does not allow"
        case _:
            return f"the exchange failed ({type(exc).__name__})"
