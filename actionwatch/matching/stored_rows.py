"""The memory of correlations in the store: see `Rows`. Each transaction has its own."""

from __future__ import annotations

import functools
from base64 import urlsafe_b64encode
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import blake2b
from operator import attrgetter

import msgspec
from sqlalchemy import Connection

from actionwatch.base.clock import ALWAYS
from actionwatch.base.model import AFTER_ALL_STEPS, CorrelatedAlert, Group, Hit, HitOrder, KeptRecord, Record
from actionwatch.rules.correlations.evaluate import Span
from actionwatch.rules.correlations.feed import GroupedHits
from actionwatch.rules.correlations.memory_rows import newest
from actionwatch.rules.correlations.sources import Verified
from actionwatch.rules.model import BASELINE, NEVER, Correlation, CorrelationType
from actionwatch.store import correlations, hits, records


@dataclass(frozen=True, slots=True)
class StoredRules:
    """Rules that run, each with its number in the store."""

    rules: Sequence[Correlation]
    numbers: Sequence[int]
    places: Mapping[str, int]

    @classmethod
    def of(cls, rules: Sequence[Correlation], numbers: Sequence[int]) -> StoredRules:
        """Return the rules, with their places by id."""
        return cls(rules, numbers, {rule.name.id: place for place, rule in enumerate(rules)})

    def group_id(self, place: int, group: Group) -> str:
        """Return the id of a group of a rule."""
        return digest(self.rules[place].name.id, group)

    def due(self, connection: Connection, verified: Verified) -> Iterator[tuple[str, int]]:
        """Yield the ids of the alerts that must be looked at, now that time is verified, with the places of their rules."""
        if verified.newest is None:
            return
        for pending in correlations.read_pending(connection, verified.newest):
            place = self.places.get(pending.rule_id)
            time = None if place is None else verified.of(self.rules[place], pending.group)
            if place is not None and time is not None and pending.at <= time:
                yield pending.id, place


class StoredHits:
    """See `HitRows`."""

    def __init__(self, connection: Connection, rules: StoredRules) -> None:
        self._connection = connection
        self._rules = rules
        self._read_of: int | None = None  # the rule of which groups were read together
        self._read: dict[Group, tuple[datetime, list[Hit]]] = {}

    def add(self, added: GroupedHits) -> None:
        """Add hits, each once."""
        group_id, numbers = self._rules.group_id, self._rules.numbers
        hits.insert(
            self._connection,
            (
                (numbers[place], group_id(place, group), its)
                for place, some in added.items()
                for group, its in some.items()
            ),
        )

    def prefetch(self, number: int, firsts: Mapping[Group, datetime]) -> None:
        """Read together the hits that will be asked of groups."""
        rule = self._rules.rules[number]
        last, reach = None, rule.reach
        if rule.is_absence or rule.type is CorrelationType.NEW_TERM:
            last, reach = ((0, timedelta.max) if rule.is_absence else (BASELINE, reach)), timedelta(0)
        groups = {self._rules.group_id(number, group): (group, _before(at, reach)) for group, at in firsts.items()}
        begins = [(name, begin) for name, (group, begin) in groups.items() if firsts[group] < NEVER]
        read = hits.read_all_from(self._connection, self._rules.numbers[number], begins, last=last)
        self._read = {groups[name][0]: (groups[name][1], its) for name, its in read.items()}
        self._read_of = number

    def since(self, number: int, group: Group, at: datetime) -> Iterator[Hit]:
        """Yield the hits of a group from a time on, in order."""
        begin, its = self._known(number, group)
        if at >= begin:
            return iter(its[bisect_left(its, at, key=attrgetter("at")) :])
        return hits.read_from(self._connection, *self._key(number, group), at)

    def before(
        self, number: int, group: Group, order: HitOrder, step: int | None = None, since: datetime = ALWAYS
    ) -> Hit | None:
        """Return the newest hit of a group before a place, and not before a time, of one step or of any."""
        begin, its = self._known(number, group)
        if begin <= order[0] < NEVER:
            return newest(its[: bisect_left(its, order, key=attrgetter("order"))], step, since)
        return hits.read_before(self._connection, *self._key(number, group), order, step, since)

    def postpone(self, number: int, spans: Mapping[Group, Span]) -> None:
        """Remember in which groups hits were added, moved or removed, of a rule that is evaluated later."""
        touched = [(*self._key(number, group), group, span.first[0], span.last[0]) for group, span in spans.items()]
        hits.touch(self._connection, touched)

    def _known(self, number: int, group: Group) -> tuple[datetime, list[Hit]]:
        return self._read.get(group, (NEVER, [])) if number == self._read_of else (NEVER, [])

    def _key(self, number: int, group: Group) -> tuple[int, str]:
        return self._rules.numbers[number], self._rules.group_id(number, group)


