"""Email: one message per event in HTML and plain text, over SMTP with TLS, all of an alert in one thread.

Sent by the standard library's smtplib, one connection per message. Every header is safe against what stands in audit logs,
and every recipient's own fate is told: a half-refused message counts as sent and is not repeated to those who took it.
"""

from __future__ import annotations

import functools
import hashlib
import re
import smtplib
import socket
import ssl
import time
from collections.abc import Mapping
from datetime import timedelta
from email import policy
from email.headerregistry import Address, HeaderRegistry
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from actionwatch.base.errors import DeliveryError, PermanentDeliveryError, TransientDeliveryError
from actionwatch.base.model import Message, Receipt
from actionwatch.net.os_errors import explain_os_error
from actionwatch.net.tls import tls_context
from actionwatch.notifiers.base import RESPONSE_CHARS, DigestOptions, Redactor, Rendered
from actionwatch.text import options as words
from actionwatch.text.escaping import shorten, visible

TEMPLATES: tuple[str, ...] = ("email.html", "email.txt", "email.subject")
DEFAULT_RATE_PER_SECOND: float | None = None
IS_UPDATED_LAST = True  # a mail cannot be edited: one with the final count, when nothing more can join
IS_READ_BY_PEOPLE = True
DEFAULT_TIMEOUT = timedelta(seconds=30)  # servers that look senders up answer slowly
DEFAULT_PORTS = {"starttls": 587, "implicit": 465, "none": 25}
TIMEOUTS_PER_MAIL = 4  # so that one mail takes two minutes at most, well within the lease of its delivery
FOLLOWING = ("alert.updated", "alert.resolved")  # what answers an alert's first mail
MAX_SUBJECT_CHARS = 250  # clients show 60 to 120

_ADDRESS = HeaderRegistry()


def _address(value: str) -> str:
    """Insist on one plain address, with or without a name: `soc@example.com`, `Alerts <alerts@example.com>`."""
    if not value.isprintable():
        raise ValueError("an address must not hold control characters")
    if not value.rpartition("<")[2].isascii():
        raise ValueError("an address must be ASCII: write its domain in the xn-- form")
    parsed: Any = _ADDRESS("to", value)
    addresses: tuple[Address, ...] = parsed.addresses
    if parsed.defects or len(addresses) != 1 or not addresses[0].domain or not addresses[0].username:
        raise ValueError("not an email address: write name@example.com or Name <name@example.com>")
    return value


def _distinct(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))


EmailAddress = Annotated[str, Field(max_length=320), AfterValidator(_address)]


class Options(words.Options):
    """The keys of an `email:` receiver."""

    host: Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9.:_\[\]-]+$")]
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    username: str | None = None
    password: words.Secret | None = None
    password_file: words.SecretFile | None = None
    ca_file: words.CaFile | None = None
    sender: EmailAddress = Field(alias="from")
    to: Annotated[list[EmailAddress], Field(min_length=1, max_length=100), AfterValidator(_distinct)]
    timeout: words.PositiveDuration = DEFAULT_TIMEOUT
    digest: DigestOptions | None = None

    @model_validator(mode="after")
    def _check(self) -> Options:
        words.refuse_both(self, "password", "password_file")
        has_password = self.password is not None or self.password_file is not None
        if has_password != (self.username is not None):
            raise ValueError("username and password go together")
        if self.tls == "none" and not words.is_loopback(self.host):
            raise ValueError("tls: none is accepted for a server on this machine only; use starttls or implicit")
        return self


def build(options: Options, *, receiver: str) -> EmailNotifier:
    """Make the notifier of one receiver. Opens no connection."""
    return EmailNotifier(options, receiver=receiver)


def verify(options: Options) -> None:
    """Connect, begin TLS, log in, and say NOOP; no mail is sent.

    Raises: TransientDeliveryError, PermanentDeliveryError.
    """
    EmailNotifier(options, receiver="verify").reach()


def preview(options: Options, message: Message, rendered: Rendered, *, receiver: str) -> dict[str, str]:
    """Return the HTML for a browser, the plain text, and the whole mail for a mail program."""
    recipients = [_parse(value) for value in options.to]
    mail = compose(message, rendered, None, receiver, _parse(options.sender), recipients)
    parts = {"email.html": mail.get_body(("html",)), "email.txt": mail.get_body(("plain",))}
    files = {name: str(part.get_content()) for name, part in parts.items() if part is not None}
    return {**files, "email.eml": mail.as_string()}


