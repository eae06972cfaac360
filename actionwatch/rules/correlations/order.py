"""Correlations over correlations: in which order they are folded, and how far back each must see."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from actionwatch.rules.correlations.spec import TEMPORAL_KINDS, Correlation


def in_feeding_order(rules: Sequence[Correlation]) -> list[Correlation]:
    """Sort so that a rule comes after those that feed it; there are no circles, the loader refuses them."""
    by_id = {rule.name.id: rule for rule in rules}
    done: dict[str, Correlation] = {}

    def visit(rule: Correlation) -> None:
        for step in rule.steps:
            inner = by_id.get(step.rule_id)
            if inner is not None and inner.name.id not in done:
                visit(inner)
        done.setdefault(rule.name.id, rule)

    for rule in rules:
        visit(rule)
    return list(done.values())


def needs(rules: Sequence[Correlation]) -> dict[str, timedelta]:
    """Say how far back each rule must see before its alerts are right; `rules` are in feeding order."""
    needed: dict[str, timedelta] = {}
    reach: dict[str, timedelta] = {}
    for rule in rules:
        # An inner alert fires at most its reach after it began: only those are right that began after all is right.
        inner = [needed[step.rule_id] + reach[step.rule_id] for step in rule.steps if step.rule_id in needed]
        reach[rule.name.id] = rule.reach
        needed[rule.name.id] = rule.reach + max(inner, default=timedelta(0))
    return needed


def rooms(rules: Sequence[Correlation]) -> dict[str, timedelta]:
    """Say how far before a moment each rule must be given records to be right at it; `rules` are in feeding order."""
    needed = needs(rules)
    room = {rule.name.id: needed[rule.name.id] + _unsettled(rule) for rule in rules}
    for rule in reversed(rules):  # what feeds a rule must be right for as long as that rule looks back
        for step in rule.steps:
            if step.rule_id in room:
                room[step.rule_id] = max(room[step.rule_id], room[rule.name.id])
    return room


def _unsettled(rule: Correlation) -> timedelta:
    """Say for how long an alert may still be joined, or what waits for something not to come is still told to nobody."""
    return max(rule.realert, rule.timespan) if rule.kind in TEMPORAL_KINDS else rule.realert
