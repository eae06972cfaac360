"""The folds: they turn the ordered hits of one group into its alerts. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from actionwatch.rules.correlations.folds.absence import Absence, NewTerm
from actionwatch.rules.correlations.folds.counting import Counting, Spike
from actionwatch.rules.correlations.folds.fold import Fold
from actionwatch.rules.correlations.folds.reach import Shape
from actionwatch.rules.correlations.folds.sequences import Sequences
from actionwatch.rules.model import TEMPORAL_TYPES, Correlation, CorrelationType


def fold_maker(rule: Correlation) -> Callable[[datetime | None], Fold]:
    """Return what makes the empty state of a group from the start of its verified time (None: nothing is verified)."""
    if rule.is_absence:
        return partial(Absence, rule)
    if rule.type in TEMPORAL_TYPES:
        shape = Shape(rule)
        return lambda _: Sequences(rule, shape)
    if rule.type is CorrelationType.NEW_TERM:
        return partial(NewTerm, rule)
    return partial(Spike, rule) if rule.type is CorrelationType.SPIKE else lambda _: Counting(rule)


def new_fold(rule: Correlation, begin: datetime | None) -> Fold:
    """Make the empty state of one group."""
    return fold_maker(rule)(begin)
