"""Check the order of records, and paging."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

from actionwatch.base.durations import spell_duration
from actionwatch.base.model import Record
from actionwatch.base.plurals import counted
from actionwatch.instaclustr.probe.client import ProbeClient, ProbedPage
from actionwatch.instaclustr.probe.findings import ProbeFinding, costly, fatal, fine, unsettled
from actionwatch.instaclustr.probe.sample import LARGE, Sample, claimed

_ENOUGH = 4  # records: fewer may be in order by chance
SIZE, INDEX = 3, 2  # a short page within the first: a page of three that begins at the third record


def order(client: ProbeClient, sample: Sample) -> ProbeFinding:
    """Check in which order records are returned, and whether it is stable."""
    records = sample.records
    if len(records) < _ENOUGH:
        return unsettled("order", f"the log has only {counted(len(records), 'record')}", "none is assumed")
    base, again = client.page(sample.window, size=10), client.page(sample.window, size=10)
    found = _direction(records)
    if base.keys == again.keys:
        if found is None:
            return unsettled("order", "all records have the same time", "none is assumed")
        return fine("order", f"{found}, stable", "none is assumed")
    if [record.occurred_at for record in base.records] == [record.occurred_at for record in again.records]:
        says = f"{found or 'by time'}, but records with the same time change places between requests"
        means = "a walk over several pages may miss one: actionwatch repeats it until the counts agree, or splits the window"
        return costly("order", says, means)
    means = "only windows of one page can be proved: actionwatch splits longer windows until they fit"
    return costly("order", "none: it changes between requests", means)


def _direction(records: Sequence[Record]) -> str | None:
    """Return the order of times; None if there is only one time."""
    times = [record.occurred_at for record in records if record.is_time_readable]
    if len(set(times)) < 2:
        return None
    if all(one >= other for one, other in pairwise(times)):
        return "descending by time"
    return "ascending by time" if all(one <= other for one, other in pairwise(times)) else "not by time"


def index(client: ProbeClient, sample: Sample) -> ProbeFinding:
    """Check whether `recordIndex` works, and what it counts."""
    subject = "recordIndex"
    base = client.page(sample.window, size=10)
    if len(base.records) <= INDEX + SIZE:
        return unsettled(subject, f"the log has only {counted(len(base.records), 'record')}")
    page = client.page(sample.window, size=SIZE, index=INDEX)
    if not page.keys:
        return fatal(subject, "a page in the middle of the log is empty", "only first pages can be read")
    count = min(len(page.keys), len(base.keys) - INDEX)
    came, expected, unmoved = page.keys[:count], base.keys[INDEX : INDEX + count], base.keys[:count]
    of_pages = sample.large.keys[SIZE * INDEX : SIZE * INDEX + count]
    if len({tuple(keys) for keys in (expected, unmoved, of_pages)}) < 3 and came == unmoved:
        return unsettled(subject, "all records are equal")
    if came == expected:
        return fine(subject, "it counts records, from 0", "walks advance by the number of received records")
    if came == unmoved:
        return fatal(subject, "ignored: every page is the first", "records after the first page cannot be read")
    if came == of_pages:
        means = "walks would skip records: this version cannot read the log"
        return fatal(subject, "it counts pages and not records", means)
    return unsettled(subject, "unknown, because the order changes between requests")


def size(client: ProbeClient, sample: Sample) -> ProbeFinding:
    """Check whether `pageSize` is applied, and how large a page can be."""
    small, large = sample.small, sample.large
    more_requests = "walks advance by the number of received records: more requests, and the same proof"
    if len(small.records) > 1:
        return costly("pageSize", f"ignored: a page of 1 had {len(small.records)} records", more_requests)
    if sample.is_whole and sample.start is not None:
        large = client.page(size=LARGE)  # the whole log may have more records than the window
    came, claim = len(large.records), claimed(large)
    is_cut = not sample.is_whole
    if large is not sample.large:
        is_cut = claim is not None and claim > came and bool(client.page(size=1, index=came).records)
    if came >= LARGE:
        return fine("pageSize", f"applied, up to {LARGE}", "walks advance by the number of received records")
    if is_cut:
        says = f"applied, but pages have at most {counted(came, 'record')}, although {LARGE} were requested"
        return costly("pageSize", says, more_requests)
    if not came:
        return unsettled("pageSize", "the log has no records")
    says = f"applied up to {came}, which is the whole log; it is unknown whether {LARGE} are possible"
    return unsettled("pageSize", says)


def retention(client: ProbeClient, sample: Sample) -> ProbeFinding:
    """Check how far the log reaches back."""
    claim, found = claimed(sample.first), _direction(sample.records)
    if not sample.records or not found:
        return unsettled("retention", "too few records")
    oldest: ProbedPage | None = sample.first if found.startswith("ascending") else None
    if found.startswith("descending") and claim is not None and claim > len(sample.first.records):
        oldest = client.page(size=1, index=claim - 1)
    times = [record.occurred_at for record in oldest.records if record.is_time_readable] if oldest else []
    if not times:
        return unsettled("retention", "without an order and a right total, the oldest record cannot be requested")
    age = max(client.server_now() - min(times), timedelta(0))
    reach = spell_duration(timedelta(days=age.days) if age.days else timedelta(seconds=age.seconds // 60 * 60 or 60))
    means = "it is unknown whether older records were deleted; a window that shrinks after its proof raises an alert"
    return fine("retention", f"records reach back at least {reach}", means)
