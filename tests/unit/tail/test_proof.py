"""What listings prove: tables of cases, and properties of a simulated listing that changes while it is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from actionwatch.tail.proof import TWO_WALKS, Claim, Walk, confirms_totals, prove, refutes_totals
from tests.cases import in_one_test

# -- what a listing proves: tables


def a_walk(
    keys: str, *, before: object = None, after: object = None, pages: int = 1, order: str = "", repeats: bool = False
) -> Walk:
    """Make a walk whose kinds are its keys in upper case. A claim has a total, counts, both, or nothing."""
    return Walk(
        Counter(keys),
        Counter(keys.upper()),
        [a_claim(before), a_claim(after if after is not None else before)],
        list(order or keys),
        pages,
        has_repeats=repeats,
    )


def a_claim(reported: object) -> Claim:
    match reported:
        case int():
            return Claim(reported)
        case dict():
            return Claim(None, reported)
        case (int() as total, dict() as counts):
            return Claim(total, counts)
    return Claim()


AB = {"A": 1, "B": 1}


@in_one_test(
    ("walk", "earlier", "is_trusted", "method"),
    [
        pytest.param(a_walk("ab", before=2), None, True, "totals", id="as many as the trusted total"),
        pytest.param(a_walk("", before=0), None, True, "totals", id="nothing, as reported"),
        pytest.param(a_walk("ab", before=(2, AB)), None, True, "counts", id="counts too"),
        pytest.param(a_walk("ab", before=(2, {**AB, "C": 0})), None, True, "counts", id="a kind counted as none"),
        pytest.param(a_walk("ab", before=AB), None, True, "counts", id="counts alone"),
        pytest.param(a_walk("ab", before=(2, AB), after=2), None, True, "totals", id="counts before, not after"),
        pytest.param(a_walk("ab", before=2, after=(2, AB)), None, True, "totals", id="counts after, not before"),
        pytest.param(a_walk("ab", before=2, after=(2, {"A": 2})), None, True, None, id="other kinds, counted after"),
        pytest.param(a_walk("ab", before=(2, {"A": 2}), after=2), None, True, None, id="other kinds, counted before"),
        pytest.param(a_walk("ab", before=(2, {"A": 9})), None, True, "totals", id="counts of something else"),
        pytest.param(a_walk("ab", before=(2, {"X": 2})), None, True, "totals", id="counts under other names"),
        pytest.param(a_walk("ab", before=(2, {"A": 2, "B": 0})), None, True, None, id="counts of fewer kinds"),
        pytest.param(a_walk("aa", before=(2, AB)), None, True, None, id="counts of more kinds"),
        pytest.param(
            a_walk("ab", before=(2, {"A": 1, "X": 1})), None, True, "totals", id="one kind under another name"
        ),
        pytest.param(a_walk("abb", before=(3, {"A": 2, "B": 1})), None, True, None, id="other kinds than counted"),
        pytest.param(a_walk("ab", before=(2, {"C": 2}), after=(2, AB)), None, True, None, id="kinds changed"),
        pytest.param(a_walk("ab", before=2), None, False, None, id="an untrusted total proves nothing"),
        pytest.param(a_walk("ab", before=2, after=3), None, True, None, id="one more after"),
        pytest.param(a_walk("ab", before=3), None, True, None, id="fewer came"),
        pytest.param(a_walk("ab", before=1), None, True, None, id="more came"),
        pytest.param(a_walk("aab", before=3, pages=2, repeats=True), None, True, None, id="twins or a shifted page"),
        pytest.param(a_walk("aab", before=3), None, True, "totals", id="twins on one page"),
        pytest.param(
            a_walk("aab", before=3, pages=2, repeats=True),
            a_walk("aab", before=3, pages=2, repeats=True),
            True,
            "totals",
            id="twins twice",
        ),
        pytest.param(a_walk("ab"), None, False, None, id="nothing reported, one walk"),
        pytest.param(a_walk("ab"), a_walk("ab"), False, TWO_WALKS, id="nothing reported, two walks"),
        pytest.param(a_walk("ab"), a_walk("ba"), False, TWO_WALKS, id="in another order, without repeats"),
        pytest.param(a_walk("ab"), a_walk("abc"), False, None, id="two walks differ"),
        pytest.param(a_walk("ab"), a_walk("abb"), False, None, id="two walks differ by a twin"),
        pytest.param(
            a_walk("aab", pages=2, repeats=True),
            a_walk("aab", order="aba", pages=2, repeats=True),
            False,
            None,
            id="chance",
        ),
        pytest.param(
            a_walk("aab", repeats=True), a_walk("aab", order="aba"), False, None, id="chance, repeats in the last walk"
        ),
        pytest.param(
            a_walk("aab"), a_walk("aab", order="aba", repeats=True), False, None, id="chance, repeats in the first walk"
        ),
        pytest.param(a_walk("ab", before=3), a_walk("ab", before=3), False, None, id="a total claims more"),
        pytest.param(a_walk("ab", before=3, after=2), a_walk("ab"), False, None, id="the total before claims more"),
        pytest.param(a_walk("ab", before=2, after=3), a_walk("ab"), False, None, id="the total after claims more"),
        pytest.param(a_walk("ab", before=3), a_walk("ab", before=3), True, None, id="a trusted total claims more"),
        pytest.param(
            a_walk("ab", before=1), a_walk("ab", before=1), True, TWO_WALKS, id="a total too small proves nothing"
        ),
    ],
)
def test_walk_proves_what_its_claims_allow(
    walk: Walk, earlier: Walk | None, is_trusted: bool, method: str | None
) -> None:
    """A walk proves exactly what its totals and counts allow."""
    found, why = prove(walk, earlier, is_total_trusted=is_trusted)
    assert found == method
    assert why


@in_one_test(
    ("walk", "earlier", "reason"),
    [
        (a_walk("ab", before=2, after=3), None, "the window changed: 2 records before, 3 after"),
        (a_walk("ab", before=3, after=2), None, "the window changed: 3 records before, 2 after"),
        (a_walk("ab", before=1, after=2), None, "the window changed: 1 record before, 2 after"),
        (a_walk("ab", before=3), None, "2 records received, but the upstream counts 3"),
        (replace(a_walk("ab"), claims=[Claim(3), Claim()]), None, "2 records received, but the upstream counts 3"),
        (a_walk("ab", after=3), None, "2 records received, but the upstream counts 3"),
        # A total below the number of records is wrong by itself, and does not show that the window changed.
        (a_walk("abc", before=1, after=2), None, "the upstream reports no number that can be trusted"),
        (a_walk("ab"), a_walk("abc"), "two walks differ: 3 and 2 records"),
    ],
)
def test_reason_names_the_numbers_that_disagree(walk: Walk, earlier: Walk | None, reason: str) -> None:
    """The reason for an unproved window names the numbers that disagree."""
    assert prove(walk, earlier, is_total_trusted=False)[1].startswith(reason)


@in_one_test(
    ("walk", "is_ended", "is_confirmed"),
    [
        (a_walk("a", before=1), True, True),
        (a_walk("ab", before=2), True, True),
        (a_walk("ab", before=2), False, False),  # it ended because of the total
        (a_walk("", before=0), True, False),
        (a_walk("ab", before=2, after=3), True, False),
        (a_walk("ab", before=1), True, False),
        (a_walk("ab", before=2, after=0), True, False),  # each page counts only itself
        (a_walk("ab"), True, False),
    ],
)
def test_totals_are_trusted_after_a_confirmation(walk: Walk, is_ended: bool, is_confirmed: bool) -> None:
    """Totals are trusted only after a walk that did not end because of one gave the same number."""
    assert confirms_totals(replace(walk, is_ended=is_ended)) is is_confirmed


@pytest.mark.parametrize(
    ("walk", "is_refuted"),
    [
        (a_walk("abc", before=2), True),
        (a_walk("abc", before=2, after=3), False),
        (a_walk("aab", before=2), False),  # a record may have been returned twice
        (a_walk("abc"), False),
    ],
)
def test_refuted_totals_are_not_trusted(walk: Walk, is_refuted: bool) -> None:
    """A total below the number of records is no longer trusted; one that may be right is."""
    assert refutes_totals(walk) is is_refuted


# -- what a listing proves while it changes


Listing = list[str]
Change = Callable[[Listing], None]


@dataclass(frozen=True)
class Upstream:
    """How a simulated upstream divides pages and counts."""

    reports_total: bool = True
    reports_counts: bool = True
    clamp: int = 1000
    reorder: Callable[[Listing, int], Listing] = lambda listing, request: listing


class Walker:
    """Reads a listing by offset like the tail, with a change after each request."""

    def __init__(self, upstream: Upstream, listing: Listing, changes: Sequence[Change]) -> None:
        self.upstream, self.listing, self.changes = upstream, listing, list(changes)
        self.requests = 0

    def walk(self, size: int, *, trusts_total: bool) -> Walk:
        walk = Walk()
        while not walk.is_ended and not (trusts_total and walk.claims and walk.claims[-1].total == walk.received):
            page, claim = self._ask(walk.received, size)
            walk.take_page(page, [key[0] for key in page], claim)
        if not walk.is_ended and walk.page_count > 1:
            walk.claims.append(self._ask(0, 1)[1])
        return walk

    def _ask(self, offset: int, size: int) -> tuple[Listing, Claim]:
        upstream = self.upstream
        shown = upstream.reorder(list(self.listing), self.requests)
        page = shown[offset : offset + min(size, upstream.clamp)]
        counts = dict(Counter(key[0] for key in self.listing)) if upstream.reports_counts else None
        claim = Claim(len(self.listing) if upstream.reports_total else None, counts)
        self.requests += 1
        if self.changes:
            self.changes.pop(0)(self.listing)
        return page, claim


def read(walker: Walker, size: int, *, is_trusted: bool, walks: int = 3) -> tuple[Walk | None, Listing]:
    """Read like `WindowReader`. Return the walk that counts, and the records that existed when it began."""
    earlier: Walk | None = None
    began = list(walker.listing)
    for number in range(walks):
        before = list(walker.listing)
        length = size if number % 2 == 0 else max(size * 2 // 3, 1)
        length = 1000 if earlier is not None and earlier.has_repeats else length
        walk = walker.walk(length, trusts_total=is_trusted)
        is_trusted = not refutes_totals(walk) if is_trusted else confirms_totals(walk)
        if prove(walk, earlier, is_total_trusted=is_trusted)[0]:
            return walk, before
        earlier, began = walk, before
    return None, began


def insert(place: float, key: str) -> Change:
    return lambda listing: listing.insert(int(place * (len(listing) + 1)), key)


def remove(place: float) -> Change:
    return lambda listing: None if not listing else listing.__delitem__(int(place * len(listing)))


def nothing(_: Listing) -> None:
    pass


places = st.floats(0, 1, exclude_max=True)
new_keys = st.sampled_from(["a8", "b8", "b9", "c9"])
inserts = st.lists(st.one_of(st.just(nothing), st.builds(insert, places, new_keys)), max_size=12)
removals = st.lists(st.one_of(st.just(nothing), st.builds(remove, places)), max_size=12)
listings = st.integers(0, 14).flatmap(
    lambda count: st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 5)).map(lambda pair: f"{pair[0]}{pair[1]}"),
        min_size=count,
        max_size=count,
    )
)
upstreams = st.builds(
    Upstream, reports_total=st.booleans(), reports_counts=st.booleans(), clamp=st.sampled_from([2, 3, 1000])
)


@given(upstreams, listings, inserts, st.integers(1, 9), st.booleans())
def test_proof_while_records_appear(upstream, listing, changes, size, is_trusted) -> None:  # type: ignore[no-untyped-def]
    """A walk that is proved contains every record that existed before it, each once."""
    assume(upstream.reports_total or not is_trusted)
    walker = Walker(upstream, listing, changes)
    walk, before = read(walker, size, is_trusted=is_trusted)
    if walk is not None:
        assert Counter(before) <= walk.keys, "missed"
        assert walk.keys <= Counter(walker.listing), "doubled"


@given(upstreams, listings, removals, st.integers(1, 9), st.booleans())
def test_proof_while_records_disappear(upstream, listing, changes, size, is_trusted) -> None:  # type: ignore[no-untyped-def]
    """A walk that is proved contains every record that still exists, each once."""
    assume(upstream.reports_total or not is_trusted)
    walker = Walker(upstream, listing, changes)
    walk, before = read(walker, size, is_trusted=is_trusted)
    if walk is not None:
        assert Counter(walker.listing) <= walk.keys, "missed"
        assert walk.keys <= Counter(before), "doubled"


@given(upstreams, listings, st.integers(1, 9), st.booleans())
def test_listing_that_does_not_change_is_proved(upstream, listing, size, is_trusted) -> None:  # type: ignore[no-untyped-def]
    """A listing that does not change is proved, with exactly its records."""
    assume(upstream.reports_total or not is_trusted)
    walk, _ = read(Walker(upstream, list(listing), []), size, is_trusted=is_trusted)
    assert walk is not None
    assert walk.keys == Counter(listing)


@given(listings, st.integers(1, 9), st.randoms(use_true_random=False), st.booleans())
def test_proof_of_a_listing_without_order(listing, size, chance, reports_total) -> None:  # type: ignore[no-untyped-def]
    """A listing in a different order at each request is not proved with records that are repeated or missing by chance."""
    upstream = Upstream(reports_total, reports_total, reorder=lambda shown, _: chance.sample(shown, len(shown)))
    walk, _ = read(Walker(upstream, list(listing), []), size, is_trusted=False, walks=6)
    if walk is not None:
        assert walk.keys == Counter(listing)


@given(listings, st.integers(2, 9), st.integers(0, 30))
def test_total_that_is_too_small_is_no_proof(listing, size, walks) -> None:  # type: ignore[no-untyped-def]
    """A total that is always one too small does not end a walk early and count as proof."""

    class Short(Walker):
        def _ask(self, offset: int, size: int) -> tuple[Listing, Claim]:
            page, claim = super()._ask(offset, size)
            return page, Claim(max(0, (claim.total or 0) - 1), None)

    walk, _ = read(Short(Upstream(), list(listing), []), size, is_trusted=False)
    assert walk is None or walk.keys == Counter(listing)


def test_swap_within_one_kind_is_not_detected_by_counts() -> None:
    """Counts do not detect a swap within one kind. If this fails, a backlog need not be read a second time.

    Between two pages one record disappears before the offset, and another of its kind appears behind it. The total and the
    counts do not change, and the record that moved up over the edge of the page is missed if it has this kind too. This needs
    a deletion and a late record within the milliseconds of one walk. Reading again shows what changed.

    """

    def swap(listing: Listing) -> None:
        listing.remove("a0")
        listing.append("a9")

    walker = Walker(Upstream(), ["a0", "a1", "a2", "b1", "c0"], [swap])
    walk, _ = read(walker, 2, is_trusted=True)
    assert walk is not None
    assert Counter(walker.listing) - walk.keys == Counter(["a2"])
