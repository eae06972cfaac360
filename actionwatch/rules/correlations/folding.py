"""Fold the groups of one rule that a batch touches: the next hits by the cached fold of a group, all others from the rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from operator import attrgetter

from actionwatch.base.clock import ALWAYS
from actionwatch.base.model import CorrelatedAlert, Group, Hit, HitOrder
from actionwatch.rules.correlations.context import RuleContext
from actionwatch.rules.correlations.evaluate import (
    AFTER_ALL,
    BEFORE_ALL,
    Evaluated,
    Span,
    begins_at,
    evaluate,
)
from actionwatch.rules.correlations.fold_cache import CachedFold, FoldCache
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.correlations.rows import Rows
from actionwatch.rules.correlations.sources import Verified
from actionwatch.rules.model import BASELINE, CorrelationType

_order, _place = attrgetter("order"), attrgetter("place")


@dataclass(slots=True)
class Touch:
    """The touched places of a group: the new hits, and the alerts that must be looked at again."""

    span: Span = field(default_factory=lambda: Span(AFTER_ALL, BEFORE_ALL))
    hits: list[Hit] = field(default_factory=list)
    due: list[CorrelatedAlert] = field(default_factory=list)
    is_changed: bool = False
    """Whether it is not known which hits are new."""

    @classmethod
    def of(cls, hits: Sequence[Hit]) -> Touch:
        """Return the touch of new hits in order."""
        return cls(Span(hits[0].order, hits[-1].order), list(hits))

    def look_again(self, known: CorrelatedAlert) -> None:
        """Note an alert that must be looked at again, with all of its hits."""
        self.due.append(known)
        self.span.include(known.place)

    def extends(self, cached: CachedFold) -> bool:
        """Return whether all hits follow those that a fold has taken, and it has what must be looked at again."""
        if self.is_changed or any(hit.order <= cached.newest for hit in self.hits):
            return False
        return all(known.id in cached.whole for known in self.due)


def too_early(context: RuleContext, hits: Iterable[Hit]) -> datetime | None:
    """Return the time of the oldest hit that may alert, and lies before the time from which on all hits are known."""
    complete = context.complete_from
    if complete is None:
        return None
    return min((hit.at for hit in hits if hit.at < complete and hit.may_alert(context.floor)), default=None)


@dataclass(slots=True)
class Folded:
    """The result of a fold. `known` are the group's alerts by id, `again` those whose hits were folded again."""

    group: Group
    touch: Touch
    result: Evaluated
    known: dict[str, CorrelatedAlert]
    again: Sequence[CorrelatedAlert]
    turned: list[CorrelatedAlert] = field(default_factory=list)
    judged: list[FoundAlert] = field(default_factory=list)

    @property
    def has_alerts(self) -> bool:
        """Whether there is anything to compare."""
        return bool(self.result.alerts or self.again)


