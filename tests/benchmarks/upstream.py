"""A server with many records, in its own process, so that it shares no interpreter with the measured client.

The records are those of the emulator, encoded once in advance: encoding them for each response takes 4 µs of CPU per record,
more than the fastest reader needs. It supports what a reader of a backlog requests: bounds, page size, offset, counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import cast
from urllib.parse import parse_qs, urlsplit

import msgspec

from actionwatch.emulator.durations import Duration
from actionwatch.emulator.scenario import Scenario, build_simulation
from actionwatch.emulator.wire import record
from tests.benchmarks import mixes

LATEST_MS = 2**62
ACCOUNTS = "/linked-accounts"  # none is listed
RECENTLY = timedelta(minutes=-20)


@dataclass(frozen=True)
class Served:
    """The URL and the process of the server."""

    url: str
    organisation_id: str
    process_id: int

    @property
    def cpu_seconds(self) -> float:
        """Return the CPU time that the server has used."""
        fields = Path(f"/proc/{self.process_id}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def upstream(count: int, days: float = 30, until: timedelta = RECENTLY, mix: mixes.Mix = "worst") -> Iterator[Served]:
    """Serve so many records over so many days up to a time from now, newest first. Later ones appear when they happen."""
    arguments = str(count), str(days), str(until.total_seconds()), mix
    command = [sys.executable, "-m", "tests.benchmarks.upstream", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        url, organisation_id = process.stdout.readline().split()
        yield Served(url, organisation_id, process.pid)
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


class Listing:
    """The records, oldest first: their times, and their JSON."""

    def __init__(self, count: int, days: float, until: timedelta = RECENTLY, mix: mixes.Mix = "worst") -> None:
        simulation = build_simulation(Scenario(history=Duration(0), ordinary=False))
        self.organisation_id = simulation.organisation.id
        now = datetime.now(UTC)
        self.times = array("q")
        self._bodies: list[bytes] = []
        self._times_of_kind: dict[str, array[int]] = {}
        for action in mixes.actions_of(mix, simulation.organisation, count, now - timedelta(days=days), now + until):
            at = int(action.at.timestamp() * 1000)
            self.times.append(at)
            self._bodies.append(msgspec.json.encode(record(action, simulation.organisation)))
            self._times_of_kind.setdefault(action.kind, array("q")).append(at)

    def page(self, start: int, end: int, offset: int, size: int, *, with_counts: bool) -> bytes:
        """Return the page at an offset of the records between two times (ms, both included)."""
        low, high = bisect_left(self.times, start), bisect_right(self.times, end)
        bodies = self._bodies[max(low, high - offset - size) : max(low, high - offset)][::-1]
        counts = b""
        if with_counts:
            found = {kind: bisect_right(at, end) - bisect_left(at, start) for kind, at in self._times_of_kind.items()}
            counts = b',"actionCounts":' + msgspec.json.encode({kind: n for kind, n in found.items() if n})
        head = b'[{"totalResults":%d,"startIndex":%d,"itemsPerPage":%d' % (high - low, offset, len(bodies))
        return b"".join((head, counts, b',"resources":[', b",".join(bodies), b"]}]"))


class _Connection(asyncio.Protocol):
    listing: Listing

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._received = transport, b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            target = urlsplit(head.split(b" ", 2)[1].decode())
            asked = parse_qs(target.query)
            start, end, offset, size = (
                int(asked.get(name, [default])[0])
                for name, default in (
                    ("startTime", 0),
                    ("endTime", LATEST_MS),
                    ("recordIndex", 0),
                    ("pageSize", 1000),
                )
            )
            end = min(end, int(time.time() * 1000))
            with_counts = asked.get("getActionCounts") == ["true"]
            is_actions = not target.path.endswith(ACCOUNTS)
            body = self.listing.page(start, end, offset, size, with_counts=with_counts) if is_actions else b"[]"
            date = format_datetime(datetime.now(UTC), usegmt=True).encode()
            answer = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ndate: %s\r\ncontent-length: %d\r\n\r\n"
            self._transport.write(answer % (date, len(body)) + body)


async def _serve(count: int, days: float, until: float, mix: mixes.Mix) -> None:
    _Connection.listing = Listing(count, days, timedelta(seconds=until), mix)
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    print(f"http://127.0.0.1:{address[1]}", _Connection.listing.organisation_id, flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), cast("mixes.Mix", sys.argv[4])))
