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
    """The expanded value and the faults. `places` are the faulty places, so that each is reported once."""

    value: Any = None
    faults: list[Fault] = field(default_factory=list)
    places: set[Place] = field(default_factory=set)

    def add(self, document: Document, place: Place, what: str, remedy: str) -> None:
        """Add a fault."""
        self.faults.append(document.fault(place, what, remedy))
        self.places.add(place)


def expand(document: Document, environ: Mapping[str, str]) -> Expansion:
    """Expand every text of the document; `$${` becomes a literal `${`. A key that is not text is a fault and is omitted."""
    result = Expansion()
    result.value = _fill(document.value, (), document, environ, result)
    return result


def _fill(value: Any, place: Place, document: Document, environ: Mapping[str, str], result: Expansion) -> Any:
    if isinstance(value, dict):
        filled: dict[str, Any] = {}
        for key, item in value.items():
            where = (*place, str(key))
            if isinstance(key, str):
                filled[key] = _fill(item, where, document, environ, result)
            else:
                result.add(document, where, "a key must be text", "quote it")
        return filled
    if isinstance(value, list):
        return [_fill(item, (*place, index), document, environ, result) for index, item in enumerate(value)]
    if isinstance(value, str):
        return _REFERENCE.sub(lambda found: _look_up(found, place, document, environ, result), value)
    return value


def _look_up(
    found: re.Match[str], place: Place, document: Document, environ: Mapping[str, str], result: Expansion
) -> str:
    if found[0] == "$${":
        return "${"
    name = _NAME.fullmatch(found[1]) if found[1] is not None else None
    if name is None:
        result.add(document, place, "not a usable ${…}", "write ${NAME} or ${NAME:-default}, and $${ for a literal ${")
        return found[0]
    value = environ.get(name[1])
    if name[2] is not None:
        return value or name[2]  # as in a shell, `:-` also applies to an empty variable
    if value is None:
        remedy = f"set it, or give a default: ${{{name[1]}:-…}}"
        result.add(document, place, f"the environment variable {name[1]} is not set", remedy)
        return found[0]
    return value
