"""Evaluate the groups that a batch of hits touches, rule by rule."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from operator import attrgetter

from actionwatch.base.model import CorrelatedAlert, Group
from actionwatch.rules.correlations.changes import Evaluation, FoundChange, compare
from actionwatch.rules.correlations.context import RuleContext
from actionwatch.rules.correlations.evaluate import AFTER_ALL, Span
from actionwatch.rules.correlations.feed import GroupedHits
from actionwatch.rules.correlations.fold_cache import FoldCache
from actionwatch.rules.correlations.folding import Folded, RuleFolding, Touch, too_early
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.correlations.rows import Rows
from actionwatch.rules.correlations.sources import Verified
from actionwatch.rules.model import NEVER, Correlation


class Batch:
    """One evaluation, as of verified times. `later` are the rules that are not evaluated yet.

    `too_early` has, by the number of a rule, the time of its oldest hit for which it must read older records.
    """

    def __init__(
        self,
        contexts: Sequence[RuleContext],
        cache: FoldCache,
        rows: Rows,
        verified: Verified,
        later: Collection[int],
    ) -> None:
        self.too_early: dict[int, datetime] = {}
        self._contexts = contexts
        self._cache = cache
        self._rows = rows
        self._verified = verified
        self._later = later
        self._is_new = False
        self._touched: list[dict[Group, Touch]] = [{} for _ in contexts]

    def add(self, hits: GroupedHits) -> None:
        """Add the hits of records, before anything else is noted."""
        self._is_new = True
        self._rows.hits.add(hits)
        for number, groups in hits.items():
            self._touched[number] = {group: Touch.of(its) for group, its in groups.items()}

    def touch(self, number: int, spans: Mapping[Group, Span]) -> None:
        """Note where groups of a rule were touched before."""
        for group, span in spans.items():
            touch = self._touch(number, group)
            touch.span.include(span.first, span.last)
            touch.is_changed = True

    def look_at_due(self) -> None:
        """Note what must be looked at now that time is verified."""
        for number, known in self._rows.alerts.due(self._verified):
            if number not in self._later:
                self._touch(number, known.group).look_again(known)

    def run(self) -> list[tuple[Correlation, FoundChange]]:
        """Evaluate what was touched. Return what becomes of alerts."""
        changes: list[tuple[Correlation, FoundChange]] = []
        for number, context in enumerate(self._contexts):
            touched = self._touched[number]
            if not touched:
                continue
            at = too_early(context, (hit for each in touched.values() for hit in each.hits))
            if at is not None:
                self.too_early[number] = at
            if number in self._later:
                self._cache.drop(number, touched)
                self._rows.hits.postpone(number, {group: each.span for group, each in touched.items()})
            else:
                changes += ((context.rule, each) for each in self._evaluate(number, context))
        return changes

    def _touch(self, number: int, group: Group) -> Touch:
        touched = self._touched[number]
        found = touched.get(group)
        if found is None:
            found = touched[group] = Touch()
        return found

    def _evaluate(self, number: int, context: RuleContext) -> Iterator[FoundChange]:
        """Evaluate the groups of a rule that were touched, each alone."""
        # Groups that were touched long ago are used less than those of new records.
        folding = RuleFolding(number, context, self._rows, self._cache, self._verified, is_caching=self._is_new)
        folded = folding.fold_all(self._touched[number])
        with_alerts = [each for each in folded if each.has_alerts]
        if with_alerts:
            self._note(number, context, with_alerts)
            yield from self._compare(number, context, with_alerts)
        for each in folded:
            folding.remember(each)

    def _compare(self, number: int, context: RuleContext, folded: Iterable[Folded]) -> Iterator[FoundChange]:
        """Compare what was found with what people know. Note what must be looked at later."""
        rule = context.rule
        for each in folded:
            yield from compare(self._evaluation(number, rule, each), partial(self._may_open, context))
            verified = self._verified.of(rule, each.group)
            for found in each.result.alerts:
                known = each.known[found.id]
                known.pending_at = context.pending_at(found, each.group, verified)
                if known.pending_at is not None:
                    self._rows.alerts.wait(known, known.pending_at)

    def _may_open(self, context: RuleContext, found: FoundAlert, group: Group) -> bool:
        return context.may_open(found, group, self._verified.of(context.rule, group))

    def _evaluation(self, number: int, rule: Correlation, folded: Folded) -> Evaluation:
        last_at = None
        if rule.is_absence and any(not known.is_current for known in folded.turned):
            newest = self._rows.hits.before(number, folded.group, AFTER_ALL)
            last_at = newest.at if newest is not None else None
        return Evaluation(rule, folded.group, folded.known, last_at, folded.judged, folded.turned)

    def _note(self, number: int, context: RuleContext, folded: Sequence[Folded]) -> None:
        """Note what was found in the alerts that are known, and which are no longer found."""
        rule = context.rule
        for each in folded:
            for found in each.result.alerts:
                found.id = found.id or rule.alert_id(each.group, found.origin)
        unread = {found.id for each in folded for found in each.result.alerts if found.id not in each.known}
        stored = self._rows.alerts.by_id(unread) if unread else {}
        for each in folded:
            verified = self._verified.of(rule, each.group)
            for found in each.result.alerts:
                known = each.known.get(found.id) or stored.get(found.id) or _new_alert(rule, each.group, found)
                each.known[found.id] = known
                _update(known, found, verified)
                if found.is_judged(verified):
                    each.judged.append(found)
            self._rows.alerts.put(number, (each.known[found.id] for found in each.result.alerts))
            self._turn(each)

    def _turn(self, folded: Folded) -> None:
        """Note which alerts this fold is the first not to find, or to find again, oldest first."""
        current = {found.id for found in folded.result.alerts}
        gone = [each for each in folded.again if each.id not in current]
        back = [folded.known[name] for name in current if not folded.known[name].is_current]
        for known in (*gone, *back):
            known.is_current = known.id in current
            known.pending_at = None
        turned = [each for each in (*gone, *back) if each.is_noted]
        folded.turned = sorted(turned, key=attrgetter("first_at", "id"))
        self._rows.alerts.drop([each.id for each in gone if not each.is_noted])


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
