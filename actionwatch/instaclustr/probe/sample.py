"""Take the sample of most checks: a large and a small page of a window that no longer changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from actionwatch.base.clock import to_micros
from actionwatch.base.model import Record
from actionwatch.instaclustr.probe.client import Parameters, ProbeClient, ProbedPage

LARGE = 1000  # the documented maximum
_WANTED = 100  # records: with fewer, many properties stay unknown
_REACHES = (timedelta(days=7), timedelta(days=90), None)  # tried until there are enough records; None: the whole log
_SETTLED = timedelta(minutes=1)  # younger records may still appear and change totals


@dataclass(frozen=True, slots=True)
class Sample:
    """One window of the log, as a large page and as a page of one record.

    `first` is the first response, one record of the whole log. `start` is None if the window is unbounded.
    """

    first: ProbedPage
    large: ProbedPage
    small: ProbedPage
    start: datetime | None
    end: datetime
    is_whole: bool
    """Whether the large page contains all records of the window."""

    @property
    def window(self) -> Parameters:
        return within(self.start, self.end)

    @property
    def records(self) -> Sequence[Record]:
        return self.large.records

    @property
    def is_size_known(self) -> bool:
        """Whether responses contain the number of records in the window, and not just in the page."""
        claim = claimed(self.small)
        return claim is not None and claim > len(self.small.records) and claim == claimed(self.large)

    @property
    def size(self) -> int | None:
        """The number of records in the window, if it is known."""
        if self.is_whole:
            return len(self.records)
        return claimed(self.small) if self.is_size_known else None


def take_sample(client: ProbeClient) -> Sample:
    """Request the shortest window with enough records.

    Raises: SourceError, if a response is unreadable.
    """
    first = client.page(size=1)
    end = client.server_now() - _SETTLED
    start, large = None, first
    for reach in _REACHES:
        start = None if reach is None else end - reach
        large = client.page(within(start, end), size=LARGE)
        if len(large.records) >= _WANTED:
            break
    window = within(start, end)
    small = client.page(window, size=1)
    rest = client.page(window, size=1, index=len(large.records)) if large.records else large
    return Sample(first, large, small, start, end, is_whole=not rest.records)


def within(start: datetime | None, end: datetime | None) -> list[tuple[str, str]]:
    """Return the parameters of a window, in whole milliseconds."""
    bounds = (("startTime", start), ("endTime", end))
    return [(name, str(to_micros(at) // 1000)) for name, at in bounds if at is not None]


def claimed(seen: ProbedPage) -> int | None:
    """Return the number of records according to a response, as the tail uses it: the total, or the sum of the counts."""
    page = seen.page
    return page.total if page.total is not None or page.counts is None else sum(page.counts.values())
