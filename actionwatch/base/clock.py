"""The clock. Code that needs the time receives it as an argument or as a callable.

Due times are stored as wall times, which people can read. `Clock` keeps the length of waits: it follows small corrections of
the machine's clock at once, but ignores a step until `take_up`, when all due times move by the same step
(`service/clock_watch.py`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

STEP = timedelta(minutes=1)  # a larger difference from the monotonic clock is a step; NTP slews smaller ones away
ALWAYS = datetime.min.replace(tzinfo=UTC)  # before any action
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)  # the resolution of stored times
TIMES_END = datetime(
    2287, 1, 1, tzinfo=UTC
)  # no time of an upstream is later, so that arithmetic with it cannot overflow
_READ_SECONDS = 1.0  # the process may be stopped between the two readings: take them again


def to_micros(at: datetime) -> int:
    """Return an aware datetime as microseconds since 1970, exactly: a float is not exact from the year 2255 on."""
    span = at - EPOCH
    return span.days * 86_400_000_000 + span.seconds * 1_000_000 + span.microseconds


def from_micros(micros: int) -> datetime:
    """Return microseconds since 1970 as an aware UTC datetime."""
    return EPOCH + timedelta(microseconds=micros)


def seconds_passed() -> float:
    """Return the seconds since some moment, also those in which the machine was suspended, where the system counts them."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def machine_now() -> datetime:
    """Return the time of the machine's clock."""
    return datetime.now(UTC)


def is_due(done_at: datetime | None, every: timedelta, now: datetime) -> bool:
    """Return whether to do something again. A last time in the future is from before the clock was set back."""
    return done_at is None or not timedelta(0) <= now - done_at < every


class _Time:
    """The clock that this process goes by."""

    read: Callable[[], datetime] = staticmethod(machine_now)


def utc_now() -> datetime:
    """Return the time of the clock that this process goes by: the machine's, unless `go_by` chose another one."""
    return _Time.read()


def go_by(read: Callable[[], datetime]) -> None:
    """Go by another clock from now on: processes that share a store go by one, or receivers would refuse what some sign."""
    _Time.read = staticmethod(read)


class SharedClock:
    """The clock of another machine, by the last reading of it and our monotonic clock. Safe to share between threads."""

    def __init__(self, elapsed: Callable[[], float] = seconds_passed) -> None:
        """Begin with the time of this machine's clock. `elapsed` reads a monotonic clock in seconds."""
        self._elapsed = elapsed
        self._origin = machine_now() - timedelta(seconds=elapsed())

    def __call__(self) -> datetime:
        """Return the time there."""
        return self._origin + timedelta(seconds=self._elapsed())

    def compare(self, read: Callable[[], datetime]) -> None:
        """Read the other clock, unless that takes so long that the reading says little."""
        before, there, after = self._elapsed(), read(), self._elapsed()
        if after - before < _READ_SECONDS:
            self._origin = there - timedelta(seconds=(before + after) / 2)


@dataclass(frozen=True, slots=True)
class Spans:
    """Spans of time of one width that follow each other, for charts; `end` is not included."""

    start: datetime
    width: timedelta
    count: int

    @classmethod
    def until(cls, now: datetime, width: timedelta, count: int) -> Spans:
        """Return the spans of which the last one contains `now`. They begin at multiples of their width since the epoch."""
        last = now - (now - EPOCH) % width
        return cls(last - width * (count - 1), width, count)

    @classmethod
    def between(cls, start: datetime, end: datetime, count: int) -> Spans:
        """Return so many spans from start to end."""
        return cls(start, (end - start) / count or MICROSECOND, count)

    @property
    def end(self) -> datetime:
        """The end of the last one."""
        return self.start + self.width * self.count

    @property
    def starts(self) -> list[datetime]:
        """The start of each."""
        return [self.start + self.width * number for number in range(self.count)]

    def count_each(self, times: Iterable[datetime]) -> list[int]:
        """Return how many of some times are in each span. A time outside counts in the nearest."""
        counts = [0] * self.count
        for at in times:
            counts[min(max((at - self.start) // self.width, 0), self.count - 1)] += 1
        return counts


class Clock:
    """Wall time in UTC without unnoticed steps. Call it for the time. Safe to share between threads."""

    def __init__(self, wall: Callable[[], datetime] = utc_now, elapsed: Callable[[], float] = time.monotonic) -> None:
        """`wall` reads the clock, `elapsed` a monotonic clock in seconds."""
        self._wall = wall
        self._elapsed = elapsed
        self._lock = threading.Lock()
        shown, seconds = self._read()
        self._origin = shown - timedelta(seconds=seconds)
        """The wall time at which `elapsed` was 0, including the steps taken up."""

    def __call__(self) -> datetime:
        """Return the time of the machine's clock or, after a step, the time without that step."""
        with self._lock:
            wall, steady = self._compare()
            if abs(wall - steady) >= STEP:
                return steady
            self._origin += wall - steady
            return wall

    def step(self) -> timedelta:
        """Return the step of the machine's clock since the last `take_up`, negative if backward; 0 if there was none."""
        with self._lock:
            wall, steady = self._compare()
        return wall - steady if abs(wall - steady) >= STEP else timedelta(0)

    def take_up(self, step: timedelta) -> None:
        """Follow a step from now on."""
        with self._lock:
            self._origin += step

    def _compare(self) -> tuple[datetime, datetime]:
        """Return the time of the machine's clock, and that time without steps that are not taken up."""
        wall, seconds = self._read()
        return wall, self._origin + timedelta(seconds=seconds)

    def _read(self) -> tuple[datetime, float]:
        """Read both clocks at the same moment."""
        while True:
            before, wall, after = self._elapsed(), self._wall(), self._elapsed()
            if after - before < _READ_SECONDS:
                return wall, after
