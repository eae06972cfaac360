"""The delays of polls, as the queue of polls counts and `/metrics` shows them."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

LAG_BOUNDS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds of the buckets of lags, in seconds; there is one more bucket beyond them."""


@dataclass(frozen=True, slots=True)
class Lateness:
    """The lags of polls: the count of all and of late ones, the sum of the lags in seconds, and a count for each bucket."""

    count: int = 0
    late_count: int = 0
    total: float = 0.0
    buckets: tuple[int, ...] = (0,) * (len(LAG_BOUNDS) + 1)

    def and_one(self, lag: float, *, is_late: bool) -> Lateness:
        """Return the lateness with one more poll."""
        place = bisect_left(LAG_BOUNDS, lag)
        buckets = (*self.buckets[:place], self.buckets[place] + 1, *self.buckets[place + 1 :])
        return Lateness(self.count + 1, self.late_count + is_late, self.total + lag, buckets)


def never_late() -> Lateness:
    """Return the lateness of a process that polls nothing."""
    return Lateness()
