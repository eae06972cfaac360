"""The rules: those that make alerts, one by its id or name, when they could not fire, what they cover, and removed ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated

from sqlalchemy import Connection
from typing_extensions import TypedDict

from actionwatch.base.errors import NotFound
from actionwatch.base.model import Level
from actionwatch.base.rule_state import RuleEntry, RuleState
from actionwatch.base.search_words import caseless, words_of
from actionwatch.rules.blindness import Blindness, BlindSpan, Effect
from actionwatch.rules.coverage import cover_techniques, is_tagged, tactics_of
from actionwatch.rules.model import Rule
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
    """Which rules a list has: those with all words in name, title, id or tags, of these levels, a tactic, a technique.

    `is_blind`: only those that could not fire for some time, for a reason that concerns them alone.
    """

    text: str | None = None
    levels: Collection[Level] = ()
    tactic: str | None = None
    technique: str | None = None
    is_blind: bool = False


def choose(
    rules: Iterable[Rule],
    wanted: RuleFilter,
    order: RuleOrder,
    blind: Collection[str],
    counts: Mapping[str, tuple[int, datetime | None]],
) -> list[Rule]:
    """Return those of the rules in use that a filter wants, in an order.

    `blind` are the ids of those that could not fire for some time, `counts` the alerts and the last match by name.
    """
    found = [rule for rule in rules if _is_wanted(rule, wanted, blind)]
    never = datetime.min.replace(tzinfo=UTC)
    if order is RuleOrder.LEVEL:
        found.sort(key=lambda rule: rule.level, reverse=True)
    elif order is RuleOrder.ALERTS:
        found.sort(key=lambda rule: counts.get(rule.name.name, (0, None))[0], reverse=True)
    elif order is RuleOrder.LAST:
        found.sort(key=lambda rule: counts.get(rule.name.name, (0, None))[1] or never, reverse=True)
    return found


def _is_wanted(rule: Rule, wanted: RuleFilter, blind: Collection[str]) -> bool:
    texts = caseless(" ".join((rule.name.name, rule.name.title, rule.name.id, *rule.name.tags)))
    return (
        all(caseless(word) in texts for word in words_of(wanted.text))
        and (not wanted.levels or rule.level in wanted.levels)
        and (not wanted.tactic or wanted.tactic in tactics_of(rule))
        and (not wanted.technique or is_tagged(rule, wanted.technique))
        and (not wanted.is_blind or rule.name.id in blind)
    )


class BlindDocument(TypedDict):
    """An interval of the times of actions in which a rule could not have fired, or not as it should, and why."""

    start: Time
    end: Time
    effect: Annotated[str, JsonSchema({"enum": [effect.value for effect in Effect]})]
    why: str


class WatchedRule(RuleItem):
    """A rule in use. `blind_seconds`: for how long it could not fire, for any reason; null if no service recorded it."""

    blind_seconds: float | None


class RuleDetail(WatchedRule):
    """A rule with the YAML that runs, since when, and why it could not fire; both are null until a service runs it."""

    document: str | None
    since: Time | None
    blind: list[BlindDocument]


class TechniqueDocument(TypedDict):
    """A technique of ATT&CK, and the names of the rules in use that watch it."""

    tactic: str
    technique: str
    name: str
    rules: list[str]


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


BLIND_SPAN = timedelta(days=7)
"""How far back lists say when rules could not fire: a change of a rule is noticed within a week, or not at all."""


def state(rule: Rule, blindness: Blindness) -> WatchedRule:
    """Return a rule with the time for which it could not fire, as JSON."""
    own = next((each for each in blindness.rules if each.id == rule.name.id), None)
    return {**item(rule), "blind_seconds": blindness.blind_time(own).total_seconds() if own else None}


def detail(connection: Connection, rule: Rule, blindness: Blindness) -> RuleDetail:
    """Return all about a rule as JSON."""
    version = rule_versions.read(connection, rule.name.id)
    own = next((each for each in blindness.rules if each.id == rule.name.id), None)
    spans = sorted((*blindness.every, *(own.spans if own else ())), key=lambda span: (span.start, span.end))
    return {
        **state(rule, blindness),
        "document": version.document if version else None,
        "since": instant(version.since) if version else None,
        "blind": blind_documents(spans),
    }


def blind_documents(spans: Iterable[BlindSpan]) -> list[BlindDocument]:
    """Return intervals as JSON."""
    return [
        {"start": instant(span.start), "end": instant(span.end), "effect": span.effect.value, "why": span.why}
        for span in spans
    ]


def coverage(rules: Sequence[Rule]) -> list[TechniqueDocument]:
    """Return which rules watch each technique, as JSON."""
    return [
        {"tactic": row.tactic, "technique": row.technique, "name": row.name, "rules": list(row.rules)}
        for row in cover_techniques(rules)
    ]
