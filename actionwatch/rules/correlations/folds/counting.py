"""The folds that count or measure the hits in a sliding window: `event_count`, `value_*` and `spike`."""

from __future__ import annotations

import bisect
import math
import operator
from collections import Counter, deque
from collections.abc import Callable
from datetime import datetime
from fractions import Fraction
from typing import Any, Protocol

from actionwatch.rules.model import NEVER, Correlation, CorrelationType, FoundAlert, Hit, Threshold

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "lt": operator.lt, "lte": operator.le, "gt": operator.gt, "gte": operator.ge, "eq": operator.eq, "neq": operator.ne,
}  # fmt: skip
_ANYTHING = Threshold("gte", 1)


class Measure(Protocol):
    """A measure of a window. It is exact, so that the history of the window does not matter."""

    def add(self, hit: Hit) -> None:
        """Add a hit to the window."""
        ...

    def remove(self, hit: Hit) -> None:
        """Remove a hit from the window."""
        ...

    def value(self) -> Any:
        """Return the value; the window is never empty."""
        ...


class Counting:
    """One group of an `event_count` or `value_*` rule."""

    def __init__(self, rule: Correlation) -> None:
        threshold = rule.threshold or _ANYTHING
        self._rule = rule
        self._holds, self._number = OPERATORS[threshold.operator], threshold.number
        self._window: deque[Hit] = deque()
        self._measure = MEASURES[rule.type](rule)
        self._open: FoundAlert | None = None
        self.found: list[FoundAlert] = []

    def push(self, hit: Hit, *, is_quiet: bool = False) -> None:
        """Take the next hit; with `is_quiet` it fires nothing."""
        if self._open is not None:
            if hit.at <= self._open.until:
                self._open.hits.append(hit)
                return
            self._open = None
        horizon = hit.at - self._rule.timespan
        while self._window and self._window[0].at < horizon:
            self._measure.remove(self._window.popleft())
        self._window.append(hit)
        self._measure.add(hit)
        if not is_quiet and self._holds(self._measure.value(), self._number):
            first = self._window[0]
            until = hit.at + self._rule.realert
            self.restore(FoundAlert(first.key, first.at, hit.at, until, list(self._window), firing=hit))

    def restore(self, found: FoundAlert) -> None:
        """Continue from a known alert; the window after it starts empty."""
        self._open = found
        self.found.append(found)
        self._window.clear()
        self._measure = MEASURES[self._rule.type](self._rule)

    def alerts(self, start: int = 0) -> list[FoundAlert]:
        """Return the alerts in order, from an index."""
        return self.found[start:]

    def copy(self) -> Counting:
        """Return an independent copy of the state."""
        other = Counting(self._rule)
        other._window = deque(self._window)
        for hit in self._window:
            other._measure.add(hit)
        _copy_found(self, other)
        return other


class Spike:
    """One group of a `spike` rule. Its windows are never cleared: the records of a spike are history for the next one."""

    def __init__(self, rule: Correlation, begin: datetime | None) -> None:
        self._rule = rule
        self._begin = begin
        self._known_from = NEVER if begin is None else begin + rule.timespan * (rule.windows + 1)
        self._window: deque[Hit] = deque()
        self._earlier: deque[Hit] = deque()
        self._open: FoundAlert | None = None
        self.found: list[FoundAlert] = []

    def push(self, hit: Hit, *, is_quiet: bool = False) -> None:
        """Take the next hit; with `is_quiet` it fires nothing."""
        rule = self._rule
        while self._window and self._window[0].at < hit.at - rule.timespan:
            self._earlier.append(self._window.popleft())
        while self._earlier and self._earlier[0].at < hit.at - rule.timespan * (rule.windows + 1):
            self._earlier.popleft()
        self._window.append(hit)
        if self._open is not None and hit.at <= self._open.until:
            if hit.at >= self._open.first_at:
                self._open.hits.append(hit)
            return
        self._open = None
        count = len(self._window)
        is_high = count >= rule.minimum and count * rule.windows >= rule.factor * len(self._earlier)
        if is_high and not is_quiet and hit.at >= self._known_from:
            until, first = hit.at + rule.realert, self._window[0]
            judged_at = self._known_from
            self.restore(FoundAlert(hit.key, first.at, hit.at, until, list(self._window), judged_at, firing=hit))

    def restore(self, found: FoundAlert) -> None:
        """Continue from a known alert."""
        self._open = found
        self.found.append(found)

    def alerts(self, start: int = 0) -> list[FoundAlert]:
        """Return the alerts in order, from an index."""
        return self.found[start:]

    def copy(self) -> Spike:
        """Return an independent copy of the state."""
        other = Spike(self._rule, self._begin)
        other._window, other._earlier = deque(self._window), deque(self._earlier)
        _copy_found(self, other)
        return other


def _copy_found(this: Counting | Spike, other: Any) -> None:
    other.found = list(this.found)
    if this._open is not None:
        other._open = other.found[-1] = this._open.copy()  # the open alert is the newest found


class _Count:
    def __init__(self, _: Correlation) -> None:
        self._count = 0

    def add(self, _: Hit) -> None:
        self._count += 1

    def remove(self, _: Hit) -> None:
        self._count -= 1

    def value(self) -> int:
        return self._count


class _Distinct:
    def __init__(self, _: Correlation) -> None:
        self._values: Counter[Any] = Counter()

    def add(self, hit: Hit) -> None:
        self._values[hit.value] += 1

    def remove(self, hit: Hit) -> None:
        self._values[hit.value] -= 1
        if not self._values[hit.value]:
            del self._values[hit.value]

    def value(self) -> int:
        return len(self._values)


class _Sum:
    """An exact sum. A sum of floats depends on the order of the records."""

    def __init__(self, _: Correlation) -> None:
        self.total = Fraction(0)
        self.count = 0

    def add(self, hit: Hit) -> None:
        self.total += Fraction(hit.value)
        self.count += 1

    def remove(self, hit: Hit) -> None:
        self.total -= Fraction(hit.value)
        self.count -= 1

    def value(self) -> Fraction:
        return self.total


class _Average(_Sum):
    def value(self) -> Fraction:
        return self.total / self.count


class _Percentile:
    """Interpolates linearly between the two nearest values, so that the 50th percentile is the median."""

    def __init__(self, rule: Correlation) -> None:
        self._percentile = 50 if rule.type is CorrelationType.VALUE_MEDIAN else rule.percentile
        self._values: list[Any] = []

    def add(self, hit: Hit) -> None:
        bisect.insort(self._values, hit.value)

    def remove(self, hit: Hit) -> None:
        del self._values[bisect.bisect_left(self._values, hit.value)]

    def value(self) -> Fraction:
        place = Fraction(self._percentile, 100) * (len(self._values) - 1)
        low = math.floor(place)
        below, above = Fraction(self._values[low]), Fraction(self._values[math.ceil(place)])
        return below + (above - below) * (place - low)


MEASURES: dict[CorrelationType, Callable[[Correlation], Measure]] = {
    CorrelationType.EVENT_COUNT: _Count,
    CorrelationType.VALUE_COUNT: _Distinct,
    CorrelationType.VALUE_SUM: _Sum,
    CorrelationType.VALUE_AVG: _Average,
    CorrelationType.VALUE_PERCENTILE: _Percentile,
    CorrelationType.VALUE_MEDIAN: _Percentile,
}
