"""HTTP for messages: one POST, one whole answer, over kept connections; for every notifier that speaks HTTP.

A general client costs more than all else that a delivery does: httpx some 400 µs of CPU a post, urllib3 200, http.client 90,
nearly all of it in objects for headers; this some 30. The manners are those of http.py: whole answers or a `TransportError`,
no redirect followed, nothing read from the environment, time (for the head too) and size bounded, no URL in any message.
A post is never repeated here, whatever became of it: that is for the outbox to decide.
"""

from __future__ import annotations

import base64
import functools
import re
import ssl
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from actionwatch.base.errors import TransportError
from actionwatch.net.http_response import USER_AGENT, Answer
from actionwatch.net.tls import trusting
from actionwatch.notifiers._line import Line, dial, read_body, read_head, spell_broken, tunnel

MAX_ANSWER_BYTES = 8 * 1024 * 1024  # a receiver answers with a line or a page; sixteen of these must fit into memory
MAX_IDLE_SECONDS = 4.0  # Node's servers hang up after 5: a connection that is closed as we use it costs an attempt

_FORBIDDEN = re.compile("[\r\n\0]")
_SAFE_IN_TARGET = "!#$%&'()*+,/:;=?@[]~"


@dataclass(frozen=True, slots=True)
class Identity:
    """What proves us to a server: a certificate, and its key where that lies in a file of its own. Both in PEM."""

    cert_file: Path
    key_file: Path | None = None


