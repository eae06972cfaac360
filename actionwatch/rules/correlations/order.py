"""Correlations over correlations: in which order to fold them, and how far back each must look."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from graphlib import TopologicalSorter

from actionwatch.base.model import Mode
from actionwatch.rules.model import Correlation, CorrelationType, Rule

KEEP = timedelta(
    days=1
)  # how late a record may come before a changed rule reads older ones again: beyond any usual delay


def running(rules: Sequence[Rule]) -> list[Correlation]:
    """Return the correlations that are not off, in feeding order."""
    return in_feeding_order(
        [rule.correlation for rule in rules if rule.correlation is not None and rule.mode is not Mode.OFF]
    )


def in_feeding_order(rules: Sequence[Correlation]) -> list[Correlation]:
    """Sort so that a rule comes after those that feed it; there are no circles: the loader rejects them."""
    by_id = {rule.name.id: rule for rule in rules}
    feeders = {rule.name.id: [step.rule_id for step in rule.steps if step.rule_id in by_id] for rule in rules}
    return [by_id[rule_id] for rule_id in TopologicalSorter(feeders).static_order()]


def linked(rules: Sequence[Correlation]) -> list[set[str]]:
    """Return the ids of the rules in sets: rules that count alerts of each other, also through others, are in one."""
    sets: list[set[str]] = []
    ids = {rule.name.id for rule in rules}
    for rule in rules:
        together = {rule.name.id, *(step.rule_id for step in rule.steps if step.rule_id in ids)}
        others = [each for each in sets if each.isdisjoint(together)]
        sets = [*others, together.union(*(each for each in sets if each not in others))]
    return sets


def needs(rules: Sequence[Correlation]) -> dict[str, timedelta]:
    """Return how far back each rule must look for its alerts to be right; `rules` are in feeding order."""
    needed: dict[str, timedelta] = {}
    reach = {rule.name.id: rule.reach for rule in rules}
    for rule in rules:
        # An inner alert fires at most its reach after it began. Only those that began after everything is right are right.
        inner = [needed[step.rule_id] + reach[step.rule_id] for step in rule.steps if step.rule_id in needed]
        needed[rule.name.id] = rule.reach + max(inner, default=timedelta(0))
    return needed


def waiting(rules: Sequence[Correlation]) -> set[str]:
    """Return which rules have alerts that wait for verified time, their own or those of a rule below; in feeding order."""
    found: set[str] = set()
    for rule in rules:
        is_learning = rule.type is CorrelationType.SPIKE or (rule.type is CorrelationType.NEW_TERM and rule.is_learning)
        is_judged_later = is_learning or rule.is_absence or any(pattern.unwanted for pattern in rule.patterns)
        if is_judged_later or any(step.rule_id in found for step in rule.steps):
            found.add(rule.name.id)
    return found


def lookbacks(rules: Sequence[Correlation]) -> dict[str, timedelta]:
    """Return how long before a time each rule needs the records to be right at that time; `rules` are in feeding order.

    An alert may still be joined for its `realert`; up to a timespan lies between the first of its records and its firing.
    """
    needed = needs(rules)
    lookback = {rule.name.id: needed[rule.name.id] + max(rule.realert, rule.timespan) for rule in rules}
    for rule in reversed(rules):  # what feeds a rule must be right for as long as that rule looks back
        for step in rule.steps:
            if step.rule_id in lookback:
                lookback[step.rule_id] = max(lookback[step.rule_id], lookback[rule.name.id])
    return lookback


def memories(rules: Sequence[Rule]) -> dict[str, timedelta]:
    """Return by rule id how far back each stateful rule must read the records after a restart."""
    remembering = in_feeding_order([rule.correlation for rule in rules if rule.correlation is not None])
    return {rule_id: span + KEEP for rule_id, span in lookbacks(remembering).items()}
