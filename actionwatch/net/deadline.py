"""A network backend for httpcore with one deadline per exchange, which never mixes up two responses.

httpx and httpcore have a timeout for each read and write, so a server that sends a byte now and then blocks a thread forever.
This backend (https://www.encode.io/httpcore/network-backends/) ends every step, including the connection and the TLS handshake,
at the deadline. It does not bound the resolver of the system.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from typing import Any

import httpcore

from actionwatch.net.os_errors import explain_os_error

_END_OF_HEAD = b"\r\n\r\n"
_MAX_UNSENT_BYTES = 64 * 1024


class Deadline:
    """The end of the current exchange. One exchange at a time uses it."""

    def __init__(self) -> None:
        self._ends_at = 0.0

    def start(self, seconds: float) -> None:
        """Start an exchange that may take this long."""
        self._ends_at = time.monotonic() + seconds

    def shorten(self, seconds: float) -> None:
        """End the exchange after so many more seconds, unless it ends earlier."""
        self._ends_at = min(self._ends_at, time.monotonic() + seconds)

    def left(self) -> float:
        """Return the remaining seconds.

        Raises: TimeoutError if there are none.
        """
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class DeadlineNetwork(httpcore.NetworkBackend):
    """Opens connections whose every step respects the deadline. httpcore's own timeouts are ignored."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        """Connect to the first address of the host that accepts."""
        with _translated(httpcore.ConnectTimeout, httpcore.ConnectError):
            return DeadlineStream(connect(host, port, self._deadline), self._deadline)


class DeadlineStream(httpcore.NetworkStream):
    """One connection.

    Data that a server sends after the end of a response stays in this object and prevents further requests on the connection.
    httpcore would read it as the response to the next request, so that a message could count as delivered although no receiver
    accepted it. Therefore a read stops where a response can end: after an empty line, which ends headers and chunked bodies, or
    at the length of the body.
    """

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._socket = sock
        self._deadline = deadline
        self._data = b""
        self._position = 0
        self._last = b""
        self._body_left: int | None = None
        self._unsent = bytearray()
        """The beginning of a request: head and body leave in one packet, which halves the cost of a short message."""

    def expect_body(self, length: int) -> None:
        """Return no more than this many bytes until the next request."""
        self._body_left = length

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        """Read some bytes; none if the server closed the connection."""
        with _translated(httpcore.ReadTimeout, httpcore.ReadError):
            if self._unsent:
                self._flush_unless_refused()
            self._socket.settimeout(self._deadline.left())
            if not self._has_rest():
                self._data, self._position = self._socket.recv(max_bytes), 0
        return self._take(max_bytes)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        """Send the data, at the latest with the next read."""
        self._body_left, self._last = None, b""
        self._unsent += buffer
        if len(self._unsent) > _MAX_UNSENT_BYTES:
            with _translated(httpcore.WriteTimeout, httpcore.WriteError):
                self._flush()

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        """Start TLS; close the connection on failure."""
        try:
            if self._has_rest():
                raise httpcore.ConnectError("the proxy sent unexpected data after it had accepted the connection")
            with _translated(httpcore.ConnectTimeout, httpcore.ConnectError):
                self._socket.settimeout(self._deadline.left())
                secured = ssl_context.wrap_socket(self._socket, server_hostname=server_hostname)
        except BaseException:
            self._socket.close()
            raise
        return DeadlineStream(secured, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        """Return whether unexpected data has arrived; httpcore asks for nothing else about a connection of HTTP/1.1."""
        return self._is_readable() if info == "is_readable" else None

    def _flush(self) -> None:
        """Send everything; `sendall` would restart its timeout with each TLS record."""
        data, self._unsent = self._unsent, bytearray()
        rest = memoryview(data)
        while rest:
            self._socket.settimeout(self._deadline.left())
            rest = rest[self._socket.send(rest) :]

    def _flush_unless_refused(self) -> None:
        try:
            self._flush()
        except TimeoutError:
            raise
        except OSError:
            return  # a server may refuse a request before it has read all of it: read the response

    def _take(self, max_bytes: int) -> bytes:
        """Return received data up to where a response can end."""
        start = self._position
        stop = min(start + max_bytes, len(self._data))
        if self._body_left is not None:
            stop = min(stop, start + self._body_left)
            self._body_left -= stop - start
        elif found := _end_of_head(self._last, self._data, start, stop):
            stop = found
        self._position = stop
        taken = self._data[start:stop]
        self._last = (self._last + taken)[-len(_END_OF_HEAD) + 1 :]
        return taken

    def _has_rest(self) -> bool:
        return self._position < len(self._data)

    def _is_readable(self) -> bool:
        """Return whether unexpected data has arrived: the end of the connection, or more than the response."""
        if self._has_rest() or (isinstance(self._socket, ssl.SSLSocket) and self._socket.pending()):
            return True
        if self._socket.fileno() < 0:
            return True
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))


def connect(host: str, port: int, deadline: Deadline) -> socket.socket:
    """Connect to the first address that accepts. One that does not answer leaves the others their part of the time.

    Raises: OSError.
    """
    failure: OSError = ConnectionError("the host has no address")
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for tried_count, (family, kind, protocol, _, address) in enumerate(found):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(deadline.left() / (len(found) - tried_count))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except OSError as exc:
            sock.close()
            failure = exc
    raise failure


def _end_of_head(before: bytes, data: bytes, start: int, stop: int) -> int | None:
    """Return the end of the first empty line, which may start in the preceding bytes; None if there is none."""
    length = len(_END_OF_HEAD)
    at_edge = (before + data[start : min(start + length - 1, stop)]).find(_END_OF_HEAD)
    if at_edge >= 0:
        return start + at_edge + length - len(before)
    found = data.find(_END_OF_HEAD, start, stop)
    return found + length if found >= 0 else None


@contextlib.contextmanager
def _translated(timeout: type[Exception], error: type[Exception]) -> Iterator[None]:
    """Raise the exceptions that httpcore expects from a backend."""
    try:
        yield
    except TimeoutError as exc:
        raise timeout from exc
    except OSError as exc:
        raise error(explain_os_error(exc)) from exc
