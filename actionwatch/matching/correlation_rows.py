"""What correlations remember, in the store: see `Rows`. Each transaction has its own."""

from __future__ import annotations

import functools
from base64 import urlsafe_b64encode
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from operator import attrgetter

import msgspec
from sqlalchemy import Connection

from actionwatch.base.clock import ALWAYS
from actionwatch.base.model import AFTER_ALL_STEPS, CorrelatedAlert, Group, Hit, HitOrder, KeptRecord, Record
from actionwatch.rules.correlations.evaluate import Span
from actionwatch.rules.correlations.feed import GroupHit
from actionwatch.rules.model import BASELINE, NEVER, Correlation, CorrelationType
from actionwatch.store import correlations, hits, records


class StoredRows:
    """The rows of rules that run, in one transaction. `flush` writes the alerts that have changed."""

    def __init__(
        self, connection: Connection, rules: Sequence[Correlation], numbers: Sequence[int], batch: Iterable[Record] = ()
    ) -> None:
        """`numbers` are those of the rules in the store. The records of the `batch` are not read again."""
        self._connection = connection
        self._rules = rules
        self._numbers = numbers
        self._places = {rule.name.id: place for place, rule in enumerate(rules)}
        self._batch = {record.id: record for record in batch}
        self._known: dict[str, CorrelatedAlert] = {}
        self._read_of: int | None = None  # the rule of which groups were read together
        self._alerts_read: dict[Group, tuple[datetime, list[CorrelatedAlert]]] = {}
        self._hits_read: dict[Group, tuple[datetime, list[Hit]]] = {}
        self._shared: dict[tuple[int, Group], dict[str, CorrelatedAlert]] = {}

    # -- hits ----------------------------------------------------------------------------------------------------------

    def add(self, added: Iterable[GroupHit]) -> None:
        """Add hits, each once."""
        hits.insert(
            self._connection,
            [(self._numbers[number], self._group_id(number, group), hit) for number, group, hit in added],
        )

    def replace(self, number: int, group: Group, hit: Hit) -> None:
        """Add the hit of an inner alert, or replace it by one with other records."""
        hits.replace(self._connection, self._numbers[number], self._group_id(number, group), hit)

    def remove(self, number: int, group: Group, order: HitOrder) -> None:
        """Remove the hit of an inner alert."""
        hits.delete(self._connection, self._numbers[number], self._group_id(number, group), order)

    def prefetch(self, number: int, firsts: Mapping[Group, datetime]) -> None:
        """Read together what will be asked of groups: their alerts from these times on, and their hits."""
        rule = self._rules[number]
        ids = {self._group_id(number, group): group for group in firsts}
        places = [(group_id, firsts[group]) for group_id, group in ids.items()]
        self._alerts_read = {group: (firsts[group], []) for group in firsts}
        for each in self._own(correlations.read_all_from(self._connection, places)):
            self._alerts_read[each.group][1].append(each)
        last, reach = None, rule.reach
        if rule.is_absence or rule.type is CorrelationType.NEW_TERM:
            last, reach = ((0, timedelta.max) if rule.is_absence else (BASELINE, reach)), timedelta(0)
        begins = [(group_id, _before(at, reach)) for group_id, at in places if at < NEVER]
        read = hits.read_all_from(self._connection, self._numbers[number], begins, last=last)
        self._hits_read = {
            ids[group_id]: (_before(firsts[ids[group_id]], reach), its) for group_id, its in read.items()
        }
        self._read_of = number

    def hits_from(self, number: int, group: Group, at: datetime) -> Iterator[Hit]:
        """Yield the hits of a group from a time on, in order."""
        begin, its = self._hits_read.get(group, (NEVER, [])) if number == self._read_of else (NEVER, [])
        if at >= begin:
            return iter(its[bisect_left(its, at, key=attrgetter("at")) :])
        return hits.read_from(self._connection, self._numbers[number], self._group_id(number, group), at)

    def hit_at(self, number: int, group: Group, order: HitOrder) -> Hit | None:
        """Return the hit of a group at a place."""
        return hits.read_at(self._connection, self._numbers[number], self._group_id(number, group), order)

    def hit_before(
        self, number: int, group: Group, order: HitOrder, step: int | None = None, since: datetime = ALWAYS
    ) -> Hit | None:
        """Return the newest hit of a group before a place, and not before a time, of one step or of any."""
        begin, its = self._hits_read.get(group, (NEVER, [])) if number == self._read_of else (NEVER, [])
        if begin <= order[0] < NEVER:
            before = its[: bisect_left(its, order, key=attrgetter("order"))]
            found = next((hit for hit in reversed(before) if step is None or hit.step == step), None)
            return found if found is not None and found.at >= since else None
        place = self._numbers[number], self._group_id(number, group), order
        return hits.read_before(self._connection, *place, step, since)

    def postpone(self, number: int, spans: Mapping[Group, Span]) -> None:
        """Remember in which groups hits were added, moved or removed, of a rule that is evaluated later."""
        touched = [
            (self._numbers[number], self._group_id(number, group), group, span.first[0], span.last[0])
            for group, span in spans.items()
        ]
        if touched:
            hits.touch(self._connection, touched)

    # -- alerts --------------------------------------------------------------------------------------------------------

    def alerts_from(self, number: int, group: Group, at: datetime) -> Sequence[CorrelatedAlert]:
        """Return the alerts that fired in a group from a time on, and the last one before that is current."""
        begin, its = self._alerts_read.get(group, (NEVER, [])) if number == self._read_of else (NEVER, [])
        if at == begin:
            return its
        return self._own(correlations.read_from(self._connection, self._group_id(number, group), at))

    def alerts(self, ids: Collection[str]) -> Mapping[str, CorrelatedAlert]:
        """Return those of the alerts that there are, by id."""
        unread = [name for name in ids if name not in self._known]
        self._own(correlations.read_all_of(self._connection, unread))
        return {name: self._known[name] for name in ids if name in self._known}

    def sharing(self, number: int, shown: Group, at: datetime) -> Sequence[CorrelatedAlert]:
        """Return the current alerts of the groups that share one alert, from the leader of the last before a time on."""
        found = self._own(correlations.read_shared(self._connection, self._shared_id(number, shown), at))
        touched = self._shared.get((number, shown), {})
        return [each for each in {**{each.id: each for each in found}, **touched}.values() if each.is_current]

    def held(self, number: int, shown: Group) -> Sequence[CorrelatedAlert]:
        """Return the alerts of these groups that wait for one that fired before to be judged."""
        return self._own(correlations.read_held(self._connection, self._shared_id(number, shown)))

    def due(self, verified: datetime) -> Sequence[tuple[int, CorrelatedAlert]]:
        """Return the alerts that must be looked at, now that time is verified, with the number of their rule, by time."""
        found = self._own(correlations.read_pending(self._connection, verified))
        return [(self._places[each.rule_id], each) for each in found if each.rule_id in self._places]

    def put(self, number: int, alerts: Iterable[CorrelatedAlert]) -> None:
        """Remember new alerts, or those of a cached fold."""
        rule = self._rules[number]
        for each in alerts:
            self._known[each.id] = each
            if rule.is_merging:
                self._shared.setdefault((number, rule.merged(each.group)), {})[each.id] = each

    def adopt(self, alerts: Iterable[CorrelatedAlert]) -> None:
        """Remember alerts that are stored without their group."""
        self._known.update((each.id, each) for each in alerts)

    def wait(self, known: CorrelatedAlert, at: datetime) -> None:
        """Nothing to do: it is stored with the alert."""

    def drop(self, ids: Collection[str]) -> None:
        """Forget alerts that were never judged."""
        correlations.delete(self._connection, ids)
        for name in ids:
            self._known.pop(name, None)
            for together in self._shared.values():
                together.pop(name, None)

    def flush(self) -> None:
        """Write the alerts that have changed."""
        changed = [each for each in self._known.values() if each.stored != each.values()]
        correlations.write(self._connection, map(self._placed, changed))
        for each in changed:
            each.stored = each.values()

    # -- records -------------------------------------------------------------------------------------------------------

    def whole(self, kept: Sequence[KeptRecord]) -> Sequence[Record | None]:
        """Return records, in the same order; None for those that are no longer stored."""
        unread = {each.id for each in kept if each.id not in self._batch}
        read = records.read_by_ids(self._connection, unread) if unread else {}
        return [self._batch.get(each.id) or read.get(each.id) for each in kept]

    def held_records(self, keys: Collection[str]) -> set[tuple[str, str]]:
        """Return which alerts hold any of these records, as (id of the alert, key of the record)."""
        return correlations.read_held_records(self._connection, keys)

    def _own(self, read: Iterable[CorrelatedAlert]) -> list[CorrelatedAlert]:
        """Return the objects of alerts that were read: there is one of each."""
        return [self._known.setdefault(each.id, each) for each in read]

    def _placed(self, known: CorrelatedAlert) -> tuple[CorrelatedAlert, str, str | None]:
        number = self._places[known.rule_id]
        rule = self._rules[number]
        shared = self._shared_id(number, rule.merged(known.group)) if rule.is_merging else None
        return known, self._group_id(number, known.group), shared

    def _group_id(self, number: int, group: Group) -> str:
        return digest(self._rules[number].name.id, "group", group)

    def _shared_id(self, number: int, shown: Group) -> str:
        return digest(self._rules[number].name.id, "shared", shown)


def _before(at: datetime, span: timedelta) -> datetime:
    return at - span if at > ALWAYS + span else ALWAYS


@functools.lru_cache(maxsize=20_000)
def digest(rule_id: str, kind: str, values: Group) -> str:
    """Return the id of a group, or of the groups that share an alert: a third of the length of most values."""
    text = msgspec.json.encode((rule_id, kind, values))
    return urlsafe_b64encode(blake2b(text, digest_size=15).digest()).decode()


def span_of(first_at: datetime, last_at: datetime) -> Span:
    """Return the span of a group that was touched between two times."""
    return Span((first_at, -1, ""), (last_at, AFTER_ALL_STEPS, ""))
