"""Compile pySigma's condition tree to ours (`conditions.py`). A new condition is one function and one line in `_TESTS`.

The meaning of values follows the Sigma specification, and otherwise pySigma's SQLite backend, which the tests compare with.
Text is compared without case, in the spelling of JSON; numbers as numbers; times in UTC. Tests are total: they never raise.
"""

from __future__ import annotations

import itertools
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_network
from math import prod
from typing import Any, TypeVar

from sigma import conditions, types
from sigma.modifiers import SigmaFieldReferenceModifier, SigmaWideModifier, modifier_mapping
from sigma.rule.detection import SigmaDetection, SigmaDetectionItem, SigmaDetections

from actionwatch.base.unicode import canonical
from actionwatch.rules.condition_text import Phrase, names_in, parse_phrase
from actionwatch.rules.conditions import (
    Condition,
    Every,
    Leaf,
    Not,
    Test,
    all_of,
    any_of,
    depth,
    equality,
    fold,
    on_text,
)
from actionwatch.rules.fields import Candidates, Field, Reader, field_named, keywords, spell
from actionwatch.rules.lists import Lists
from actionwatch.rules.patterns import POLICY, Check, pattern_check, quote, wildcard_check
from actionwatch.text.suggestions import suggest

_T = TypeVar("_T")

MAX_VALUES = 100_000  # of a detection; a selection counts each time the condition names it
EVERYTHING = Every(())
"""The condition that every record meets."""
_TOO_MANY = f"lists and selections have more than {MAX_VALUES} values together"
_MAX_EXPANSIONS = 10_000  # values from one text; two lists in one text multiply
_MAX_DEPTH = 40  # a condition runs as nested calls, and must leave most of Python's stack to its caller


@dataclass(frozen=True, slots=True)
class Compiled:
    """A compiled detection: the whole condition, and each selection separately."""

    condition: Condition
    selections: Mapping[str, Condition]
    everything: Condition = EVERYTHING
    """What every record that the rule looks at must meet."""

    def within(self, scope: Condition) -> Compiled:
        """Return the same for the records in a scope only."""
        selections = {name: all_of([scope, selection]) for name, selection in self.selections.items()}
        return Compiled(all_of([scope, self.condition]), selections, scope)


def compile_detection(detection: Mapping[str, Any], lists: Lists) -> Compiled:
    """Compile a `detection` block with its `condition`. Several conditions are joined with OR.

    Raises: ValueError (the base of pySigma's errors) with a message for the author; RecursionError.
    """
    parsed = SigmaDetections.from_dict(dict(detection), policy=POLICY)
    compiler = _Compiler(lists)
    selections, sizes = dict[str, Condition](), dict[str, int]()
    for name, selection in parsed.detections.items():
        before = compiler.count
        selections[name] = compiler.compile(selection.postprocess(parsed))
        sizes[name] = compiler.count - before
    phrase = parse_phrase(detection["condition"], list(selections))
    if any(total > MAX_VALUES for total in itertools.accumulate(sizes[name] for name in names_in(phrase))):
        raise ValueError(_TOO_MANY)
    condition = _joined(phrase, selections)
    if depth(condition) > _MAX_DEPTH:
        raise ValueError(f"the condition nests deeper than {_MAX_DEPTH} levels")
    return Compiled(condition, selections)


def _joined(phrase: Phrase, selections: Mapping[str, Condition]) -> Condition:
    if isinstance(phrase, str):
        return selections[phrase]
    parts = [_joined(part, selections) for part in phrase.parts]
    if phrase.word == "not":
        return Not(parts[0])
    return all_of(parts) if phrase.is_every else any_of(parts)


def compile_item(key: str, value: Any, lists: Lists) -> Condition:
    """Compile a single `field|modifiers: value` without the negation of `neq`.

    Raises: as `compile_detection`; also TypeError and AttributeError from pySigma for values of a wrong type.
    """
    item = SigmaDetectionItem.from_mapping(key, value, policy=POLICY)
    item.negated = False
    detection = SigmaDetection([item])
    return _Compiler(lists).compile(detection.postprocess(SigmaDetections({"item": detection}, ["item"])))


