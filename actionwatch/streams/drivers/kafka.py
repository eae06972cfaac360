"""Kafka: produce each message to one topic, and wait until all replicas that are in sync have it (`acks=all`).

At least once. The producer is idempotent: while the connection lasts, the brokers store a message once. The repeat of a batch
that failed is stored again, with the same header `id`. In order within each partition, and so within each key: if a message
cannot be stored, none after it in its partition is (`enable.gapless.guarantee`).
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from actionwatch.base.errors import TransientDeliveryError
from actionwatch.notifiers.base import Redactor
from actionwatch.settings.validators import Flag, WholeNumber, Word, parse_address, require_package
from actionwatch.streams.driver import Refusal, StreamMessage, Traits
from actionwatch.streams.drivers._servers import ServerOptions, failure
from actionwatch.text.options import is_loopback

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message, Producer

TRAITS = Traits()
_SILENT = logging.Logger("kafka")
_SILENT.addHandler(logging.NullHandler())
_LOOK_EVERY_SECONDS = 0.2  # the client tries for ever, and reports wrong credentials only to who asks


def _broker(text: str) -> str:
    parse_address(text)
    return text


def _as_list(given: object) -> object:
    """Read one broker as a list of one: most people have one."""
    return [given] if isinstance(given, str) else given


class Options(ServerOptions):
    """The keys of a stream of the type `kafka`."""

    brokers: Annotated[
        tuple[Annotated[str, AfterValidator(_broker)], ...],
        BeforeValidator(_as_list, json_schema_input_type=str | list[str]),
        Field(min_length=1),
    ]
    """`host:port`, or a list of some brokers of the cluster, which name the others."""
    topic: Word = "actionwatch"
    """The topic. It must exist, unless the brokers create topics."""
    tls: Flag = True
    """`false` is accepted only for loopback."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    """The form in which the brokers ask for `username` and `password`."""
    max_message_bytes: Annotated[WholeNumber, Field(ge=1000, le=1_000_000_000)] = 1_000_000
    """A larger message is refused. Not more than `max.message.bytes` of the topic."""

    @model_validator(mode="after")
    def _check(self) -> Options:
        hosts = [parse_address(each).host for each in self.brokers]
        if not self.tls and not all(map(is_loopback, hosts)):
            raise ValueError("tls: false is accepted only for loopback")
        require_package("confluent_kafka", "streams")
        return self


def build(options: Options, *, stream: str) -> KafkaDriver:
    return KafkaDriver(options, stream)


class KafkaDriver:
    """Produces to one topic. The client has threads; they end with `close`."""

    def __init__(self, options: Options, stream: str) -> None:
        self._options = options
        self._place = f"{options.brokers[0]}{' and others' if len(options.brokers) > 1 else ''}"
        self._stream = stream
        self._seconds = options.timeout.total_seconds()
        self._redact = Redactor(options.login_password)
        self._producer: Producer | None = None
        self._seen: list[KafkaError] = []

    def open(self) -> None:
        """Connect, sign in, and look for the topic."""
        self._opened()

    def send(self, batch: Sequence[StreamMessage]) -> Sequence[Refusal]:
        """Produce all messages, and wait for the report of each."""
        from confluent_kafka import KafkaError, KafkaException

        producer = self._ready()
        refused: list[Refusal] = []
        failed: list[KafkaError] = []

        def on_delivery(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                failed.append(error)

        with self._purged_on_failure(producer, failed):
            for message in batch:
                try:
                    # Without the time of the message: the topic would remove old ones at once.
                    producer.produce(
                        self._options.topic,
                        message.body,
                        message.key.encode(),
                        on_delivery=on_delivery,
                        headers=_headers(message),
                    )
                except KafkaException as exc:
                    if exc.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                        raise
                    why = f"more than max_message_bytes ({self._options.max_message_bytes}): raise it, and that of the topic"
                    refused.append(Refusal(message.id, why))
                except BufferError as exc:
                    raise failure(self._place, "the batch is larger than the buffer of the client") from exc
            ends_at = time.monotonic() + self._seconds
            while producer.flush(_LOOK_EVERY_SECONDS) and not failed:
                self._check_brokers(ends_at)
            if failed:
                raise self._explained(failed)
        return refused

    def close(self) -> None:
        """Drop the connection, with all that waits."""
        from confluent_kafka import KafkaException

        producer, self._producer = self._producer, None
        if producer is not None:
            _purge(producer)
            # An idempotent producer says here that a purged batch left a gap in its numbers. The next one has its own.
            with contextlib.suppress(KafkaException):
                producer.close()

    def _ready(self) -> Producer:
        """Return the open producer, or another one if something has happened to it since the last batch."""
        if self._producer is not None:
            self._producer.poll(0)
        return self._opened() if self._producer is None or self._seen else self._producer

    def _opened(self) -> Producer:
        from confluent_kafka import KafkaException, Producer

        self.close()
        self._seen.clear()
        producer = self._producer = Producer(self._configuration())
        ends_at = time.monotonic() + self._seconds
        while True:
            try:
                found = producer.list_topics(self._options.topic, timeout=_LOOK_EVERY_SECONDS)
                break
            except KafkaException:
                producer.poll(0)
                self._check_brokers(ends_at)
        error = found.topics[self._options.topic].error
        if error is not None:
            raise self._explained([error])
        return producer

    def _configuration(self) -> dict[str, Any]:
        options = self._options
        login = {
            "sasl.mechanism": options.sasl_mechanism,
            "sasl.username": options.username,
            "sasl.password": options.login_password,
        }
        files = {
            "ssl.ca.location": options.ca_file,
            "ssl.certificate.location": options.cert_file,
            "ssl.key.location": options.key_file or options.cert_file,
        }
        return {
            "bootstrap.servers": ",".join(options.brokers),
            "security.protocol": ("SASL_" if options.username else "") + ("SSL" if options.tls else "PLAINTEXT"),
            "client.id": f"actionwatch {self._stream}",
            "enable.idempotence": True,
            "enable.gapless.guarantee": True,
            "message.timeout.ms": 0,  # `send` gives up the whole batch: the client would give up single messages
            "socket.timeout.ms": max(int(self._seconds * 1000), 10),
            "message.max.bytes": options.max_message_bytes,
            # With the default of the client, messages with the key "" would have no order.
            "partitioner": "murmur2_random",
            "error_cb": self._seen.append,
            "logger": _SILENT,  # it would print to the standard error
            **({} if options.username is None else login),
            **{name: str(path) for name, path in files.items() if path is not None and options.tls},
        }

    @contextlib.contextmanager
    def _purged_on_failure(self, producer: Producer, failed: Sequence[KafkaError]) -> Iterator[None]:
        from confluent_kafka import KafkaException

        try:
            yield
        except KafkaException as exc:
            fatal = _purge(producer)
            raise self._explained([*failed, *fatal, exc.args[0]]) from exc
        except TransientDeliveryError:
            _purge(producer)
            raise

    def _check_brokers(self, ends_at: float) -> None:
        """Raise what is hopeless: the client itself tries for ever."""
        from confluent_kafka import KafkaError

        for each in self._seen:
            if each.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL):
                raise self._explained([each])
        last = self._redact.excerpt(self._seen[-1].str()) if self._seen else ""
        if any(each.code() == KafkaError._ALL_BROKERS_DOWN for each in self._seen):
            others = [each.str() for each in self._seen if each.code() != KafkaError._ALL_BROKERS_DOWN]
            last = self._redact.excerpt(others[-1]) if others else last
            raise failure(self._place, f"no broker can be reached ({last})", "check brokers and tls")
        if time.monotonic() >= ends_at:
            what = f"no answer within {self._seconds:g} s" + (f" ({last})" if last else "")
            raise failure(self._place, what, "check brokers and tls")

    def _explained(self, errors: Sequence[KafkaError]) -> TransientDeliveryError:
        """Explain the first error that names a cause: a fatal one, and those of purged messages, may come before it."""
        from confluent_kafka import KafkaError

        topic = self._options.topic
        limit = self._options.max_message_bytes
        remedies = {
            KafkaError._AUTHENTICATION: "check username, password and sasl_mechanism",
            KafkaError.SASL_AUTHENTICATION_FAILED: "check username, password and sasl_mechanism",
            KafkaError._SSL: "fix the certificate, or set ca_file to its authority",
            KafkaError.UNKNOWN_TOPIC_OR_PART: f"create it with `kafka-topics.sh --create --topic {topic}`, or correct topic",
            KafkaError._UNKNOWN_TOPIC: f"create it with `kafka-topics.sh --create --topic {topic}`, or correct topic",
            KafkaError.TOPIC_AUTHORIZATION_FAILED: f"allow the user to describe and write the topic {topic}",
            KafkaError.CLUSTER_AUTHORIZATION_FAILED: "allow the user IdempotentWrite",
            KafkaError.MSG_SIZE_TOO_LARGE: f"max_message_bytes ({limit}) must not be more than max.message.bytes of the topic",
        }
        for error in errors:
            if error.code() in remedies:
                return failure(self._place, self._redact.excerpt(error.str()), remedies[error.code()])
        text = self._redact.excerpt(next((each.str() for each in errors if each.fatal()), errors[0].str()))
        is_too_large = "Message size too large" in text  # in the text of a fatal error only
        return failure(self._place, text, remedies[KafkaError.MSG_SIZE_TOO_LARGE] if is_too_large else "")


def _purge(producer: Producer) -> list[KafkaError]:
    """Forget what has not been sent or confirmed. Return the error after which the producer sends nothing, if there is one."""
    from confluent_kafka import KafkaException

    producer.purge()
    try:
        producer.flush(0)
    except KafkaException as exc:
        return [exc.args[0]]
    return []


def _headers(message: StreamMessage) -> list[tuple[str, str | bytes | None]]:
    return [
        ("id", message.id),
        ("kind", message.kind),
        ("offset", str(message.offset)),
        ("content-type", message.content_type),
    ]