class StoredAlerts:
    """See `AlertRows`. `flush` writes the alerts that have changed."""

    def __init__(self, connection: Connection, rules: StoredRules) -> None:
        self._connection = connection
        self._rules = rules
        self._known: dict[str, CorrelatedAlert] = {}
        self._read_of: int | None = None  # the rule of which groups were read together
        self._read: dict[Group, tuple[datetime, list[CorrelatedAlert]]] = {}

    def prefetch(self, number: int, firsts: Mapping[Group, datetime]) -> None:
        """Read together the alerts that will be asked of groups."""
        places = [(self._rules.group_id(number, group), at) for group, at in firsts.items()]
        self._read = {group: (at, []) for group, at in firsts.items()}
        for each in self._own(correlations.read_all_from(self._connection, places)):
            self._read[each.group][1].append(each)
        self._read_of = number

    def since(self, number: int, group: Group, at: datetime) -> Sequence[CorrelatedAlert]:
        """Return the alerts that fired in a group from a time on, and the last one before that is current."""
        begin, its = self._read.get(group, (NEVER, [])) if number == self._read_of else (NEVER, [])
        if at == begin:
            return its
        return self._own(correlations.read_from(self._connection, self._rules.group_id(number, group), at))

    def by_id(self, ids: Collection[str]) -> Mapping[str, CorrelatedAlert]:
        """Return those of the alerts that there are, by id."""
        self._own(correlations.read_all_of(self._connection, [name for name in ids if name not in self._known]))
        return {name: self._known[name] for name in ids if name in self._known}

    def due(self, verified: Verified) -> Sequence[tuple[int, CorrelatedAlert]]:
        """Return the alerts that must be looked at, now that time is verified, with the number of their rule, by time."""
        due = dict(self._rules.due(self._connection, verified))
        known = self.by_id(due)
        return [(place, known[name]) for name, place in due.items()]

    def put(self, _number: int, alerts: Iterable[CorrelatedAlert]) -> None:
        """Remember alerts that are new, or that a cached fold has."""
        self._known.update((each.id, each) for each in alerts)

    def wait(self, known: CorrelatedAlert, at: datetime) -> None:
        """Nothing to do: it is stored with the alert."""

    def drop(self, ids: Collection[str]) -> None:
        """Forget alerts that were never judged."""
        correlations.delete(self._connection, ids)
        for name in ids:
            self._known.pop(name, None)

    def flush(self) -> None:
        """Write the alerts that have changed."""
        changed = [each for each in self._known.values() if each.stored != each.values()]
        group_id, places = self._rules.group_id, self._rules.places
        correlations.write(self._connection, ((each, group_id(places[each.rule_id], each.group)) for each in changed))
        for each in changed:
            each.stored = each.values()

    def _own(self, read: Iterable[CorrelatedAlert]) -> list[CorrelatedAlert]:
        """Return the objects of alerts that were read: there is one of each."""
        return [self._known.setdefault(each.id, each) for each in read]


class StoredRecords:
    """See `RecordRows`. The records of the `batch` are not read again."""

    def __init__(self, connection: Connection, batch: Iterable[Record]) -> None:
        self._connection = connection
        self._batch = {record.id: record for record in batch}

    def whole(self, kept: Sequence[KeptRecord]) -> Sequence[Record | None]:
        """Return records, in the same order; None for those that are no longer stored."""
        unread = {each.id for each in kept if each.id not in self._batch}
        read = records.read_by_ids(self._connection, unread) if unread else {}
        return [self._batch.get(each.id) or read.get(each.id) for each in kept]

    def held(self, keys: Collection[str]) -> set[tuple[str, str]]:
        """Return which alerts hold any of these records, as (id of the alert, key of the record)."""
        return correlations.read_held_records(self._connection, keys)


class StoredRows:
    """See `Rows`: those of rules that run, in one transaction."""

    def __init__(self, connection: Connection, rules: StoredRules, batch: Iterable[Record] = ()) -> None:
        self.hits = StoredHits(connection, rules)
        self.alerts = StoredAlerts(connection, rules)
        self.records = StoredRecords(connection, batch)


def _before(at: datetime, span: timedelta) -> datetime:
    return at - span if at > ALWAYS + span else ALWAYS


@functools.lru_cache(maxsize=4_000)  # 400 bytes each; the groups of a batch come again, and a digest takes 1 µs
def digest(rule_id: str, values: Group) -> str:
    """Return the id of a group: a third of the length of most values."""
    text = msgspec.json.encode((rule_id, values))
    return urlsafe_b64encode(blake2b(text, digest_size=15).digest()).decode()


def span_of(first_at: datetime, last_at: datetime) -> Span:
    """Return the span of a group that was touched between two times."""
    return Span((first_at, -1, ""), (last_at, AFTER_ALL_STEPS, ""))