class _CasedReference(types.SigmaFieldReference):
    """A field to compare with, with case."""


class _ReferenceModifier(SigmaFieldReferenceModifier):
    """pySigma's `fieldref`, which would lose a `cased` before it."""

    def modify(self, val: types.SigmaString) -> types.SigmaFieldReference:
        made = super().modify(val)
        return _CasedReference(made.field) if isinstance(val, types.SigmaCasedString) else made


# `utf16le` is in the specification, as another name of `wide`.
modifier_mapping.update({"fieldref": _ReferenceModifier, "utf16le": SigmaWideModifier})


class _Compiler:
    """Compiles trees, with a limit on the total number of leaves, because lists multiply the values of a rule."""

    def __init__(self, lists: Lists) -> None:
        self._lists = lists
        self.count = 0

    def compile(self, tree: Any) -> Condition:
        match tree:
            case conditions.ConditionAND():
                return all_of(map(self.compile, tree.args))
            case conditions.ConditionOR():
                return any_of(map(self.compile, tree.args))
            case conditions.ConditionNOT():
                return Not(self.compile(tree.args[0]))
            case conditions.ConditionFieldEqualsValueExpression():
                return self._value(tree.field, tree.value)
            case conditions.ConditionValueExpression():
                return self._value(None, tree.value)
        raise ValueError("the condition is empty")

    def _value(self, name: str | None, value: types.SigmaType) -> Condition:
        if isinstance(value, types.SigmaExpansion):  # windash, base64offset: OR, even under `all`
            return any_of(self._value(name, each) for each in value.values)
        if isinstance(value, types.SigmaString | types.SigmaRegularExpression) and value.contains_placeholder():
            return any_of(self._leaf(name, variant) for variant in _expand(value, self._lists))
        return self._leaf(name, value)

    def _leaf(self, name: str | None, value: types.SigmaType) -> Leaf:
        self.count += 1
        if self.count > MAX_VALUES:
            raise ValueError(_TOO_MANY)
        return _keyword_leaf(value) if name is None else _leaf(name, value)


def _expand(
    value: types.SigmaString | types.SigmaRegularExpression, lists: Lists
) -> Iterator[types.SigmaString | types.SigmaRegularExpression]:
    """Replace `%name%` by the items of lists. Items are literal in a regular expression, and can have wildcards elsewhere.

    The replacement of pySigma allows only 200 values, which is too few for a list of production clusters.
    """
    source = value.regexp if isinstance(value, types.SigmaRegularExpression) else value
    choices: list[list[list[Any]]] = []
    for part in source.s:
        if not isinstance(part, types.Placeholder):
            choices.append([[part]])
        elif isinstance(value, types.SigmaRegularExpression):
            choices.append([[quote(item)] for item in _list_named(part.name, lists)])
        else:
            choices.append([types.SigmaString(item).s for item in _list_named(part.name, lists)])
    if prod(map(len, choices)) > _MAX_EXPANSIONS:
        raise ValueError(f"the lists in this text produce more than {_MAX_EXPANSIONS} values together")
    for choice in itertools.product(*choices):
        parts = [part for parts in choice for part in parts]
        if isinstance(value, types.SigmaRegularExpression):
            pattern = "".join(part if isinstance(part, str) else types.special_char_mapping[part] for part in parts)
            yield types.SigmaRegularExpression(pattern, value.flags, POLICY)
        else:
            variant = type(value)()
            variant.s = parts
            yield variant


def _list_named(name: str, lists: Lists) -> tuple[str, ...]:
    if name in lists.values:
        if not lists.values[name]:
            raise ValueError(f"the list '{name}' is empty")
        return lists.values[name]
    if name in lists.broken:
        raise ValueError(f"the list '{name}' has faults")
    remedy = suggest(name, lists.values, "lists") or f"write one value per line to lists/{name}.txt"
    raise ValueError(f"there is no list named '{name}': {remedy}")


