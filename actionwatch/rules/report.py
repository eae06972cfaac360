"""Collects the faults and notes of a rule document, so that all are reported at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from actionwatch.base.errors import Fault
from actionwatch.text.yaml_document import Document, Place

_MAX_NAMED = 12  # a longer list of choices does not help
_MIN_HELD = 3  # letters: a shorter word is part of too many choices


@dataclass(slots=True)
class Report:
    """The faults (the rule is not loaded) and notes (probable mistakes) of one document."""

    document: Document
    faults: list[Fault] = field(default_factory=list)
    notes: list[Fault] = field(default_factory=list)

    def fault(self, place: Place, what: str, remedy: str = "") -> None:
        """Record a fault at a place of the document."""
        self.faults.append(self.document.fault(place, what, remedy))

    def note(self, place: Place, what: str, remedy: str = "") -> None:
        """Record a note at a place of the document."""
        self.notes.append(self.document.fault(place, what, remedy))

    def check_keys(self, mapping: Mapping[Any, Any], place: Place, known: Collection[str]) -> None:
        """Report a fault for each unknown key that does not begin with `x-`."""
        for key in mapping:
            if key not in known and not str(key).startswith("x-"):
                self.fault((*place, str(key)), f"unknown key '{key}'", suggest(str(key), known, "keys"))


def suggest(word: str, choices: Iterable[str], noun: str) -> str:
    """Suggest the choice that is similar to the word. If there is none, list the choices unless they are too many."""
    choices = list(choices)
    if near := did_you_mean(word, choices):
        return near
    return f"{noun}: {', '.join(choices)}" if 0 < len(choices) <= _MAX_NAMED else ""


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Suggest the only choice that contains the word (`user`), otherwise the most similar one; "" if there is none."""
    by_folded = {choice.casefold(): choice for choice in choices}
    folded = word.casefold()
    holding = [each for each in by_folded if folded in each] if len(folded) >= _MIN_HELD else []
    close = holding if len(holding) == 1 else get_close_matches(folded, by_folded, n=1, cutoff=0.6)
    return f"did you mean '{by_folded[close[0]]}'?" if close else ""
