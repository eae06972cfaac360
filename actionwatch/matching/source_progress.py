"""The progress of the sources: since when each group of a correlation knows its records, and up to when it may be judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from actionwatch.base.clock import from_micros, to_micros
from actionwatch.base.model import Group
from actionwatch.rules.correlations.sources import SourceNames
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

    @property
    def beginning(self) -> tuple[datetime | None, datetime | None]:
        """Since when all of them are read, and from when on what is missing may alert."""
        return self.begin, self.alerts_from


class SourceProgress:
    """The progress of all sources at one moment, as each group of a rule depends on it. See `Verified`."""

    def __init__(
        self, spans: Mapping[str, Span], names: SourceNames, named_from: Mapping[str, int] | None = None
    ) -> None:
        """`spans` are those of the sources that were ever polled, `names` says which ones count.

        `named_from`: since when renamed sources have their names.
        """
        self.names = names
        self._named_from = named_from or {}
        self._spans = {name: spans[name] for name in names.sources if name in spans}
        self._of_rules: dict[str, CommonProgress] = {}
        self._of_names: dict[tuple[str, ...], CommonProgress] = {}
        """By the sources that feed a rule: nearly all rules have the same. Those may be a thousand: no key for a group."""
        self._of_values: dict[tuple[str, str | None], CommonProgress] = {}
        self.newest = from_micros(max(proved for _, proved, _ in self._spans.values())) if self._spans else None

    def of(self, rule: Correlation, group: Group) -> datetime | None:
        """Return up to when all sources whose records a group can have proved what they read."""
        return self.of_group(rule, group).verified

    def of_group(self, rule: Correlation, group: Group) -> CommonProgress:
        """Return what the sources whose records a group can have have in common."""
        its = self.names.rules.get(rule.name.id)
        if its is None or its.place is None:
            return self.of_rule(rule.name.id)
        value = group[its.place]
        found = self._of_values.get((its.field, value))
        if found is None:
            names = self.names.of_value(its.field, value)
            if (
                not names
            ):  # a source that is no longer read has no proof: its groups are judged with all others of the rule
                return self.of_rule(rule.name.id)
            found = self._of_values[its.field, value] = self._common(names, is_by_name=its.is_by_name)
        return found

    def of_rule(self, rule_id: str) -> CommonProgress:
        """Return what all sources that feed a rule have in common."""
        found = self._of_rules.get(rule_id)
        if found is None:
            names = self.names.of_rule(rule_id)
            found = self._of_names.get(names)
            if found is None:
                found = self._of_names[names] = self._common(names)
            self._of_rules[rule_id] = found
        return found

    def oldest(self, rules: Sequence[Correlation]) -> datetime | None:
        """Return up to when the slowest source is proved on which any group of rules depends; None if there is none."""
        found: list[datetime | None] = []
        for rule in rules:
            if not self.names.keeps_apart(rule):
                found.append(self.of_rule(rule.name.id).verified)
            elif read := [self._spans[name][1] for name in self.names.of_rule(rule.name.id) if name in self._spans]:
                found.append(from_micros(min(read)))
        times = [at for at in found if at is not None]
        return min(times) if times and len(times) == len(found) else None

    def begins(self, rule: Correlation) -> list[datetime | None]:
        """Return since when the groups of a rule know their records; None: one of their sources was never read."""
        its = self.names.rules.get(rule.name.id)
        if its is None or its.place is None:
            return [self.of_rule(rule.name.id).begin]
        return [self._common(names, is_by_name=its.is_by_name).begin for names in self.names.apart(rule)]

    @property
    def is_past_backlog(self) -> bool:
        """Whether any source has proved the time before which its records are backlog."""
        return any(proved >= alerts_from for _, proved, alerts_from in self._spans.values())

    def knows(self, source: str) -> bool:
        """Return whether it has a source, or does not need it."""
        return source in self._spans or source not in self.names.sources

    def has_beginning_of(self, other: SourceProgress, rules: Sequence[Correlation]) -> bool:
        """Return whether the streams of records of rules begin as they did then: a state that was built then is still right."""
        again = ((span, other._spans[name]) for name, span in self._spans.items() if name in other._spans)
        if any((now[0], now[2]) != (then[0], then[2]) for now, then in again):
            return False
        return all(self._beginnings(rule) == other._beginnings(rule) for rule in rules if rule.needs_beginning)

    def named(self, names: SourceNames) -> SourceProgress:
        """Return the same for the names of now: rules and labels may have changed."""
        return self if self.names is names else SourceProgress(self._spans, names, self._named_from)

    def until(self, at: datetime) -> SourceProgress:
        """Return the same with nothing verified after a time."""
        end = to_micros(at)
        spans = {name: (begin, min(proved, end), start) for name, (begin, proved, start) in self._spans.items()}
        return SourceProgress(spans, self.names, self._named_from)

    def joined(self, other: SourceProgress) -> SourceProgress:
        """Return the same with what is verified here or there."""
        spans = dict(self._spans)
        for name, (begin, proved, start) in spans.items():
            spans[name] = begin, max(proved, other._spans.get(name, (0, proved, 0))[1]), start
        return SourceProgress(spans, self.names, self._named_from)

    def _beginnings(self, rule: Correlation) -> Sequence[tuple[datetime | None, datetime | None]]:
        """Return the beginnings on which what is stored of a rule depends: those of its groups, or of those that it expects."""
        if not self.names.keeps_apart(rule):
            its = [self.of_rule(rule.name.id)]
        else:
            its = [self.of_group(rule, group) for group in rule.expected or ()]
        return [each.beginning for each in its]

    def _common(self, names: Sequence[str], *, is_by_name: bool = False) -> CommonProgress:
        """`is_by_name`: the earlier records of a source that was renamed are in other groups."""
        if not names or any(name not in self._spans for name in names):
            return CommonProgress(names=tuple(names))
        begins, proved, alerts = zip(*(self._spans[name] for name in names), strict=True)
        if is_by_name:
            begins = (*begins, *(self._named_from[name] for name in names if name in self._named_from))
        return CommonProgress(
            from_micros(max(begins)), from_micros(min(proved)), from_micros(max(alerts)), tuple(names)
        )


def read_progress(connection: Connection, sources: Sequence[str] | None, known: SourceNames) -> SourceProgress:
    """Read the progress of sources (None: all that were ever polled). `known` are names of before, for the same rules."""
    spans = marks.read_spans(connection)
    wanted = sorted(spans) if sources is None else sources
    names = known if known.are_of(wanted) else SourceNames(known.rules, wanted)
    return SourceProgress(spans, names, marks.read_renamed(connection))
