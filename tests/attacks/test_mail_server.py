"""A mail server, or anybody between it and us before TLS begins, that sends without end or in tiny pieces."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from actionwatch.base.errors import TransientDeliveryError
from actionwatch.notifiers import email
from tests.cases import in_one_test
from tests.integration.notifiers.ends import deliver, email_options
from tests.integration.notifiers.smtp_end import RawEnd
from tests.unit.render.messages import message

MOST_SENT = (
    16 * 1024 * 1024
)  # far more than the limit and the buffers of two sockets, and far less than the server would send
QUICK = "0.3s"
PACE = 0.02  # seconds between two bytes, so that no read waits as long as the timeout
CONVERSATION = (b"220 hi", b"250 ok", b"250 sender", b"250 recipient", b"354 go", b"250 taken")


def write_without_end(connection: socket.socket, piece: bytes, sent: list[int]) -> None:
    """Send a piece again and again until the client closes."""
    block = piece * (65_536 // len(piece))
    with contextlib.suppress(OSError):
        while sum(sent) < 2 * MOST_SENT:
            connection.sendall(block)
            sent.append(len(block))


@in_one_test("piece", [b"220-hello\r\n", b"220-\n", b"220-" + b"x" * 8_000 + b"\r\n", b"x", b"\x00", b"-\n"])
@in_one_test("reply", [0, 1, 4, 5])
def test_reply_without_end_does_not_fill_the_memory(piece: bytes, reply: int) -> None:
    """A reply of endless lines, or of one endless line, is given up, whichever reply it is."""
    sent: list[int] = []

    def treat(connection: socket.socket, released: threading.Event) -> None:
        for line in lines(connection, CONVERSATION[:reply]):
            connection.sendall(line + b"\r\n")
        code = CONVERSATION[reply][:3]
        write_without_end(connection, piece.replace(b"220", code), sent)

    is_accepted = reply == len(CONVERSATION) - 1 and piece.startswith(b"220")  # the code decides
    refused = pytest.raises(TransientDeliveryError, match=r"reply|refused|not connected")
    with RawEnd(treat) as server, contextlib.nullcontext() if is_accepted else refused:
        deliver(notifier(server), "email", message())
    assert sum(sent) < MOST_SENT


@pytest.mark.parametrize("reply", range(5))
def test_server_that_drips_does_not_outlast_the_timeout(reply: int) -> None:
    """A reply that comes byte by byte, each within the timeout, is given up, whichever reply it is."""

    def treat(connection: socket.socket, released: threading.Event) -> None:
        with contextlib.suppress(OSError):
            for line in lines(connection, CONVERSATION[:reply]):
                connection.sendall(line + b"\r\n")
            for _ in range(200):
                connection.sendall(b"2")
                if released.wait(PACE):
                    return
            finish(connection, reply)

    with RawEnd(treat) as server, pytest.raises(TransientDeliveryError, match="within the timeout"):
        deliver(notifier(server, timeout=QUICK), "email", message())


def test_server_that_reads_slowly_does_not_outlast_the_timeout() -> None:
    """A server that reads a large mail in tiny pieces is given up."""

    def treat(connection: socket.socket, released: threading.Event) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        with contextlib.suppress(OSError):
            for line in lines(connection, CONVERSATION[:5]):
                connection.sendall(line + b"\r\n")
            while connection.recv(1_024) and not released.wait(PACE):
                continue

    with RawEnd(treat) as server, pytest.raises(TransientDeliveryError, match="within the timeout"):
        deliver(notifier(server, timeout=QUICK), "email", message(body="x" * 4_000_000))


def test_honest_long_replies_are_read() -> None:
    """Replies of many lines, such as that to EHLO, are read however they arrive."""
    greeting = b"".join(b"220-line %d\r\n" % number for number in range(100)) + b"220 hi\r\n"

    def treat(connection: socket.socket, released: threading.Event) -> None:
        for start in range(0, len(greeting), 7):
            connection.sendall(greeting[start : start + 7])
        with contextlib.suppress(OSError):
            finish(connection, 1)

    with RawEnd(treat) as server:
        assert deliver(notifier(server), "email", message()).note is None


def notifier(server: RawEnd, **given: Any) -> email.EmailNotifier:
    """Make a notifier for a server without TLS."""
    return email.build(
        email_options(server.port, None, tls="none", username=None, password=None, **given), receiver="mail"
    )


def lines(connection: socket.socket, replies: tuple[bytes, ...]) -> Iterator[bytes]:
    """Yield each reply when it is due: the first at once, each other one after a line of the client."""
    for number, reply in enumerate(replies):
        if number:
            read_line(connection)
        yield reply
    if replies:
        read_line(connection)


def read_line(connection: socket.socket, end: bytes = b"\r\n") -> None:
    """Read up to the end of a line."""
    taken = b""
    while not taken.endswith(end) and (byte := connection.recv(1)):
        taken += byte


def finish(connection: socket.socket, reply: int) -> None:
    """Take the rest of the conversation as an honest server does, from this reply on."""
    for line in CONVERSATION[reply:]:
        if not line.startswith(b"220"):
            read_line(connection, b"\r\n.\r\n" if line == CONVERSATION[-1] else b"\r\n")
        connection.sendall(line + b"\r\n")
