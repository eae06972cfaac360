"""Reads detections with a location for every fault, because the errors of pySigma have none.

Each `field|modifiers: value` is first compiled separately, so that a fault has its line, and its item in a list.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sigma.exceptions import SigmaError
from sigma.modifiers import modifier_mapping

from actionwatch.rules.compile import MAX_VALUES, Compiled, compile_detection, compile_item
from actionwatch.rules.condition_text import Combination, names_in, parse_phrase, phrases_in
from actionwatch.rules.conditions import Condition, Leaf
from actionwatch.rules.fields import FIELDS, RAW, field_named, spelled
from actionwatch.rules.lists import Lists
from actionwatch.rules.report import Report
from actionwatch.text.suggestions import suggest
from actionwatch.text.timeintervals import TimeInterval
from actionwatch.text.yaml_document import Place

# The errors that pySigma raises on unexpected input. Its own SigmaError is a ValueError.
PARSE_ERRORS = (ValueError, TypeError, AttributeError, LookupError, RecursionError)
_MAX_CONDITION_CHARS = 5000
_INCOMPATIBLE = re.compile(r"Modifier (?P<name>\w+) incompatible to value type of '(?P<value>.*)'", re.DOTALL)
_MODIFIER_WORDS = {modifier.__name__: word for word, modifier in reversed(modifier_mapping.items())}
_STUCK = re.compile(r"\(at char (?P<place>\d+)\)")
_FLAGS = frozenset({"i", "ignorecase", "m", "multiline", "s", "dotall"})
_PARTS = frozenset({"minute", "hour", "day", "week", "month", "year"})
_TAKES = {
    **dict.fromkeys(("lt", "lte", "gt", "gte"), "it compares with a number; times are milliseconds since 1970"),
    **dict.fromkeys(_PARTS, "it takes a whole number, without quotes"),
}


@dataclass(frozen=True, slots=True)
class ReadContext:
    """What reading a rule requires: the lists, the time intervals, and the known values of some fields."""

    lists: Lists
    known_values: Mapping[str, tuple[str, ...]]
    time_intervals: Mapping[str, TimeInterval] = field(default_factory=dict)


def read_detection(value: Any, report: Report, context: ReadContext, place: Place = ("detection",)) -> Compiled | None:
    """Read a `detection` block or a similar one. Return None if there are faults, which go to the report."""
    if not isinstance(value, dict):
        report.fault(place, f"'{place[-1]}' must contain selections and a 'condition'")
        return None
    before = len(report.faults)
    selections = {name: selection for name, selection in value.items() if name != "condition"}
    for name, selection in selections.items():
        _check_name(name, selection, (*place, str(name)), report)
        _check_selection(selection, (*place, str(name)), report, context)
    if not selections:
        report.fault(place, "no selection is defined", "for example: selection: {actionKind: DELETE_CLUSTER}")
    _check_condition(value, place, report)
    if len(report.faults) > before:
        return None
    return _compile(value, (*place, "condition"), report, context)


def read_selection(value: Any, place: Place, report: Report, context: ReadContext) -> Condition | None:
    """Read one selection outside a detection. Return None if there are faults, which go to the report."""
    before = len(report.faults)
    _check_selection(value, place, report, context)
    if len(report.faults) > before:
        return None
    compiled = _compile({"selection": value, "condition": "selection"}, place, report, context)
    return None if compiled is None else compiled.condition


def _compile(detection: Mapping[str, Any], place: Place, report: Report, context: ReadContext) -> Compiled | None:
    try:
        return compile_detection(detection, context.lists)
    except PARSE_ERRORS as exc:
        report.fault(place, explain(exc))
        return None


def check_field(name: Any, place: Place, report: Report) -> bool:
    """Check that a name is a field, and report a fault otherwise."""
    if isinstance(name, str) and field_named(name) is not None:
        return True
    remedy = suggest(str(name), FIELDS, "fields") or f"a field of the raw record is {RAW}<path>"
    report.fault(place, f"unknown field '{name}'", remedy)
    return False


def explain(exc: BaseException, value: object = "") -> str:
    """Return a message for an exception of pySigma. `value` is the single value that caused it, if it is known."""
    if isinstance(exc, RecursionError):
        return "nested too deeply"
    if incompatible := _INCOMPATIBLE.fullmatch(str(exc)):
        shown = spelled(value) or incompatible["value"]
        return f"'{_MODIFIER_WORDS[incompatible['name']]}' does not take the value '{shown}'"
    if isinstance(exc, SigmaError) or type(exc) is ValueError:
        return str(exc.args[0]) if exc.args else type(exc).__name__
    return f"not acceptable here: {exc}"


def _check_name(name: Any, selection: Any, place: Place, report: Report) -> None:
    """Accept the names that pySigma accepts: every string. The check of the condition reports names that it cannot contain."""
    if name == "timeframe" and not isinstance(selection, dict | list):
        report.fault(place, "'timeframe' is obsolete in Sigma", "use a correlation")
    elif not isinstance(name, str):
        report.fault(place, f"'{name}' is not a valid name of a selection: it is not a string", f"quote it: '{name}'")


def _check_selection(value: Any, place: Place, report: Report, context: ReadContext) -> None:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            _check_item(key, item, (*place, str(key)), report, context)
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for index, item in enumerate(value):
            _check_selection(item, (*place, index), report, context)
    elif value in ({}, [], None):
        report.fault(place, "an empty selection matches nothing", "name a field and a value")
    else:
        _try_values(None, value, place, report, context)


def _check_item(key: Any, value: Any, place: Place, report: Report, context: ReadContext) -> None:
    if not isinstance(key, str):
        report.fault(place, f"unknown field '{key}'", "the name of a field is a string")
        return
    name, *modifiers = key.split("|")
    is_known = not name or check_field(name, place, report)
    for modifier in modifiers:
        if modifier not in modifier_mapping:
            report.fault(place, f"unknown modifier '{modifier}'", suggest(modifier, modifier_mapping, "modifiers"))
            is_known = False
    if is_known and "re" not in modifiers and (flags := _FLAGS.intersection(modifiers)):
        flag = min(flags)
        report.fault(place, f"'{flag}' is a flag of 're' and has no effect without it", f"write: {name}|re|{flag}")
        return
    if not name and not modifiers:
        report.fault(place, "an empty field name", "name a field, or a modifier for keywords")
    elif is_known:
        _try_values(key, value, place, report, context)


def _try_values(key: str | None, value: Any, place: Place, report: Report, context: ReadContext) -> None:
    """Compile each value of an item separately, then all together."""
    if isinstance(value, list) and not value:
        report.fault(place, "an empty list matches nothing", "write null to match an absent field")
        return
    before = len(report.faults)
    for index, single in enumerate(value if isinstance(value, list) else [value]):
        where = (*place, index) if isinstance(value, list) else place
        _try_value(key, single, where, report, context)
    if len(report.faults) == before and isinstance(value, list):
        try:
            compile_item(key or "", value, context.lists)
        except PARSE_ERRORS as exc:
            report.fault(place, explain(exc))


def _try_value(key: str | None, value: Any, place: Place, report: Report, context: ReadContext) -> None:
    name, *modifiers = (key or "").split("|")
    if isinstance(value, dict | list):
        report.fault(place, "a value must be a string, a number, true, false or null")
        return
    if not isinstance(value, str) and {"re", "fieldref", "cidr"} & set(modifiers):
        report.fault(place, f"'{modifiers[0]}' needs a string", "quote the value")
        return
    if "exists" in modifiers and not isinstance(value, bool):
        report.fault(place, "'exists' needs true or false", f"'{value}' is a string" if isinstance(value, str) else "")
        return
    if "fieldref" in modifiers and not check_field(value, place, report):
        return
    if _PARTS.intersection(modifiers) and isinstance(value, float) and not value.is_integer():
        report.fault(place, f"a part of a time is never {value}", "it is a whole number")
        return
    try:
        condition = compile_item(key or "", value, context.lists)
    except PARSE_ERRORS as exc:
        report.fault(place, explain(exc, value), _takes(modifiers, value))
        return
    _note_impossible(name, value, condition, place, report, context)


def _takes(modifiers: Sequence[str], value: Any) -> str:
    """Return a hint about the type of value that the modifiers need; empty if there is none."""
    hint = next((_TAKES[modifier] for modifier in modifiers if modifier in _TAKES), "")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return hint or ("quote the number" if modifiers and is_number else "")


def _note_impossible(
    name: str, value: Any, condition: Condition, place: Place, report: Report, context: ReadContext
) -> None:
    """Note a value that matches no known value of its field: it is probably misspelt, or newer than this version."""
    known = context.known_values.get(name)
    if not known or not isinstance(value, str) or not isinstance(condition, Leaf) or condition.slot is None:
        return
    if not any(condition.test((each,)) for each in known):
        report.note(place, f"no known {name} matches '{value}'", suggest(value.strip("*"), known, "known are"))


def _check_condition(detection: Mapping[Any, Any], parent: Place, report: Report) -> None:
    place: Place = (*parent, "condition")
    if "condition" not in detection:
        report.fault(parent, f"a {parent[-1]} needs a 'condition'", "for example: condition: selection")
        return
    names = [str(name) for name in detection if name != "condition"]
    conditions = detection["condition"]
    if isinstance(conditions, list) and not conditions:
        report.fault(place, "the condition is empty")
    before = len(report.faults)
    for index, text in enumerate(conditions if isinstance(conditions, list) else [conditions]):
        where = (*place, index) if isinstance(conditions, list) else place
        _check_condition_text(text, where, names, report)
    if len(report.faults) == before:
        sizes = {str(name): _size(selection) for name, selection in detection.items()}
        values = itertools.accumulate(sizes[name] for name in names_in(parse_phrase(conditions, names)))
        if any(total > MAX_VALUES for total in values):
            what = f"the condition has more than {MAX_VALUES} values"
            report.fault(place, what, "a selection counts each time the condition names it: name it once")


def _size(selection: Any) -> int:
    if isinstance(selection, dict | list):
        return sum(map(_size, selection.values() if isinstance(selection, dict) else selection))
    return 1


def _check_condition_text(text: Any, place: Place, names: list[str], report: Report) -> None:
    if not isinstance(text, str) or not text.strip():
        report.fault(place, "a condition must be a string", "for example: condition: selection and not exception")
        return
    if len(text) > _MAX_CONDITION_CHARS:
        report.fault(place, f"the condition is longer than {_MAX_CONDITION_CHARS} characters", "split the rule")
        return
    try:
        phrases = list(phrases_in(parse_phrase(text, names)))
    except PARSE_ERRORS as exc:
        report.fault(place, *_misread(text, exc))
        return
    for phrase in phrases:
        if isinstance(phrase, str) and phrase not in names:
            what = f"the condition names '{phrase}', which is not defined"
            report.fault(place, what, suggest(phrase, names, "selections"))
        elif isinstance(phrase, Combination) and not phrase.parts:
            pattern = phrase.word.rpartition(" ")[2]
            report.fault(place, f"no selection matches '{pattern}'", suggest(pattern, names, "selections"))


def _misread(text: str, exc: BaseException) -> tuple[str, str]:
    """Return where the parser failed, and a hint about the syntax."""
    if "|" in text:
        return "Sigma conditions no longer support '|'", "use a correlation"
    stuck = _STUCK.search(str(exc))
    if stuck is None:
        return f"cannot parse the condition: {explain(exc)}", ""
    rest = text[int(stuck["place"]) :].strip()
    what = f"cannot parse the condition from '{rest}'" if rest else "the condition ends unexpectedly"
    return what, "join selections with and, or, not and ( ), '1 of x*' or 'all of them'"
