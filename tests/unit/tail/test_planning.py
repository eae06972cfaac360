"""What polls and sweeps cover over time: together everything, and nothing later than promised."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionwatch.tail.bounds import UNITS
from actionwatch.tail.cursor import EDGE, MIN_WINDOW, Window, next_window, round_down
from actionwatch.tail.planning import (
    CHECKS_PER_REACH,
    GRACE,
    SETTLING,
    Bounds,
    due_reaches,
    move_steps,
    overdue_windows,
    proved_part,
    reaches_back,
    reaches_to_read,
    sweep_windows,
    without,
)
from tests.builders import NOON
from tests.cases import in_one_test
from tests.examples import examples

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)

reaches = st.sampled_from([7 * SECOND, MINUTE, 7 * MINUTE, HOUR, 6 * HOUR, timedelta(days=1), timedelta(days=7)])
spans = st.one_of(st.timedeltas(timedelta(0), MINUTE), st.timedeltas(timedelta(0), timedelta(days=3)))
overlaps = st.sampled_from([timedelta(0), SECOND, MINUTE, 15 * MINUTE, 6 * HOUR])
units = st.sampled_from(UNITS)


@dataclass
class Source:
    """A source whose polls and sweeps are planned and not made. Only the instants that they would read matter.

    `is_counted`: the polls count what is proved, instead of reading it.
    """

    reaches: Sequence[timedelta]
    overlap: timedelta
    unit: timedelta
    begin: datetime
    now: datetime
    is_counted: bool = False
    proved_through: datetime = NOON
    records: list[datetime] = field(default_factory=list)
    asked: dict[timedelta, datetime] = field(default_factory=dict)
    checked_at: dict[datetime, datetime] = field(default_factory=dict)
    """When each instant that a test asks about was counted or read last."""
    read_at: dict[datetime, datetime] = field(default_factory=dict)
    """The same, if it was read: counts do not show a record that vanished as another appeared."""

    def is_quiet(self, start: datetime, end: datetime) -> bool:
        """Return whether no record is stored between two times."""
        index = bisect_left(self.records, start)
        return index == len(self.records) or self.records[index] > end

    @property
    def mark(self) -> datetime:
        """The newest stored record, or the beginning of the source if there is none."""
        return max([self.begin, *self.records[-1:]])

    @property
    def polled_from(self) -> datetime:
        """Where the window of the polls begins."""
        return next_window(self.begin, self.mark, self.now, self.overlap).start

    def poll(self, found: Sequence[datetime]) -> None:
        """Count and read what a poll does, store what it finds, and check the sweeps that are due then."""
        bounds = Bounds(self.unit, self.is_quiet)
        polled = Window(self.polled_from, self.now)
        is_counted = self.is_counted and self.overlap > timedelta(0)
        counted = proved_part(polled, self.proved_through, self.begin, bounds) if is_counted else None
        read = Window(counted.end, self.now) if counted else polled
        self.records = sorted([*self.records, *found])
        self.proved_through = self.now
        windows = sweep_windows(self.reaches, self.polled_from, self.now, self.begin, bounds)
        if counted:
            windows.insert(0, (self.overlap, counted))
        swept = [reach for reach, _ in windows]
        due = due_reaches(swept, self.asked, self.now)
        to_read = reaches_to_read(swept, due, self.asked, self.now)
        self.asked.update(dict.fromkeys(due, self.now))
        for reaches, polls, last_at in ((due, [read, counted], self.checked_at), (to_read, [read], self.read_at)):
            looked_at = [*filter(None, polls), *(window for reach, window in windows if reach in reaches)]
            for instant in last_at:
                if any(window.start <= instant <= window.end for window in looked_at):
                    last_at[instant] = self.now

    def reach_of(self, instant: datetime) -> timedelta | None:
        """Return the reach of the sweep that covers an instant; 0 if the polls cover it, None if nothing does."""
        distance = self.polled_from - instant
        if distance <= timedelta(0):
            return timedelta(0)
        covering = zip(self.reaches, accumulate(self.reaches), strict=True)
        return next((reach for reach, through in covering if distance <= through), None)


@examples(100)
@given(
    st.lists(reaches, max_size=4, unique=True).map(sorted),
    overlaps,
    units,
    st.lists(
        st.tuples(spans, st.sampled_from(["none", "new", "burst", "late"]), st.floats(0, 1)), min_size=1, max_size=40
    ),
    st.lists(spans, min_size=1, max_size=12),
    st.booleans(),
)
def test_everything_is_checked_again_within_the_promised_time(  # type: ignore[no-untyped-def]
    swept, overlap, unit, steps, probes, is_counted
) -> None:
    """Every instant since the last sweep began is counted or read again as soon as docs/proof.md promises."""
    source = Source(swept, overlap, unit, NOON, NOON, is_counted)
    source.checked_at = {NOON + probe: NOON for probe in [timedelta(0), *probes]}
    source.read_at = dict(source.checked_at)
    for span, what, share in steps:
        source.now += span
        found = {
            "none": [],
            "new": [source.now],
            "burst": [max(source.now - number * SECOND, NOON) for number in range(90)],
            "late": [NOON + share * (source.mark - NOON)],
        }
        source.poll(found[what])
        for instant, checked_at in source.checked_at.items():
            reach = source.reach_of(instant)
            if instant <= source.now and reach is not None:
                assert source.now - checked_at <= reach / CHECKS_PER_REACH
                whole = reach or (overlap if is_counted else reach)
                assert source.now - source.read_at[instant] <= whole + whole / CHECKS_PER_REACH


@given(st.lists(reaches, max_size=4), units, spans, spans, st.lists(spans, max_size=60))
def test_polls_and_sweeps_leave_no_gap(swept, unit, age, idle, records) -> None:  # type: ignore[no-untyped-def]
    """Together they cover every instant, also between two sweeps, before the polls, and at the beginning."""
    polled_from = NOON + age
    stored = sorted(NOON + span for span in records)

    def is_quiet(start: datetime, end: datetime) -> bool:
        return not any(start <= record <= end for record in stored)

    bounds = Bounds(unit, is_quiet)
    found = sweep_windows(swept, polled_from, polled_from + idle, NOON, bounds)
    surplus = (2 * move_steps(bounds.step) + 2) * bounds.step
    assert all(window.end - window.start <= max(reach, bounds.step) + surplus for reach, window in found)
    windows = [window for _, window in found]
    assert all(window.start < window.end for window in windows)
    if not windows:
        assert not swept or polled_from <= NOON
        return
    assert windows[0].end >= polled_from
    assert all(later.start == older.end for later, older in pairwise(windows))
    assert windows[-1].start <= max(polled_from - sum(swept, timedelta(0)), NOON)
    assert windows[-1].widened(unit).start >= polled_from - reaches_back(swept, unit)
    assert all(window.start >= NOON for window in windows)


@given(units, spans, spans, st.lists(spans, max_size=60))
def test_a_moved_bound_is_clear_or_stays(unit, age, idle, records) -> None:  # type: ignore[no-untyped-def]
    """A bound moves only within what was read, in the right direction, not too far, and to where no record is near."""
    stored = sorted(NOON + span for span in records)

    def is_quiet(start: datetime, end: datetime) -> bool:
        return not any(start <= record <= end for record in stored)

    bounds, at = Bounds(unit, is_quiet), NOON + age
    before, after = bounds.before(at), bounds.after(at, at + idle)
    assert at - (move_steps(bounds.step) + 1) * bounds.step < before <= at <= after <= max(at, at + idle)
    for moved in {before, after} - {at}:
        is_clear = not any(abs(record - moved) <= bounds.step for record in stored)
        is_decided = bounds.is_conclusive(Window(moved, moved)) and unit < SECOND
        assert is_clear or is_decided or moved == before


@in_one_test("unit", UNITS)
@in_one_test("busy", [0, 1])
def test_a_bound_moves_to_where_no_record_is_near(unit: timedelta, busy: int) -> None:
    """A bound moves away from a record, where counts are inconclusive, if there is a clear place a few steps away."""
    step = max(unit, SECOND)
    stored = [NOON + number * step for number in range(-busy, busy + 1)]

    def is_quiet(start: datetime, end: datetime) -> bool:
        return not any(start <= record <= end for record in stored)

    bounds = Bounds(unit, is_quiet)
    assert bounds.before(NOON) < stored[0] - step
    assert bounds.after(NOON, NOON + 9 * step) > stored[-1] + step
    whole = round_down(NOON, unit)
    assert Bounds(unit, lambda *_: True).after(whole, NOON + 9 * step) == whole


def test_a_bound_moves_by_up_to_a_minute() -> None:
    """A bound moves out of a busy minute if the time before it is quiet."""
    bounds = Bounds(SECOND, lambda start, _: start < NOON - 50 * SECOND)
    assert NOON - MINUTE < bounds.before(NOON) < NOON - 48 * SECOND


@pytest.mark.parametrize(("spacing", "shift"), [(2, 0), (2, 1), (3, 1), (7, 5)])
def test_a_bound_moves_between_records_everywhere(spacing: int, shift: int) -> None:
    """If a record happens every few milliseconds, a bound moves to where each of them is clearly on one side."""
    step = spacing * EDGE
    stored = [NOON + number * step + shift * EDGE for number in range(-9000 // spacing, 9000 // spacing)]

    def is_quiet(start: datetime, end: datetime) -> bool:
        return bisect_left(stored, start) == bisect_right(stored, end)

    bounds = Bounds(EDGE, is_quiet)
    for moved in (bounds.before(NOON), bounds.after(NOON, NOON + SECOND)):
        assert abs(moved - NOON) <= step
        asked = Window(moved, moved).widened(EDGE)
        assert all(abs(record - bound) >= EDGE for record in stored for bound in (asked.start, asked.end))
    assert bounds.after(NOON, NOON + 3 * EDGE) == NOON


def _among(records: Sequence[datetime], unit: timedelta) -> Bounds:
    """Return bounds among stored records."""
    return Bounds(unit, lambda start, end: not any(start <= record <= end for record in records))


@pytest.mark.parametrize(("micros", "is_near"), [(1_002_000, True), (1_002_001, False)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_bound_keeps_a_second_and_two_milliseconds_from_records(micros: int, is_near: bool, sign: int) -> None:
    """A bound is clear if no record is nearer than one step and the milliseconds to which times are rounded."""
    bounds = _among([NOON + sign * timedelta(microseconds=micros)], EDGE)
    assert (bounds.before(NOON) < NOON) is is_near


def test_a_bound_moves_by_up_to_200_milliseconds_between_records_everywhere() -> None:
    """If there is a record in every millisecond nearby, a bound moves to the next gap, however close that one's records are."""
    dense = [NOON + number * EDGE for number in range(-100, 101)]
    sparse = [NOON + sign * (100 + 3 * number) * EDGE for sign in (-1, 1) for number in range(1, 1000)]
    bounds = _among(dense + sparse, EDGE)
    assert 99 * EDGE < NOON - bounds.before(NOON) <= 103 * EDGE
    assert 99 * EDGE < bounds.after(NOON, NOON + SECOND) - NOON <= 103 * EDGE


