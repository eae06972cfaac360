"""Hits in 28 bytes each: as objects, they take about 330.

A hit is packed if it is of one stored record and has its time and key, as almost all have. The key starts with the time and
ends with a hash (see `instaclustr/identity.py`); a hit with another key stays as it is.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import accumulate, chain, repeat
from struct import Struct
from typing import Any
from weakref import WeakValueDictionary

from actionwatch.base.clock import from_micros, to_micros
from actionwatch.rules.model import Hit, RecordRef

_ROW = Struct("<qqH10s")  # time in microseconds since 1970; id of the record; twice the step, plus 1 for backlog; hash
_TIME = Struct("<q")
_ORIGIN = Struct("<8xqH10x")  # the id of the record, and the mark
_HASH_BYTES = 10
ROW_BYTES = _ROW.size
_LAST_STEP = 0x7FFF
_NONE: Mapping[int, Hit] = {}


class PackedHits:
    """Hits in order. They never change, so that copies of a window share them.

    `rows` has one row of bytes for each; `values` are those of all hits, or empty if none has a value; `others` are the hits
    that are not packed, by place.
    """

    __slots__ = ("__weakref__", "others", "rows", "values")

    def __init__(self, rows: bytes, values: tuple[Any, ...] = (), others: Mapping[int, Hit] = _NONE) -> None:
        self.rows = rows
        self.values = values
        self.others = others

    @classmethod
    def of(cls, hits: Sequence[Hit]) -> PackedHits:
        """Pack hits."""
        packed = [_row(hit) for hit in hits]
        others = {place: hit for place, hit in enumerate(hits) if packed[place] is None}
        rows = b"".join(row or _ROW.pack(to_micros(hit.at), 0, 0, b"") for hit, row in zip(hits, packed, strict=True))
        values = tuple(hit.value for hit in hits) if any(hit.value is not None for hit in hits) else ()
        return cls(rows, values, others or _NONE)

    def shared(self) -> PackedHits:
        """Return the object that is used for these hits. Two folds of one group pack the same, one after the other.

        Rules that count other values of the same hits share the rows.
        """
        if self.others:
            return self
        self.rows = _ROWS.setdefault(self.rows, self).rows
        return _SHARED.setdefault((self.rows, self.values), self)

    def __len__(self) -> int:
        return len(self.rows) // ROW_BYTES

    def __getitem__(self, place: int) -> Hit:
        place = range(len(self))[place]
        value = self.values[place] if self.values else None
        return self.others.get(place) or _hit(*_ROW.unpack_from(self.rows, place * ROW_BYTES), value=value)

    def __iter__(self) -> Iterator[Hit]:
        return self.since(0)

    def since(self, start: int) -> Iterator[Hit]:
        """Yield the hits from a place on."""
        rows = _ROW.iter_unpack(memoryview(self.rows)[start * ROW_BYTES :])
        valued = zip(rows, self.values[start:] or repeat(None))  # noqa: B905 - `repeat` has no end
        if not self.others:
            return (_hit(*row, value=value) for row, value in valued)
        return (self.others.get(place) or _hit(*row, value=value) for place, (row, value) in enumerate(valued, start))

    def is_before(self, place: int, horizon: datetime) -> bool:
        """Return whether the hit in a place is before a time."""
        return self._time(place) < to_micros(horizon)

    def count_before(self, horizon: datetime) -> int:
        """Count the hits before a time."""
        return bisect.bisect_left(range(len(self)), to_micros(horizon), key=self._time)

    def may_alert(self, start: int, record_floor: int) -> bool:
        """Return whether any hit from a place on may alert: see `Hit`."""
        rows = _ORIGIN.iter_unpack(memoryview(self.rows)[start * ROW_BYTES :])
        others = (hit for place, hit in self.others.items() if place >= start)
        return any(0 != record_id > record_floor and not mark & 1 for record_id, mark in rows) or any(
            hit.may_alert(record_floor) for hit in others
        )

    def record_ids(self) -> Iterator[int]:
        """Return the ids of the records, 0 for a hit that is not packed."""
        return (record_id for record_id, _ in _ORIGIN.iter_unpack(self.rows))

    def _time(self, place: int) -> int:
        micros: int = _TIME.unpack_from(self.rows, place * ROW_BYTES)[0]
        return micros


def joined(packs: Sequence[PackedHits], start: int) -> PackedHits:
    """Return packed hits as one, from a place on."""
    rows = b"".join(each.rows for each in packs)[start * ROW_BYTES :]
    values: tuple[Any, ...] = ()
    if any(each.values for each in packs):
        values = tuple(chain.from_iterable(each.values or (None,) * len(each) for each in packs))[start:]
    begins = accumulate(map(len, packs), initial=-start)
    others = {
        begin + place: hit for begin, each in zip(begins, packs, strict=False) for place, hit in each.others.items()
    }
    return PackedHits(rows, values, {place: hit for place, hit in others.items() if place >= 0} or _NONE)


def divided(packed: PackedHits, size: int) -> Iterator[PackedHits]:
    """Divide packed hits into parts of a size; the last may be smaller."""
    for start in range(0, len(packed), size):
        end = min(start + size, len(packed))
        others = {place - start: packed.others[place] for place in range(start, end) if place in packed.others}
        yield PackedHits(packed.rows[start * ROW_BYTES : end * ROW_BYTES], packed.values[start:end], others or _NONE)


def _row(hit: Hit) -> bytes | None:
    """Pack a hit; None if it does not fit."""
    if len(hit.records) != 1 or not isinstance(record := hit.records[0], RecordRef):
        return None
    micros, digest = to_micros(hit.at), _digest(hit.key)
    if (
        (hit.at, hit.key) != (record.occurred_at, record.key)
        or hit.key != _key(micros, digest)
        or hit.step > _LAST_STEP
    ):
        return None
    return _ROW.pack(micros, record.id, 2 * hit.step + record.is_backlog, digest)


def _hit(micros: int, record_id: int, mark: int, digest: bytes, *, value: Any) -> Hit:
    """Return the hit of a row."""
    at, key = from_micros(micros), _key(micros, digest)
    return Hit(at, mark >> 1, key, (RecordRef(key, record_id, at, mark & 1 == 1),), value)


def _digest(key: str) -> bytes:
    try:
        return bytes.fromhex(key[-2 * _HASH_BYTES :])
    except ValueError:
        return b""


def _key(micros: int, digest: bytes) -> str:
    return f"{micros:016x}-{digest.hex()}"


_ROWS: WeakValueDictionary[bytes, PackedHits] = WeakValueDictionary()
_SHARED: WeakValueDictionary[tuple[bytes, tuple[Any, ...]], PackedHits] = WeakValueDictionary()
