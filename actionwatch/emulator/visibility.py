"""Track from when and until when each row of the log is visible. `state.py` holds the lock."""

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from actionwatch.emulator.log import Action


@dataclass(frozen=True, slots=True)
class Arrival:
    """A new action, and from when (ms) it is visible; None: at once."""

    action: Action
    visible_from: int | None = None


ArrivalHook = Callable[[Arrival], Iterable[Arrival]]


class Visibility:
    """The arrival times of all rows, and those of delayed and removed rows, in ms."""

    def __init__(self) -> None:
        self._arrivals = array("q")
        self._delays: dict[int, int] = {}  # row: visible from
        self._gone: dict[int, int] = {}  # row: no longer visible from
        self._last_delay = 0

    def arrive(self, count: int, now: int) -> None:
        self._arrivals.extend(array("q", [now]) * count)

    def delay(self, row: int, until: int) -> None:
        """Hide a row until a time."""
        self._delays[row] = until
        self._last_delay = max(self._last_delay, until)

    def take(self, row: int, at: int) -> None:
        """Note that a row disappeared; only the first call counts."""
        self._gone.setdefault(row, at)

    def gone_at(self, row: int) -> int | None:
        return self._gone.get(row)

    def sight(self, now: int) -> Callable[[int], bool] | None:
        """Return a test for rows that are visible now; None if all rows are."""
        if not self._gone and self._last_delay <= now:
            return None
        return lambda row: self._delays.get(row, now) <= now < self._gone.get(row, now + 1)

    def was_visible(self, row: int, at: int) -> bool:
        return max(self._arrivals[row], self._delays.get(row, at)) <= at < self._gone.get(row, at + 1)
