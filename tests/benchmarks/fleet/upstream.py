"""Runs the emulator of a fleet, and asks it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests import http_client
from tests.children import child

_READS = "/_reads"

Reads = dict[str, list[tuple[float, bool]]]
"""When each organisation was read, on the monotonic clock, and whether it answered."""


@dataclass(frozen=True)
class Origin:
    """The running emulator."""

    url: str

    def reads(self) -> Reads:
        """Return when each organisation was read so far."""
        found: Reads = http_client.get(self.url + _READS).raise_for_status().json()
        return found

    def records(self, since: datetime, until: datetime) -> Iterator[dict[str, Any]]:
        """Yield what the logs of all organisations show of a time."""
        bounds = {"start": since.isoformat(), "end": until.isoformat()}
        answer = http_client.get(f"{self.url}/_emulator/visible", params=bounds).raise_for_status()
        yield from map(json.loads, answer.content.splitlines())

    def fail(self) -> None:
        """Answer each request with an error from now on."""
        http_client.put(f"{self.url}/_emulator/faults", json=["error:503"]).raise_for_status()

    def recover(self) -> None:
        """End the errors."""
        http_client.delete(f"{self.url}/_emulator/faults").raise_for_status()


@contextlib.contextmanager
def origin(count: int, sources: Path) -> Iterator[Origin]:
    """Run so many organisations, and write them to a file as sources."""
    command = [sys.executable, "-m", "tests.benchmarks.fleet.emulator", str(count), str(sources)]
    with child(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield Origin(process.stdout.readline().strip())