def _leaf(name: str, value: types.SigmaType) -> Leaf:
    field = field_named(name)
    if field is None:
        raise ValueError(f"unknown field '{name}'")
    if type(value) is types.SigmaString and not value.contains_special():
        texts = frozenset({fold(value.convert(escape_char=None))})
        return equality(name, field.read, field.slot, texts)
    key = (name, type(value).__name__, repr(vars(value)))
    if isinstance(value, types.SigmaFieldReference):
        return Leaf(key, name, *_reference(field, value))
    pattern = _pattern(value) if isinstance(value, types.SigmaRegularExpression) else None
    return Leaf(key, name, field.read, _make_test(value), field.slot, pattern=pattern)


def _keyword_leaf(value: types.SigmaType) -> Leaf:
    """Make the leaf of a keyword, which is searched for in each text that `keywords` returns."""
    key = ("", type(value).__name__, repr(vars(value)))
    if isinstance(value, types.SigmaNumber) and not isinstance(value, types.SigmaTimestampPart):
        value = types.SigmaString(str(value))
    if isinstance(value, types.SigmaString):
        value = type(value)() + types.SpecialChars.WILDCARD_MULTI + value + types.SpecialChars.WILDCARD_MULTI
    elif not isinstance(value, types.SigmaRegularExpression):
        raise ValueError(f"{_spell_type(value)} cannot be searched without a field")
    return Leaf(key, None, keywords, _make_test(value))


def _make_test(value: types.SigmaType) -> Test:
    make = _TESTS.get(type(value))
    if make is None:
        raise ValueError(f"{_spell_type(value)} is not supported by this version")
    return make(value)


def _spell_type(value: types.SigmaType) -> str:
    return f"a value of the type {type(value).__name__.removeprefix('Sigma')}"


# The tests. Each function takes a value of pySigma and returns the test of the candidates of a field.


def folded_check(value: types.SigmaString) -> Check:
    """Make the check for a plain string of a rule. The texts to check must be folded."""
    return wildcard_check([part if isinstance(part, types.SpecialChars) else fold(str(part)) for part in value.s])


def _cased(value: types.SigmaCasedString) -> Test:
    parts = [part if isinstance(part, types.SpecialChars) else canonical(str(part)) for part in value.s]
    return on_text(wildcard_check(parts), canonical)


def _pattern(value: types.SigmaRegularExpression) -> str:
    flags = "".join(sorted(value.sigma_to_re_flag[flag] for flag in value.flags))
    return canonical(f"(?{flags}){value.regexp}" if flags else str(value.regexp))


def _number(value: types.SigmaNumber) -> Test:
    number, text = value.number, str(value.number)

    def is_equal(candidate: Any) -> bool:
        if isinstance(candidate, bool):
            return False
        return candidate == number if isinstance(candidate, int | float) else spell(candidate) == text

    return lambda candidates: any(map(is_equal, candidates))


def _boolean(value: types.SigmaBool) -> Test:
    word = spell(value.boolean)
    return lambda candidates: any(
        fold(candidate) == word if isinstance(candidate, str) else candidate is value.boolean
        for candidate in candidates
    )


def _on_value(convert: Callable[[Any], _T | None], check: Callable[[_T], bool]) -> Test:
    """Make the test that one candidate can be converted to a value that passes the check."""

    def test(candidates: Candidates) -> bool:
        for candidate in candidates:
            value = convert(candidate)
            if value is not None and check(value):
                return True
        return False

    return test


def _comparison(value: types.SigmaCompareExpression) -> Test:
    compare, bound = _OPERATORS[value.op], value.number.number
    return _on_value(_as_number, lambda number: compare(number, bound))


def _as_number(candidate: Any) -> int | float | None:
    """Read a number, also from text. A time is in milliseconds since the epoch, as in the queries of the upstream."""
    if isinstance(candidate, datetime):
        return candidate.timestamp() * 1000
    if isinstance(candidate, int | float) and not isinstance(candidate, bool):
        return candidate
    if isinstance(candidate, str) and _NUMBER.fullmatch(candidate):
        return float(candidate) if set(candidate) & set(".eE") else int(candidate)
    return None


def _cidr(value: types.SigmaCIDRExpression) -> Test:
    network = value.network
    return _on_value(_as_network, lambda found: found.version == network.version and found.subnet_of(network))


def _as_network(candidate: Any) -> Any:
    try:
        return ip_network(candidate.strip(), strict=False) if isinstance(candidate, str) else None
    except ValueError:
        return None


