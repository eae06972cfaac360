"""Windows: where they start, how they are cut and widened; recommended overlaps."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionwatch.tail.cursor import (
    EDGE,
    MAX_WINDOW_RECORDS,
    MIN_WINDOW,
    Window,
    next_window,
    overlap_for,
    round_down,
    slice_count,
    spread,
)
from tests.builders import NOON
from tests.cases import in_one_test

QUARTER = timedelta(minutes=15)
MICRO = timedelta(microseconds=1)
instants = st.timedeltas(timedelta(0), timedelta(days=40)).map(lambda span: NOON + span)
spans = st.timedeltas(timedelta(0), timedelta(days=40))


# -- windows


@given(instants, instants, instants, spans)
def test_next_window_reaches_from_the_overlap_to_now(begins_at, mark, now, overlap) -> None:  # type: ignore[no-untyped-def]
    """The next window covers every instant from one overlap before the mark (or from the beginning) to now."""
    window = next_window(begins_at, mark, now, overlap)
    assert window.start < max(begins_at, mark - overlap)
    assert window.end >= now
    assert window.end - window.start >= MIN_WINDOW
    assert (window.start.microsecond % 1000, window.end.microsecond % 1000) == (0, 0)


@pytest.mark.parametrize(("micros", "rounded"), [(0, 0), (1, 1000), (999, 1000), (1000, 1000)])
def test_the_end_is_rounded_up_to_milliseconds(micros: int, rounded: int) -> None:
    """A poll ends at now, rounded up to a millisecond, so that a record of this millisecond is included."""
    window = next_window(NOON, NOON, NOON + micros * MICRO, QUARTER)
    assert next_window(NOON - QUARTER, NOON, NOON + micros * MICRO, QUARTER).end == NOON + rounded * MICRO
    assert window.end - window.start >= MIN_WINDOW


@given(instants, instants, spans)
def test_next_window_begins_no_earlier_than_the_stream(begins_at, now, overlap) -> None:  # type: ignore[no-untyped-def]
    """A window begins at most two milliseconds before the beginning of the stream."""
    assert next_window(begins_at, begins_at, now, overlap).start >= begins_at - 2 * EDGE


@given(instants, st.timedeltas(timedelta(0), timedelta(days=400)), st.integers(-3, 60))
def test_slices_cover_without_a_gap(start, length, count) -> None:  # type: ignore[no-untyped-def]
    """Slices stay in the window, and even with exclusive bounds no instant is between two of them."""
    window = Window(round_down(start, EDGE), round_down(start, EDGE) + length)
    parts = window.slices(count)
    assert (parts[0].start, parts[-1].end) == (window.start, window.end)
    assert all(later.start == earlier.end - EDGE for earlier, later in pairwise(parts))
    assert 1 <= len(parts) <= max(1, count)
    equal = length / len(parts)
    # Steps are rounded to microseconds.
    assert all(abs(part.end - part.start - equal) <= 2 * EDGE + len(parts) * MICRO for part in parts), (
        "the parts are not equal"
    )


@given(instants, st.timedeltas(timedelta(0), timedelta(days=1)))
def test_halving_ends_with_shorter_parts(start, length) -> None:  # type: ignore[no-untyped-def]
    """Halving ends, and each part is shorter than the whole."""
    window = Window(start, start + length)
    for _ in range(60):
        if not window.is_divisible():
            return
        parts = window.slices(2)
        assert len(parts) == 2
        assert all(part.end - part.start < window.end - window.start for part in parts)
        window = max(parts, key=lambda part: part.end - part.start)
    raise AssertionError("it did not end")


@pytest.mark.parametrize(
    ("length", "is_divisible"),
    [(timedelta(0), False), (2 * MIN_WINDOW - MICRO, False), (2 * MIN_WINDOW, True), (timedelta(days=9), True)],
)
def test_only_divisible_windows_are_divided(length: timedelta, is_divisible: bool) -> None:
    """Exactly the windows that can be requested in parts are divided."""
    assert Window(NOON, NOON + length).is_divisible() is is_divisible


@pytest.mark.parametrize("total", [MAX_WINDOW_RECORDS + 1, 100_000, 1_000_000])
def test_slices_are_small_and_few(total: int) -> None:
    """Evenly distributed records give slices that are small enough, and at most twice as many as necessary."""
    assert 0 < total / slice_count(total) <= MAX_WINDOW_RECORDS / 2
    assert slice_count(total) <= 2 * total / MAX_WINDOW_RECORDS + 1


@in_one_test(
    ("seconds", "minutes"),
    [([], 0), ([0], 1), ([1], 1), ([1, 2, 31], 2), ([5] * 1999 + [9000], 1), ([5] * 990 + [400] * 10, 14)],
)
def test_recommended_overlap_covers_late_records(seconds: list[int], minutes: int) -> None:
    """The recommended overlap covers all but one in a thousand records, and a single straggler does not determine it."""
    assert overlap_for([timedelta(seconds=value) for value in seconds]) == timedelta(minutes=minutes)


def test_late_records_are_counted_by_lateness() -> None:
    """Each record counts in the bucket of its lateness."""
    found = spread([timedelta(seconds=value) for value in (0, 5, 6, 900, 86_401)])
    assert found == [2, 1, 0, 0, 1, 0, 0, 0, 1]


CUTS = (None, EDGE, *(timedelta(seconds=seconds) for seconds in (1, 60, 3600, 86_400)))


@given(instants, spans, st.sampled_from(CUTS), st.sampled_from(CUTS))
def test_widened_window_includes_the_window(start, length, known, cut) -> None:  # type: ignore[no-untyped-def]
    """The widened window includes the whole window, also if bounds are rounded and exclusive before or after rounding."""
    window = Window(start, start + length)
    asked = window.widened(known)
    assert asked.start <= window.start <= window.end <= asked.end
    if cut is not None and (known is None or cut <= known):
        assert round_down(asked.start, cut) < window.start
        assert round_down(asked.end - EDGE, cut) >= window.end
        assert round_down(asked.end, cut) > window.end


@pytest.mark.parametrize(
    ("unit", "before", "after"),
    [
        (EDGE, EDGE, EDGE),
        (timedelta(seconds=1), timedelta(seconds=1), timedelta(seconds=1) + EDGE),
        (timedelta(minutes=1), timedelta(minutes=1), timedelta(seconds=50) + EDGE),
        (None, EDGE, timedelta(hours=11, minutes=59, seconds=50) + EDGE),
    ],
)
def test_widened_to_whole_units(unit: timedelta | None, before: timedelta, after: timedelta) -> None:
    """A request begins and ends at the next whole unit outside its window."""
    window = Window(NOON, NOON + timedelta(seconds=10))
    assert window.widened(unit) == Window(window.start - before, window.end + after)


@given(instants, spans, st.sampled_from(CUTS[1:]))
def test_widened_by_less_than_a_unit(start, length, unit) -> None:  # type: ignore[no-untyped-def]
    """A request covers at most a unit and an edge outside the window, and all of it if the upstream rounds the start up."""
    window = Window(start, start + length)
    asked = window.widened(unit)
    assert window.start - asked.start < unit + EDGE
    assert asked.end - window.end <= unit + EDGE
    assert round_down(asked.start, unit) == asked.start
