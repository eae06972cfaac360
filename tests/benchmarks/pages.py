"""How long the pages of the console take on a store of a given size: `python -m tests.benchmarks pages [RECORDS]`.

The store is filled as in the benchmark `growth`, with at most 100,000 alerts. Then the real service runs on it, and a client
asks for each page: the median and the longest of its times, from the request to the last byte, and the size.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from actionwatch.service.service import Service
from tests import http_client
from tests.benchmarks.growth import fill_folder, open_app
from tests.benchmarks.upstream import upstream

TIMES = 7
PATHS = (
    "/",
    "/?range=week",
    "/?range=month",
    "/alerts",
    "/alerts?level=high&since=30d&user=eve",
    "/alerts?text=nothing+has+this",
    "/alerts/{alert}",
    "/records",
    "/records?user=nobody",
    "/records?cluster=nothing",
    "/records/{record}",
    "/deliveries",
    "/deliveries?state=dead",
    "/silences",
    "/rules",
    "/api/v1/alerts",
    "/api/v1/records",
    "/metrics",
)


def main(count: int = 100_000) -> None:
    """Fill a store and print a row for each page."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as name, upstream(count) as served:
        store = fill_folder(Path(name), count, served)
        print(f"  {count:,} records", flush=True)
        command = [sys.executable, "-m", "tests.benchmarks.pages", name, store.record_key, store.alert_id]
        subprocess.run(command, check=True)


def _measure(folder: Path, record: str, alert: str) -> None:
    app = open_app(folder)
    service = Service(app)
    with service.running(), http_client.client(base_url=service.url, headers={"accept": "text/html"}) as client:
        for path in PATHS:
            found = []
            for _ in range(TIMES):
                began = time.perf_counter()
                response = client.get(path.format(record=record, alert=alert))
                found.append((time.perf_counter() - began) * 1000)
            note = "" if response.status_code == 200 else f"  {response.status_code}"
            size = len(response.content) / 1024
            print(
                f"  {path:<40} {statistics.median(found):>6.0f} ms  {max(found):>6.0f} ms  {size:>6.1f} KB{note}",
                flush=True,
            )
    app.close()


if __name__ == "__main__":
    _measure(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
