"""Plan what to count and what to read: polls and sweeps. Pure: the stored records are an argument (`IsQuiet`).

The promise in docs/proof.md rests on this: the windows of the polls and sweeps together cover, without a gap, everything from
where the longest sweep begins (or the source does) to now. Each poll reads what is not proved yet, and may count the rest of
its overlap. What a sweep covers is checked every tenth of its reach. What is counted is also read once in each whole reach: of
the sweep, or of the overlap. If counts are unusable, the rest of the overlap is read every tenth of it, as if by a sweep.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from actionwatch.base.clock import MICROSECOND, TIMES_END, is_due
from actionwatch.tail.cursor import EDGE, EDGE_SECOND, MIN_WINDOW, Window, round_down, round_up

CHECKS_PER_REACH = 10
_MAX_MOVE = timedelta(minutes=1)  # a bound is moved so far, or a few steps, to an instant without a record near it
GRACE = timedelta(hours=1)  # for a sweep that is overdue: polls fail, and a backlog comes first
_LAG_POLLS = 20  # poll intervals without proof, until that is reported
LAG_LEAST = timedelta(minutes=10)
_LEAST_STEPS = 4  # the length of a sweep's window, at least
_FINE_STEPS = 200  # of a millisecond: at 1,000 records per second, one in fifty of these places is clear
SETTLING = timedelta(seconds=5)  # many upstreams show records some seconds late: so recent ones are read, not counted

IsQuiet = Callable[[datetime, datetime], bool]
"""Returns whether no record is stored between two times."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Chooses bounds without a record near them, so that it does not matter whether the upstream includes its bounds.

    `unit` is the unit of the upstream's bounds. A second around a bound is clear if possible. If records are everywhere and the
    unit is finer, less is enough. If there is no such place either, a bound stays where it is: counts are inconclusive then,
    and the window is read.
    """

    unit: timedelta
    is_quiet: IsQuiet

    @property
    def step(self) -> timedelta:
        """The distance by which a bound is moved at a time, and that it keeps from records if possible."""
        return max(self.unit, EDGE_SECOND)

    def before(self, at: datetime) -> datetime:
        """Move a bound back, to whole units at least."""
        at = round_down(at, self.unit)
        for step, is_clear in self._searches:
            for number in range(self._steps(step)):
                if is_clear(at - number * step):
                    return at - number * step
        return at

    def after(self, at: datetime, until: datetime) -> datetime:
        """Move a bound forward, but keep it away from records after `until`."""
        first = round_up(at, self.unit)
        for step, is_clear in self._searches:
            for number in range(self._steps(step)):
                moved = first + number * step
                if moved + step + 2 * EDGE > until:
                    break
                if is_clear(moved):
                    return moved
        return at

    def is_conclusive(self, window: Window) -> bool:
        """Return whether counts of a window mean the same whether or not the upstream includes its bounds."""
        asked = window.widened(self.unit)
        # An end that is cut to whole units is an edge earlier.
        ends = [asked.end] if self.unit <= EDGE else [asked.end, asked.end - EDGE]
        return all(map(self._is_decided, [asked.start, *ends]))

    @property
    def _searches(self) -> Iterator[tuple[timedelta, Callable[[datetime], bool]]]:
        yield self.step, self._is_clear
        if self.unit < EDGE_SECOND:
            yield self.unit, lambda at: self.is_conclusive(Window(at, at))

    def _steps(self, step: timedelta) -> int:
        if self.unit >= EDGE_SECOND:
            return move_steps(step)
        return _LEAST_STEPS if step >= EDGE_SECOND else _FINE_STEPS

    def _is_clear(self, at: datetime) -> bool:
        around = self.step + 2 * EDGE
        return self.is_quiet(at - around, at + around)

    def _is_decided(self, bound: datetime) -> bool:
        """Return whether each record lies clearly before or after a bound, even if its time is rounded to milliseconds."""
        around = EDGE - MICROSECOND
        return self.is_quiet(bound - around, bound + around)


def begin_of(start: Literal["now"] | timedelta | datetime, now: datetime) -> datetime:
    """Return when a source begins that is read for the first time."""
    return now if start == "now" else now - start if isinstance(start, timedelta) else min(start, now)


def move_steps(step: timedelta) -> int:
    """Return the number of places to which a bound may be moved."""
    return max(_MAX_MOVE // step, _LEAST_STEPS)


def proved_part(window: Window, proved_through: datetime, begin: datetime, bounds: Bounds) -> Window | None:
    """Return the part of the window of a poll that was proved before and has settled, so that counts are enough; or None.

    It ends before `proved_through`. It may begin slightly before the window, but not before the source's `begin`.
    """
    start = max(bounds.before(window.start), min(window.start, begin))
    end = bounds.before(min(proved_through, window.end) - SETTLING)
    return Window(start, end) if end - start >= MIN_WINDOW else None


def read_part(window: Window, read_through: datetime, unit: timedelta) -> Window | None:
    """Return the part of the window of a poll that earlier polls have read through a time, and that has settled; or None.

    None also if a request for the rest would return it too, because the upstream cuts bounds to whole units.
    """
    end = round_down(min(read_through, window.end) - SETTLING, max(unit, EDGE))
    rest = Window(end, window.end).widened(unit)
    return Window(window.start, end) if rest.start - window.start >= MIN_WINDOW else None


def sweep_windows(
    reaches: Sequence[timedelta], polled_from: datetime, now: datetime, begin: datetime, bounds: Bounds
) -> list[tuple[timedelta, Window]]:
    """Return the windows of all sweeps, each with its reach, the newest first; each begins where the next one ends.

    `polled_from` is where the polls' window begins: the first sweep ends there or slightly later, never earlier. Each window is
    at least some units long, except the one next to the `begin` of the source.
    """
    least = _LEAST_STEPS * bounds.step
    end, bound = polled_from, bounds.after(polled_from, now)
    found: list[tuple[timedelta, Window]] = []
    for reach in reaches:
        start = max(end - max(reach, least), begin)
        if end - start >= least:
            lower = min(max(bounds.before(start), begin), bound)
            if lower < bound:
                found.append((reach, Window(lower, bound)))
            end, bound = start, lower
        if start == begin:
            if end > begin:
                found.append((reach, Window(begin, bound)))
            break
    return found


def reaches_back(reaches: Sequence[timedelta], unit: timedelta) -> timedelta:
    """Return how far before the polls' window the sweeps may request records, at most: bounds are moved back and widened."""
    step = max(unit, EDGE_SECOND)
    return sum((max(reach, _LEAST_STEPS * step) for reach in reaches), timedelta(0)) + (move_steps(step) + 2) * step


