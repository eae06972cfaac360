"""What is saved of a fold, so that a later process continues from it. Pure.

Lists of hits are saved as they are packed. Other hits of a group are saved once and referred to by number. Of a record only
what a hit keeps is saved.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.correlations.folds.hit_list import HitList
from actionwatch.rules.correlations.folds.packed_hits import ROW_BYTES, PackedHits
from actionwatch.rules.model import Hit, KeptRecord, RecordRef


class DoesNotFit(Exception):
    """What was saved does not belong to the rules or to the records of today: the state must be rebuilt."""


class SavedRecord(msgspec.Struct, frozen=True, array_like=True):
    """A `RecordRef`."""

    key: str
    id: int
    occurred_at: datetime
    is_backlog: bool


class SavedHit(msgspec.Struct, frozen=True, array_like=True):
    """A hit; `records` are numbers of records. `own` are its time and key; None where they are those of its only record."""

    step: int
    records: tuple[int, ...]
    value: int | float | tuple[str, ...] | None
    own: tuple[datetime, str] | None


class SavedHits(msgspec.Struct, frozen=True, array_like=True):
    """`PackedHits`; `others` are numbers of hits, by place."""

    rows: bytes
    values: tuple[int | float | tuple[str, ...] | None, ...]
    others: dict[int, int]

    def __len__(self) -> int:
        return len(self.rows) // ROW_BYTES

    def __post_init__(self) -> None:
        """Raises: ValueError, if there are not as many values as rows."""
        count = len(self)
        if len(self.rows) != count * ROW_BYTES or (self.values and len(self.values) != count):
            raise ValueError("the rows of hits and their values do not belong together")


class SavedAlert(msgspec.Struct, frozen=True, array_like=True):
    """A found alert; `resolved_by` and `firing` are numbers of hits, `last_seen` is the number of a record."""

    origin: str
    first_at: datetime
    fired_at: datetime
    until: datetime
    hits: SavedHits
    judged_at: datetime | None
    resolved_at: datetime | None
    resolved_by: int | None
    last_seen: int | None
    firing: int | None
    is_quiet: bool
    id: str


class SavedPending(msgspec.Struct, frozen=True, array_like=True):
    """A complete pattern that waits; `first` and `completing` are numbers of hits."""

    first: int
    completing: int
    due: datetime
    is_firm: bool


class SavedFold(msgspec.Struct, array_like=True):
    """The state of any fold. What a fold does not have is empty. `times` are in microseconds since the epoch."""

    found: list[SavedAlert]
    windows: list[SavedHits] = []
    at: datetime | None = None
    last: int | None = None
    last_key: str = ""
    fresh: dict[int, int] = {}
    pending: dict[int, SavedPending] = {}
    times: list[int] = []


class HitWriter:
    """Numbers the hits and records of a group that are saved."""

    def __init__(self) -> None:
        self.hits: list[SavedHit] = []
        self.records: list[SavedRecord] = []
        self._numbers: dict[int, int] = {}
        self._kept: list[Hit] = []  # so that no id of an object is used twice
        self._record_numbers: dict[int, int] = {}

    def number(self, hit: Hit) -> int:
        """Return the number of a hit.

        Raises: ValueError, for a record that is not stored.
        """
        number = self._numbers.get(id(hit))
        if number is None:
            records = tuple(map(self.record, hit.records))
            is_of_record = len(records) == 1 and (hit.at, hit.key) == _own(hit.records[0])
            number = self._numbers[id(hit)] = len(self.hits)
            self.hits.append(SavedHit(hit.step, records, hit.value, None if is_of_record else (hit.at, hit.key)))
            self._kept.append(hit)
        return number

    def record(self, record: KeptRecord) -> int:
        """Return the number of a record.

        Raises: ValueError, if it is not stored.
        """
        if record.id == 0:
            raise ValueError("a record without an id")
        number = self._record_numbers.setdefault(record.id, len(self.records))
        if number == len(self.records):
            self.records.append(SavedRecord(record.key, record.id, record.occurred_at, record.is_backlog))
        return number

    def number_if(self, hit: Hit | None) -> int | None:
        return None if hit is None else self.number(hit)

    def hit_list(self, hits: HitList) -> SavedHits:
        """Return a list of hits as it is saved.

        Raises: ValueError, for a record that is not stored.
        """
        packed = hits.packed()
        return SavedHits(packed.rows, packed.values, {place: self.number(hit) for place, hit in packed.others.items()})

    def alert(self, found: FoundAlert) -> SavedAlert:
        """Return a found alert as it is saved."""
        return SavedAlert(
            found.origin,
            found.first_at,
            found.fired_at,
            found.until,
            self.hit_list(found.hits),
            found.judged_at,
            found.resolved_at,
            self.number_if(found.resolved_by),
            None if found.last_seen is None else self.record(found.last_seen),
            self.number_if(found.firing),
            found.is_quiet,
            found.id,
        )


class HitReader:
    """The hits of a group that were saved. Retention may have deleted their records, as it may while a process runs.

    Edited states raise IndexError or ValueError.
    """

    def __init__(self, hits: Sequence[SavedHit], records: Sequence[SavedRecord]) -> None:
        self._records = [RecordRef(each.key, each.id, each.occurred_at, each.is_backlog) for each in records]
        self._hits = [self._hit(each) for each in hits]

    def _hit(self, saved: SavedHit) -> Hit:
        records = tuple(self._records[number] for number in saved.records)
        at, key = _own(records[0]) if saved.own is None else saved.own
        return Hit(at, saved.step, key, records, saved.value)

    def hit(self, number: int) -> Hit:
        """Return a hit."""
        return self._hits[number]

    def hit_if(self, number: int | None) -> Hit | None:
        return None if number is None else self._hits[number]

    def hit_list(self, saved: SavedHits) -> HitList:
        """Return a list of hits."""
        return HitList.of_packed(self.packed(saved))

    def packed(self, saved: SavedHits) -> PackedHits:
        """Return packed hits."""
        texts: dict[tuple[str, ...], tuple[str, ...]] = {}  # each once, as before: values repeat
        values = tuple(texts.setdefault(each, each) if isinstance(each, tuple) else each for each in saved.values)
        hits = PackedHits(saved.rows, values, {place: self._hits[each] for place, each in saved.others.items()})
        if {place for place, record_id in enumerate(hits.record_ids()) if not record_id} != hits.others.keys():
            raise ValueError("a hit has no record")
        return hits

    def alert(self, saved: SavedAlert) -> FoundAlert:
        """Return a found alert."""
        return FoundAlert(
            saved.origin,
            saved.first_at,
            saved.fired_at,
            saved.until,
            self.hit_list(saved.hits),
            saved.judged_at,
            saved.resolved_at,
            self.hit_if(saved.resolved_by),
            None if saved.last_seen is None else self._records[saved.last_seen],
            self.hit_if(saved.firing),
            saved.is_quiet,
            saved.id,
        )


def _own(record: KeptRecord) -> tuple[datetime, str]:
    """Return the time and the key that most hits of a record have."""
    return record.occurred_at, record.key
