"""The services that run on a store: which live, and which of them has each role. A file has one, which has every role."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sqlalchemy import Connection

ROLE = "actionwatch_role"  # the option of a connection that names the role for which it writes
LEADER = "leader"
"""The role of the replica that matches, applies rules and silences, and does what the store needs once."""
_TAIL = "tail "


def tail_role(source: str) -> str:
    """Return the name of the role of the replica that tails a source."""
    return f"{_TAIL}{source}"


def is_tail_role(role: str) -> bool:
    """Return whether a role is that of the replica that tails some source."""
    return role.startswith(_TAIL)


def stream_role(stream: str) -> str:
    """Return the name of the role of the replica that sends a stream."""
    return f"stream {stream}"


class LastOwner(StrEnum):
    """The process that worked on a store last, where none does now."""

    ROUND = "round"
    """A round of `run --once` or a command, or nobody."""
    SERVICE = "service"
    """A service that ended by itself."""
    KILLED = "killed"
    """A service that did not end by itself."""


ENDED = b"ended"
"""The note that a service leaves when it ends by itself. A round has no note."""


def last_owner(note: bytes) -> LastOwner:
    """Return who left this note."""
    return LastOwner.SERVICE if note == ENDED else LastOwner.KILLED if note else LastOwner.ROUND


@dataclass(frozen=True, slots=True)
class Roster:
    """The replicas that live, oldest first: the host and the note of each, by id.

    `mine` is the id of the replica that this process is; empty if it is none.
    """

    mine: str
    hosts: Mapping[str, str]
    notes: Mapping[str, bytes] = field(default_factory=dict)
    holders: Mapping[str, str] = field(default_factory=dict)
    """The replica that has a role, by role. A role that nobody has is left out."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """The digest of what a replica runs with, by id; empty until the replica says it."""

    last: LastOwner = LastOwner.ROUND
    """Who worked on the store last, if nobody does now."""
    frozen_writers: int = 0
    """How many sessions of silent processes this renewal has ended, because they held the write lock."""


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a process among the replicas, as it knows it, in seconds of a clock that counts suspension.

    A renewal holds for a `span` from its beginning: the server cannot have written it earlier. Pure.
    """

    term: int = 0
    """The number of the time in which the process has had a place without a pause."""
    renewed_at: float = math.inf
    """When the last renewal that succeeded began; infinite before the first."""
    steady_since: float = math.inf
    """Since when renewals have followed each other closely; infinite after one that failed."""

    def taken(self, began: float, ended: float, *, alone: bool) -> Place:
        """Return the place of a process that has joined. One that is `alone` waits for nobody."""
        return Place(self.term + 1, began, -math.inf if alone else ended)

    def renewed(self, began: float, ended: float, span: timedelta) -> Place:
        """Return the place after a renewal."""
        pause, seconds = ended - self.renewed_at, span.total_seconds()
        is_steady = pause <= seconds / 2 and self.steady_since < math.inf
        return Place(self.term + (pause > seconds), began, self.steady_since if is_steady else ended)

    def not_renewed(self) -> Place:
        """Return the place after a renewal that failed."""
        return replace(self, steady_since=math.inf)

    def term_at(self, now: float, span: timedelta) -> int | None:
        """Return the term; None if others may have replaced this process."""
        return self.term if now - self.renewed_at <= span.total_seconds() else None

    def is_steady_at(self, now: float, span: timedelta) -> bool:
        """Return whether each replica that lives had a span to renew, also if the store was away before.

        The store may have gone away since the last renewal: then none had.
        """
        seconds = span.total_seconds()
        return now - self.renewed_at <= seconds / 2 and now - self.steady_since >= seconds


class Membership(Protocol):
    """The place of a service among the replicas of a store while it runs, and its roles."""

    def write(self, note: bytes) -> None:
        """Replace the note that commands and other replicas read."""
        ...

    def publish(self, digest: str) -> None:
        """Publish the digest of the files of this process, from the next renewal on."""
        ...

    def renew(self) -> Roster:
        """Keep the place and the roles, and say who runs. Raises: StoreError, when the database does not answer."""
        ...

    def take_roles(self, roles: Sequence[str]) -> list[str]:
        """Take those of these roles that no living replica has, and return them. Raises: StoreError."""
        ...

    def has(self, role: str) -> bool:
        """Return whether this process took a role, and no renewal since has shown that it lost it."""
        ...

    def hand_over(self, roles: Sequence[str]) -> None:
        """Let other replicas take roles at once. Raises: StoreError."""
        ...


class Peers(Protocol):
    """The services that may work on a store beside this process."""

    sender: str | None
    """The name of this process among those that send messages, if there can be others."""
    look_seconds: float
    """How often to look whether another process wrote to the store."""

    def now(self) -> datetime:
        """Return the time by the one clock of all processes on the store."""
        ...

    def roster(self) -> Roster:
        """Return the services, or the round of one, that run on the store, with what they wrote for commands.

        Raises: StoreError.
        """
        ...

    def read_senders(self, connection: Connection) -> Collection[str]:
        """Return the replicas that live and send messages; on a file nobody."""
        ...

    def held_roles(self, connection: Connection, roles: Collection[str]) -> Collection[str]:
        """Return which of these roles this process has, or all if it is no replica, in a `write` transaction: to its end.

        So one transaction can write for several roles. `Database.as_holder` makes each transaction that of one role.
        """
        ...

    def term(self) -> int | None:
        """Return the number of the time in which this process is a replica without a pause; None if others may replace it now.

        What it claimed in an earlier term, others may have claimed since. On a file, one term never ends.
        """
        ...

    def is_steady(self) -> bool:
        """Return whether a replica that `read_senders` did not return is dead: it had the time to renew its lease."""
        ...

    def listen(self, on_hint: Callable[[], None], stopping: threading.Event) -> bool:
        """Call `on_hint` soon after another process may have stored records, until `stopping`.

        Return False at once if the database gives no hints. One can be missing: whoever waits for records looks at the
        version of the store too, every `look_seconds`.
        """
        ...
