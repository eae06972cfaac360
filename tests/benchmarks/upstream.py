"""A server with many records, in a process of its own, so that it shares no interpreter with what is measured."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

SERVER = """
import sys
from datetime import UTC, datetime, timedelta
from actionwatch import emulator
count, days = int(sys.argv[1]), float(sys.argv[2])
organisation = emulator.bring_to_life(emulator.Scenario(history=emulator.Span(0), ordinary=False)).organisation
now = datetime.now(UTC)
organisation.extend_synthetic(count, now - timedelta(days=days), now - timedelta(minutes=20))
emulator.serve_forever(emulator.create_app(organisation), announce=lambda url: print(url, organisation.id, flush=True))
"""


@dataclass(frozen=True)
class Served:
    """Where it is."""

    url: str
    organisation_id: str


@contextlib.contextmanager
def upstream(count: int, days: float = 30) -> Iterator[Served]:
    """Serve so many records, spread over so many days."""
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(count), str(days)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        url, organisation_id = process.stdout.readline().split()
        yield Served(url, organisation_id)
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()
