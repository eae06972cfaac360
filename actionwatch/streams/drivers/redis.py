"""Redis and Valkey streams: append each batch to one stream in one transaction, and wait until it is on the server's disk.

At least once. A repeat is appended again, with the same field `id`. In order, over all keys: a batch is appended whole or not
at all (`MULTI`, `EXEC`). Redis confirms a write before it is on a disk. Unless `durable` is false, a batch counts as sent when
the server has written it to its append-only file (`WAITAOF`, from version 7.2 on). With `appendfsync everysec` that takes up to
a second for each batch; `appendfsync always` is faster here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from actionwatch.base.errors import TransientDeliveryError
from actionwatch.base.plurals import counted
from actionwatch.net.os_errors import explain_os_error
from actionwatch.notifiers.base import Redactor
from actionwatch.settings.validators import Flag, WholeNumber, Word, require_package
from actionwatch.streams.driver import Refusal, StreamMessage, Traits
from actionwatch.streams.drivers._servers import ServerOptions, failure
from actionwatch.text.options import CaFile, check_url

if TYPE_CHECKING:
    import redis
    from redis.typing import EncodableT, FieldT

TRAITS = Traits()
_PORT = 6379


def _server(url: str) -> str:
    check_url(url, secure="rediss", plain="redis")
    parts = urlsplit(url)
    if not (parts.path.strip("/") or "0").isdecimal() or parts.query or parts.fragment:
        raise ValueError("must end with the port or the number of the database: rediss://redis.example.com:6379/0")
    return url


class Options(ServerOptions):
    """The keys of a stream of the type `redis`."""

    url: Annotated[str, AfterValidator(_server)]
    """`rediss://host:port/database`. `redis://` is accepted only for loopback."""
    ca_file: CaFile | None = None
    """A PEM file with certificates to trust, besides the system's."""
    stream: Word = "actionwatch"
    """The key of the stream in the server. The server creates it with the first message."""
    max_length: Annotated[WholeNumber, Field(ge=1)] | None = None
    """Let the server remove the oldest entries beyond about this number, whether they have been read or not. Default: keep all.
    """
    durable: Flag = True
    """Wait until the server has written a batch to its append-only file. It must have `appendonly yes`. `false`: a crash of the
    server can lose what it has confirmed.
    """
    replicas: Annotated[WholeNumber, Field(ge=0, le=100)] = 0
    """Wait until so many replicas have written a batch to their append-only files."""

    @model_validator(mode="after")
    def _check(self) -> Options:
        require_package("redis", "streams")
        return self


def build(options: Options, *, stream: str) -> RedisDriver:
    return RedisDriver(options, stream)


class RedisDriver:
    """Appends to one stream, over one connection."""

    def __init__(self, options: Options, stream: str) -> None:
        self._options = options
        self._stream = stream
        self._redact = Redactor(options.login_password)
        self._client: redis.Redis | None = None

    def open(self) -> None:
        """Connect, sign in, and check that nothing else has the key."""
        self.close()
        self._client = self._built()
        with self._translated():
            kind = self._client.type(self._options.stream)
        if kind not in (b"none", b"stream"):
            raise self._failure(f"the key {self._options.stream} is not a stream", "choose another stream")

    def send(self, batch: Sequence[StreamMessage]) -> Sequence[Refusal]:
        """Append a batch. No message is ever refused: the limit of Redis is 512 MB."""
        client = self._client or self._built()
        options = self._options
        # One pipeline, because WAITAOF is about what the same connection has sent.
        with self._translated(), client.pipeline(transaction=False) as pipeline:
            pipeline.execute_command("MULTI")
            for message in batch:
                pipeline.xadd(options.stream, _fields(message), maxlen=options.max_length)
            pipeline.execute_command("EXEC")
            if options.durable or options.replicas:
                # Before this side gives up.
                milliseconds = max(int(options.timeout.total_seconds() * 900), 1)
                pipeline.waitaof(int(options.durable), options.replicas, milliseconds)
            responses = pipeline.execute(raise_on_error=False)
            added, written = responses[len(batch) + 1], responses[len(batch) + 2 :]
            for each in (*responses, *(added if isinstance(added, list) else ())):
                if isinstance(each, Exception):
                    raise each
        for local, replicas in written:
            if local < options.durable or replicas < options.replicas:
                what = f"{counted(local + replicas, 'server')} wrote the batch to disk in time"
                raise self._failure(what, "check the disks and the replication, or lower replicas")
        return ()

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
        self._client = None

    def _built(self) -> redis.Redis:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        options, parts = self._options, urlsplit(self._options.url)
        return redis.Redis(
            parts.hostname or "",
            parts.port or _PORT,
            int(parts.path.strip("/") or 0),
            username=options.username,
            password=options.login_password,
            socket_timeout=options.timeout.total_seconds(),
            socket_connect_timeout=options.timeout.total_seconds(),
            retry=Retry(NoBackoff(), 0),  # the stream repeats, in its order
            ssl=parts.scheme == "rediss",
            ssl_ca_certs=_text(options.ca_file),
            ssl_certfile=_text(options.cert_file),
            ssl_keyfile=_text(options.key_file or options.cert_file),
            client_name="actionwatch",
            protocol=2,
        )

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        import redis.exceptions as errors

        remedies: dict[type[Exception], str] = {
            errors.AuthenticationError: "check username and password",
            errors.AuthorizationError: "check username and password",
            errors.NoPermissionError: "allow the user CLIENT SETNAME, SELECT, TYPE, MULTI, EXEC, XADD, WAITAOF, and the key",
            errors.ReadOnlyError: "write the primary in url",
            errors.OutOfMemoryError: "raise maxmemory of the server, or set max_length",
        }
        try:
            yield
        except (errors.RedisError, OSError) as exc:
            text = str(exc).rpartition("caused error: ")[2]
            cause = exc if isinstance(exc, OSError) else exc.__context__
            remedy = next((each for kind, each in remedies.items() if isinstance(exc, kind)), "")
            if isinstance(exc, errors.TimeoutError):
                text = f"no answer within {self._options.timeout.total_seconds():g} s"
            elif "appendonly is disabled" in text:
                remedy = "set `appendonly yes` on the server, or durable: false"
            elif "unknown command" in text and "WAITAOF" in text.upper():
                remedy = "the server cannot confirm what is on its disk: set durable: false"
            elif isinstance(cause, OSError):
                text = explain_os_error(cause)
            raise self._failure(self._redact.excerpt(text), remedy) from exc

    def _failure(self, what: str, remedy: str = "") -> TransientDeliveryError:
        return failure(self._options.url, what, remedy)


def _fields(message: StreamMessage) -> dict[FieldT, EncodableT]:
    return {
        "id": message.id,
        "kind": message.kind,
        "offset": message.offset,
        "key": message.key,
        "body": message.body,
    }


def _text(path: Path | None) -> str | None:
    return str(path) if path is not None else None
