"""The hits of a sliding window."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain, islice

from actionwatch.rules.correlations.folds.packed_hits import PackedHits
from actionwatch.rules.model import Hit

_MOST_GONE = 8  # one hit in so many may have left but still take its place: the others then move rarely
_PACKED = 64  # hits that are packed together; as many of the newest stay as they are


class Window:
    """Hits in order, of which the oldest leave. If there are many, all but the newest are packed.

    A list: most windows have few hits, and a `deque` takes 760 bytes for each, even if it is empty.
    """

    __slots__ = ("_gone", "_hits", "_packs")

    def __init__(self, hits: Iterable[Hit] = ()) -> None:
        self._packs: tuple[PackedHits, ...] = ()  # before `_hits`
        self._hits: list[Hit] = []
        self._gone = 0  # from the first of the packs or, if there is none, of the hits
        for hit in hits:
            self.append(hit)

    def __len__(self) -> int:
        return len(self._packs) * _PACKED + len(self._hits) - self._gone

    def __iter__(self) -> Iterator[Hit]:
        return islice(chain(chain.from_iterable(self._packs), self._hits), self._gone, None)

    def __reversed__(self) -> Iterator[Hit]:
        packed = chain.from_iterable(map(reversed, reversed(self._packs)))
        return islice(chain(reversed(self._hits), packed), len(self))

    @property
    def first(self) -> Hit:
        """The oldest hit; there must be one."""
        return (self._packs[0] if self._packs else self._hits)[self._gone]

    def copy(self) -> Window:
        """Return an independent copy. It shares what is packed."""
        other = Window()
        other._packs, other._hits, other._gone = self._packs, self._hits[:], self._gone
        return other

    def append(self, hit: Hit) -> None:
        """Add the newest hit."""
        self._hits.append(hit)
        if len(self._hits) >= 2 * _PACKED:
            self._pack()

    def clear(self) -> None:
        """Remove all hits."""
        self._packs, self._hits, self._gone = (), [], 0

    def drop_before(self, horizon: datetime) -> Sequence[Hit]:
        """Remove the hits before a time, and return them, oldest first."""
        if not self._packs:
            return self._drop_unpacked(horizon)
        if self.first.at >= horizon:
            return ()
        dropped: list[Hit] = []
        for number, pack in enumerate(self._packs):
            count = pack.count_before(horizon)
            dropped += pack[self._gone : count]
            self._gone = count
            if count < len(pack):
                self._packs = self._packs[number:]
                return dropped
            self._gone = 0
        self._packs = ()
        return [*dropped, *self._drop_unpacked(horizon)]

    def _drop_unpacked(self, horizon: datetime) -> Sequence[Hit]:
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

    def _pack(self) -> None:
        """Pack the oldest hits of those that are not packed, if enough are left."""
        if not self._packs:
            del self._hits[: self._gone]
            self._gone = 0
            if len(self._hits) < 2 * _PACKED:
                return
        self._packs = (*self._packs, PackedHits.of(self._hits[:_PACKED]))
        del self._hits[:_PACKED]
