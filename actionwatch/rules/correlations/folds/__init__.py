"""The folds: they turn the ordered hits of one group into its alerts. Pure."""

from __future__ import annotations

from datetime import datetime

from actionwatch.rules.correlations.folds.absence import Absence, NewTerm
from actionwatch.rules.correlations.folds.counting import Counting, Spike
from actionwatch.rules.correlations.folds.fold import Fold
from actionwatch.rules.correlations.folds.sequences import Sequences
from actionwatch.rules.model import TEMPORAL_TYPES, Correlation, CorrelationType


def new_fold(rule: Correlation, begin: datetime | None) -> Fold:
    """Make the empty state of a group; `begin` is the start of verified time (None: nothing is verified)."""
    if rule.is_absence:
        return Absence(rule, begin)
    if rule.type in TEMPORAL_TYPES:
        return Sequences(rule)
    if rule.type is CorrelationType.NEW_TERM:
        return NewTerm(rule, begin)
    return Spike(rule, begin) if rule.type is CorrelationType.SPIKE else Counting(rule)
