"""What stands around the records: the envelope, the totals, the counts."""

from __future__ import annotations

from collections import Counter
from typing import Any

from actionwatch.base.errors import SourceError
from actionwatch.instaclustr.probe.client import ProbeClient, ProbedPage, Refusal
from actionwatch.instaclustr.probe.findings import ProbeFinding, costly, fatal, fine, unsettled
from actionwatch.instaclustr.probe.sample import Sample
from actionwatch.instaclustr.probe.shapes import field_name, types
from actionwatch.instaclustr.walk import FAR
from actionwatch.instaclustr.wire import read_counts

# What the tail makes of totals (`tail/cursor.py`): it believes them once a walk that an empty page ended confirmed them.
ONE_REQUEST = (
    "one request a poll proves its window where that fits in one page, once a first walk has confirmed the totals"
)
COUNTED = "the counts are summed instead, and then one request a poll proves its window where that fits in one page"
TWO_WALKS = "two walks prove a window: 3 requests where it holds records, 2 where it is empty"
CONTRADICTED = "they contradict every walk, so that none proves anything: tell us, and the vendor"


def envelope(_: ProbeClient, sample: Sample) -> list[ProbeFinding]:
    """Say what the records are wrapped in."""
    seen, found = sample.large, sample.large.envelopes
    if not found and isinstance(seen.document, list):
        what = "a list of records, with no envelope" if seen.records else "an empty list, with no envelope"
        return [costly("envelope", what, f"nothing beside the records counts them: {TWO_WALKS}")]
    members = ", ".join(f"{field_name(name)} ({types([held])})" for name, held in found[0].items() if not _is_map(held))
    what = "a bare object" if not isinstance(seen.document, list) else "a list that holds one object"
    what = f"a list of {len(found)} objects" if len(found) > 1 else what
    return [
        fine("envelope", f"{what}, whose members beside {_resources(seen)} are {members or 'none'}", "read as it is")
    ]


def emptiness(asker: ProbeClient, sample: Sample) -> list[ProbeFinding]:
    """Ask far past the end: what an empty answer looks like, and whether `recordIndex` is looked at at all."""
    try:
        seen = asker.page(sample.window, size=1, index=FAR)
    except SourceError as exc:
        return [
            fine("empty answer", f"far past the end {Refusal(exc)}", "recordIndex is looked at; walks do not go there")
        ]
    if seen.records:
        means = (
            "records beyond the first page cannot be read: only windows of one page could be, and nothing shows which"
        )
        return [fatal("empty answer", "even far past the end records come: recordIndex is ignored", means)]
    if not seen.envelopes:
        return [fine("empty answer", "an empty list", "the end of a walk is seen")]
    told = seen.document[0] if isinstance(seen.document, list) else seen.document
    held = next((types([value]) for name, value in told.items() if name.lower() == "resources"), "absent")
    return [
        fine(
            "empty answer",
            f"an envelope whose resources are {'an empty list' if held == 'list' else held}",
            "the end of a walk is seen",
        )
    ]


def totals(asker: ProbeClient, sample: Sample) -> list[ProbeFinding]:
    """Return whether totals are told, cover the window, and are true."""
    small, large = sample.small, sample.large
    told, subject = large.told("totalresults"), "totals"
    instead = COUNTED if sample.is_size_told else TWO_WALKS
    if told is None:
        return [costly(subject, "none are told", instead)]
    if large.total is None:
        return [costly(subject, f"totalResults is {types([told])}, but no number", instead)]
    form = f"told as {'text' if isinstance(told, str) else 'a number'}"
    if len(large.envelopes) > 1 and sample.is_whole and large.page.total != len(large.records):
        says = f"{form} by each of several objects, and do not add up"
        return [fatal(subject, says, CONTRADICTED)]
    if large.total < len(large.records):
        return [costly(subject, f"{form}, but fewer than come", f"never believed: {instead}")]
    if len(large.records) <= len(small.records) == large.total:
        says = f"{form}; {len(large.records)} records are too few to tell whether a total covers more than its page"
        return [unsettled(subject, says, f"until one does, {TWO_WALKS}")]
    if small.total == len(small.records):
        return [costly(subject, f"{form}, but they count the page, not the window", f"never believed: {TWO_WALKS}")]
    if small.total != large.total:
        small = asker.page(sample.window, size=1)
    if small.total is None or small.total != large.total:
        says = f"{form}, but differ between answers: they depend on the page, or the window keeps changing"
        return [costly(subject, says, f"not believed: {TWO_WALKS}")]
    return [_exactness(asker, sample, small.total, form)]


