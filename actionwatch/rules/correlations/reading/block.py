"""Read the `correlation` block of a rule document as a `Correlation`, with a location for every fault.

`link.py` resolves the references to other rules when all documents are read. pySigma parses only time spans and string
conditions (`limits.py`), because it ignores unknown keys and does not know ours.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from actionwatch.rules.alert import AlertBlock
from actionwatch.rules.compile import Compiled
from actionwatch.rules.correlations.reading.expected_groups import read_expected
from actionwatch.rules.correlations.reading.limits import PLACE, listed, read_limits, read_span, read_windows
from actionwatch.rules.correlations.reading.parts import InnerRules, own_parts
from actionwatch.rules.correlations.reading.strings import names_in
from actionwatch.rules.fields import field_named
from actionwatch.rules.instead import INSTEAD
from actionwatch.rules.model import TEMPORAL_TYPES, Correlation, CorrelationType, Rule, Step
from actionwatch.rules.report import Report
from actionwatch.rules.selections import ReadContext, check_field
from actionwatch.text.suggestions import suggest

_COMMON = ("type", "rules", "group-by", "aliases", "generate")
KEYS: dict[CorrelationType, tuple[str, ...]] = {
    CorrelationType.EVENT_COUNT: ("timespan", "condition", "expect-groups"),
    **dict.fromkeys((CorrelationType.VALUE_COUNT, *TEMPORAL_TYPES), ("timespan", "condition")),
    CorrelationType.NEW_TERM: ("fields", "history", "baseline", "cold-start"),
    CorrelationType.SPIKE: ("timespan", "condition", "windows"),
}
ALL_KEYS = tuple(dict.fromkeys((*_COMMON, *itertools.chain.from_iterable(KEYS.values()))))


def read_correlation(rule: Rule, compiled: Compiled | None, report: Report, context: ReadContext) -> Correlation | None:
    """Read the block of a rule; None if the document has faults, which go to the report.

    `rule` is the rest of the document, `compiled` its detection, if it has one.
    """
    document = report.document.value
    if not isinstance(document["correlation"], dict):
        report.fault(PLACE, "'correlation' must be a mapping", "for example: {type: event_count, timespan: 10m, …}")
        return None
    type_ = _read_type(document["correlation"], report)
    if type_ is None:
        return None
    value = _known_items(type_, document["correlation"], report)
    if not isinstance(value.get("generate", False), bool):
        report.fault((*PLACE, "generate"), "'generate' must be true or false")
    parts = _read_parts(type_, value, rule, compiled, report)
    aliases = _read_aliases(value, parts.names, report)
    group_by = _read_fields(value, "group-by", aliases, parts.names, report)
    fields = _read_fields(value, "fields", aliases, parts.names, report)
    if type_ is CorrelationType.NEW_TERM and "fields" not in value:
        report.fault(PLACE, "'new_term' needs 'fields'", "for example: fields: [userName]")
    settings = _read_settings(type_, value, parts.names, report)
    expected = read_expected(type_, value, settings.get("threshold"), group_by, context, report)
    if expected is not None and rule.when is not None:
        report.fault(("when",), "a rule about absence cannot use 'when'", "remove it")
    _check_alert(rule.alert, (*group_by, *fields), report)
    if report.faults:
        return None
    correlation = Correlation(
        name=rule.name,
        level=rule.level,
        alert=rule.alert,
        type=type_,
        steps=tuple(Step(name, _aliases_of(name, aliases)) for name in parts.references),
        group_by=group_by,
        expected=expected,
        fields=fields,
        is_learning=value.get("cold-start", "learn") == "learn",
        when=rule.when,
        parts=parts.rules,
        **settings,
    )
    return replace(correlation, realert=_realert(correlation, document.get("alert", {})))


def _read_settings(
    type_: CorrelationType, value: Mapping[str, Any], names: tuple[str, ...], report: Report
) -> dict[str, Any]:
    """Read the limits and times of a type."""
    settings = read_limits(type_, value, names, report)
    for key in ("timespan", "history"):
        if key in KEYS[type_]:
            settings[key] = read_span(value, key, report)
    if "windows" in KEYS[type_]:
        settings["windows"] = read_windows(value, settings["timespan"], report)
    return settings


def _read_type(value: Mapping[str, Any], report: Report) -> CorrelationType | None:
    if "type" not in value:
        report.fault(PLACE, "a correlation needs a 'type'", f"types: {', '.join(CorrelationType)}")
        return None
    return report.choose({each.value: each for each in CorrelationType}, value["type"], "type", (*PLACE, "type"))


def _known_items(type_: CorrelationType, value: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Return the items whose keys belong to a type, and report the others."""
    mine = (*_COMMON, *KEYS[type_])
    for key in value:
        if key in ALL_KEYS and key not in mine:
            report.fault((*PLACE, str(key)), f"'{key}' is not a key of '{type_}'", f"keys: {', '.join(mine)}")
    report.check_keys(value, PLACE, ALL_KEYS)
    return {key: item for key, item in value.items() if key in mine}