def test_a_bound_of_whole_seconds_is_not_moved_between_records_everywhere() -> None:
    """If bounds are whole seconds, nothing less than a clear second is enough: without one, a bound stays."""
    bounds = _among([NOON + EDGE, *(NOON + number * SECOND / 2 for number in range(-1001, 1002, 2))], SECOND)
    assert bounds.before(NOON) == bounds.after(NOON, NOON + HOUR) == NOON


@pytest.mark.parametrize(("until", "moved"), [(2_002_000, 1_000_000), (2_001_999, 1000)])
def test_a_bound_moves_forward_only_within_what_is_known(until: int, moved: int) -> None:
    """A bound keeps a step and two milliseconds from the time up to which records are known, or stays."""
    micro = timedelta(microseconds=1)
    assert _among([], SECOND).after(NOON + EDGE, NOON + until * micro) == NOON + moved * micro


def test_a_bound_among_records_in_every_millisecond_stays() -> None:
    """If there is a record in every millisecond, a bound stays where it is, and counts are inconclusive."""
    bounds = Bounds(EDGE, lambda *_: False)
    assert bounds.before(NOON) == bounds.after(NOON, NOON + HOUR) == NOON
    assert not bounds.is_conclusive(Window(NOON, NOON + HOUR))


@in_one_test(("unit", "bound"), [(EDGE, "end"), *((unit, "start") for unit in UNITS[:3])])
@in_one_test(("micros", "is_conclusive"), [(-1000, True), (-999, False), (0, False), (999, False), (1000, True)])
def test_counts_with_a_record_at_a_bound_are_inconclusive(
    unit: timedelta, bound: str, micros: int, is_conclusive: bool
) -> None:
    """Counts are inconclusive if a record lies less than a millisecond from a bound of the request."""
    window = Window(NOON, NOON + HOUR)
    at = getattr(window.widened(unit), bound) + timedelta(microseconds=micros)
    assert Bounds(unit, lambda start, end: not start <= at <= end).is_conclusive(window) is is_conclusive


