"""The fold: turns the ordered hits of a group into its alerts. Pure; only the folds define the meaning of a correlation."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from actionwatch.rules.correlations.folds.absence import Absence, NewTerm
from actionwatch.rules.correlations.folds.counting import Counting, Spike
from actionwatch.rules.correlations.folds.sequences import Sequences
from actionwatch.rules.model import TEMPORAL_TYPES, Correlation, CorrelationType, FoundAlert, Hit


class Fold(Protocol):
    """The state of one group. It takes hits in order and returns their alerts, as if all time were verified."""

    @property
    def found(self) -> list[FoundAlert]:
        """The alerts that have fired, in order; the last one can still grow."""
        ...

    def push(self, hit: Hit, *, is_quiet: bool = False) -> None:
        """Take the next hit; with `is_quiet` it fires nothing."""
        ...

    def restore(self, found: FoundAlert) -> None:
        """Continue from a known alert."""
        ...

    def alerts(self, start: int = 0) -> list[FoundAlert]:
        """Return the alerts in order, from an index, including those that wait for verified time."""
        ...

    def copy(self) -> Fold:
        """Return an independent copy of the state."""
        ...


def new_fold(rule: Correlation, begin: datetime | None) -> Fold:
    """Make the empty state of a group; `begin` is the start of verified time (None: nothing is verified)."""
    if rule.is_absence:
        return Absence(rule, begin)
    if rule.type in TEMPORAL_TYPES:
        return Sequences(rule)
    if rule.type is CorrelationType.NEW_TERM:
        return NewTerm(rule, begin)
    return Spike(rule, begin) if rule.type is CorrelationType.SPIKE else Counting(rule)
