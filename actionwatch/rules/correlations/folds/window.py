"""The hits of a sliding window."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice

from actionwatch.rules.model import Hit

_MOST_GONE = 8  # one hit in so many may have left but still take its place: the others then move rarely


class Window:
    """Hits in order, of which the oldest leave.

    A list: most windows have few hits, and a `deque` takes 760 bytes for each, even if it is empty.
    """

    __slots__ = ("_gone", "_hits")

    def __init__(self, hits: Iterable[Hit] = ()) -> None:
        self._hits = list(hits)
        self._gone = 0

    def __len__(self) -> int:
        return len(self._hits) - self._gone

    def __iter__(self) -> Iterator[Hit]:
        return islice(self._hits, self._gone, None)

    def __reversed__(self) -> Iterator[Hit]:
        return islice(reversed(self._hits), len(self))

    @property
    def first(self) -> Hit:
        """The oldest hit; there must be one."""
        return self._hits[self._gone]

    def append(self, hit: Hit) -> None:
        """Add the newest hit."""
        self._hits.append(hit)

    def clear(self) -> None:
        """Remove all hits."""
        self._hits, self._gone = [], 0

    def drop_before(self, horizon: datetime) -> Sequence[Hit]:
        """Remove the hits before a time, and return them, oldest first."""
        hits, start = self._hits, self._gone
        end = start
        while end < len(hits) and hits[end].at < horizon:
            end += 1
        if end == start:
            return ()
        dropped, self._gone = hits[start:end], end
        if end * _MOST_GONE > len(hits):
            del hits[:end]
            self._gone = 0
        return dropped
