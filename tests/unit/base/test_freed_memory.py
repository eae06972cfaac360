"""What a service does with memory that it has freed: measured in a separate process."""

from __future__ import annotations

import json
import platform
import sys

import pytest

from tests.children import run_child

MEASURE = """
import json, threading
from pathlib import Path
from actionwatch.base.freed_memory import return_large_blocks

MIB = 1 << 20

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / MIB

def arenas():
    maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    starts = [int(fields[0].split("-")[0], 16) for fields in maps if len(fields) == 5 and fields[1] == "rw-p"]
    return sum(start % (64 * MIB) == 0 for start in starts)  # glibc reserves 64 MiB for each, at a multiple of that

return_large_blocks()
bytearray(16 * MIB)  # freed at once: from here on, glibc would take smaller blocks from an arena
before = resident()
large, small = bytearray(8 * MIB), [bytes(1000) for _ in range(100)]
del large
kept = resident() - before
barrier = threading.Barrier(9)

def work():
    blocks = [bytes(1000) for _ in range(100)]
    barrier.wait()

threads = [threading.Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
barrier.wait()
print(json.dumps([kept, arenas()]))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries keep what they do")
def test_large_blocks_are_returned_and_threads_share_arenas() -> None:
    """A large block leaves nothing behind it, although small ones follow; eight threads add one arena to the main one."""
    done = run_child([sys.executable, "-c", MEASURE])
    kept_mib, arena_count = json.loads(done.stdout)
    assert kept_mib < 4
    assert arena_count == 1
