"""Runs the cases of one attack in this process, under limits that the kernel enforces, and reports what the worst cost."""

from __future__ import annotations

import gc
import json
import os
import random
import resource
import time
from collections import Counter
from collections.abc import Callable

Attack = Callable[[random.Random], str]
"""One case: returns its outcome in a few words. Raises AssertionError if a promise is broken."""

CPU_SECONDS = 20  # of one case, with the server that attacks; over ten times what the slowest takes
ADDRESS_BYTES = 4 * 1024**3  # of the process, with its threads


def run(attack: Attack, first: int, count: int) -> None:
    """Run cases. Print the outcomes as JSON, with the worst CPU seconds and the bytes by which the memory grew."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_BYTES, ADDRESS_BYTES))
    outcomes, worst = Counter[str](), (0.0, first)
    _once(attack, first)  # what is imported and compiled once is no cost of a case
    before = _peak_bytes()
    for seed in range(first, first + count):
        begun = time.process_time()
        outcomes[_once(attack, seed)] += 1
        worst = max(worst, (time.process_time() - begun, seed))
    print(json.dumps({"cpu": worst, "memory_bytes": _peak_bytes() - before, "outcomes": outcomes}))


def _once(attack: Attack, seed: int) -> str:
    os.write(2, b"seed %d\n" % seed)  # the last line if the kernel ends the process
    gc.collect()
    used = time.process_time()
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + CPU_SECONDS + 1, resource.RLIM_INFINITY))
    return attack(random.Random(seed))


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
