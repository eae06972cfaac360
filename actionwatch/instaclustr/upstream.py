"""State that the sources at one origin share: its connections, the pace of its requests, and whether it answers at all."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from actionwatch.base.errors import SourceError, SourceUnavailable
from actionwatch.net.http import HttpClient

LIMITED_RATE = 25.0  # requests a second for a while after a 429; the limit of sibling APIs is 35 per user
_LIMITED_SECONDS = 60.0
_LONGEST_HOLD = 60.0  # of all sources for the Retry-After of one: that one waits for the rest alone
OUT_SOURCES = 3  # so many sources in a row without an answer are an outage of the origin, or all that it has


class Pace:
    """The pace of requests: at most `rate` a second, slower for a while after a 429. Safe to share between threads."""

    def __init__(
        self,
        elapsed: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        rate: Callable[[], float | None] = lambda: None,
    ) -> None:
        """`rate` returns the limit of this process, None for no limit."""
        self._elapsed = elapsed
        self._sleep = sleep
        self._rate = rate
        self._lock = threading.Lock()
        self._limited_until = self._held_until = self._next_at = -math.inf

    def slow_down(self, retry_after: timedelta | None) -> None:
        """Slow all requests down, because the upstream refused one: concurrent ones would hit the limit again."""
        now, hold = self._elapsed(), retry_after.total_seconds() if retry_after else 0.0
        with self._lock:
            self._held_until = max(self._held_until, now + min(hold, _LONGEST_HOLD))
            self._limited_until = max(self._held_until, now) + _LIMITED_SECONDS

    def free_in(self) -> float:
        """Return in how many seconds a request would not have to wait."""
        with self._lock:
            return max(self._held_until, self._next_at) - self._elapsed()

    def wait(self) -> None:
        """Wait until the next request may be sent."""
        with self._lock:
            now = self._elapsed()
            at = max(now, self._held_until, self._next_at)
            self._next_at = at + self._spacing(now)
        if at > now:
            self._sleep(at - now)

    def _spacing(self, now: float) -> float:
        return 1 / min(self._rate() or math.inf, LIMITED_RATE if now < self._limited_until else math.inf)


class Upstream:
    """One origin with the sources that read it. Safe to share between threads."""

    def __init__(self, name: str, pace: Pace, elapsed: Callable[[], float] = time.monotonic) -> None:
        """`name` is what people call it: its host."""
        self.name = name
        self.pace = pace
        self.answered_at = -math.inf
        """When it last answered (`elapsed`)."""
        self._elapsed = elapsed
        self.sources: set[str] = set()
        """The sources that read it in this process."""
        self._lock = threading.Lock()
        self._connections: dict[tuple[timedelta, Path | None, str | None], HttpClient] = {}
        self._silent: dict[str, str] = {}
        """The sources that got no answer since the last one that did, each with the error."""

    def connections(self, timeout: timedelta, ca_file: Path | None, proxy: str | None) -> HttpClient:
        """Return the connections of all sources with these options. Raises: OSError, ValueError, as `HttpClient`."""
        with self._lock:
            options = timeout, ca_file, proxy
            if options not in self._connections:
                self._connections[options] = HttpClient(timeout=timeout, ca_file=ca_file, proxy=proxy)
            return self._connections[options]

    def note(self, source: str, error: SourceError | None) -> None:
        """Note how a request ended, with its repetitions. A refusal is an answer too."""
        with self._lock:
            if isinstance(error, SourceUnavailable):
                self._silent[source] = error.what
            else:
                self._silent.clear()
                self.answered_at = self._elapsed()

    @property
    def outage(self) -> str | None:
        """Why no source can be read; None while the origin answers, or if only one source reads it."""
        with self._lock:
            silent = [what for source, what in self._silent.items() if source in self.sources]
        is_out = len(self.sources) > 1 and len(silent) >= min(OUT_SOURCES, len(self.sources))
        return silent[-1] if is_out else None

    def close(self) -> None:
        """Close the connections."""
        for each in self._connections.values():
            each.close()
