"""The nouns of the rule language: rule, filter, correlation.

They refer to each other, so they live in one module. What reads, runs, or explains them imports them from here.

The words for times of correlations, in code, tables and docs:

| word | what it says |
| --- | --- |
| at | when a hit happened |
| first_at, fired_at, until | of an alert: the first hit, the firing, the last instant at which a hit joins it |
| back_at | when what was missing came back; `resolved_at`: as it was reported |
| pending_at | the verified time at which an alert must be looked at again |
| verified | up to when all sources proved what they read |
| begin | since when all sources were read; `alerts_from`: before it, records are backlog |
| fed_from, complete_from | since when a rule was given records, and is right |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from actionwatch.base.ids import group_id, stable_id
from actionwatch.base.model import Group, Level, Mode, RuleName
from actionwatch.rules.alert import AlertBlock
from actionwatch.rules.cases import Case
from actionwatch.rules.conditions import Condition, Leaf, any_of
from actionwatch.rules.fields import FIELDS, Candidates
from actionwatch.rules.report import Report
from actionwatch.rules.when import When
from actionwatch.text.yaml_document import Document

NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class RuleVersion:
    """The digests of a rule: "this rule changed" means that one of them is different.

    `content`: its document and the lists that it names. A reload, the stored versions, and the history compare it.
    The others are of correlations: `matching` determines which records make an alert, so that a new one starts from now;
    `rows` also determines what is stored of hits and alerts, so that a new one reads older records again.
    """

    content: str
    matching: str = ""
    rows: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that is ready to run. `file` and `line` show where it begins.

    `condition` is the whole condition, including `when` and `filters`. `when`, `filters` and `document` are kept to
    explain the rule. A rule with a `correlation` makes alerts from several records.
    A silent rule only feeds a correlation.
    """

    name: RuleName
    level: Level
    condition: Condition
    alert: AlertBlock
    file: str
    line: int
    mode: Mode = Mode.LIVE
    when: When | None = None
    filters: tuple[Filter, ...] = ()
    tests: tuple[Case, ...] = ()
    document: Document | None = None
    version: RuleVersion = RuleVersion("")
    correlation: Correlation | None = None
    is_silent: bool = False

    @property
    def finds_records(self) -> bool:
        """Whether the rule matches records itself. A correlation of other rules does not."""
        return self.correlation is None or bool(self.correlation.parts)


@dataclass(frozen=True, slots=True)
class Filter:
    """An exclusion. `rules` are ids or names; empty means every rule. A record passes if `keeps` holds, or after `expires`."""

    name: RuleName
    rules: tuple[str, ...]
    keeps: Condition
    owner: str
    reason: str
    expires: datetime
    report: Report
    version: RuleVersion = RuleVersion("")

    @property
    def file(self) -> str:
        """The file that contains the filter."""
        return self.report.document.file

    @property
    def line(self) -> int:
        """The line where the filter begins."""
        return self.report.document.position(())[0]

    def is_for(self, rule: Rule) -> bool:
        """Check whether the filter applies to a rule. As in Sigma, it applies only to rules that find records."""
        if not rule.finds_records:
            return False
        return not self.rules or rule.name.id in self.rules or rule.name.name in self.rules

    def as_condition(self) -> Condition:
        """Return the condition that a record must meet in addition to the condition of the rule."""
        expires = self.expires

        def test(candidates: Candidates) -> bool:
            return any(isinstance(at, datetime) and at >= expires for at in candidates)

        return any_of([self.keeps, Leaf(("from", expires), "timestamp", FIELDS["timestamp"].read, test)])


class CorrelationType(StrEnum):
    """The pattern that a correlation looks for; the values of `correlation.type`."""

    EVENT_COUNT = "event_count"
    VALUE_COUNT = "value_count"
    TEMPORAL = "temporal"
    TEMPORAL_ORDERED = "temporal_ordered"
    NEW_TERM = "new_term"
    SPIKE = "spike"


BASELINE = 1  # the step of a new_term rule whose hits only make a term known; step 0 can fire
TEMPORAL_TYPES = (CorrelationType.TEMPORAL, CorrelationType.TEMPORAL_ORDERED)


