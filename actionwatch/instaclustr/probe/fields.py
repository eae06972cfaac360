"""Check which fields records have, map them to ours, and suggest aliases for the others."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actionwatch.instaclustr.aliases import ENTITIES, FIELDS
from actionwatch.instaclustr.instants import parse_instant
from actionwatch.instaclustr.kinds import KINDS, OPERATIONS, normalise_kind
from actionwatch.instaclustr.probe.client import ProbeClient
from actionwatch.instaclustr.probe.findings import ProbeFinding, ProofImpact, fine, joined, unsettled
from actionwatch.instaclustr.probe.sample import Sample
from actionwatch.instaclustr.probe.shapes import field_name, types

_WANTED = ("kind", "time", "user", "description", "account", "cluster")
"""The fields that rules and alerts need; others are optional."""
_IS_ID_NAME = re.compile(r"(^|_)id$|uuid|[a-z]Id$")


@dataclass(frozen=True, slots=True)
class FieldSeen:
    """One field of the records: its types, the share of records that have it, and our field ("" for none)."""

    name: str
    types: str
    share: str
    ours: str


def fields_seen(client: ProbeClient, sample: Sample) -> list[FieldSeen]:
    """List all top-level fields in the order of their first occurrence."""
    objects = sample.large.objects
    values: dict[str, list[Any]] = {}
    for item in objects:
        for name, held in item.items():
            values.setdefault(name, []).append(held)
    ours = _taken_for(client, tuple(values))
    found = []
    for name, held in values.items():
        share = "all" if len(held) == len(objects) else "most" if 2 * len(held) > len(objects) else "some"
        found.append(FieldSeen(field_name(name), types(held), share, ", ".join(ours.get(name, ()))))
    return found


def _taken_for(client: ProbeClient, names: tuple[str, ...]) -> dict[str, list[str]]:
    """Map each name to our fields by the alias table."""
    found: dict[str, list[str]] = {}
    for ours, theirs in client.reader.plan(names).keys.items():
        for name in theirs:
            found.setdefault(name, []).append(ours)
    return found


def mapping(client: ProbeClient, sample: Sample) -> list[ProbeFinding]:
    """Report missing fields, unmapped fields, and which aliases would map them."""
    objects = sample.large.objects
    if not objects:
        return [unsettled("fields", "the log has no records")]
    names = tuple(dict.fromkeys(name for item in objects for name in item))
    ours = _taken_for(client, names)
    taken = {field for fields in ours.values() for field in fields}
    missing = [name for name in _WANTED if not _is_found(name, taken)]
    left = [name for name in names if name not in ours]
    suggested = _suggest(objects, left, [name for name in FIELDS if not _is_found(name, taken)])
    findings = [_missing(missing, suggested)]
    if left:
        says = f"no alias for {joined([field_name(name) for name in left])}"
        means = "kept in the raw record; rules can read them as raw.NAME"
        findings.append(fine("unmapped fields", says, means, **suggested))
    rivals = {field: [field_name(n) for n in names if field in ours.get(n, ())] for field in ("time", "user", "kind")}
    several = [f"{field}: {joined(found)}" for field, found in rivals.items() if len(found) > 1]
    if several:
        means = "the first one in the alias table that has a value is used"
        findings.append(fine("rival fields", "; ".join(several), means))
    return findings


def _suggest(objects: Sequence[Mapping[str, Any]], left: Sequence[str], missing: Sequence[str]) -> dict[str, Any]:
    """Suggest `field_aliases`: which unmapped field may be which missing field. Each is suggested once."""
    found: dict[str, list[str]] = {}
    rest = [name for name in left if field_name(name) == name]
    for field in missing:
        fits = _FITS.get(field)
        name = next((name for name in rest if fits and fits(name, _values(objects, name))), None)
        if name is not None:
            found[field] = [name]
            rest.remove(name)
    return {"field_aliases": found} if found else {}


def _missing(missing: Sequence[str], suggested: Mapping[str, Any]) -> ProbeFinding:
    if not missing:
        return fine("fields", "records have all fields that rules and alerts need")
    means = "rules with conditions on these fields do not match"
    if "time" in missing:
        means = "without times the high-water mark never moves: every poll reads the whole log"
    weight = ProofImpact.PREVENTS if "time" in missing else ProofImpact.COSTS if "kind" in missing else ProofImpact.FINE
    says = f"records have no field for {joined(missing)}"
    return ProbeFinding("fields", says, means, weight=weight, configuration=suggested)


def _is_found(field: str, taken: set[str]) -> bool:
    place = field.removesuffix("_id").removesuffix("_name")
    if place in ENTITIES:
        return bool(taken & {place, f"{place}_id", f"{place}_name", "domain_id"})
    return field in taken or field in ("scope", "domain_id", "domain_name")


def _values(objects: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    return [item[name] for item in objects if item.get(name) is not None]


def _all(test: Callable[[Any], bool]) -> Callable[[str, list[Any]], bool]:
    return lambda _, values: bool(values) and all(map(test, values))


def _named(words: str) -> Callable[[str, list[Any]], bool]:
    pattern = re.compile(words, re.IGNORECASE)
    return lambda name, values: bool(pattern.search(name)) and any(isinstance(value, str | dict) for value in values)


def _is_operation(value: Any) -> bool:
    return isinstance(value, str) and value.strip().upper().rpartition("_")[2] in OPERATIONS


def _is_distinct(name: str, values: list[Any]) -> bool:
    if not _IS_ID_NAME.search(name) or not all(isinstance(value, str | int) for value in values):
        return False
    return max(Counter(map(str, values)).values(), default=2) == 1


_FITS: Mapping[str, Callable[[str, list[Any]], bool]] = {
    "kind": _all(lambda value: isinstance(value, str) and normalise_kind(value) in KINDS),
    "time": _all(lambda value: parse_instant(value) is not None),
    "operation": _all(_is_operation),
    "user": _named("user|principal|actor|login|email|initiat|author|performed|requested|caller|who"),
    "description": _named("desc|detail|message|summary|text|note|reason|comment"),
    "account": _named("account|tenant"),
    "cluster": _named("cluster"),
    "domain_type": _named("domain|level|scope|target.?type|object.?type"),
    "upstream_id": _is_distinct,
}
"""For each field, a test that recognises it among the unmapped fields."""
