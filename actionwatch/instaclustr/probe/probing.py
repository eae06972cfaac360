"""Run all checks, and derive what they mean for the proof."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from actionwatch.base.errors import BadResponse, SourceError
from actionwatch.instaclustr.probe import behaviour, bounds, envelope, fields, filters, paging, records
from actionwatch.instaclustr.probe.client import MAX_REQUESTS, ProbeClient, refusal
from actionwatch.instaclustr.probe.fields import FieldSeen
from actionwatch.instaclustr.probe.findings import ProbeFinding, ProofImpact, costly, fatal, fine, joined, unsettled
from actionwatch.instaclustr.probe.sample import Sample, take_sample

Check = Callable[[ProbeClient, Sample], ProbeFinding | list[ProbeFinding]]

_CHECKS: Sequence[tuple[str, Check]] = (
    ("envelope", envelope.envelope),
    ("empty answer", envelope.emptiness),
    ("totals", envelope.totals),
    ("counts", envelope.counts),
    ("order", paging.order),
    ("recordIndex", paging.index),
    ("pageSize", paging.size),
    ("retention", paging.retention),
    ("bounds", bounds.bounds),
    ("filters", filters.filters),
    ("organisationLogsOnly, accountLogsOnly", filters.partition),
    ("crudOperations", filters.operations),
    ("invalid numbers", behaviour.refusals),
    ("clock", behaviour.clock),
    ("lateness", behaviour.lateness),
    ("fields", fields.mapping),
    ("time", records.time_form),
    ("upstream id", records.identity),
)
"""The checks of the log, with the subject of the finding if a check itself fails."""


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """The result of a probe. The first finding summarises the others."""

    source: str
    request_count: int
    findings: Sequence[ProbeFinding]
    fields: Sequence[FieldSeen]

    @property
    def is_proof_prevented(self) -> bool:
        return any(finding.weight is ProofImpact.PREVENTS for finding in self.findings)

    @property
    def configuration(self) -> dict[str, Any]:
        """Merge what the findings suggest for the configuration."""
        merged: dict[str, Any] = {}
        for finding in self.findings:
            for key, value in finding.configuration.items():
                if isinstance(value, Mapping):
                    merged[key] = {**merged.get(key, {}), **value}
                else:
                    merged[key] = list(dict.fromkeys([*merged.get(key, []), *value]))
        return merged

    def document(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "requests": self.request_count,
            "most_requests": MAX_REQUESTS,
            "is_provable": not self.is_proof_prevented,
            "findings": [finding.document() for finding in self.findings],
            "fields": [asdict(field) for field in self.fields],
            "configuration": self.configuration,
        }


def probe(client: ProbeClient, known_kinds: Collection[str]) -> ProbeReport:
    """Run all checks. `known_kinds` come from the configuration.

    Raises: SourceError, if the first request is refused: the key, the organisation or the address is wrong.
    """
    source = client.reader.source
    accounts = behaviour.accounts(client)
    try:
        sample = take_sample(client)
    except BadResponse as exc:
        means = "an unreadable response never counts as 'no records': check base_url and proxy"
        found = fatal("envelope", exc.what, means)
        return ProbeReport(source, client.request_count, [_proof([found]), found, accounts], [])
    findings = [finding for name, check in _CHECKS for finding in _run(name, check, client, sample)]
    findings += [*records.kinds(client, sample, known_kinds), *records.scopes(client, sample)]
    findings += [*records.places(client, sample), accounts]
    findings += [behaviour.limits(client, sample), behaviour.latency(client, sample)]  # they evaluate all requests
    seen = fields.fields_seen(client, sample)
    return ProbeReport(source, client.request_count, [_proof(findings, sample), *findings], seen)


def _run(name: str, check: Check, client: ProbeClient, sample: Sample) -> list[ProbeFinding]:
    """Run one check. If it fails, that is a finding too, and the other checks still run."""
    try:
        found = check(client, sample)
    except SourceError as exc:
        return [unsettled(name, refusal(exc))]
    return found if isinstance(found, list) else [found]


def _proof(findings: Sequence[ProbeFinding], sample: Sample | None = None) -> ProbeFinding:
    reasons = list(dict.fromkeys(finding.subject for finding in findings if finding.weight is ProofImpact.PREVENTS))
    if reasons:
        return fatal("proof", f"not possible: see {joined(reasons)}", "records are still stored and matched")
    by_subject = {finding.subject: finding for finding in findings}
    totals, order = by_subject.get("totals"), by_subject.get("order")
    if sample is None or totals is None or not totals.is_settled:
        return unsettled("proof", "too few records to decide", f"until then, {envelope.TWO_WALKS}")
    if not sample.is_size_known or envelope.TWO_WALKS in totals.means:
        return costly("proof", "possible with two walks of each window", envelope.TWO_WALKS)
    if order and order.weight is ProofImpact.COSTS:
        return costly("proof", "possible with one request per poll, but long windows need more", order.means)
    return fine("proof", "possible with one request per poll", totals.means)
