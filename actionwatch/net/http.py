"""HTTP out of actionwatch: the one module that imports httpx.

It gives whole answers or a `TransportError`; it follows no redirect, reads no proxy or credentials from the environment,
bounds the time and the size of every answer, and never puts a URL into a message: webhook URLs are secrets.
"""

from __future__ import annotations

import logging
import ssl
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import httpcore

from actionwatch.base.errors import TransportError
from actionwatch.net.http_response import USER_AGENT, Answer
from actionwatch.net.tls import trusting

# httpx's command line, which comes with it where rich is installed, takes as much memory as all the rest of it.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # None: not to be imported
import httpx  # noqa: E402

MAX_BODY_BYTES = 64 * 1024 * 1024  # a page of 1,000 records is about 1 MB; far above it something is wrong

# httpx logs every full URL at INFO, secrets in it included (its own documentation, "Logging").
logging.getLogger("httpx").setLevel(logging.WARNING)
logging.getLogger("httpcore").setLevel(logging.WARNING)


class HttpClient:
    """A pool of connections with one set of manners. Safe to share between threads."""

    def __init__(
        self,
        *,
        timeout: timedelta,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
        ca_file: Path | None = None,
        proxy: str | None = None,
        max_connections: int = 16,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self._timeout = timeout
        self._max_body_bytes = max_body_bytes
        self._client = httpx.Client(
            auth=auth,
            headers={"user-agent": USER_AGENT, **(headers or {})},
            timeout=timeout.total_seconds(),
            follow_redirects=False,
            trust_env=False,
            transport=_PunctualTransport(
                verify=trusting(ca_file),
                proxy=proxy,
                trust_env=False,
                limits=httpx.Limits(max_connections=max_connections, max_keepalive_connections=max_connections),
            ),
        )

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Sequence[tuple[str, str | int | float | bool | None]] = (),
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> Answer:
        """Exchange one request for one whole answer, whatever its status.

        Raises: TransportError, when no whole answer came within the timeout and the size limit.
        """
        started = time.monotonic()
        _exchange.ends_at = started + self._timeout.total_seconds()
        try:
            # `params=[]` would strip a query that is part of the URL.
            with self._client.stream(
                method, url, params=list(params) or None, headers=headers, content=content
            ) as response:
                body = self._read(response)
                took = timedelta(seconds=time.monotonic() - started)
                return Answer(response.status_code, dict(response.headers.items()), body, took)
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, UnicodeError) as exc:
            raise TransportError(_explain(exc)) from exc

    def close(self) -> None:
        """Close the pooled connections."""
        self._client.close()

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, response: httpx.Response) -> bytes:
        chunks: list[bytes] = []
        size = 0
        for chunk in response.iter_bytes():
            size += len(chunk)
            if size > self._max_body_bytes:
                raise TransportError(f"the answer is larger than {self._max_body_bytes} bytes")
            chunks.append(chunk)
        return b"".join(chunks)


_exchange = threading.local()
"""When this thread's exchange has to have ended: `ends_at`."""


class _PunctualTransport(httpx.HTTPTransport):
    """Has every step end when the exchange has to: httpx's own timeout is for each, so that a slow drip would outlast it.

    httpcore lets its network be replaced, and httpx hands that on in no other way.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._pool._network_backend = _PunctualNetwork()


class _PunctualNetwork(httpcore.NetworkBackend):
    def __init__(self) -> None:
        self._network = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _PunctualStream(self._network.connect_tcp(host, port, left, local_address, socket_options))


class _PunctualStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _PunctualStream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(timeout: float | None, error: type[httpcore.TimeoutException]) -> float:
    """Say how many seconds a step may take: its own timeout, but not past the end of the exchange."""
    left: float = _exchange.ends_at - time.monotonic()
    if left <= 0:
        raise error
    return left if timeout is None else min(timeout, left)


def _explain(exc: Exception) -> str:
    """Say what broke, without the URL that some httpx messages hold."""
    match exc:
        case httpx.ConnectTimeout():
            return "no connection within the timeout"
        case httpx.TimeoutException():
            return "no answer within the timeout"
        case httpx.ConnectError():
            return f"cannot connect: {exc}"
        case httpx.InvalidURL() | httpx.UnsupportedProtocol():
            return "not a usable URL"
        case httpx.RemoteProtocolError() | httpx.ReadError() | httpx.WriteError():
            return f"the connection broke: {exc or type(exc).__name__}"
        case httpx.DecodingError():
            return "the answer's compression is broken"
        case _:
            return f"{type(exc).__name__}: {exc}"
