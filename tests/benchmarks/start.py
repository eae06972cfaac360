"""What a start costs, and what an idle service costs: the CPU of commands, and memory and CPU of the idle service.

`python -m tests.benchmarks start [SECONDS]`. The service polls an emulator without activity, with the shipped rules and the
configuration of `init`, every 10 s and every 30 s, for so many seconds each. CPU is user and system time, the median of five
runs with compiled files. Reads /proc: Linux only.
"""

from __future__ import annotations

import os
import re
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from actionwatch.service.configuration import shipped
from tests.benchmarks.latency import configured
from tests.end_to_end import kit

RUNS = 5
SETTLED_SECONDS = 20  # the first poll, with its imports, is over
TICKS = os.sysconf("SC_CLK_TCK")


def main(seconds: int = 60) -> None:
    """Print a row for each."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        kit.finished("init", folder=folder)
        pack = str(shipped("rules"))
        for command in (["--help"], ["rules", "check", pack], ["rules", "check"], ["check"]):
            print(
                f"  {' '.join(command).replace(pack, 'PACK'):<24} {_cpu_seconds(command, folder) * 1000:>6.0f} ms of CPU"
            )
        for interval in (10, 30):
            _idle(folder, interval, seconds)


def _cpu_seconds(command: list[str], folder: Path) -> float:
    names = ("ACTIONWATCH_ORGANISATION_ID", "ACTIONWATCH_USERNAME", "ACTIONWATCH_API_KEY")
    environment = kit.environment(**dict.fromkeys(names, "anything"))
    found = []
    for _ in range(RUNS + 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([kit.COMMAND, *command], cwd=folder, env=environment, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(found[1:])  # the first run compiles


def _idle(folder: Path, interval: int, seconds: int) -> None:
    with kit.upstream(folder) as upstream:
        changes = ("#poll_interval: 10s", f"poll_interval: {interval}s"), ("actionwatch.db", f"{interval}.db")
        config = configured((folder / "actionwatch.yaml").read_text(), upstream, *changes)
        (folder / "idle.yaml").write_text(config)
        with kit.started("-c", "idle.yaml", "run", folder=folder, stderr=subprocess.DEVNULL) as process:
            time.sleep(SETTLED_SECONDS)
            used = ticks(process.pid)
            time.sleep(seconds)
            share = 100 * (ticks(process.pid) - used) / TICKS / seconds
            status = Path(f"/proc/{process.pid}/status").read_text()
    (kibibytes,) = re.findall(r"VmRSS:\s+(\d+)", status)
    print(f"  idle, a poll every {interval} s   {int(kibibytes) / 1024:>6.1f} MiB resident, {share:.2f} % of a core")


def ticks(pid: int) -> int:
    """Return the CPU time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])  # utime and stime