# -- which rules ------------------------------------------------------------------------------------------------------


def _read_parts(
    type_: CorrelationType, value: Mapping[str, Any], rule: Rule, compiled: Compiled | None, report: Report
) -> InnerRules:
    """Read which rules feed the correlation: the detection or selections of the document, or other rules."""
    names = _read_rules(type_, value, compiled is not None, report)
    baseline, cold = value.get("baseline"), value.get("cold-start", "learn")
    if cold not in ("learn", "alert"):
        remedy = suggest(str(cold), ["learn", "alert"], "it is")
        report.fault((*PLACE, "cold-start"), f"unknown cold-start '{cold}'", remedy)
    if baseline is not None and not isinstance(baseline, str):
        report.fault((*PLACE, "baseline"), "'baseline' must be a selection, or any")
        baseline = None
    if names is None:
        return InnerRules()
    if type_ in (CorrelationType.NEW_TERM, CorrelationType.SPIKE) and len(names) > 1:
        report.fault((*PLACE, "rules"), f"'{type_}' takes one rule", "name one")
    return own_parts(names, baseline, type_, rule, compiled, report)


def _read_rules(
    type_: CorrelationType, value: Mapping[str, Any], is_shorthand: bool, report: Report
) -> tuple[str, ...] | None:
    """Read which rules are named; none if the detection of the document takes their place; None after a fault."""
    if "rules" not in value:
        condition = value.get("condition")
        if is_shorthand:
            return ()
        if type_ in TEMPORAL_TYPES and isinstance(condition, str):
            return tuple(names_in(condition))
        report.fault(PLACE, "a correlation needs 'rules' or a 'detection'", "name the rules it counts")
        return None
    rules = listed(value["rules"])
    if not rules or not all(isinstance(each, str) and each for each in rules):
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


def _read_fields(
    value: Mapping[str, Any],
    key: str,
    aliases: Mapping[str, Mapping[str, str]],
    rules: tuple[str, ...],
    report: Report,
) -> tuple[str, ...]:
    """Read a list of fields and aliases. Report what the records of a rule cannot have."""
    if key not in value:
        return ()
    place, names = (*PLACE, key), listed(value[key])
    if not names or not all(isinstance(name, str) for name in names):
        report.fault(place, f"'{key}' must be a list of fields", "for example: [userName]")
        return ()
    for index, name in enumerate(names):
        missing = [rule for rule in rules if rule not in aliases.get(name, {})]
        if name in names[:index]:
            report.fault((*place, index), f"'{name}' occurs twice", "remove one of the two")
        elif name not in aliases:
            check_field(name, place, report)
        elif field_named(name) is None and missing:
            report.fault(place, f"the alias '{name}' has no field for '{missing[0]}'", "name the field")
    return tuple(names)


def _check_alert(alert: AlertBlock, fields: tuple[str, ...], report: Report) -> None:
    if alert.group_by is not None and set(alert.group_by) != set(fields):
        what = f"'alert.group_by' of a correlation is its 'group-by': {', '.join(fields) or 'nothing'}"
        report.fault(("alert", "group_by"), what, INSTEAD["group_by"])


def _realert(correlation: Correlation, alert: Mapping[str, Any]) -> timedelta:
    """Return how long an alert is joined: by default, for as long as the windows of the rule."""
    if correlation.is_absence or correlation.type is CorrelationType.NEW_TERM:
        return timedelta(0)  # an absence ends with the next match, and an alert about one new term has one record
    if "realert" in alert:
        return correlation.alert.realert
    return correlation.timespan * max(correlation.windows, 1)