class Poster:
    """A pool of connections with one set of manners. Safe to share between threads; each send has a connection to itself."""

    def __init__(
        self,
        *,
        timeout: timedelta,
        ca_file: Path | None = None,
        identity: Identity | None = None,
        proxy: str | None = None,
        max_body_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        """Open nothing yet. `timeout` bounds an exchange as a whole, connecting included; name look-ups are the system's."""
        self._timeout = timeout.total_seconds()
        self._max_body_bytes = max_body_bytes
        self._context = tls_context(ca_file, identity)
        self._proxy = _proxy(proxy) if proxy else None
        self._idle: deque[tuple[_Target, Line, float]] = deque()
        self._closed = threading.Event()

    def post(self, url: str, *, headers: Mapping[str, str], content: bytes) -> Answer:
        """Exchange one POST for one whole answer, whatever its status.

        Raises: TransportError, when no whole answer came within the timeout and the size limit.
        """
        started = time.monotonic()
        ends_at = started + self._timeout
        target = _target(url)
        request = self._head(target, headers, len(content)) + content
        line = self._borrow(target) or self._connect(target, ends_at)
        try:
            line.send(request, ends_at)
            status, answered, is_kept = read_head(line, ends_at)
            body, is_framed = read_body(line, status, answered, self._max_body_bytes, ends_at)
        except BaseException as exc:
            line.close()
            if isinstance(exc, OSError):  # timeouts and ssl.SSLError are OSErrors
                raise TransportError(_explain(exc)) from exc
            raise
        self._give_back(target, line, is_kept and is_framed)
        return Answer(status, answered, body, timedelta(seconds=time.monotonic() - started))

    def reach(self, url: str) -> None:
        """Open a connection to where a post would go, TLS included, and close it again.

        Raises: TransportError.
        """
        self._connect(_target(url), time.monotonic() + self._timeout).close()

    def close(self) -> None:
        """Close the connections; one that is in use closes after its answer."""
        self._closed.set()
        while self._idle:
            self._idle.pop()[1].close()

    def _head(self, target: _Target, headers: Mapping[str, str], length: int) -> bytes:
        path = target.path
        lines = [f"host: {target.authority}", f"content-length: {length}"]
        if self._proxy and target.scheme == "http":  # RFC 9112 §3.2.2: a proxy wants the whole address
            path = f"http://{target.authority}{path}"
            lines += self._proxy.credentials
        if "user-agent" not in headers:
            lines.append(f"user-agent: {USER_AGENT}")
        for name, value in headers.items():
            if _FORBIDDEN.search(value):
                raise TransportError(f"the header {name} holds a line end: it cannot be sent")
            lines.append(f"{name}: {value}")
        try:
            return "\r\n".join((f"POST {path} HTTP/1.1", *lines, "", "")).encode("latin-1")
        except UnicodeEncodeError as exc:
            raise TransportError("a header holds characters that HTTP cannot carry") from exc

    def _borrow(self, target: _Target) -> Line | None:
        """Take an idle connection to the target that is still good; one that has something to say has been closed."""
        while True:
            try:
                known, line, idle_since = self._idle.pop()
            except IndexError:
                return None
            if known == target and time.monotonic() - idle_since < MAX_IDLE_SECONDS and not line.is_readable():
                return line
            line.close()

    def _give_back(self, target: _Target, line: Line, is_kept: bool) -> None:
        if not is_kept or self._closed.is_set() or line.has_more():
            line.close()
            return
        self._idle.append((target, line, time.monotonic()))
        if self._closed.is_set():  # closed in between
            self.close()

    def _connect(self, target: _Target, ends_at: float) -> Line:
        """Open a connection, through the proxy where there is one.

        Raises: TransportError.
        """
        place = (self._proxy.host, self._proxy.port) if self._proxy else (target.host, target.port)
        line = None
        try:
            line = Line(dial(*place, ends_at))
            if target.scheme == "https":
                if self._proxy:
                    tunnel(line, f"{_bracketed(target.host)}:{target.port}", self._proxy.credentials, ends_at)
                line.secure(self._context, target.host, ends_at)
            return line
        except BaseException as exc:
            if line:
                line.close()
            if isinstance(exc, TimeoutError):
                raise TransportError("no connection within the timeout") from exc
            if isinstance(exc, OSError):
                raise TransportError(f"cannot connect: {spell_broken(exc)}") from exc
            raise


def tls_context(ca_file: Path | None, identity: Identity | None) -> ssl.SSLContext:
    """Trust these authorities, or the system's, and prove who we are where an identity is given.

    Raises: OSError (ssl.SSLError is one), when a file cannot be used; ValueError, when the key is encrypted.
    """
    if identity is None:
        return trusting(ca_file)
    context = ssl.create_default_context(cafile=ca_file)
    context.load_cert_chain(identity.cert_file, identity.key_file, password=_no_password)
    return context


def _no_password() -> str:
    # Without this, OpenSSL would ask for it on the terminal.
    raise ValueError("the key is encrypted: store it without a passphrase, readable by actionwatch only")


@dataclass(frozen=True, slots=True)
class _Target:
    """An address, taken apart once. `authority` is what `Host` says."""

    scheme: str
    host: str
    port: int
    authority: str
    path: str


@dataclass(frozen=True, slots=True)
class _Proxy:
    host: str
    port: int
    credentials: tuple[str, ...]
    """A header line, or none."""


def _explain(exc: OSError) -> str:
    if isinstance(exc, TimeoutError):
        return "no answer within the timeout"
    return f"the connection broke: {spell_broken(exc)}"


@functools.lru_cache(maxsize=256)
def _target(url: str) -> _Target:
    """Take an address apart.

    Raises: TransportError, without the address.
    """
    try:
        parts = urlsplit(url)
        host = _ascii(parts.hostname or "")
        if parts.scheme not in ("http", "https") or not host:
            raise ValueError
        default = 443 if parts.scheme == "https" else 80
        port = parts.port or default
    except ValueError as exc:  # UnicodeError is one
        raise TransportError("not a usable URL") from exc
    authority = _bracketed(host) if port == default else f"{_bracketed(host)}:{port}"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return _Target(parts.scheme, host, port, authority, quote(path, safe=_SAFE_IN_TARGET))


def _proxy(url: str) -> _Proxy:
    parts = urlsplit(url)
    credentials: tuple[str, ...] = ()
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        credentials = (f"proxy-authorization: Basic {base64.b64encode(pair.encode()).decode()}",)
    return _Proxy(_ascii(parts.hostname or ""), parts.port or 80, credentials)


def _ascii(host: str) -> str:
    return host.encode("idna").decode("ascii")  # also of plain names: it refuses those that no look-up would take


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
