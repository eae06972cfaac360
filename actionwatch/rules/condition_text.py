"""The `condition` of a detection as its author wrote it: selections by name, joined by `and`, `or`, `not`, `1 of`, `all of`.

The engine runs what pySigma makes of it; this is for those who explain and check a rule in its own words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sigma.conditions import ConditionAND, ConditionIdentifier, ConditionNOT, ConditionSelector, SigmaCondition
from sigma.rule.detection import EmptySigmaDetections

from actionwatch.rules.patterns import pattern_check

_WORD = re.compile(r"[A-Za-z0-9_-]+")  # what pySigma takes for a name within a condition


@dataclass(frozen=True, slots=True)
class Named:
    """One selection."""

    name: str


@dataclass(frozen=True, slots=True)
class Joined:
    """Several phrases: `word` says how, in the author's words (`and`, `or`, `not`, `1 of them`)."""

    word: str
    parts: tuple[Phrase, ...]

    @property
    def is_every(self) -> bool:
        """Whether all parts must hold; else one is enough."""
        return self.word == "and" or self.word.startswith("all of ")


Phrase = Named | Joined


def parse_phrase(condition: str | Sequence[str], names: Sequence[str]) -> Phrase:
    """Parse a condition that has been found sound; several count as one with `or`. `names` are the selections there are."""
    texts = [condition] if isinstance(condition, str) else list(condition)
    trees = [SigmaCondition(text, EmptySigmaDetections()).parse(postprocess=False) for text in texts]
    phrases = [_phrase(tree, names) for tree in trees]
    return phrases[0] if len(phrases) == 1 else Joined("or", tuple(phrases))


def judge(phrase: Phrase, truth: Callable[[str], bool]) -> bool:
    """Say whether a phrase holds, given which selections do."""
    if isinstance(phrase, Named):
        return truth(phrase.name)
    if phrase.word == "not":
        return not judge(phrase.parts[0], truth)
    judged = (judge(part, truth) for part in phrase.parts)
    return all(judged) if phrase.is_every else any(judged)


def names_in(phrase: Phrase) -> Iterator[str]:
    """Give the names of the selections that a phrase takes in."""
    if isinstance(phrase, Named):
        yield phrase.name
        return
    for part in phrase.parts:
        yield from names_in(part)


def any_name(names: Sequence[str]) -> str:
    """Write the condition that any of these selections, all there are, holds; by name where a condition can name them."""
    if all(_WORD.fullmatch(name) and name != "not" for name in names):
        return " or ".join(names)
    patterns = {"1 of _*" if name.startswith("_") else "1 of them": None for name in names}
    return " or ".join(patterns)


def selected(pattern: str, names: Sequence[str]) -> list[str]:
    """Give the names that `1 of PATTERN` or `all of PATTERN` takes in, in their order.

    As in pySigma: `them` is every name, even where a selection is called so, and names that begin with `_` take part only in
    patterns that do.
    """
    is_named = pattern_check(rf"\A{'.*' if pattern == 'them' else pattern.replace('*', '.*')}\z")
    return [name for name in names if is_named(name) and (pattern.startswith("_") or not name.startswith("_"))]


def _phrase(tree: Any, names: Sequence[str]) -> Phrase:
    if isinstance(tree, ConditionIdentifier):
        return Named(tree.identifier)
    if isinstance(tree, ConditionSelector):
        word = "all of" if tree.args[0] == "all" else "1 of"
        return Joined(f"{word} {tree.pattern}", tuple(map(Named, selected(tree.pattern, names))))
    if isinstance(tree, ConditionNOT):
        return Joined("not", (_phrase(tree.args[0], names),))
    word = "and" if isinstance(tree, ConditionAND) else "or"
    return Joined(word, tuple(_phrase(part, names) for part in tree.args))
