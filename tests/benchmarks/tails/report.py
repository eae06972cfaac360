"""The output of every contestant."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path


def measure(run: Callable[[], Mapping[str, int]]) -> None:
    """Run a contestant, and print its details (`records`: how many it stored), its duration, and its peak memory."""
    before_kib = _peak_kib()
    started, used = time.perf_counter(), time.process_time()
    details = run()
    seconds, cpu = time.perf_counter() - started, time.process_time() - used
    found = {
        "seconds": seconds,
        "cpu": cpu,
        "peak_kib": _peak_kib(),
        "before_kib": before_kib,
        "details": dict(details),
    }
    print("RESULT", json.dumps(found))


def _peak_kib() -> int:
    # `ru_maxrss` would begin with the value of the parent process.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])