class RuleFolding:
    """Folds groups of one rule, as of verified times."""

    def __init__(
        self,
        number: int,
        context: RuleContext,
        rows: Rows,
        cache: FoldCache,
        verified: Verified,
        *,
        is_caching: bool,
    ) -> None:
        self._number = number
        self._context = context
        self._rows = rows
        self._cache = cache
        self._verified = verified
        self._is_caching = is_caching

    def fold_all(self, touched: Mapping[Group, Touch]) -> list[Folded]:
        """Fold groups. What is asked of those that are not cached is read together."""
        cached = {group: self._cached(group, touch) for group, touch in touched.items()}
        firsts = {group: self._first(touched[group])[0] for group, its in cached.items() if its is None}
        if firsts:
            self._rows.alerts.prefetch(self._number, firsts)
            self._rows.hits.prefetch(self._number, firsts)
        return [self._fold(group, touch, cached[group]) for group, touch in touched.items()]

    def remember(self, folded: Folded) -> None:
        """Cache the fold if it has taken all hits. Drop what is reported: only rows need it."""
        result, known = folded.result, folded.known
        fold = result.fold
        # What waits in a fold can still become another alert, and needs its hits for that.
        reported = (known[found.id] for found in fold.found)
        fold.forget_hits({its.id for its in reported if _is_settled(its)}, self._cache.most_of_window)
        if result.stopped is not None or not self._is_caching:
            return
        while len(fold.found) > 1 and _is_settled(known[fold.found[0].id]):
            del fold.found[0]
        left = [*fold.found, *result.alerts[-1:]]
        whole = frozenset(found.id for found in left if not found.is_partial)
        by_id = {found.id: known[found.id] for found in left}
        self._cache.put(self._number, folded.group, CachedFold(fold, result.newest, by_id, whole))

    def _cached(self, group: Group, touch: Touch) -> CachedFold | None:
        """Return the cached fold of a group, if it can take what is new."""
        cached = self._cache.take_fold(self._number, group)
        return cached if cached is not None and touch.extends(cached) else None

    def _first(self, touch: Touch) -> HitOrder:
        """Return the place from which on a group is folded again: not before all hits are known."""
        first, complete = touch.span.first, self._context.complete_from
        return first if complete is None else max(first, (complete, -1, ""))

    def _fold(self, group: Group, touch: Touch, cached: CachedFold | None) -> Folded:
        if cached is not None:
            self._rows.alerts.put(self._number, cached.known.values())
        folded = self._fold_again(group, touch) if cached is None else _extended(cached, touch, group)
        while (first_at := self._lacking(folded)) is not None:
            touch.span.include((first_at, -1, ""))
            folded = self._fold_again(group, touch)
        return folded

    def _lacking(self, folded: Folded) -> datetime | None:
        """Return when an alert began that is new or may open now, and must have all of its hits for that."""
        context, group = self._context, folded.group
        for found in folded.result.alerts:
            if not found.is_partial:
                continue
            known = folded.known.get(found.id)
            if known is None:
                return found.first_at
            verified = self._verified.of(context.rule, group)
            if known.is_reported or not context.may_open(found, group, verified):
                continue
            if context.complete_from is None or known.first_at >= context.complete_from:
                return known.first_at
        return None

    def _fold_again(self, group: Group, touch: Touch) -> Folded:
        """Fold a group from the first place on that was touched, as far as anything changes."""
        rule, first = self._context.rule, self._first(touch)
        known = self._rows.alerts.since(self._number, group, first[0])
        for each in known if not rule.is_absence else ():
            each.until = min(each.until, each.fired_at + rule.realert)  # an older version may have joined for longer
        current = sorted((each for each in known if each.is_current), key=_place)
        before = self._before(group, first)
        earlier = [each for each in current if each.place < (first if before is None else before.order)]
        last = earlier[-1] if earlier and before is None else None  # what is remembered came after it
        hits = self._hits(group, last, before, first)
        span = Span(first, max(first, touch.span.last))
        result = evaluate(rule, self._context.new_fold(group), last, hits, span, current)
        stopped = result.stopped
        again = [each for each in current[len(earlier) :] if stopped is None or each.place < stopped]
        return Folded(group, touch, result, {each.id: each for each in known}, again)

    def _before(self, group: Group, first: HitOrder) -> Hit | None:
        """Return the newest hit before a place that is remembered, of a rule that remembers one."""
        rule = self._context.rule
        if rule.is_absence:
            return self._rows.hits.before(self._number, group, first)
        if rule.type is CorrelationType.NEW_TERM:
            since = first[0] - rule.reach if first[0] > ALWAYS + rule.reach else ALWAYS
            return self._rows.hits.before(self._number, group, first, BASELINE, since)
        return None

    def _hits(self, group: Group, last: CorrelatedAlert | None, before: Hit | None, first: HitOrder) -> Iterable[Hit]:
        """Return the hits that matter from a place on, with those before it."""
        begin = begins_at(self._context.rule, last, first)
        if begin is not None:
            return self._rows.hits.since(self._number, group, begin)
        later = self._rows.hits.since(self._number, group, first[0])
        return later if before is None else chain((before,), later)


def _extended(cached: CachedFold, touch: Touch, group: Group) -> Folded:
    """Push the next hits of a group into its fold."""
    newest = cached.newest
    for hit in sorted(touch.hits, key=_order):
        cached.fold.push(hit)
        newest = hit.order
    result = Evaluated(cached.fold.alerts(), cached.fold, newest)
    return Folded(group, touch, result, dict(cached.known), list(cached.known.values()))


def _is_settled(known: CorrelatedAlert) -> bool:
    return known.pending_at is None
