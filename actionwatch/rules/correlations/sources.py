"""The sources whose records a group of a correlation can have: it waits for the proof of these, and of no others.

A rule has records of some sources only if `alert.sources` says so. Each of its groups has records of one source only, or of
those with one value of a label, if the rule groups by `source` or `source.labels.<label>`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from actionwatch.base.model import Group
from actionwatch.base.source_labels import labels_of
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
class RuleSources:
    """The sources of a rule. `scopes`: those that feed it (None: all); `place`: the place of their field in its groups."""

    scopes: tuple[Scope, ...] | None = None
    place: int | None = None
    field: str = ""

    def names(self, sources: Sequence[str]) -> tuple[str, ...]:
        """Return those of the sources that feed the rule."""
        if self.scopes is None:
            return tuple(sources)
        return tuple(name for name in sources if any(scope.includes(name) for scope in self.scopes))

    def value(self, source: str) -> str | None:
        """Return the value that groups have for records of a source."""
        text = source if self.field == _SOURCE else labels_of(source).get(self.field.removeprefix(LABELS))
        return None if text is None else canonical(text)


def sources_of(rules: Sequence[Rule]) -> Mapping[str, RuleSources]:
    """Return the sources of each correlation that runs, by the id of the rule."""
    known = {rule.name.id: rule for rule in rules}
    found: dict[str, RuleSources] = {}
    for rule in running(rules):  # inner rules first
        own = {part.name.id for part in rule.parts}
        feeders = [step.rule_id for step in rule.steps]
        scopes: list[Scope] | None = []
        for name in feeders:
            if name in found:
                its = found[name].scopes
            else:
                fed_by = rule.alert.scope if name in own else known[name].alert.scope if name in known else None
                its = None if fed_by is None else (fed_by,)
            scopes = None if scopes is None or its is None else [*scopes, *its]
        # A group of alerts of a rule waits for all that this rule waits for.
        inner = [found[name].field for name in feeders if name in found]
        place = next((at for at, name in enumerate(rule.group_fields) if _keeps_apart(rule, name, inner)), None)
        field = "" if place is None else rule.group_fields[place]
        found[rule.name.id] = RuleSources(None if scopes is None else tuple(scopes), place, field)
    return found


def _keeps_apart(rule: Correlation, name: str, inner: Collection[str]) -> bool:
    """Return whether all records of a group, and of all that share its alert, have one value of a field of the source."""
    if name != _SOURCE and not name.startswith(LABELS):
        return False
    if any(step.aliases.get(name, name) != name for step in rule.steps):
        return False
    is_shown = not rule.is_merging or (rule.alert.group_by is not None and name in rule.alert.group_by)
    return is_shown and all(field == name for field in inner)
