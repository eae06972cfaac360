"""Email: one mail per event in HTML and plain text, over SMTP with TLS. All mails of an alert form one thread.

The standard library's smtplib sends it, with one connection per mail. No text of an audit log can inject a header. A mail that
the server refuses for some recipients counts as sent, is not repeated, and names those recipients in its receipt.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import re
import smtplib
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from email import policy
from email.errors import MessageError
from email.headerregistry import Address, HeaderRegistry
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from actionwatch.base.errors import DeliveryError, PermanentDeliveryError, TransientDeliveryError
from actionwatch.base.model import Message, Receipt, Rendered
from actionwatch.net.os_errors import explain_os_error
from actionwatch.net.tls import tls_context
from actionwatch.notifiers.base import RESPONSE_CHARS, DigestOptions, Notifier, Redactor, Traits
from actionwatch.text import options as words
from actionwatch.text.escaping import shorten, visible

# A mail cannot be edited: send the final count once nothing more can join.
TRAITS = Traits(templates=("email.html", "email.txt", "email.subject"), is_updated_last=True, is_read_by_people=True)
_DEFAULT_TIMEOUT = timedelta(seconds=30)  # servers that look up senders are slow
_DEFAULT_PORTS = {"starttls": 587, "implicit": 465, "none": 25}
_TIMEOUTS_PER_MAIL = 4  # a mail takes at most two minutes by default, well within the lease of its delivery
_MAX_REPLY_LINES = 500  # the longest honest reply is that to EHLO, with one line for each of some 20 extensions
_MAX_REPLY_BYTES = 64 * 1024
_MAX_LINE_BYTES = 1000  # of a reply whose code is known
_SEND_CONTENT = 354  # RFC 5321 §4.3.2: the server waits for the content
_CODE_DIGITS = 3
_PIECE_BYTES = 16 * 1024  # a TLS record
_RECEIVE_BYTES = 8 * 1024
_FOLLOW_UPS = ("alert.updated", "alert.resolved")  # replies to the first mail of an alert
_MAX_SUBJECT_CHARS = 250  # mail programs show 60 to 120

_ADDRESS = HeaderRegistry()


def _address(value: str) -> str:
    """Accept one address, with or without a name: `soc@example.com`, `Alerts <alerts@example.com>`."""
    if not value.isprintable():
        raise ValueError("an address must not contain control characters")
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
    """The SMTP server."""
    port: Annotated[int, Field(ge=1, le=65_535)] | None = None
    """The port of the server. Default: `587` for `starttls`, `465` for `implicit`, `25` for `none`."""
    tls: Literal["starttls", "implicit", "none"] = "starttls"
    """`starttls`, `implicit`, or `none` (accepted only on loopback)."""
    username: str | None = None
    """The name to log in with. It requires a password."""
    password: words.Secret | None = None
    """The password to log in with. It requires a user name."""
    password_file: words.SecretFile | None = None
    ca_file: words.CaFile | None = None
    """A PEM file with certificates to trust instead of the system's."""
    sender: EmailAddress = Field(alias="from")
    """The address of the sender."""
    to: Annotated[list[EmailAddress], Field(min_length=1, max_length=100), AfterValidator(_distinct)]
    """The addresses of the recipients, at most 100."""
    timeout: words.PositiveDuration = _DEFAULT_TIMEOUT
    """For connecting, and for each response of the server."""
    digest: DigestOptions | None = None
    """`{at: "0 8 * * mon-fri", location: Australia/Sydney}`: all messages are held and sent in one email at these
    [times](#digest). Route urgent alerts to another receiver.
    """

    @model_validator(mode="after")
    def _check(self) -> Options:
        words.refuse_both(self, "password", "password_file")
        has_password = self.password is not None or self.password_file is not None
        if has_password != (self.username is not None):
            raise ValueError("username and password require each other: set both or neither")
        if self.tls == "none" and not words.is_loopback(self.host):
            raise ValueError("tls: none is accepted only for a server on this machine: use starttls or implicit")
        return self


def addresses_of(options: Options) -> tuple[Address, list[Address]]:
    """Parse `from` and `to`."""
    parsed: list[Any] = [_ADDRESS("to", value) for value in (options.sender, *options.to)]
    sender, *recipients = (each.addresses[0] for each in parsed)
    return sender, recipients


