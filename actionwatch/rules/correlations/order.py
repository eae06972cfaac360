"""Which correlations run, and how far back each must look."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from actionwatch.base.model import Mode
from actionwatch.rules.model import Correlation, Rule

KEEP = timedelta(
    days=1
)  # how late a record may come before a changed rule reads older ones again: beyond any usual delay


def running(rules: Sequence[Rule]) -> list[Correlation]:
    """Return the correlations that are not off, in their order."""
    return [rule.correlation for rule in rules if rule.correlation is not None and rule.mode is not Mode.OFF]


def lookback(rule: Correlation) -> timedelta:
    """Return how long before a time a rule needs the records to be right at that time.

    An alert may still be joined for its `realert`; up to a timespan lies between the first of its records and its firing.
    """
    return rule.reach + max(rule.realert, rule.timespan)


def memories(rules: Sequence[Rule]) -> dict[str, timedelta]:
    """Return by rule id how far back each stateful rule must read the records after a restart."""
    return {rule.name.id: lookback(rule.correlation) + KEEP for rule in rules if rule.correlation is not None}
