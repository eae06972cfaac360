"""The memory of correlations without a store: for tests of rules, backtests and explanations. See `Rows`."""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from operator import attrgetter

from actionwatch.base.clock import ALWAYS
from actionwatch.base.model import AlertChange, CorrelatedAlert, Group, Hit, HitOrder, KeptRecord, Record
from actionwatch.rules.correlations.evaluate import Span
from actionwatch.rules.correlations.feed import GroupedHits, is_backlog
from actionwatch.rules.correlations.sources import Verified
from actionwatch.rules.model import BASELINE, Correlation, CorrelationType

_FEW = 20_000  # hits that may stay although they do not matter
_order, _at = attrgetter("order"), attrgetter("at")


class MemoryHits:
    """See `HitRows`. Hits hold whole records."""

    def __init__(self, rules: Sequence[Correlation]) -> None:
        self._rules = rules
        self._groups: list[dict[Group, list[Hit]]] = [{} for _ in rules]
        self.count = 0

    def add(self, hits: GroupedHits) -> None:
        """Add hits, each once: a record that may alert replaces the same action that another source read as backlog."""
        for number, groups in hits.items():
            known = self._groups[number]
            for group, added in groups.items():
                self.count += len(added)
                its = known.setdefault(group, [])
                if not its or its[-1].order < added[0].order:
                    its += added
                else:
                    for hit in added:
                        _add(its, hit)

    def prefetch(self, number: int, firsts: Mapping[Group, datetime]) -> None:
        """Nothing to do."""

    def since(self, number: int, group: Group, at: datetime) -> Iterator[Hit]:
        """Yield the hits of a group from a time on, in order."""
        its = self._of(number, group)
        return iter(its[bisect.bisect_left(its, at, key=_at) :])

    def before(
        self, number: int, group: Group, order: HitOrder, step: int | None = None, since: datetime = ALWAYS
    ) -> Hit | None:
        """Return the newest hit of a group before a place, and not before a time, of one step or of any."""
        its = self._of(number, group)
        return newest(its[: bisect.bisect_left(its, order, key=_order)], step, since)

    def postpone(self, number: int, spans: Mapping[Group, Span]) -> None:
        """All rules are evaluated at once."""
        raise NotImplementedError

    def forget_before(self, at: datetime) -> None:
        """Forget what cannot matter to hits after a time, up to which all was judged that ever will be."""
        for rule, groups in zip(self._rules, self._groups, strict=True):
            for group, its in list(groups.items()):
                del its[: _count_over(rule, its, at)]
                if not its:
                    del groups[group]
        self.count = sum(len(its) for groups in self._groups for its in groups.values())

    def _of(self, number: int, group: Group) -> list[Hit]:
        return self._groups[number].get(group, [])


class MemoryAlerts:
    """See `AlertRows`."""

    def __init__(self, rules: Sequence[Correlation]) -> None:
        self._rules = rules
        self._groups: list[dict[Group, list[CorrelatedAlert]]] = [{} for _ in rules]
        self._alerts: dict[str, tuple[int, CorrelatedAlert]] = {}
        self._waiting: list[tuple[datetime, str]] = []

    def __iter__(self) -> Iterator[CorrelatedAlert]:
        return (known for _, known in self._alerts.values())

    def prefetch(self, number: int, firsts: Mapping[Group, datetime]) -> None:
        """Nothing to do."""

    def since(self, number: int, group: Group, at: datetime) -> Sequence[CorrelatedAlert]:
        """Return the alerts that fired in a group from a time on, and the last one before that is current."""
        its = self._groups[number].get(group, ())
        before = max((each.fired_at for each in its if each.is_current and each.fired_at < at), default=at)
        return [each for each in its if each.fired_at >= before]

    def by_id(self, ids: Collection[str]) -> Mapping[str, CorrelatedAlert]:
        """Return those of the alerts that there are, by id."""
        return {name: self._alerts[name][1] for name in ids if name in self._alerts}

    def due(self, verified: Verified) -> Sequence[tuple[int, CorrelatedAlert]]:
        """Return the alerts that must be looked at, now that time is verified, with the number of their rule, by time."""
        found: dict[str, tuple[int, CorrelatedAlert]] = {}
        later: list[tuple[datetime, str]] = []
        while self._waiting and verified.newest is not None and self._waiting[0][0] <= verified.newest:
            at, name = heapq.heappop(self._waiting)
            number, known = self._alerts.get(name, (0, None))
            if known is None or known.pending_at != at:
                continue  # it waits for another time
            time = verified.of(self._rules[number], known.group)
            if time is not None and at <= time:
                found[name] = number, known
            else:
                later.append((at, name))
        for each in later:
            heapq.heappush(self._waiting, each)
        return list(found.values())

    def put(self, number: int, alerts: Iterable[CorrelatedAlert]) -> None:
        """Remember alerts that are new, or that a cached fold has."""
        for each in alerts:
            if each.id not in self._alerts:
                self._alerts[each.id] = number, each
                self._groups[number].setdefault(each.group, []).append(each)

    def wait(self, known: CorrelatedAlert, at: datetime) -> None:
        """Note that an alert must be looked at again once a time is verified."""
        heapq.heappush(self._waiting, (at, known.id))

    def drop(self, ids: Collection[str]) -> None:
        """Forget alerts."""
        for name in ids:
            number, known = self._alerts.pop(name)
            self._groups[number][known.group].remove(known)

    def forget_before(self, at: datetime) -> None:
        """Forget what cannot matter to hits after a time, up to which all was judged that ever will be."""
        self.drop([name for name, (number, each) in self._alerts.items() if not self._is_needed(number, each, at)])
        for groups in self._groups:
            for group in [group for group, its in groups.items() if not its]:
                del groups[group]

    def _is_needed(self, number: int, known: CorrelatedAlert, at: datetime) -> bool:
        """Return whether a later hit can change an alert, or what it fires depends on it."""
        if not known.is_current:
            return False
        if known.is_open or known.pending_at is not None:
            return True
        rule = self._rules[number]
        if rule.is_absence and known.back_at is None:
            return True
        return known.until + rule.reach >= at