def build(options: Options, *, receiver: str) -> EmailNotifier:
    return EmailNotifier(options, receiver=receiver)


def preview(options: Options, message: Message, rendered: Rendered, *, receiver: str) -> dict[str, str]:
    """Return the HTML part, the plain text part, and the whole mail."""
    mail = compose(message, rendered, None, receiver, *addresses_of(options))
    parts = {"email.html": mail.get_body(("html",)), "email.txt": mail.get_body(("plain",))}
    files = {name: str(part.get_content()) for name, part in parts.items() if part is not None}
    return {**files, "email.eml": serialize(mail).decode()}


class EmailNotifier(Notifier):
    """Sends messages through one server to one list of recipients."""

    def __init__(self, options: Options, *, receiver: str) -> None:
        self.receiver = receiver
        self._options = options
        self._password = words.secret(options.password, options.password_file)
        self._redact = Redactor(self._password)
        self._port = options.port or _DEFAULT_PORTS[options.tls]
        self._context = tls_context(options.ca_file) if options.tls != "none" else None
        self._sender, self._recipients = addresses_of(options)

    def send(self, message: Message, rendered: Rendered, reference: str | None) -> Receipt:
        """Send one mail. `reference` is the Message-ID of the first mail of the alert; a note names refused recipients."""
        mail = compose(message, rendered, reference, self.receiver, self._sender, self._recipients)
        content = serialize(mail)
        to = [address.addr_spec for address in self._recipients]
        with self._session() as server:
            refused = server.sendmail(self._sender.addr_spec, to, content)
        note = f"refused for {self._describe(refused)}" if refused else None
        return Receipt(str(mail["Message-ID"]) if message.type == "alert.opened" else None, note)

    def reach(self) -> None:
        """Do everything that `send` does before the MAIL command."""
        with self._session() as server:
            server.noop()

    @contextlib.contextmanager
    def _session(self) -> Iterator[smtplib.SMTP]:
        """Connect, start TLS and log in, as configured; log out at the end."""
        try:
            with contextlib.closing(self._connect()) as server:
                if self._options.tls == "starttls":
                    server.starttls(context=self._context)
                if self._options.username is not None and self._password is not None:
                    server.login(self._options.username, self._password)
                yield server
                # The mail is accepted by now, so a failure here changes nothing.
                with contextlib.suppress(smtplib.SMTPException, OSError):
                    server.quit()
        except (smtplib.SMTPException, OSError, ValueError) as exc:
            raise self._translate(exc) from exc

    def _connect(self) -> smtplib.SMTP:
        timeout = self._options.timeout.total_seconds()
        host = self._options.host.strip("[]")
        if self._options.tls == "implicit":
            return _DeadlineSmtpTls(host, self._port, _local_hostname(), timeout=timeout, context=self._context)
        return _DeadlineSmtp(host, self._port, _local_hostname(), timeout=timeout)

    def _translate(self, exc: Exception) -> DeliveryError:
        """Translate an error: 4yz and broken connections are transient, 5yz and invalid certificates are permanent."""
        match exc:
            case smtplib.SMTPRecipientsRefused():
                codes = [code for code, _ in exc.recipients.values()]
                what = "the mail server refused every recipient"
                return self._refusal(what, min(codes, default=550), self._describe(exc.recipients))
            case smtplib.SMTPResponseException():
                refused = {
                    smtplib.SMTPAuthenticationError: "login: check username and password",
                    smtplib.SMTPSenderRefused: f"sender {self._sender.addr_spec}",
                }.get(type(exc), "message")
                return self._refusal(f"the mail server refused the {refused}", exc.smtp_code, exc.smtp_error)
            case smtplib.SMTPNotSupportedError():
                what = f"the mail server does not support the configuration: {self._text(str(exc)).rstrip('.')}"
                return PermanentDeliveryError(
                    f"{what}: check port and tls (usually starttls on 587, implicit on 465) and whether a login is required"
                )
            case ssl.SSLCertVerificationError():
                what = f"the certificate of {self._options.host} cannot be verified ({self._text(exc.verify_message)})"
                return PermanentDeliveryError(f"{what}: fix the certificate, or set ca_file to its authority")
            case TimeoutError() | smtplib.SMTPServerDisconnected(__context__=TimeoutError()):
                return TransientDeliveryError("the mail server did not respond within the timeout")
            case smtplib.SMTPException() | OSError():
                return TransientDeliveryError(f"cannot talk to the mail server: {self._text(explain_os_error(exc))}")
            case _:
                return PermanentDeliveryError(f"the message cannot be sent as mail: {self._text(str(exc))}")

    def _refusal(self, what: str, code: int, response: str | bytes) -> DeliveryError:
        error = PermanentDeliveryError if 500 <= code < 600 else TransientDeliveryError
        return error(f"{what} ({code})", response=self._text(response))

    def _describe(self, refused: Mapping[str, tuple[int, bytes]]) -> str:
        answers = refused.items()
        return "; ".join(f"{address} ({code} {self._text(response, 200)})" for address, (code, response) in answers)

    def _text(self, response: str | bytes, limit: int = RESPONSE_CHARS) -> str:
        text = response.decode("utf-8", "replace") if isinstance(response, bytes) else response
        return " ".join(self._redact.excerpt(text, limit).split())