@in_one_test("unit", UNITS[1:3])
@in_one_test(("micros", "is_conclusive"), [(-1000, True), (-999, False), (0, False), (999, False), (2000, True)])
def test_counts_with_a_record_at_an_end_that_is_cut_are_inconclusive(
    unit: timedelta, micros: int, is_conclusive: bool
) -> None:
    """Counts are inconclusive if a record lies at the whole unit to which the upstream cuts the end of the request."""
    window = Window(NOON, NOON + HOUR)
    at = round_down(window.widened(unit).end, unit) + timedelta(microseconds=micros)
    assert Bounds(unit, lambda start, end: not start <= at <= end).is_conclusive(window) is is_conclusive


@given(overlaps, units, spans, spans, spans, st.lists(spans, max_size=60))
def test_proved_part_of_a_poll_is_proved(overlap, unit, mark, proved, idle, records) -> None:  # type: ignore[no-untyped-def]
    """What a poll counts was proved before and has settled, and begins with the window of the poll or slightly earlier."""
    stored = sorted(NOON + span for span in records)

    def is_quiet(start: datetime, end: datetime) -> bool:
        return not any(start <= record <= end for record in stored)

    bounds, proved_through = Bounds(unit, is_quiet), NOON + proved
    window = next_window(NOON, NOON + mark, NOON + mark + idle, overlap)
    part = proved_part(window, proved_through, NOON, bounds)
    latest = min(proved_through, window.end) - SETTLING
    furthest = (move_steps(bounds.step) + 1) * bounds.step
    if part is None:
        assert latest - window.start <= furthest + MIN_WINDOW
        return
    assert latest - furthest <= part.end <= latest
    assert min(NOON, window.start) <= part.start <= window.start
    assert window.start - part.start <= furthest
    assert part.end - part.start >= MIN_WINDOW


