"""A naive reading of the specification: slow, without state, independent of the fold that it checks."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

from actionwatch.base.model import Hit
from actionwatch.rules.model import Correlation, CorrelationType, Pattern

COMPARE = {
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
    "eq": operator.eq,
    "neq": operator.ne,
}

Shape = tuple[str, datetime, datetime, tuple[tuple[str, int], ...]]
"""The origin of an alert's id, its first time, its firing time, and its hits as (key, step)."""


@dataclass(frozen=True)
class Candidate:
    """One way in which the condition becomes true."""

    fired_at: datetime
    is_waiting: bool
    completing: Hit
    first: Hit


def expected(rule: Correlation, hits: Sequence[Hit], begin: datetime) -> list[Shape]:
    """Return the alerts of a group from all its hits, with all time verified since `begin`."""
    ordered = sorted(hits, key=lambda hit: hit.order)
    if rule.is_absence:
        return list(_missing(rule, ordered, begin))
    match rule.type:
        case CorrelationType.TEMPORAL | CorrelationType.TEMPORAL_ORDERED:
            return list(_temporal(rule, ordered))
        case CorrelationType.NEW_TERM:
            return list(_new(rule, ordered, begin))
        case CorrelationType.SPIKE:
            return list(_spiking(rule, ordered, begin))
    return list(_counted(rule, ordered))


def _missing(rule: Correlation, hits: Sequence[Hit], begin: datetime) -> Iterator[Shape]:
    """Return the absences that are longer than the timespan; the hit that ends it identifies an alert without hits."""
    matches = [(begin, ""), *((hit.at, hit.key) for hit in hits)]
    for (at, key), following in itertools.zip_longest(matches, hits):
        due = at + rule.timespan
        if following is None or following.at > due:
            yield key, due, due, () if following is None else ((following.key, following.step),)


def _new(rule: Correlation, hits: Sequence[Hit], begin: datetime) -> Iterator[Shape]:
    fired: list[Hit] = []
    for hit in hits:
        known = [*fired, *(each for each in hits if each.step == 1)]
        is_known = any(each.order < hit.order and each.at >= hit.at - rule.history for each in known)
        if hit.step == 0 and not is_known:
            fired.append(hit)
            if not rule.is_learning or hit.at >= begin + rule.history:
                yield hit.key, hit.at, hit.at, ((hit.key, hit.step),)


def _spiking(rule: Correlation, hits: Sequence[Hit], begin: datetime) -> Iterator[Shape]:
    closed_at: datetime | None = None
    for hit in hits:
        known_from = begin + (rule.windows + 1) * rule.timespan
        if hit.at < known_from or (closed_at is not None and hit.at <= closed_at):
            continue
        seen = [each for each in hits if each.order <= hit.order]
        window = [each for each in seen if each.at >= hit.at - rule.timespan]
        before = [each for each in seen if each.at >= hit.at - (rule.windows + 1) * rule.timespan][: -len(window)]
        mean = Fraction(len(before), rule.windows)
        if len(window) < rule.minimum or len(window) < Fraction(rule.factor) * mean:
            continue
        closed_at = hit.at + rule.realert
        joined = [each for each in hits if each.order > hit.order and each.at <= closed_at]
        yield hit.key, window[0].at, hit.at, tuple((each.key, each.step) for each in window + joined)


def _counted(rule: Correlation, hits: Sequence[Hit]) -> Iterator[Shape]:
    assert rule.threshold is not None
    closed_at: datetime | None = None
    for hit in hits:
        if closed_at is not None and hit.at <= closed_at:
            continue
        window = [
            each
            for each in hits
            if each.order <= hit.order
            and each.at >= hit.at - rule.timespan
            and (closed_at is None or each.at > closed_at)
        ]
        if not COMPARE[rule.threshold.operator](_measure(rule, [each.value for each in window]), rule.threshold.number):
            continue
        closed_at = hit.at + rule.realert
        joined = [each for each in hits if each.order > hit.order and each.at <= closed_at]
        yield window[0].key, window[0].at, hit.at, tuple((each.key, each.step) for each in window + joined)