class _DeadlineSmtp(smtplib.SMTP):
    """smtplib's client with limits: one deadline for the whole session, a time for each reply, and a size of it.

    smtplib restarts its timeout with each packet, and keeps every line of a reply.
    """

    def __init__(self, host: str, port: int, local_hostname: str, *, timeout: float, **tls: Any) -> None:
        self._ends_at = time.monotonic() + _TIMEOUTS_PER_MAIL * timeout
        super().__init__(host, port, local_hostname, timeout=timeout, **tls)

    def getreply(self) -> tuple[int, bytes]:
        """Wait for a reply, but neither longer than the timeout nor beyond the deadline of the session."""
        if self.sock is not None:
            ends_at = min(time.monotonic() + float(self.timeout), self._ends_at)
            if self.file is None:  # at the beginning, and after STARTTLS, which discards what came before it
                self.file = _Replies(self.sock)
            self.file.begin(ends_at)
        code, text = super().getreply()
        if code == _SEND_CONTENT and isinstance(self.file, _Replies):
            self.file.is_last = True
        return code, text

    def send(self, s: Any) -> None:
        """Send in pieces: with TLS, the timeout restarts with each record."""
        data = s.encode("ascii") if isinstance(s, str) else bytes(s)
        for start in range(0, len(data), _PIECE_BYTES):
            if self.sock is not None:
                self.sock.settimeout(_left(min(time.monotonic() + float(self.timeout), self._ends_at)))
            super().send(data[start : start + _PIECE_BYTES])


class _DeadlineSmtpTls(_DeadlineSmtp, smtplib.SMTP_SSL):
    """The same over TLS from the first byte."""


