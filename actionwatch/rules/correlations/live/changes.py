"""What a fold finds against what people were told: which alerts open, are joined, or resolve."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from actionwatch.base.model import Record
from actionwatch.rules.model import NEVER, Correlation, Found, Group

FiringOrder = tuple[datetime, bool, str, str]


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
    keys: set[str] = field(default_factory=set)
    taken: int = 0

    @property
    def public_id(self) -> str:
        """The id of the alert that people were told of."""
        return self.told_as or self.id

    def follow(self, found: Found) -> bool:
        """Take over the times that a record out of order has changed; say whether it has. An end that was told stays one."""
        before = (self.first_at, self.fired_at, self.until, self.resolved_at)
        self.first_at, self.fired_at = found.first_at, found.fired_at
        if found.until != NEVER:
            self.until = found.until
        elif self.is_told and not self.is_open and found.resolved_at is not None:
            self.until = self.resolved_at = found.resolved_at
        return before != (self.first_at, self.fired_at, self.until, self.resolved_at)


@dataclass(frozen=True, slots=True)
class Change:
    """One thing to write down and to tell. `records` are new in the alert, in event order.

    What is missing joins without records: `found` says what it is.
    """

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

    `begin` says, for a rule, from when on the stream is known whole; `since`, from when on it is given records at first (None:
    all there are). A record may alert if its id is above its rule's `floors` and it is no backlog; what is missing may
    alert once verified time has reached `alerts_from`.
    """

    begin: Callable[[Correlation], datetime | None]
    since: Callable[[Correlation], datetime | None] = lambda _: None
    floors: Callable[[Correlation], int] = lambda _: -1
    alerts_from: datetime | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """One group of one rule: its alerts that were told or learned, by id, and the time of its newest hit."""

    rule: Correlation
    group: Group
    told: dict[str, Told]
    last_at: datetime | None


@dataclass(frozen=True, slots=True)
class Look:
    """What a fold gives of one group: its alerts, in order, those that are judged, and what `turned`."""

    place: Place
    alerts: Sequence[Found]
    judged: Sequence[Found]
    turned: Sequence[Told]


class Merging(Protocol):
    """Says which alerts of several groups are told as one: `merging.py`."""

    def is_held(self, found: Found) -> bool:
        """Say whether something fired before it that is still to be judged."""
        ...

    def tell_as(self, told: Told) -> Told | None:
        """Give the alert that this one is told as, if it is another."""
        ...

    def is_seen(self, at: datetime) -> bool:
        """Say whether all that was missing at a time is among what is known."""
        ...

    def over(self, told: Told) -> tuple[datetime, list[tuple[Group, Told]]] | None:
        """Say when nothing was missing any more, and what was told by then; None while something is."""
        ...

    def is_open(self, public_id: str) -> bool:
        """Say whether anything is still missing in an alert that people know."""
        ...


def compare(
    looks: Sequence[Look], may_open: Callable[[Found], bool], merging: Merging | None = None
) -> Iterator[Change]:
    """Compare what folds give with what was told; what `turned` fell away, or is found again.

    One look, or with `merging` those at the groups that are told together.
    """
    orphans: list[tuple[Place, Told]] = []
    for look in looks:
        for told in look.turned:
            yield Change(What.LEARN, look.place.rule, look.place.group, told, None)
            if told.is_told and not told.is_current:
                orphans.append((look.place, told))
    for look in looks:
        for told in look.turned:
            if told.is_current:
                _take_back(told, orphans)
    for place, found in _in_order(looks, merging):
        if (known := place.told.get(found.id)) is None:
            known = place.told[found.id] = _learned(found, orphans)
            leader = merging.tell_as(known) if merging is not None else None
            is_joining = leader is not None and _tell_with(known, leader, place.rule)
            what = What.JOIN if is_joining and place.rule.is_absence else What.LEARN
            yield Change(what, place.rule, place.group, known, found)
        elif known.follow(found):
            yield Change(What.LEARN, place.rule, place.group, known, found)
        yield from _tell(place, known, found, may_open, merging)
    for place, told in orphans:
        if told.is_open:
            told.is_open, told.resolved_at = False, place.last_at
            told.until = max(told.first_at, place.last_at or told.first_at)
            what = What.LEARN if merging is not None and merging.is_open(told.public_id) else What.RESOLVE
            yield Change(what, place.rule, place.group, told, None, (), told.resolved_at)


