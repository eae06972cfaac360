"""The `condition` of a detection as its author wrote it: selections by name, joined by `and`, `or`, `not`, `1 of`, `all of`.

The engine runs the tree of pySigma. `explain` and `lint` need the original form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sigma.conditions import ConditionAND, ConditionIdentifier, ConditionNOT, ConditionSelector, SigmaCondition
from sigma.rule.detection import EmptySigmaDetections

from actionwatch.rules.patterns import pattern_check

_WORD = re.compile(r"[A-Za-z0-9_-]+")  # the names that pySigma accepts in a condition


@dataclass(frozen=True, slots=True)
class Combination:
    """Several phrases joined by `word`, in the author's words (`and`, `or`, `not`, `1 of them`)."""

    word: str
    parts: tuple[Phrase, ...]

    @property
    def is_every(self) -> bool:
        """Whether all parts must hold; otherwise one is enough."""
        return self.word == "and" or self.word.startswith("all of ")


Phrase = str | Combination
"""The name of a selection, or several phrases joined."""


def parse_phrase(condition: str | Sequence[str], names: Sequence[str]) -> Phrase:
    """Parse a valid condition. Several conditions are joined with `or`. `names` are all selections."""
    texts = [condition] if isinstance(condition, str) else list(condition)
    trees = [SigmaCondition(text, EmptySigmaDetections()).parse(postprocess=False) for text in texts]
    phrases = [_phrase(tree, names) for tree in trees]
    return phrases[0] if len(phrases) == 1 else Combination("or", tuple(phrases))


def is_met(phrase: Phrase, truth: Callable[[str], bool]) -> bool:
    """Check whether a phrase holds; `truth` returns whether a selection holds."""
    if isinstance(phrase, str):
        return truth(phrase)
    if phrase.word == "not":
        return not is_met(phrase.parts[0], truth)
    results = (is_met(part, truth) for part in phrase.parts)
    return all(results) if phrase.is_every else any(results)


def phrases_in(phrase: Phrase) -> Iterator[Phrase]:
    """Yield a phrase and all phrases in it, in the order of the text."""
    yield phrase
    for part in () if isinstance(phrase, str) else phrase.parts:
        yield from phrases_in(part)


def names_in(phrase: Phrase) -> Iterator[str]:
    """Yield the names of the selections in a phrase."""
    yield from (each for each in phrases_in(phrase) if isinstance(each, str))


def any_name(names: Sequence[str]) -> str:
    """Write the condition that any of the selections holds. Use patterns for names that a condition cannot contain."""
    if all(_WORD.fullmatch(name) and name != "not" for name in names):
        return " or ".join(names)
    patterns = {"1 of _*" if name.startswith("_") else "1 of them": None for name in names}
    return " or ".join(patterns)


def _phrase(tree: Any, names: Sequence[str]) -> Phrase:
    if isinstance(tree, ConditionIdentifier):
        return str(tree.identifier)
    if isinstance(tree, ConditionSelector):
        word = "all of" if tree.args[0] == "all" else "1 of"
        return Combination(f"{word} {tree.pattern}", tuple(_selected(tree.pattern, names)))
    if isinstance(tree, ConditionNOT):
        return Combination("not", (_phrase(tree.args[0], names),))
    word = "and" if isinstance(tree, ConditionAND) else "or"
    return Combination(word, tuple(_phrase(part, names) for part in tree.args))


def _selected(pattern: str, names: Sequence[str]) -> list[str]:
    """Return the names that `1 of PATTERN` or `all of PATTERN` matches, in their order.

    As in pySigma, `them` is every name, even if a selection has this name. Only patterns that begin with `_` match names that
    begin with `_`.
    """
    is_named = pattern_check(rf"\A{'.*' if pattern == 'them' else pattern.replace('*', '.*')}\z")
    return [name for name in names if is_named(name) and (pattern.startswith("_") or not name.startswith("_"))]
