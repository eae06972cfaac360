"""The nouns of correlation: a rule over other rules, one hit of those, and the alert that a fold finds in a group's hits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from actionwatch.base.ids import group_id, stable_id
from actionwatch.base.model import Level, Record, RuleName
from actionwatch.rules.alert import AlertBlock

if TYPE_CHECKING:
    from actionwatch.rules.engine import Rule
    from actionwatch.rules.when import When

NEVER = datetime.max.replace(tzinfo=UTC)


class Kind(StrEnum):
    """What is looked for in a group's hits; the words of `correlation.type`."""

    EVENT_COUNT = "event_count"
    VALUE_COUNT = "value_count"
    VALUE_SUM = "value_sum"
    VALUE_AVG = "value_avg"
    VALUE_PERCENTILE = "value_percentile"
    VALUE_MEDIAN = "value_median"
    TEMPORAL = "temporal"
    TEMPORAL_ORDERED = "temporal_ordered"
    NEW_TERM = "new_term"
    SPIKE = "spike"


VALUE_KINDS = (Kind.VALUE_COUNT, Kind.VALUE_SUM, Kind.VALUE_AVG, Kind.VALUE_PERCENTILE, Kind.VALUE_MEDIAN)
TEMPORAL_KINDS = (Kind.TEMPORAL, Kind.TEMPORAL_ORDERED)


@dataclass(frozen=True, slots=True)
class Step:
    """One rule that feeds a correlation, by id, and the fields that the correlation's aliases mean in its records."""

    rule_id: str
    aliases: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Threshold:
    """`{gte: 5}`: an operator of Sigma and the number it compares with."""

    operator: str
    number: int | float


@dataclass(frozen=True, slots=True)
class Pattern:
    """Steps that must be there and steps that must not, as places in `steps`; a string condition is an OR of such.

    `wanted` is in ascending order, which is the order of `temporal_ordered`.
    """

    wanted: tuple[int, ...]
    unwanted: tuple[int, ...] = ()

    @property
    def leading(self) -> frozenset[int]:
        """What must not come before the first wanted step."""
        return frozenset(step for step in self.unwanted if step < self.wanted[0])

    @property
    def trailing(self) -> frozenset[int]:
        """What must not follow the last wanted step."""
        return frozenset(step for step in self.unwanted if step > self.wanted[-1])

    def between(self, place: int) -> frozenset[int]:
        """What must not come between a wanted step, by its place, and the next one."""
        low, high = self.wanted[place], self.wanted[place + 1]
        return frozenset(step for step in self.unwanted if low < step < high)


Group = tuple[str | None, ...]
"""The values of a correlation's group fields, in their order; None is the group of those that lack the field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation:
    """A correlation rule ready to run. What a kind has no use for stays at its default."""

    name: RuleName
    level: Level
    alert: AlertBlock
    kind: Kind
    steps: tuple[Step, ...]
    group_by: tuple[str, ...] = ()
    timespan: timedelta = timedelta(0)
    realert: timedelta = timedelta(0)
    threshold: Threshold | None = None
    patterns: tuple[Pattern, ...] = ()
    value_fields: tuple[str, ...] = ()
    percentile: int = 50
    expected: tuple[Group, ...] | None = None
    """The groups in which something is to happen; None where the rule is no absence."""
    fields: tuple[str, ...] = ()
    history: timedelta = timedelta(0)
    is_learning: bool = True
    factor: float = 0.0
    minimum: int = 0
    windows: int = 0
    when: When | None = None
    parts: tuple[Rule, ...] = ()
    """The detections of the same document that feed it, each a silent rule of its own."""
    is_silent: bool = False
    """It only feeds another rule."""
    version: str = ""
    """A digest of the documents it is made of: it changes when what they say does."""

    @property
    def is_absence(self) -> bool:
        """Whether it tells what did not happen."""
        return self.expected is not None

    @property
    def group_fields(self) -> tuple[str, ...]:
        """The fields whose values make a group; for new terms, the term is part of it."""
        return (*self.group_by, *(name for name in self.fields if name not in self.group_by))

    @property
    def reach(self) -> timedelta:
        """How far before a moment the hits lie that can matter at it, if no alert lies between."""
        if self.kind is Kind.NEW_TERM:
            return self.history
        if self.kind is Kind.SPIKE:
            return self.timespan * (self.windows + 1)
        return self.timespan * 2 if self.kind in TEMPORAL_KINDS else self.timespan

    def is_early(self, at: datetime, begin: datetime | None) -> bool:
        """Say whether terms that are new at a time are only learned, the stream being known from `begin` on."""
        return self.is_learning and self.kind is Kind.NEW_TERM and (begin is None or at < begin + self.history)

    def grouping(self, group: Group) -> dict[str, str | None]:
        """Give a group as field -> value."""
        return dict(zip(self.group_fields, group, strict=True))

    @property
    def is_merging(self) -> bool:
        """Whether people hear of several groups as one: `alert.group_by` names fewer fields than make a group."""
        return self.alert.group_by is not None and len(self.alert.group_by) < len(self.group_fields)

    def shown_group(self, group: Group) -> dict[str, str | None]:
        """Give what its alerts show of a group: the fields of `alert.group_by`, by default all."""
        values = self.grouping(group)
        return values if self.alert.group_by is None else {name: values[name] for name in self.alert.group_by}

    def merged(self, group: Group) -> Group:
        """Give the values that all groups share which people hear of as one."""
        return tuple(self.shown_group(group).values())

    def alert_id(self, group: Group, first_key: str) -> str:
        """Make the id of an alert: a function of rule, group and the first record of its window."""
        return stable_id("alert", group_id(self.name.id, self.grouping(group)), first_key)


@dataclass(slots=True)
class Hit:
    """One record, or one inner alert, that met one step of a correlation.

    `records` are what it brings into an alert (an inner alert's own), newest last, empty for an inner alert of absence.
    """

    at: datetime
    step: int
    key: str
    records: tuple[Record, ...]
    value: Any = None

    @property
    def order(self) -> tuple[datetime, int, str]:
        """The order of a fold: time, then step, so that ties count as ordered, then key, which no other hit of a group has."""
        return self.at, self.step, self.key


@dataclass(slots=True)
class Found:
    """An alert that a fold finds. It grows while it is open, until `until` (inclusive).

    `judged_at` is the verified time from which it counts; None: at once. `origin` is the key its id comes from. `last_seen` is,
    for absence, the newest match before it.
    """

    origin: str
    first_at: datetime
    fired_at: datetime
    until: datetime
    hits: list[Hit]
    judged_at: datetime | None = None
    resolved_at: datetime | None = None
    resolved_by: Hit | None = None
    last_seen: Record | None = None
    firing: Hit | None = None
    is_quiet: bool = False
    """It fired while its rule was still learning: to be remembered, not told."""
    id: str = ""

    def is_judged(self, verified: datetime | None) -> bool:
        """Say whether enough is verified to tell people."""
        return self.judged_at is None or (verified is not None and verified >= self.judged_at)

    def copy(self) -> Found:
        """Copy it, so that one may grow without the other."""
        return replace(self, hits=list(self.hits))