def _in_order(looks: Sequence[Look], merging: Merging | None) -> Iterator[tuple[Place, Found]]:
    """Give the alerts in the order in which they are to be told: one that leads others before them."""
    found = [(look.place, found) for look in looks for found in look.judged]
    if merging is None:
        return iter(found)
    return (
        (place, each)
        for place, each in sorted(found, key=lambda pair: firing_order(pair[1]))
        if not merging.is_held(each)
    )


def _learned(found: Found, orphans: list[tuple[Place, Told]]) -> Told:
    """Note an alert that is found for the first time; where it takes the place of one that fell away, it is told as that."""
    told = Told(found.id, found.origin, found.first_at, found.fired_at, found.until, is_told=False)
    heir = next((pair for pair in orphans if _overlap(pair[1], found)), None)
    if heir is not None:
        orphans.remove(heir)
        told.told_as = heir[1].public_id
        _hand_over(heir[1], told)
        told.follow(found)
    return told


def _take_back(told: Told, orphans: list[tuple[Place, Told]]) -> None:
    """Let an alert that is found again stand for itself, where another was told as it meanwhile."""
    meanwhile = next((pair for pair in orphans if pair[1].public_id == told.public_id), None)
    if meanwhile is not None:
        orphans.remove(meanwhile)
        _hand_over(meanwhile[1], told)


def _hand_over(before: Told, told: Told) -> None:
    """Have one alert stand for what people know of another."""
    told.is_told, told.is_open, told.resolved_at = True, before.is_open, before.resolved_at
    told.keys = before.keys
    before.is_open = False


def _tell_with(told: Told, leader: Told, rule: Correlation) -> bool:
    """Have an alert told as another one, unless people know it already; say whether it joins what they know."""
    if told.is_told:
        return False
    told.told_as, told.is_told, told.keys = leader.public_id, leader.is_told, leader.keys
    told.is_open = told.is_told and rule.is_absence
    return told.is_told


def turned_by(place: Place, suspects: Iterable[str], current: set[str]) -> list[Told]:
    """Give the alerts that this fold is the first not to find, or to find again, oldest first."""
    known = [place.told[name] for name in suspects if name in place.told]
    turned = [told for told in known if told.is_current is not (told.id in current)]
    for told in turned:
        told.is_current = not told.is_current
    return sorted(turned, key=lambda each: (each.first_at, each.id))


def _tell(
    place: Place, told: Told, found: Found, may_open: Callable[[Found], bool], merging: Merging | None
) -> Iterator[Change]:
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
    if found.resolved_at is not None and told.is_open and (merging is None or merging.is_seen(found.resolved_at)):
        told.is_open, told.resolved_at, told.until = False, found.resolved_at, found.resolved_at
        if merging is None:
            yield Change(What.RESOLVE, rule, group, told, found, (), found.resolved_at)
            return
        yield Change(What.LEARN, rule, group, told, found)
        if (over := merging.over(told)) is not None:
            for member, each in over[1]:
                yield Change(What.RESOLVE, rule, member, each, None, (), over[0])


def _new_records(told: Told, found: Found) -> tuple[Record, ...]:
    """Give the records that an alert did not hold before, each once, and note that it holds them."""
    new: dict[str, Record] = {}
    for hit in found.hits[told.taken :]:
        for record in hit.records:
            if record.key not in told.keys:
                new[record.key] = record
    told.taken = len(found.hits)
    told.keys.update(new)
    return tuple(sorted(new.values(), key=lambda record: (record.occurred_at, record.key)))


def firing_order(found: Found) -> FiringOrder:
    """Give the order of firing: at one instant, what a record fired comes before what waited for that instant."""
    firing = found.firing
    if firing is not None and firing.at == found.fired_at:
        return found.fired_at, False, firing.key, found.id
    return found.fired_at, True, found.origin, found.id


def _overlap(told: Told, found: Found) -> bool:
    return found.first_at <= told.until and told.first_at <= found.until
