"""The rules: those that make alerts, one by its id or name, and those that were removed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection
from typing_extensions import TypedDict

from actionwatch.base.errors import NotFound
from actionwatch.base.rule_state import RuleEntry, RuleState
from actionwatch.rules.model import Rule
from actionwatch.store import rule_history
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


def removed_since(connection: Connection, since: datetime) -> list[RuleEntry]:
    """Return the newest entry of each rule that was removed since then and did not come back, the newest first."""
    newest = rule_history.read_newest(connection).values()
    gone = (each for each in newest if each.state is RuleState.REMOVED and each.at >= since)
    return sorted(gone, key=lambda each: each.at, reverse=True)


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
