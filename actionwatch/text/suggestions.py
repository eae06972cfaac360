"""Suggest what a misspelt word probably means."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from actionwatch.text.escaping import one_line

_MAX_LISTED = 12  # a longer list of choices does not help
_MIN_PART_CHARS = 3  # a shorter word is part of too many choices


def closest(word: str, choices: Iterable[str]) -> str:
    """Return the only choice that contains the word (`user`), otherwise the most similar one; "" if there is none."""
    by_folded = {choice.casefold(): choice for choice in choices}
    folded = word.casefold()
    containing = [each for each in by_folded if folded in each] if len(folded) >= _MIN_PART_CHARS else []
    close = containing if len(containing) == 1 else get_close_matches(folded, by_folded, n=1)
    return by_folded[close[0]] if close else ""


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return the question that suggests the closest choice; "" if there is none. A choice can be audit text: it is one line."""
    near = closest(word, choices)
    return f"did you mean '{one_line(near)}'?" if near else ""


def suggest(word: str, choices: Iterable[str], noun: str) -> str:
    """Suggest the closest choice. If there is none, list the choices unless they are too many."""
    choices = list(choices)
    if near := did_you_mean(word, choices):
        return near
    return f"{noun}: {', '.join(map(one_line, choices))}" if 0 < len(choices) <= _MAX_LISTED else ""
