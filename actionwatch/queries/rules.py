"""The rules: those that make alerts, and one by its id or name. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from typing_extensions import TypedDict

from actionwatch.base.errors import NotFound
from actionwatch.rules.model import Rule
from actionwatch.text.payloads import LevelWord


class RuleItem(TypedDict):
    """A rule in use. `correlation` is its type, null for a rule that matches single records."""

    id: str
    name: str
    title: str
    level: LevelWord
    mode: str
    tags: list[str]
    correlation: str | None
    file: str
    line: int


def in_use(rules: Iterable[Rule]) -> list[Rule]:
    """Return the rules that make alerts, by name."""
    return sorted((rule for rule in rules if not rule.is_silent), key=lambda rule: rule.name.name)


def find(rules: Iterable[Rule], name: str) -> Rule:
    """Return the rule with this id or name. Raises: NotFound."""
    for rule in rules:
        if name in (rule.name.id, rule.name.name):
            return rule
    raise NotFound(f"no rule in use has the id or name {name}: it may have been removed")


def item(rule: Rule) -> RuleItem:
    """Return a rule as JSON."""
    return {
        "id": rule.name.id,
        "name": rule.name.name,
        "title": rule.name.title,
        "level": rule.level.word,
        "mode": rule.mode.value,
        "tags": list(rule.name.tags),
        "correlation": rule.correlation.type.value if rule.correlation else None,
        "file": rule.file,
        "line": rule.line,
    }
