"""The rules: those that make alerts, one by its id or name with its history, and removed ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

from sqlalchemy import Connection
from typing_extensions import TypedDict

from actionwatch.base.errors import NotFound
from actionwatch.base.model import Level
from actionwatch.base.rule_state import RuleEntry, RuleState
from actionwatch.base.search_words import caseless, words_of
from actionwatch.rules.model import Rule
from actionwatch.rules.tactics import tactics_of
from actionwatch.store import rule_history, rule_versions
from actionwatch.text.payloads import JsonSchema, LevelWord, Time, instant


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


class RuleOrder(StrEnum):
    """The order of a list of rules; equal ones are in the order of their names."""

    NAME = "name"
    LEVEL = "level"
    ALERTS = "alerts"
    LAST = "last match"


@dataclass(frozen=True, slots=True)
class RuleFilter:
    """Which rules a list has: those with all words in name, title, id or tags, of these levels, and of a tactic."""

    text: str | None = None
    levels: Collection[Level] = ()
    tactic: str | None = None


def choose(
    rules: Iterable[Rule],
    wanted: RuleFilter,
    order: RuleOrder,
    counts: Mapping[str, tuple[int, datetime | None]],
) -> list[Rule]:
    """Return those of the rules in use that a filter wants, in an order; `counts` are alerts and the last match by name."""
    found = [rule for rule in rules if _is_wanted(rule, wanted)]
    never = datetime.min.replace(tzinfo=UTC)
    if order is RuleOrder.LEVEL:
        found.sort(key=lambda rule: rule.level, reverse=True)
    elif order is RuleOrder.ALERTS:
        found.sort(key=lambda rule: counts.get(rule.name.name, (0, None))[0], reverse=True)
    elif order is RuleOrder.LAST:
        found.sort(key=lambda rule: counts.get(rule.name.name, (0, None))[1] or never, reverse=True)
    return found


def _is_wanted(rule: Rule, wanted: RuleFilter) -> bool:
    texts = caseless(" ".join((rule.name.name, rule.name.title, rule.name.id, *rule.name.tags)))
    return (
        all(caseless(word) in texts for word in words_of(wanted.text))
        and (not wanted.levels or rule.level in wanted.levels)
        and (not wanted.tactic or wanted.tactic in tactics_of(rule))
    )


class RuleChange(TypedDict):
    """A change of what a rule does. `held`: its file is broken, and an older version of it runs."""

    at: Time
    state: Annotated[str, JsonSchema({"enum": [state.value for state in RuleState]})]
    held: bool
    why: str


class RuleDetail(RuleItem):
    """A rule with the YAML that runs, since when, both null until a service runs it, and its last changes, newest first."""

    document: str | None
    since: Time | None
    history: list[RuleChange]


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


MAX_CHANGES = 50  # of a rule, in its history


def detail(connection: Connection, rule: Rule) -> RuleDetail:
    """Return all about a rule as JSON."""
    version = rule_versions.read(connection, rule.name.id)
    return {
        **item(rule),
        "document": version.document if version else None,
        "since": instant(version.since) if version else None,
        "history": [
            {"at": instant(each.at), "state": each.state.value, "held": each.is_held, "why": each.why}
            for each in rule_history.read_last(connection, rule.name.id, MAX_CHANGES)
        ],
    }
