"""Syslog: send each message as RFC 5424 over TLS, with its length before it (RFC 5425).

Syslog has no acknowledgement. A batch counts as sent when the server has read it, as far as the protocol shows that: the driver
ends the connection after each batch, and waits until the server answers the end (RFC 5425 §4.4), which a server does after
everything before it. At least once up to there. What the server then does with a message is up to its configuration: rsyslog
keeps messages in memory, unless its queues have files or are of the type `Direct`, and loses these if it is killed. With
`confirm: sent`, what waits in the buffers of the server's system is lost too when the server dies. A repeat arrives again, with
the same id in its structured data. In order, over all keys.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import socket
import ssl
import struct
import termios
import time
from collections.abc import Iterator, Sequence
from datetime import UTC
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from actionwatch.net.deadline import Deadline, connect
from actionwatch.net.os_errors import explain_os_error
from actionwatch.net.tls import tls_context
from actionwatch.settings.validators import WholeNumber
from actionwatch.streams.driver import Refusal, StreamMessage, Traits
from actionwatch.streams.drivers._servers import ConnectionOptions, failure
from actionwatch.text.options import check_url

TRAITS = Traits(max_batch=1000)  # a batch costs a connection
_PORTS = {"tls": 6514, "tcp": 514}
_SEVERITIES = {"alert": 4, "decision": 5}  # warning, notice
_OTHER_SEVERITY = 6  # informational
_HOST = re.compile(r"[!-~]{1,255}", re.ASCII)
_SD_ESCAPED = str.maketrans({'"': r"\"", "\\": r"\\", "]": r"\]"})
_BOM = "\ufeff"
_LOOK_SECONDS = 0.001  # between two looks at the buffer of a connection that is kept


def _url(url: str) -> str:
    check_url(url, secure="tls", plain="tcp")
    parts = urlsplit(url)
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("must end with the port: tls://syslog.example.com:6514")
    return url


def _host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise ValueError("must be a name of at most 255 characters, printable ASCII without spaces")
    return text


class Options(ConnectionOptions):
    """The keys of a stream of the type `syslog`."""

    url: Annotated[str, AfterValidator(_url)]
    """`tls://host`, with the port unless it is 6514. `tcp://` is accepted only for loopback."""
    confirm: Literal["close_notify", "close", "sent"] = "close_notify"
    """When a batch counts as sent. `close_notify`: the driver ends the connection after each batch, and waits for the
    server's TLS alert that answers this, as rsyslog sends it with its driver `ossl`. `close`: the end of the connection is
    sufficient, as with rsyslog's driver `gtls` and always without TLS; what a server had read when it crashed is lost. `sent`:
    the connection is kept, and a batch counts when it has reached the server's system; what the server had not read when it
    died is lost.
    """
    facility: Annotated[WholeNumber, Field(ge=0, le=23)] = 13
    """The facility, 0 to 23. 13 is the log audit."""
    hostname: Annotated[str, AfterValidator(_host)] = "actionwatch"
    """The host name in each message, the same for all replicas."""
    max_message_bytes: Annotated[WholeNumber, Field(ge=2048, le=16 * 1024 * 1024)] = 8192
    """Longer messages are refused. Never more than the server accepts, because a server may cut what is longer without an
    error: rsyslog's `maxMessageSize` is 8k unless set.
    """


def build(options: Options, *, stream: str) -> SyslogDriver:  # noqa: ARG001
    return SyslogDriver(options)


class SyslogDriver:
    """Sends to one server."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._deadline = Deadline()
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Connect, and check the server's certificate."""
        self.close()
        with self._explained():
            self._connected()

    def send(self, batch: Sequence[StreamMessage]) -> Sequence[Refusal]:
        """Send all messages, then wait until the server has read them."""
        refused: list[Refusal] = []
        frames = bytearray()
        for message in batch:
            line = self._line(message)
            if len(line) > self._options.max_message_bytes:
                why = f"{len(line)} bytes are more than max_message_bytes: raise it and the limit of the server"
                refused.append(Refusal(message.id, why))
            else:
                frames += b"%d %s" % (len(line), line)
        if frames:
            with self._explained():
                self._deliver(frames)
        return refused

    def close(self) -> None:
        """Close the connection."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _connected(self) -> socket.socket:
        self._deadline.start(self._options.timeout.total_seconds())
        parts = urlsplit(self._options.url)
        host = parts.hostname or ""
        made = self._socket = connect(host, parts.port or _PORTS[parts.scheme], self._deadline)
        if parts.scheme == "tls":
            context = tls_context(self._options.ca_file, self._options.identity)
            made.settimeout(self._deadline.left())
            made = self._socket = context.wrap_socket(made, server_hostname=host)
        return made

    def _deliver(self, frames: bytearray) -> None:
        connection = self._socket or self._connected()
        self._deadline.start(self._options.timeout.total_seconds())
        _check_open(connection)
        rest = memoryview(frames)
        while rest:
            connection.settimeout(self._deadline.left())
            rest = rest[connection.send(rest) :]
        if self._options.confirm == "sent":
            self._wait_for_system(connection)
            _check_open(connection)
        else:
            self._end(connection)
            self.close()

    def _end(self, connection: socket.socket) -> None:
        """End our side of the connection, and wait until the server has read everything and ends its side.

        A server that closes for another reason, as one that does not accept our certificate, sends the same alert. But then its
        system resets the connection, or never acknowledges what arrives later.
        """
        connection.settimeout(self._deadline.left())
        if isinstance(connection, ssl.SSLSocket):
            try:
                connection = self._socket = connection.unwrap()
            except ssl.SSLEOFError:
                if self._options.confirm == "close_notify":
                    raise
                self._wait_for_system(connection)
                return
        else:
            connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            connection.settimeout(self._deadline.left())
        self._wait_for_system(connection)

    def _wait_for_system(self, connection: socket.socket) -> None:
        """Wait until the server's system has acknowledged every byte."""
        is_done = False
        while not is_done:
            is_done = not _unsent_bytes(connection)
            if number := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(number, os.strerror(number))
            if not is_done:
                time.sleep(min(_LOOK_SECONDS, self._deadline.left()))

    def _line(self, message: StreamMessage) -> bytes:
        """Return a message in the format of RFC 5424."""
        priority = self._options.facility * 8 + _SEVERITIES.get(message.kind, _OTHER_SEVERITY)
        at = message.at.astimezone(UTC).isoformat(timespec="microseconds")
        values = {"id": message.id, "offset": str(message.offset), "kind": message.kind, "key": message.key}
        data = " ".join(f'{name}="{value.translate(_SD_ESCAPED)}"' for name, value in values.items())
        head = f"<{priority}>1 {at} {self._options.hostname} actionwatch - {message.kind} [actionwatch@32473 {data}] {_BOM}"
        return head.encode() + message.body

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        place = self._options.url
        try:
            yield
        except TimeoutError as exc:
            raise failure(
                place, f"the server did not read everything within {self._options.timeout.total_seconds():g} s"
            ) from exc
        except ssl.SSLEOFError as exc:
            what = (
                "the server ended the connection without a TLS alert (close_notify), and may not have read everything"
            )
            raise failure(place, what, "if it always does, set confirm to close") from exc
        except OSError as exc:
            is_refused = isinstance(exc, ConnectionResetError) or "ALERT" in str(exc)
            remedy = (
                "check that the server accepts this client, and cert_file if it wants a certificate"
                if is_refused
                else ""
            )
            raise failure(place, str(exc) if is_refused else explain_os_error(exc), remedy) from exc
        except ValueError as exc:
            raise failure(place, str(exc)) from exc


def _check_open(connection: socket.socket) -> None:
    """Check that the server has not closed its side. It sends nothing else than what belongs to TLS.

    Raises: OSError.
    """
    connection.settimeout(0)
    with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
        if not connection.recv(1):
            raise ConnectionResetError("the server closed the connection")


def _unsent_bytes(connection: socket.socket) -> int:
    """Return how many bytes the server's system has not acknowledged (SIOCOUTQ, tcp(7))."""
    count: int = struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0]
    return count
