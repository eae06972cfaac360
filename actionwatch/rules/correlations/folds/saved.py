"""What is saved of a fold, so that a later process continues from it. Pure.

Hits are saved once and referred to by number, because a hit is in a window and in an alert. Of a record only the id is saved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec

from actionwatch.base.model import Record
from actionwatch.rules.model import FoundAlert, Hit


class DoesNotFit(Exception):
    """What was saved does not belong to the rules or to the records of today: the state must be rebuilt."""


class SavedHit(msgspec.Struct, frozen=True, array_like=True):
    """A hit; `records` are ids."""

    at: datetime
    step: int
    key: str
    records: tuple[int, ...]
    value: int | float | tuple[str, ...] | None


class SavedAlert(msgspec.Struct, frozen=True, array_like=True):
    """A found alert; `hits`, `resolved_by` and `firing` are numbers of hits, `last_seen` is the id of a record."""

    origin: str
    first_at: datetime
    fired_at: datetime
    until: datetime
    hits: list[int]
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
    """The state of any fold. What a fold does not have is empty."""

    found: list[SavedAlert]
    windows: list[list[int]] = []
    at: datetime | None = None
    last: int | None = None
    last_key: str = ""
    fresh: dict[int, int] = {}
    pending: dict[int, SavedPending] = {}


class HitWriter:
    """Numbers the hits of a rule that are saved."""

    def __init__(self) -> None:
        self.hits: list[SavedHit] = []
        self._numbers: dict[int, int] = {}
        self._kept: list[Hit] = []  # so that no id of an object is used twice

    def number(self, hit: Hit) -> int:
        """Return the number of a hit.

        Raises: ValueError, for a record that is not stored.
        """
        number = self._numbers.get(id(hit))
        if number is None:
            ids = tuple(record.id for record in hit.records)
            if 0 in ids:
                raise ValueError("a record without an id")
            number = self._numbers[id(hit)] = len(self.hits)
            self.hits.append(SavedHit(hit.at, hit.step, hit.key, ids, hit.value))
            self._kept.append(hit)
        return number

    def number_if(self, hit: Hit | None) -> int | None:
        return None if hit is None else self.number(hit)

    def numbers(self, hits: Iterable[Hit]) -> list[int]:
        return [self.number(hit) for hit in hits]

    def alert(self, found: FoundAlert) -> SavedAlert:
        """Return a found alert as it is saved."""
        return SavedAlert(
            found.origin,
            found.first_at,
            found.fired_at,
            found.until,
            self.numbers(found.hits),
            found.judged_at,
            found.resolved_at,
            self.number_if(found.resolved_by),
            None if found.last_seen is None else found.last_seen.id,
            self.number_if(found.firing),
            found.is_quiet,
            found.id,
        )


class HitReader:
    """The hits of a rule that were saved. `records` are those that the store still has, by id."""

    def __init__(self, saved: Sequence[SavedHit], records: Mapping[int, Record], *, is_final: bool) -> None:
        """`is_final`: the rule's alerts are no hits of another rule, so that their records may be gone."""
        self._records = records
        self._is_final = is_final
        self._is_whole = [all(each in records for each in hit.records) for hit in saved]
        self._hits = [
            Hit(hit.at, hit.step, hit.key, tuple(records[each] for each in hit.records if each in records), hit.value)
            for hit in saved
        ]

    def hit(self, number: int) -> Hit:
        """Return a hit whose records all still exist.

        Raises: DoesNotFit.
        """
        if not self._is_whole[number]:
            raise DoesNotFit("a record that the state needs is no longer in the store")
        return self._hits[number]

    def hits(self, numbers: Iterable[int]) -> list[Hit]:
        """Return hits whose records all still exist.

        Raises: DoesNotFit.
        """
        return [self.hit(number) for number in numbers]

    def alert(self, saved: SavedAlert) -> FoundAlert:
        """Return a found alert. Nothing changes about hits whose records are gone: retention keeps records for much longer.

        Raises: DoesNotFit, if another rule counts the alert and needs them.
        """
        if not self._is_final and not all(self._is_whole[number] for number in saved.hits):
            raise DoesNotFit("a record of an alert that another rule counts is no longer in the store")
        last_seen = None if saved.last_seen is None else self._records.get(saved.last_seen)
        return FoundAlert(
            saved.origin,
            saved.first_at,
            saved.fired_at,
            saved.until,
            [self._hits[number] for number in saved.hits if self._is_whole[number]],
            saved.judged_at,
            saved.resolved_at,
            self.hit_if(saved.resolved_by),
            last_seen,
            self.hit_if(saved.firing),
            saved.is_quiet,
            saved.id,
        )

    def hit_if(self, number: int | None) -> Hit | None:
        """Return a hit, without those of its records that are gone."""
        return None if number is None else self._hits[number]
