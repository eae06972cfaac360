"""Hits of a long window in 28 bytes each: as objects, they take about 330.

A hit is packed if it is of one stored record and has its time and key, as almost all have. The key starts with the time and
ends with a hash (see `instaclustr/identity.py`); a hit with another key stays as it is.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from datetime import datetime
from struct import Struct
from typing import Any, overload
from weakref import WeakValueDictionary

from actionwatch.base.clock import from_micros, to_micros
from actionwatch.rules.model import Hit, RecordRef

_ROW = Struct(
    "<qqH10s"
)  # time in microseconds since the epoch; id of the record; twice the step, plus 1 for backlog; hash
_TIME = Struct("<q")
_HASH_BYTES = 10


class PackedHits(Sequence[Hit]):
    """Hits in order. They never change, so that copies of a window share them."""

    __slots__ = ("__weakref__", "_others", "_rows", "_values")

    def __init__(self, rows: bytes, values: tuple[Any, ...], others: dict[int, Hit]) -> None:
        """`values` are those of all hits, or empty if none has a value; `others` are the hits that are not packed, by place."""
        self._rows = rows
        self._values = values
        self._others = others

    @classmethod
    def of(cls, hits: Sequence[Hit]) -> PackedHits:
        """Pack hits. Two folds of one group pack the same ones, one after the other: they get the same object."""
        packed = [(hit, _row(hit)) for hit in hits]
        others = {place: hit for place, (hit, row) in enumerate(packed) if row is None}
        rows = b"".join(row or _ROW.pack(to_micros(hit.at), 0, 0, b"") for hit, row in packed)
        values = tuple(hit.value for hit in hits) if any(hit.value is not None for hit in hits) else ()
        if others:
            return cls(rows, values, others)
        made = _MADE.get((rows, values))
        if made is None:
            made = _MADE[rows, values] = cls(rows, values, others)
        return made

    def __len__(self) -> int:
        return len(self._rows) // _ROW.size

    @overload
    def __getitem__(self, place: int) -> Hit: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Hit]: ...
    def __getitem__(self, place: int | slice) -> Hit | Sequence[Hit]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        if place in self._others:
            return self._others[place]
        micros, record_id, mark, digest = _ROW.unpack_from(self._rows, place * _ROW.size)
        step, is_backlog = divmod(mark, 2)
        at, key = from_micros(micros), _key(micros, digest)
        value = self._values[place] if self._values else None
        return Hit(at, step, key, (RecordRef(key, record_id, at, bool(is_backlog)),), value)

    def __iter__(self) -> Iterator[Hit]:
        return map(self.__getitem__, range(len(self)))

    def count_before(self, horizon: datetime) -> int:
        """Count the hits before a time."""
        return bisect.bisect_left(range(len(self)), to_micros(horizon), key=self._time)

    def _time(self, place: int) -> int:
        micros: int = _TIME.unpack_from(self._rows, place * _ROW.size)[0]
        return micros


def _row(hit: Hit) -> bytes | None:
    """Pack a hit; None if it does not fit."""
    if len(hit.records) != 1 or not isinstance(record := hit.records[0], RecordRef):
        return None
    micros, digest = to_micros(hit.at), _digest(hit.key)
    if (hit.at, hit.key) != (record.occurred_at, record.key) or hit.key != _key(micros, digest):
        return None
    return _ROW.pack(micros, record.id, 2 * hit.step + record.is_backlog, digest)


def _digest(key: str) -> bytes:
    try:
        return bytes.fromhex(key[-2 * _HASH_BYTES :])
    except ValueError:
        return b""


def _key(micros: int, digest: bytes) -> str:
    return f"{micros:016x}-{digest.hex()}"


_MADE: WeakValueDictionary[tuple[bytes, tuple[Any, ...]], PackedHits] = WeakValueDictionary()
