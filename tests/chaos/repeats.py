"""Judge the messages that arrived more than once in the chaos of replicas: each needs a reason.

A message may repeat if its sender died, or was frozen or cut off for longer than its lease, before it could record the outcome,
or if a crash of the server forgot the outcome. An outage is no reason, and neither is a replica that wakes up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.end_to_end.kit import Arrival

UNRECORDED_SECONDS = 3.0  # from the arrival of a message until its outcome is committed, on a busy machine


@dataclass(frozen=True)
class Span:
    """A time in which something happened to a replica, or to all (None)."""

    replica: str | None
    began: float
    ended: float


@dataclass
class Faults:
    """What prevented replicas from recording: silences are reasons for repeats, outages of the store only make them longer."""

    silences: list[Span] = field(default_factory=list)
    outages: list[Span] = field(default_factory=list)

    def repeats(self, arrivals: Sequence[Arrival]) -> Iterator[tuple[Arrival, Arrival, bool]]:
        """Yield each message that its receiver had accepted before, after that arrival, and whether there is a reason."""
        by_id: defaultdict[str, list[Arrival]] = defaultdict(list)
        for each in arrivals:
            by_id[each.id].append(each)
        for same in by_id.values():
            for first, again in pairwise(same):
                if first.is_accepted:
                    yield first, again, self._has_reason(first)

    def _has_reason(self, arrival: Arrival) -> bool:
        return any(
            self._earliest(each) <= arrival.at <= each.ended
            for each in self.silences
            if each.replica in (None, sender_of(arrival))
        )

    def _earliest(self, silence: Span) -> float:
        """Return when a message arrived whose outcome could not be recorded before a silence."""
        earliest = silence.began - UNRECORDED_SECONDS
        for outage in sorted(self.outages, key=lambda each: each.ended, reverse=True):
            if outage.began <= silence.began and outage.ended >= earliest and outage.replica in (None, silence.replica):
                earliest = min(earliest, outage.began - UNRECORDED_SECONDS)
        return earliest


def sender_of(arrival: Arrival) -> str:
    """Return the replica that sent a message: each has its own path."""
    return arrival.path.split("/")[1]
