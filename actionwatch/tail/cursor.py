"""Windows and their arithmetic: where the next poll starts, how bounds are rounded, how a window is cut. Pure.

A window ends at the upstream's now, so that new records fall after it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from actionwatch.base.clock import EPOCH

MAX_WINDOW_RECORDS = 20_000  # read in one go: limits memory, and what is read again if the window changes meanwhile
MIN_WINDOW = timedelta(
    milliseconds=10
)  # bounds are milliseconds: a much shorter window can be neither requested nor cut
EDGE = timedelta(milliseconds=1)  # bounds may be inclusive or exclusive: adjacent windows share this much
EDGE_SECOND = timedelta(seconds=1)  # servers may cut a bound to whole seconds: so close to it, presence proves nothing
# Between the clocks, below it: the one-second resolution of `Date` is worth less than this machine's clock.
IGNORED_SKEW = timedelta(seconds=5)
REPORTED_SKEW = timedelta(minutes=2)  # between the upstream's clock and ours; more is a trouble
COARSEST_UNIT = timedelta(days=1)  # no upstream is expected to cut a bound to more than that


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of event time with fixed bounds."""

    start: datetime
    end: datetime

    def is_divisible(self, least: timedelta = MIN_WINDOW) -> bool:
        """Return whether it can be cut into two parts, none shorter than `least`."""
        return self.end - self.start >= 2 * least

    def widened(self, unit: timedelta | None) -> Window:
        """Return what to request if the upstream cuts bounds to whole units: the window lies well within that.

        So it does not matter whether bounds are inclusive or exclusive, before or after they are cut. None: the unit is not
        known yet, and the end may be cut to whole days; if the start is cut, only more records come. The proof leaves out the
        surplus.
        """
        coarse = COARSEST_UNIT if unit is None else unit
        end = self.end + EDGE if coarse > EDGE else self.end
        return Window(round_down(self.start - EDGE, unit or EDGE), round_up(end, coarse) + EDGE)

    def slices(self, count: int, least: timedelta = MIN_WINDOW) -> list[Window]:
        """Cut into equal parts, none shorter than `least`, oldest first. Each reaches back an edge into the one before."""
        count = max(1, min(count, (self.end - self.start) // least))
        step = (self.end - self.start) / count
        cuts = [self.start, *(round_down(self.start + step * index, EDGE) for index in range(1, count)), self.end]
        return [Window(max(start - EDGE, self.start), end) for start, end in pairwise(cuts)]


def next_window(begins_at: datetime, mark: datetime, now: datetime, overlap: timedelta) -> Window:
    """Return the window of the next poll: from one overlap before the mark to now, but not from before the source begins.

    `now` is the server's time. The end is rounded up to the query's milliseconds. The start is rounded down and moved back by
    an edge, because an exclusive bound must not hide what happened at that very instant.
    """
    start = round_down(max(begins_at, mark - overlap), EDGE) - EDGE
    return Window(start, max(round_up(now, EDGE), start + MIN_WINDOW))


def round_down(at: datetime, unit: timedelta) -> datetime:
    """Round a time down to whole units, counted from 1970."""
    return EPOCH + (at - EPOCH) // unit * unit


def round_up(at: datetime, unit: timedelta) -> datetime:
    """Round a time up to whole units, counted from 1970."""
    return EPOCH - (EPOCH - at) // unit * unit


def slice_count(total: int) -> int:
    """Return into how many parts to cut a window with so many records: twice what is needed, as they are not spread evenly."""
    return -(-2 * total // MAX_WINDOW_RECORDS)


LATENESS_BOUNDS = tuple(timedelta(seconds=seconds) for seconds in (5, 15, 60, 300, 900, 3600, 21_600, 86_400))


def spread(lateness: Sequence[timedelta]) -> list[int]:
    """Count how late records came, in buckets that end at `LATENESS_BOUNDS`, and one for those beyond them."""
    buckets = [0] * (len(LATENESS_BOUNDS) + 1)
    for late in lateness:
        buckets[bisect_left(LATENESS_BOUNDS, late)] += 1
    return buckets


def overlap_for(lateness: Sequence[timedelta]) -> timedelta:
    """Recommend an overlap in whole minutes: twice the delay of all but one in a thousand records. `lateness` is sorted."""
    if not lateness:
        return timedelta(0)
    longest = lateness[int(len(lateness) * 0.999)]
    return timedelta(minutes=max(1, -(-2 * longest // timedelta(minutes=1))))
