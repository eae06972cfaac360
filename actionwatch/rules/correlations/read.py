"""The `correlation` block of a rule document -> `Correlation`, each fault where it stands.

References to other rules stay as written; `link.py` resolves them once all documents are read. pySigma would overlook unknown
keys and knows nothing of ours, so that only its time spans and string conditions are its part here.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from math import prod
from typing import Any

from sigma.correlations import SigmaCorrelationTimespan
from sigma.exceptions import SigmaTimespanError

from actionwatch.located import Place
from actionwatch.model import Level, RuleName
from actionwatch.rules.alert import AlertBlock
from actionwatch.rules.compile import Compiled
from actionwatch.rules.correlations.counting import OPERATORS
from actionwatch.rules.correlations.parts import Parts, own_parts
from actionwatch.rules.correlations.spec import (
    TEMPORAL_KINDS,
    VALUE_KINDS,
    Correlation,
    Group,
    Kind,
    Pattern,
    Step,
    Threshold,
)
from actionwatch.rules.correlations.strings import any_of_steps, names_in, read_patterns
from actionwatch.rules.fields import field_named
from actionwatch.rules.report import Report, suggest
from actionwatch.rules.selections import Surroundings, check_field
from actionwatch.rules.when import When

MAX_SPAN = timedelta(days=3660)
MAX_EXPECTED = 10_000  # groups in which something is awaited: each is watched from the start
MAX_WINDOWS = 1000
DEFAULT_WINDOWS = 7

COMMON = ("type", "rules", "group-by", "aliases", "generate")
KEYS: dict[Kind, tuple[str, ...]] = {
    Kind.EVENT_COUNT: ("timespan", "condition", "expect-groups"),
    **dict.fromkeys((*VALUE_KINDS, *TEMPORAL_KINDS), ("timespan", "condition")),
    Kind.NEW_TERM: ("fields", "history", "baseline", "cold-start"),
    Kind.SPIKE: ("timespan", "condition", "windows"),
}
ALL_KEYS = tuple(dict.fromkeys((*COMMON, *itertools.chain.from_iterable(KEYS.values()))))
PLACE: Place = ("correlation",)


@dataclass(frozen=True, slots=True)
class Around:
    """What the rest of the document says, as far as a correlation depends on it. `compiled`: its own detection, if any."""

    name: RuleName
    level: Level
    alert: AlertBlock
    when: When | None
    compiled: Compiled | None
    surroundings: Surroundings


@dataclass(frozen=True, slots=True)
class _Limits:
    """What `condition` says, in its various forms."""

    threshold: Threshold | None = None
    patterns: tuple[Pattern, ...] = ()
    value_fields: tuple[str, ...] = ()
    percentile: int = 50
    factor: float = 0.0
    minimum: int = 0


def read_correlation(around: Around, report: Report) -> Correlation | None:
    """Read the block; None where it has faults, which go to the report."""
    document = report.document.value
    value = document["correlation"]
    if not isinstance(value, dict):
        report.fault(PLACE, "'correlation' must hold keys", "for example: {type: event_count, timespan: 10m, …}")
        return None
    before = len(report.faults)
    kind = _read_kind(value, report)
    if kind is None:
        return None
    _check_keys(kind, value, report)
    if not isinstance(value.get("generate", False), bool):
        report.fault((*PLACE, "generate"), "'generate' must be true or false")
    parts = _read_parts(kind, value, around, report)
    group_by = _read_names(value, "group-by", report)
    aliases = _read_aliases(value, parts.names, report)
    fields = _read_names(value, "fields", report) if kind is Kind.NEW_TERM else ()
    _check_fields((*group_by, *fields), aliases, parts.names, report, value)
    limits = _read_limits(kind, value, parts.names, report)
    timespan = _read_span(value, "timespan", report) if "timespan" in KEYS[kind] else timedelta(0)
    windows = _read_windows(value, report) if kind is Kind.SPIKE else 0
    expected = _read_expected(kind, value, limits.threshold, group_by, around.surroundings, report)
    if kind is Kind.NEW_TERM and not fields:
        report.fault(PLACE, "'new_term' needs 'fields'", "for example: fields: [userName]")
    if expected is not None and around.when is not None:
        report.fault(("when",), "'when' cannot be judged on something that did not happen", "remove it")
    _check_alert(around.alert, (*group_by, *fields), report)
    history = _read_span(value, "history", report) if kind is Kind.NEW_TERM else timedelta(0)
    if len(report.faults) > before:
        return None
    steps = [Step(name, _aliases_of(name, aliases)) for name in parts.references]
    correlation = Correlation(
        name=around.name,
        level=around.level,
        alert=around.alert,
        kind=kind,
        steps=tuple(steps),
        group_by=group_by,
        timespan=timespan,
        realert=_realert(document, around.alert, timespan * max(windows, 1)),
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
        when=around.when,
        parts=parts.rules,
        version=digest(document),
    )
    if correlation.is_absence:
        return replace(correlation, realert=timedelta(0))  # it ends with the next match
    if kind is Kind.NEW_TERM:  # one record each: only several groups that are told as one need a time to gather in
        return replace(correlation, realert=around.alert.realert if correlation.is_merging else timedelta(0))
    return correlation


def digest(document: Mapping[str, Any]) -> str:
    """Sum up what a document says that can change which records make an alert."""
    said = {key: item for key, item in document.items() if key in ("detection", "correlation", "when", "logsource")}
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


def _read_kind(value: Mapping[str, Any], report: Report) -> Kind | None:
    word = value.get("type")
    if isinstance(word, str) and word.lower() in list(Kind):
        return Kind(word.lower())
    if "type" not in value:
        report.fault(PLACE, "a correlation needs a 'type'", f"types: {', '.join(Kind)}")
    else:
        report.fault((*PLACE, "type"), f"unknown type '{word}'", suggest(str(word), list(Kind), "types"))
    return None


def _check_keys(kind: Kind, value: Mapping[str, Any], report: Report) -> None:
    mine = (*COMMON, *KEYS[kind])
    for key in value:
        if key in ALL_KEYS and key not in mine:
            report.fault((*PLACE, str(key)), f"'{key}' means nothing in '{kind}'", f"keys: {', '.join(mine)}")
    report.check_keys({key: item for key, item in value.items() if key not in ALL_KEYS}, PLACE, ALL_KEYS)


# -- which rules ------------------------------------------------------------------------------------------------------


def _read_parts(kind: Kind, value: Mapping[str, Any], around: Around, report: Report) -> Parts:
    """Say which rules feed it: the document's own detection or selections, or other rules, as they are written."""
    names = _read_rules(kind, value, around.compiled is not None, report)
    baseline = value.get("baseline") if kind is Kind.NEW_TERM else None
    cold = value.get("cold-start", "learn")
    if kind is Kind.NEW_TERM and cold not in ("learn", "alert"):
        report.fault(
            (*PLACE, "cold-start"), f"unknown cold-start '{cold}'", suggest(str(cold), ["learn", "alert"], "it is")
        )
    if baseline is not None and not isinstance(baseline, str):
        report.fault((*PLACE, "baseline"), "'baseline' must be a selection, or any")
        baseline = None
    if kind in (Kind.NEW_TERM, Kind.SPIKE) and len(names) > 1:
        report.fault((*PLACE, "rules"), f"'{kind}' takes one rule", "name one")
    return own_parts(names, baseline, kind, around.name, around.level, around.compiled, report)


