"""Plan the sweeps: which older windows to ask for, and when.

Pure: the stored records are an argument (`IsQuiet`), and so is the time. What `Sweeper` asks follows from here, and so does the
promise in docs/proof.md: the polls' own window and the sweeps' windows together cover, without a gap, everything from where
the longest sweep begins (or the stream does) to now; and what a sweep covers was asked within a tenth of that sweep's reach.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from actionwatch.tail.cursor import EDGE, EDGE_SECOND, MICROSECOND, MIN_WINDOW, Window, round_down

ASKED_PER_REACH = 10
MAX_MOVE = timedelta(minutes=1)  # how far a bound is moved to where no record is near it; a few steps at least
GRACE = timedelta(hours=1)  # how long a sweep may be overdue: polls fail, and a backlog comes first
LEAST_STEPS = 4  # how many steps long a sweep's window is at least

IsQuiet = Callable[[datetime, datetime], bool]
"""Says whether no record is stored between two times."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Chooses bounds that no record is near, so that it does not matter whether the upstream includes them.

    `unit` is how finely the upstream takes bounds. Where records are everywhere, a bound stays where it is; counts cannot tell
    then, and the window is read.
    """

    unit: timedelta
    is_quiet: IsQuiet

    @property
    def step(self) -> timedelta:
        """How far a bound is moved at a time, and how near a record may not be."""
        return max(self.unit, EDGE_SECOND)

    def before(self, at: datetime) -> datetime:
        """Move a bound back, to whole units at least."""
        at = round_down(at, self.unit)
        return next((moved for moved in self._moved(at, -self.step) if self._is_clear(moved)), at)

    def after(self, at: datetime, until: datetime) -> datetime:
        """Move a bound forward, but not so far that records from after `until` are near it."""
        whole = round_down(at + self.unit - MICROSECOND, self.unit)
        for moved in self._moved(whole, self.step):
            if moved + self._around > until:
                break
            if self._is_clear(moved):
                return moved
        return at

    @property
    def _around(self) -> timedelta:
        return self.step + 2 * EDGE

    def _moved(self, at: datetime, step: timedelta) -> Iterator[datetime]:
        return (at + number * step for number in range(move_steps(self.step)))

    def _is_clear(self, at: datetime) -> bool:
        return self.is_quiet(at - self._around, at + self._around)


def move_steps(step: timedelta) -> int:
    """Give how many places a bound may be moved to."""
    return max(MAX_MOVE // step, LEAST_STEPS)


def first_compared(begin: datetime, bounds: Bounds) -> datetime:
    """Give from where on counts can be compared: what is asked for before may hold more than is stored."""
    return begin + 2 * bounds.step


def sweep_windows(
    reaches: Sequence[timedelta], polled_from: datetime, now: datetime, begin: datetime, bounds: Bounds
) -> list[tuple[timedelta, Window]]:
    """Give the windows of all sweeps, each with its reach, the newest first; each begins where the next one ends.

    `polled_from` is where the polls' own window begins: the first sweep ends there, or a little later, never earlier. Each
    window is some units long at least. What lies beside the stream's `begin` is a window of its own.
    """
    first, least = first_compared(begin, bounds), LEAST_STEPS * bounds.step
    end, bound = polled_from, bounds.after(polled_from, now)
    found: list[tuple[timedelta, Window]] = []
    for reach in reaches:
        start = max(end - max(reach, least), first)
        if end - start >= least:
            lower = min(max(bounds.before(start), first), bound)
            if lower < bound:
                found.append((reach, Window(lower, bound)))
            end, bound = start, lower
        if start == first:
            if end > begin:
                found.append((reach, Window(begin, bound)))
            break
    return found


def reaches_back(reaches: Sequence[timedelta], unit: timedelta) -> timedelta:
    """Give how far before where the polls begin the sweeps may ask, at most: bounds are moved back and widened."""
    step = max(unit, EDGE_SECOND)
    return sum((max(reach, LEAST_STEPS * step) for reach in reaches), timedelta(0)) + (move_steps(step) + 2) * step


def due_reaches(reaches: Sequence[timedelta], asked: Mapping[timedelta, datetime], now: datetime) -> set[timedelta]:
    """Give which of the reaches that have a window are to be asked now, and all those before them in the list.

    One that is due brings the others along, so that nothing slips from one sweep into the next between the questions of the
    two. `asked` tells when each was asked last; a time in the future comes from a clock that was set back since.
    """
    due = [index for index, reach in enumerate(reaches) if _is_due(reach, asked.get(reach), now)]
    return set(reaches[: due[-1] + 1]) if due else set()


def _is_due(reach: timedelta, asked_at: datetime | None, now: datetime) -> bool:
    return asked_at is None or not timedelta(0) <= now - asked_at < reach / ASKED_PER_REACH


def overdue_windows(
    reaches: Sequence[timedelta],
    polled_from: datetime,
    begin: datetime,
    asked: Mapping[timedelta, datetime],
    now: datetime,
) -> list[tuple[timedelta, Window]]:
    """Give the sweeps that were not asked again when they were due, nor for some time after, with what they cover."""
    found: list[tuple[timedelta, Window]] = []
    end = polled_from
    for reach in reaches:
        start = max(end - reach, begin)
        if start < end and reach in asked and now - asked[reach] > reach / ASKED_PER_REACH + GRACE:
            found.append((reach, Window(start, end)))
        end = start
    return found


def beside(whole: Window, taken: Iterable[Window]) -> list[Window]:
    """Give what is left of a window beside others, which are asked by themselves; together they cover it."""
    start, found = whole.start, list[Window]()
    for window in sorted(taken, key=lambda window: window.start):
        if window.end <= start or window.start >= whole.end:
            continue
        if window.start > start:
            found.append(_askable(start, window.start))
        start = max(start, window.end)
    return [*found, _askable(start, whole.end)] if start < whole.end else found


def _askable(start: datetime, end: datetime) -> Window:
    """Make a window that can be asked for: a shorter one reaches further back."""
    return Window(min(start, end - MIN_WINDOW), end)
