"""What is saved of the state of correlations, and its form as bytes. Pure.

A later process continues from it instead of reading the records that the state was made of.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import chain

import msgspec

from actionwatch import __version__
from actionwatch.base.model import CorrelatedAlert
from actionwatch.rules.correlations.folds.saved import (
    MAX_STATE_BYTES,
    DoesNotFit,
    SavedAlert,
    SavedFold,
    SavedHit,
    SavedHits,
    SavedRecord,
)
from actionwatch.rules.model import Group


class SavedOuterHit(msgspec.Struct, frozen=True, array_like=True):
    """A hit that an alert made in the rule with this id."""

    rule_id: str
    group: Group
    hit: int


class SavedGroup(msgspec.Struct, frozen=True, array_like=True):
    """One group: what `GroupState` has and cannot fold again. The alerts are as they were when it was saved."""

    group: Group
    floor: datetime | None
    last_at: datetime | None
    base: SavedFold
    hits: SavedHits
    known: list[CorrelatedAlert]
    published: dict[str, list[SavedOuterHit]]
    begun: SavedAlert | None


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


class SavedRule(msgspec.Struct, frozen=True, array_like=True):
    """One rule with its groups, the most recently used last."""

    identity: RuleIdentity
    unknown_before: datetime | None
    newest: datetime | None
    groups: list[SavedGroup]


class SavedState(msgspec.Struct, frozen=True, array_like=True):
    """All correlations, in feeding order, with their hits and records. `alerts_from` is that of the sources."""

    alerts_from: datetime | None
    rules: list[SavedRule]
    hits: list[SavedHit]
    records: list[SavedRecord]
    made_by: str = __version__

    def rule_ids(self) -> set[str]:
        """Return the ids of the rules."""
        return {rule.identity.rule_id for rule in self.rules}

    def record_ids(self) -> set[int]:
        """Return the ids of the records that the state refers to."""
        ids = {each.id for each in self.records}
        for hits in self.all_hits():
            ids.update(hits.record_ids())
        return ids

    def all_hits(self) -> Iterator[SavedHits]:
        """Return the hits of all groups: those in windows, and those that are kept to fold them again."""
        for group in chain.from_iterable(rule.groups for rule in self.rules):
            yield from (group.hits, *group.base.windows)

    def known(self) -> list[CorrelatedAlert]:
        """Return the alerts that the state refers to, as they were when it was saved."""
        return [known for rule in self.rules for group in rule.groups for known in group.known]


def encode(state: SavedState) -> bytes:
    """Encode and compress a state.

    Raises: ValueError, OverflowError, if it has a value that cannot be saved, or is too large.
    """
    plain = _ENCODER.encode(state)
    if len(plain) > MAX_STATE_BYTES:
        raise ValueError(f"the state has {len(plain):,} bytes, and at most {MAX_STATE_BYTES:,} are saved")
    return zlib.compress(plain, 1)


def decode(body: bytes) -> SavedState:
    """Decode a state.

    Raises: DoesNotFit, if it was made by another version, or cannot be read.
    """
    try:
        inflate = zlib.decompressobj()
        plain = inflate.decompress(body, MAX_STATE_BYTES)
        if not inflate.eof:
            raise DoesNotFit("it cannot be read: it is cut, or too large")
        state = _DECODER.decode(plain)
    except (zlib.error, msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as exc:
        raise DoesNotFit(f"it cannot be read: {exc}") from exc
    if state.made_by != __version__:
        raise DoesNotFit(f"it was made by actionwatch {state.made_by}")
    return state


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(SavedState)
