"""Show what a correlation made of a record: what its groups counted before it, and the resulting alert. For explanations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile

from actionwatch.base.model import CorrelatedAlert, Record
from actionwatch.rules.correlations.folds.counting import MEASURES
from actionwatch.rules.correlations.folds.fold import Fold
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.correlations.live.context import StreamBounds
from actionwatch.rules.correlations.live.correlator import Correlator
from actionwatch.rules.correlations.live.order import in_feeding_order, needs
from actionwatch.rules.model import Correlation, CorrelationType, Group, Hit, Rule

_SPANS = 2  # times what a rule needs: the second span completes the alert that holds the record


@dataclass(frozen=True, slots=True)
class View:
    """One group that counts a record: the hits `counted` before it, its `own` hits, and the alert that holds them, if any."""

    group: Group
    counted: tuple[Hit, ...]
    own: tuple[Hit, ...]
    found: FoundAlert | None
    is_opened: bool


def lookback_of(rule: Correlation, rules: Sequence[Rule]) -> timedelta:
    """Return how far back the records for `views_of` must reach."""
    correlations = in_feeding_order([each.correlation for each in rules if each.correlation is not None])
    return (needs(correlations)[rule.name.id] + rule.realert) * _SPANS


def before(record: Record, records: Iterable[Record]) -> Iterator[Record]:
    """Return the records before one, of records in event order."""
    end = (record.occurred_at, record.key)
    return takewhile(lambda each: (each.occurred_at, each.key) < end, records)


def views_of(
    rule: Rule,
    rules: Sequence[Rule],
    history: Iterable[Record],
    record: Record,
    begin: datetime | None,
    *,
    since: datetime | None = None,
    known: Iterable[CorrelatedAlert] = (),
) -> list[View]:
    """Return the groups that count a record, after the records before it, which come in event order.

    If the records do not reach back to the beginning but only to `since`, `known` are the alerts from then on: which record a
    window begins with depends on the alert before it, which depends on the one before that, and so on.
    """
    correlation = rule.correlation
    if correlation is None:
        return []
    correlator = Correlator(rules, StreamBounds(begin=lambda _: begin, since=lambda _: since))
    correlator.restore(known, history)
    correlator.take([record])
    correlator.changes(record.occurred_at)
    return [_view(correlation, *each) for each in correlator.hits_around(correlation.name.id, record)]


def measured(rule: Correlation, hits: Sequence[Hit]) -> object:
    """Return the value that the window of a `value_*` rule measures; 0 if it holds nothing."""
    if not hits:
        return 0
    measure = MEASURES[rule.type](rule)
    for hit in hits:
        measure.add(hit)
    value = measure.value()
    return value if isinstance(value, int) else round(float(value), 3)


def _view(rule: Correlation, group: Group, state: Fold, earlier: Sequence[Hit], own: Sequence[Hit]) -> View:
    for hit in earlier:
        state.push(hit)
    known = len(state.found)
    at = own[-1].at
    last = state.found[-1] if state.found and not rule.is_absence else None
    if last is not None and at <= last.until:
        counted = tuple(last.hits)
    else:
        spent = {hit.key for hit in last.hits} if last is not None and rule.type is not CorrelationType.SPIKE else set()
        since = at - (rule.history if rule.type is CorrelationType.NEW_TERM else rule.timespan)
        counted = tuple(hit for hit in earlier if hit.at >= since and hit.key not in spent)
    for hit in own:
        state.push(hit)
    found = _holding(state.alerts(), own)
    is_opened = found is not None and not any(each is found for each in state.found[:known])
    return View(group, counted, tuple(own), found, is_opened)


def _holding(alerts: Iterable[FoundAlert], own: Sequence[Hit]) -> FoundAlert | None:
    """Return the first alert that holds any of these hits or, for absence, that they end."""
    return next((found for found in alerts if any(hit in own for hit in (*found.hits, found.resolved_by))), None)
