"""The size of a transaction: as much as can be taken in the time for which other writers may wait."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class PortionSize:
    """The size of the next portion, from how long the last one took."""

    def __init__(
        self, most: int, seconds: float, elapsed: Callable[[], float], *, first: int | None = None, least: int = 1
    ) -> None:
        """Others may wait for `seconds`, by `elapsed`. `first`: the size of the first portion; None: `most`.

        `least`: not less, however long it takes: smaller portions pay the cost of a transaction itself more often.
        """
        self._most = most
        self._least = min(most, least)
        self._seconds = seconds
        self._elapsed = elapsed
        self.count = min(most, first or most)

    @contextmanager
    def measured(self, count: int) -> Iterator[None]:
        """Measure how long so many take. The next may cost more, so the size grows at most to twice as many."""
        began_at = self._elapsed()
        yield
        if count:
            self._note(count, max(self._elapsed() - began_at, 0.001))

    def _note(self, count: int, took: float) -> None:
        wanted = round(count * self._seconds / took)
        if took <= self._seconds:
            wanted = min(max(wanted, self.count), 2 * self.count)
        self.count = max(self._least, min(wanted, self._most))
