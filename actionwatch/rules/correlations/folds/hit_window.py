"""The hits of a group that a fold holds: those of a sliding window, or of an alert."""

from __future__ import annotations

import bisect
import math
from array import array
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from operator import attrgetter
from typing import Any

from actionwatch.base.clock import from_micros, to_micros
from actionwatch.base.model import Hit, HitOrder

_MOST_GONE = 8  # one in so many may have left but still take its place: the others move rarely
_at, _order = attrgetter("at"), attrgetter("order")


class HitWindow:
    """Hits in order, of which the oldest leave.

    A list, and no `deque`: most groups have few hits, and a `deque` takes 760 bytes for each, even if it is empty.
    """

    __slots__ = ("_gone", "_hits")

    def __init__(self, hits: Iterable[Hit] = ()) -> None:
        self._hits = list(hits)
        self._gone = 0

    def __len__(self) -> int:
        return len(self._hits) - self._gone

    def __iter__(self) -> Iterator[Hit]:
        return islice(self._hits, self._gone, None)

    def __getitem__(self, place: int) -> Hit:
        return self._hits[self._gone + place]

    @property
    def first(self) -> Hit:
        """The oldest hit; there must be one."""
        return self._hits[self._gone]

    def since(self, place: int) -> Iterator[Hit]:
        """Yield the hits from a place on."""
        return islice(self._hits, self._gone + place, None)

    def place_of(self, order: HitOrder) -> int:
        """Return how many hits come before an order."""
        return bisect.bisect_left(self._hits, order, self._gone, key=_order) - self._gone

    def count_before(self, at: datetime) -> int:
        """Count the hits before a time."""
        return bisect.bisect_left(self._hits, at, self._gone, key=_at) - self._gone

    def append(self, hit: Hit) -> None:
        """Add the newest hit."""
        self._hits.append(hit)

    def clear(self) -> None:
        """Remove all hits."""
        self._hits, self._gone = [], 0

    def drop_before(self, at: datetime) -> list[Hit]:
        """Remove the hits before a time, and return them."""
        if not len(self) or self.first.at >= at:
            return []
        return self.drop_first(self.count_before(at))

    def drop_first(self, count: int) -> list[Hit]:
        """Remove the oldest hits, and return them."""
        dropped = self._hits[self._gone : self._gone + count]
        self._gone += count
        if self._gone * _MOST_GONE > len(self._hits):
            del self._hits[: self._gone]
            self._gone = 0
        return dropped


class CountedWindow:
    """The hits of a sliding window that are counted or measured. Older ones can be forgotten: only times and values are left.

    `hits` are the others.
    """

    __slots__ = ("_gone", "_times", "_values", "hits")

    def __init__(self) -> None:
        self.hits = HitWindow()
        self._times = array("q")  # of forgotten ones, in microseconds
        self._values: list[Any] = []
        self._gone = 0

    def __len__(self) -> int:
        return len(self._times) - self._gone + len(self.hits)

    @property
    def is_whole(self) -> bool:
        """Whether no hit of the window is forgotten."""
        return self._gone == len(self._times)

    @property
    def first_at(self) -> datetime:
        """The time of the oldest hit; there must be one."""
        return self.hits.first.at if self.is_whole else from_micros(self._times[self._gone])

    @property
    def size(self) -> int:
        """How many hits it holds, roughly; twenty forgotten ones take as much as one."""
        return len(self.hits) + math.ceil(len(self._times) / 20)

    def drop_before(self, at: datetime) -> list[Any]:
        """Remove the hits before a time, and return their values."""
        values: list[Any] = []
        if not self.is_whole:
            place = bisect.bisect_left(self._times, to_micros(at), self._gone)
            values = self._values[self._gone : place]
            self._gone = place
            if self._gone * _MOST_GONE > len(self._times):
                del self._times[: self._gone], self._values[: self._gone]
                self._gone = 0
        return [*values, *(hit.value for hit in self.hits.drop_before(at))]

    def forget(self) -> None:
        """Forget the hits that are left."""
        self._times.extend(to_micros(hit.at) for hit in self.hits)
        self._values += [hit.value for hit in self.hits]
        self.hits.clear()
