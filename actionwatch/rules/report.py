"""Collects the faults and notes of a rule document, so that all are reported at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from actionwatch.base.errors import Fault
from actionwatch.rules.instead import INSTEAD
from actionwatch.text.suggestions import suggest
from actionwatch.text.yaml_document import Document, Place

_T = TypeVar("_T")


@dataclass(slots=True)
class Report:
    """The faults (the rule is not loaded) and notes (probable mistakes) of one document."""

    document: Document
    faults: list[Fault] = field(default_factory=list)
    notes: list[Fault] = field(default_factory=list)

    def fault(self, place: Place, what: str, remedy: str = "") -> None:
        """Record a fault at a place of the document."""
        self.faults.append(self.document.fault(place, what, remedy))

    def note_fault(self, place: Place, what: str, remedy: str = "") -> None:
        """Record a note at a place of the document."""
        self.notes.append(self.document.fault(place, what, remedy))

    def parse(self, parse: Callable[[Any], _T], value: Any, place: Place) -> _T | None:
        """Parse a value. If `parse` raises ValueError, record its message as a fault and return None."""
        try:
            return parse(value)
        except ValueError as exc:
            self.fault(place, str(exc))
            return None

    def choose(self, choices: Mapping[str, _T], word: Any, noun: str, place: Place) -> _T | None:
        """Return the choice with this name, in any case. Report a fault if there is none."""
        name = word.lower() if isinstance(word, str) else ""
        if name not in choices:
            self.fault(place, f"unknown {noun} '{word}'", INSTEAD.get(name) or suggest(str(word), choices, f"{noun}s"))
        return choices.get(name)

    def check_keys(self, mapping: Mapping[Any, Any], place: Place, known: Collection[str]) -> None:
        """Report a fault for each unknown key that does not begin with `x-`."""
        for key in mapping:
            if key not in known and not str(key).startswith("x-"):
                self.fault((*place, str(key)), f"unknown key '{key}'", suggest(str(key), known, "keys"))
