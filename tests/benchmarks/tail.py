"""How fast a backlog is read into a durable, deduplicated store, compared with similar tools, and with how much memory.

`python -m tests.benchmarks tail [RECORDS] [ROUNDS]`. All read the same pages from one server on loopback. Other tools are not
dependencies, and their dependencies conflict with ours: `python -m venv peers && peers/bin/pip install 'dlt[sqlalchemy]'
grove`, then `TAIL_PEERS=peers/bin/python python -m tests.benchmarks tail`. Contestants run in turn; the output shows the
median of the rounds.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.upstream import Served, upstream

PEERS_PYTHON = os.environ.get("TAIL_PEERS", sys.executable)


@dataclass(frozen=True)
class Contestant:
    """One way to store the listing: a module of `tails`, and its Python. `needs` names what must be installed."""

    title: str
    module: str
    variant: str = ""
    python: str = sys.executable
    needs: str = ""


CONTESTANTS = (
    Contestant("actionwatch: stored, deduplicated, proved", "ours", "stored"),
    Contestant("actionwatch: and through 100 rules", "ours", "matched"),
    Contestant("limit: stored, deduplicated, one thread", "limit", "1"),
    Contestant("limit: four pages in flight", "limit", "4"),
    Contestant("Grove (compressed files)", "grove_peer", python=PEERS_PYTHON, needs="grove"),
    Contestant("dlt (SQLite, merge)", "dlt_peer", python=PEERS_PYTHON, needs="dlt[sqlalchemy]"),
)


def main(count: int = 1_000_000, rounds: int = 1) -> None:
    """Print a table of records per second and peak memory."""
    found: dict[Contestant, list[dict[str, Any]]] = defaultdict(list)
    with upstream(count) as served:
        print(f"{count:,} records; the server alone gives {_served_alone(served, count):,.0f} records/s")
        for _ in range(rounds):
            for contestant in CONTESTANTS:
                result = _run(contestant, served)
                if result:
                    found[contestant].append(result)
    for contestant in CONTESTANTS:
        _print(contestant, found[contestant], count)


def _served_alone(served: Served, count: int) -> float:
    """Measure how fast a client gets pages that it discards."""
    out = _start(sys.executable, "discard", served)
    return count / float(_result(out.stdout)["seconds"])


def _run(contestant: Contestant, served: Served) -> dict[str, Any] | None:
    """Run one contestant in an empty folder. Return None if it is not installed."""
    with tempfile.TemporaryDirectory() as folder:
        used = served.cpu_seconds
        out = _start(contestant.python, contestant.module, served, folder, contestant.variant)
        if out.returncode:
            print(f"{contestant.title}: skipped, {(out.stderr.strip().splitlines() or ['no word'])[-1]}")
            if contestant.needs:
                print(f"  pip install '{contestant.needs}', and name that Python in TAIL_PEERS")
            return None
        result = _result(out.stdout)
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        return {**result, "server_cpu": served.cpu_seconds - used, "size": size}


def _start(python: str, module: str, served: Served, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [python, "-m", f"tests.benchmarks.tails.{module}", served.url, served.organisation_id, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _result(out: str) -> dict[str, Any]:
    line = next(line for line in out.splitlines() if line.startswith("RESULT "))
    result: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
    return result


def _print(contestant: Contestant, results: list[dict[str, Any]], count: int) -> None:
    if not results:
        return
    middle = {
        name: statistics.median(result[name] for result in results)
        for name in ("seconds", "cpu", "server_cpu", "peak_kib", "before_kib", "size")
    }
    details = dict(results[-1]["details"])
    stored = details.pop("records")
    print(
        f"{contestant.title:<44} {stored / middle['seconds']:>9,.0f} records/s  {middle['cpu'] / count * 1e6:>5.1f} µs CPU"
        f" + {middle['server_cpu'] / count * 1e6:.1f} of the server  {middle['peak_kib'] / 1024:>5.0f} MiB"
        f" ({middle['before_kib'] / 1024:.0f} before)  {middle['size'] / 2**20:>5.0f} MiB stored"
        + ("" if stored == count else f"  {stored:,} records only")
        + ("  " + ", ".join(f"{number:,} {name}" for name, number in details.items()) if details else "")
    )
