"""What single records are like: their times, ids, kinds, places, scopes and operations; read from the sample alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from actionwatch.base.model import Entity, Record
from actionwatch.instaclustr.aliases import extend_aliases, plan_for
from actionwatch.instaclustr.instants import parse_instant
from actionwatch.instaclustr.kinds import KINDS, OPERATIONS, UNNAMED_KIND, normalise_kind
from actionwatch.instaclustr.probe.findings import ProbeFinding, costly, fatal, fine, joined, unsettled

KIND = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*", re.ASCII)  # what looks like a kind is shown, anything else is not
MAX_KIND_CHARS = 64
MAX_SHOWN_KINDS = 150
ISO = re.compile(
    r"\d{4}-?\d\d-?\d\d([T ])\d\d:?\d\d(?::?\d\d)?(?:[.,](\d+))?\s*(Z|[+-]\d\d:?\d\d)?(\[.*\])?",
    re.IGNORECASE | re.ASCII,
)
UNITS = {10: "seconds", 13: "milliseconds", 16: "microseconds", 19: "nanoseconds"}
DOMAINS = ("ORGANISATION", "ORGANIZATION", "ORG", "ACCOUNT", "CLUSTER", "USER")
UNTIMED = "without times the mark never moves: every poll reads all since the beginning, and late records go unnoticed"

Objects = Sequence[Mapping[str, Any]]
Aliases = Mapping[str, Sequence[str]]


def time_form(objects: Objects, aliases: Aliases) -> list[ProbeFinding]:
    """Say how times are written."""
    told = _told(objects, aliases, "time")
    if not objects:
        return [unsettled("time", "the log shows no records")]
    if not told:
        return [fatal("time", "no record tells one", UNTIMED)]
    forms = Counter(form_of_time(value) for value in told)
    unreadable = sum(parse_instant(value) is None for value in told)
    says = joined([form for form, _ in forms.most_common()], 5)
    if unreadable == len(told):
        return [fatal("time", f"{says}: none can be read", UNTIMED)]
    if unreadable:
        means = "records without a readable time are kept under the time they were fetched at, and so marked"
        return [costly("time", f"{says}: some cannot be read", means)]
    return [fine("time", says, "read as UTC" if "without a zone" in says else "read as it is")]


def form_of_time(value: Any) -> str:
    """Name the form of a time: `ISO 8601 with Z, 3 fraction digits`, `a number of milliseconds`."""
    if value is None or value == "":
        return "blank"
    is_text = isinstance(value, str)
    digits = re.fullmatch(r"(\d+)(\.\d+)?", str(value).strip(), re.ASCII)
    if digits and not isinstance(value, bool):
        unit = UNITS.get(len(digits[1]), f"an unknown unit ({len(digits[1])} digits)")
        return f"{'digits in a text' if is_text else 'a number'} of {unit}"
    found = ISO.fullmatch(value.strip()) if is_text else None
    if not found:
        return "a text in another form" if is_text else "neither a text nor a number"
    zone = found[3]
    if zone is None:
        where = "without a zone"
    else:
        where = "with Z" if zone.upper() == "Z" else f"with an offset {'with' if ':' in zone else 'without'} a colon"
    fraction = f"{len(found[2])} fraction digits" if found[2] else "whole seconds"
    return f"ISO 8601 {where}, {fraction}" + (", a blank for the T" if found[1] == " " else "")


def identity(records: Sequence[Record], again: Mapping[str, str | None]) -> list[ProbeFinding]:
    """Return whether there is an upstream id, and whether it is unique; `again` maps some keys to the ids of a second answer."""
    if not records:
        return [unsettled("upstream id", "the log shows no records")]
    ids = [record.upstream_id for record in records if record.upstream_id]
    twins = sum(count - 1 for count in Counter(record.key for record in records).values())
    same = f"{twins} records equal another in all that makes their identity" if twins else "no two records are equal"
    if not ids:
        means = "identity is what a record says, and its ordinal among equal ones: true twins stay two"
        return [fine("upstream id", f"there is none; {same}", means)]
    if len(ids) < len(records):
        return [fine("upstream id", f"some records have one, others none; {same}", "it is used where it is told")]
    if any(record.key in again and again[record.key] != record.upstream_id for record in records):
        return [costly("upstream id", "it changes from answer to answer", "every poll would take records for new ones")]
    is_unique = len(set(ids)) == len(ids)
    if len(records) > 1 and not any(record.key in again for record in records) and again:
        return [costly("upstream id", "it changes from answer to answer", "every poll would take records for new ones")]
    if not is_unique:
        return [
            fine(
                "upstream id",
                f"there is one, but records share it; {same}",
                "more than the id makes the identity: nothing is lost",
            )
        ]
    return [
        fine(
            "upstream id",
            "there is one, and it is unique in the sample",
            "it makes the identity, with time, kind, user and text",
        )
    ]


def kinds(
    objects: Objects, records: Sequence[Record], counted: Collection[str], known: Collection[str], aliases: Aliases
) -> list[ProbeFinding]:
    """Say how kinds are written, and which are seen beyond the documented ones; `counted` are those that counts name."""
    seen = {record.action_kind for record in records if record.action_kind != UNNAMED_KIND} | set(counted)
    if not seen:
        return [unsettled("kinds", "no record tells one" if objects else "the log shows no records")]
    documented = {kind for kind in seen if kind in KINDS}
    shown = sorted(kind for kind in seen - documented if KIND.fullmatch(kind) and len(kind) <= MAX_KIND_CHARS)
    hidden = len(seen - documented) - len(shown)
    told = [value for value in _told(objects, aliases, "kind") if isinstance(value, str)]
    is_label = any(value != normalise_kind(value) for value in told)
    findings = (
        [
            fine(
                "kind form",
                "labels, such as 'Create cluster'" if is_label else "names, such as CREATE_CLUSTER",
                "read as it is",
            )
        ]
        if told
        else []
    )
    says = f"{len(documented)} of the {len(KINDS)} documented ones seen"
    if shown:
        says += f"; beyond them {joined(shown, MAX_SHOWN_KINDS)}"
    if hidden:
        says += f"; {hidden} values that do not look like kinds are not shown"
    new = [kind for kind in shown if kind not in known]
    suggestion = {"extra_kinds": new[:MAX_SHOWN_KINDS]} if new else {}
    if hidden and hidden > len(documented):
        return [*findings, costly("kinds", says, "another field may hold the kind: see field_aliases")]
    means = (
        "an unknown kind is an ordinary record of severity medium; its first sight is reported once" if shown else ""
    )
    return [*findings, fine("kinds", says, means, **suggestion)]


def places(records: Sequence[Record]) -> list[ProbeFinding]:
    """Say how accounts and clusters are told."""
    return [
        _place(name, [getattr(record, name) for record in records]) for name in ("account", "cluster", "organisation")
    ]


def scopes(objects: Objects, aliases: Aliases) -> list[ProbeFinding]:
    """Return whether records tell their domain type and operation, and in which words."""
    if not objects:
        return [unsettled("scope and operation", "the log shows no records")]
    domains = {str(value).strip().upper() for value in _told(objects, aliases, "domain_type")}
    told = {str(value).strip().upper() for value in _told(objects, aliases, "operation")}
    verbs, note = {value.rpartition("_")[2] for value in told}, " after a prefix" if any("_" in v for v in told) else ""
    return [
        _words("domain type", domains, DOMAINS, "scope comes from the catalogue, unknown for unknown kinds"),
        _words("operation", verbs, OPERATIONS, "it comes from the catalogue, unknown for unknown kinds", note),
    ]


def _words(subject: str, told: set[str], known: Sequence[str], without: str, note: str = "") -> ProbeFinding:
    if not told:
        return fine(subject, "not told", without)
    words = [word for word in known if word in told]
    others = len(told) - len(words)
    says = f"told{note}, as {joined(words)}" if words else f"told{note}"
    return fine(
        subject,
        says + (f", and {others} other words that are not shown" if others else ""),
        "what is told wins over the catalogue",
    )


def _place(name: str, found: Sequence[Entity]) -> ProbeFinding:
    told = [entity for entity in found if entity.id or entity.name]
    if not told:
        return unsettled(name, "no record of the sample tells one")
    with_id, with_name = sum(entity.id is not None for entity in told), sum(entity.name is not None for entity in told)
    share = "all records" if len(told) == len(found) else "some records"
    words = {(True, True): "by id and name", (True, False): "by id alone", (False, True): "by name alone"}
    return fine(
        name,
        f"{share} tell it {words[bool(with_id), bool(with_name)]}",
        "" if with_id else "ids are not told: rules match names",
    )


def _told(objects: Objects, aliases: Aliases, field: str) -> list[Any]:
    """Return what each record tells of a field, from the first of its names that holds something."""
    told: list[Any] = []
    extended = extend_aliases(aliases)
    names: dict[tuple[str, ...], tuple[str, ...]] = {}
    for item in objects:
        layout = tuple(item)
        if layout not in names:
            names[layout] = plan_for(layout, extended).keys[field]
        value = next((item[name] for name in names[layout] if item[name] is not None), None)
        if isinstance(value, Mapping):
            value = next((held for held in value.values() if isinstance(held, str)), None)
        if value is not None:
            told.append(value)
    return told
