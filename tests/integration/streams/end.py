"""The far end of a driver: a real server wherever one can be had, else one that speaks the documented protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Received:
    """A message as a consumer gets it."""

    id: str
    kind: str
    offset: int
    key: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault that people must repair."""

    options: Mapping[str, Any]
    """The keys with which a driver meets it."""
    remedy: str
    """Words of the error that name what to do."""


class End(Protocol):
    """A server with one destination, in the state in which a driver can send to it."""

    type_name: str
    secrets: tuple[str, ...]
    """What no error may contain."""

    def options(self) -> Mapping[str, Any]:
        """The keys of the driver in the configuration, for this destination."""
        ...

    def received(self) -> list[Received]:
        """All messages that consumers can have, in their order within each key, repeats too unless the server drops them.

        One end serves many tests: it may contain messages of others.
        """
        ...

    def stop(self) -> None:
        """Stop the server as a crash does. What it has stored stays."""
        ...

    def start(self) -> None:
        """Start it again on the same address, with what it had, and wait until it answers."""
        ...

    def hang(self) -> None:
        """Let it keep its connections, accept more, and answer nothing, until `resume`."""
        ...

    def resume(self) -> None:
        """Let it answer again."""
        ...

    def close(self) -> None:
        """Stop it for good."""
        ...

    faults: Mapping[str, Callable[[], Fault]]
    """Names of faults, as `wrong credentials` or `missing destination`."""

    too_large_bytes: int | None
    """A body of this size is refused for good; None if the server has no limit."""

    cannot: Mapping[str, str]
    """What the end cannot do, with the reason: `stop`, `hang`. The tests that need it are skipped."""
