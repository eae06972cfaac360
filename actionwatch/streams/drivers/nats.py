"""NATS JetStream: publish each message to a subject, and wait until the stream has stored it.

At least once. The message id is the header `Nats-Msg-Id`: the server drops a repeat within the `duplicate_window` of the stream
(2 minutes unless configured), and stores a later one again under the same id. In order, over all keys: each message of a batch
names the one before it as the last of the stream (`Nats-Expected-Last-Msg-Id`), so that none is stored if the one before it is
lost on the way to the leader of a cluster. Where others write to the same stream, the rest of the batch follows in a further
round.
"""

from __future__ import annotations

import asyncio
import json
import math
import ssl
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from actionwatch.base.errors import TransientDeliveryError
from actionwatch.net.os_errors import explain_os_error
from actionwatch.notifiers.base import Redactor
from actionwatch.settings.validators import require_package
from actionwatch.streams.driver import Refusal, StreamMessage, Traits
from actionwatch.streams.drivers._servers import ServerOptions, as_list, failure
from actionwatch.text.options import Secret, SecretFile, check_url, refuse_both, secret

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

TRAITS = Traits()
_MAX_IDLE_SECONDS = 60.0  # the server pings every 2 minutes, and nothing answers between two batches
_MAX_TOKEN_CHARS = 256  # a longer subject could exceed the server's `max_control_line`
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F))).replace("%", "").replace('"', "")
_TOO_LARGE = 10054  # codes of the server: https://github.com/nats-io/nats-server/blob/main/server/errors.json
_OTHER_LAST_ID = 10070
_FULL = 10077
_CONDITION = "Nats-Expected-Last-Msg-Id"
_T = TypeVar("_T")


def _server(url: str) -> str:
    check_url(url, secure="tls", plain="nats")
    parts = urlsplit(url)
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("must end with the port: tls://nats.example.com:4222")
    return url


def _subject(text: str) -> str:
    tokens = _filled(text, "kind", "key").split(".")
    if not all(tokens) or any(char in text for char in "*> \t\r\n") or not text.isprintable() or "{" in "".join(tokens):
        raise ValueError("not a subject to publish to: write words joined by dots, {kind} and {key}")
    return text


def _filled(subject: str, kind: str, key: str) -> str:
    return subject.replace("{kind}", kind).replace("{key}", key)


class Options(ServerOptions):
    """The keys of a stream of the type `nats`."""

    url: Annotated[
        tuple[Annotated[str, AfterValidator(_server)], ...],
        BeforeValidator(as_list, json_schema_input_type=str | list[str]),
        Field(min_length=1),
    ]
    """`tls://host:port`, or a list of the servers of a cluster. `nats://` is accepted only for loopback."""
    subject: Annotated[str, AfterValidator(_subject)] = "actionwatch.{kind}"
    """The subject of each message. `{kind}` is `record`, `alert`, `decision`, `stream.complete_through` or `stream.amended`;
    `{key}` is the partition key, percent-encoded. A JetStream stream must store all these subjects.
    """
    token: Secret | None = None
    """A token instead of a user and a password."""
    token_file: SecretFile | None = None

    @model_validator(mode="after")
    def _check(self) -> Options:
        refuse_both(self, "token", "token_file", "username")
        require_package("nats", "streams")
        return self


def build(options: Options, *, stream: str) -> NatsDriver:
    return NatsDriver(options, stream)


class _Loop(asyncio.SelectorEventLoop):
    """An event loop that can drop its connections at once, together with what waits in them."""

    def __init__(self) -> None:
        super().__init__()
        self.connected: list[asyncio.BaseTransport] = []

    async def create_connection(self, *args: Any, **kwargs: Any) -> Any:
        made = await super().create_connection(*args, **kwargs)
        self.connected.append(made[0])
        return made

    def drop_connections(self) -> None:
        for transport in self.connected:
            if isinstance(transport, asyncio.WriteTransport):
                transport.abort()