class _Replies:
    """The lines of a server's replies: what smtplib reads instead of a file. `begin` starts each reply."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._data = bytearray()
        self._ends_at = 0.0
        self._line_count = self._byte_count = 0
        self._code = b""
        """The code in the first line of the reply."""
        self.is_last = False
        """The next reply is that to the content: its code decides, even if the rest is endless, too large or missing."""

    def begin(self, ends_at: float) -> None:
        """Start the limits of a reply."""
        self._ends_at = ends_at
        self._line_count = self._byte_count = 0
        self._code = b""

    def readline(self, _: int = -1) -> bytes:
        """Return the next line; an empty one if the server has closed the connection.

        Raises: OSError, if the reply takes too long or is too large; smtplib translates it.
        """
        try:
            line = self._read_line()
        except OSError:
            line = b""
            if not self._is_decided():
                raise
        self._code = self._code or line[:3]
        if line or not self._is_decided():
            return line[:_MAX_LINE_BYTES] if self.is_last else line
        return self._code + b" the rest of the reply is missing\r\n"

    def _is_decided(self) -> bool:
        self._code = self._code or bytes(self._data[:3])
        return self.is_last and len(self._code) == _CODE_DIGITS and self._code.isdigit()

    def _read_line(self) -> bytes:
        while (end := self._data.find(b"\n") + 1) == 0:
            if len(self._data) > _MAX_REPLY_BYTES:
                raise OSError(f"the reply is larger than {_MAX_REPLY_BYTES} bytes")
            self._socket.settimeout(_left(self._ends_at))
            received = self._socket.recv(_RECEIVE_BYTES)
            if not received:
                return b""
            self._data += received
        line = bytes(self._data[:end])
        del self._data[:end]
        self._line_count += 1
        self._byte_count += end
        if self._line_count > _MAX_REPLY_LINES or self._byte_count > _MAX_REPLY_BYTES:
            raise OSError(f"the reply has more than {_MAX_REPLY_LINES} lines or {_MAX_REPLY_BYTES} bytes")
        return line

    def close(self) -> None:
        """Forget what was received. smtplib closes the socket."""
        self._data.clear()


def _left(ends_at: float) -> float:
    left = ends_at - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def compose(
    message: Message,
    rendered: Rendered,
    reference: str | None,
    receiver: str,
    sender: Address,
    recipients: list[Address],
) -> EmailMessage:
    """Compose the mail. The Message-ID depends only on the message, so that recipients can recognise a repeat."""
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
    if message.type in _FOLLOW_UPS:
        parent = reference if reference and _MESSAGE_ID.fullmatch(reference) else head
        mail["In-Reply-To"] = parent
        mail["References"] = parent
    mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: prevents automatic replies
    mail["X-Actionwatch-Message"] = _unencoded(re.sub(r"[^\x21-\x7e]", "", message.id)[:200]) or "-"
    # base64: a line of audit text may exceed the 998 bytes that SMTP allows.
    mail.set_content(visible(rendered.texts.get("email.txt") or _plain(message)), charset="utf-8", cte="base64")
    if html := rendered.texts.get("email.html"):
        mail.add_alternative(visible(html), subtype="html", charset="utf-8", cte="base64")
    return mail


_MESSAGE_ID = re.compile(r"<[!-;=@-~]{1,250}>", re.ASCII)  # no "?": it would allow an encoded word


def serialize(mail: EmailMessage) -> bytes:
    """Return the bytes of a composed mail.

    Raises: PermanentDeliveryError, if the email package writes other headers than those of the mail (as CVE-2024-6923 did).
    """
    try:
        content = mail.as_bytes(policy=policy.SMTP)
    except MessageError as exc:
        raise PermanentDeliveryError(f"the headers of the mail cannot be written: {visible(str(exc))}") from exc
    head = content.partition(b"\r\n\r\n")[0]
    lines = (line for line in _LINE_END.split(head) if not line.startswith((b" ", b"\t")))
    if [line.partition(b":")[0].decode("ascii", "replace") for line in lines] != mail.keys():
        raise PermanentDeliveryError("the mail would have other headers than intended: update Python")
    return content


_LINE_END = re.compile(rb"\r\n|\r|\n")


def _subject(message: Message, rendered: Rendered) -> str:
    text = rendered.texts.get("email.subject") or _plain(message)
    # Escape first: `split` alone would turn U+2028 into a space and hide it.
    return _unencoded(shorten(" ".join(visible(text).split()), _MAX_SUBJECT_CHARS)) or message.type


def _unencoded(text: str) -> str:
    """Break each encoded word (RFC 2047): the email package and mail programs decode it, and may write its line ends."""
    return text.replace("=?", "= ?")


def _plain(message: Message) -> str:
    # Mail programs group a thread only if the subjects differ in nothing but a leading "Re: ".
    again = "Re: " if message.type in _FOLLOW_UPS else ""
    return f"{again}[{message.level or 'alert'}] {message.headline}"


def _message_id(kind: str, receiver: str, name: str, domain: str) -> str:
    """Make a Message-ID from names that may contain any characters."""
    digest = hashlib.sha256("\0".join((kind, receiver, name)).encode("utf-8", "replace")).hexdigest()
    return f"<{digest[:40]}@{domain}>"


@functools.cache
def _local_hostname() -> str:
    """Return the name for EHLO. It is cached, because a broken resolver takes seconds each time."""
    name = socket.getfqdn()
    return name if "." in name and name.isascii() else "[127.0.0.1]"
