"""Where the upstream places the records whose time nobody can read: within every window that brought them.

Sweeps compare counts with what is stored of a stretch of time, and these are stored of none. So what is known of their place is
kept, for as long as the process lives: the overlap of all windows that showed them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from actionwatch.tail.cursor import Window

MAX_KNOWN = 10_000  # where nearly all are so, nothing is swept


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
        """Take in a reading that counts: the kind of each such record that it brought, and how often each key came."""
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
        """Count per kind those that certainly lie within `inner`, and those others that may lie within `outer`."""
        sure, unsure = Counter[str](), Counter[str]()
        for place in self._places.values():
            if inner.covers(place.within):
                sure[place.kind] += place.count
            elif place.within.start <= outer.end and outer.start <= place.within.end:
                unsure[place.kind] += place.count
        return sure, unsure


def _overlap(one: Window, other: Window) -> Window:
    """Give what two windows share; the other one where that is nothing: the record was moved."""
    start, end = max(one.start, other.start), min(one.end, other.end)
    return Window(start, end) if start <= end else other


def _outside(one: Window, other: Window) -> Window:
    """Give what is left of a window beside another that covers one end of it; all of it where that lies in its middle."""
    if other.start <= one.start < other.end:
        return Window(other.end, one.end)
    if one.start < other.start < one.end <= other.end:
        return Window(one.start, other.start)
    return one