class _Answers:
    """The answers of the server to the messages of one round, each under its subject.

    The `publish_async` of the client loses an answer that is an error.
    """

    def __init__(self, inbox: str) -> None:
        self._inbox = inbox
        self._used_count = 0
        self._found: dict[str, dict[str, Any] | None] = {}
        self.are_complete: asyncio.Future[None]

    def expect(self, count: int) -> list[str]:
        """Return the subjects for the answers to so many messages. Answers to earlier ones count no more."""
        subjects = [f"{self._inbox}.{number}" for number in range(self._used_count, self._used_count + count)]
        self._used_count += count
        self._found = dict.fromkeys(subjects)
        self._missing_count = count
        self.are_complete = asyncio.get_running_loop().create_future()
        return subjects

    async def take(self, message: Msg) -> None:
        if self._found.get(message.subject, message) is not None:
            return
        is_stored_nowhere = (message.headers or {}).get("Status") == "503"
        self._found[message.subject] = {"error": {}} if is_stored_nowhere else json.loads(message.data)
        self._missing_count -= 1
        if not self._missing_count:
            self.are_complete.set_result(None)

    def errors(self) -> list[dict[str, Any] | None]:
        """Return the error of each message in their order, None for one that is stored; `{}` if no JetStream stream has it."""
        return [answer.get("error") if answer else {} for answer in self._found.values()]


@dataclass(frozen=True)
class _Connection:
    loop: _Loop
    runner: asyncio.Runner
    client: Client
    answers: _Answers
    failed: asyncio.Future[Exception]
    """The reason why nothing more can be sent."""


