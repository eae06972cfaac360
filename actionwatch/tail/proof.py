"""Prove a window by the walks through its pages. Pure.

Records that appear during a walk shift the pages: one record is shown twice at the edge of a page and another may be missed.
Only counts, or a second walk, show that nothing changed (upstream page, "Paging").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from actionwatch.base.plurals import counted

TWO_WALKS = "two walks"  # the method if the upstream reports no usable number


@dataclass(frozen=True, slots=True)
class Claim:
    """The claim of one response about the whole window: the number of records, and of each kind. None: it makes none."""

    total: int | None = None
    counts: Mapping[str, int] | None = None

    @property
    def size(self) -> int | None:
        """The total, or else the sum of the counts."""
        if self.total is not None or self.counts is None:
            return self.total
        return sum(self.counts.values())

    @property
    def whole_counts(self) -> Counter[str] | None:
        """The counts without zeros if they add up to the total: only then they are about the same records."""
        if self.counts is None or sum(self.counts.values()) != self.size:
            return None
        return +Counter(self.counts)


@dataclass(slots=True)
class Walk:
    """The sum of one walk so far: the number of each record key and of each kind, and the claims of the responses."""

    keys: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    claims: list[Claim] = field(default_factory=list)
    """One for each page, and that of a response after the last page, if there was one."""
    order: list[str] = field(default_factory=list)
    """The keys in the order of arrival."""
    page_count: int = 0
    """Pages with records."""
    largest_page: int = 0
    """The most records on one page."""
    has_repeats: bool = False
    """Whether a key appeared again on a later page, as a twin does, and a record that a shifted page shows twice."""
    is_in_doubt: bool = False
    """Whether the next walk decides if records are others with more or fewer fields: they are not stored."""
    is_ended: bool = False
    """Whether the last page was empty, so that the walk did not end because the total was reached."""

    def take_page(self, keys: Sequence[str], kinds: Sequence[str], claim: Claim) -> None:
        """Count a page, whose records have these keys and kinds."""
        self.has_repeats = self.has_repeats or not self.keys.keys().isdisjoint(keys)
        self.keys.update(keys)
        self.kinds.update(kinds)
        self.claims.append(claim)
        self.order += keys
        self.page_count += bool(keys)
        self.largest_page = max(self.largest_page, len(keys))
        self.is_ended = not keys

    @property
    def received(self) -> int:
        """The number of records received; equal ones count as often as they were received."""
        return len(self.order)

    @property
    def before(self) -> Claim:
        """The claim of the first page."""
        return self.claims[0]

    @property
    def after(self) -> Claim:
        """The claim of the last response."""
        return self.claims[-1]


def confirms_totals(walk: Walk) -> bool:
    """Return whether a walk shows that totals are about the window: it ended with an empty page and received that many.

    A total that is always one too small, or that counts its own page, never passes.
    """
    return walk.is_ended and walk.received > 0 and walk.before.size == walk.after.size == walk.received


def refutes_totals(walk: Walk) -> bool:
    """Return whether more different records were received than the upstream counted before and after."""
    sizes = (walk.before.size, walk.after.size)
    return all(size is not None and size < len(walk.keys) for size in sizes)


def prove(walk: Walk, earlier: Walk | None, *, is_total_trusted: bool) -> tuple[str | None, str]:
    """Return the method by which a walk proves its window, or None, and the reason in words.

    `earlier` is the walk just before it through the same window. `is_total_trusted`: a walk of this source has confirmed its
    totals (`confirms_totals`).
    """
    if walk.is_in_doubt:
        return None, "records are like others with more or fewer fields: another walk is needed to distinguish them"
    is_same = earlier is not None and _is_same(walk, earlier)
    if is_total_trusted and (walk.before.size, walk.after.size) == (walk.received, walk.received):
        if _kinds_differ(walk):
            return None, "the window changed: as many records as before, but of other kinds"
        if walk.has_repeats and not is_same:
            why = "equal records are on several pages: another walk is needed to distinguish twins from a shifted page"
            return None, why
        is_counted = _is_equal(walk.before.counts, walk.kinds) and _is_equal(walk.after.counts, walk.kinds)
        method = "counts" if is_counted else "totals"
        return method, "as many records were received as the upstream counts, before and after"
    if is_same and not _is_contradicted(walk):
        return TWO_WALKS, "two walks with different page boundaries received the same records"
    return None, _why_unproved(walk, earlier)


def _is_same(walk: Walk, earlier: Walk) -> bool:
    """Return whether two walks received the same records; in the same order too, if one of them repeats keys.

    If the order of a listing changes each time, two walks may repeat and miss the same records by chance.
    """
    is_order_compared = walk.has_repeats or earlier.has_repeats
    return walk.keys == earlier.keys and (not is_order_compared or walk.order == earlier.order)


def _is_contradicted(walk: Walk) -> bool:
    """Return whether a total claims more records than were received. One that claims fewer is wrong and means nothing."""
    return any(claim.size is not None and claim.size > walk.received for claim in (walk.before, walk.after))


def counts_kinds(claim: Claim, kinds: Counter[str]) -> bool:
    """Return whether the counts of a response are about these kinds and add up.

    If both sides have kinds that the other lacks, the upstream counts under other names, which means nothing.
    """
    counts = claim.whole_counts
    return counts is not None and not (counts.keys() - kinds.keys() and kinds.keys() - counts.keys())


def _kinds_differ(walk: Walk) -> bool:
    """Return whether whole counts differ from each other, or from what was received: a swap leaves totals as they are."""
    before, after = walk.before.whole_counts, walk.after.whole_counts
    is_swapped = before is not None and after is not None and before != after
    return is_swapped or any(
        counts_kinds(claim, walk.kinds) and claim.whole_counts != walk.kinds for claim in (walk.before, walk.after)
    )


def _is_equal(counts: Mapping[str, int] | None, kinds: Counter[str]) -> bool:
    return counts is not None and +Counter(counts) == kinds


def _why_unproved(walk: Walk, earlier: Walk | None) -> str:
    before, after = walk.before.size, walk.after.size
    if before is not None and after is not None and before != after and max(before, after) >= walk.received:
        return f"the window changed: {counted(before, 'record')} before, {after} after"
    if _is_contradicted(walk):
        return f"{counted(walk.received, 'record')} received, but the upstream counts {before if before is not None else after}"
    if earlier is None:
        return "the upstream reports no number that can be trusted: a second walk is needed"
    return f"two walks differ: {earlier.received} and {walk.received} records"
