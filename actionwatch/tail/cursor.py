"""Where the next poll starts, how far the high-water mark may move, and what a walk through a window's pages proves.

Pure. A *walk* is one reading of all the pages of a frozen window. New records shift offset pages, so that a walk during which
the window changed may have met one record twice at a page's edge and missed another: only a walk that *counts* says how many
equal records there are, moves the mark and proves the window (upstream page, "Paging").
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_WINDOW_RECORDS = 20_000  # read in one go: bounds memory, and what a change during the walk makes us read again
MIN_WINDOW = timedelta(milliseconds=10)  # the query's bounds are milliseconds: much shorter cannot be asked, nor cut
TWO_WALKS = "two walks"  # the method where nothing that counts is told
EDGE_SECOND = timedelta(
    seconds=1
)  # servers may cut a bound to whole seconds: this near to one, presence proves nothing
MICROSECOND = timedelta(microseconds=1)  # how finely times are kept
EDGE = timedelta(milliseconds=1)  # bounds may be inclusive or exclusive: windows side by side share this much
COARSEST_UNIT = timedelta(days=1)  # an upstream that cuts a bound to more than that is not to be thought of


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of event time, frozen: new records come after its end."""

    start: datetime
    end: datetime

    @property
    def is_divisible(self) -> bool:
        """Say whether it can be cut into parts that can be asked for."""
        return self.end - self.start >= 2 * MIN_WINDOW

    def covers(self, other: Window) -> bool:
        """Say whether all of another window lies within this one."""
        return self.start <= other.start and other.end <= self.end

    def widened(self, unit: timedelta | None) -> Window:
        """Give what to ask for where an upstream cuts bounds to whole units: all of the window lies well within that.

        So it does not matter either whether bounds are inclusive, nor which is done first. None: it is not settled how finely
        bounds are taken, and the end may be cut to whole days; to cut the start brings but more. What comes too much is left
        out of the proof.
        """
        coarse = COARSEST_UNIT if unit is None else unit
        end = round_down(self.end + coarse - MICROSECOND, coarse) + EDGE
        return Window(round_down(self.start - EDGE, unit or EDGE), end)

    def slices(self, count: int, least: timedelta = MIN_WINDOW) -> list[Window]:
        """Cut into equal parts, none shorter than `least`, oldest first, each reaching an edge back into the one before."""
        count = max(1, min(count, (self.end - self.start) // least))
        step = (self.end - self.start) / count
        cuts = [self.start, *(whole_milliseconds(self.start + step * index) for index in range(1, count)), self.end]
        return [Window(max(start - EDGE, self.start), end) for start, end in pairwise(cuts)]


@dataclass(frozen=True, slots=True)
class Claim:
    """What one answer says of the whole window: how many records there are, and how many of each kind; None: not told."""

    total: int | None = None
    counts: Mapping[str, int] | None = None

    @property
    def size(self) -> int | None:
        """How many records there are: the total, or else the sum of the counts."""
        if self.total is not None or self.counts is None:
            return self.total
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Walk:
    """What one reading of a window brought: how often each record key came, how many of each kind, and the claims around it.

    `before` is the first page's claim, `after` the claim of an answer later than the last page (the page itself, where there
    was only one). `order` holds the keys as they came. `has_repeats`: a key came again on a later page, as a twin does, and
    a record that a shifted page shows twice.
    """

    keys: Counter[str]
    kinds: Counter[str]
    before: Claim
    after: Claim
    page_count: int
    order: Sequence[str] = ()
    has_repeats: bool = False
    is_ended: bool = False
    """An empty page told the end, not a total."""

    @property
    def received(self) -> int:
        """How many records came, equal ones counted as often as they came."""
        return self.keys.total()


def next_window(begins_at: datetime, mark: datetime, now: datetime, overlap: timedelta) -> Window:
    """Give the window of the next poll: from one overlap before the mark to now, never from before the stream's begin.

    `now` is the server's time. The end is rounded up to the query's milliseconds; the start down, and an edge further back: an
    exclusive bound must not hide what happened at the very begin.
    """
    start = whole_milliseconds(max(begins_at, mark - overlap)) - EDGE
    return Window(start, max(whole_milliseconds(now + EDGE - timedelta(microseconds=1)), start + MIN_WINDOW))


def whole_milliseconds(at: datetime) -> datetime:
    """Round a time down to milliseconds."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def round_down(at: datetime, unit: timedelta) -> datetime:
    """Round a time down to whole units, counted from 1970."""
    return EPOCH + (at - EPOCH) // unit * unit


def slice_count(total: int) -> int:
    """Say into how many parts a window with so many records is cut; they are hardly ever spread evenly, hence the factor."""
    return -(-2 * total // MAX_WINDOW_RECORDS)


def confirms_totals(walk: Walk) -> bool:
    """Say whether a walk shows that totals are about the window: its end was told by an empty page, which counted what came.

    A total that is always one too small, or that counts its own page, never does.
    """
    return walk.is_ended and walk.received > 0 and walk.before.size == walk.after.size == walk.received


def refutes_totals(walk: Walk) -> bool:
    """Say whether more different records came than were counted before and after."""
    sizes = (walk.before.size, walk.after.size)
    return all(size is not None and size < len(walk.keys) for size in sizes)


def judge(walk: Walk, earlier: Walk | None, *, is_total_trusted: bool) -> tuple[str | None, str]:
    """Say what a walk proves, given the one just before it over the same window (None: it is the first).

    Returns: the method that proved it (`counts`, `totals` or `TWO_WALKS`) or None, and the reason in words.
    `is_total_trusted`: a walk of this source once confirmed its totals (`confirms_totals`).
    """
    is_same = earlier is not None and _is_same(walk, earlier)
    if is_total_trusted and (walk.before.size, walk.after.size) == (walk.received, walk.received):
        if _kinds_differ(walk):
            return None, "the window changed: as many records as before, but of other kinds"
        if walk.has_repeats and not is_same:
            return None, "equal records came on several pages: one more walk tells twins from a shifted page"
        is_counted = _is_equal(walk.before.counts, walk.kinds) and _is_equal(walk.after.counts, walk.kinds)
        return ("counts" if is_counted else "totals"), "as many came as the upstream counts, before and after"
    if is_same and not _is_contradicted(walk):
        return TWO_WALKS, "two walks in other page boundaries brought the same records"
    return None, _doubt(walk, earlier)


def _is_same(walk: Walk, earlier: Walk) -> bool:
    """Say whether two walks brought the same; where one repeats keys, in the same order too.

    Of a listing that comes in another order each time, two walks may repeat and miss the same records by chance.
    """
    is_order_told = walk.has_repeats or earlier.has_repeats
    return walk.keys == earlier.keys and (not is_order_told or list(walk.order) == list(earlier.order))


def _is_contradicted(walk: Walk) -> bool:
    """Say whether a total claims more than came; one that claims less is wrong by itself and says nothing."""
    return any(claim.size is not None and claim.size > walk.received for claim in (walk.before, walk.after))


def _kinds_differ(walk: Walk) -> bool:
    """Say whether whole counts differ from each other, or from what came: a swap leaves totals alone.

    Where both sides have names of their own, kinds are counted under other names: that says nothing.
    """
    before, after = (_whole(claim) for claim in (walk.before, walk.after))
    is_swapped = before is not None and after is not None and before != after
    return is_swapped or any(
        counts is not None
        and (counts.keys() <= walk.kinds.keys() or counts.keys() >= walk.kinds.keys())
        and counts != walk.kinds
        for counts in (before, after)
    )


def _whole(claim: Claim) -> Counter[str] | None:
    """Give the counts without zeros where they add up to the total: then they are about the same records."""
    if claim.counts is None or sum(claim.counts.values()) != claim.size:
        return None
    return +Counter(claim.counts)


def _is_equal(counts: Mapping[str, int] | None, kinds: Counter[str]) -> bool:
    return counts is not None and +Counter(counts) == kinds


def _doubt(walk: Walk, earlier: Walk | None) -> str:
    before, after = walk.before.size, walk.after.size
    if before is not None and after is not None and before != after and max(before, after) >= walk.received:
        return f"the window changed: {before} records before, {after} after"
    if _is_contradicted(walk):
        return f"{walk.received} records came, the upstream counts {before if before is not None else after}"
    if earlier is None:
        return "the upstream counts nothing that can be relied on: a second walk is needed"
    return f"two walks differ: {earlier.received} and {walk.received} records"


LATENESS_BOUNDS = tuple(timedelta(seconds=seconds) for seconds in (5, 15, 60, 300, 900, 3600, 21_600, 86_400))


def spread(lateness: Sequence[timedelta]) -> list[int]:
    """Count how late records came, in the buckets that end at `LATENESS_BOUNDS`; the last bucket holds what is beyond them."""
    buckets = [0] * (len(LATENESS_BOUNDS) + 1)
    for late in lateness:
        buckets[bisect_left(LATENESS_BOUNDS, late)] += 1
    return buckets


def overlap_for(lateness: Sequence[timedelta]) -> timedelta:
    """Recommend an overlap: twice what all but one in a thousand records were late, in whole minutes; `lateness` is sorted."""
    if not lateness:
        return timedelta(0)
    longest = lateness[int(len(lateness) * 0.999)]
    return timedelta(minutes=max(1, -(-2 * longest // timedelta(minutes=1))))
