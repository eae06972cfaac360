"""`alert.sources`: restricts a rule to records of some sources, by their names or their labels. It is a selection on fields."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import msgspec

from actionwatch.rules.compile import compile_item
from actionwatch.rules.conditions import Condition, Not, any_of, predicate
from actionwatch.rules.fields import BLANK, LABELS, Subject
from actionwatch.rules.lists import Lists
from actionwatch.rules.report import Report
from actionwatch.rules.selections import PARSE_ERRORS, explain
from actionwatch.text.matchers import is_matcher, parse_matcher

_PLACE = ("alert", "sources")
_WILDCARD = re.compile(r"[\\*?]")


@dataclass(frozen=True, slots=True)
class Scope:
    """The sources of a rule, as written: a record of a source that any of them names is in it."""

    texts: tuple[str, ...]
    parts: tuple[Condition, ...]

    def as_condition(self) -> Condition:
        """Return the condition on the source of a record."""
        return any_of(self.parts)

    def includes(self, source: str) -> bool:
        """Return whether records of a source are in it."""
        return predicate(self.as_condition())(_any_record_of(source))

    def unknown(self, sources: Collection[str]) -> list[int]:
        """Return the indices of what names none of these sources."""
        subjects = [_any_record_of(name) for name in sources]
        return [index for index, part in enumerate(self.parts) if not any(map(predicate(part), subjects))]

    def __str__(self) -> str:
        """Return the texts, as in the rule."""
        return ", ".join(self.texts)


def _any_record_of(source: str) -> Subject:
    return Subject(msgspec.structs.replace(BLANK, source=source))


def read_scope(value: Any, report: Report) -> Scope | None:
    """Read the list; None if there are faults, which go to the report."""
    remedy = "for example: [acme, 'customer=\"acme\"']"
    if not isinstance(value, list) or not value:
        report.fault(_PLACE, "'sources' must be a list of names or matchers", remedy)
        return None
    before = len(report.faults)
    parts = []
    for index, text in enumerate(value):
        if not isinstance(text, str) or not text.strip():
            report.fault((*_PLACE, index), "a source must be a name or a matcher", remedy)
            continue
        try:
            parts.append(_condition(text))
        except PARSE_ERRORS as exc:
            report.fault((*_PLACE, index), explain(exc))
    return Scope(tuple(value), tuple(parts)) if len(report.faults) == before else None


def _condition(text: str) -> Condition:
    """Compile a name, or a matcher such as those of routes: the whole value, with case; an absent label is empty."""
    if not is_matcher(text):
        return _equal("source", text.strip())
    found = parse_matcher(text)
    field = "source" if found.label == "source" else f"{LABELS}{found.label}"
    is_pattern = found.operator.endswith("~")
    met = compile_item(f"{field}|re", f"^(?:{found.value})$", Lists()) if is_pattern else _equal(field, found.value)
    return Not(met) if found.operator.startswith("!") else met


def _equal(field: str, value: str) -> Condition:
    if not value:
        return compile_item(field, None, Lists())
    return compile_item(f"{field}|cased", _WILDCARD.sub(r"\\\g<0>", value), Lists())
