"""Check what surrounds the records: the envelope, the totals and the counts."""

from __future__ import annotations

from collections import Counter
from typing import Any

from actionwatch.base.errors import SourceError
from actionwatch.base.plurals import counted
from actionwatch.instaclustr.probe.client import ProbeClient, ProbedPage, refusal
from actionwatch.instaclustr.probe.findings import ProbeFinding, costly, fatal, fine, unsettled
from actionwatch.instaclustr.probe.sample import Sample
from actionwatch.instaclustr.probe.shapes import field_name, types
from actionwatch.instaclustr.walk import FAR
from actionwatch.instaclustr.wire import read_counts

# How the tail uses totals (`tail/cursor.py`): it trusts them after a walk to an empty page has confirmed them.
_ONE_REQUEST = (
    "one request per poll proves a window that fits into one page, after a first walk has confirmed the totals"
)
_COUNTED = "actionwatch adds up the counts instead, and one request per poll proves a window that fits into one page"
_UNUSED = "not used; totals or two walks prove"
TWO_WALKS = "two walks prove a window: 3 requests if it has records, 2 if it is empty"
_CONTRADICTED = "they contradict every walk, so that no walk proves anything: report it to us and to the vendor"


def envelope(_: ProbeClient, sample: Sample) -> ProbeFinding:
    seen, found = sample.large, sample.large.envelopes
    if not found and isinstance(seen.document, list):
        what = "a list of records, with no envelope" if seen.records else "an empty list, with no envelope"
        return costly("envelope", what, f"nothing counts the records: {TWO_WALKS}")
    members = ", ".join(f"{field_name(name)} ({types([held])})" for name, held in found[0].items() if not _is_map(held))
    what = "an object" if not isinstance(seen.document, list) else "a list of one object"
    what = f"a list of {len(found)} objects" if len(found) > 1 else what
    return fine("envelope", f"{what}, whose members besides {_resources(seen)} are {members or 'none'}", "supported")


def emptiness(client: ProbeClient, sample: Sample) -> ProbeFinding:
    """Request a page far past the end: what does an empty page look like, and is `recordIndex` evaluated?"""
    subject, recognised = "empty answer", "the end of a walk is recognised"
    try:
        seen = client.page(sample.window, size=1, index=FAR)
    except SourceError as exc:
        means = "recordIndex is evaluated; walks do not go past the end"
        return fine(subject, f"far past the end, {refusal(exc)}", means)
    if seen.records:
        means = "records after the first page cannot be read, and nothing shows which windows fit into one page"
        return fatal(subject, "a page far past the end has records: recordIndex is ignored", means)
    if not seen.envelopes:
        return fine(subject, "an empty list", recognised)
    held = next((types([value]) for name, value in seen.first.items() if name.lower() == "resources"), "absent")
    return fine(subject, f"an envelope whose resources are {'an empty list' if held == 'list' else held}", recognised)


def totals(client: ProbeClient, sample: Sample) -> ProbeFinding:
    """Check whether there are totals, whether they cover the window, and whether they are right."""
    small, large = sample.small, sample.large
    given, subject = large.given_total, "totals"
    instead = _COUNTED if sample.is_size_known else TWO_WALKS
    if given is None:
        return costly(subject, "missing", instead)
    if large.total is None:
        return costly(subject, f"totalResults is {types([given])}, but not a number", instead)
    form = f"given as {'text' if isinstance(given, str) else 'a number'}"
    if len(large.envelopes) > 1 and sample.is_whole and large.page.total != len(large.records):
        return fatal(subject, f"{form} in several objects, but do not add up", _CONTRADICTED)
    if large.total < len(large.records):
        return costly(subject, f"{form}, but lower than the number of records", f"not used: {instead}")
    if len(large.records) <= len(small.records) == large.total:
        says = f"{form}; {counted(len(large.records), 'record')} cannot show whether a total covers more than its page"
        return unsettled(subject, says, f"until a total does, {TWO_WALKS}")
    if small.total == len(small.records):
        return costly(subject, f"{form}, but they count the page and not the window", f"not used: {TWO_WALKS}")
    if small.total != large.total:
        small = client.page(sample.window, size=1)
    if small.total is None or small.total != large.total:
        says = f"{form}, but differ between responses: they depend on the page, or the window is changing"
        return costly(subject, says, f"not used: {TWO_WALKS}")
    return _exactness(client, sample, small.total, form)