def due_reaches(reaches: Sequence[timedelta], checked: Mapping[timedelta, datetime], now: datetime) -> set[timedelta]:
    """Return which of the reaches that have a window to check now: those that are due, and all before them in the list.

    So nothing slips from one sweep into the next between the checks of the two. `checked` holds the last check of each.
    """
    due = [index for index, reach in enumerate(reaches) if is_due(checked.get(reach), reach / CHECKS_PER_REACH, now)]
    return set(reaches[: due[-1] + 1]) if due else set()


def next_due_at(reaches: Sequence[timedelta], checked: Mapping[timedelta, datetime]) -> datetime:
    """Return when the first of the reaches is due, all of which were checked."""
    return min((checked[reach] + reach / CHECKS_PER_REACH for reach in reaches), default=TIMES_END)


def reaches_to_read(
    reaches: Sequence[timedelta], due: Collection[timedelta], checked: Mapping[timedelta, datetime], now: datetime
) -> set[timedelta]:
    """Return which of the due reaches to read instead of count: once in each whole reach since 1970, with all before them."""
    first = [
        index
        for index, reach in enumerate(reaches)
        if reach in due and (reach not in checked or round_down(checked[reach], reach) != round_down(now, reach))
    ]
    return set(reaches[: first[-1] + 1]) & set(due) if first else set()


def overdue_windows(
    reaches: Sequence[timedelta],
    polled_from: datetime,
    begin: datetime,
    checked: Mapping[timedelta, datetime],
    now: datetime,
) -> list[tuple[timedelta, Window]]:
    """Return the sweeps that have not been checked for some time after they were due, each with the window that it covers."""
    found: list[tuple[timedelta, Window]] = []
    end = polled_from
    for reach in reaches:
        start = max(end - reach, begin)
        if start < end and reach in checked and now - checked[reach] > reach / CHECKS_PER_REACH + GRACE:
            found.append((reach, Window(start, end)))
        end = start
    return found


def without(whole: Window, others: Iterable[Window]) -> list[Window]:
    """Return what is left of a window without others, which are checked by themselves; together they cover it."""
    start, found = whole.start, list[Window]()
    for window in sorted(others, key=lambda window: window.start):
        if window.start >= whole.end:
            break
        if window.start > start:
            found.append(_requestable(start, window.start))
        start = max(start, window.end)
    return [*found, _requestable(start, whole.end)] if start < whole.end else found


def _requestable(start: datetime, end: datetime) -> Window:
    """Return a window that can be requested: one that is too short is extended backwards."""
    return Window(min(start, end - MIN_WINDOW), end)


def lag_limit(poll_interval: timedelta) -> timedelta:
    """Return how far behind a source may be before that is reported."""
    return max(poll_interval * _LAG_POLLS, LAG_LEAST)
