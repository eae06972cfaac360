"""Reads detections with a location for every fault, because the errors of pySigma have none.

A detection with a fault is compiled once more, each value separately, so that the fault has its line, and its item in a list.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sigma.exceptions import SigmaError
from sigma.modifiers import modifier_mapping

from actionwatch.rules.compile import MAX_VALUES, Compiled, compile_detection, compile_item
from actionwatch.rules.condition_text import Combination, names_in, parse_phrase, phrases_in
from actionwatch.rules.conditions import Condition, Leaf
from actionwatch.rules.fields import FIELDS, LABELS, RAW, field_named, spelled
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
    """The context in which a rule is read: the lists, the time intervals, and the known values of some fields."""

    lists: Lists
    known_values: Mapping[str, tuple[str, ...]]
    time_intervals: Mapping[str, TimeInterval] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Item:
    """One `field|modifiers: value`, or keywords (`key` is empty). `whole` is the list if every value of it is sound."""

    key: str
    place: Place
    whole: list[Any] | None
    values: tuple[tuple[Any, Place], ...]


def read_detection(value: Any, report: Report, context: ReadContext, place: Place = ("detection",)) -> Compiled | None:
    """Read a `detection` block or a similar one. Return None if there are faults, which go to the report."""
    if not isinstance(value, dict):
        report.fault(place, f"'{place[-1]}' must contain selections and a 'condition'")
        return None
    before = len(report.faults)
    selections = {name: selection for name, selection in value.items() if name != "condition"}
    items: list[_Item] = []
    for name, selection in selections.items():
        _check_name(name, selection, (*place, str(name)), report)
        items += _items(selection, (*place, str(name)), report)
    if not selections:
        report.fault(place, "no selection is defined", "for example: selection: {actionKind: DELETE_CLUSTER}")
    _check_condition(value, place, report)
    return _compile(value, items, len(report.faults) > before, (*place, "condition"), report, context)


def read_selection(value: Any, place: Place, report: Report, context: ReadContext) -> Condition | None:
    """Read one selection outside a detection. Return None if there are faults, which go to the report."""
    before = len(report.faults)
    items = list(_items(value, place, report))
    detection = {"selection": value, "condition": "selection"}
    compiled = _compile(detection, items, len(report.faults) > before, place, report, context)
    return None if compiled is None else compiled.condition


def _compile(
    detection: Mapping[str, Any],
    items: Sequence[_Item],
    is_faulty: bool,
    place: Place,
    report: Report,
    context: ReadContext,
) -> Compiled | None:
    """Compile a detection. If that is not possible, compile each value separately to locate the faults."""
    compiled, failure = None, ""
    if not is_faulty:
        try:
            compiled = compile_detection(detection, context.lists)
        except PARSE_ERRORS as exc:
            failure = explain(exc)
    before = len(report.faults)
    for item in items:
        if compiled is None:
            _locate_faults(item, report, context)
        _note_impossible(item, report, context)
    if failure and len(report.faults) == before:
        report.fault(place, failure)
    return compiled


def check_field(name: Any, place: Place, report: Report) -> bool:
    """Check that a name is a field, and report a fault otherwise."""
    if isinstance(name, str) and field_named(name) is not None:
        return True
    remedy = (
        suggest(str(name), FIELDS, "fields") or f"a field of the raw record is {RAW}<path>, a label is {LABELS}<label>"
    )
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


def _items(value: Any, place: Place, report: Report) -> Iterator[_Item]:
    """Yield the items of a selection. Report faults that show without compiling a value."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            where = (*place, str(key))
            if _is_key(key, where, report):
                yield from _item(key, item, where, report)
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for index, item in enumerate(value):
            yield from _items(item, (*place, index), report)
    elif value in ({}, [], None):
        report.fault(place, "an empty selection matches nothing", "name a field and a value")
    else:
        yield from _item("", value, place, report)