class NatsDriver:
    """Publishes to one JetStream stream. Its event loop runs only during a call."""

    def __init__(self, options: Options, stream: str) -> None:
        self._options = options
        self._stream = stream
        self._place = options.url[0] if len(options.url) == 1 else f"{options.url[0]} and others"
        self._seconds = options.timeout.total_seconds()
        self._token = secret(options.token, options.token_file)
        self._redact = Redactor(options.login_password, self._token)
        self._connection: _Connection | None = None
        self._used_at = 0.0

    def open(self) -> None:
        """Connect, sign in, and look for the JetStream stream."""
        self._opened()

    def send(self, batch: Sequence[StreamMessage]) -> Sequence[Refusal]:
        """Publish all messages at once, and wait for the confirmation of each."""
        connection = self._connection
        if connection is None or time.monotonic() - self._used_at > _MAX_IDLE_SECONDS:
            connection = self._opened()
        return self._run(connection.runner, self._send(connection, batch))

    def close(self) -> None:
        """Drop the connection."""
        if self._connection is not None:
            _end(self._connection.loop, self._connection.runner)
        self._connection = None

    def _opened(self) -> _Connection:
        self.close()
        loop = _Loop()
        runner = asyncio.Runner(loop_factory=lambda: loop)
        try:
            self._connection = _Connection(loop, runner, *self._run(runner, self._connect()))
        except TransientDeliveryError:
            _end(loop, runner)
            raise
        return self._connection

    def _run(self, runner: asyncio.Runner, work: Coroutine[Any, Any, _T]) -> _T:
        try:
            found = runner.run(asyncio.wait_for(work, self._seconds))
        except TimeoutError as exc:
            raise failure(self._place, f"no answer within {self._seconds:g} s") from exc
        except TransientDeliveryError:
            raise
        except Exception as exc:  # the client has no base class of its exceptions: errors of asyncio, ssl and json too
            raise self._explained(exc) from exc
        self._used_at = time.monotonic()
        return found

    async def _connect(self) -> tuple[Client, _Answers, asyncio.Future[Exception]]:
        from nats.aio.client import Client

        failed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
        seen: list[Exception] = []

        async def on_error(exc: Exception) -> None:
            seen.append(exc)
            if not failed.done():
                failed.set_result(exc)

        async def on_end() -> None:
            if not failed.done():
                failed.set_result(ConnectionError("the server closed the connection"))

        client = Client()
        try:
            await client.connect(
                list(self._options.url),
                error_cb=on_error,
                disconnected_cb=on_end,
                name=f"actionwatch {self._stream}",
                allow_reconnect=False,  # it would send what waits again, behind what the next connection has sent
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=math.ceil(self._seconds),
                pending_size=0,  # nothing is kept for another connection; a batch bounds what waits
                **self._credentials(),
            )
        except Exception:
            if seen:
                raise seen[0] from None
            raise
        jetstream = client.jetstream(timeout=self._seconds)
        await jetstream.find_stream_name_by_subject(_filled(self._options.subject, "*", "*"))
        inbox = client.new_inbox()
        answers = _Answers(inbox)
        await client.subscribe(f"{inbox}.*", cb=answers.take)
        return client, answers, failed

    def _credentials(self) -> dict[str, Any]:
        """Return the credentials, which the client asks for when the connection is encrypted or need not be.

        The client encrypts if the server asks for it, and who is between the two can remove that question.
        """
        is_secure = any(url.startswith("tls:") for url in self._options.url)
        context = self._options.own_tls_context() if is_secure or self._options.ca_file else None

        def checked(value: str | None) -> Any:
            def reveal() -> str | None:
                if is_secure and (context is None or not context.session_stats()["connect_good"]):
                    raise ssl.SSLError("the server does not offer TLS: configure `tls` there")
                return value

            return reveal if value is not None else None

        return {
            "tls": context,
            "user": checked(self._options.username),
            "password": checked(self._options.login_password),
            "token": checked(self._token),
        }

    async def _send(self, connection: _Connection, batch: Sequence[StreamMessage]) -> list[Refusal]:
        refused: list[Refusal] = []
        waiting: list[tuple[StreamMessage, dict[str, str]]] = []
        limit = connection.client.max_payload
        longest = max((len(message.id.encode()) for message in batch), default=0)
        for message in batch:
            headers = _headers(message)
            size = len(message.body) + _size({**headers, _CONDITION: "x" * longest})
            if size > limit:
                why = f"{size} bytes with headers are more than the server accepts ({limit}): raise its max_payload"
                refused.append(Refusal(message.id, why))
            else:
                waiting.append((message, headers))
        while waiting:
            errors = await self._published(connection, waiting)
            at = next((n for n, error in enumerate(errors) if error is not None), len(errors))
            if at < len(errors):
                error, (message, _) = errors[at] or {}, waiting[at]
                if error.get("err_code") == _TOO_LARGE:
                    why = "more bytes than the JetStream stream accepts: raise its max_msg_size"
                    refused.append(Refusal(message.id, why))
                    at += 1
                elif error.get("err_code") != _OTHER_LAST_ID or at == 0:
                    raise self._not_stored(error, self._subject_of(message))
            # What follows a message that was not stored was not stored either.
            waiting = waiting[at:]
        return refused

    async def _published(
        self, connection: _Connection, messages: Sequence[tuple[StreamMessage, dict[str, str]]]
    ) -> list[dict[str, Any] | None]:
        """Publish messages, each on the condition that the one before it is the last in the stream. Return their errors."""
        for n, subject in enumerate(connection.answers.expect(len(messages))):
            message, headers = messages[n]
            condition = {_CONDITION: messages[n - 1][0].id} if n else {}
            await connection.client.publish(self._subject_of(message), message.body, subject, {**headers, **condition})
        ends: list[asyncio.Future[Any]] = [connection.answers.are_complete, connection.failed]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if connection.failed.done():
            raise connection.failed.result()
        return connection.answers.errors()

    def _subject_of(self, message: StreamMessage) -> str:
        key = quote(message.key, safe="").replace(".", "%2E")[:_MAX_TOKEN_CHARS] or "%"
        return _filled(self._options.subject, message.kind, key)

    def _not_stored(self, error: dict[str, Any], subject: str) -> TransientDeliveryError:
        if not error:
            what = f"no JetStream stream stores the subject {subject}"
            return failure(self._place, what, "create one with `nats stream add --subjects`, or correct subject")
        text = self._redact.excerpt(str(error.get("description")))
        return failure(
            self._place,
            text,
            "the JetStream stream is full: raise its limits" if error.get("err_code") == _FULL else "",
        )

    def _explained(self, exc: Exception) -> TransientDeliveryError:
        from nats.js.errors import NotFoundError

        if isinstance(exc, NotFoundError):
            return self._not_stored({}, _filled(self._options.subject, "*", "*"))
        text = self._redact.excerpt(explain_os_error(exc) if isinstance(exc, OSError) else str(exc))
        remedies = {
            "authorization": "check username and password, or token",
            "authentication": "check username and password, or token",
            "permissions violation": "allow the user to publish there, and `$JS.API.STREAM.NAMES`",
        }
        remedy = next((each for word, each in remedies.items() if word in text.lower()), "")
        return failure(self._place, text or type(exc).__name__, remedy)


def _end(loop: _Loop, runner: asyncio.Runner) -> None:
    loop.drop_connections()
    runner.close()


def _headers(message: StreamMessage) -> dict[str, str]:
    return {
        "Nats-Msg-Id": message.id,
        "actionwatch-kind": message.kind,
        "actionwatch-offset": str(message.offset),
        "actionwatch-key": quote(message.key, safe=_PRINTABLE),  # as CloudEvents encodes headers
        "content-type": message.content_type,
    }


def _size(headers: dict[str, str]) -> int:
    return len("NATS/1.0\r\n\r\n") + sum(len(f"{name}: {value}\r\n".encode()) for name, value in headers.items())
