"""The clock: read here alone, and handed to whatever needs the time.

Waits are stored as wall times, which people can read. `Clock` keeps their length: it follows small corrections of the
machine's clock at once, but holds a step back until `take_up`, when everything that waits is moved by the same step
(`service/clock_watch.py`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

STEP = timedelta(minutes=1)  # a larger difference from the monotonic clock is a step; NTP slews smaller ones away
READ_SECONDS = 1.0  # the process may be stopped between the two readings: take them again


def utc_now() -> datetime:
    """Read the machine's clock."""
    return datetime.now(UTC)


class Clock:
    """Wall time in UTC without steps that nobody noticed. Call it for the time. Safe to share between threads."""

    def __init__(self, wall: Callable[[], datetime] = utc_now, elapsed: Callable[[], float] = time.monotonic) -> None:
        """`wall` reads the machine's clock, `elapsed` the seconds that no setting of the clock changes."""
        self._wall = wall
        self._elapsed = elapsed
        self._lock = threading.Lock()
        shown, seconds = self._read()
        self._origin = shown - timedelta(seconds=seconds)
        """What the wall clock showed when `elapsed` was 0, as far as its steps are taken up."""

    def __call__(self) -> datetime:
        """Give the time: the machine's, or where its clock stepped, the time as if it had not."""
        with self._lock:
            wall, steady = self._compare()
            if abs(wall - steady) >= STEP:
                return steady
            self._origin += wall - steady
            return wall

    def step(self) -> timedelta:
        """Give by how much the machine's clock was set forward (backward: negative) since the last `take_up`; 0: it was not."""
        with self._lock:
            wall, steady = self._compare()
        return wall - steady if abs(wall - steady) >= STEP else timedelta(0)

    def take_up(self, step: timedelta) -> None:
        """Follow a step from now on."""
        with self._lock:
            self._origin += step

    def _compare(self) -> tuple[datetime, datetime]:
        """Give what the machine's clock shows, and what it would show without the steps not taken up."""
        wall, seconds = self._read()
        return wall, self._origin + timedelta(seconds=seconds)

    def _read(self) -> tuple[datetime, float]:
        """Read both clocks at the same moment."""
        while True:
            before, wall, after = self._elapsed(), self._wall(), self._elapsed()
            if after - before < READ_SECONDS:
                return wall, after