def _read_rules(kind: Kind, value: Mapping[str, Any], is_shorthand: bool, report: Report) -> tuple[str, ...]:
    rules = value.get("rules")
    if isinstance(rules, str) and rules:
        rules = [rules]
    if rules is None and "rules" not in value:
        condition = value.get("condition")
        if is_shorthand:
            return ()
        if kind in TEMPORAL_KINDS and isinstance(condition, str):
            return tuple(names_in(condition))
        report.fault(PLACE, "a correlation needs 'rules', or a 'detection' beside it", "name the rules it counts")
        return ()
    if not isinstance(rules, list) or not rules or not all(isinstance(each, str) and each for each in rules):
        report.fault((*PLACE, "rules"), "'rules' must list names or ids of rules", "for example: [rule_a, rule_b]")
        return ()
    for index, name in enumerate(rules):
        if name in rules[:index]:
            report.fault((*PLACE, "rules", index), f"'{name}' is named twice", "remove one of the two")
    return tuple(rules)


def _read_aliases(value: Mapping[str, Any], names: tuple[str, ...], report: Report) -> dict[str, dict[str, str]]:
    aliases = value.get("aliases", {})
    place = (*PLACE, "aliases")
    if not isinstance(aliases, dict):
        report.fault(place, "'aliases' must hold names", "for example: {who: {rule_a: userName}}")
        return {}
    found: dict[str, dict[str, str]] = {}
    for alias, mapping in aliases.items():
        if not isinstance(mapping, dict) or not mapping:
            report.fault((*place, str(alias)), "an alias must say its field in each rule", "{rule_a: userName}")
            continue
        found[str(alias)] = {}
        for rule, field in mapping.items():
            where = (*place, str(alias), str(rule))
            if rule not in names:
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
    """Refuse a group field that some rule's records cannot have."""
    for name in names:
        key = "group-by" if name in _listed(value.get("group-by")) else "fields"
        place = (*PLACE, key)
        missing = [rule for rule in rules if rule not in aliases.get(name, {})]
        if field_named(name) is None and name in aliases and missing:
            report.fault(place, f"the alias '{name}' says nothing of '{missing[0]}'", "name its field there")
        elif field_named(name) is None and name not in aliases:
            check_field(name, place, report)


