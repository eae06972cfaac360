"""Collects what is wrong with a rule document, so that everything is said at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from actionwatch.base.errors import Fault
from actionwatch.text.yaml_document import Document, Place

MAX_NAMED = 12  # more choices than these only bury the answer
MIN_HELD = 3  # letters: what is shorter is in some choice or other


@dataclass(slots=True)
class Report:
    """The faults (the rule cannot be used) and notes (it can, but may not do what was meant) of one document."""

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
        """Refuse every key that is neither known nor begins with `x-`."""
        for key in mapping:
            if key not in known and not str(key).startswith("x-"):
                self.fault((*place, str(key)), f"unknown key '{key}'", suggest(str(key), known, "keys"))


def suggest(word: str, choices: Iterable[str], noun: str) -> str:
    """Say which of the choices was probably meant, or name them where none is close and they are few."""
    choices = list(choices)
    if near := did_you_mean(word, choices):
        return near
    return f"{noun}: {', '.join(choices)}" if 0 < len(choices) <= MAX_NAMED else ""


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Ask for the choice that was probably meant: the only one that holds the word (`user`), else the most like it; or ""."""
    by_folded = {choice.casefold(): choice for choice in choices}
    folded = word.casefold()
    holding = [each for each in by_folded if folded in each] if len(folded) >= MIN_HELD else []
    close = holding if len(holding) == 1 else get_close_matches(folded, by_folded, n=1, cutoff=0.6)
    return f"did you mean '{by_folded[close[0]]}'?" if close else ""
