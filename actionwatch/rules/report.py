"""Collects what is wrong with a rule document, so that everything is said at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from actionwatch.errors import Fault
from actionwatch.located import Document, Place

MAX_NAMED = 12  # more choices than these only bury the answer


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

    def check_keys(
        self, mapping: Mapping[Any, Any], place: Place, known: Collection[str], not_yet: Collection[str] = ()
    ) -> None:
        """Refuse every key that is neither known nor begins with `x-`."""
        for key in mapping:
            if key in not_yet:
                self.fault((*place, str(key)), f"'{key}' is not supported yet by this version", "remove it for now")
            elif key not in known and not str(key).startswith("x-"):
                self.fault((*place, str(key)), f"unknown key '{key}'", suggest(str(key), known, "keys"))


def suggest(word: str, choices: Iterable[str], noun: str) -> str:
    """Say which of the choices was probably meant, or name them where none is close and they are few."""
    by_folded = {choice.casefold(): choice for choice in choices}
    close = get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{by_folded[close[0]]}'?"
    if 0 < len(by_folded) <= MAX_NAMED:
        return f"{noun}: {', '.join(by_folded.values())}"
    return ""
