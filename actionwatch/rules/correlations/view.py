"""Show what a correlation made of a record: what its groups counted before it, and the resulting alert. For explanations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import takewhile
from operator import attrgetter

from msgspec import structs

from actionwatch.base.clock import ALWAYS
from actionwatch.base.model import Group, Hit, Record
from actionwatch.rules.correlations.context import RuleContext, StreamBounds, contexts_of
from actionwatch.rules.correlations.evaluate import AFTER_ALL, Span, evaluate
from actionwatch.rules.correlations.feed import Feed, keep_reference
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.correlations.rows import Rows
from actionwatch.rules.model import Correlation, CorrelationType, Rule

MOST_SHOWN = 10  # hits of a window: the newest
_SPANS = 2  # times what a rule needs


@dataclass(frozen=True, slots=True)
class View:
    """One group that counts a record: the hits `counted` before it, its `own` hits, and the alert that holds them, if any."""

    group: Group
    counted: tuple[Hit, ...]
    own: tuple[Hit, ...]
    found: FoundAlert | None
    is_opened: bool


def lookback_of(rule: Correlation) -> timedelta:
    """Return how far back the hits for `views_of` must reach: the second span completes the alert that holds the record."""
    return (rule.reach + rule.realert) * _SPANS


def views_of(rule: Correlation, rules: Sequence[Rule], rows: Rows, record: Record, bounds: StreamBounds) -> list[View]:
    """Return the groups of a rule that count a record. `rows` have the hits and alerts of this rule, as number 0."""
    (context,) = contexts_of([rule], bounds)
    hits = Feed(rules, [rule], keep_reference).hits([record])
    return [_view(context, rows, group, own) for group, own in hits.get(0, {}).items()]


def _view(context: RuleContext, rows: Rows, group: Group, own: Sequence[Hit]) -> View:
    rule, at = context.rule, own[-1].at
    start = ALWAYS if context.complete_from is None else context.complete_from - rule.reach
    earlier = list(takewhile(lambda hit: hit.order < own[0].order, rows.hits.since(0, group, start)))
    first = (earlier or own)[0].order if context.complete_from is None else (context.complete_from, -1, "")
    alerts = [each for each in rows.alerts.since(0, group, first[0]) if each.is_current and each.place < first]
    begun = max(alerts, key=attrgetter("place"), default=None)
    fold = evaluate(rule, context.new_fold(group), begun, earlier, Span(first, AFTER_ALL), ()).fold
    known = len(fold.found)
    last = fold.found[-1] if fold.found and not rule.is_absence else None
    if last is not None and at <= last.until:
        counted = tuple(last.hits)
    else:
        spent = {hit.key for hit in last.hits} if last is not None and rule.type is not CorrelationType.SPIKE else set()
        since = at - (rule.history if rule.type is CorrelationType.NEW_TERM else rule.timespan)
        counted = tuple(hit for hit in earlier if hit.at >= since and hit.key not in spent)
    for hit in own:
        fold.push(hit)
    found = _holding(fold.alerts(), own)
    is_opened = found is not None and not any(each is found for each in fold.found[:known])
    return View(group, _with_records(rows, counted), _with_records(rows, own), found, is_opened)


def _holding(alerts: Iterable[FoundAlert], own: Sequence[Hit]) -> FoundAlert | None:
    """Return the first alert that holds any of these hits or, for absence, that they end."""
    return next((found for found in alerts if any(hit in own for hit in (*found.hits, found.resolved_by))), None)


def _with_records(rows: Rows, hits: Sequence[Hit]) -> tuple[Hit, ...]:
    """Return hits, of which the newest have their newest record whole. One record may be several hits."""
    keys = [*dict.fromkeys(hit.key for hit in reversed(hits))][:MOST_SHOWN]
    shown = [hit for hit in hits if hit.key in keys]
    whole = zip(shown, rows.records.whole([hit.records[-1] for hit in shown]), strict=True)
    by_order = {hit.order: structs.replace(hit, records=(record,)) for hit, record in whole if record is not None}
    return tuple(by_order.get(hit.order, hit) for hit in hits)