def counts(client: ProbeClient, sample: Sample) -> list[ProbeFinding]:
    """Check whether there are counts, in which form, what they cover, and whether they add up to the totals."""
    found = _counts(sample.large)
    if found is None:
        means = "the proof uses the method 'totals' instead of 'counts'; sweeps compare totals and not kinds"
        return [costly("counts", "missing, although requested", means)]
    form = f"{'a map of kind to number' if isinstance(found[1], dict) else 'a list of objects'} under {field_name(found[0])}"
    declined = client.page(sample.window, size=1, is_counted=False)
    when_declined = "absent on request" if _counts(declined) is None else "present even if declined"
    form_finding = fine("counts form", f"{form}, {when_declined}", "supported")
    return [form_finding, _coverage(client, sample)]


def _exactness(client: ProbeClient, sample: Sample, total: int, form: str) -> ProbeFinding:
    """Request the last record according to the total, and the one after it: exactly one must be returned."""
    last = client.page(sample.window, size=2, index=total - 1)
    if len(last.records) == 1:
        return fine("totals", f"{form}, cover the window, and equal the number of records", _ONE_REQUEST)
    if not last.records:
        return fatal("totals", f"{form}, but higher than the number of records", _CONTRADICTED)
    is_moved = last.keys != sample.large.keys[: len(last.keys)]
    if is_moved and client.page(sample.window, size=1).total == total:
        return costly("totals", f"{form}, but lower than the number of records", f"not used: {TWO_WALKS}")
    return unsettled("totals", f"{form}, and cover the window; it is unknown whether they are right", _ONE_REQUEST)


def _coverage(client: ProbeClient, sample: Sample) -> ProbeFinding:
    small, large = sample.small, sample.large
    of_small, of_large = small.page.counts, large.page.counts
    if of_small != of_large:
        of_small = client.page(sample.window, size=1).page.counts
    if of_small is None or of_large is None:
        return costly("counts", "missing in some responses", "the proof uses the method 'totals'")
    if len(large.records) <= len(small.records) and sum(of_large.values()) == len(large.records):
        return unsettled("counts", "too few records to show whether they cover the window or the page")
    if of_small != of_large:
        is_page = sum(of_large.values()) == len(large.records) and sum(of_small.values()) == len(small.records)
        what = "count the page and not the window" if is_page else "differ between responses"
        return costly("counts", f"they {what}", _UNUSED)
    kinds = Counter(record.action_kind for record in large.records)
    if sample.is_whole and Counter({kind: n for kind, n in of_large.items() if n}) != kinds:
        return costly("counts", "they cover the window, but do not match the kinds of its records", _UNUSED)
    total = large.page.total
    if total is not None and sum(of_large.values()) != total:
        return costly("counts", "they cover the window, but do not add up to the total", _UNUSED)
    summed = "and add up to the total" if total is not None else "and there is no total to compare with"
    means = "the proof is per kind, and a sweep of an older window costs one request"
    return fine("counts", f"they cover the window, {summed}", means)


def _counts(seen: ProbedPage) -> tuple[str, Any] | None:
    for members in seen.envelopes:
        for name, held in sorted(members.items(), key=lambda member: "count" not in member[0].lower()):
            if read_counts({name: held}) is not None:
                return name, held
    return None


def _is_map(held: Any) -> bool:
    return read_counts({"counts": held}) is not None


def _resources(seen: ProbedPage) -> str:
    return next((name for name in seen.first if name.lower() == "resources"), "the missing resources")
