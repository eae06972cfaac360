"""Reads the `condition` of a correlation, in the forms of its types, and its time spans."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sigma.correlations import SigmaCorrelationTimespan
from sigma.exceptions import SigmaTimespanError

from actionwatch.rules.correlations.folds.counting import OPERATORS
from actionwatch.rules.correlations.reading.strings import any_of_steps, read_patterns
from actionwatch.rules.model import TEMPORAL_TYPES, VALUE_TYPES, CorrelationType, Pattern, Threshold
from actionwatch.rules.report import Report
from actionwatch.rules.selections import check_field
from actionwatch.text.yaml_document import Place

_MAX_SPAN = timedelta(days=3660)
_MAX_WINDOWS = 1000
_DEFAULT_WINDOWS = 7
PLACE: Place = ("correlation",)


@dataclass(frozen=True, slots=True)
class Limits:
    """The content of `condition`, in its various forms."""

    threshold: Threshold | None = None
    patterns: tuple[Pattern, ...] = ()
    value_fields: tuple[str, ...] = ()
    percentile: int = 50
    factor: float = 0.0
    minimum: int = 0


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if isinstance(value, str) else []


def read_span(value: Mapping[str, Any], key: str, report: Report) -> timedelta:
    if key not in value:
        report.fault(PLACE, f"'{value['type']}' needs '{key}'", f"for example: {key}: 10m")
        return timedelta(0)
    try:
        span = timedelta(seconds=SigmaCorrelationTimespan(value[key]).seconds)
    except (SigmaTimespanError, OverflowError):
        what = f"'{key}' must be a whole number with a unit"
        report.fault((*PLACE, key), what, "s, m, h, d, w, M (month) or y: 10m, 26h, 90d")
        return timedelta(0)
    if span > _MAX_SPAN:
        report.fault((*PLACE, key), f"'{key}' is longer than ten years")
    return span


def read_windows(value: Mapping[str, Any], report: Report) -> int:
    windows = value.get("windows", _DEFAULT_WINDOWS)
    if isinstance(windows, bool) or not isinstance(windows, int) or not 1 <= windows <= _MAX_WINDOWS:
        report.fault((*PLACE, "windows"), f"'windows' must be a number from 1 to {_MAX_WINDOWS}")
        return 1
    return windows


def read_limits(type_: CorrelationType, value: Mapping[str, Any], names: tuple[str, ...], report: Report) -> Limits:
    condition, place = value.get("condition"), (*PLACE, "condition")
    if type_ is CorrelationType.NEW_TERM:
        return Limits()
    if type_ in TEMPORAL_TYPES:
        return Limits(patterns=_read_temporal(type_, condition, names, report))
    if not isinstance(condition, dict) or not condition:
        example = "{factor: 3, min: 10}" if type_ is CorrelationType.SPIKE else "{gte: 5}"
        what = f"'{type_}' needs a 'condition'" if "condition" not in value else "'condition' must contain a comparison"
        report.fault(place, what, f"for example: condition: {example}")
        return Limits()
    if type_ is CorrelationType.SPIKE:
        return _read_spike(condition, report)
    known = [
        *OPERATORS,
        *(["field"] if type_ in VALUE_TYPES else []),
        *(["percentile"] if type_ is CorrelationType.VALUE_PERCENTILE else []),
    ]
    report.check_keys(condition, place, known)
    threshold = _read_threshold(condition, report)
    if type_ is CorrelationType.EVENT_COUNT:
        _check_count(threshold, report)
        return Limits(threshold)
    return Limits(
        threshold,
        (),
        _read_value_fields(type_, condition, report),
        _read_percentile(type_, condition, report),
    )


def _read_threshold(condition: Mapping[str, Any], report: Report) -> Threshold | None:
    place = (*PLACE, "condition")
    named = [word for word in OPERATORS if word in condition]
    if len(named) != 1:
        report.fault(place, "a condition needs exactly one comparison", f"one of: {', '.join(OPERATORS)}")
        return None
    number = condition[named[0]]
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        report.fault((*place, named[0]), f"'{number}' is not a number", f"for example: {named[0]}: 5")
        return None
    return Threshold(named[0], number)


def is_absence(threshold: Threshold | None) -> bool:
    """Check whether a threshold means that nothing occurs."""
    return threshold is not None and (threshold.operator, threshold.number) in (("lt", 1), ("lte", 0), ("eq", 0))


def _check_count(threshold: Threshold | None, report: Report) -> None:
    """Report counts that every record or no record can meet, because counts are checked when a record arrives."""
    if threshold is None or is_absence(threshold):
        return
    place = (*PLACE, "condition", threshold.operator)
    if threshold.operator in ("lt", "lte"):
        what = "a count below a threshold can only detect absence"
        report.fault(place, what, "write: condition: {lt: 1}")
    elif threshold.operator in ("gte", "gt", "neq") and OPERATORS[threshold.operator](1, threshold.number):
        if (threshold.operator, threshold.number) not in (("gte", 1), ("gt", 0)):
            report.fault(place, "every record meets this condition", "use a number of 1 or more")
    elif threshold.operator == "eq" and (threshold.number < 0 or threshold.number != int(threshold.number)):
        report.fault(place, "no count meets this condition", "use a whole number")


def _read_value_fields(type_: CorrelationType, condition: Mapping[str, Any], report: Report) -> tuple[str, ...]:
    place = (*PLACE, "condition", "field")
    fields = condition.get("field")
    if fields is None:
        report.fault(
            (*PLACE, "condition"),
            f"'{type_}' needs a 'field' in its condition",
            "for example: field: userName",
        )
        return ()
    names = listed(fields)
    if not names or (len(names) > 1 and type_ is not CorrelationType.VALUE_COUNT):
        report.fault(
            place,
            "'field' must be a field" + (" or several" if type_ is CorrelationType.VALUE_COUNT else ""),
        )
        return ()
    return tuple(name for name in names if check_field(name, place, report))


def _read_percentile(type_: CorrelationType, condition: Mapping[str, Any], report: Report) -> int:
    percentile = condition.get("percentile")
    if type_ is not CorrelationType.VALUE_PERCENTILE:
        return 50
    if isinstance(percentile, bool) or not isinstance(percentile, int) or not 0 <= percentile <= 100:
        place = (*PLACE, "condition", "percentile")
        report.fault(place, "'percentile' must be a whole number from 0 to 100", "for example: percentile: 95")
        return 50
    return percentile


def _read_spike(condition: Mapping[str, Any], report: Report) -> Limits:
    place = (*PLACE, "condition")
    report.check_keys(condition, place, ("factor", "min"))
    factor, least = condition.get("factor"), condition.get("min", 1)
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not (math.isfinite(factor) and factor > 0):
        report.fault((*place, "factor"), "a spike needs a 'factor' above 0", "for example: {factor: 3, min: 10}")
        factor = 1
    if isinstance(least, bool) or not isinstance(least, int) or least < 1:
        report.fault((*place, "min"), "'min' must be a whole number of 1 or more")
        least = 1
    return Limits(factor=factor, minimum=least)


def _read_temporal(
    type_: CorrelationType, condition: Any, names: tuple[str, ...], report: Report
) -> tuple[Pattern, ...]:
    place = (*PLACE, "condition")
    if not names:
        return ()
    try:
        if condition is None:
            return any_of_steps(len(names), len(names))
        if isinstance(condition, str):
            return read_patterns(condition, names)
        if not isinstance(condition, dict):
            report.fault(place, "'condition' must be a string or a comparison", "for example: a and not b")
            return ()
        report.check_keys(condition, place, tuple(OPERATORS))
        threshold = _read_threshold(condition, report)
        if threshold is None:
            return ()
        least = threshold.number + 1 if threshold.operator == "gt" else threshold.number
        if threshold.operator not in ("gt", "gte", "eq") or least != int(least) or not 1 <= least <= len(names):
            what = f"'{type_}' counts how many of its {len(names)} rules match"
            report.fault(place, what, f"write: condition: {{gte: {len(names)}}}, or a string with and, or, not")
            return ()
        return any_of_steps(len(names), int(least))
    except ValueError as exc:
        remedy = "use absence: type: event_count, condition: {lt: 1}" if "only 'not'" in str(exc) else ""
        report.fault(place, str(exc), remedy)
        return ()
