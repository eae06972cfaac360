"""Evaluate the groups that a batch of hits touches, rule by rule: inner rules before those that count their alerts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter

from actionwatch.base.clock import ALWAYS
from actionwatch.base.model import CorrelatedAlert, Group, Hit, HitAbove, HitOrder, KeptRecord
from actionwatch.rules.correlations.changes import Evaluation, FoundChange, compare
from actionwatch.rules.correlations.context import RuleContext
from actionwatch.rules.correlations.evaluate import (
    AFTER_ALL,
    BEFORE_ALL,
    Evaluated,
    Span,
    begins_at,
    evaluate,
    is_unchanged,
)
from actionwatch.rules.correlations.feed import Feed, GroupHit
from actionwatch.rules.correlations.fold_cache import CachedFold, FoldCache
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.correlations.rows import Rows
from actionwatch.rules.correlations.sharing import Sharing
from actionwatch.rules.model import BASELINE, NEVER, Correlation, CorrelationType


@dataclass(slots=True)
class _Touch:
    """Where a group was touched: the new hits, and the alerts that must be looked at again."""

    span: Span = field(default_factory=lambda: Span(AFTER_ALL, BEFORE_ALL))
    hits: list[Hit] = field(default_factory=list)
    due: list[CorrelatedAlert] = field(default_factory=list)
    is_changed: bool = False
    """Whether hits were moved, removed or replaced, or it is not known which are new."""

    def add(self, hit: Hit) -> None:
        """Note a new hit."""
        self.hits.append(hit)
        self.span.include(hit.order)

    def look_again(self, known: CorrelatedAlert) -> None:
        """Note an alert that must be looked at again, with all of its hits."""
        self.due.append(known)
        self.span.include((known.first_at, -1, ""))
        self.span.include(known.place)

    def extends(self, cached: CachedFold) -> bool:
        """Return whether all hits follow those that a fold has taken, and it has what must be looked at again."""
        if self.is_changed or any(hit.order <= cached.newest for hit in self.hits):
            return False
        return all(known.id in cached.whole for known in self.due)


@dataclass(slots=True)
class _Folded:
    """What a fold found in a group. `known` are its alerts by id, `again` those whose hits were folded again."""

    group: Group
    touch: _Touch
    result: Evaluated
    known: dict[str, CorrelatedAlert]
    again: Sequence[CorrelatedAlert]
    turned: list[CorrelatedAlert] = field(default_factory=list)
    judged: list[FoundAlert] = field(default_factory=list)


class Batch:
    """One evaluation, as of a verified time. `later` are the rules that are not evaluated yet."""

    def __init__(
        self,
        contexts: Sequence[RuleContext],
        feed: Feed,
        cache: FoldCache,
        rows: Rows,
        verified: datetime | None,
        later: Collection[int],
    ) -> None:
        self.too_early: dict[int, datetime] = {}
        self._contexts = contexts
        self._numbers = {context.rule.name.id: number for number, context in enumerate(contexts)}
        self._feed = feed
        self._cache = cache
        self._rows = rows
        self._verified = verified
        self._later = later
        self._touched: list[dict[Group, _Touch]] = [{} for _ in contexts]

    def add(self, hits: Sequence[GroupHit]) -> None:
        """Add the hits of records."""
        self._rows.add(hits)
        for number, group, hit in hits:
            self._touch(number, group).add(hit)

    def touch(self, number: int, spans: Mapping[Group, Span]) -> None:
        """Note where groups of a rule were touched before."""
        for group, span in spans.items():
            self._touched[number][group] = _Touch(span, is_changed=True)

    def run(self) -> list[tuple[Correlation, FoundChange]]:
        """Evaluate what was touched, and what is due now that time is verified. Return what becomes of alerts."""
        for number, known in self._rows.due(self._verified) if self._verified is not None else ():
            if number not in self._later:
                self._touch(number, known.group).look_again(known)
        changes: list[tuple[Correlation, FoundChange]] = []
        for number, context in enumerate(self._contexts):
            touched = self._touched[number]
            if number in self._later:
                self._rows.postpone(number, {group: each.span for group, each in touched.items()})
            elif touched:
                changes += ((context.rule, each) for each in self._evaluate(number, context))
        return changes

    def _touch(self, number: int, group: Group) -> _Touch:
        touched = self._touched[number]
        found = touched.get(group)
        if found is None:
            found = touched[group] = _Touch()
        return found

    # -- one rule ------------------------------------------------------------------------------------------------------

    def _evaluate(self, number: int, context: RuleContext) -> Iterator[FoundChange]:
        """Evaluate the groups of a rule that were touched: each alone or, where they share alerts, those together."""
        rule, touched = context.rule, self._touched[number]
        for shown in dict.fromkeys(map(rule.merged, touched)) if rule.is_merging else ():
            for known in self._rows.held(number, shown):
                self._touch(number, known.group).look_again(known)
        cached = {group: its for group, touch in touched.items() if (its := self._cached(number, group, touch))}
        firsts = {group: _first(context, touch)[0] for group, touch in touched.items() if group not in cached}
        if firsts:
            self._rows.prefetch(number, firsts)
        folded = [self._fold(number, context, group, touch, cached.get(group)) for group, touch in touched.items()]
        self._note(number, context, folded)
        together: dict[Group, list[_Folded]] = {}
        for each in folded:
            together.setdefault(rule.merged(each.group) if rule.is_merging else each.group, []).append(each)
        for shown, some in together.items():
            shared = self._shared(number, rule, shown, some) if rule.is_merging else None
            evaluations = [self._evaluation(number, rule, each) for each in some]
            yield from compare(evaluations, lambda found: context.may_open(found, self._verified), shared)
            for each in some:
                for found in each.result.alerts:
                    known = each.known[found.id]
                    known.is_held = shared is not None and known.is_judged and shared.is_held(found)
                    known.pending_at = context.pending_at(found, self._verified)
                    if known.pending_at is not None:
                        self._rows.wait(known, known.pending_at)
        if context.is_inner:
            self._publish(rule, folded)
        for each in folded:
            self._remember(number, each)

    def _shared(self, number: int, rule: Correlation, shown: Group, folded: Iterable[_Folded]) -> Sharing | None:
        """Return who leads whom, where some alerts of groups that share one were evaluated."""
        changed = [known.fired_at for each in folded for known in each.known.values()]
        alerts = self._rows.sharing(number, shown, min(changed)) if changed else ()
        return Sharing(rule, alerts, self._verified)

    def _evaluation(self, number: int, rule: Correlation, folded: _Folded) -> Evaluation:
        last_at = None
        if rule.is_absence and any(not known.is_current for known in folded.turned):
            newest = self._rows.hit_before(number, folded.group, AFTER_ALL)
            touched = [hit.at for hit in (*folded.touch.hits, *([newest] if newest is not None else []))]
            touched += [at for at in (folded.touch.span.last[0],) if ALWAYS < at < NEVER and folded.touch.is_changed]
            last_at = max(touched, default=None)
        return Evaluation(rule, folded.group, folded.known, last_at, folded.judged, folded.turned)

    # -- one group -----------------------------------------------------------------------------------------------------

    def _cached(self, number: int, group: Group, touch: _Touch) -> CachedFold | None:
        """Return the cached fold of a group, if it can take what is new."""
        cached = self._cache.take(number, group)
        return cached if cached is not None and touch.extends(cached) else None

    def _fold(
        self, number: int, context: RuleContext, group: Group, touch: _Touch, cached: CachedFold | None
    ) -> _Folded:
        """Fold a group: the next hits by the cached fold, all others from the rows."""
        if context.complete_from is not None and touch.span.first[0] < context.complete_from:
            self.too_early[number] = min(touch.span.first[0], self.too_early.get(number, NEVER))
        if cached is not None:
            self._rows.put(number, cached.known.values())
            folded = _extended(cached, touch, group)
            lacking = self._lacking(context, folded)
            if lacking is None:
                return folded
            touch.span.include((lacking.first_at, -1, ""))
        while True:
            folded = self._fold_again(number, context, group, touch)
            lacking = self._lacking(context, folded)
            if lacking is None:
                return folded
            touch.span.include((lacking.first_at, -1, ""))

    def _lacking(self, context: RuleContext, folded: _Folded) -> CorrelatedAlert | None:
        """Return an alert that may open now, and must have all of its hits for that."""
        for found in folded.result.alerts:
            known = folded.known.get(found.id) if found.is_partial else None
            if known is None or known.is_reported or not context.may_open(found, self._verified):
                continue
            if context.complete_from is None or known.first_at >= context.complete_from:
                return known
        return None

    def _fold_again(self, number: int, context: RuleContext, group: Group, touch: _Touch) -> _Folded:
        """Fold a group from the first place on that was touched, as far as anything changes."""
        rule, rows, first = context.rule, self._rows, _first(context, touch)
        span = Span(first, max(first, touch.span.last))
        known = rows.alerts_from(number, group, first[0])
        for each in known if not rule.is_absence else ():
            each.until = min(each.until, each.fired_at + rule.realert)  # an older version may have joined for longer
        current = sorted((each for each in known if each.is_current), key=attrgetter("place"))
        before: Hit | None = None
        if rule.is_absence:
            before = rows.hit_before(number, group, first)
        elif rule.type is CorrelationType.NEW_TERM:
            before = rows.hit_before(number, group, first, BASELINE)
        if rule.is_absence and before is not None:
            last, again = None, [each for each in current if each.fired_at > before.at]
        else:
            earlier = [each for each in current if each.place < first]
            last = earlier[-1] if earlier else None
            again = current[len(earlier) - (rule.is_absence and bool(earlier)) :]
        result = evaluate(
            rule, context.begin, last, self._hits(number, rule, group, last, before, first), span, current
        )
        if result.stopped is not None:
            again = [each for each in again if not is_unchanged(rule, each, result.stopped)]
        by_id = {each.id: each for each in again}
        by_id |= {each.id: each for each in known if not each.is_current}
        if last is not None and not rule.is_absence:
            by_id[last.id] = last
            again = [last, *again]
        return _Folded(group, touch, result, by_id, again)

    def _hits(
        self,
        number: int,
        rule: Correlation,
        group: Group,
        last: CorrelatedAlert | None,
        before: Hit | None,
        first: HitOrder,
    ) -> Iterator[Hit]:
        """Yield the hits that matter from a place on, with those before it."""
        if first[0] == NEVER:
            return
        begin = begins_at(rule, last, first)
        if begin is not None:
            yield from self._rows.hits_from(number, group, begin)
            return
        if before is not None:
            yield before
        yield from (hit for hit in self._rows.hits_from(number, group, first[0]) if hit.order >= first)

    # -- its alerts ----------------------------------------------------------------------------------------------------

    def _note(self, number: int, context: RuleContext, folded: Sequence[_Folded]) -> None:
        """Note what was found in the alerts that are known, and which are no longer found."""
        rule = context.rule
        for each in folded:
            for found in each.result.alerts:
                found.id = found.id or rule.alert_id(each.group, found.origin)
                if context.is_waiting and not found.is_partial:
                    found.judged_at = found.fired_at  # no fold waits for longer
        unread = {found.id for each in folded for found in each.result.alerts if found.id not in each.known}
        stored, new = self._rows.alerts(unread) if unread else {}, list[CorrelatedAlert]()
        for each in folded:
            for found in each.result.alerts:
                known = each.known.get(found.id) or stored.get(found.id)
                if known is None:
                    known = _new_alert(rule, each.group, found)
                    new.append(known)
                each.known[found.id] = known
                _update(known, found, self._verified)
                if found.is_judged(self._verified):
                    each.judged.append(found)
        self._rows.put(number, new)
        for each in folded:
            self._turn(each)

    def _turn(self, folded: _Folded) -> None:
        """Note which alerts this fold is the first not to find, or to find again, oldest first."""
        current = {found.id for found in folded.result.alerts}
        gone = [each for each in folded.again if each.id not in current]
        back = [folded.known[name] for name in current if not folded.known[name].is_current]
        unnoted = [each for each in gone if not each.is_noted]
        for known in (*gone, *back):
            known.is_current = known.id in current
            known.pending_at, known.is_held = None, False
        self._rows.drop([each.id for each in unnoted])
        turned = [each for each in (*gone, *back) if each.is_noted]
        folded.turned = sorted(turned, key=attrgetter("first_at", "id"))
        self._withdraw(gone)

    def _remember(self, number: int, folded: _Folded) -> None:
        """Cache the fold if it has taken all hits. Drop what is reported: only rows need it."""
        result, known = folded.result, folded.known
        for (
            found
        ) in result.fold.found:  # what waits in a fold can still become another alert, and needs its hits for that
            its = known[found.id]
            if its.is_judged and not its.is_held and not found.is_partial:
                found.hits.clear()
                found.is_partial = True
        if result.stopped is not None:
            return
        fold = result.fold
        while len(fold.found) > 1 and _is_settled(known[fold.found[0].id]):
            del fold.found[0]
        left = [*fold.found, *result.alerts[-1:]]
        whole = frozenset(found.id for found in left if not found.is_partial)
        by_id = {found.id: known[found.id] for found in left}
        self._cache.put(number, folded.group, CachedFold(fold, result.newest, by_id, whole))

    # -- the rules above -----------------------------------------------------------------------------------------------

    def _publish(self, rule: Correlation, folded: Sequence[_Folded]) -> None:
        """Let the rules above count the judged alerts as they are now, and no others."""
        whole = [(each, found) for each in folded for found in each.result.alerts if not found.is_partial]
        newest = [_newest_record(found) for _, found in whole]
        records = dict(
            zip((ref.key for ref in newest if ref), self._rows.whole([ref for ref in newest if ref]), strict=True)
        )
        for (each, found), ref in zip(whole, newest, strict=True):
            known = each.known[found.id]
            hits: list[GroupHit] = []
            if known.is_judged and not found.is_quiet:
                hits = list(self._feed.inner_hits(rule, each.group, found, records[ref.key] if ref else None))
            self._replace_hits(known, hits)

    def _replace_hits(self, known: CorrelatedAlert, hits: Sequence[GroupHit]) -> None:
        """Replace the hits that an alert makes in the rules above."""
        above = {
            HitAbove(self._contexts[number].rule.name.id, group, hit.at, hit.step): (number, group, hit)
            for number, group, hit in hits
        }
        for old in known.above:
            if old not in above and old.rule_id in self._numbers:
                self._remove(self._numbers[old.rule_id], old, known.id)
        for place, (number, group, hit) in above.items():
            before = self._rows.hit_at(number, group, hit.order) if place in known.above else None
            if before is not None and _keys(before) == _keys(hit):
                continue
            self._rows.replace(number, group, hit)
            touch = self._touch(number, group)
            touch.add(hit)
            touch.is_changed = touch.is_changed or before is not None
        known.above = tuple(above)

    def _withdraw(self, gone: Iterable[CorrelatedAlert]) -> None:
        """Remove the hits of alerts that are no longer found."""
        for known in gone:
            self._replace_hits(known, ())

    def _remove(self, number: int, old: HitAbove, key: str) -> None:
        order = old.at, old.step, key
        self._rows.remove(number, old.group, order)
        touch = self._touch(number, old.group)
        touch.span.include(order)
        touch.is_changed = True


def _first(context: RuleContext, touch: _Touch) -> HitOrder:
    """Return the place from which on a group is folded again: not before all hits are known."""
    first = touch.span.first
    return first if context.complete_from is None else max(first, (context.complete_from, -1, ""))


def _extended(cached: CachedFold, touch: _Touch, group: Group) -> _Folded:
    """Push the next hits of a group into its fold."""
    newest = cached.newest
    for hit in sorted(touch.hits, key=attrgetter("order")):
        if hit.order > newest:  # two sources may have read one action
            cached.fold.push(hit)
            newest = hit.order
    result = Evaluated(cached.fold.alerts(), cached.fold, newest)
    return _Folded(group, touch, result, dict(cached.known), list(cached.known.values()))


def _new_alert(rule: Correlation, group: Group, found: FoundAlert) -> CorrelatedAlert:
    known = CorrelatedAlert(found.id, rule.name.id, group, found.origin, found.first_at, found.fired_at, found.until)
    known.is_judged = known.is_noted = False
    return known


def _update(known: CorrelatedAlert, found: FoundAlert, verified: datetime | None) -> None:
    """Note in an alert what a fold found. An end that was reported stays."""
    known.first_at, known.fired_at, known.back_at = found.first_at, found.fired_at, found.resolved_at
    if found.until != NEVER:
        known.until = found.until
    known.firing = found.firing.order if found.firing is not None else None
    known.has_waited, known.is_quiet = found.has_waited, found.is_quiet
    known.is_judged = found.is_judged(verified)


def _is_settled(known: CorrelatedAlert) -> bool:
    return known.is_judged and known.pending_at is None and not known.is_held


def _newest_record(found: FoundAlert) -> KeptRecord | None:
    return found.firing.records[-1] if found.firing is not None and found.firing.records else found.last_seen


def _keys(hit: Hit) -> list[str]:
    return [record.key for record in hit.records]
