"""One connection of `_posting.py`: bytes out, and one answer in, framed as RFC 9112 says; every wait ends with the exchange.

Whatever breaks is an OSError, as the socket raised it; an answer that is not HTTP, or too large, is a `TransportError`.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import ssl
import time
from collections.abc import Mapping, Sequence

from actionwatch.base.errors import TransportError

MAX_HEAD_BYTES = 64 * 1024
CHUNK_BYTES = 64 * 1024

_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_LINE_END = re.compile(rb"\r?\n")
_STATUS = re.compile(r"HTTP/1\.([01]) ([1-5][0-9]{2})(?: .*)?", re.ASCII)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?")


class Line:
    """One connection: a socket, and what came from it that nobody has asked for yet."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = bytearray()

    def secure(self, context: ssl.SSLContext, host: str, ends_at: float) -> None:
        """Begin TLS."""
        self._socket.settimeout(_left(ends_at))
        self._socket = context.wrap_socket(self._socket, server_hostname=host)

    def send(self, data: bytes, ends_at: float) -> None:
        """Send all of it; `sendall` on TLS would begin its timeout anew with every record."""
        rest = memoryview(data)
        # Most messages fit into what the system takes at once: Python asks it whether it will only where there is a timeout.
        self._socket.settimeout(0)
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            rest = rest[self._socket.send(rest) :]
        while rest:
            self._socket.settimeout(_left(ends_at))
            rest = rest[self._socket.send(rest) :]

    def read_until(self, mark: re.Pattern[bytes], limit: int, ends_at: float) -> bytes:
        """Read up to a mark, which is dropped."""
        while not (found := mark.search(self._buffer)):
            if len(self._buffer) > limit:
                raise TransportError("the answer's head is larger than any should be")
            self._fill(ends_at)
        taken = bytes(self._buffer[: found.start()])
        del self._buffer[: found.end()]
        return taken

    def read(self, count: int, ends_at: float) -> bytes:
        """Read exactly so many bytes."""
        while len(self._buffer) < count:
            self._fill(ends_at)
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def read_to_end(self, limit: int, ends_at: float) -> bytes:
        """Read until the other side hangs up."""
        try:
            while len(self._buffer) <= limit:
                self._fill(ends_at)
        except ConnectionAbortedError:
            return bytes(self._buffer)
        raise _too_large(limit)

    def has_more(self) -> bool:
        """Say whether something came that no answer of ours accounts for."""
        return bool(self._buffer)

    def is_readable(self) -> bool:
        """Say whether an idle connection has news, which is that it was closed."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _fill(self, ends_at: float) -> None:
        self._socket.settimeout(_left(ends_at))
        data = self._socket.recv(CHUNK_BYTES)
        if not data:
            raise ConnectionAbortedError("the server hung up before its answer had ended")
        self._buffer += data


def dial(host: str, port: int, ends_at: float) -> socket.socket:
    """Connect to the first address that takes us."""
    failure: OSError = ConnectionError("the host has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_left(ends_at))
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except OSError as exc:
            sock.close()
            failure = exc
    raise failure


def spell_broken(exc: OSError) -> str:
    """Say what broke, and what mends it where that is plain."""
    what = str(exc) or type(exc).__name__
    match exc:
        case socket.gaierror():
            return f"{what}: check the name of the host, and this machine's DNS"
        case ConnectionRefusedError():
            return f"{what}: nothing listens there, check host and port"
        case ssl.SSLCertVerificationError():
            return f"{what}: mend the certificate, or name its authority in ca_file"
        case ssl.SSLError():
            return f"{what}: check that host and port are those for TLS"
    return what


def tunnel(line: Line, place: str, credentials: Sequence[str], ends_at: float) -> None:
    """Have the proxy connect us through (RFC 9110 §9.3.6); it sees the host, and nothing of the message."""
    head = "\r\n".join((f"CONNECT {place} HTTP/1.1", f"host: {place}", *credentials))
    line.send(f"{head}\r\n\r\n".encode("latin-1"), ends_at)
    status, _, _ = read_head(line, ends_at)
    if not 200 <= status < 300:
        raise TransportError(f"the proxy answered {status}: check its address, its credentials and what it allows")
    if line.has_more():
        raise TransportError("the proxy speaks in the server's place")


def read_head(line: Line, ends_at: float) -> tuple[int, dict[str, str], bool]:
    """Read status and headers (lower-case names), past interim answers; and whether the connection is kept."""
    while True:
        text = line.read_until(_END_OF_HEAD, MAX_HEAD_BYTES, ends_at).decode("latin-1")
        first, *rest = text.split("\n")
        found = _STATUS.fullmatch(first.rstrip("\r"))
        if not found:
            raise TransportError("the answer is not HTTP/1.1")
        status = int(found[2])
        if status >= 200 or status == 101:
            break
    headers: dict[str, str] = {}
    for field in rest:
        name, colon, value = field.partition(":")
        if not colon or not name or name != name.strip():
            raise TransportError("the answer's head cannot be read")
        name, value = name.lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    wish = headers.get("connection", "").lower()
    return status, headers, "close" not in wish and (found[1] == "1" or "keep-alive" in wish)


def read_body(line: Line, status: int, headers: Mapping[str, str], limit: int, ends_at: float) -> tuple[bytes, bool]:
    """Read the body as RFC 9112 §6.3 frames it; and whether it had an end of its own, so that another may follow it."""
    if status in (204, 304):
        return b"", True
    if "transfer-encoding" in headers:
        if headers["transfer-encoding"].lower() != "chunked":
            raise TransportError("the answer is in a transfer coding that nobody asked for")
        return _read_chunks(line, limit, ends_at), "content-length" not in headers
    length = headers.get("content-length")
    if length is None:
        return line.read_to_end(limit, ends_at), False
    if not length.isascii() or not length.isdigit() or len(length) > 15:
        raise TransportError("the answer does not say how long it is")
    if int(length) > limit:
        raise _too_large(limit)
    return line.read(int(length), ends_at), True


def _read_chunks(line: Line, limit: int, ends_at: float) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        found = _CHUNK.fullmatch(line.read_until(_LINE_END, MAX_HEAD_BYTES, ends_at))
        if not found:
            raise TransportError("the answer's chunks cannot be read")
        count = int(found[1], 16)
        if not count:
            break
        size += count
        if size > limit:
            raise _too_large(limit)
        parts.append(line.read(count, ends_at))
        if line.read_until(_LINE_END, 2, ends_at):
            raise TransportError("the answer's chunks cannot be read")
    while line.read_until(_LINE_END, MAX_HEAD_BYTES, ends_at):  # trailers
        pass
    return b"".join(parts)


def _left(ends_at: float) -> float:
    left = ends_at - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _too_large(limit: int) -> TransportError:
    return TransportError(f"the answer is larger than {limit} bytes")
