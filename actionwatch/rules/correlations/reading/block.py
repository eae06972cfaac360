"""Read the `correlation` block of a rule document as a `Correlation`, with a location for every fault.

`link.py` resolves the references to other rules when all documents are read. pySigma parses only time spans and string
conditions (`limits.py`), because it ignores unknown keys and does not know ours.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from actionwatch.base.model import Level, RuleName
from actionwatch.rules.alert import AlertBlock
from actionwatch.rules.compile import Compiled
from actionwatch.rules.correlations.reading.expected_groups import read_expected
from actionwatch.rules.correlations.reading.limits import PLACE, listed, read_limits, read_span, read_windows
from actionwatch.rules.correlations.reading.parts import Parts, own_parts
from actionwatch.rules.correlations.reading.strings import names_in
from actionwatch.rules.fields import field_named
from actionwatch.rules.model import (
    TEMPORAL_TYPES,
    VALUE_TYPES,
    Correlation,
    CorrelationType,
    Step,
)
from actionwatch.rules.report import Report
from actionwatch.rules.selections import ReadContext, check_field
from actionwatch.rules.when import When
from actionwatch.text.suggestions import suggest

_COMMON = ("type", "rules", "group-by", "aliases", "generate")
KEYS: dict[CorrelationType, tuple[str, ...]] = {
    CorrelationType.EVENT_COUNT: ("timespan", "condition", "expect-groups"),
    **dict.fromkeys((*VALUE_TYPES, *TEMPORAL_TYPES), ("timespan", "condition")),
    CorrelationType.NEW_TERM: ("fields", "history", "baseline", "cold-start"),
    CorrelationType.SPIKE: ("timespan", "condition", "windows"),
}
ALL_KEYS = tuple(dict.fromkeys((*_COMMON, *itertools.chain.from_iterable(KEYS.values()))))


@dataclass(frozen=True, slots=True)
class RuleHead:
    """The rest of the document, as far as a correlation depends on it. `compiled` is its detection, if it has one."""

    name: RuleName
    level: Level
    alert: AlertBlock
    when: When | None
    compiled: Compiled | None
    context: ReadContext


def read_correlation(head: RuleHead, report: Report) -> Correlation | None:
    """Read the block; None if there are faults, which go to the report."""
    document = report.document.value
    value = document["correlation"]
    if not isinstance(value, dict):
        report.fault(PLACE, "'correlation' must be a mapping", "for example: {type: event_count, timespan: 10m, …}")
        return None
    before = len(report.faults)
    type_ = _read_type(value, report)
    if type_ is None:
        return None
    _check_keys(type_, value, report)
    if not isinstance(value.get("generate", False), bool):
        report.fault((*PLACE, "generate"), "'generate' must be true or false")
    parts = _read_parts(type_, value, head, report)
    group_by = _read_names(value, "group-by", report)
    aliases = _read_aliases(value, parts.names, report)
    fields = _read_names(value, "fields", report) if type_ is CorrelationType.NEW_TERM else ()
    _check_fields((*group_by, *fields), aliases, parts.names, report, value)
    limits = read_limits(type_, value, parts.names, report)
    timespan = read_span(value, "timespan", report) if "timespan" in KEYS[type_] else timedelta(0)
    windows = read_windows(value, report) if type_ is CorrelationType.SPIKE else 0
    expected = read_expected(type_, value, limits.threshold, group_by, head.context, report)
    if type_ is CorrelationType.NEW_TERM and not fields:
        report.fault(PLACE, "'new_term' needs 'fields'", "for example: fields: [userName]")
    if expected is not None and head.when is not None:
        report.fault(("when",), "a rule about absence cannot use 'when'", "remove it")
    _check_alert(head.alert, (*group_by, *fields), report)
    history = read_span(value, "history", report) if type_ is CorrelationType.NEW_TERM else timedelta(0)
    if len(report.faults) > before:
        return None
    steps = [Step(name, _aliases_of(name, aliases)) for name in parts.references]
    correlation = Correlation(
        name=head.name,
        level=head.level,
        alert=head.alert,
        type=type_,
        steps=tuple(steps),
        group_by=group_by,
        timespan=timespan,
        realert=_realert(document, head.alert, timespan * max(windows, 1)),
        threshold=limits.threshold,
        patterns=limits.patterns,
        value_fields=limits.value_fields,
        percentile=limits.percentile,
        expected=expected,
        fields=fields,
        history=history,
        is_learning=value.get("cold-start", "learn") == "learn",
        factor=limits.factor,
        minimum=limits.minimum,
        windows=windows,
        when=head.when,
        parts=parts.rules,
        version=digest(document),
    )
    if correlation.is_absence:
        return replace(correlation, realert=timedelta(0))  # the alert ends with the next match
    if type_ is CorrelationType.NEW_TERM:
        # An alert has one record: only an alert for several groups needs time to collect them.
        return replace(correlation, realert=head.alert.realert if correlation.is_merging else timedelta(0))
    return correlation


def digest(document: Mapping[str, Any]) -> str:
    """Return a digest of the keys of a document that determine which records make an alert."""
    said = {key: item for key, item in document.items() if key in ("detection", "correlation", "when", "logsource")}
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


def _read_type(value: Mapping[str, Any], report: Report) -> CorrelationType | None:
    word = value.get("type")
    if isinstance(word, str) and word.lower() in list(CorrelationType):
        return CorrelationType(word.lower())
    if "type" not in value:
        report.fault(PLACE, "a correlation needs a 'type'", f"types: {', '.join(CorrelationType)}")
    else:
        report.fault((*PLACE, "type"), f"unknown type '{word}'", suggest(str(word), list(CorrelationType), "types"))
    return None


def _check_keys(type_: CorrelationType, value: Mapping[str, Any], report: Report) -> None:
    mine = (*_COMMON, *KEYS[type_])
    for key in value:
        if key in ALL_KEYS and key not in mine:
            report.fault((*PLACE, str(key)), f"'{key}' is not a key of '{type_}'", f"keys: {', '.join(mine)}")
    report.check_keys({key: item for key, item in value.items() if key not in ALL_KEYS}, PLACE, ALL_KEYS)


# -- which rules ------------------------------------------------------------------------------------------------------


def _read_parts(type_: CorrelationType, value: Mapping[str, Any], head: RuleHead, report: Report) -> Parts:
    """Read which rules feed the correlation: the detection or selections of the document, or other rules."""
    names = _read_rules(type_, value, head.compiled is not None, report)
    baseline = value.get("baseline") if type_ is CorrelationType.NEW_TERM else None
    cold = value.get("cold-start", "learn")
    if type_ is CorrelationType.NEW_TERM and cold not in ("learn", "alert"):
        report.fault(
            (*PLACE, "cold-start"), f"unknown cold-start '{cold}'", suggest(str(cold), ["learn", "alert"], "it is")
        )
    if baseline is not None and not isinstance(baseline, str):
        report.fault((*PLACE, "baseline"), "'baseline' must be a selection, or any")
        baseline = None
    if names is None:
        return Parts()
    if type_ in (CorrelationType.NEW_TERM, CorrelationType.SPIKE) and len(names) > 1:
        report.fault((*PLACE, "rules"), f"'{type_}' takes one rule", "name one")
    return own_parts(names, baseline, type_, head.name, head.level, head.compiled, report)


def _read_rules(
    type_: CorrelationType, value: Mapping[str, Any], is_shorthand: bool, report: Report
) -> tuple[str, ...] | None:
    """Read which rules are named; none if the detection of the document takes their place; None after a fault."""
    rules = value.get("rules")
    if isinstance(rules, str) and rules:
        rules = [rules]
    if rules is None and "rules" not in value:
        condition = value.get("condition")
        if is_shorthand:
            return ()
        if type_ in TEMPORAL_TYPES and isinstance(condition, str):
            return tuple(names_in(condition))
        report.fault(PLACE, "a correlation needs 'rules' or a 'detection'", "name the rules it counts")
        return None
    if not isinstance(rules, list) or not rules or not all(isinstance(each, str) and each for each in rules):
        report.fault((*PLACE, "rules"), "'rules' must list names or ids of rules", "for example: [rule_a, rule_b]")
        return None
    for index, name in enumerate(rules):
        if name in rules[:index]:
            report.fault((*PLACE, "rules", index), f"'{name}' occurs twice", "remove one of the two")
    return tuple(rules)


def _read_aliases(value: Mapping[str, Any], names: tuple[str, ...], report: Report) -> dict[str, dict[str, str]]:
    aliases = value.get("aliases", {})
    place = (*PLACE, "aliases")
    if not isinstance(aliases, dict):
        report.fault(place, "'aliases' must be a mapping", "for example: {who: {rule_a: userName}}")
        return {}
    found: dict[str, dict[str, str]] = {}
    for alias, mapping in aliases.items():
        if not isinstance(mapping, dict) or not mapping:
            report.fault((*place, str(alias)), "an alias must name a field for each rule", "{rule_a: userName}")
            continue
        found[str(alias)] = {}
        for rule, field in mapping.items():
            where = (*place, str(alias), str(rule))
            if names and rule not in names:
                report.fault(where, f"'{rule}' is not among the rules", suggest(str(rule), names, "rules"))
            elif check_field(field, where, report):
                found[str(alias)][rule] = field
    return found


def _aliases_of(name: str, aliases: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    last = name.rpartition(".")[2]
    return {
        alias: mapping.get(name) or mapping[last]
        for alias, mapping in aliases.items()
        if name in mapping or last in mapping
    }


def _check_fields(
    names: tuple[str, ...],
    aliases: Mapping[str, Mapping[str, str]],
    rules: tuple[str, ...],
    report: Report,
    value: Mapping[str, Any],
) -> None:
    """Report a group field that the records of a rule cannot have."""
    for name in names:
        key = "group-by" if name in listed(value.get("group-by")) else "fields"
        place = (*PLACE, key)
        missing = [rule for rule in rules if rule not in aliases.get(name, {})]
        if field_named(name) is None and name in aliases and missing:
            report.fault(place, f"the alias '{name}' has no field for '{missing[0]}'", "name the field")
        elif name not in aliases:
            check_field(name, place, report)


def _read_names(value: Mapping[str, Any], key: str, report: Report) -> tuple[str, ...]:
    if key not in value:
        return ()
    names = listed(value[key])
    if not names or not all(isinstance(name, str) for name in names):
        report.fault((*PLACE, key), f"'{key}' must be a list of fields", "for example: [userName]")
        return ()
    for index, name in enumerate(names):
        if name in names[:index]:
            report.fault((*PLACE, key, index), f"'{name}' occurs twice", "remove one of the two")
    return tuple(dict.fromkeys(names))


def _check_alert(alert: AlertBlock, fields: tuple[str, ...], report: Report) -> None:
    for index, name in enumerate(alert.group_by or ()):
        if name not in fields:
            remedy = suggest(name, fields, "it has") if fields else "add 'group-by' to the correlation"
            what = f"'{name}' is not in the correlation's 'group-by'"
            report.fault(("alert", "group_by", index), what, remedy)


def _realert(document: Mapping[str, Any], alert: AlertBlock, default: timedelta) -> timedelta:
    block = document.get("alert")
    return alert.realert if isinstance(block, dict) and "realert" in block else default
