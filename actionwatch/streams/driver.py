"""The interface of a stream driver: a module `streams/drivers/<type>.py` with `TRAITS`, `Options` and `build`.

A driver sends batches in order to one destination, and returns when the destination has them safely. It repeats nothing: the
stream sends a batch that failed again, with the same ids, offsets and bytes. One thread uses a driver.
"""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import msgspec

from actionwatch.settings import Stream
from actionwatch.text.options import Options
from actionwatch.text.payloads import instant

_RAW = msgspec.json.Decoder(msgspec.Raw)
_ENCODER = msgspec.json.Encoder()


class _Row(msgspec.Struct):
    id: str
    kind: str
    offset: int
    at: str
    key: str
    body: msgspec.Raw | str


@dataclass(frozen=True, slots=True)
class StreamMessage:
    """One message of a stream. A repeat has the same values."""

    id: str
    """Identifies it among all messages of all streams: consumers drop what they have under the same id."""
    kind: str
    """`record`, `alert`, `decision`, or a statement about the stream: `stream.complete_through`, `stream.amended`."""
    offset: int
    """How far the stream was when it sent this: never smaller than that of the message before it."""
    at: datetime
    """When what it is about happened."""
    key: str
    """The partition key: messages with the same key keep their order."""
    body: bytes
    content_type: str = "application/json"

    def json_or_text(self) -> msgspec.Raw | str:
        """Return the body as part of a JSON document: its own bytes if it is JSON on one line, else a text."""
        if self.content_type.endswith("json") and b"\n" not in self.body:
            with contextlib.suppress(msgspec.DecodeError):
                return _RAW.decode(self.body)
        return self.body.decode("utf-8", "replace")

    def line(self) -> bytes:
        """Return the message as a line of JSON, with its body in `body`."""
        row = _Row(self.id, self.kind, self.offset, instant(self.at), self.key, self.json_or_text())
        return _ENCODER.encode(row) + b"\n"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A message of a batch that the destination never accepts, for example because it is too large."""

    id: str
    why: str


@dataclass(frozen=True, slots=True)
class Traits:
    """The properties of all streams of a type."""

    max_batch: int = 500
    """How many messages a call of `send` gets at most."""
    is_object: bool = False
    """Whether a batch becomes one object: then a repeat of a batch begins and ends with the same messages."""


class Driver(Protocol):
    """A connection to the destination of one stream."""

    def open(self) -> None:
        """Connect, sign in, and check that the destination exists. After `close`, it may be called again.

        Raises: TransientDeliveryError, with what to do where people must act.
        """
        ...

    def send(self, batch: Sequence[StreamMessage]) -> Sequence[Refusal]:
        """Send a batch in its order, and return once the destination has stored each message, or refused it for good.

        If it raises, no message of the batch may be stored behind a later one with the same key, except as the repeat of one
        that was stored before it.

        Raises: TransientDeliveryError. Then any part of the batch may be stored; the stream closes the driver, and sends the
        whole batch again.
        """
        ...

    def close(self) -> None:
        """Close the connection. It sends nothing that waits, and raises nothing."""
        ...


class DriverModule(Protocol):
    """The interface of a module `streams/drivers/<type>.py`."""

    TRAITS: Traits
    Options: type[Options]

    def build(self, options: Any, *, stream: str) -> Driver:
        """Build the driver of a stream from its validated options. Opens no connection."""
        ...


def driver_types() -> tuple[str, ...]:
    """List the types: the modules of the package `drivers`, except private ones."""
    package = importlib.import_module("actionwatch.streams.drivers")
    names = (module.name for module in pkgutil.iter_modules(package.__path__))
    return tuple(sorted(name for name in names if not name.startswith("_")))


def build_driver(stream: Stream) -> Driver:
    """Build the connection to the destination of a stream of the configuration. It connects later."""
    return driver_module(stream.type).build(stream.options, stream=stream.name)


def driver_module(name: str) -> DriverModule:
    """Import the module of a type that `driver_types` lists."""
    module: Any = importlib.import_module(f"actionwatch.streams.drivers.{name}")
    return module  # type: ignore[no-any-return]
