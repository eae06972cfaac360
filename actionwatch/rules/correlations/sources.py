"""The sources whose records a group of a correlation can have: it waits for the proof of these, and of no others.

A rule has records of some sources only if `alert.sources` says so. Each of its groups has records of one source only, or of
those with one value of a label, if the rule groups by `source` or `source.labels.<label>`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from actionwatch.base.model import Group
from actionwatch.base.source_labels import labels_in_use, labels_of
from actionwatch.base.unicode import canonical
from actionwatch.rules.correlations.order import running
from actionwatch.rules.fields import LABELS
from actionwatch.rules.model import Correlation, Rule
from actionwatch.rules.scope import Scope

_SOURCE = "source"


class Verified(Protocol):
    """Up to when sources have proved what they read, at one moment."""

    @property
    def newest(self) -> datetime | None:
        """The latest of these times; None: no group can be judged."""
        ...

    def of(self, rule: Correlation, group: Group) -> datetime | None:
        """Return the time for a group of a rule: all sources whose records it can have proved what they read up to then."""
        ...


@dataclass(frozen=True, slots=True)
class VerifiedTime:
    """The same time for all groups: there is one source, or time follows a clock."""

    newest: datetime | None

    def of(self, _rule: Correlation, _group: Group) -> datetime | None:
        """Return the time."""
        return self.newest


@dataclass(frozen=True, slots=True)
class VerifiedUntil:
    """The same as another one, with nothing verified after a time."""

    verified: Verified
    at: datetime

    @property
    def newest(self) -> datetime | None:
        """Return the latest of the times."""
        return self._until(self.verified.newest)

    def of(self, rule: Correlation, group: Group) -> datetime | None:
        """Return the time for a group."""
        return self._until(self.verified.of(rule, group))

    def _until(self, time: datetime | None) -> datetime | None:
        return None if time is None else min(time, self.at)


@dataclass(frozen=True, slots=True)
class RuleSources:
    """The sources of a rule. `scopes`: those that feed it (None: all); `place`: the place of their field in its groups."""

    scopes: tuple[Scope, ...] | None = None
    place: int | None = None
    field: str = ""

    @property
    def is_by_name(self) -> bool:
        """Whether each group has the records of one source, under one name."""
        return self.field == _SOURCE


_ANY = RuleSources()


class SourceNames:
    """The names of the sources for which each group of a rule waits, as the configuration is now."""

    def __init__(self, rules: Mapping[str, RuleSources], sources: Sequence[str]) -> None:
        """`rules`: see `sources_of`."""
        self.sources = tuple(sources)
        self.rules = rules
        self._labels = labels_in_use()
        self._of_rules: dict[str, tuple[str, ...]] = {}
        self._by_value: dict[str, Mapping[str | None, Sequence[str]]] = {}  # by field

    def are_of(self, sources: Sequence[str]) -> bool:
        """Return whether they are right for these sources, with the labels that they have now."""
        return self._labels is labels_in_use() and self.sources == tuple(sources)

    def keeps_apart(self, rule: Correlation) -> bool:
        """Return whether groups of a rule wait for some of its sources only."""
        return self.rules.get(rule.name.id, _ANY).place is not None

    def of_rule(self, rule_id: str) -> tuple[str, ...]:
        """Return the sources that feed a rule."""
        found = self._of_rules.get(rule_id)
        if found is None:
            scopes = self.rules.get(rule_id, _ANY).scopes
            names = self.sources
            if scopes is not None:
                names = tuple(name for name in names if any(scope.includes(name) for scope in scopes))
            found = self._of_rules[rule_id] = names
        return found

    def of_value(self, field: str, value: str | None) -> Sequence[str]:
        """Return the sources for whose records groups have a value in a field."""
        if field not in self._by_value:
            found: dict[str | None, list[str]] = {}
            for name in self.sources:
                found.setdefault(_value_of(name, field), []).append(name)
            self._by_value[field] = found
        return self._by_value[field].get(value, ())

    def apart(self, rule: Correlation) -> Sequence[Sequence[str]]:
        """Return for each group that the sources of a rule can have those for which it waits; most rules have one for all."""
        its, names = self.rules.get(rule.name.id, _ANY), self.of_rule(rule.name.id)
        if its.place is None:
            return [names]
        return [
            self.of_value(its.field, value) for value in dict.fromkeys(_value_of(name, its.field) for name in names)
        ]


def _value_of(source: str, field: str) -> str | None:
    """Return the value that records of a source have in a field, as groups have it."""
    text = source if field == _SOURCE else labels_of(source).get(field.removeprefix(LABELS))
    return None if text is None else canonical(text)


def sources_of(rules: Sequence[Rule]) -> Mapping[str, RuleSources]:
    """Return the sources of each correlation that runs, by the id of the rule."""
    known = {rule.name.id: rule for rule in rules}
    found: dict[str, RuleSources] = {}
    for rule in running(rules):
        own = {part.name.id for part in rule.parts}
        feeders = (rule if step.rule_id in own else known.get(step.rule_id) for step in rule.steps)
        scopes = [feeder.alert.scope if feeder is not None else None for feeder in feeders]
        place = next((at for at, name in enumerate(rule.group_fields) if _keeps_apart(rule, name)), None)
        field = "" if place is None else rule.group_fields[place]
        its = None if None in scopes else tuple(scope for scope in scopes if scope is not None)
        found[rule.name.id] = RuleSources(its, place, field)
    return found


def _keeps_apart(rule: Correlation, name: str) -> bool:
    """Return whether all records of a group have one value of a field of the source."""
    if name != _SOURCE and not name.startswith(LABELS):
        return False
    return all(step.aliases.get(name, name) == name for step in rule.steps)