def _read_names(value: Mapping[str, Any], key: str, report: Report) -> tuple[str, ...]:
    if key not in value:
        return ()
    names = _listed(value[key])
    if not names or not all(isinstance(name, str) for name in names):
        report.fault((*PLACE, key), f"'{key}' must be a list of fields", "for example: [userName]")
        return ()
    for index, name in enumerate(names):
        if name in names[:index]:
            report.fault((*PLACE, key, index), f"'{name}' is named twice", "remove one of the two")
    return tuple(dict.fromkeys(names))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if isinstance(value, str) else []


# -- how much, in what time -------------------------------------------------------------------------------------------


def _read_span(value: Mapping[str, Any], key: str, report: Report) -> timedelta:
    if key not in value:
        report.fault(PLACE, f"'{value['type']}' needs '{key}'", f"for example: {key}: 10m")
        return timedelta(0)
    try:
        span = timedelta(seconds=SigmaCorrelationTimespan(value[key]).seconds)
    except (SigmaTimespanError, OverflowError):
        what = f"'{key}' must be a whole number with a unit"
        report.fault((*PLACE, key), what, "s, m, h, d, w, M (month) or y: 10m, 26h, 90d")
        return timedelta(0)
    if span > MAX_SPAN:
        report.fault((*PLACE, key), f"'{key}' is longer than ten years")
    return span


def _read_windows(value: Mapping[str, Any], report: Report) -> int:
    windows = value.get("windows", DEFAULT_WINDOWS)
    if isinstance(windows, bool) or not isinstance(windows, int) or not 1 <= windows <= MAX_WINDOWS:
        report.fault((*PLACE, "windows"), f"'windows' must be a number from 1 to {MAX_WINDOWS}")
        return 1
    return windows


def _realert(document: Mapping[str, Any], alert: AlertBlock, default: timedelta) -> timedelta:
    block = document.get("alert")
    return alert.realert if isinstance(block, dict) and "realert" in block else default


def _read_limits(kind: Kind, value: Mapping[str, Any], names: tuple[str, ...], report: Report) -> _Limits:
    condition, place = value.get("condition"), (*PLACE, "condition")
    if kind is Kind.NEW_TERM:
        return _Limits()
    if kind in TEMPORAL_KINDS:
        return _Limits(patterns=_read_temporal(kind, condition, names, report))
    if not isinstance(condition, dict) or not condition:
        example = "{factor: 3, min: 10}" if kind is Kind.SPIKE else "{gte: 5}"
        what = f"'{kind}' needs a 'condition'" if "condition" not in value else "'condition' must hold a comparison"
        report.fault(place if "condition" in value else PLACE, what, f"for example: condition: {example}")
        return _Limits()
    if kind is Kind.SPIKE:
        return _read_spike(condition, report)
    known = [
        *OPERATORS,
        *(["field"] if kind in VALUE_KINDS else []),
        *(["percentile"] if kind is Kind.VALUE_PERCENTILE else []),
    ]
    report.check_keys(condition, place, known)
    threshold = _read_threshold(condition, report)
    if kind is Kind.EVENT_COUNT:
        _check_count(threshold, report)
        return _Limits(threshold)
    return _Limits(
        threshold, (), _read_value_fields(kind, condition, report), _read_percentile(kind, condition, report)
    )


