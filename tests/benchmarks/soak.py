"""A service under load for minutes: does its memory or its CPU grow?

`python -m tests.benchmarks soak [MINUTES] [RATE] [MIX] [WARM]`. A real service with the shipped rules reads a server that shows
RATE new records a second (500 by default), after a backlog of five minutes. MIX says what they are: `worst` (the default) or
`usual`, see `mixes.py`. Each minute prints resident memory, CPU and the size of the write-ahead log. At the end: by how much
memory grew in a minute, after WARM minutes (3; most windows of the shipped rules are full after 20); how long SIGTERM takes;
and how long the next start takes to reach its first poll. Reads /proc: Linux only.
"""

from __future__ import annotations

import re
import shutil
import signal
import statistics
import subprocess
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from tests.benchmarks.growth import RULES
from tests.benchmarks.mixes import Mix
from tests.benchmarks.start import TICKS, ticks
from tests.benchmarks.upstream import upstream
from tests.children import Process
from tests.end_to_end import kit

BACKLOG = timedelta(minutes=5)
STARTED = "poll_completed"
CONFIG = """
sources:
  - {{name: bench, organisation_id: {organisation}, username: demo, api_key: demo-key, base_url: "{url}", start: 5m}}
web: {{listen: "127.0.0.1:0"}}
log: {{level: debug, format: json}}
"""


def main(minutes: int = 10, rate: int = 500, mix: Mix = "worst", warm_minutes: int = 3) -> None:
    """Print a line a minute, and what grew."""
    span = BACKLOG + timedelta(minutes=minutes + 2)
    count = int(rate * span.total_seconds())
    with (
        tempfile.TemporaryDirectory() as name,
        upstream(count, BACKLOG / timedelta(days=1), span - BACKLOG, mix) as served,
    ):
        folder = Path(name)
        shutil.copytree(RULES, folder / "rules")
        config = folder / "actionwatch.yaml"
        config.write_text(CONFIG.format(url=served.url, organisation=served.organisation_id))
        log = folder / "log"
        with log.open("w") as out, kit.started("run", folder=folder, stderr=out, stdout=out) as process:
            rows = [_minute(process, folder, number) for number in range(1, minutes + 1)]
            seconds = _stop(process)
        warm = rows[warm_minutes:]
        if len(warm) > 1:
            slope = statistics.linear_regression(range(len(warm)), [memory for memory, _ in warm]).slope
            print(
                f"  memory grows by {slope:.2f} MiB a minute after {warm_minutes} minutes; SIGTERM takes {seconds:.1f} s"
            )
        with log.open("w") as out, kit.started("run", folder=folder, stderr=out, stdout=out) as process:
            print(f"  the next start reaches the end of its first poll after {_until(log, STARTED):.1f} s")
            _stop(process)


def _minute(process: Process, folder: Path, number: int) -> tuple[float, float]:
    before = ticks(process.pid)
    time.sleep(60)
    cpu = (ticks(process.pid) - before) / TICKS / 60
    status = Path(f"/proc/{process.pid}/status").read_text()
    memory = int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024
    logs = sum(path.stat().st_size for path in folder.glob("*.db-wal")) / 2**20
    print(f"  minute {number:>2}: {memory:>6.1f} MiB, {cpu:.2f} of a core, write-ahead log {logs:.0f} MiB", flush=True)
    return memory, cpu


def _stop(process: Process) -> float:
    started = time.perf_counter()
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    return time.perf_counter() - started


def _until(log: Path, event: str) -> float:
    started = time.perf_counter()
    while event not in log.read_text():
        time.sleep(0.05)
        if time.perf_counter() - started > 120:
            raise subprocess.TimeoutExpired(event, 120)
    return time.perf_counter() - started
