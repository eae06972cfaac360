"""Expand `${NAME}` from the environment in the values of a parsed document.

This happens after parsing, so that a variable is never parsed as YAML, and once, so that a `${` in a variable is kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from actionwatch.base.errors import Fault
from actionwatch.text.yaml_document import Document, Place

_REFERENCE = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{.*", re.DOTALL)
_NAME = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


@dataclass(slots=True)
class Expansion:
    """Expands every text of a document; `$${` becomes a literal `${`. A key that is not text is a fault and is omitted.

    `places` are those of `faults`, so that each is reported once.
    """

    document: Document
    environ: Mapping[str, str]
    faults: list[Fault] = field(default_factory=list)
    places: set[Place] = field(default_factory=set)

    def expand(self, value: Any, place: Place = ()) -> Any:
        """Return the value at this place with its texts expanded."""
        if isinstance(value, dict):
            expanded: dict[str, Any] = {}
            for key, item in value.items():
                where = (*place, str(key))
                if isinstance(key, str):
                    expanded[key] = self.expand(item, where)
                else:
                    self._add(where, "a key must be text", "quote it")
            return expanded
        if isinstance(value, list):
            return [self.expand(item, (*place, index)) for index, item in enumerate(value)]
        if isinstance(value, str):
            return _REFERENCE.sub(lambda found: self._look_up(found, place), value)
        return value

    def _look_up(self, found: re.Match[str], place: Place) -> str:
        if found[0] == "$${":
            return "${"
        name = _NAME.fullmatch(found[1]) if found[1] is not None else None
        if name is None:
            self._add(place, "not a usable ${…}", "write ${NAME} or ${NAME:-default}, and $${ for a literal ${")
            return found[0]
        value = self.environ.get(name[1])
        if name[2] is not None:
            return value or name[2]  # as in a shell, `:-` also applies to an empty variable
        if value is None:
            remedy = f"set it, or give a default: ${{{name[1]}:-…}}"
            self._add(place, f"the environment variable {name[1]} is not set", remedy)
            return found[0]
        return value

    def _add(self, place: Place, what: str, remedy: str) -> None:
        self.faults.append(self.document.fault(place, what, remedy))
        self.places.add(place)