@pytest.mark.parametrize(
    ("records", "begin", "proved", "start", "end"),
    [
        ([], -10 * HOUR, HOUR / 2, timedelta(0), HOUR / 2 - SETTLING),
        ([], -10 * HOUR, 2 * HOUR, timedelta(0), HOUR - SETTLING),  # nothing after the window
        ([timedelta(0)], -10 * HOUR, HOUR / 2, -2 * SECOND, HOUR / 2 - SETTLING),  # not beside a record
        ([timedelta(0)], -SECOND, HOUR / 2, -SECOND, HOUR / 2 - SETTLING),  # nor from before the source begins
        ([], timedelta(0), SETTLING + MIN_WINDOW, timedelta(0), MIN_WINDOW),
    ],
)
def test_proved_part_of_a_window(
    records: Sequence[timedelta], begin: timedelta, proved: timedelta, start: timedelta, end: timedelta
) -> None:
    """A poll counts from the start of its window, where bounds are clear, to what was proved 5 s ago."""
    bounds, window = _among([NOON + at for at in records], EDGE), Window(NOON, NOON + HOUR)
    part = proved_part(window, NOON + proved, NOON + begin, bounds)
    assert part == Window(NOON + start, NOON + end)
    assert proved_part(window, NOON + SETTLING + MIN_WINDOW - EDGE, NOON + begin, _among([], EDGE)) is None


def test_windows_of_short_sweeps() -> None:
    """A window is some units long however short its reach is, none is empty, and polls cover the begin of a source alone."""
    quiet, begin, now = _among([], EDGE), NOON - HOUR, NOON + HOUR
    assert sweep_windows([SECOND], NOON, now, begin, quiet) == [(SECOND, Window(NOON - 4 * SECOND, NOON))]
    busy = Bounds(SECOND, lambda start, _: start < NOON - 50 * SECOND)
    found = sweep_windows([4 * SECOND, 5 * SECOND, MINUTE], NOON, now, begin, busy)
    assert [reach for reach, _ in found] == [4 * SECOND, MINUTE]
    assert [window.end for _, window in found] == [NOON, found[0][1].start]
    assert sweep_windows([HOUR], NOON, now, NOON, _among([NOON], EDGE)) == []
    assert reaches_back([HOUR], EDGE) == HOUR + MINUTE + 2 * SECOND


def test_windows_around_others() -> None:
    """A part that is too short to be requested is extended backwards, and windows beside the whole take nothing from it."""
    whole, hour = Window(NOON, NOON + HOUR), Window(NOON + HOUR, NOON + 2 * HOUR)
    assert without(whole, [hour, Window(NOON - HOUR, NOON)]) == [whole]
    assert without(whole, [Window(NOON + 5 * EDGE, NOON + HOUR)]) == [Window(NOON - 5 * EDGE, NOON + 5 * EDGE)]