def _read_threshold(condition: Mapping[str, Any], report: Report) -> Threshold | None:
    place = (*PLACE, "condition")
    named = [word for word in OPERATORS if word in condition]
    if len(named) != 1:
        report.fault(place, "a condition compares with exactly one number", f"one of: {', '.join(OPERATORS)}")
        return None
    number = condition[named[0]]
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        report.fault((*place, named[0]), f"'{number}' is not a number", f"for example: {named[0]}: 5")
        return None
    return Threshold(named[0], number)


def is_absence(threshold: Threshold | None) -> bool:
    """Say whether a count asks for nothing at all."""
    return threshold is not None and (threshold.operator, threshold.number) in (("lt", 1), ("lte", 0), ("eq", 0))


def _check_count(threshold: Threshold | None, report: Report) -> None:
    """Refuse counts that hold of every record, or of none: they are judged when a record comes."""
    if threshold is None or is_absence(threshold):
        return
    place = (*PLACE, "condition", threshold.operator)
    if threshold.operator in ("lt", "lte"):
        what = "of counts that are too low only absence can be watched"
        report.fault(place, what, "write: condition: {lt: 1}")
    elif threshold.operator in ("gte", "gt", "neq") and OPERATORS[threshold.operator](1, threshold.number):
        if (threshold.operator, threshold.number) not in (("gte", 1), ("gt", 0)):
            report.fault(place, "every single record meets this", "count to 1 or more")
    elif threshold.operator == "eq" and (threshold.number < 0 or threshold.number != int(threshold.number)):
        report.fault(place, "no count meets this", "count to a whole number")


def _read_value_fields(kind: Kind, condition: Mapping[str, Any], report: Report) -> tuple[str, ...]:
    place = (*PLACE, "condition", "field")
    fields = condition.get("field")
    if fields is None or "field" not in condition:
        report.fault(
            (*PLACE, "condition"), f"'{kind}' needs a 'field' in its condition", "for example: field: userName"
        )
        return ()
    names = _listed(fields)
    if not names or (len(names) > 1 and kind is not Kind.VALUE_COUNT):
        report.fault(place, "'field' must be a field" + (" or several" if kind is Kind.VALUE_COUNT else ""))
        return ()
    return tuple(name for name in names if check_field(name, place, report))


def _read_percentile(kind: Kind, condition: Mapping[str, Any], report: Report) -> int:
    percentile = condition.get("percentile")
    if kind is not Kind.VALUE_PERCENTILE:
        return 50
    if isinstance(percentile, bool) or not isinstance(percentile, int) or not 0 <= percentile <= 100:
        place = (*PLACE, "condition", *(("percentile",) if "percentile" in condition else ()))
        report.fault(place, "'percentile' must be a whole number from 0 to 100", "for example: percentile: 95")
        return 50
    return percentile


def _read_spike(condition: Mapping[str, Any], report: Report) -> _Limits:
    place = (*PLACE, "condition")
    report.check_keys(condition, place, ("factor", "min"))
    factor, least = condition.get("factor"), condition.get("min", 1)
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not (math.isfinite(factor) and factor > 0):
        where = (*place, "factor") if "factor" in condition else place
        report.fault(where, "a spike needs a 'factor' above 0", "for example: {factor: 3, min: 10}")
        factor = 1
    if isinstance(least, bool) or not isinstance(least, int) or least < 1:
        report.fault((*place, "min"), "'min' must be a whole number of 1 or more")
        least = 1
    return _Limits(factor=factor, minimum=least)


