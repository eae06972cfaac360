"""The folds that count the hits in a sliding window: `event_count`, `value_count` and `spike`."""

from __future__ import annotations

import bisect
import math
import operator
from array import array
from collections import Counter
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

from actionwatch.base.clock import from_micros, to_micros
from actionwatch.base.model import Hit
from actionwatch.rules.correlations.folds.fold import Fold
from actionwatch.rules.correlations.folds.found_alert import FoundAlert
from actionwatch.rules.correlations.folds.hit_window import CountedWindow, HitWindow
from actionwatch.rules.model import NEVER, Correlation, CorrelationType, Threshold

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "lt": operator.lt, "lte": operator.le, "gt": operator.gt, "gte": operator.ge, "eq": operator.eq, "neq": operator.ne,
}  # fmt: skip
_ANYTHING = Threshold("gte", 1)
_NO_BOUND = Threshold("lt", math.inf)


class Measure:
    """A measure of a window, here how many hits it holds. It is exact, so that the history of the window does not matter."""

    def __init__(self, _: Correlation) -> None:
        self._count = 0

    def add(self, _: Any) -> None:
        """Add the value of a hit to the window."""
        self._count += 1

    def remove(self, _: Any) -> None:
        """Remove the value of a hit from the window."""
        self._count -= 1

    def value(self) -> Any:
        """Return the value; the window is never empty."""
        return self._count


class _Distinct(Measure):
    def __init__(self, _: Correlation) -> None:
        self._values: Counter[Any] = Counter()

    def add(self, value: Any) -> None:
        self._values[value] += 1

    def remove(self, value: Any) -> None:
        self._values[value] -= 1
        if not self._values[value]:
            del self._values[value]

    def value(self) -> int:
        return len(self._values)


MEASURES: dict[CorrelationType, type[Measure]] = {
    CorrelationType.EVENT_COUNT: Measure,
    CorrelationType.VALUE_COUNT: _Distinct,
}


class Counting(Fold):
    """One group of an `event_count` or `value_count` rule."""

    def __init__(self, rule: Correlation) -> None:
        super().__init__(rule)
        threshold = rule.threshold or _ANYTHING
        self._holds, self._number = OPERATORS[threshold.operator], threshold.number
        upper = threshold.upper or _NO_BOUND
        self._is_below, self._upper = OPERATORS[upper.operator], upper.number
        self._window = CountedWindow()
        self._measure = MEASURES[rule.type](rule)

    def push(self, hit: Hit, *, is_quiet: bool = False) -> None:
        """Take the next hit; with `is_quiet` it fires nothing."""
        if self._is_taken(hit.at):
            self.found[-1].hits.append(hit)
            return
        for gone in self._window.drop_before(hit.at - self._rule.timespan):
            self._measure.remove(gone)
        self._window.hits.append(hit)
        self._measure.add(hit.value)
        value = None if is_quiet else self._measure.value()
        if value is not None and self._holds(value, self._number) and self._is_below(value, self._upper):
            window, until = self._window, hit.at + self._rule.realert
            origin = window.hits.first.key
            found = FoundAlert(origin, window.first_at, hit.at, until, HitWindow(window.hits), firing=hit)
            found.is_partial = not window.is_whole
            self.restore(found)

    def restore(self, found: FoundAlert) -> None:
        """Continue from a known alert; the window after it starts empty."""
        super().restore(found)
        self._window = CountedWindow()
        self._measure = MEASURES[self._rule.type](self._rule)

    @property
    def size(self) -> int:
        """How many hits it holds, roughly."""
        return super().size + self._window.size

    def forget_hits(self, alerts: Collection[str], most: int) -> None:
        """Forget the hits of some alerts, and of a window with more than `most`."""
        super().forget_hits(alerts, most)
        if len(self._window) > most:
            self._window.forget()


class Spike(Fold):
    """One group of a `spike` rule. Its windows are never cleared: the records of a spike are history for the next one.

    Of all hits within reach it has the times, in microseconds. Only those of the newest window are held, for an alert, and
    also these can be forgotten: an alert that fires then is partial.
    """

    def __init__(self, rule: Correlation, begin: datetime | None) -> None:
        super().__init__(rule)
        self._known_from = NEVER if begin is None else begin + rule.timespan * (rule.windows + 1)
        self._window = HitWindow()
        self._times = array("q")

    def push(self, hit: Hit, *, is_quiet: bool = False) -> None:
        """Take the next hit; with `is_quiet` it fires nothing."""
        rule = self._rule
        self._window.drop_before(hit.at - rule.timespan)
        self._window.append(hit)
        self._times.append(to_micros(hit.at))
        if self._is_taken(hit.at):
            if hit.at >= self.found[-1].first_at:
                self.found[-1].hits.append(hit)
            return
        place = bisect.bisect_left(self._times, to_micros(hit.at - rule.timespan))
        count, earlier_count = len(self._times) - place, place - self._drop_over(hit.at - rule.reach)
        is_high = count >= rule.minimum and count * rule.windows >= rule.factor * earlier_count
        if is_high and not is_quiet and hit.at >= self._known_from:
            until, first_at = hit.at + rule.realert, from_micros(self._times[-count])
            found = FoundAlert(hit.key, first_at, hit.at, until, HitWindow(self._window), self._known_from, firing=hit)
            found.is_partial = len(self._window) < count
            self.restore(found)

    @property
    def size(self) -> int:
        """How many hits it holds, roughly; a time takes a thirtieth of one."""
        return super().size + len(self._window) + len(self._times) // 30

    def forget_hits(self, alerts: Collection[str], most: int) -> None:
        """Forget the hits of some alerts, and of a window with more than `most`."""
        super().forget_hits(alerts, most)
        if len(self._window) > most:
            self._window.clear()

    def _drop_over(self, horizon: datetime) -> int:
        """Count the times before the reach. Drop them when they are most: a hit costs little."""
        over = bisect.bisect_left(self._times, to_micros(horizon))
        if over * 2 > len(self._times):
            del self._times[:over]
        return over
