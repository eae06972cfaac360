"""The fold: a group's hits, in order, give its alerts. Pure, and the one place that says what a correlation means."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from actionwatch.rules.correlations.folds.absence import Absence, NewTerm
from actionwatch.rules.correlations.folds.counting import Counting, Spike
from actionwatch.rules.correlations.folds.sequences import Sequences
from actionwatch.rules.model import TEMPORAL_KINDS, Correlation, Found, Hit, Kind


class Fold(Protocol):
    """The state of one group: it takes hits in order, and says what alerts they make, as if all of time were verified."""

    @property
    def found(self) -> list[Found]:
        """The alerts that have fired, in order; the last may still grow."""
        ...

    def push(self, hit: Hit, *, is_quiet: bool = False) -> None:
        """Take the next hit; quietly: as one that is known to have fired nothing."""
        ...

    def restore(self, found: Found) -> None:
        """Go on from an alert that is known."""
        ...

    def alerts(self, start: int = 0) -> list[Found]:
        """Give the alerts, in order, from a place on, with those that wait for verified time."""
        ...

    def copy(self) -> Fold:
        """Copy the state: pushing into one changes nothing in the other."""
        ...


def new_fold(rule: Correlation, begin: datetime | None) -> Fold:
    """Make the empty state of a group; `begin` is the start of verified time (None: nothing is verified)."""
    if rule.is_absence:
        return Absence(rule, begin)
    if rule.kind in TEMPORAL_KINDS:
        return Sequences(rule)
    if rule.kind is Kind.NEW_TERM:
        return NewTerm(rule, begin)
    return Spike(rule, begin) if rule.kind is Kind.SPIKE else Counting(rule)
