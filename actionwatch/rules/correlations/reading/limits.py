"""Reads the `condition` of a correlation, in the forms of its types, and its time spans."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sigma.correlations import SigmaCorrelationTimespan
from sigma.exceptions import SigmaTimespanError

from actionwatch.rules.correlations.folds.counting import OPERATORS
from actionwatch.rules.correlations.reading.strings import any_of_steps, read_patterns
from actionwatch.rules.model import TEMPORAL_TYPES, CorrelationType, Pattern, Threshold
from actionwatch.rules.report import Report
from actionwatch.rules.selections import check_field
from actionwatch.text.yaml_document import Place

_MAX_SPAN = timedelta(days=3660)
_MAX_WINDOWS = 1000
_DEFAULT_WINDOWS = 7
PLACE: Place = ("correlation",)
_CONDITION: Place = (*PLACE, "condition")


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


def read_windows(value: Mapping[str, Any], span: timedelta, report: Report) -> Any:
    """Read how many windows of a span a spike is compared with: with its own, they are at most ten years long."""
    windows = value.get("windows", _DEFAULT_WINDOWS)
    if isinstance(windows, bool) or not isinstance(windows, int) or not 1 <= windows <= _MAX_WINDOWS:
        report.fault((*PLACE, "windows"), f"'windows' must be a number from 1 to {_MAX_WINDOWS}")
    elif span <= _MAX_SPAN < span * (windows + 1):
        what = f"{windows + 1} timespans, the spike's own included, are longer than ten years"
        place = (*PLACE, "windows" if "windows" in value else "timespan")
        report.fault(place, what, "use a shorter 'timespan', or fewer 'windows'")
    return windows


def read_limits(
    type_: CorrelationType, value: Mapping[str, Any], names: tuple[str, ...], report: Report
) -> dict[str, Any]:
    """Return the settings of a `Correlation` that its `condition` contains."""
    condition = value.get("condition")
    if type_ is CorrelationType.NEW_TERM:
        return {}
    if type_ in TEMPORAL_TYPES:
        return {"patterns": _read_temporal(type_, condition, names, report)}
    if not isinstance(condition, dict) or not condition:
        example = "{factor: 3, min: 10}" if type_ is CorrelationType.SPIKE else "{gte: 5}"
        what = f"'{type_}' needs a 'condition'" if "condition" not in value else "'condition' must contain a comparison"
        report.fault(_CONDITION, what, f"for example: condition: {example}")
        return {}
    if type_ is CorrelationType.SPIKE:
        return _read_spike(condition, report)
    found: dict[str, Any] = {"threshold": _read_threshold(condition, report)}
    known = [*OPERATORS]
    if type_ is CorrelationType.VALUE_COUNT:
        known.append("field")
        found["value_fields"] = _read_value_fields(condition, report)
    else:
        _check_count(found["threshold"], report)
    report.check_keys(condition, _CONDITION, known)
    return found


def _read_threshold(condition: Mapping[str, Any], report: Report) -> Threshold | None:
    found = [Threshold(word, condition[word]) for word in OPERATORS if word in condition]
    upper, lower = ([each for each in found if each.operator in some] for some in (("lt", "lte"), ("gt", "gte")))
    if len(found) != 1 and not (len(found) == 2 and upper and lower):
        what = "a condition needs one comparison, or a lower and an upper bound"
        report.fault(_CONDITION, what, f"one of: {', '.join(OPERATORS)}; or two: {{gt: 2, lte: 5}}")
        return None
    are_numbers = [_is_number(each, report) for each in found]  # report both
    if not all(are_numbers):
        return None
    if len(found) == 1:
        return found[0]
    (low,), (high,) = lower, upper
    if low.number > high.number or (low.number == high.number and (low.operator, high.operator) != ("gte", "lte")):
        report.fault((*_CONDITION, high.operator), "no number meets both bounds", "correct one of them")
        return None
    return replace(low, upper=high)


def _is_number(threshold: Threshold, report: Report) -> bool:
    number: Any = threshold.number
    is_number = isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
    if not is_number:
        place = (*_CONDITION, threshold.operator)
        report.fault(place, f"'{number}' is not a number", f"for example: {threshold.operator}: 5")
    return is_number


def is_absence(threshold: Threshold | None) -> bool:
    """Check whether a threshold means that nothing occurs."""
    return threshold is not None and (threshold.operator, threshold.number) in (("lt", 1), ("lte", 0), ("eq", 0))


def _check_count(threshold: Threshold | None, report: Report) -> None:
    """Report counts that every record or no record can meet, because counts are checked when a record arrives."""
    if threshold is None or is_absence(threshold):
        return
    place = (*_CONDITION, threshold.operator)
    if threshold.operator in ("lt", "lte"):
        what = "a count below a threshold can only detect absence"
        report.fault(place, what, "write: condition: {lt: 1}")
    elif threshold.upper is not None and not OPERATORS[threshold.upper.operator](
        _least_count(threshold), threshold.upper.number
    ):
        report.fault(place, "no count meets this condition", "use bounds with a whole number between them")
    elif threshold.operator in ("gte", "gt", "neq") and OPERATORS[threshold.operator](1, threshold.number):
        if (threshold.operator, threshold.number) not in (("gte", 1), ("gt", 0)):
            report.fault(place, "every record meets this condition", "use a number of 1 or more")
    elif threshold.operator == "eq" and (threshold.number < 0 or threshold.number != int(threshold.number)):
        report.fault(place, "no count meets this condition", "use a whole number")


def _least_count(threshold: Threshold) -> int:
    """Return the least count that meets a lower bound."""
    return math.floor(threshold.number) + 1 if threshold.operator == "gt" else math.ceil(threshold.number)


def _read_value_fields(condition: Mapping[str, Any], report: Report) -> tuple[str, ...]:
    fields, place = condition.get("field"), (*_CONDITION, "field")
    if fields is None:
        report.fault(_CONDITION, "'value_count' needs a 'field' in its condition", "for example: field: userName")
        return ()
    names = listed(fields)
    if not names:
        report.fault(place, "'field' must be a field or several")
    return tuple(name for name in names if check_field(name, place, report))


def _read_spike(condition: Mapping[str, Any], report: Report) -> dict[str, Any]:
    report.check_keys(condition, _CONDITION, ("factor", "min"))
    factor, least = condition.get("factor"), condition.get("min", 1)
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not (math.isfinite(factor) and factor > 0):
        example = "for example: {factor: 3, min: 10}"
        report.fault((*_CONDITION, "factor"), "a spike needs a 'factor' above 0", example)
    if isinstance(least, bool) or not isinstance(least, int) or least < 1:
        report.fault((*_CONDITION, "min"), "'min' must be a whole number of 1 or more")
    return {"factor": factor, "minimum": least}


def _read_temporal(
    type_: CorrelationType, condition: Any, names: tuple[str, ...], report: Report
) -> tuple[Pattern, ...]:
    if not names:
        return ()
    try:
        if condition is None:
            return any_of_steps(len(names), len(names))
        if isinstance(condition, str):
            return read_patterns(condition, names)
        if not isinstance(condition, dict):
            report.fault(_CONDITION, "'condition' must be a string or a comparison", "for example: a and not b")
            return ()
        report.check_keys(condition, _CONDITION, tuple(OPERATORS))
        threshold = _read_threshold(condition, report)
        if threshold is None:
            return ()
        least = threshold.number + 1 if threshold.operator == "gt" else threshold.number
        if (
            threshold.upper
            or threshold.operator not in ("gt", "gte", "eq")
            or least != int(least)
            or not 1 <= least <= len(names)
        ):
            what = f"'{type_}' counts how many of its rules match: 1 to {len(names)}"
            report.fault(_CONDITION, what, f"write: condition: {{gte: {len(names)}}}, or a string with and, or, not")
            return ()
        return any_of_steps(len(names), int(least))
    except ValueError as exc:
        remedy = "use absence: type: event_count, condition: {lt: 1}" if "only 'not'" in str(exc) else ""
        report.fault(_CONDITION, str(exc), remedy)
        return ()
