"""What the processes of a service use: a sample of CPU, memory and threads each second. Reads /proc: Linux only."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.start import TICKS, ticks

EVERY_SECONDS = 1.0


class Sample(NamedTuple):
    """What living processes used at a moment of the monotonic clock.

    `cpu_seconds` is their sum since each started; memory and threads are those of the largest one.
    """

    at: float
    cpu_seconds: float
    memory: float
    threads: int


class Samples:
    """Samples of processes, which may end meanwhile."""

    def __init__(self, process_ids: Sequence[int]) -> None:
        self._living = set(process_ids)
        self._latest: dict[int, float] = {}
        self.taken: list[Sample] = []

    def wait_until(self, at: float) -> None:
        """Take a sample each second until a moment of the monotonic clock."""
        while (left := at - time.monotonic()) > 0:
            time.sleep(min(left, EVERY_SECONDS))
            self._take()

    @property
    def cpu_seconds(self) -> float:
        """Return the CPU so far."""
        return self.taken[-1].cpu_seconds if self.taken else 0.0

    def cpu_percent(self, start: float, end: float) -> float:
        """Return the CPU between two moments, in percent of a core."""
        first, *_, last = self._between(start, end)
        return 100 * (last.cpu_seconds - first.cpu_seconds) / (last.at - first.at)

    def most_threads(self) -> int:
        """Return the largest number of threads of a process."""
        return max(each.threads for each in self.taken)

    def memory_by_minute(self, start: float, end: float) -> list[float]:
        """Return the median memory of each minute between two moments, in MiB."""
        minutes: dict[int, list[float]] = {}
        for each in self._between(start, end):
            minutes.setdefault(int((each.at - start) // 60), []).append(each.memory)
        return [statistics.median(minutes[number]) for number in sorted(minutes)]

    def _between(self, start: float, end: float) -> list[Sample]:
        return [each for each in self.taken if start <= each.at <= end]

    def _take(self) -> None:
        memory, threads = [0.0], [0]
        for process_id in sorted(self._living):
            try:
                status = Path(f"/proc/{process_id}/status").read_text()
                self._latest[process_id] = ticks(process_id) / TICKS
                memory.append(int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024)
                threads.append(int(re.findall(r"Threads:\s+(\d+)", status)[0]))
            except (OSError, IndexError):  # it was killed: what it used counts
                self._living.discard(process_id)
        self.taken.append(Sample(time.monotonic(), sum(self._latest.values()), max(memory), max(threads)))
