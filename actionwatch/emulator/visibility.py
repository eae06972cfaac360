"""Remember of each row of the log when it could be seen: from when, and until when. `state.py` holds the lock."""

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from actionwatch.emulator.log import Action


@dataclass(frozen=True, slots=True)
class Arrival:
    """An action on its way into the log, and from when (ms) it may be seen; None: at once."""

    action: Action
    visible_from: int | None = None


ArrivalHook = Callable[[Arrival], Iterable[Arrival]]


class Visibility:
    """Arrivals of all rows, and the few that were delayed or have disappeared; times in ms."""

    def __init__(self) -> None:
        self._arrivals = array("q")
        self._delays: dict[int, int] = {}  # row: visible from
        self._gone: dict[int, int] = {}  # row: no longer visible from
        self._last_delay = 0

    def arrive(self, count: int, now: int) -> None:
        """Note that the next rows came into the log."""
        self._arrivals.extend(array("q", [now]) * count)

    def delay(self, row: int, until: int) -> None:
        """Keep a row from sight until a time."""
        self._delays[row] = until
        self._last_delay = max(self._last_delay, until)

    def take(self, row: int, at: int) -> None:
        """Note that a row disappeared; a second time says nothing new."""
        self._gone.setdefault(row, at)

    def gone_at(self, row: int) -> int | None:
        """Say when a row disappeared; None: it has not."""
        return self._gone.get(row)

    def sight(self, now: int) -> Callable[[int], bool] | None:
        """Return the test of whether a row can be seen now; None: every row can, and nobody need ask."""
        if not self._gone and self._last_delay <= now:
            return None
        return lambda row: self._delays.get(row, now) <= now < self._gone.get(row, now + 1)

    def was_visible(self, row: int, at: int) -> bool:
        """Return whether a row could be seen at a time, past ones included."""
        return max(self._arrivals[row], self._delays.get(row, at)) <= at < self._gone.get(row, at + 1)
