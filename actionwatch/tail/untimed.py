"""Where the upstream places the records without a readable time: within every window that showed them.

Sweeps compare counts with the records stored for a stretch of time, and these records are stored for none. So this keeps the
overlap of all windows that showed each of them, while the process lives.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from actionwatch.tail.cursor import Window

MAX_KNOWN = 10_000  # if nearly all records are like this, sweeps read instead of count


@dataclass(frozen=True, slots=True)
class _Place:
    kind: str
    count: int
    within: Window


class Untimed:
    """The places of one source's records without a readable time, by key."""

    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}

    def note(self, window: Window, kinds: Mapping[str, str], counts: Mapping[str, int]) -> None:
        """Note a proved walk through a window: the kind of each such record by key, and how often each key came."""
        for key, place in list(self._places.items()):
            if key not in kinds:
                if window.covers(place.within):
                    del self._places[key]  # gone upstream
                else:
                    self._places[key] = replace(place, within=_outside(place.within, window))
        for key, kind in kinds.items():
            known = self._places.get(key)
            if known is not None or len(self._places) < MAX_KNOWN:
                within = _overlap(known.within, window) if known else window
                self._places[key] = _Place(kind, counts[key], within)

    def count(self, inner: Window, outer: Window) -> tuple[Counter[str], Counter[str]]:
        """Count per kind the records that certainly lie within `inner`, and the others that may lie within `outer`."""
        sure, unsure = Counter[str](), Counter[str]()
        for place in self._places.values():
            if inner.covers(place.within):
                sure[place.kind] += place.count
            elif place.within.start <= outer.end and outer.start <= place.within.end:
                unsure[place.kind] += place.count
        return sure, unsure


def _overlap(one: Window, other: Window) -> Window:
    """Return what two windows share, or the other one if they share nothing: the record was moved."""
    start, end = max(one.start, other.start), min(one.end, other.end)
    return Window(start, end) if start <= end else other


def _outside(one: Window, other: Window) -> Window:
    """Return what is left of a window outside another that covers one end of it; all of it if that lies in its middle."""
    if other.start <= one.start < other.end:
        return Window(other.end, one.end)
    if one.start < other.start < one.end <= other.end:
        return Window(one.start, other.start)
    return one