def _measure(rule: Correlation, values: list[Any]) -> int:
    return len(set(values)) if rule.type is CorrelationType.VALUE_COUNT else len(values)


def _temporal(rule: Correlation, hits: Sequence[Hit]) -> Iterator[Shape]:
    wanted = {step for pattern in rule.patterns for step in pattern.wanted}
    closed_at: datetime | None = None
    while True:
        fresh = [hit for hit in hits if closed_at is None or hit.at > closed_at]
        candidates = [found for pattern in rule.patterns for found in _candidates(rule, pattern, fresh, hits)]
        if not candidates:
            return
        best = min(
            candidates,
            key=lambda found: (
                found.fired_at,
                found.is_waiting,
                found.first.order if found.is_waiting else found.completing.order,
                found.first.order,
            ),
        )
        until = best.fired_at + rule.realert
        inside = [hit for hit in fresh if hit.step in wanted and hit.order >= best.first.order and hit.at <= until]
        yield best.first.key, best.first.at, best.fired_at, tuple((hit.key, hit.step) for hit in inside)
        closed_at = until


def _candidates(rule: Correlation, pattern: Pattern, fresh: Sequence[Hit], hits: Sequence[Hit]) -> Iterator[Candidate]:
    for last in fresh:
        firsts = _firsts(rule, pattern, last, fresh, hits)
        if not firsts:
            continue
        first = min(firsts, key=lambda hit: hit.order)
        due = first.at + rule.timespan
        if rule.type is CorrelationType.TEMPORAL:
            window = [hit for hit in hits if last.at - rule.timespan <= hit.at <= due]
            if any(hit.step in pattern.unwanted for hit in window):
                continue
            is_waiting = bool(pattern.unwanted)
        else:
            trailing = [step for step in pattern.unwanted if step > pattern.wanted[-1]]
            if any(hit.step in trailing and hit.order > last.order and hit.at <= due for hit in hits):
                continue
            is_waiting = bool(trailing)
        yield Candidate(due if is_waiting else last.at, is_waiting, last, first)


def _firsts(rule: Correlation, pattern: Pattern, last: Hit, fresh: Sequence[Hit], hits: Sequence[Hit]) -> list[Hit]:
    """Return every hit that can begin a window that `last` completes."""
    window = [hit for hit in fresh if hit.order <= last.order and hit.at >= last.at - rule.timespan]
    if rule.type is CorrelationType.TEMPORAL:
        inside = [hit for hit in window if hit.step in pattern.wanted]
        is_whole = {hit.step for hit in inside} == set(pattern.wanted) and last.step in pattern.wanted
        return inside[:1] if is_whole else []
    if last.step != pattern.wanted[-1]:
        return []
    choices = [[hit for hit in window if hit.step == step] for step in pattern.wanted[:-1]]
    firsts = []
    for chosen in itertools.product(*choices):
        chain = (*chosen, last)
        if any(one.order >= other.order for one, other in itertools.pairwise(chain)):
            continue
        if len({hit.key for hit in chain}) < len(chain):
            continue
        if _is_forbidden(rule, pattern, chain, hits):
            continue
        firsts.append(chain[0])
    return firsts


def _is_forbidden(rule: Correlation, pattern: Pattern, chain: Sequence[Hit], hits: Sequence[Hit]) -> bool:
    for step in pattern.unwanted:
        for hit in hits:
            if hit.step != step:
                continue
            if step < pattern.wanted[0] and chain[-1].at - rule.timespan <= hit.at and hit.order < chain[0].order:
                return True
            for one, other in itertools.pairwise(chain):
                if one.step < step < other.step and one.order < hit.order < other.order:
                    return True
    return False
