"""`expand`: replaces `%name%` in the texts of a rule by the items of a list."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from math import prod
from typing import Any

from sigma.types import Placeholder, SigmaRegularExpression, SigmaString, special_char_mapping

from actionwatch.rules.lists import Lists
from actionwatch.rules.patterns import POLICY, quote
from actionwatch.text.suggestions import suggest

_MAX_EXPANSIONS = 10_000  # values from one text; two lists in one text multiply


def expand(value: SigmaString | SigmaRegularExpression, lists: Lists) -> Iterator[SigmaString | SigmaRegularExpression]:
    """Replace `%name%` by the items of lists. Items are literal in a regular expression, and can have wildcards elsewhere.

    The replacement of pySigma allows only 200 values, which is too few for a list of production clusters.
    """
    is_pattern = isinstance(value, SigmaRegularExpression)
    source = value.regexp if isinstance(value, SigmaRegularExpression) else value
    choices: list[list[list[Any]]] = []
    for part in source.s:
        if not isinstance(part, Placeholder):
            choices.append([[part]])
        elif is_pattern:
            choices.append([[quote(item)] for item in _list_named(part.name, lists)])
        else:
            choices.append([SigmaString(item).s for item in _list_named(part.name, lists)])
    if prod(map(len, choices)) > _MAX_EXPANSIONS:
        raise ValueError(f"the lists in this text produce more than {_MAX_EXPANSIONS} values together")
    for choice in itertools.product(*choices):
        parts = [part for parts in choice for part in parts]
        if isinstance(value, SigmaRegularExpression):
            pattern = "".join(part if isinstance(part, str) else special_char_mapping[part] for part in parts)
            yield SigmaRegularExpression(pattern, value.flags, POLICY)
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
    remedy = suggest(name, lists.values, "lists")
    raise ValueError(f"there is no list named '{name}'{': ' if remedy else ''}{remedy}")