@dataclass(frozen=True, slots=True)
class Step:
    """One rule that feeds a correlation, by id. `aliases` maps each alias of the correlation to a field of its records."""

    rule_id: str
    aliases: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Threshold:
    """An operator of Sigma and the number to compare with, for example `{gte: 5}`, or two bounds: `{gt: 2, lte: 5}`."""

    operator: str
    number: int | float
    upper: Threshold | None = None

    def __str__(self) -> str:
        """Format as `gt 2 and lte 5`."""
        return f"{self.operator} {self.number}" + (f" and {self.upper}" if self.upper is not None else "")


@dataclass(frozen=True, slots=True)
class Pattern:
    """Steps that must occur and steps that must not, as indexes into `steps`. A string condition is an OR of patterns.

    `wanted` is in ascending order, which is the order that `temporal_ordered` requires.
    """

    wanted: tuple[int, ...]
    unwanted: tuple[int, ...] = ()

    @property
    def leading(self) -> frozenset[int]:
        """The steps that must not precede the first wanted step."""
        return frozenset(step for step in self.unwanted if step < self.wanted[0])

    @property
    def trailing(self) -> frozenset[int]:
        """The steps that must not follow the last wanted step."""
        return frozenset(step for step in self.unwanted if step > self.wanted[-1])

    def between(self, place: int) -> frozenset[int]:
        """Return the steps that must not occur between the wanted step at an index and the next one."""
        low, high = self.wanted[place], self.wanted[place + 1]
        return frozenset(step for step in self.unwanted if low < step < high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation:
    """A correlation rule that is ready to run. Settings that its type does not use keep their defaults."""

    name: RuleName
    level: Level
    alert: AlertBlock
    type: CorrelationType
    steps: tuple[Step, ...]
    group_by: tuple[str, ...] = ()
    timespan: timedelta = timedelta(0)
    realert: timedelta = timedelta(0)
    threshold: Threshold | None = None
    patterns: tuple[Pattern, ...] = ()
    value_fields: tuple[str, ...] = ()
    expected: tuple[Group, ...] | None = None
    """The groups in which something must happen. None: the rule does not detect absence."""
    fields: tuple[str, ...] = ()
    history: timedelta = timedelta(0)
    is_learning: bool = True
    factor: float = 0.0
    minimum: int = 0
    windows: int = 0
    when: When | None = None
    parts: tuple[Rule, ...] = ()
    """The detections of the same document that feed the correlation, each as a silent rule."""
    version: RuleVersion = RuleVersion("")

    @property
    def is_absence(self) -> bool:
        """Whether the rule reports what did not happen."""
        return self.expected is not None

    @property
    def needs_beginning(self) -> bool:
        """Whether its alerts depend on since when all sources are read: it learns first, or reports what did not happen."""
        return self.is_absence or self.type in (CorrelationType.NEW_TERM, CorrelationType.SPIKE)

    @property
    def group_fields(self) -> tuple[str, ...]:
        """The fields whose values form a group. For `new_term` they include the term."""
        return (*self.group_by, *(name for name in self.fields if name not in self.group_by))

    @property
    def reach(self) -> timedelta:
        """The age up to which hits matter at a given time, if no alert occurred since."""
        if self.type is CorrelationType.NEW_TERM:
            return self.history
        if self.type is CorrelationType.SPIKE:
            return self.timespan * (self.windows + 1)
        return self.timespan * 2 if self.type in TEMPORAL_TYPES else self.timespan

    def is_early(self, at: datetime, begin: datetime | None) -> bool:
        """Check whether a new term at this time is only learned. `begin` is the start of the known stream."""
        return (
            self.is_learning and self.type is CorrelationType.NEW_TERM and (begin is None or at < begin + self.history)
        )

    def grouping(self, group: Group) -> dict[str, str | None]:
        """Return a group as field -> value."""
        return dict(zip(self.group_fields, group, strict=True))

    def alert_id(self, group: Group, first_key: str) -> str:
        """Return the id of an alert: a function of rule, group and the first record of its window."""
        return stable_id("alert", group_id(self.name.id, self.grouping(group)), first_key)
