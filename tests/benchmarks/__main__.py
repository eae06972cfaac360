"""Run a benchmark by hand: `python -m tests.benchmarks NAME [ARGUMENT]`. docs/performance.md contains the results."""

from __future__ import annotations

import importlib
import sys

NAMES = (
    "tail",
    "rules",
    "correlations",
    "deliveries",
    "noise",
    "start",
    "growth",
    "steady",
    "soak",
    "latency",
    "commands",
    "replicas",
    "inserts",
    "volume",
    "pages",
    "strangers",
    "search",
    "streams",
    "stream_drivers",
    "quiet_poll",
    "fleet",
)


def main() -> None:
    """Run the named benchmark."""
    if len(sys.argv) < 2 or sys.argv[1] not in NAMES:
        sys.exit(f"usage: python -m tests.benchmarks {'|'.join(NAMES)} [COUNT]")
    module = importlib.import_module(f"tests.benchmarks.{sys.argv[1]}")
    module.main(*(int(argument) if argument.isdigit() else argument for argument in sys.argv[2:]))


main()
