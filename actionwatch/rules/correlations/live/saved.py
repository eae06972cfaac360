"""What is saved of the state of correlations, and its form as bytes. Pure.

A later process continues from it instead of reading the records that the state was made of. Groups are encoded and decoded one
after the other, so that neither takes much memory.
"""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from actionwatch import __version__
from actionwatch.base.model import CorrelatedAlert
from actionwatch.rules.correlations.folds.saved import (
    DoesNotFit,
    SavedAlert,
    SavedFold,
    SavedHit,
    SavedHits,
    SavedRecord,
)
from actionwatch.rules.model import Group

MAX_STATE_BYTES = 256 * 1024 * 1024  # before it is compressed: about nine million hits
PIECE_BYTES = 1024 * 1024  # of the compressed state, at least
_LENGTH = struct.Struct("<I")


class SavedOuterHit(msgspec.Struct, frozen=True, array_like=True):
    """A hit that an alert made in the rule with this id."""

    rule_id: str
    group: Group
    hit: int


class SavedGroup(msgspec.Struct, frozen=True, array_like=True):
    """One group: what `GroupState` has and cannot fold again. `known` are the ids of its alerts.

    `numbered` are the hits, and `records` the records, that it refers to by number.
    """

    group: Group
    floor: datetime | None
    last_at: datetime | None
    base: SavedFold
    hits: SavedHits
    known: list[str]
    published: dict[str, list[SavedOuterHit]]
    begun: SavedAlert | None
    numbered: list[SavedHit]
    records: list[SavedRecord]


class RuleIdentity(msgspec.Struct, frozen=True, array_like=True):
    """What determines the state of a rule, besides the records and the rules that feed it: these are part of its version.

    `begin` is from when on its stream is known. Of the alert block, the state depends on `realert` and the fields that are
    `shown` (None: all of the group). `above` are the rules that count its alerts: the state has what they need of these.
    `steps` are the rules that feed it, in order: the hits that are saved have the numbers of these.
    """

    rule_id: str
    version: str
    record_floor: int
    begin: datetime | None
    realert: timedelta
    shown: tuple[str, ...] | None
    is_silent: bool
    above: tuple[str, ...]
    steps: tuple[str, ...]


class _RuleHead(msgspec.Struct, frozen=True, array_like=True):
    """What is saved of a rule before its groups."""

    identity: RuleIdentity
    unknown_before: datetime | None
    newest: datetime | None
    known: list[CorrelatedAlert]


@dataclass(frozen=True, slots=True)
class SavedRule:
    """One rule. `known` are its alerts as they were when it was saved.

    `groups`, the most recently used last, can be read once: each is made, or decoded, when it is read.
    """

    identity: RuleIdentity
    unknown_before: datetime | None
    newest: datetime | None
    known: list[CorrelatedAlert]
    groups: Iterable[SavedGroup]


class _StateHead(msgspec.Struct, frozen=True, array_like=True):
    """What is saved before the rules."""

    made_by: str
    alerts_from: datetime | None


@dataclass(frozen=True, slots=True)
class SavedState:
    """All correlations, in feeding order. `alerts_from` is that of the sources."""

    alerts_from: datetime | None
    rules: list[SavedRule]
    made_by: str = __version__

    def rule_ids(self) -> set[str]:
        """Return the ids of the rules."""
        return {rule.identity.rule_id for rule in self.rules}

    def known(self) -> list[CorrelatedAlert]:
        """Return the alerts that the state refers to, as they were when it was saved."""
        return [known for rule in self.rules for known in rule.known]


def encode(state: SavedState) -> Iterator[bytes]:
    """Encode and compress a state. Yields the bytes in pieces of about `PIECE_BYTES`.

    Raises: ValueError, OverflowError, if it has a value that cannot be saved, or is too large.
    """
    size, pieces = 0, io.BytesIO()
    with gzip.GzipFile(fileobj=pieces, mode="wb", compresslevel=1, mtime=0) as file:
        for message in _messages_of(state):
            size += len(message)
            if size > MAX_STATE_BYTES:
                raise ValueError(f"the state has more than {MAX_STATE_BYTES:,} bytes, and at most so many are saved")
            file.write(_LENGTH.pack(len(message)))
            file.write(message)
            if pieces.tell() >= PIECE_BYTES:
                yield pieces.getvalue()
                pieces.seek(0)
                pieces.truncate()
    yield pieces.getvalue()


def _messages_of(state: SavedState) -> Iterator[bytes]:
    """Yield the parts of a state: its head and, for each rule, its head, its groups, and nothing at the end."""
    yield _ENCODER.encode(_StateHead(state.made_by, state.alerts_from))
    for rule in state.rules:
        yield _ENCODER.encode(_RuleHead(rule.identity, rule.unknown_before, rule.newest, rule.known))
        yield from map(_ENCODER.encode, rule.groups)
        yield b""


def decode(body: bytes) -> SavedState:
    """Decode a state, except its groups.

    Raises: DoesNotFit, if it was made by another version, or cannot be read. So does reading the groups.
    """
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
            messages = _read_messages(file)
            head = _STATE_HEAD.decode(next(messages, b""))
            rules = [_rule(_RULE_HEAD.decode(message), messages) for message in messages]
    except _CANNOT_BE_READ as exc:
        raise DoesNotFit(f"it cannot be read: {exc}") from exc
    if head.made_by != __version__:
        raise DoesNotFit(f"it was made by actionwatch {head.made_by}")
    return SavedState(head.alerts_from, rules)


def _read_messages(file: gzip.GzipFile) -> Iterator[bytes]:
    """Yield the parts of a state as `_messages_of` made them."""
    size = 0
    while start := file.read(_LENGTH.size):
        (length,) = _LENGTH.unpack(start)
        size += length
        if size > MAX_STATE_BYTES:
            raise DoesNotFit("it cannot be read: it is too large")
        message = file.read(length)
        if len(message) < length:
            raise DoesNotFit("it cannot be read: it is cut")
        yield message


def _rule(head: _RuleHead, messages: Iterator[bytes]) -> SavedRule:
    """Return a rule with its groups, which are the next messages."""
    groups = deque(iter(lambda: next(messages, b""), b""))
    return SavedRule(head.identity, head.unknown_before, head.newest, head.known, _decoded(groups))


def _decoded(groups: deque[bytes]) -> Iterator[SavedGroup]:
    """Decode groups, and let go of each."""
    while groups:
        try:
            yield _GROUP.decode(groups.popleft())
        except _CANNOT_BE_READ as exc:
            raise DoesNotFit(f"it cannot be read: {exc}") from exc


_ENCODER = msgspec.msgpack.Encoder()
_STATE_HEAD = msgspec.msgpack.Decoder(_StateHead)
_RULE_HEAD = msgspec.msgpack.Decoder(_RuleHead)
_GROUP = msgspec.msgpack.Decoder(SavedGroup)
_CANNOT_BE_READ = (
    OSError, EOFError, zlib.error, struct.error, msgspec.MsgspecError, ValueError, OverflowError, RecursionError,
)  # fmt: skip
