"""The progress of the sources: since when each group of a correlation knows its records, and up to when it may be judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from actionwatch.base.clock import from_micros, to_micros
from actionwatch.base.model import Group
from actionwatch.rules.correlations.sources import RuleSources
from actionwatch.rules.model import Correlation
from actionwatch.store import marks

Span = tuple[int, int, int]
"""Of a source: since when it is read, up to when it is proved, and from when on its records may alert, in microseconds."""


@dataclass(frozen=True, slots=True)
class CommonProgress:
    """The progress that some sources have in common: the latest beginning, the earliest proof; None if one was never read."""

    begin: datetime | None = None
    verified: datetime | None = None
    alerts_from: datetime | None = None
    names: tuple[str, ...] = ()


class SourceProgress:
    """The progress of all sources at one moment, as each group of a rule depends on it. See `Verified`."""

    def __init__(
        self,
        spans: Mapping[str, Span] | None = None,
        names: Sequence[str] | None = None,
        rules: Mapping[str, RuleSources] | None = None,
    ) -> None:
        """`spans` are those of the sources that were ever polled, `names` those that count (None: all that were polled)."""
        known = spans or {}
        self._names = sorted(known) if names is None else list(names)
        self._spans = {name: known[name] for name in self._names if name in known}
        self._rules = rules or {}
        self._of_rules: dict[str, CommonProgress] = {}
        self._of_values: dict[tuple[str, str | None], CommonProgress] = {}
        self._named: dict[str, Mapping[str | None, Sequence[str]]] = {}  # by field and value
        self.newest = from_micros(max(proved for _, proved, _ in self._spans.values())) if self._spans else None

    def of(self, rule: Correlation, group: Group) -> datetime | None:
        """Return up to when all sources whose records a group can have proved what they read."""
        return self.of_group(rule, group).verified

    def of_group(self, rule: Correlation, group: Group) -> CommonProgress:
        """Return what the sources whose records a group can have have in common."""
        its = self._rules.get(rule.name.id)
        if its is not None and its.place is not None:
            value = group[its.place]
            found = self._of_values.get((its.field, value))
            if found is not None:
                return found
            # A source that is no longer read has no proof: its groups are judged with all others.
            if names := self._names_of(its, value):
                found = self._of_values[its.field, value] = self._common(names)
                return found
        return self.of_rule(rule.name.id)

    def of_rule(self, rule_id: str) -> CommonProgress:
        """Return what all sources that feed a rule have in common."""
        found = self._of_rules.get(rule_id)
        if found is None:
            its = self._rules.get(rule_id, RuleSources())
            found = self._of_rules[rule_id] = self._common(its.names(self._names))
        return found

    def oldest(self, rules: Sequence[str]) -> datetime | None:
        """Return up to when the slowest source is proved on which any group of rules depends; None if there is none."""
        found: list[datetime | None] = []
        for rule_id in rules:
            its = self._rules.get(rule_id, RuleSources())
            if its.place is None:
                found.append(self.of_rule(rule_id).verified)
            elif read := [self._spans[name][1] for name in its.names(self._names) if name in self._spans]:
                found.append(from_micros(min(read)))
        times = [at for at in found if at is not None]
        return min(times) if times and len(times) == len(found) else None

    @property
    def is_past_backlog(self) -> bool:
        """Whether any source has proved the time before which its records are backlog."""
        return any(proved >= alerts_from for _, proved, alerts_from in self._spans.values())

    def knows(self, source: str) -> bool:
        """Return whether it has a source, or does not need it."""
        return source in self._spans or source not in self._names

    def has_beginning_of(self, other: SourceProgress, rules: Sequence[Correlation]) -> bool:
        """Return whether the streams of records of rules begin as they did then: a state that was built then is still right."""
        again = ((span, other._spans[name]) for name, span in self._spans.items() if name in other._spans)
        if any((now[0], now[2]) != (then[0], then[2]) for now, then in again):
            return False
        return all(self._beginnings(rule) == other._beginnings(rule) for rule in rules if rule.needs_beginning)

    def keeps_apart(self, rule: Correlation) -> bool:
        """Return whether groups of a rule depend on some of its sources only."""
        return rule.name.id in self._rules and self._rules[rule.name.id].place is not None

    def until(self, at: datetime) -> SourceProgress:
        """Return the same with nothing verified after a time."""
        end = to_micros(at)
        spans = {name: (begin, min(proved, end), start) for name, (begin, proved, start) in self._spans.items()}
        return SourceProgress(spans, self._names, self._rules)

    def joined(self, other: SourceProgress) -> SourceProgress:
        """Return the same with what is verified here or there."""
        spans = dict(self._spans)
        for name, (begin, proved, start) in spans.items():
            spans[name] = begin, max(proved, other._spans.get(name, (0, proved, 0))[1]), start
        return SourceProgress(spans, self._names, self._rules)

    def _beginnings(self, rule: Correlation) -> Sequence[tuple[datetime | None, datetime | None]]:
        """Return the beginnings on which what is stored of a rule depends: those of its groups, or of those that it expects."""
        if not self.keeps_apart(rule):
            its = [self.of_rule(rule.name.id)]
        else:
            its = [self.of_group(rule, group) for group in rule.expected or ()]
        return [(each.begin, each.alerts_from) for each in its]

    def _names_of(self, rule: RuleSources, value: str | None) -> Sequence[str]:
        """Return the sources for whose records groups have a value."""
        if rule.field not in self._named:
            found: dict[str | None, list[str]] = {}
            for name in self._names:
                found.setdefault(rule.value(name), []).append(name)
            self._named[rule.field] = found
        return self._named[rule.field].get(value, ())

    def _common(self, names: Sequence[str]) -> CommonProgress:
        if not names or any(name not in self._spans for name in names):
            return CommonProgress(names=tuple(names))
        begins, proved, alerts = zip(*(self._spans[name] for name in names), strict=True)
        return CommonProgress(
            from_micros(max(begins)), from_micros(min(proved)), from_micros(max(alerts)), tuple(names)
        )


def read_progress(
    connection: Connection, sources: Sequence[str] | None, rules: Mapping[str, RuleSources]
) -> SourceProgress:
    """Read the progress of sources (None: all that were ever polled), for rules by id."""
    return SourceProgress(marks.read_spans(connection), sources, rules)