def _timestamp_part(value: types.SigmaTimestampPart) -> Test:
    (part_of, least, most), number = _TIMESTAMP_PARTS[value.timestamp_part], value.number
    if not least <= number <= most:
        raise ValueError(f"'{value.timestamp_part.name.lower()}' is never {number}, only {least} to {most}")
    return _on_value(_as_instant, lambda at: part_of(at) == number)


def _as_instant(candidate: Any) -> datetime | None:
    """Read a time: ISO text (UTC by default), or a number of seconds or milliseconds since the epoch."""
    number = _as_number(candidate) if not isinstance(candidate, datetime) else None
    try:
        if number is not None:
            return datetime.fromtimestamp(number / 1000 if abs(number) >= _MILLISECONDS_FROM else number, UTC)
        at = candidate if isinstance(candidate, datetime) else datetime.fromisoformat(spell(candidate))
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _reference(field: Field, value: types.SigmaFieldReference) -> tuple[Reader, Test]:
    """Compare two fields of the record, without case unless it is asked for. An absent field matches nothing."""
    other = field_named(value.field)
    if other is None:
        raise ValueError(f"unknown field '{value.field}'")
    read_own, read_other = field.read, other.read
    compare = _REFERENCES[value.starts_with, value.ends_with]
    normal = canonical if isinstance(value, _CasedReference) else fold

    def test(candidates: Candidates) -> bool:
        own, others = candidates
        return any(compare(normal(spell(left)), normal(spell(right))) for left in own for right in others)

    return lambda subject: (read_own(subject), read_other(subject)), test


_NUMBER = re.compile(r"[+-]?\d{1,300}(?:\.\d{0,300})?(?:[eE][+-]?\d{1,4})?", re.ASCII)
_MILLISECONDS_FROM = 100_000_000_000  # in seconds the year 5138, in milliseconds March 1973
_REFERENCES: dict[tuple[bool, bool], Callable[[str, str], bool]] = {
    (False, False): operator.eq,
    (True, False): str.startswith,
    (False, True): str.endswith,
    (True, True): operator.contains,
}
_OPERATORS: dict[types.CompareOperators, Callable[[Any, Any], bool]] = {
    types.CompareOperators.LT: operator.lt,
    types.CompareOperators.LTE: operator.le,
    types.CompareOperators.GT: operator.gt,
    types.CompareOperators.GTE: operator.ge,
    types.CompareOperators.NEQ: operator.ne,
}
# How each part of a time is read, and its least and greatest value.
_TIMESTAMP_PARTS: dict[types.TimestampPart, tuple[Callable[[datetime], int], int, int]] = {
    types.TimestampPart.MINUTE: (lambda at: at.minute, 0, 59),
    types.TimestampPart.HOUR: (lambda at: at.hour, 0, 23),
    types.TimestampPart.DAY: (lambda at: at.day, 1, 31),
    types.TimestampPart.WEEK: (lambda at: at.isocalendar().week, 1, 53),
    types.TimestampPart.MONTH: (lambda at: at.month, 1, 12),
    types.TimestampPart.YEAR: (lambda at: at.year, 1, 9999),
}

# One line per type of value that pySigma's modifiers leave in the tree. Other types are refused with their name.
# pySigma turns `all` and `neq` into AND and NOT, windash and base64offset into an OR of strings (`_value`), and contains,
# startswith, endswith, base64, wide, utf16 and utf16be into strings. `fieldref` needs both fields (`_leaf`).
_TESTS: dict[type[types.SigmaType], Callable[[Any], Test]] = {
    types.SigmaString: lambda value: on_text(folded_check(value), fold),
    types.SigmaCasedString: _cased,
    types.SigmaRegularExpression: lambda value: on_text(pattern_check(_pattern(value))),
    types.SigmaNumber: _number,
    types.SigmaBool: _boolean,
    types.SigmaNull: lambda _: operator.not_,
    types.SigmaExists: lambda value: operator.truth if value.exists else operator.not_,
    types.SigmaCompareExpression: _comparison,
    types.SigmaCIDRExpression: _cidr,
    types.SigmaTimestampPart: _timestamp_part,
}
