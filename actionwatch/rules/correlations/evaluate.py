"""Fold the hits of one group from a place on: what its alerts are now. Pure.

The state of a group at a time is a function of its last alert that fired before, and of its hits within one reach before (for
an absence and a new term: of one hit before). So a fold begins there, wherever a hit was added, moved or removed, and it ends
where the state is again what it was.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from actionwatch.base.clock import ALWAYS
from actionwatch.base.model import AFTER_ALL_STEPS, CorrelatedAlert, Hit, HitOrder
from actionwatch.rules.correlations.folds.fold import Fold
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.correlations.folds.hit_window import HitWindow
from actionwatch.rules.model import BASELINE, NEVER, TEMPORAL_TYPES, Correlation, CorrelationType

BEFORE_ALL: HitOrder = (ALWAYS, -1, "")
AFTER_ALL: HitOrder = (NEVER, AFTER_ALL_STEPS, "")


@dataclass(slots=True)
class Span:
    """The first and the last place in a group at which a hit was added, moved or removed."""

    first: HitOrder
    last: HitOrder

    def include(self, first: HitOrder, last: HitOrder | None = None) -> None:
        """Include a place, or all from one to another one."""
        self.first, self.last = min(self.first, first), max(self.last, last or first)


@dataclass(slots=True)
class Evaluated:
    """The alerts of a group, from the one that the fold continued from on; those from `stopped` on are as they were.

    `newest` is the place of the last hit that `fold` took; the fold can take later ones.
    """

    alerts: list[FoundAlert]
    fold: Fold
    newest: HitOrder
    stopped: HitOrder | None = None


def begins_at(rule: Correlation, last: CorrelatedAlert | None, first_new: HitOrder) -> datetime | None:
    """Return the time from which on hits before a place matter; None if only one does: see `is_remembered`."""
    if rule.is_absence or rule.type is CorrelationType.NEW_TERM:
        return None
    if first_new[0] == NEVER:
        return NEVER
    begin = first_new[0] - rule.reach
    if last is None or rule.type in TEMPORAL_TYPES or rule.type is CorrelationType.SPIKE:
        return begin
    return max(begin, min(last.until, first_new[0]))  # what an alert holds counts for no other


def evaluate(
    rule: Correlation,
    fold: Fold,
    last: CorrelatedAlert | None,
    hits: Iterable[Hit],
    span: Span,
    known: Sequence[CorrelatedAlert],
) -> Evaluated:
    """Fold the hits of a group again where they have changed. `fold` is empty.

    `last` is the alert that fired before the span, `hits` are those that matter before it (see `begins_at`) and all later ones,
    in order; `known` are the alerts of the group as they were, in order.
    """
    if last is not None:
        fold.restore(_continued(last))
    result = _push_all(rule, fold, hits, span, known)
    if last is not None:
        first = result.alerts[0]
        first.hits = HitWindow(hit for hit in first.hits if hit.order >= span.first)  # it was given older ones too
    return result


def _push_all(
    rule: Correlation, fold: Fold, hits: Iterable[Hit], span: Span, known: Sequence[CorrelatedAlert]
) -> Evaluated:
    # What waited when the span begins was completed up to a timespan before it.
    loud_from = (span.first[0] - rule.timespan, -1, "") if rule.type in TEMPORAL_TYPES else span.first
    settled_after = _settled_after(rule, span.last[0])
    newest, before = (span.first[0], -1, ""), None
    for hit in hits:
        if hit.at > settled_after:
            stopped = _stop(rule, fold, hit, before, span, known)
            if stopped is not None:
                return stopped
        fold.push(hit, is_quiet=hit.order < loud_from)
        before = hit
    return Evaluated(fold.alerts(), fold, newest if before is None else max(newest, before.order))


def _settled_after(rule: Correlation, at: datetime) -> datetime:
    """Return the time after which the state no longer depends on hits up to a time."""
    if rule.is_absence or rule.type is CorrelationType.NEW_TERM:
        return at
    return at + rule.reach if at < NEVER - rule.reach else NEVER


def _stop(
    rule: Correlation, fold: Fold, hit: Hit, before: Hit | None, span: Span, known: Sequence[CorrelatedAlert]
) -> Evaluated | None:
    """Return the result if the state before a hit is what it was, so that all alerts from there on are as they were."""
    if rule.is_absence or rule.type is CorrelationType.NEW_TERM:
        if before is None or before.order <= span.last or (not rule.is_absence and before.step != BASELINE):
            return None
        return Evaluated(fold.found[:], fold, before.order, before.order)
    order = hit.order
    found = [each for each in fold.alerts() if each.place < order]
    place = bisect_left(known, order, key=lambda each: each.place)
    newest, was = found[-1] if found else None, known[place - 1] if place else None
    over = hit.at - rule.reach  # an alert that was over then no longer matters
    are_over = (newest is None or newest.until < over) and (was is None or was.until < over)
    if are_over or (newest is not None and was is not None and hit.at > newest.until and _is_same(newest, was)):
        return Evaluated(found, fold, order, order)
    return None


def _is_same(found: FoundAlert, known: CorrelatedAlert) -> bool:
    return (found.origin, found.first_at, found.place, found.until) == (
        known.origin,
        known.first_at,
        known.place,
        known.until,
    )


def _continued(known: CorrelatedAlert) -> FoundAlert:
    """Return a known alert for a fold that continues from it."""
    firing = Hit(*known.firing, ()) if known.firing is not None else None
    return FoundAlert(
        known.origin,
        known.first_at,
        known.fired_at,
        known.until,
        HitWindow(),
        known.pending_at,
        firing=firing,
        has_waited=known.has_waited,
        is_quiet=known.is_quiet,
        is_partial=True,
        id=known.id,
    )
