"""What a new record costs in normal operation, compared with one in a backlog: `python -m tests.benchmarks steady [RATE]`.

RATE is records per second, 500 by default. The first poll reads a backlog of 15 minutes. 8 minutes later, when its second look
is over, polls at the default interval are measured for 15 minutes, with the default overlap and sweeps, in simulated time. The
upstream runs in the same process; the time that it takes is left out.
"""

from __future__ import annotations

import logging
import tempfile
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import structlog

from actionwatch.net.http_response import HttpResponse
from actionwatch.settings.keys import Source
from actionwatch.store.database import Database
from tests.benchmarks.upstream import LATEST_MS, Listing
from tests.builders import Clock
from tests.upstreams import DirectClient, World, self_watch, tail_of

BACKLOG, SETTLED, WATCHED = timedelta(minutes=15), timedelta(minutes=8), timedelta(minutes=15)
POLL: timedelta = Source.model_fields["poll_interval"].default
DELAY = timedelta(seconds=1)  # records are shown so late
SERVED_BEFORE = timedelta(minutes=20)  # the newest record of a `Listing`


class ListingClient(DirectClient):
    """A client that gets the pages of a listing, up to the time of its clock."""

    def __init__(self, listing: Listing, clock: Clock) -> None:
        super().__init__(World(clock).emulator, clock)
        self.listing = listing
        self.page_count = 0
        self.upstream_seconds = 0.0

    def _exchange(self, path: str, params: list[tuple[str, str]]) -> HttpResponse:
        started = time.process_time()
        asked = dict(params)
        shown_until = int((self._clock() - DELAY).timestamp() * 1000)
        start, end = int(asked.get("startTime", 0)), min(int(asked.get("endTime", LATEST_MS)), shown_until)
        size, offset = int(asked["pageSize"]), int(asked["recordIndex"])
        self.request_count += 1
        self.page_count += size > 1
        body = self.listing.page(start, end, offset, size, with_counts=asked["getActionCounts"] == "true")
        date = format_datetime(self._clock(), usegmt=True)
        self.upstream_seconds += time.process_time() - started
        return HttpResponse(200, {"date": date}, body, timedelta(0))


def main(rate: int = 500) -> None:
    """Print the CPU time of a record in the backlog, and of a new one in normal operation."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    span = BACKLOG + SETTLED + WATCHED
    count = int(rate * span.total_seconds())
    listing = Listing(count, (span + SERVED_BEFORE) / timedelta(days=1))
    clock = Clock(datetime.fromtimestamp(listing.times[0] / 1000, UTC) + BACKLOG)
    client = ListingClient(listing, clock)
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'store.db'}")
        database.upgrade()
        defaults = Source.model_fields
        options = {name: defaults[name].default for name in ("overlap", "sweeps")}
        watch = self_watch(database, client, clock)
        tail = tail_of(
            database, client, clock, watch, start=BACKLOG + POLL, alert_backlog=True, page_size=1000, **options
        )

        def poll(after: timedelta) -> tuple[int, float]:
            clock.advance(seconds=after.total_seconds())
            started = time.process_time() - client.upstream_seconds
            report = tail.run_once()
            assert report.error is None, report
            return report.new_count, time.process_time() - client.upstream_seconds - started

        new, seconds = poll(timedelta(0))
        print(f"  backlog           {new:>9,} records, {seconds / new * 1e6:>6.1f} µs of CPU each")
        for _ in range(SETTLED // POLL):
            poll(POLL)
        client.page_count = client.request_count = 0
        new_count, total, longest = 0, 0.0, 0.0
        for _ in range(WATCHED // POLL):
            new, seconds = poll(POLL)
            new_count, total, longest = new_count + new, total + seconds, max(longest, seconds)
        print(
            f"  normal operation  {new_count:>9,} records, {total / new_count * 1e6:>6.1f} µs of CPU each; "
            f"{client.page_count:,} pages and {client.request_count - client.page_count:,} counts; "
            f"longest poll {longest:.2f} s of CPU"
        )
        database.close()