class EmailNotifier:
    """Sends messages through one server to one list of recipients."""

    def __init__(self, options: Options, *, receiver: str) -> None:
        self.receiver = receiver
        self._options = options
        self._password = words.secret(options.password, options.password_file)
        self._redact = Redactor(self._password)
        self._port = options.port or DEFAULT_PORTS[options.tls]
        self._context = tls_context(options.ca_file) if options.tls != "none" else None
        self._sender = _parse(options.sender)
        self._recipients = [_parse(value) for value in options.to]

    def send(self, message: Message, rendered: Rendered, reference: str | None) -> Receipt:
        """Send the message once to all recipients.

        Returns: a receipt whose `reference` is the Message-ID of an alert's first mail, whose `note` names refused recipients.
        Raises: TransientDeliveryError, PermanentDeliveryError.
        """
        mail = compose(message, rendered, reference, self.receiver, self._sender, self._recipients)
        try:
            refused = self._transmit(mail.as_bytes(policy=policy.SMTP))
        except (smtplib.SMTPException, OSError, ValueError) as exc:
            raise self._translate(exc) from exc
        note = f"refused for {self._describe(refused)}" if refused else None
        return Receipt(str(mail["Message-ID"]) if message.type == "alert.opened" else None, note)

    def reach(self) -> None:
        """Do all that `send` does before it names a sender.

        Raises: TransientDeliveryError, PermanentDeliveryError.
        """
        try:
            server = self._connect()
            try:
                self._introduce(server)
                server.noop()
                _part(server)
            finally:
                server.close()
        except (smtplib.SMTPException, OSError, ValueError) as exc:
            raise self._translate(exc) from exc

    def close(self) -> None:
        """Nothing is open between two messages."""

    def _transmit(self, content: bytes) -> dict[str, tuple[int, bytes]]:
        """Hand the mail over; gives the recipients that were refused while others were accepted."""
        server = self._connect()
        try:
            self._introduce(server)
            to = [address.addr_spec for address in self._recipients]
            refused = server.sendmail(self._sender.addr_spec, to, content)
            _part(server)
            return refused
        finally:
            server.close()

    def _introduce(self, server: smtplib.SMTP) -> None:
        """Begin TLS and log in, as the options say."""
        if self._options.tls == "starttls":
            server.starttls(context=self._context)
        if self._options.username is not None and self._password is not None:
            server.login(self._options.username, self._password)

    def _connect(self) -> smtplib.SMTP:
        timeout = self._options.timeout.total_seconds()
        host = self._options.host.strip("[]")
        if self._options.tls == "implicit":
            return _BoundedTls(host, self._port, _own_name(), timeout=timeout, context=self._context)
        return _Bounded(host, self._port, _own_name(), timeout=timeout)

    def _translate(self, exc: Exception) -> DeliveryError:
        """Say what a failure means: 4yz and broken connections pass, 5yz and a server that proves no identity stay."""
        match exc:
            case smtplib.SMTPRecipientsRefused():
                codes = [code for code, _ in exc.recipients.values()]
                what = "the mail server refused every recipient"
                return self._refusal(what, min(codes, default=550), self._describe(exc.recipients))
            case smtplib.SMTPAuthenticationError():
                return self._refusal(
                    "the mail server refused the login: check username and password", exc.smtp_code, exc.smtp_error
                )
            case smtplib.SMTPSenderRefused():
                what = f"the mail server refused the sender {self._sender.addr_spec}"
                return self._refusal(what, exc.smtp_code, exc.smtp_error)
            case smtplib.SMTPResponseException():
                return self._refusal("the mail server refused the message", exc.smtp_code, exc.smtp_error)
            case smtplib.SMTPNotSupportedError():
                what = f"the mail server lacks what the receiver is set to: {self._text(str(exc)).rstrip('.')}"
                return PermanentDeliveryError(
                    f"{what}: check port and tls (mostly starttls at 587, implicit at 465), and whether it wants a login there"
                )
            case ssl.SSLCertVerificationError():
                what = f"the certificate of {self._options.host} cannot be verified ({self._text(exc.verify_message)})"
                return PermanentDeliveryError(f"{what}: mend it, or name its authority in ca_file")
            case TimeoutError() | smtplib.SMTPServerDisconnected(__context__=TimeoutError()):
                return TransientDeliveryError("the mail server did not answer within the timeout")
            case smtplib.SMTPException() | OSError():
                return TransientDeliveryError(f"cannot talk to the mail server: {self._text(explain_os_error(exc))}")
            case _:
                return PermanentDeliveryError(f"the message cannot be sent as mail: {self._text(str(exc))}")

    def _refusal(self, what: str, code: int, response: str | bytes) -> DeliveryError:
        text = self._text(response)
        if 500 <= code < 600:
            return PermanentDeliveryError(f"{what} ({code})", response=text)
        return TransientDeliveryError(f"{what} ({code})", response=text)

    def _describe(self, refused: Mapping[str, tuple[int, bytes]]) -> str:
        return "; ".join(
            f"{address} ({code} {self._text(response, 200)})" for address, (code, response) in refused.items()
        )

    def _text(self, response: str | bytes, limit: int = RESPONSE_CHARS) -> str:
        text = response.decode("utf-8", "replace") if isinstance(response, bytes) else response
        return self._redact(" ".join(text.split()))[:limit]


