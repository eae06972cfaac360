"""What a walk counts: which records lie in the window itself, which came more than once, and which bounds are ignored."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from actionwatch.base.model import Record
from actionwatch.instaclustr.wire import Page
from actionwatch.tail.cursor import Window
from actionwatch.tail.proof import Claim
from actionwatch.tail.walk import WindowScan, ignored_bounds
from tests.builders import NOON, make_record
from tests.cases import in_one_test

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
WINDOW, ASKED = Window(NOON, NOON + MINUTE), Window(NOON - MINUTE, NOON + 2 * MINUTE)


def a_page(*records: Record, **fields: Any) -> Page:
    """Make a page of records, without a total unless the fields give one."""
    values: dict[str, Any] = {"records": records, "total": None, "counts": None, "seen_at": NOON}
    return Page(**{**values, **fields})


def a_record(number: int, seconds: float, kind: str = "BACKUP", **changes: Any) -> Record:
    """Make a record some seconds after noon."""
    return make_record(number, occurred_at=NOON + timedelta(seconds=seconds), action_kind=kind, **changes)


def a_scan(*pages: Page) -> WindowScan:
    """Walk through pages."""
    scan = WindowScan(WINDOW, ASKED)
    for page in pages:
        scan.take_page(page, is_unbounded=False, prove_until=ASKED.end)
    return scan


def test_only_the_records_of_the_window_itself_are_in_the_receipt() -> None:
    """The records of a window are those between its bounds, both included, with a readable time."""
    start, end = a_record(1, 0), a_record(2, 60, "ADD_NODE")
    before, after = a_record(3, -0.001), a_record(4, 60.001, "ADD_NODE")
    untimed = a_record(5, 30, "LOGIN", is_time_readable=False)
    scan = a_scan(a_page(end, start, before), a_page(after, untimed))
    assert scan.inner_keys == {start.key, end.key}
    assert scan.kind_counts == Counter(BACKUP=1, ADD_NODE=1)
    assert (scan.newest, scan.walk.received) == (end.occurred_at, 5)
    assert a_scan(a_page(start), a_page(end)).newest == a_scan(a_page(end), a_page(start)).newest == end.occurred_at
    assert a_scan(a_page(before, untimed)).newest is None


@in_one_test(
    ("dates", "limit", "seconds"),
    [
        ([None, 10], 90, 60),
        ([10, 20], 90, 10),
        ([20, 10], 90, 20),
        ([90], 90, 60),
        ([20], 15, 15),
        ([None], 15, 15),
    ],
)
def test_the_proof_ends_at_the_upstreams_clock_of_the_first_response(
    dates: list[int | None], limit: int, seconds: int
) -> None:
    """A proof ends at the end of the window, the `Date` of the first response or the limit at that time: the earliest."""
    scan = WindowScan(WINDOW, ASKED)
    for date in dates:
        page = a_page(server_date=None if date is None else NOON + date * SECOND)
        scan.take_page(page, is_unbounded=False, prove_until=NOON + limit * SECOND)
    assert scan.through == NOON + seconds * SECOND
    scan.take_page(a_page(a_record(1, seconds), a_record(2, seconds + 0.001)), is_unbounded=False, prove_until=NOON)
    assert len(scan.inner_keys) == 1


@pytest.mark.parametrize("sizes", [(5,), (1, 4), (2, 3), (2, 2, 1), (1, 1, 1, 1, 1)])
def test_twins_are_the_records_that_came_again(sizes: tuple[int, ...]) -> None:
    """A record that came three times has two twins, on whatever pages it came."""
    same, other, outside = a_record(1, 1), a_record(2, 2), a_record(3, -1)
    came = [same, outside, same, outside, same]
    pages = [a_page(*came[sum(sizes[:index]) :][:size]) for index, size in enumerate(sizes)]
    scan = a_scan(*pages, a_page(other), a_page())
    assert set(scan.repeated) == {same.key, outside.key}
    assert scan.walk.keys[same.key] == 3
    assert scan.inner_keys == {same.key, other.key}
    assert scan.walk.has_repeats is (len(sizes) > 1)
    assert scan.walk.order == [record.key for record in [*came, other]]
    assert (scan.walk.page_count, scan.walk.is_ended) == (len(sizes) + 1, True)


def test_claims_of_a_walk() -> None:
    """The claim before a walk is that of the first response, the claim after it that of the last."""
    scan = a_scan(a_page(a_record(1, 1), total=7, counts={"BACKUP": 7}), a_page(a_record(2, 2), total=8))
    assert (scan.walk.before, scan.walk.after) == (Claim(7, {"BACKUP": 7}), Claim(8, None))
    assert (scan.size(is_total_trusted=True), scan.size(is_total_trusted=False)) == (7, 2)
    assert a_scan(a_page(a_record(1, 1), a_record(2, 2), total=1)).size(is_total_trusted=True) == 2
    assert not scan.walk.is_ended


def test_one_page_beyond_the_bounds_makes_a_walk_unbounded() -> None:
    """A walk is unbounded from the first page on that exceeds the bounds."""
    scan = a_scan(a_page())
    assert not scan.is_unbounded
    for is_unbounded in (True, False):
        scan.take_page(a_page(), is_unbounded=is_unbounded, prove_until=NOON)
        assert scan.is_unbounded


@pytest.mark.parametrize(
    ("seconds", "ignored"),
    [
        ([], set()),
        ([-61, 121], set()),
        ([-61.001, 121], {"startTime"}),
        ([-61, 121.001], {"endTime"}),
        ([30, 500, -500], {"startTime", "endTime"}),
    ],
)
def test_ignored_bounds(seconds: list[float], ignored: set[str]) -> None:
    """A bound is ignored if a record with a readable time exceeds it by more than a second."""
    records = [a_record(number, second) for number, second in enumerate(seconds)]
    untimed = a_record(99, 9999, is_time_readable=False)
    assert ignored_bounds(a_page(*records, untimed), ASKED) == ignored
