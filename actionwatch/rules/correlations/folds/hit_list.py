"""The hits of a group: those of a sliding window, of an alert, or those that are kept to fold them again."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain, islice, repeat
from operator import attrgetter
from typing import Self

from actionwatch.rules.correlations.folds.packed_hits import PackedHits, divided, joined
from actionwatch.rules.model import Hit, HitOrder, RecordRef

_MOST_GONE = 8  # of those that are not packed, one in so many may have left but still take its place: they move rarely
_PACKED = 16  # hits that are packed together; as many of the newest stay as they are
_JOINED = 8  # packs of one size that become one
_LARGEST = 1024  # hits in a pack: it is packed again if a late hit comes between them
_FEW = 8  # hits that take less as they are than packed
_at, _order = attrgetter("at"), attrgetter("order")


class HitList:
    """Hits in order, of which the oldest leave. If there are many, all but the newest are packed.

    A list, and no `deque`: most groups have few hits, and a `deque` takes 760 bytes for each, even if it is empty.
    """

    __slots__ = ("_gone", "_hits", "_packed_count", "_packs")

    def __init__(self, hits: Iterable[Hit] = ()) -> None:
        self._packs: tuple[PackedHits, ...] = ()  # before `_hits`
        self._packed_count = 0
        self._hits: list[Hit] = []
        self._gone = 0  # from the first of the packs or, if there is none, of the hits
        for hit in hits:
            self.append(hit)

    def __len__(self) -> int:
        return self._packed_count + len(self._hits) - self._gone

    def __iter__(self) -> Iterator[Hit]:
        return self.since(0)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HitList) and list(self) == list(other)

    def __reversed__(self) -> Iterator[Hit]:
        packed = chain.from_iterable(map(reversed, reversed(self._packs)))
        return islice(chain(reversed(self._hits), packed), len(self))

    def __getitem__(self, place: int) -> Hit:
        if 0 < -place <= min(len(self._hits), len(self)):
            return self._hits[place]
        number, place = self._locate(place)
        return (self._packs[number] if number < len(self._packs) else self._hits)[place]

    def since(self, place: int) -> Iterator[Hit]:
        """Yield the hits from a place on."""
        if not self._packs:
            return islice(self._hits, self._gone + place, None)
        number, place = self._locate(place)
        if number == len(self._packs):
            return islice(self._hits, place, None)
        later = chain.from_iterable(islice(self._packs, number + 1, None))
        return chain(self._packs[number].since(place), later, self._hits)

    @property
    def first(self) -> Hit:
        """The oldest hit; there must be one."""
        return (self._packs[0] if self._packs else self._hits)[self._gone]

    @property
    def newest(self) -> Hit | None:
        """The newest hit, if there is one."""
        if self._hits:
            return self._hits[-1]
        return self._packs[-1][-1] if self._packs else None

    def copy(self) -> Self:
        """Return an independent copy. It shares what is packed."""
        other = type(self)()
        other._packs, other._packed_count = self._packs, self._packed_count
        other._hits, other._gone = self._hits[:], self._gone
        return other

    def copy_first(self, count: int) -> Self:
        """Return an independent copy of the oldest hits. It shares what is packed."""
        number, place = self._locate(count)
        if number == len(self._packs):
            other = self.copy()
            del other._hits[place:]
            return other
        other = type(self)()
        other._packs, other._gone = self._packs[:number], self._gone
        other._packed_count = sum(map(len, other._packs))
        other._hits = list(islice(self._packs[number], place))
        return other

    def may_alert(self, record_floor: int) -> bool:
        """Return whether any hit may alert, the newest first: see `Hit`."""
        unpacked = self._hits if self._packs else self._hits[self._gone :]
        if any(hit.may_alert(record_floor) for hit in reversed(unpacked)):
            return True
        starts = chain((self._gone,), repeat(0))
        return any(pack.may_alert(start, record_floor) for pack, start in zip(self._packs, starts, strict=False))

    # -- at the ends ---------------------------------------------------------------------------------------------------

    def append(self, hit: Hit) -> None:
        """Add the newest hit."""
        self._hits.append(hit)
        if len(self._hits) >= 2 * _PACKED and _is_stored(self._hits[0]):
            self._pack()

    def clear(self) -> None:
        """Remove all hits."""
        self._packs, self._packed_count, self._hits, self._gone = (), 0, [], 0

    def take_all(self) -> list[Hit]:
        """Remove all hits, and return them."""
        taken = list(self) if self._packs or self._gone else self._hits
        self.clear()
        return taken

    def count_before(self, horizon: datetime) -> int:
        """Count the hits before a time."""
        if not self._packs:
            return bisect.bisect_left(self._hits, horizon, self._gone, key=_at) - self._gone
        count = -self._gone
        for pack in self._packs:
            count += (before := pack.count_before(horizon))
            if before < len(pack):
                return max(count, 0)
        return count + bisect.bisect_left(self._hits, horizon, key=_at)

    def drop_before(self, horizon: datetime) -> Sequence[Hit]:
        """Remove the hits before a time, and return them, oldest first."""
        if self._packs:
            is_any = self._packs[0].is_before(self._gone, horizon)
            return self.take_first(self.count_before(horizon)) if is_any else ()
        hits, start = self._hits, self._gone
        end = start
        while end < len(hits) and hits[end].at < horizon:
            end += 1
        if end == start:
            return ()
        self._gone = end
        dropped = hits[start:end]
        self._let_go()
        return dropped

    def take_first(self, count: int) -> Sequence[Hit]:
        """Remove the oldest hits, and return them."""
        taken = list(islice(self, count))
        self.drop_first(count)
        return taken

    def drop_first(self, count: int) -> None:
        """Remove the oldest hits."""
        self._gone += count
        self._let_go()

    # -- in the middle -------------------------------------------------------------------------------------------------

    def place_of(self, order: HitOrder) -> int:
        """Return the place of the hit with this order, or the one where it would be."""
        if not self._packs:
            return bisect.bisect_left(self._hits, order, self._gone, key=_order) - self._gone
        if self._hits and order >= self._hits[0].order:
            return self._packed_count - self._gone + bisect.bisect_left(self._hits, order, key=_order)
        number = bisect.bisect_left(self._packs, order, key=_newest)
        place = sum(map(len, self._packs[:number])) - self._gone
        if number < len(self._packs):
            place += bisect.bisect_left(self._packs[number], order, key=_order)
        return max(place, 0)

    def insert(self, place: int, hit: Hit) -> None:
        """Put a hit before the one that is in a place."""
        self._edit(place, 0, hit)

    def __setitem__(self, place: int, hit: Hit) -> None:
        self._edit(place, 1, hit)

    def __delitem__(self, place: int) -> None:
        self._edit(place, 1)

    def _edit(self, place: int, count: int, *hits: Hit) -> None:
        """Replace `count` hits from a place on. What was packed with them is packed again."""
        number, place = self._locate(place)
        if number == len(self._packs):
            self._hits[place : place + count] = hits
            self._let_go()
            return
        edited = list(self._packs[number])
        edited[place : place + count] = hits
        if number == 0:
            del edited[: self._gone]
            self._packed_count -= self._gone
            self._gone = 0
        half = len(edited) // 2 if len(edited) > 2 * _PACKED else len(edited)
        parts = (PackedHits.of(part).shared() for part in (edited[:half], edited[half:]) if part)
        self._packs = (*self._packs[:number], *parts, *self._packs[number + 1 :])
        self._packed_count += len(hits) - count
        self._let_go()

    # -- packs ---------------------------------------------------------------------------------------------------------

    def packed(self) -> PackedHits:
        """Return all hits in one pack."""
        return joined([*self._packs, PackedHits.of(self._hits)], self._gone)

    @classmethod
    def of_packed(cls, packed: PackedHits) -> Self:
        """Return the hits of one pack."""
        if len(packed) <= _FEW:
            return cls(packed)
        hits = cls()
        hits._packs, hits._packed_count = tuple(part.shared() for part in divided(packed, _LARGEST)), len(packed)
        return hits

    def pack_all(self) -> None:
        """Pack all hits, if they are more than a few: no other is expected."""
        if not self._packs:
            del self._hits[: self._gone]
            self._gone = 0
        if len(self._hits) > _FEW and _is_stored(self._hits[0]):
            self._packs = (*self._packs, PackedHits.of(self._hits).shared())
            self._packed_count += len(self._hits)
            self._hits = []

    def _pack(self) -> None:
        """Pack the oldest hits of those that are not packed, if enough are left."""
        if not self._packs:
            del self._hits[: self._gone]
            self._gone = 0
            if len(self._hits) < 2 * _PACKED:
                return
        self._packs = _with_joined((*self._packs, PackedHits.of(self._hits[:_PACKED]).shared()))
        self._packed_count += _PACKED
        del self._hits[:_PACKED]

    def _locate(self, place: int) -> tuple[int, int]:
        """Return in which pack a place is, by number, and where in it. The number of packs: it is not packed.

        Raises: IndexError, for a place before the first.
        """
        if place < -len(self):
            raise IndexError(place)
        place += self._gone + (len(self) if place < 0 else 0)
        if place >= self._packed_count:
            return len(self._packs), place - self._packed_count
        number = 0
        while place >= (size := len(self._packs[number])):
            number, place = number + 1, place - size
        return number, place

    def _let_go(self) -> None:
        """Release the packs, or the hits that are not packed, that are gone."""
        number = 0
        while number < len(self._packs) and self._gone >= (size := len(self._packs[number])):
            number, self._gone, self._packed_count = number + 1, self._gone - size, self._packed_count - size
        self._packs = self._packs[number:]
        if not self._packs and self._gone * _MOST_GONE > len(self._hits):
            del self._hits[: self._gone]
            self._gone = 0


class UnpackedHits(HitList):
    """Hits that are read again and again: they are not packed, however many they are, once `unpack` was called."""

    __slots__ = ()

    def append(self, hit: Hit) -> None:
        """Add the newest hit."""
        self._hits.append(hit)

    def unpack(self) -> None:
        """Unpack what was loaded."""
        if self._packs:
            self._hits = self.take_all()


def _is_stored(hit: Hit) -> bool:
    """Return whether the records of a hit are references. Without a store they are not, and nothing would be packed."""
    return bool(hit.records) and all(isinstance(record, RecordRef) for record in hit.records)


def _with_joined(packs: tuple[PackedHits, ...]) -> tuple[PackedHits, ...]:
    """Join the newest packs if there are enough of one size: each takes as much as several hits."""
    while len(packs) >= _JOINED and len(packs[-1]) * _JOINED <= _LARGEST:
        last = packs[-_JOINED:]
        if len({len(pack) for pack in last}) > 1 or any(pack.others for pack in last):
            break  # what is not packed is let go with its pack
        packs = (*packs[:-_JOINED], joined(last, 0).shared())
    return packs


def _newest(pack: PackedHits) -> HitOrder:
    return pack[-1].order
