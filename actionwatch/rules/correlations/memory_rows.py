"""What correlations remember, in memory: for tests of rules, backtests and explanations."""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter

from actionwatch.base.clock import ALWAYS
from actionwatch.base.model import AlertChange, CorrelatedAlert, Group, Hit, HitOrder, KeptRecord, Record
from actionwatch.rules.correlations.evaluate import Span
from actionwatch.rules.correlations.feed import GroupHit
from actionwatch.rules.model import BASELINE, NEVER, Correlation, CorrelationType

_FEW = 20_000  # hits that may stay although they do not matter
_order, _at = attrgetter("order"), attrgetter("at")


@dataclass(slots=True)
class _Group:
    """The hits of a group, in order, and its alerts."""

    hits: list[Hit] = field(default_factory=list)
    alerts: list[CorrelatedAlert] = field(default_factory=list)


class MemoryRows:
    """See `Rows`. Hits hold whole records."""

    def __init__(self, rules: Sequence[Correlation]) -> None:
        self._rules = rules
        self._groups: list[dict[Group, _Group]] = [{} for _ in rules]
        self._alerts: dict[str, tuple[int, CorrelatedAlert]] = {}
        self._shared: list[dict[Group, dict[str, CorrelatedAlert]]] = [{} for _ in rules]
        self._waiting: list[tuple[datetime, str]] = []
        self._holding: dict[str, set[str]] = {}
        self._hit_count = self._left_count = 0

    def add(self, hits: Iterable[GroupHit]) -> None:
        """Add hits, each once: a record that may alert replaces the same action that another source read as backlog."""
        for number, group, hit in hits:
            its = self._of(number, group).hits
            self._hit_count += 1
            if not its or its[-1].order < hit.order:
                its.append(hit)
                continue
            place = bisect.bisect_left(its, hit.order, key=_order)
            if its[place].order != hit.order:
                its.insert(place, hit)
            elif is_backlog(its[place]) and not is_backlog(hit):
                its[place] = hit

    def replace(self, number: int, group: Group, hit: Hit) -> None:
        """Add the hit of an inner alert, or replace it by one with other records."""
        its = self._of(number, group).hits
        place = bisect.bisect_left(its, hit.order, key=_order)
        its[place : place + (place < len(its) and its[place].order == hit.order)] = [hit]

    def remove(self, number: int, group: Group, order: HitOrder) -> None:
        """Remove the hit of an inner alert."""
        its = self._of(number, group).hits
        place = bisect.bisect_left(its, order, key=_order)
        if place < len(its) and its[place].order == order:
            del its[place]

    def prefetch(self, number: int, firsts: Mapping[Group, datetime]) -> None:
        """Nothing to do."""

    def hits_from(self, number: int, group: Group, at: datetime) -> Iterator[Hit]:
        """Yield the hits of a group from a time on, in order."""
        its = self._of(number, group).hits
        return iter(its[bisect.bisect_left(its, at, key=_at) :])

    def hit_at(self, number: int, group: Group, order: HitOrder) -> Hit | None:
        """Return the hit of a group at a place."""
        its = self._of(number, group).hits
        place = bisect.bisect_left(its, order, key=_order)
        return its[place] if place < len(its) and its[place].order == order else None

    def hit_before(
        self, number: int, group: Group, order: HitOrder, step: int | None = None, since: datetime = ALWAYS
    ) -> Hit | None:
        """Return the newest hit of a group before a place, and not before a time, of one step or of any."""
        its = self._of(number, group).hits
        place = bisect.bisect_left(its, order, key=_order)
        found = next((hit for hit in reversed(its[:place]) if step is None or hit.step == step), None)
        return found if found is not None and found.at >= since else None

    def alerts_from(self, number: int, group: Group, at: datetime) -> Sequence[CorrelatedAlert]:
        """Return the alerts that fired in a group from a time on, and the last one before that is current."""
        its = self._of(number, group).alerts
        before = max((each.fired_at for each in its if each.is_current and each.fired_at < at), default=at)
        return [each for each in its if each.fired_at >= before]

    def alerts(self, ids: Collection[str]) -> Mapping[str, CorrelatedAlert]:
        """Return those of the alerts that there are, by id."""
        return {name: self._alerts[name][1] for name in ids if name in self._alerts}

    def sharing(self, number: int, shown: Group, at: datetime) -> Sequence[CorrelatedAlert]:
        """Return the current alerts of the groups that share one alert, from the leader of the last before a time on."""
        its = {name: each for name, each in self._shared[number].get(shown, {}).items() if each.is_current}
        before = [each for each in its.values() if each.fired_at < at and each.leader is not None]
        last = max(before, key=attrgetter("fired_at"), default=None)
        begin = at if last is None else min(last.fired_at, its.get(last.leader or "", last).fired_at)
        return [each for each in its.values() if each.fired_at >= begin]

    def held(self, number: int, shown: Group) -> Sequence[CorrelatedAlert]:
        """Return the alerts of these groups that wait for one that fired before to be judged."""
        return [each for each in self._shared[number].get(shown, {}).values() if each.is_held]

    def due(self, verified: datetime) -> Sequence[tuple[int, CorrelatedAlert]]:
        """Return the alerts that must be looked at, now that time is verified, with the number of their rule, by time."""
        found: dict[str, tuple[int, CorrelatedAlert]] = {}
        while self._waiting and self._waiting[0][0] <= verified:
            _, name = heapq.heappop(self._waiting)
            if name in self._alerts and _is_due(self._alerts[name][1], verified):
                found[name] = self._alerts[name]
        return list(found.values())

    def put(self, number: int, alerts: Iterable[CorrelatedAlert]) -> None:
        """Remember new alerts."""
        rule = self._rules[number]
        for each in alerts:
            if each.id in self._alerts:
                continue
            self._alerts[each.id] = number, each
            self._of(number, each.group).alerts.append(each)
            if rule.is_merging:
                self._shared[number].setdefault(rule.merged(each.group), {})[each.id] = each

    def wait(self, known: CorrelatedAlert, at: datetime) -> None:
        """Note that an alert must be looked at again once a time is verified."""
        heapq.heappush(self._waiting, (at, known.id))

    def drop(self, ids: Collection[str]) -> None:
        """Forget alerts that were never judged."""
        for name in ids:
            number, known = self._alerts.pop(name)
            self._of(number, known.group).alerts.remove(known)
            if self._rules[number].is_merging:
                del self._shared[number][self._rules[number].merged(known.group)][name]

    def postpone(self, number: int, spans: Mapping[Group, Span]) -> None:
        """All rules are evaluated at once."""
        raise NotImplementedError

    def whole(self, kept: Sequence[KeptRecord]) -> Sequence[Record | None]:
        """Return the records: hits hold them."""
        return [each if isinstance(each, Record) else None for each in kept]

    def held_records(self, keys: Collection[str]) -> set[tuple[str, str]]:
        """Return which alerts hold any of these records, as (id of the alert, key of the record)."""
        return {(alert_id, key) for key in keys for alert_id in self._holding.get(key, ())}

    def all_alerts(self) -> Iterator[CorrelatedAlert]:
        """Yield all alerts."""
        return (known for _, known in self._alerts.values())

    def hold(self, changes: Iterable[AlertChange]) -> None:
        """Note the records of changes, as they are reported."""
        for change in changes:
            for record in change.records:
                self._holding.setdefault(record.key, set()).add(change.known.alert_id)

    def forget_before(self, at: datetime) -> None:
        """Forget what cannot matter to hits after a verified time, if that is much of what there is."""
        if self._hit_count < 2 * self._left_count + _FEW:
            return
        for number, rule in enumerate(self._rules):
            for group, its in list(self._groups[number].items()):
                del its.hits[: _count_over(rule, its.hits, at)]
                its.alerts = [each for each in its.alerts if self._is_needed(number, each, at)]
                if not its.hits and not its.alerts:
                    del self._groups[number][group]
        kept = {each.id for groups in self._groups for its in groups.values() for each in its.alerts}
        self._alerts = {name: each for name, each in self._alerts.items() if name in kept}
        self._shared = [
            {shown: left for shown, its in groups.items() if (left := {n: e for n, e in its.items() if n in kept})}
            for groups in self._shared
        ]
        reported = {each.alert_id for _, each in self._alerts.values()}
        self._holding = {key: still for key, ids in self._holding.items() if (still := ids & reported)}
        self._hit_count = self._left_count = sum(len(its.hits) for groups in self._groups for its in groups.values())

    def _is_needed(self, number: int, known: CorrelatedAlert, at: datetime) -> bool:
        """Return whether a later hit can change an alert, or what it fires depends on it."""
        if not known.is_current:
            return False
        if known.is_open or known.pending_at is not None or known.is_held:
            return True
        rule = self._rules[number]
        _, leader = self._alerts.get(known.leader or "", (number, known))
        end = (leader.back_at or NEVER) if rule.is_absence else leader.fired_at + rule.realert
        end = max(end, known.until)
        return end == NEVER or end + rule.reach >= at

    def _of(self, number: int, group: Group) -> _Group:
        groups = self._groups[number]
        found = groups.get(group)
        if found is None:
            found = groups[group] = _Group()
        return found


def is_backlog(hit: Hit) -> bool:
    """Return whether nothing in a hit may alert, because it was read as backlog."""
    return bool(hit.records) and all(record.is_backlog for record in hit.records)


def _count_over(rule: Correlation, hits: Sequence[Hit], at: datetime) -> int:
    """Count the hits that no later one is counted with. Of an absence and a new term, the newest is remembered."""
    count = bisect.bisect_left(hits, at - rule.reach, key=_at)
    if rule.is_absence:
        return min(count, max(len(hits) - 1, 0))
    if rule.type is CorrelationType.NEW_TERM:
        newest = next((place for place in reversed(range(len(hits))) if hits[place].step == BASELINE), len(hits))
        return max(count, newest) if newest < len(hits) and hits[newest].at < at else count
    return count


def _is_due(known: CorrelatedAlert, verified: datetime) -> bool:
    return known.pending_at is not None and known.pending_at <= verified
