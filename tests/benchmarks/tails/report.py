"""What every contestant prints."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path


def measure(run: Callable[[], Mapping[str, int]]) -> None:
    """Run it, and print what it tells (`records`: how many it stored), how long it took, and the process's peak memory."""
    before_kib = _peak_kib()
    started, used = time.perf_counter(), time.process_time()
    told = run()
    seconds, cpu = time.perf_counter() - started, time.process_time() - used
    found = {"seconds": seconds, "cpu": cpu, "peak_kib": _peak_kib(), "before_kib": before_kib, "told": dict(told)}
    print("RESULT", json.dumps(found))


def _peak_kib() -> int:
    # `ru_maxrss` would begin with that of the process that started this one.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])