class MemoryRecords:
    """See `RecordRows`."""

    def __init__(self) -> None:
        self._holding: dict[str, set[str]] = {}

    def whole(self, kept: Sequence[KeptRecord]) -> Sequence[Record | None]:
        """Return the records: hits hold them."""
        return [each if isinstance(each, Record) else None for each in kept]

    def held(self, keys: Collection[str]) -> set[tuple[str, str]]:
        """Return which alerts hold any of these records, as (id of the alert, key of the record)."""
        return {(alert_id, key) for key in keys for alert_id in self._holding.get(key, ())}

    def hold(self, changes: Iterable[AlertChange]) -> None:
        """Note the records of changes, as they are reported."""
        for change in changes:
            for record in change.records:
                self._holding.setdefault(record.key, set()).add(change.known.alert_id)

    def keep(self, alert_ids: Collection[str]) -> None:
        """Forget the records of all other alerts."""
        self._holding = {key: still for key, ids in self._holding.items() if (still := ids.intersection(alert_ids))}


class MemoryRows:
    """See `Rows`."""

    def __init__(self, rules: Sequence[Correlation], records: MemoryRecords | None = None) -> None:
        self.hits = MemoryHits(rules)
        self.alerts = MemoryAlerts(rules)
        self.records = records or MemoryRecords()
        self._left_count = 0

    def forget_before(self, at: datetime) -> bool:
        """Forget what cannot matter to hits after a time, if that is much of what there is. Return whether it is."""
        if self.hits.count < 2 * self._left_count + _FEW:
            return False
        self.hits.forget_before(at)
        self.alerts.forget_before(at)
        self.records.keep({each.alert_id for each in self.alerts})
        self._left_count = self.hits.count
        return True


def newest(hits: Sequence[Hit], step: int | None, since: datetime) -> Hit | None:
    """Return the newest of some hits in order, if it is not before a time, of one step or of any."""
    found = next((hit for hit in reversed(hits) if step is None or hit.step == step), None)
    return found if found is not None and found.at >= since else None


def _add(hits: list[Hit], hit: Hit) -> None:
    place = bisect.bisect_left(hits, hit.order, key=_order)
    if not _is_at(hits, place, hit.order):
        hits.insert(place, hit)
    elif is_backlog(hits[place]) and not is_backlog(hit):
        hits[place] = hit


def _is_at(hits: Sequence[Hit], place: int, order: HitOrder) -> bool:
    return place < len(hits) and hits[place].order == order


def _count_over(rule: Correlation, hits: Sequence[Hit], at: datetime) -> int:
    """Count the hits that no later one is counted with. Of an absence and a new term, the newest is remembered."""
    count = bisect.bisect_left(hits, at - rule.reach, key=_at)
    if rule.is_absence:
        return min(count, max(len(hits) - 1, 0))
    if rule.type is CorrelationType.NEW_TERM:
        newest_of_step = next(
            (place for place in reversed(range(len(hits))) if hits[place].step == BASELINE), len(hits)
        )
        return max(count, newest_of_step) if newest_of_step < len(hits) and hits[newest_of_step].at < at else count
    return count
