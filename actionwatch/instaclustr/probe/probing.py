"""Ask every question in turn, and say what the answers mean for the proof together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actionwatch.base.errors import BadResponse, SourceError
from actionwatch.instaclustr.probe import behaviour, bounds, envelope, fields, filters, paging, records
from actionwatch.instaclustr.probe.client import (
    MAX_REQUESTS,
    ProbeClient,
    Refusal,
    RequestBudgetExceeded,
    UnreadableResponse,
)
from actionwatch.instaclustr.probe.fields import FieldSeen
from actionwatch.instaclustr.probe.findings import ProbeFinding, ProofImpact, costly, fatal, fine, joined, unsettled
from actionwatch.instaclustr.probe.sample import Sample, take_sample

Question = Callable[[ProbeClient, Sample], list[ProbeFinding]]

QUESTIONS: Sequence[tuple[str, Question]] = (
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
)
"""Everything that is asked of the log, and what it is called where the question itself fails."""

CLOSING: Sequence[Question] = (behaviour.limits, behaviour.latency)  # what all requests showed


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What a probe found; the first finding sums the others up."""

    source: str
    request_count: int
    findings: Sequence[ProbeFinding]
    fields: Sequence[FieldSeen]

    @property
    def is_proof_prevented(self) -> bool:
        """Return whether something makes the proof impossible."""
        return any(finding.weight is ProofImpact.PREVENTS for finding in self.findings)

    @property
    def configuration(self) -> dict[str, Any]:
        """Join what the findings suggest for the configuration."""
        joined_up: dict[str, Any] = {}
        for finding in self.findings:
            for key, value in finding.configuration.items():
                if isinstance(value, Mapping):
                    joined_up[key] = {**joined_up.get(key, {}), **value}
                else:
                    joined_up[key] = list(dict.fromkeys([*joined_up.get(key, []), *value]))
        return joined_up

    def document(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return {
            "source": self.source,
            "requests": self.request_count,
            "most_requests": MAX_REQUESTS,
            "is_provable": not self.is_proof_prevented,
            "findings": [finding.document() for finding in self.findings],
            "fields": [field.document() for field in self.fields],
            "configuration": self.configuration,
        }


def probe(asker: ProbeClient, aliases: Mapping[str, Sequence[str]], known_kinds: Collection[str]) -> ProbeReport:
    """Settle what can be settled. `aliases` and `known_kinds` are the configuration's.

    Raises: SourceError, where the very first question is refused: the key, the organisation or the way there is wrong.
    """
    source = asker.reader.source
    accounts = behaviour.accounts(asker)
    try:
        sample = take_sample(asker)
    except BadResponse as exc:
        what = str(Refusal(exc)) if isinstance(exc, UnreadableResponse) else exc.what
        found = fatal(
            "envelope", what, "an answer that cannot be read is never taken for 'no records': see base_url and proxy"
        )
        return ProbeReport(source, asker.request_count, [_proof([found]), found, *accounts], [])
    findings = [finding for name, question in QUESTIONS for finding in _ask(name, question, asker, sample)]
    findings += _of_records(sample, aliases, known_kinds)
    findings += [*accounts, *(finding for question in CLOSING for finding in question(asker, sample))]
    seen = fields.fields_seen(sample.large.objects, aliases)
    return ProbeReport(source, asker.request_count, [_proof(findings, sample), *findings], seen)


def _ask(name: str, question: Question, asker: ProbeClient, sample: Sample) -> list[ProbeFinding]:
    """Put one question; that it fails is a finding too, and no other question's business."""
    try:
        return question(asker, sample)
    except SourceError as exc:
        return [unsettled(name, exc.what if isinstance(exc, RequestBudgetExceeded) else str(Refusal(exc)))]


def _of_records(
    sample: Sample, aliases: Mapping[str, Sequence[str]], known_kinds: Collection[str]
) -> list[ProbeFinding]:
    """Read the sample's records."""
    large, objects = sample.large, sample.large.objects
    again = {record.key: record.upstream_id for record in sample.small.records}
    counted = (sample.first.page.counts or {}) if sample.is_size_told else {}
    return [
        *fields.mapping(objects, aliases),
        *records.time_form(objects, aliases),
        *records.identity(large.records, again),
        *records.kinds(objects, large.records, counted, known_kinds, aliases),
        *records.scopes(objects, aliases),
        *records.places(large.records),
    ]


def _proof(findings: Sequence[ProbeFinding], sample: Sample | None = None) -> ProbeFinding:
    """Sum up: what does it take to prove a window here?"""
    reasons = list(dict.fromkeys(finding.subject for finding in findings if finding.weight is ProofImpact.PREVENTS))
    if reasons:
        return fatal(
            "proof", f"not possible as things are: see {joined(reasons)}", "records are stored and matched all the same"
        )
    by_subject = {finding.subject: finding for finding in findings}
    totals, order = by_subject.get("totals"), by_subject.get("order")
    if sample is None or totals is None or not totals.is_settled:
        return unsettled("proof", "too few records to tell what it takes", f"until that shows, {envelope.TWO_WALKS}")
    if not sample.is_size_told or envelope.TWO_WALKS in totals.means:
        return costly("proof", "possible by walking each window twice", envelope.TWO_WALKS)
    if order and order.weight is ProofImpact.COSTS:
        return costly("proof", "possible with one request a poll, but long windows take more", order.means)
    return fine("proof", "possible with one request a poll", totals.means)
