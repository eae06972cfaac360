"""In which order records come, and how pages are cut out of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

from actionwatch.base.durations import spell_duration
from actionwatch.base.model import Record
from actionwatch.instaclustr.probe.client import ProbeClient, ProbedPage
from actionwatch.instaclustr.probe.findings import ProbeFinding, costly, fatal, fine, unsettled
from actionwatch.instaclustr.probe.sample import LARGE, Sample, claimed

ENOUGH = 4  # records: with fewer, chance looks like an order
SIZE, INDEX = 3, 2  # a short page within the first: a page of three that begins at the third record


def order(asker: ProbeClient, sample: Sample) -> list[ProbeFinding]:
    """Say in which order records come, and whether it stays."""
    records = sample.records
    if len(records) < ENOUGH:
        return [unsettled("order", f"the log shows {len(records)} records: too few", "none is assumed")]
    base, again = asker.page(sample.window, size=10), asker.page(sample.window, size=10)
    found = direction(records)
    if base.keys == again.keys:
        if found is None:
            return [unsettled("order", "all records are of one instant", "none is assumed")]
        return [fine("order", f"{found}, the same at every request", "none is assumed")]
    if [record.occurred_at for record in base.records] == [record.occurred_at for record in again.records]:
        says = f"{found or 'by time'}, but records of one instant change places between requests"
        means = "a walk over several pages may miss one of them: it is walked again until it counts, or cut smaller"
        return [costly("order", says, means)]
    means = "only what fits in one page can be proved: longer windows are cut until they fit"
    return [costly("order", "none: it changes from request to request", means)]


def direction(records: Sequence[Record]) -> str | None:
    """Name the order of times; None where there is but one."""
    times = [record.occurred_at for record in records if record.is_time_readable]
    if len(set(times)) < 2:
        return None
    if all(one >= other for one, other in pairwise(times)):
        return "descending by time, the newest first"
    return "ascending by time" if all(one <= other for one, other in pairwise(times)) else "not by time"


def index(asker: ProbeClient, sample: Sample) -> list[ProbeFinding]:
    """Return whether `recordIndex` works, and what it counts."""
    subject = "recordIndex"
    base = asker.page(sample.window, size=10)
    if len(base.records) <= INDEX + SIZE:
        return [unsettled(subject, f"the log shows {len(base.records)} records: too few to page")]
    page = asker.page(sample.window, size=SIZE, index=INDEX)
    if not page.keys:
        return [fatal(subject, "a page in the middle of the log comes empty", "only first pages can be read")]
    count = min(len(page.keys), len(base.keys) - INDEX)
    came, expected, unmoved = page.keys[:count], base.keys[INDEX : INDEX + count], base.keys[:count]
    of_pages = sample.large.keys[SIZE * INDEX : SIZE * INDEX + count]
    if len({tuple(keys) for keys in (expected, unmoved, of_pages)}) < 3 and came == unmoved:
        return [unsettled(subject, "records that are all equal do not show it")]
    if came == expected:
        return [fine(subject, "it counts records, from 0", "walks advance by the records that came")]
    if came == unmoved:
        return [
            fatal(subject, "it is ignored: every page is the first", "records beyond the first page cannot be read")
        ]
    if came == of_pages:
        return [
            fatal(subject, "it counts pages, not records", "walks would skip records: this version cannot read the log")
        ]
    return [unsettled(subject, "the order changes between requests: a page cannot be placed within it")]


def size(asker: ProbeClient, sample: Sample) -> list[ProbeFinding]:
    """Return whether `pageSize` is honoured, and how large a page may be."""
    small, large = sample.small, sample.large
    if len(small.records) > 1:
        says = f"it is ignored: a page of 1 came with {len(small.records)}"
        return [costly("pageSize", says, "walks advance by what comes: more requests, no less proof")]
    if sample.is_whole and sample.start is not None:
        large = asker.page(size=LARGE)  # what the window does not show, all of the log may
    came, claim = len(large.records), claimed(large)
    is_cut = not sample.is_whole
    if large is not sample.large:
        is_cut = claim is not None and claim > came and bool(asker.page(size=1, index=came).records)
    if came >= LARGE:
        return [fine("pageSize", f"it is honoured, up to {LARGE}", "walks advance by what comes")]
    if is_cut:
        says = f"it is honoured, but pages end at {came} records though {LARGE} were asked for"
        return [costly("pageSize", says, "walks advance by what comes: more requests, no less proof")]
    if not came:
        return [unsettled("pageSize", "the log shows no records")]
    return [
        unsettled(
            "pageSize", f"it is honoured up to {came}, for which all records suffice; whether {LARGE} come is open"
        )
    ]


def retention(asker: ProbeClient, sample: Sample) -> list[ProbeFinding]:
    """Say how far back the log reaches, at least."""
    claim, found = claimed(sample.first), direction(sample.records)
    if not sample.records or not found:
        return [unsettled("retention", "too few records")]
    oldest: ProbedPage | None = sample.first if found.startswith("ascending") else None
    if found.startswith("descending") and claim is not None and claim > len(sample.first.records):
        oldest = asker.page(size=1, index=claim - 1)
    times = [record.occurred_at for record in oldest.records if record.is_time_readable] if oldest else []
    if not times:
        return [unsettled("retention", "without an order and a true total the oldest record cannot be asked for")]
    age = max(asker.server_now() - min(times), timedelta(0))
    reach = spell_duration(timedelta(days=age.days) if age.days else timedelta(seconds=age.seconds // 60 * 60 or 60))
    means = (
        "whether older ones were deleted or never made is not told; a window that shrinks after its proof is an alert"
    )
    return [fine("retention", f"records reach back {reach}, at least", means)]
