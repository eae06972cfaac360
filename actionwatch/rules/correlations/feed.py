"""Turn records into hits: which steps of which correlations a record meets, in which group, and with what value."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from sys import intern
from typing import Any

from actionwatch.base.cache_keys import is_short
from actionwatch.base.model import Group, Hit, KeptRecord, Record, RecordRef
from actionwatch.base.unicode import canonical
from actionwatch.rules.conditions import UNEXPECTED
from actionwatch.rules.engine import Engine, Failures, RuleFailure
from actionwatch.rules.fields import ENTITIES, Candidates, Reader, Subject, field_named, spell
from actionwatch.rules.model import BASELINE, Correlation, CorrelationType, Rule, Step

MAX_REMEMBERED = 5_000  # combinations of values whose groups are cached, for each way to group: about 1 MB
_order = attrgetter("order")


GroupHit = tuple[int, Group, Hit]
"""A hit, with the number of its rule among those that run, and its group."""

GroupedHits = Mapping[int, Mapping[Group, Sequence[Hit]]]
"""Hits by the number of their rule and by their group: those of a group in order, each once."""


def keep_reference(record: Record) -> KeptRecord:
    """Return what a hit keeps of a record that can be read from a store again."""
    return RecordRef(record.key, record.id, record.occurred_at, record.is_backlog)


class Feed:
    """The rules that feed correlations, and where their matches go."""

    def __init__(
        self,
        rules: Sequence[Rule],
        correlations: Sequence[Correlation],
        keep: Callable[[Record], KeptRecord] = lambda record: record,
        numbers: Collection[int] | None = None,
    ) -> None:
        """`rules` are all rules there are; each correlation brings its own parts. `keep`: what hits keep of a record.

        `numbers`: feed only these of the correlations (None: all).
        """
        self._keep = keep
        self._slots: dict[str, list[_Slot]] = {}
        shared: dict[object, _FieldValues] = {}
        fed = [each for each in enumerate(correlations) if numbers is None or each[0] in numbers]
        for number, correlation in fed:
            for place, step in enumerate(correlation.steps):
                self._slots.setdefault(step.rule_id, []).append(_Slot(number, place, correlation, step, shared))
        known = {rule.name.id: rule for rule in rules if rule.correlation is None}
        known |= {part.name.id: part for _, correlation in fed for part in correlation.parts}
        self._engine = Engine([known[name] for name in self._slots if name in known], is_feeding=True)
        self._grouped: dict[int, _Grouped] = {}
        self._failures = Failures()

    def hits(self, records: Iterable[Record]) -> GroupedHits:
        """Return the hits of records."""
        cache = self._grouped  # what each mask of rules feeds
        found: dict[int, dict[Group, list[Hit]]] = {}
        for subject, mask in self._engine.meet(records):
            grouped = cache.get(mask)
            if grouped is None:
                if len(cache) >= MAX_REMEMBERED:
                    cache.clear()
                fed = itertools.chain.from_iterable(self._slots[rule.name.id] for rule in self._engine.rules_of(mask))
                grouped = cache[mask] = _by_grouping(fed)
            if grouped:
                record = subject.record
                match = _Match(subject, (self._keep(record),), {})
                for number, group, hit in self._hits_of(match, grouped):
                    found.setdefault(number, {}).setdefault(group, []).append(hit)
        return {number: {group: in_order(hits) for group, hits in groups.items()} for number, groups in found.items()}

    def take_failures(self) -> list[RuleFailure]:
        """Return what went wrong with rules since the last call."""
        return [*self._engine.take_failures(), *self._failures.take_all()]

    def _hits_of(self, match: _Match, grouped: _Grouped) -> Iterator[GroupHit]:
        """Yield the hits of a match: none if there is nothing to count, several where it is expected by several names.

        A rule that fails does not count the match, and stops no other rule.
        """
        for grouping, slots in grouped.items():
            try:
                groups: Sequence[Group] = grouping.of(match)
            except UNEXPECTED as exc:
                self._fail(match, slots, exc)
                continue
            for slot in slots if groups else ():
                try:
                    hit = slot.hit(match)
                except UNEXPECTED as exc:
                    self._fail(match, (slot,), exc)
                    continue
                if hit is not None:
                    for group in groups:
                        yield slot.number, group, hit

    def _fail(self, match: _Match, slots: Iterable[_Slot], exc: Exception) -> None:
        for slot in slots:
            self._failures.add(RuleFailure(slot.rule_name, match.subject.record.key, f"{type(exc).__name__}: {exc}"))


@dataclass(slots=True)
class _Match:
    """A record, what hits keep of it, and what slots made of it before.

    Most rules group by the same fields and count no value: they share the groups and the hit.
    """

    subject: Subject
    records: tuple[KeptRecord, ...]
    hits: dict[int, Hit]

    def hit(self, step: int, value: object = None) -> Hit:
        record = self.subject.record
        return Hit(record.occurred_at, step, record.key, self.records, value)


@dataclass(frozen=True, slots=True)
class _FieldReader:
    """The reader of a field in the records of one step. `slot`: the attribute that determines it, if its values repeat.

    `attribute`: the path to this value in a record, if it is always the same one.
    """

    name: str
    read: Reader
    slot: str | None
    attribute: str | None

    def values(self, subject: Subject) -> Iterator[str | None]:
        """Yield canonical values: an id before a name."""
        yield from map(canonical, map(spell, self.read(subject)))

    def value(self, subject: Subject) -> str | None:
        """Return the first value, None if there is none."""
        candidates: Candidates = self.read(subject)
        return canonical(spell(candidates[0])) if candidates else None


class _FieldValues:
    """The result for the values of some fields, computed once for all records in which they are the same and short."""

    def __init__(self, fields: Sequence[_FieldReader], make: Callable[[_Match], Any]) -> None:
        slots = [each.slot for each in fields if each.slot is not None]
        self._make = make
        self._key = _key_of(slots) if len(slots) == len(fields) else None
        self._known: dict[Hashable, Any] = {}

    def of(self, match: _Match) -> Any:
        if self._key is None:
            return self._make(match)
        key = self._key(match.subject.record)
        try:
            return self._known[key]
        except KeyError:
            made = self._make(match)
            if is_short(key):
                if len(self._known) >= MAX_REMEMBERED:
                    self._known.clear()
                self._known[key] = made
            return made


def _key_of(slots: Sequence[str]) -> Callable[[Record], Hashable]:
    """Return what reads the values of these attributes; without any, all records are alike."""
    return attrgetter(*slots) if slots else lambda _: None


class _Slot:
    """One step of one correlation."""

    def __init__(
        self, number: int, place: int, rule: Correlation, step: Step, shared: dict[object, _FieldValues]
    ) -> None:
        """`shared` are the ways to find groups and values: most rules share them with others."""
        self.number = number
        self.rule_name = rule.name
        self._place, self._rule = place, rule
        is_baseline = rule.type is CorrelationType.NEW_TERM and place == BASELINE
        self._when = None if is_baseline else rule.when
        self._has_value = rule.type is CorrelationType.VALUE_COUNT
        self._expected = None if rule.expected is None else frozenset(rule.expected)
        self._group = [_field_reader(step, name, by_name=rule.is_absence) for name in rule.group_fields]
        self._terms = [rule.group_fields.index(name) for name in rule.fields]
        self._values = [_field_reader(step, name) for name in rule.value_fields]
        grouped = _words(step, rule.group_fields), tuple(self._terms), self._expected, rule.is_absence
        self.grouping = shared.setdefault(grouped, _FieldValues(self._group, self._groups_of))
        self._value = shared.setdefault(_words(step, rule.value_fields), _FieldValues(self._values, self._value_of))

    def hit(self, match: _Match) -> Hit | None:
        """Return the hit of a match; None if there is nothing to count."""
        if self._when is not None and not self._when.holds(match.subject.record.occurred_at):
            return None
        if self._has_value:
            value = self._value.of(match)
            return None if value is None else match.hit(self._place, value)
        made = match.hits.get(self._place)
        if made is None:
            made = match.hits[self._place] = match.hit(self._place)
        return made

    def _groups_of(self, match: _Match) -> Sequence[Group]:
        if self._expected is not None:  # by id or by name
            choices = itertools.product(*(reading.values(match.subject) for reading in self._group))
            return [group for group in choices if group in self._expected]
        group = tuple(reading.value(match.subject) for reading in self._group)
        return () if any(group[place] is None for place in self._terms) else (group,)

    def _value_of(self, match: _Match) -> object:
        values = [reading.value(match.subject) for reading in self._values]
        # One text of each value, however many hits have it: without the records, each hit would hold its own.
        return None if None in values else tuple(intern(value) for value in values if value is not None)


def in_order(hits: Sequence[Hit]) -> Sequence[Hit]:
    """Return the hits of a group in order, each once: of an action that two sources read, the record that may alert."""
    if len(hits) < 2:
        return hits
    found: list[Hit] = []
    for hit in sorted(hits, key=_order):
        if not found or found[-1].order != hit.order:
            found.append(hit)
        elif is_backlog(found[-1]):
            found[-1] = hit
    return found


def is_backlog(hit: Hit) -> bool:
    """Return whether nothing in a hit may alert, because it was read as backlog."""
    return bool(hit.records) and all(record.is_backlog for record in hit.records)


_Grouped = dict[_FieldValues, list[_Slot]]
"""Slots by their way to find groups."""


def _by_grouping(slots: Iterable[_Slot]) -> _Grouped:
    found: _Grouped = {}
    for slot in slots:
        found.setdefault(slot.grouping, []).append(slot)
    return found


def _words(step: Step, names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, step.aliases.get(name, name)) for name in names)


def _field_reader(step: Step, name: str, *, by_name: bool = False) -> _FieldReader:
    """Return how a field or an alias is read; with `by_name`, the id of an entity includes its name."""
    word = step.aliases.get(name, name)
    entity = "cluster" if word == "clusterId" else word.partition(".")[0]
    field = field_named(entity if by_name and entity in ENTITIES else word)
    if field is None:
        raise LookupError(f"unknown field '{word}'")  # the loader refuses it
    return _FieldReader(name, field.read, field.slot, field.attribute)