def _is_key(key: Any, place: Place, report: Report) -> bool:
    """Check `field|modifiers`, and report a fault otherwise."""
    if not isinstance(key, str):
        report.fault(place, f"unknown field '{key}'", "the name of a field is a string")
        return False
    name, *modifiers = key.split("|")
    is_known = not name or check_field(name, place, report)
    for modifier in modifiers:
        if modifier not in modifier_mapping:
            report.fault(place, f"unknown modifier '{modifier}'", suggest(modifier, modifier_mapping, "modifiers"))
            is_known = False
    if is_known and "re" not in modifiers and (flags := _FLAGS.intersection(modifiers)):
        flag = min(flags)
        report.fault(place, f"'{flag}' is a flag of 're' and has no effect without it", f"write: {name}|re|{flag}")
        return False
    if not name and not modifiers:
        report.fault(place, "an empty field name", "name a field, or a modifier for keywords")
        return False
    return is_known


def _item(key: str, value: Any, place: Place, report: Report) -> Iterator[_Item]:
    """Yield the item if any of its values can be compiled."""
    if isinstance(value, list) and not value:
        report.fault(place, "an empty list matches nothing", "write null to match an absent field")
        return
    values = list(enumerate(value)) if isinstance(value, list) else [(None, value)]
    placed = [(single, place if index is None else (*place, index)) for index, single in values]
    sound = tuple((single, where) for single, where in placed if _is_value(key, single, where, report))
    yield _Item(key, place, value if isinstance(value, list) and len(sound) == len(placed) else None, sound)


def _is_value(key: str, value: Any, place: Place, report: Report) -> bool:
    """Check that the modifiers take a value of this type, and report a fault otherwise."""
    _, *modifiers = key.split("|")
    if isinstance(value, dict | list):
        report.fault(place, "a value must be a string, a number, true, false or null")
    elif not isinstance(value, str) and {"re", "fieldref", "cidr"} & set(modifiers):
        report.fault(place, f"'{modifiers[0]}' needs a string", "quote the value")
    elif "exists" in modifiers and not isinstance(value, bool):
        report.fault(place, "'exists' needs true or false", f"'{value}' is a string" if isinstance(value, str) else "")
    elif "fieldref" in modifiers:
        return check_field(value, place, report)
    elif _PARTS.intersection(modifiers) and isinstance(value, float) and not value.is_integer():
        report.fault(place, f"a part of a time is never {value}", "it is a whole number")
    else:
        return True
    return False


def _locate_faults(item: _Item, report: Report, context: ReadContext) -> None:
    """Compile each value separately, then all together."""
    before = len(report.faults)
    for value, place in item.values:
        try:
            compile_item(item.key, value, context.lists)
        except PARSE_ERRORS as exc:
            report.fault(place, explain(exc, value), _takes(item.key.split("|")[1:], value))
    if item.whole is not None and len(report.faults) == before:
        try:
            compile_item(item.key, item.whole, context.lists)
        except PARSE_ERRORS as exc:
            report.fault(item.place, explain(exc))


def _takes(modifiers: Sequence[str], value: Any) -> str:
    """Return a hint about the type of value that the modifiers need; empty if there is none."""
    hint = next((_TAKES[modifier] for modifier in modifiers if modifier in _TAKES), "")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return hint or ("quote the number" if modifiers and is_number else "")


def _note_impossible(item: _Item, report: Report, context: ReadContext) -> None:
    """Note a value that matches no known value of its field: it is probably misspelt, or newer than this version."""
    name = item.key.partition("|")[0]
    known = context.known_values.get(name, ())
    for value, place in item.values if known else ():
        if not isinstance(value, str) or (name == item.key and value in known):
            continue
        try:
            condition = compile_item(item.key, value, context.lists)
        except PARSE_ERRORS:  # a fault, reported with its place
            continue
        if isinstance(condition, Leaf) and condition.slot and not any(condition.test((each,)) for each in known):
            report.note_fault(
                place, f"no known {name} matches '{value}'", suggest(value.strip("*"), known, "known are")
            )


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