@given(spans, spans, st.lists(st.tuples(spans, spans), max_size=8))
def test_windows_around_unproved_ones_cover_the_rest(start, length, others) -> None:  # type: ignore[no-untyped-def]
    """The windows next to unproved ones cover the rest once, in parts that are long enough to be requested."""
    whole = Window(NOON + start, NOON + start + length)
    taken = [Window(NOON + at, NOON + at + span) for at, span in others]
    parts = without(whole, taken)
    assert all(part.end - part.start >= MIN_WINDOW for part in parts)
    assert all(part.end <= whole.end for part in parts)
    edges = sorted({whole.start, whole.end, *(edge for window in taken for edge in (window.start, window.end))})
    gap_count = 0
    for one, other in pairwise(edge for edge in edges if whole.start <= edge <= whole.end):
        middle = one + (other - one) / 2
        is_taken = any(window.start <= middle <= window.end for window in taken)
        gap_count += not is_taken
        covering = [part for part in parts if part.start <= middle <= part.end]
        assert is_taken or covering
        assert not is_taken or all(part.end - part.start == MIN_WINDOW for part in covering), "it is checked twice"
    assert len(parts) <= gap_count


def test_longer_sweep_includes_the_shorter_ones() -> None:
    """If a longer sweep is due, the shorter ones are checked too, so that a change that moves between them is found."""
    asked = {HOUR: NOON, 6 * HOUR: NOON, 24 * HOUR: NOON}
    swept = list(asked)
    assert due_reaches(swept, asked, NOON) == due_reaches(swept, asked, NOON + 5 * MINUTE) == set()
    assert due_reaches(swept, asked, NOON + 6 * MINUTE) == {HOUR}
    assert due_reaches(swept, {**asked, HOUR: NOON + 35 * MINUTE}, NOON + 36 * MINUTE) == {HOUR, 6 * HOUR}
    assert due_reaches([*swept, timedelta(days=7)], asked, NOON) == {*swept, timedelta(days=7)}


@in_one_test(
    ("due", "last", "minutes", "read"),
    [
        ({HOUR}, {HOUR: 0, 6 * HOUR: 0}, 6, set()),  # NOON is the beginning of an hour and of a quarter of a day
        ({HOUR}, {HOUR: 54, 6 * HOUR: 36}, 60, {HOUR}),
        ({HOUR, 6 * HOUR}, {HOUR: 66, 6 * HOUR: 36}, 72, set()),
        ({HOUR, 6 * HOUR}, {HOUR: 360, 6 * HOUR: 330}, 366, {HOUR, 6 * HOUR}),
        ({6 * HOUR}, {HOUR: 360, 6 * HOUR: 330}, 366, {6 * HOUR}),  # the sweep of an hour is not finished
        ({HOUR}, {HOUR: 354, 6 * HOUR: 330}, 360, {HOUR}),
        ({HOUR}, {HOUR: 366, 6 * HOUR: 350}, 372, set()),  # the longer one is to be read, when it is due
        ({HOUR, 6 * HOUR}, {6 * HOUR: 0}, 36, {HOUR}),
        ({HOUR, 6 * HOUR}, {HOUR: 0}, 36, {HOUR, 6 * HOUR}),
        ({HOUR}, {HOUR: 70, 6 * HOUR: 60}, 50, {HOUR}),  # the clock was set back
    ],
)
def test_a_sweep_reads_once_in_each_whole_reach(
    due: set[timedelta], last: dict[timedelta, int], minutes: int, read: set[timedelta]
) -> None:
    """A sweep reads once in each reach, together with the shorter ones, so that no swap moves from one to the next unseen."""
    checked = {reach: NOON + number * MINUTE for reach, number in last.items()}
    assert reaches_to_read([HOUR, 6 * HOUR], due, checked, NOON + minutes * MINUTE) == read


@pytest.mark.parametrize("back", [SECOND, 400 * HOUR])
def test_sweeps_are_checked_after_the_clock_was_set_back(back: timedelta) -> None:
    """After the clock was set back, sweeps are checked before the old time is reached again."""
    assert due_reaches([HOUR], {HOUR: NOON}, NOON - back) == {HOUR}


def test_overdue_sweep_is_reported_in_time() -> None:
    """A sweep that is no longer checked counts as overdue in time, and covers nothing that another one covers."""
    asked, begin = {HOUR: NOON, 6 * HOUR: NOON}, NOON - 100 * HOUR
    last = HOUR / 10 + GRACE
    assert overdue_windows(list(asked), NOON, begin, asked, NOON + last) == []
    hour = Window(NOON - HOUR, NOON)
    assert overdue_windows(list(asked), NOON, begin, asked, NOON + last + SECOND) == [(HOUR, hour)]
    later = NOON + 6 * HOUR
    assert overdue_windows(list(asked), NOON, begin, asked, later)[1] == (6 * HOUR, Window(NOON - 7 * HOUR, hour.start))
    assert overdue_windows(list(asked), NOON, NOON - HOUR, asked, later) == [(HOUR, hour)]
    assert overdue_windows([24 * HOUR], NOON, begin, asked, later) == []
