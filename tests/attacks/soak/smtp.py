"""A mail server that answers anything: the delivery ends with a result or a DeliveryError, and the process stays as it was."""

from __future__ import annotations

import contextlib
import random
import socket
import threading
from collections.abc import Iterator

from actionwatch.base.errors import DeliveryError
from tests.attacks.soak.case import Attack
from tests.attacks.test_mail_server import CONVERSATION, notifier, read_line
from tests.integration.notifiers.ends import deliver
from tests.integration.notifiers.smtp_end import RawEnd
from tests.unit.render.messages import message

TIMEOUT = "0.5s"
MOST_CHARS = 2_000  # of an error: it is stored with each attempt
LINES = (
    b"",
    b"250",
    b"250-",
    b"999 what",
    b"25O ok",
    b"-250 ok",
    b"250 " + b"x" * 100_000,
    b"250-more\r\n" * 600 + b"250 end",
    b"421 closing",
    b"450 later",
    b"550 no \x1b[31m\xff\xfe",
    b"535 5.7.8 AUTH " + b"A" * 5_000,
    b"250 ok\r\n250 ok\r\n250 ok",
    b"250-SIZE 1\r\n250-STARTTLS\r\n250-AUTH LOGIN PLAIN CRAM-MD5\r\n250-8BITMIME\r\n250 SMTPUTF8",
    b"250 SIZE 99999999999999999999999999999999999",
    b"334 " + b"=" * 900,
    b"354 go",
    b"220 again",
    b"\x00" * 300,
)


@contextlib.contextmanager
def attack() -> Iterator[Attack]:
    """Yield the attack."""
    yield _deliver


def _deliver(chance: random.Random) -> str:
    script = [_reply(chance, line) for line in CONVERSATION]
    ends_early = chance.randrange(12)

    def treat(connection: socket.socket, released: threading.Event) -> None:
        with contextlib.suppress(OSError):
            for number, reply in enumerate(script):
                if number:
                    read_line(connection, b"\r\n.\r\n" if number == len(script) - 1 else b"\r\n")
                if number == ends_early:
                    return
                connection.sendall(reply)
            while connection.recv(65_536):
                connection.sendall(b"221 bye\r\n")

    with RawEnd(treat) as server, contextlib.closing(notifier(server, timeout=TIMEOUT)) as made:
        error: DeliveryError | None = None
        try:
            deliver(made, "email", message())
        except DeliveryError as exc:
            error = exc
    assert len(str(error)) < MOST_CHARS, f"an error of {len(str(error))} characters"
    return type(error).__name__ if error else "sent"


def _reply(chance: random.Random, honest: bytes) -> bytes:
    if chance.random() < 0.85:
        return honest + b"\r\n"
    end = chance.choice([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\n\r\n"])
    return (chance.choice(LINES) if chance.random() < 0.8 else chance.randbytes(chance.choice([3, 300]))) + end
