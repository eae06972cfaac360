"""What commands cost: CPU time, and how long a person waits for them on a quiet and on a busy machine.

`python -m tests.benchmarks commands [LOOPS]` runs each command in a folder with the shipped rules and a store with 500 alerts,
three times as the machine is, then three times next to so many busy loops (8) of the same priority, in another session.
CPU is user and system time. The medians, and the slowest of the busy runs, are printed.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.end_to_end import kit

RUNS = 3
RECORDS = 500
COMMANDS = (
    *(
        "--help",
        "schema webhook",
        "routes show",
        "rules list",
        "rules check",
        "check",
        "status",
        "records list",
    ),
    *(
        "records receipts --verify",
        "alerts list",
        "alerts show ALERT",
        "explain ALERT",
        "deliveries list",
        "silences list",
    ),
    *(
        "receivers list",
        "routes test --level high",
        "silences add level=low --for 1s --comment x",
        "actions --limit 50",
    ),
)


def main(loops: int = 8) -> None:
    """Print a row for each command."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as name, _folder(Path(name)) as (folder, alert):
        print(f"  {'':<34} {'CPU':>9} {'quiet':>9}  beside {loops} loops: median, slowest")
        for command in COMMANDS:
            words = command.replace("ALERT", alert).split()
            _run(words, folder)  # compiles
            quiet = [_run(words, folder) for _ in range(RUNS)]
            with _busy(loops):
                busy = [_run(words, folder)[1] for _ in range(RUNS)]
            cpu, wall = (statistics.median(column) for column in zip(*quiet, strict=True))
            print(
                f"  {command:<34} {cpu:>7.2f} s {wall:>7.2f} s {statistics.median(busy):>7.2f} s {max(busy):>7.2f} s",
                flush=True,
            )


@contextlib.contextmanager
def _folder(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield a folder with a configuration and a store, and the id of an alert."""
    kit.finished("init", folder=folder)
    with kit.upstream(folder) as upstream:
        os.environ |= {
            "ACTIONWATCH_ORGANISATION_ID": upstream.organisation_id,
            "ACTIONWATCH_USERNAME": upstream.username,
            "ACTIONWATCH_API_KEY": upstream.api_key,
        }
        config = folder / "actionwatch.yaml"
        upstream.delete_cluster(*(f"user{number}@example.com" for number in range(RECORDS)))
        changed = config.read_text().replace("#base_url: https://api.instaclustr.com", f"base_url: {upstream.base_url}")
        config.write_text(
            changed.replace("#start: now", "start: 1d").replace("#alert_backlog: false", "alert_backlog: true")
        )
        subprocess.run([kit.COMMAND, "run", "--once"], cwd=folder, capture_output=True, check=False)
        listed = subprocess.run(
            [kit.COMMAND, "alerts", "list", "-o", "jsonl"], cwd=folder, capture_output=True, text=True, check=True
        )
        yield folder, listed.stdout.partition('"id": "')[2].partition('"')[0]


def _run(words: list[str], folder: Path) -> tuple[float, float]:
    """Return the CPU time and the duration of one run."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    ran = subprocess.run([kit.COMMAND, *words], cwd=folder, capture_output=True, check=False)
    took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ran.returncode in (0, 1), ran.stderr
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, took


@contextlib.contextmanager
def _busy(loops: int) -> Iterator[None]:
    """Run busy loops during the block in another session, as those of another terminal or service are.

    Linux divides the processors between sessions first, if `kernel.sched_autogroup_enabled` is 1, as by default.
    """
    loop = f"{sys.executable} -c 'while True: pass' & " * loops
    running = subprocess.Popen(["/bin/sh", "-c", f"{loop} wait"], start_new_session=True)
    try:
        yield
    finally:
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
