"""Check the records of the sample: times, ids, kinds, accounts and clusters, scopes and operations."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from actionwatch.base.model import Entity
from actionwatch.base.plurals import counted
from actionwatch.instaclustr.aliases import ENTITIES
from actionwatch.instaclustr.instants import parse_instant
from actionwatch.instaclustr.kinds import KINDS, OPERATIONS, UNNAMED_KIND, normalise_kind
from actionwatch.instaclustr.probe.client import ProbeClient
from actionwatch.instaclustr.probe.findings import ProbeFinding, costly, fatal, fine, joined, unsettled
from actionwatch.instaclustr.probe.sample import Sample

_KIND = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*", re.ASCII)  # only what looks like a kind is shown
_MAX_KIND_CHARS = 64
_MAX_SHOWN_KINDS = 150
_ISO = re.compile(
    r"\d{4}-?\d\d-?\d\d([T ])\d\d:?\d\d(?::?\d\d)?(?:[.,](\d+))?\s*(Z|[+-]\d\d:?\d\d)?(\[.*\])?",
    re.IGNORECASE | re.ASCII,
)
_UNITS = {10: "seconds", 13: "milliseconds", 16: "microseconds", 19: "nanoseconds"}
_DOMAINS = ("ORGANISATION", "ORGANIZATION", "ORG", "ACCOUNT", "CLUSTER", "USER")
_UNTIMED = (
    "without times the high-water mark never moves: every poll reads the whole log, and late records stay unnoticed"
)


def time_form(client: ProbeClient, sample: Sample) -> ProbeFinding:
    given = _values(client, sample, "time")
    if not sample.records:
        return unsettled("time", "the log has no records")
    if not given:
        return fatal("time", "no record has one", _UNTIMED)
    forms = Counter(_form_of_time(value) for value in given)
    unreadable = sum(parse_instant(value) is None for value in given)
    says = joined([form for form, _ in forms.most_common()], 5)
    if unreadable == len(given):
        return fatal("time", f"{says}: none is readable", _UNTIMED)
    if unreadable:
        means = "records without a readable time get the time of their fetch, and are marked"
        return costly("time", f"{says}: some are unreadable", means)
    return fine("time", says, "interpreted as UTC" if "without a zone" in says else "supported")


def _form_of_time(value: Any) -> str:
    """Name the form of a time: `ISO 8601 with Z, 3 fraction digits`, `a number of milliseconds`."""
    if value is None or value == "":
        return "blank"
    is_text = isinstance(value, str)
    digits = re.fullmatch(r"(\d+)(\.\d+)?", str(value).strip(), re.ASCII)
    if digits and not isinstance(value, bool):
        unit = _UNITS.get(len(digits[1]), f"an unknown unit ({len(digits[1])} digits)")
        return f"{'digits in a text' if is_text else 'a number'} of {unit}"
    found = _ISO.fullmatch(value.strip()) if is_text else None
    if not found:
        return "a text in another form" if is_text else "neither a text nor a number"
    where = "without a zone"
    if zone := found[3]:
        where = "with Z" if zone.upper() == "Z" else f"with an offset {'with' if ':' in zone else 'without'} a colon"
    fraction = f"{len(found[2])} fraction digits" if found[2] else "whole seconds"
    return f"ISO 8601 {where}, {fraction}" + (", with a space instead of the T" if found[1] == " " else "")


def identity(_: ProbeClient, sample: Sample) -> ProbeFinding:
    """Check whether records have an id, and whether it is unique and the same in a second response."""
    subject, records = "upstream id", sample.records
    again = {record.key: record.upstream_id for record in sample.small.records}
    if not records:
        return unsettled(subject, "the log has no records")
    ids = [record.upstream_id for record in records if record.upstream_id]
    twins = sum(count - 1 for count in Counter(record.key for record in records).values())
    same = f"{counted(twins, 'record')} with the same identity as another" if twins else "no two records are equal"
    if not ids:
        means = "the identity is the content, and an ordinal for equal records, so that true twins stay two records"
        return fine(subject, f"missing; {same}", means)
    if len(ids) < len(records):
        return fine(subject, f"only some records have one; {same}", "used if present")
    is_changed = any(again.get(record.key, record.upstream_id) != record.upstream_id for record in records)
    if is_changed or (len(records) > 1 and again and not any(record.key in again for record in records)):
        return costly(subject, "changes between responses", "every poll would treat all records as new")
    if len(set(ids)) < len(ids):
        means = "the identity includes more than the id: no record is lost"
        return fine(subject, f"present, but not unique; {same}", means)
    means = "the identity is the id with time, kind, user and description"
    return fine(subject, "present, and unique in the sample", means)


def kinds(client: ProbeClient, sample: Sample, known: Collection[str]) -> list[ProbeFinding]:
    """Check the form of kinds, and find undocumented ones in the records and the counts."""
    seen = {record.action_kind for record in sample.records if record.action_kind != UNNAMED_KIND}
    if sample.is_size_known:
        seen |= (sample.first.page.counts or {}).keys()
    if not seen:
        return [unsettled("kinds", "no record has one" if sample.records else "the log has no records")]
    documented = {kind for kind in seen if kind in KINDS}
    shown = sorted(kind for kind in seen - documented if _KIND.fullmatch(kind) and len(kind) <= _MAX_KIND_CHARS)
    hidden = len(seen - documented) - len(shown)
    given = [value for value in _values(client, sample, "kind") if isinstance(value, str)]
    is_label = any(value != normalise_kind(value) for value in given)
    form = "labels, such as 'Create cluster'" if is_label else "names, such as CREATE_CLUSTER"
    findings = [fine("kind form", form, "supported")] if given else []
    says = f"{len(documented)} of the {len(KINDS)} documented kinds found"
    if shown:
        says += f"; undocumented: {joined(shown, _MAX_SHOWN_KINDS)}"
    if hidden:
        says += f"; not shown: {counted(hidden, 'value')} that {'does' if hidden == 1 else 'do'} not look like a kind"
    new = [kind for kind in shown if kind not in known]
    suggestion = {"extra_kinds": new[:_MAX_SHOWN_KINDS]} if new else {}
    if hidden and hidden > len(documented):
        return [*findings, costly("kinds", says, "another field may contain the kind: see field_aliases")]
    means = "a record of an unknown kind has severity medium, and actionwatch reports the first one of each kind"
    return [*findings, fine("kinds", says, means if shown else "", **suggestion)]


def places(_: ProbeClient, sample: Sample) -> list[ProbeFinding]:
    """Check how records name accounts, clusters and organisations."""
    return [_place(name, [getattr(record, name) for record in sample.records]) for name in ENTITIES]


def scopes(client: ProbeClient, sample: Sample) -> list[ProbeFinding]:
    """Check whether records have a domain type and an operation, and which values."""
    if not sample.records:
        return [unsettled("scope and operation", "the log has no records")]
    domains = {str(value).strip().upper() for value in _values(client, sample, "domain_type")}
    given = {str(value).strip().upper() for value in _values(client, sample, "operation")}
    verbs = {value.rpartition("_")[2] for value in given}
    note = " after a prefix" if any("_" in value for value in given) else ""
    return [
        _vocabulary("domain type", domains, _DOMAINS, "the scope"),
        _vocabulary("operation", verbs, OPERATIONS, "it", note),
    ]


def _vocabulary(subject: str, given: set[str], known: Sequence[str], what: str, note: str = "") -> ProbeFinding:
    if not given:
        return fine(subject, "missing", f"{what} comes from the catalogue, and is unknown for unknown kinds")
    words = [word for word in known if word in given]
    others = len(given) - len(words)
    says = f"present{note}: {joined(words)}" if words else f"present{note}"
    says += f", and {counted(others, 'other value')}" if others else ""
    return fine(subject, says, "the record takes precedence over the catalogue")


def _place(name: str, found: Sequence[Entity]) -> ProbeFinding:
    given = [entity for entity in found if entity.id or entity.name]
    if not given:
        return unsettled(name, "no record of the sample has one")
    has_id, has_name = any(entity.id is not None for entity in given), any(entity.name is not None for entity in given)
    share = "all records" if len(given) == len(found) else "some records"
    words = {(True, True): "with id and name", (True, False): "with the id only", (False, True): "with the name only"}
    return fine(name, f"{share} have it, {words[has_id, has_name]}", "" if has_id else "no ids: rules match names")


def _values(client: ProbeClient, sample: Sample, field: str) -> list[Any]:
    """Return the value of a field in each record, from the first of its names that has one."""
    given: list[Any] = []
    for item in sample.large.objects:
        names = client.reader.plan(tuple(item)).keys[field]
        value = next((item[name] for name in names if item[name] is not None), None)
        if isinstance(value, Mapping):
            value = next((held for held in value.values() if isinstance(held, str)), None)
        if value is not None:
            given.append(value)
    return given