def _read_temporal(kind: Kind, condition: Any, names: tuple[str, ...], report: Report) -> tuple[Pattern, ...]:
    place = (*PLACE, "condition")
    if not names:
        return ()
    try:
        if condition is None:
            return any_of_steps(len(names), len(names))
        if isinstance(condition, str):
            return read_patterns(condition, names)
        if not isinstance(condition, dict):
            report.fault(place, "'condition' must be a text or a comparison", "for example: a and not b")
            return ()
        report.check_keys(condition, place, tuple(OPERATORS))
        threshold = _read_threshold(condition, report)
        if threshold is None:
            return ()
        least = threshold.number + 1 if threshold.operator == "gt" else threshold.number
        if threshold.operator not in ("gt", "gte", "eq") or least != int(least) or not 1 <= least <= len(names):
            what = f"'{kind}' counts how many of its {len(names)} rules were met"
            report.fault(place, what, f"write: condition: {{gte: {len(names)}}}, or a text with and, or, not")
            return ()
        return any_of_steps(len(names), int(least))
    except ValueError as exc:
        remedy = "watch for absence: type: event_count, condition: {lt: 1}" if "nothing but" in str(exc) else ""
        report.fault(place, str(exc), remedy)
        return ()


# -- what is awaited, and where ---------------------------------------------------------------------------------------


def _read_expected(
    kind: Kind,
    value: Mapping[str, Any],
    threshold: Threshold | None,
    group_by: tuple[str, ...],
    surroundings: Surroundings,
    report: Report,
) -> tuple[Group, ...] | None:
    if kind is not Kind.EVENT_COUNT:
        return None
    place = (*PLACE, "expect-groups")
    awaited = value.get("expect-groups")
    if not is_absence(threshold):
        if "expect-groups" in value and threshold is not None:
            report.fault(place, "'expect-groups' belongs to absence", "write: condition: {lt: 1}")
        return None
    if awaited is None and not group_by:
        return ((),)
    example = f"expect-groups: {{{', '.join(f'{name}: {{list: NAME}}' for name in group_by)}}}"
    if not isinstance(awaited, dict):
        what = "what should happen in every group needs 'expect-groups': an absent group tells nothing of itself"
        report.fault(place if "expect-groups" in value else PLACE, what, example)
        return ()
    choices = []
    for name in awaited:
        if name not in group_by:
            report.fault((*place, str(name)), f"'{name}' is not in 'group-by'", suggest(str(name), group_by, "it has"))
    for name in group_by:
        if name not in awaited:
            report.fault(place, f"'expect-groups' says nothing of '{name}'", example)
        else:
            choices.append(_read_awaited(awaited[name], (*place, name), surroundings, report))
    if prod(map(len, choices)) > MAX_EXPECTED:
        report.fault(place, f"these are more than {MAX_EXPECTED} groups", "watch fewer in one rule")
        return ()
    return tuple(dict.fromkeys(itertools.product(*choices)))


def _read_awaited(value: Any, place: Place, surroundings: Surroundings, report: Report) -> tuple[str, ...]:
    lists = surroundings.lists
    if isinstance(value, list) and value and not any(isinstance(each, dict | list | bool | None) for each in value):
        return tuple(map(str, value))
    if not isinstance(value, dict) or list(value) != ["list"] or not isinstance(value["list"], str):
        report.fault(place, "say which are awaited", "{list: NAME}, or values: [a, b]")
        return ()
    name = value["list"]
    if name in lists.values:
        if not lists.values[name]:
            report.note(
                place, f"the list '{name}' is empty: nothing is awaited", "write one value a line into its file"
            )
        return lists.values[name]
    if name in lists.broken:
        report.fault(place, f"the list '{name}' has faults of its own")
    else:
        report.fault(place, f"there is no list named '{name}'", suggest(name, lists.values, "lists"))
    return ()


def _check_alert(alert: AlertBlock, fields: tuple[str, ...], report: Report) -> None:
    for index, name in enumerate(alert.group_by or ()):
        if name not in fields:
            remedy = f"it may name: {', '.join(fields)}" if fields else "add 'group-by' to the correlation"
            what = f"'{name}' is not in the correlation's 'group-by'"
            report.fault(("alert", "group_by", index), what, suggest(name, fields, "it has") or remedy)
