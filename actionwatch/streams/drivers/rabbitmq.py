"""RabbitMQ: publish each message to an exchange or a queue (AMQP 0-9-1), and wait until the broker confirms all of a batch.

At least once: a message is persistent, and counts as sent when every queue that it was routed to has confirmed it. The broker
does not drop a repeat: a consumer drops what it has under the same `message_id`. In order within a queue, with one exception: a
queue that is full and has `overflow: reject-publish` may accept a message behind one that it refused, which is then sent again;
`confirm_each` prevents that. A message that no queue is bound to receive is an error, and nothing is lost.

The event loop of the client runs only during a call, in the thread of the caller. It keeps no heartbeat between calls; a
connection that was idle for a minute is replaced by a new one.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, model_validator

from actionwatch.base.errors import TransientDeliveryError
from actionwatch.net.os_errors import explain_os_error
from actionwatch.net.tls import tls_context
from actionwatch.notifiers.base import Redactor
from actionwatch.settings.validators import Flag, Word, require_package
from actionwatch.streams.driver import Refusal, StreamMessage, Traits
from actionwatch.streams.drivers._servers import ServerOptions, failure
from actionwatch.text.options import check_url, require_one

if TYPE_CHECKING:
    import pika

    from actionwatch.streams.drivers._amqp import Publication, Session

TRAITS = Traits()
_MAX_IDLE_SECONDS = 60.0  # less than the idle limits of load balancers
_MAX_SHORT_BYTES = 255  # AMQP 0-9-1, short string
_MAX_KEY_BYTES = 32_768  # the headers must fit into one frame, of 128 KiB unless configured
_PORTS = {"amqps": 5671, "amqp": 5672}
_PERSISTENT = 2
_ACCESS_REFUSED, _NOT_FOUND = 403, 404  # AMQP 0-9-1, reply codes

# It logs each failure, also those that are reported as errors, with a traceback.
logging.getLogger("pika").setLevel(logging.CRITICAL)


def _url(url: str) -> str:
    check_url(url, secure="amqps", plain="amqp")
    parts = urlsplit(url)
    if parts.query or parts.fragment or "/" in parts.path[1:]:
        raise ValueError(
            "must end with the virtual host: amqps://rabbitmq.example.com/audit, with %2F for a slash in its name"
        )
    return url


class Options(ServerOptions):
    """The keys of a stream of the type `rabbitmq`."""

    url: Annotated[str, AfterValidator(_url)]
    """`amqps://host`, with the port unless it is 5671, and the virtual host unless it is `/`: `amqps://host/audit`. `amqp://`
    is accepted only for loopback.
    """
    exchange: Word | None = None
    """The exchange to publish to. It must exist, and each message must reach a queue. One of the two is required."""
    queue: Word | None = None
    """The queue to publish to through the default exchange. It must exist."""
    routing_key: Word | None = None
    """The routing key of all messages to an exchange. Default: the partition key of each."""
    confirm_each: Flag = False
    """`true`: send a message only after the one before it is confirmed. This is slow, and keeps the order also where a queue
    refuses messages while it is full (`overflow: reject-publish`).
    """

    @model_validator(mode="after")
    def _check(self) -> Options:
        require_one(self, "exchange", "queue")
        if self.queue is not None and self.routing_key is not None:
            raise ValueError("routing_key needs exchange: remove it, because the name of a queue is its routing key")
        if self.username is None and self.identity is None:
            raise ValueError("username and password are required, or cert_file")
        require_package("pika", "streams")
        return self


def build(options: Options, *, stream: str) -> RabbitMqDriver:
    return RabbitMqDriver(options, stream)


class RabbitMqDriver:
    """Publishes to one exchange or queue."""

    def __init__(self, options: Options, stream: str) -> None:
        self._options = options
        self._stream = stream
        self._place = options.url
        self._seconds = options.timeout.total_seconds()
        self._redact = Redactor(options.login_password)
        self._session: Session | None = None
        self._max_body_bytes: int | None = None
        """The limit of the broker, which it reveals when it refuses a message."""
        self._used_at = 0.0

    def open(self) -> None:
        """Connect, sign in, and look for the exchange or the queue."""
        self._opened()

    def send(self, batch: Sequence[StreamMessage]) -> Sequence[Refusal]:
        """Publish all messages, then wait until the broker has confirmed them."""
        session = self._session
        if session is None or time.monotonic() - self._used_at > _MAX_IDLE_SECONDS:
            session = self._opened()
        deadline = time.monotonic() + self._seconds
        parts = [[message] for message in batch] if self._options.confirm_each else [batch]
        with self._explained():
            refused = [refusal for part in parts for refusal in self._publish(session, part, deadline)]
        self._used_at = time.monotonic()
        return refused

    def close(self) -> None:
        """Close the connection, and drop what it has not sent."""
        if self._session is not None:
            self._session.close()
        self._session = self._max_body_bytes = None

    def _opened(self) -> Session:
        from actionwatch.streams.drivers._amqp import Session  # imports the package of an extra

        self.close()
        deadline = time.monotonic() + self._seconds
        try:
            with self._explained():
                session = self._session = Session(self._parameters())
                session.open(deadline)
                session.look_for(self._options.exchange, self._options.queue, deadline)
        except TransientDeliveryError:
            self.close()
            raise
        self._used_at = time.monotonic()
        return session

    def _publish(self, session: Session, batch: Sequence[StreamMessage], deadline: float) -> Sequence[Refusal]:
        from actionwatch.streams.drivers._amqp import TooLargeError

        while True:
            refusals = [Refusal(message.id, why) for message in batch if (why := self._why_never(message))]
            never = {refusal.id for refusal in refusals}
            try:
                session.publish((self._publication(each) for each in batch if each.id not in never), deadline)
            except TooLargeError as exc:
                if self._max_body_bytes is not None:
                    raise  # the broker changed its limit, or counts something else
                self._max_body_bytes = exc.limit
                session.open(deadline)
            else:
                return refusals

    def _why_never(self, message: StreamMessage) -> str | None:
        """Return why the broker never accepts a message; None if it may."""
        key_bytes = len(message.key.encode())
        if self._max_body_bytes is not None and len(message.body) > self._max_body_bytes:
            limit = self._max_body_bytes
            return f"{len(message.body)} bytes are more than the broker accepts ({limit}): raise its max_message_size"
        if self._is_key_routing and key_bytes > _MAX_SHORT_BYTES:
            return f"a routing key has at most {_MAX_SHORT_BYTES} bytes, the key has {key_bytes}: set routing_key"
        if len(message.id.encode()) > _MAX_SHORT_BYTES:
            return f"a message_id has at most {_MAX_SHORT_BYTES} bytes: choose a shorter name of the source"
        if key_bytes > _MAX_KEY_BYTES:
            return f"the key has {key_bytes} bytes, a header at most {_MAX_KEY_BYTES}: choose another partition key"
        return None

    @property
    def _is_key_routing(self) -> bool:
        return self._options.queue is None and self._options.routing_key is None

    def _publication(self, message: StreamMessage) -> Publication:
        import pika

        from actionwatch.streams.drivers._amqp import Publication

        properties = pika.BasicProperties(
            content_type=message.content_type,
            headers={"kind": message.kind, "offset": message.offset, "key": message.key},
            delivery_mode=_PERSISTENT,
            message_id=message.id,
            timestamp=int(message.at.timestamp()),
            type=message.kind,
            app_id="actionwatch",
        )
        fixed = self._options.queue if self._options.queue is not None else self._options.routing_key
        routing_key = message.key if fixed is None else fixed
        return Publication(self._options.exchange or "", routing_key, message.body, properties)

    def _parameters(self) -> pika.ConnectionParameters:
        import pika
        from pika.credentials import ExternalCredentials

        options = self._options
        parts = urlsplit(options.url)
        host = parts.hostname or ""
        is_secure = parts.scheme == "amqps"
        try:
            context = tls_context(options.ca_file, options.identity) if is_secure else None
        except (OSError, ValueError) as exc:
            raise failure(
                self._place, f"a certificate cannot be used ({exc})", "correct ca_file and cert_file"
            ) from exc
        credentials: Any = ExternalCredentials()
        if options.username is not None:
            credentials = pika.PlainCredentials(options.username, options.login_password or "")
        return pika.ConnectionParameters(
            host=host,
            port=parts.port or _PORTS[parts.scheme],
            virtual_host=unquote(parts.path[1:]) or "/",
            credentials=credentials,
            ssl_options=pika.SSLOptions(context, host) if context is not None else None,
            heartbeat=0,
            connection_attempts=1,
            socket_timeout=None,  # ours; pika fails if it gives up at the same moment
            stack_timeout=None,
            client_properties={"connection_name": f"actionwatch {self._stream}"},
        )

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Translate the errors of the client and of the broker."""
        from pika.exceptions import AMQPError

        from actionwatch.streams.drivers._amqp import BrokerError, TooLargeError

        try:
            yield
        except TimeoutError as exc:
            raise failure(self._place, f"no answer within {self._seconds:g} s") from exc
        except (AMQPError, OSError, BrokerError, TooLargeError) as exc:
            raise failure(self._place, *self._reason(exc)) from exc

    def _reason(self, exc: Exception) -> tuple[str, str]:
        """Return what happened, and what people can do."""
        from pika import exceptions

        from actionwatch.streams.drivers._amqp import UnroutableError

        text = self._redact.excerpt(explain_os_error(exc) if isinstance(exc, OSError) else str(exc))
        destination = self._options.exchange or self._options.queue
        code = exc.reply_code if isinstance(exc, exceptions.ChannelClosed | exceptions.ConnectionClosed) else None
        match exc:
            case exceptions.AuthenticationError() | exceptions.ProbableAuthenticationError():
                return "the broker refused the credentials", "check username and password"
            case exceptions.ProbableAccessDeniedError():
                return text, "check that the virtual host exists, and that the user may access it"
            case exceptions.ConnectionClosed() | exceptions.ChannelClosed():
                text = self._redact.excerpt(exc.reply_text)
            case UnroutableError():
                return text, f"bind a queue to the exchange {destination}, or correct routing_key"
        if code == _ACCESS_REFUSED:
            return text, "allow the user to write there"
        if code == _NOT_FOUND:
            return text, f"declare {destination}, or correct the key"
        return text or type(exc).__name__, ""
