"""A round of one contestant: a burst, then a delivery every 10 ms."""

from __future__ import annotations

import functools
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.benchmarks.deliveries.limit import Limit
from tests.benchmarks.deliveries.ours import Ours
from tests.benchmarks.deliveries.peers import Huey, Procrastinate
from tests.benchmarks.deliveries.receiver import Arrivals

PACED_COUNT = 500
PACE = 100
LONGEST_SECONDS = 300


class Contestant(Protocol):
    """A durable outbox with 16 senders."""

    def fill(self, count: int) -> None:
        """Add so many deliveries, before `start`."""
        ...

    def start(self) -> None:
        """Start to deliver."""
        ...

    def add(self, number: int) -> str:
        """Add one more delivery, and return its id after the commit."""
        ...

    def stop(self) -> None:
        """Stop."""
        ...


CONTESTANTS: dict[str, Callable[[str, Path], Contestant]] = {
    "limit": functools.partial(Limit, synchronous="NORMAL"),
    "limit, power-safe": functools.partial(Limit, synchronous="FULL"),
    "actionwatch": functools.partial(Ours, synchronous="NORMAL"),
    "actionwatch, power-safe": functools.partial(Ours, synchronous="FULL"),
    "huey (SQLite, power-safe)": Huey,
    "procrastinate (PostgreSQL)": Procrastinate,
}
SLOW = {"procrastinate (PostgreSQL)": 10}
"""Sends a fraction of the count in its burst: the rate is the same, and nobody waits minutes for it."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a round: deliveries per second, CPU per delivery, and latencies from commit to arrival."""

    rate: float
    cpu_micros: float
    p50_ms: float
    p99_ms: float


def run(name: str, url: str, count: int, history: int = 0) -> Result:
    """Run one round. `history` is how many messages the receiver has before it; only our outbox can have any.

    Raises: ImportError, if the contestant is not installed.

    """
    count //= SLOW.get(name, 1)
    arrivals = Arrivals(url)
    with tempfile.TemporaryDirectory() as folder:
        contestant = CONTESTANTS[name](url, Path(folder))
        if isinstance(contestant, Ours):
            contestant.fill_history(history)
        contestant.fill(count)
        started, cpu = time.monotonic(), time.process_time()
        contestant.start()
        _wait_for(arrivals, count)
        cpu = time.process_time() - cpu
        took = max(arrivals.take().values()) - started
        latencies = _paced(contestant, arrivals)
        contestant.stop()
    latencies.sort()
    p99 = latencies[int(len(latencies) * 0.99) - 1]
    return Result(count / took, cpu / count * 1e6, statistics.median(latencies) * 1e3, p99 * 1e3)


def _paced(contestant: Contestant, arrivals: Arrivals) -> list[float]:
    committed: dict[str, float] = {}
    due = time.monotonic()
    for number in range(PACED_COUNT):
        due += 1 / PACE
        name = contestant.add(number)
        committed[name] = time.monotonic()
        time.sleep(max(0.0, due - time.monotonic()))
    _wait_for(arrivals, PACED_COUNT)
    arrived = arrivals.take()
    # Some arrive before the call that committed them returns: count them as zero.
    return [max(arrived[name] - at, 0.0) for name, at in committed.items()]


def _wait_for(arrivals: Arrivals, count: int) -> None:
    ends_at = time.monotonic() + LONGEST_SECONDS
    while arrivals.count() < count:
        assert time.monotonic() < ends_at, "deliveries are missing"
        time.sleep(0.1)
