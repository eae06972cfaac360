"""String conditions of temporal rules ("a and not b"). pySigma parses them; they become patterns, an OR of ANDs."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import Any

from sigma.correlations import (
    CorrelationConditionNOT,
    CorrelationConditionOR,
    SigmaExtendedCorrelationCondition,
    SigmaRuleReference,
)
from sigma.exceptions import SigmaError

from actionwatch.rules.model import Pattern
from actionwatch.text.suggestions import suggest

_MAX_CHARS = 2000
_MAX_PARENTHESES = 15  # nested; pyparsing takes exponentially longer with each
_MAX_PATTERNS = 300  # each is searched for separately
_MAX_NEGATIONS = 50  # `not not …` is parsed by recursion
_TOKEN = re.compile(r"\(|\)|[^\s()]+")
_WORDS = ("and", "or", "not")

Literal = tuple[int, bool]


def names_in(text: str) -> list[str]:
    """Return the rules that a condition names, in the order of their first occurrence."""
    return list(dict.fromkeys(token for token in _TOKEN.findall(text) if token not in ("(", ")", *_WORDS)))


def read_patterns(text: str, names: Sequence[str]) -> tuple[Pattern, ...]:
    """Read a condition over rules; the index of a name in `names` is its step.

    Raises: ValueError with a message for the author.
    """
    if len(text) > _MAX_CHARS:
        raise ValueError(f"the condition is longer than {_MAX_CHARS} characters")
    tokens = _TOKEN.findall(text)
    depths = itertools.accumulate({"(": 1, ")": -1}.get(token, 0) for token in tokens)
    if max(depths, default=0) > _MAX_PARENTHESES or tokens.count("not") > _MAX_NEGATIONS:
        raise ValueError("the condition nests too deeply")
    steps = {name: step for step, name in enumerate(names)}
    for name in names_in(text):
        if name not in steps:
            hint = suggest(name, names, "rules")
            raise ValueError(f"the condition names '{name}', which is not among the rules: {hint}")
    for name in names:
        if name not in tokens:
            raise ValueError(f"the condition does not name '{name}', which is one of the rules")
    # pySigma accepts only identifiers here, but rule names can contain any character.
    mapped = " ".join(f"r{steps[token]}" if token in steps else token for token in tokens)
    try:
        tree = SigmaExtendedCorrelationCondition(mapped).parsed
    except (SigmaError, RecursionError) as exc:
        raise ValueError("cannot parse the condition: write it with rules, and, or, not and ( )") from exc
    return _patterns(tree)


def any_of_steps(count: int, least: int) -> tuple[Pattern, ...]:
    """Make the patterns of "at least `least` of the rules".

    Raises: ValueError if there are too many.
    """
    found = tuple(itertools.islice(itertools.combinations(range(count), least), _MAX_PATTERNS + 1))
    if len(found) > _MAX_PATTERNS:
        raise ValueError(f"this condition can be met in more than {_MAX_PATTERNS} ways: name fewer rules")
    return tuple(Pattern(wanted) for wanted in found)


def _patterns(tree: Any) -> tuple[Pattern, ...]:
    patterns: dict[Pattern, None] = {}
    for literals in _alternatives(tree, is_wanted=True):
        wanted = tuple(sorted(step for step, is_wanted in literals if is_wanted))
        unwanted = tuple(sorted(step for step, is_wanted in literals if not is_wanted))
        if set(wanted) & set(unwanted):
            continue
        if not wanted:
            raise ValueError("only 'not' can meet the condition: an alert needs a record")
        patterns[Pattern(wanted, unwanted)] = None
    if not patterns:
        raise ValueError("the condition can never hold")
    return tuple(patterns)


def _alternatives(tree: Any, *, is_wanted: bool) -> list[frozenset[Literal]]:
    match tree:
        case SigmaRuleReference():
            return [frozenset({(int(tree.reference[1:]), is_wanted)})]
        case CorrelationConditionNOT():
            return _alternatives(tree.args[0], is_wanted=not is_wanted)
    # The rest is `and` and `or`, which swap under a `not`.
    parts = [_alternatives(part, is_wanted=is_wanted) for part in tree.args]
    if isinstance(tree, CorrelationConditionOR) == is_wanted:
        return _distinct(itertools.chain.from_iterable(parts))
    found = [frozenset[Literal]()]
    for part in parts:  # one after the other, so that duplicates are removed before they multiply
        found = _distinct(one | other for one, other in itertools.product(found, part))
    return found


def _distinct(found: Iterable[frozenset[Literal]]) -> list[frozenset[Literal]]:
    distinct: dict[frozenset[Literal], None] = {}
    for each in found:
        distinct[each] = None
        if len(distinct) > _MAX_PATTERNS:
            raise ValueError(f"the condition can be met in more than {_MAX_PATTERNS} ways: split the rule")
    return list(distinct)
