"""What a fold finds against what people were told: which alerts open, are joined, or resolve."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from actionwatch.model import Record
from actionwatch.rules.correlations.spec import Correlation, Found, Group


class What(StrEnum):
    """What becomes of an alert. One that is only learned is remembered, and told to nobody."""

    LEARN = "learn"
    OPEN = "open"
    JOIN = "join"
    RESOLVE = "resolve"


@dataclass(slots=True)
class Told:
    """An alert as it was last told, or learned: found, but not to be told since all its records are from before.

    `told_as` is the id by which people know it, where it took the place of one that a record out of order made fall away;
    that one is current no more.
    """

    id: str
    origin: str
    first_at: datetime
    fired_at: datetime
    until: datetime
    is_told: bool
    is_open: bool = False
    resolved_at: datetime | None = None
    told_as: str | None = None
    is_current: bool = True
    keys: set[tuple[str, str]] = field(default_factory=set)
    taken: int = 0

    @property
    def public_id(self) -> str:
        """The id of the alert that people were told of."""
        return self.told_as or self.id


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to write down and to tell. `records` are new in the alert, in event order."""

    what: What
    rule: Correlation
    group: Group
    told: Told
    found: Found | None
    records: tuple[Record, ...] = ()
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """An alert as the store remembers it."""

    rule_id: str
    group: Group
    told: Told


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What is known of the time before.

    `begin` says, for a rule, from when on the stream is known whole. `since`: only records from then on will come at first
    (None: all there are). A record may alert if its id is above its rule's `floors` and it is no backlog; what is missing may
    alert once verified time has reached `alerts_from`.
    """

    begin: Callable[[Correlation], datetime | None]
    since: datetime | None = None
    floors: Callable[[Correlation], int] = lambda _: -1
    alerts_from: datetime | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """One group of one rule: its alerts that were told or learned, by id, and the time of its newest hit."""

    rule: Correlation
    group: Group
    told: dict[str, Told]
    last_at: datetime | None


def compare(
    place: Place, judged: Sequence[Found], turned: Sequence[Told], may_open: Callable[[Found], bool]
) -> Iterator[Change]:
    """Compare what a fold gives, in order, with what was told; `turned` fell away, or are found again."""
    orphans: list[Told] = []
    for told in turned:
        yield Change(What.LEARN, place.rule, place.group, told, None)
        if told.is_told and not told.is_current:
            orphans.append(told)
    for found in judged:
        if (known := place.told.get(found.id)) is not None:
            yield from _tell(place, known, found, may_open)
        else:
            told = Told(found.id, found.origin, found.first_at, found.fired_at, found.until, is_told=False)
            place.told[told.id] = told
            heir = next((each for each in orphans if _overlap(each, found)), None)
            if heir is not None:
                orphans.remove(heir)
                told.told_as, told.is_told, told.is_open = heir.public_id, True, heir.is_open
                told.keys = set(heir.keys)
                heir.is_open = False
            yield Change(What.LEARN, place.rule, place.group, told, found)
            yield from _tell(place, told, found, may_open)
    for told in orphans:
        if told.is_open:
            told.is_open, told.resolved_at = False, place.last_at
            told.until = max(told.first_at, place.last_at or told.first_at)
            yield Change(What.RESOLVE, place.rule, place.group, told, None, (), told.resolved_at)


def turned_by(place: Place, floor: datetime | None, suspects: Iterable[str], current: set[str]) -> list[Told]:
    """Give the alerts that this fold is the first not to find, or to find again, oldest first."""
    turned = []
    known = [place.told[name] for name in suspects if name in place.told]
    for told in sorted(known, key=lambda each: (each.first_at, each.id)):
        is_current = told.id in current
        is_within = is_current or floor is None or told.first_at >= floor
        if is_within and told.is_current is not is_current:
            told.is_current = is_current
            turned.append(told)
    return turned


def _tell(place: Place, told: Told, found: Found, may_open: Callable[[Found], bool]) -> Iterator[Change]:
    rule, group = place.rule, place.group
    if not told.is_told:
        if not may_open(found):
            if found.resolved_at is not None and told.resolved_at is None:
                told.resolved_at = told.until = found.resolved_at
                yield Change(What.LEARN, rule, group, told, found)
            return
        told.is_told, told.is_open = True, rule.is_absence
        yield Change(What.OPEN, rule, group, told, found, _new_records(told, found))
    elif records := _new_records(told, found):
        yield Change(What.JOIN, rule, group, told, found, records)
    if found.resolved_at is not None and told.is_open:
        told.is_open, told.resolved_at, told.until = False, found.resolved_at, found.resolved_at
        yield Change(What.RESOLVE, rule, group, told, found, (), found.resolved_at)


def _new_records(told: Told, found: Found) -> tuple[Record, ...]:
    """Give the records that an alert did not hold before, each once, and note that it holds them."""
    new: dict[tuple[str, str], Record] = {}
    for hit in found.hits[told.taken :]:
        for record in hit.records:
            key = (record.source, record.key)
            if key not in told.keys:
                new[key] = record
    told.taken = len(found.hits)
    told.keys.update(new)
    return tuple(sorted(new.values(), key=lambda record: (record.occurred_at, record.key)))


def _overlap(told: Told, found: Found) -> bool:
    return found.first_at <= told.until and told.first_at <= found.until