def counts(asker: ProbeClient, sample: Sample) -> list[ProbeFinding]:
    """Return whether counts are told, in which form, what they cover, and whether they sum to the totals."""
    small, large = sample.small, sample.large
    found = _counts(large)
    if found is None:
        means = "proof names the method 'totals' instead of 'counts'; sweeps compare totals, not kinds"
        return [costly("counts", "none are told, though they were asked for", means)]
    form = f"{'a map of kind to number' if isinstance(found[1], dict) else 'a list of objects'} under {field_name(found[0])}"
    declined = asker.page(sample.window, size=1, is_counted=False)
    manners = "left out when declined" if _counts(declined) is None else "told even when declined"
    findings = [fine("counts form", f"{form}, {manners}", "read as it is")]
    return [*findings, _coverage(asker, small, large, sample)]


def _exactness(asker: ProbeClient, sample: Sample, total: int, form: str) -> ProbeFinding:
    """Ask for the last record that the total claims, and the one after: exactly one must come."""
    last = asker.page(sample.window, size=2, index=total - 1)
    if len(last.records) == 1:
        return fine("totals", f"{form}, cover the window, and as many records are there", ONE_REQUEST)
    if not last.records:
        return fatal("totals", f"{form}, but more than come", CONTRADICTED)
    is_moved = last.keys != sample.large.keys[: len(last.keys)]
    if is_moved and asker.page(sample.window, size=1).total == total:
        return costly("totals", f"{form}, but fewer than come", f"never believed: {TWO_WALKS}")
    return unsettled("totals", f"{form} and cover the window; whether they are true cannot be seen", ONE_REQUEST)


def _coverage(asker: ProbeClient, small: ProbedPage, large: ProbedPage, sample: Sample) -> ProbeFinding:
    of_small, of_large = small.page.counts, large.page.counts
    if of_small != of_large:
        of_small = asker.page(sample.window, size=1).page.counts
    if of_small is None or of_large is None:
        return costly("counts", "told in one answer and not in another", "proof names the method 'totals'")
    if len(large.records) <= len(small.records) and sum(of_large.values()) == len(large.records):
        return unsettled("counts", "too few records to tell whether they cover the window or the page")
    if of_small != of_large:
        is_page = sum(of_large.values()) == len(large.records) and sum(of_small.values()) == len(small.records)
        what = "count the page, not the window" if is_page else "differ between answers"
        return costly("counts", f"they {what}", "never believed; totals or two walks prove")
    kinds = Counter(record.action_kind for record in large.records)
    if sample.is_whole and Counter({kind: n for kind, n in of_large.items() if n}) != kinds:
        return costly(
            "counts",
            "they cover the window, but are not what its records are",
            "never believed; totals or two walks prove",
        )
    total = large.page.total
    if total is not None and sum(of_large.values()) != total:
        return costly(
            "counts", "they cover the window, but do not sum to the total", "never believed; totals or two walks prove"
        )
    summed = "and sum to the total" if total is not None else "and there is no total to compare with"
    return fine(
        "counts",
        f"they cover the window, {summed}",
        "proof is per kind, and sweeps over older windows cost one request each",
    )


def _counts(seen: ProbedPage) -> tuple[str, Any] | None:
    """Find the member that holds the counts."""
    for members in seen.envelopes:
        for name, held in sorted(members.items(), key=lambda member: "count" not in member[0].lower()):
            if read_counts({name: held}) is not None:
                return name, held
    return None


def _is_map(held: Any) -> bool:
    return read_counts({"counts": held}) is not None


def _resources(seen: ProbedPage) -> str:
    first = seen.document[0] if isinstance(seen.document, list) else seen.document
    return next((name for name in first if name.lower() == "resources"), "the absent resources")
