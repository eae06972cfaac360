"""A real SMTP server on loopback (aiosmtpd), with TLS and a password if a test needs them; and broken servers."""

# ruff: noqa: N802 (the names of handlers are aiosmtpd's)

from __future__ import annotations

import asyncio
import email
import functools
import socket
import ssl
import struct
import threading
from collections.abc import Awaitable, Callable
from email import policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.integration.notifiers.listener import FarEnd, Listener
from tests.waiting import LIMIT

PASSWORD = "s3cret-smtp-password"


class Inbox:
    """A handler of aiosmtpd that keeps mails, and refuses what a test sets."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], bytes]] = []
        self.rcpt: dict[str, str] = {}
        self.mail_from: str | None = None
        self.data: str | None = None

    async def handle_MAIL(
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.mail_from:
            return self.mail_from
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if refusal := self.rcpt.get(address) or self.rcpt.get("*"):
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:
        if self.data:
            return self.data
        content = envelope.original_content or b""
        self.mails.append((list(envelope.rcpt_tos), content))
        return "250 taken"


class _Controller(Controller):
    """The server of aiosmtpd on a socket that already listens, because a port that is chosen first may be in use later."""

    def __init__(self, inbox: Inbox, listener: socket.socket, **options: Any) -> None:
        self._listener = listener
        super().__init__(inbox, hostname="127.0.0.1", port=listener.getsockname()[1], **options)

    def _create_server(self) -> Awaitable[asyncio.AbstractServer]:
        return self.loop.create_server(self._factory_invoker, sock=self._listener, ssl=self.ssl_context)


class SmtpEnd(FarEnd):
    """Serves until closed. Pass a context for STARTTLS, or for TLS from the first byte with `is_implicit`."""

    def __init__(
        self,
        context: ssl.SSLContext | None = None,
        *,
        is_implicit: bool = False,
        is_auth_required: bool = False,
        inbox: Inbox | None = None,
    ) -> None:
        self.inbox = inbox or Inbox()
        listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = listener.getsockname()[1]

        def authenticate(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
            is_right = isinstance(data, LoginPassword) and data.password == PASSWORD.encode()
            return AuthResult(success=is_right, handled=False)

        self._controller = _Controller(
            self.inbox,
            listener,
            ssl_context=context if is_implicit else None,
            tls_context=None if is_implicit else context,
            require_starttls=context is not None and not is_implicit,
            authenticator=authenticate if is_auth_required else None,
            auth_required=is_auth_required,
            data_size_limit=64 * 1024 * 1024,
            ready_timeout=LIMIT,
        )
        self._controller.start()

    @property
    def mails(self) -> list[EmailMessage]:
        """The accepted mails, parsed."""
        return [read_mail(content) for _, content in self.inbox.mails]

    def close(self) -> None:
        self._controller.stop()


class RawEnd(Listener):
    """Accepts connections and calls a function for each: for servers that hang, reset, or send nonsense."""

    def __init__(self, treat: Callable[[socket.socket, threading.Event], None]) -> None:
        self._treat = treat
        self.released = threading.Event()
        self._closed = threading.Semaphore(0)
        super().__init__()

    def treat(self, connection: socket.socket) -> None:
        self._treat(connection, self.released)

    def close(self) -> None:
        self.released.set()
        super().close()

    def _treat_and_close(self, connection: socket.socket) -> None:
        super()._treat_and_close(connection)
        self._closed.release()

    def wait_for_a_close(self) -> None:
        """Wait until one more connection is closed."""
        assert self._closed.acquire(timeout=LIMIT)


def hang(connection: socket.socket, released: threading.Event) -> None:
    """Send nothing until the server closes."""
    released.wait()


def reset(connection: socket.socket, released: threading.Event) -> None:
    """Reset the connection at once."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def say(line: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Send one line, then close the connection."""

    def treat(connection: socket.socket, released: threading.Event) -> None:
        connection.sendall(line + b"\r\n")

    return treat


@functools.cache  # a test looks again at all mails after each one
def read_mail(content: bytes) -> EmailMessage:
    """Parse a mail like a mail program."""
    mail = email.message_from_bytes(content, policy=policy.default)
    assert isinstance(mail, EmailMessage)
    return mail


def part(mail: EmailMessage, kind: str) -> str:
    """Return the text of the `plain` or `html` alternative."""
    body = mail.get_body((kind,))
    assert body is not None
    text: str = body.get_content()
    return text