class _Bounded(smtplib.SMTP):
    """smtplib's client with an end: its own timeout starts again with every answer, of which there are a dozen."""

    _deadline: float | None = None

    def getreply(self) -> tuple[int, bytes]:
        """Wait for an answer no longer than what is left of the whole conversation's time."""
        if self._deadline is None:
            self._deadline = time.monotonic() + TIMEOUTS_PER_MAIL * float(self.timeout)
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        if self.sock is not None:
            self.sock.settimeout(min(left, float(self.timeout)))
        return super().getreply()


class _BoundedTls(_Bounded, smtplib.SMTP_SSL):
    """The same over TLS from the first byte."""


def compose(
    message: Message,
    rendered: Rendered,
    reference: str | None,
    receiver: str,
    sender: Address,
    recipients: list[Address],
) -> EmailMessage:
    """Write the mail. The same message always gives the same Message-ID, so that a repeat can be told from a new one."""
    alert_id = str(message.data.get("id") or message.id)
    head = _message_id("alert", receiver, alert_id, sender.domain)
    mail = EmailMessage(policy=policy.SMTP)
    mail["From"] = sender
    mail["To"] = recipients
    mail["Subject"] = _subject(message, rendered)
    mail["Date"] = format_datetime(message.timestamp)
    if message.type == "alert.opened":
        mail["Message-ID"] = head
    else:
        mail["Message-ID"] = _message_id("message", receiver, message.id, sender.domain)
    if message.type in FOLLOWING:
        parent = reference if reference and _MESSAGE_ID.fullmatch(reference) else head
        mail["In-Reply-To"] = parent
        mail["References"] = parent
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: keeps holiday notices from answering
    mail["X-Actionwatch-Message"] = re.sub(r"[^\x21-\x7e]", "", message.id)[:200] or "-"
    # base64: a line of audit text may be longer than the 998 bytes that SMTP carries.
    mail.set_content(visible(rendered.texts.get("email.txt") or _plain(message)), charset="utf-8", cte="base64")
    if html := rendered.texts.get("email.html"):
        mail.add_alternative(visible(html), subtype="html", charset="utf-8", cte="base64")
    return mail


_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,250}>", re.ASCII)


def _subject(message: Message, rendered: Rendered) -> str:
    text = rendered.texts.get("email.subject") or _plain(message)
    # Escapes first: `split` alone would take a U+2028 for a space and hide that it was there.
    return shorten(" ".join(visible(text).split()), MAX_SUBJECT_CHARS) or message.type


def _plain(message: Message) -> str:
    # Mail programs keep a thread together only while its subject stays the same but for a leading "Re: ".
    again = "Re: " if message.type in FOLLOWING else ""
    return f"{again}[{message.level or 'alert'}] {message.headline}"


def _message_id(kind: str, receiver: str, name: str, domain: str) -> str:
    """Make a Message-ID of fixed form out of names that may hold anything."""
    digest = hashlib.sha256("\0".join((kind, receiver, name)).encode("utf-8", "replace")).hexdigest()
    return f"<{digest[:40]}@{domain}>"


def _parse(value: str) -> Address:
    parsed: Any = _ADDRESS("to", value)
    address: Address = parsed.addresses[0]
    return address


def _part(server: smtplib.SMTP) -> None:
    """Say goodbye; the mail is taken by now, so that a server which fails here changes nothing."""
    try:
        server.quit()
    except (smtplib.SMTPException, OSError):
        return


@functools.cache
def _own_name() -> str:
    """Return the name to greet servers with; looked up once, since a broken resolver takes seconds each time."""
    name = socket.getfqdn()
    return name if "." in name and name.isascii() else "[127.0.0.1]"
