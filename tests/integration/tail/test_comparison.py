"""Counts of the upstream compared with the store: when they can be compared, what they include, and how a window is cut."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from actionwatch.store.database import Database
from actionwatch.tail.comparison import Comparison
from actionwatch.tail.cursor import EDGE, Window
from tests.builders import NOON
from tests.integration.tail.test_pager import WINDOW, Bench
from tests.upstreams import World

SECOND = timedelta(seconds=1)


class Compared(Bench):
    """An organisation and a store that can be compared."""

    def __init__(self, world: World, database: Database) -> None:
        super().__init__(world, database, is_total_trusted=True)
        self.comparison = Comparison(self.state, self.pager)

    def is_unchanged(self, window: Window = WINDOW, *, is_overlap: bool = False) -> bool:
        """Compare a window."""
        return self.comparison.is_unchanged(window, self.report, is_overlap=is_overlap)

    def requests(self) -> int:
        """Count the requests of comparisons since the last call."""
        count, self.report.request_count = self.report.request_count, 0
        return count


@pytest.fixture
def compared(world: World, database: Database) -> Compared:
    """Store five records of the last minutes."""
    made = Compared(world, database)
    made.log(5)
    made.walk()
    made.requests()
    return made


@pytest.mark.parametrize(("is_trusted", "has_counts"), [(True, True), (True, False), (False, True)])
def test_counts_are_used_if_totals_are_trusted_and_kinds_are_counted(
    compared: Compared, is_trusted: bool, has_counts: bool
) -> None:
    """Without either, nothing is requested, and nothing counts as unchanged."""
    compared.state.marks = replace(compared.state.marks, totals_cover_pages=is_trusted)
    compared.state.has_kind_counts = has_counts
    is_possible = is_trusted and has_counts
    assert compared.comparison.is_possible is is_possible
    assert compared.is_unchanged() is is_possible
    assert compared.requests() == is_possible


@pytest.mark.parametrize("is_overlap", [True, False])
def test_a_window_is_unchanged_if_each_kind_counts_the_same(compared: Compared, is_overlap: bool) -> None:
    """A record that the store lacks changes its window, also if another kind has one record less."""
    for _ in range(3):
        assert compared.is_unchanged(is_overlap=is_overlap) is True
    compared.world.log("CREATE_CLUSTER", ago=90)
    assert compared.is_unchanged(is_overlap=is_overlap) is False
    compared.walk()
    assert compared.is_unchanged(is_overlap=is_overlap) is True
    assert compared.is_unchanged(Window(WINDOW.start, NOON - 30 * SECOND), is_overlap=is_overlap) is True
    assert compared.is_unchanged(Window(WINDOW.start - 60 * SECOND, NOON), is_overlap=is_overlap) is True


def test_a_window_with_a_record_at_its_bound_is_not_compared(compared: Compared) -> None:
    """If the upstream may or may not include a record, nothing is requested."""
    at_record = Window(NOON - 60 * SECOND + EDGE, NOON)
    assert compared.is_unchanged(at_record) is False
    assert compared.requests() == 0


def test_records_just_outside_of_what_is_requested_do_not_count(compared: Compared) -> None:
    """What is requested exceeds the window by a millisecond at each end; a record one more away is not in it."""
    window = Window(NOON - 90 * SECOND, NOON - 30 * SECOND)
    asked = compared.state.widened(window)
    for at in (asked.start - EDGE, asked.end + EDGE):
        compared.world.log(ago=(NOON - at).total_seconds())
    compared.walk()
    assert compared.is_unchanged(window) is True


def test_an_upstream_that_counts_no_kinds_is_not_asked_again(compared: Compared) -> None:
    """A response without counts shows that they are not usable."""
    compared.upstream.has_counts = False
    assert compared.is_unchanged() is False
    assert compared.requests() == 1
    assert compared.is_unchanged() is False
    assert compared.requests() == 0


@pytest.mark.parametrize(
    ("seconds", "busy", "middle"),
    [(2, [], None), (2.1, [], 1.05), (10, [], 5), (10, [5], 3), (4, [2], None), (1.5, [], None), (8, [3], None)],
)
def test_a_window_is_cut_where_no_record_is_near(
    world: World, database: Database, seconds: float, busy: list[float], middle: float | None
) -> None:
    """A window is cut in the middle or slightly before it, into parts of more than a second."""
    compared = Compared(world, database)
    start = NOON - 600 * SECOND
    for each in busy:
        world.log(ago=600 - each)
    compared.walk()
    parts = compared.comparison.cut(Window(start, start + seconds * SECOND))
    if middle is None:
        assert parts == []
        return
    assert [part.start for part in parts] == [start, parts[0].end]
    assert parts[1].end == start + seconds * SECOND
    assert not busy or all(abs(parts[0].end - start - each * SECOND) > SECOND for each in busy)
    assert busy or parts[0].end == start + middle * SECOND


@pytest.mark.parametrize(("most", "is_cut"), [(4, True), (5, False)])
def test_a_window_with_few_records_is_not_halved(compared: Compared, most: int, is_cut: bool) -> None:
    """A window is halved if it holds more than what one page reads, and only if totals can be trusted."""
    window = Window(NOON - 330 * SECOND, NOON)
    assert compared.comparison.holds_more(window, most) is is_cut
    assert len(compared.comparison.halves(window, most)) == 2 * is_cut
    compared.state.marks = replace(compared.state.marks, totals_cover_pages=False)
    assert compared.comparison.halves(window, most) == []
