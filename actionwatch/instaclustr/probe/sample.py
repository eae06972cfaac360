"""Take the sample that most findings are read from: a large page of a window that no longer changes, and a small one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from actionwatch.base.model import Record
from actionwatch.instaclustr.instants import microseconds
from actionwatch.instaclustr.probe.client import Parameters, ProbeClient, ProbedPage

LARGE = 1000  # the documented maximum
WANTED = 100  # records: fewer leave much unsettled
REACHES = (timedelta(days=7), timedelta(days=90), None)  # tried in turn until as many came; None: all there is
SETTLED = timedelta(minutes=1)  # what is younger may still be appearing: totals would differ by themselves


@dataclass(frozen=True, slots=True)
class Sample:
    """What the upstream shows of one window, asked in a large page and in one of a single record.

    `first` is the very first answer: one record of all the log. `start` is None where the window has no beginning.
    """

    first: ProbedPage
    large: ProbedPage
    small: ProbedPage
    start: datetime | None
    end: datetime
    is_whole: bool
    """The large page holds all records of the window."""

    @property
    def window(self) -> Parameters:
        """The parameters that ask for the window."""
        return within(self.start, self.end)

    @property
    def records(self) -> Sequence[Record]:
        """The records of the large page."""
        return self.large.records

    @property
    def is_size_told(self) -> bool:
        """Return whether an answer claims how many records the window holds, and not just how many came with it."""
        claim = claimed(self.small)
        return claim is not None and claim > len(self.small.records) and claim == claimed(self.large)

    @property
    def size(self) -> int | None:
        """How many records the window holds, as far as that is known."""
        if self.is_whole:
            return len(self.records)
        return claimed(self.small) if self.is_size_told else None


def take_sample(asker: ProbeClient) -> Sample:
    """Ask for a window that holds some records, as short as it can be.

    Raises: SourceError, where the upstream gives nothing that can be read.
    """
    first = asker.page(size=1)
    end = asker.server_now() - SETTLED
    start, large = None, first
    for reach in REACHES:
        start = None if reach is None else end - reach
        large = asker.page(within(start, end), size=LARGE)
        if len(large.records) >= WANTED:
            break
    window = within(start, end)
    small = asker.page(window, size=1)
    rest = asker.page(window, size=1, index=len(large.records)) if large.records else large
    return Sample(first, large, small, start, end, is_whole=not rest.records)


def within(start: datetime | None, end: datetime | None) -> list[tuple[str, str]]:
    """Return the parameters of a window, in whole milliseconds."""
    bounds = (("startTime", start), ("endTime", end))
    return [(name, str(microseconds(at) // 1000)) for name, at in bounds if at is not None]


def claimed(seen: ProbedPage) -> int | None:
    """Return how many records an answer claims there are, as the tail takes it: the total, or else the sum of the counts."""
    page = seen.page
    return page.total if page.total is not None or page.counts is None else sum(page.counts.values())
