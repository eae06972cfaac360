"""What the tail of a source learns of its upstream: the size of pages, if counts and totals are usable, the unit of bounds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from actionwatch.store.database import Database
from actionwatch.tail.cursor import COARSEST_UNIT, EDGE, MIN_WINDOW
from actionwatch.tail.proof import Claim, Walk
from actionwatch.tail.state import TailOptions, TailState
from tests.builders import Clock, make_marks

SECOND = timedelta(seconds=1)


def state_of(database: Database, *, unit: timedelta | None = None, is_trusted: bool = False) -> TailState:
    """Make the state of a tail that reads up to five records a page."""
    state = TailState(TailOptions("acme", "org", page_size=5), database, Clock())
    state.marks = make_marks(bounds_unit=unit, totals_cover_pages=is_trusted)
    return state


def walk_of(pages: Sequence[Sequence[str]], total: int | None = None, counts: dict[str, int] | None = None) -> Walk:
    """Make a walk through pages of keys, all of one kind, each with the same claim."""
    walk = Walk()
    for keys in pages:
        walk.take_page(keys, ["BACKUP"] * len(keys), Claim(total, counts))
    return walk


@pytest.mark.parametrize(("unit", "least"), [(None, COARSEST_UNIT), (EDGE, MIN_WINDOW), (SECOND, SECOND)])
def test_the_unit_of_bounds(database: Database, unit: timedelta | None, least: timedelta) -> None:
    """Bounds are milliseconds until another unit is known. A window is at least as long as a unit, or 10 ms, or else a day."""
    state = state_of(database, unit=unit)
    assert (state.unit, state.least) == (unit or EDGE, least)


@pytest.mark.parametrize(
    ("pages", "counts", "usable"),
    [
        ([["a"]], {"BACKUP": 1}, True),
        ([["a"]], {"backup": 1}, False),
        ([["a"]], None, False),
        ([[]], None, True),  # nothing came that could be counted
    ],
)
def test_counts_are_usable_until_a_walk_with_records_shows_otherwise(
    database: Database, pages: list[list[str]], counts: dict[str, int] | None, usable: bool
) -> None:
    """Counts that name other kinds than those that came are not asked for again; a walk without records shows nothing."""
    state = state_of(database)
    assert state.has_kind_counts is True
    state.weigh_totals(walk_of(pages, counts=counts))
    assert state.has_kind_counts is usable
    state.weigh_totals(walk_of([["a"]], counts={"BACKUP": 1}))
    assert state.has_kind_counts is True


@pytest.mark.parametrize(
    ("pages", "size"),
    [
        ([["a", "b"]], 5),  # the only page may be shorter than the others would be
        ([["a", "b"], ["c"]], 2),
        ([["a"], ["b", "c", "d"], []], 3),
        ([["a", "b", "c", "d", "e", "f"], ["g"]], 5),  # more than was requested
    ],
)
def test_the_size_of_pages_is_that_of_the_largest_one(database: Database, pages: list[list[str]], size: int) -> None:
    """The upstream may give fewer records a page than requested, as the first of several pages shows."""
    state = state_of(database)
    state.weigh_totals(walk_of(pages))
    assert state.page_records == size


@pytest.mark.parametrize("is_trusted", [True, False])
@pytest.mark.parametrize(
    ("pages", "total", "confirms", "refutes"),
    [
        ([["a", "b"], []], 2, True, False),
        ([["a", "b"]], 2, False, False),  # it ended because the total was reached
        ([["a", "b"], []], 3, False, False),
        ([["a", "b"], []], 1, False, True),
        ([[]], 0, False, False),
    ],
)
def test_totals_are_trusted_after_a_walk_to_an_empty_page(
    database: Database, is_trusted: bool, pages: list[list[str]], total: int, confirms: bool, refutes: bool
) -> None:
    """Totals are trusted once a walk received exactly as many, and until one receives more."""
    state = state_of(database, is_trusted=is_trusted)
    state.weigh_totals(walk_of(pages, total=total))
    assert state.is_total_trusted is (not refutes if is_trusted else confirms)
