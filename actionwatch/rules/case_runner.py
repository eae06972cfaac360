"""Run the tests of rules on a virtual clock. `simulate` is the engine of the service.

A failed test shows the expected and the actual result, and the result of each selection for each record.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from actionwatch.base.durations import spell_duration
from actionwatch.base.ids import UUID
from actionwatch.base.model import Alert, Entity, Mode, Record
from actionwatch.base.plurals import counted
from actionwatch.base.unicode import canonical
from actionwatch.rules.cases import Case, Expectation, Moment, TestEvent
from actionwatch.rules.engine import RuleFailure
from actionwatch.rules.explain import Explanation, explain
from actionwatch.rules.fields import LABELS, RAW, spell
from actionwatch.rules.lists import Lists
from actionwatch.rules.model import Rule
from actionwatch.text.payloads import instant

START = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)  # an arbitrary Wednesday
_OVERLAP = timedelta(minutes=15)  # the default of a source: a record that arrives later than this is late
_MAX_EXPLAINED = 5  # records of a failed test


class KindInfo(Protocol):
    """The defaults of records of a kind."""

    @property
    def operation(self) -> str: ...
    @property
    def scope(self) -> str: ...
    @property
    def severity(self) -> str: ...


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """All alerts of a run in the order of `first_at`, the records of each alert by its id, and the errors of rules.

    The records of an alert are in event order. An absence has none. A backtest keeps only the first and the last.
    """

    alerts: tuple[Alert, ...]
    records: Mapping[str, tuple[Record, ...]]
    failures: tuple[RuleFailure, ...] = ()


class Simulate(Protocol):
    """Runs rules over records in the order of `seen_at`.

    All records from `begin` (None: from as early as the rules need) to `verified_until` are known.
    """

    def __call__(
        self,
        rules: Sequence[Rule],
        records: Sequence[Record],
        *,
        begin: datetime | None,
        start: datetime,
        until: datetime,
        verified_until: datetime,
    ) -> SimulationResult: ...


Catalogue = Mapping[str, KindInfo]
Rebuild = Callable[[Mapping[str, tuple[str, ...]]], Sequence[Rule]]
"""Builds the rules again with the lists of a test, which replace the operator's."""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """The result of one test. `problems` is empty if it passed; `explained` shows why the rule matches each record or not."""

    rule: Rule
    case: Case
    problems: tuple[str, ...] = ()
    explained: tuple[tuple[Record, Explanation], ...] = ()


@dataclass(frozen=True, slots=True)
class CaseRunner:
    """Runs tests. It has all rules, because a correlation depends on the rules that feed it."""

    rules: Sequence[Rule]
    simulate: Simulate
    catalogue: Catalogue
    lists: Lists
    rebuild: Rebuild

    def run(self, rule: Rule) -> list[CaseResult]:
        """Run every test of a rule."""
        return [self._run_case(rule, case) for case in rule.tests]

    def _run_case(self, rule: Rule, case: Case) -> CaseResult:
        rules, lists = self.rules, self.lists
        if case.lists is not None:
            rules, lists = self.rebuild(case.lists), Lists({**self.lists.values, **case.lists})
            rule = next((each for each in rules if each.name.id == rule.name.id), rule)
        records = make_records(case, self.catalogue)
        outcome = simulate_case(rule, case, rules, records, self.simulate)
        alerts = [alert for alert in outcome.alerts if alert.rule.id == rule.name.id]
        problems = tuple(_problems(case.expect, alerts, _start_of(case)))
        problems += tuple(failure.what for failure in outcome.failures if failure.rule.id == rule.name.id)
        if not problems:
            return CaseResult(rule, case)
        explained = tuple((record, explain(rule, record, lists)) for record in records[:_MAX_EXPLAINED])
        return CaseResult(rule, case, problems, explained)


def simulate_case(
    rule: Rule, case: Case, rules: Sequence[Rule], records: Sequence[Record], simulate: Simulate
) -> SimulationResult:
    """Run a rule in any mode over the records of one of its tests. `rules` are all rules, for a correlation."""
    start = _start_of(case)
    if rule.correlation is None:
        rules = [rule]  # faster, and other rules do not affect its alerts
    until = _at(case.until, start) or max([start, *(max(each.occurred_at, each.seen_at) for each in records)])
    return simulate(
        [replace(each, mode=Mode.LIVE) if each is rule else each for each in rules],
        records,
        begin=None if case.history is None else start - case.history,
        start=start,
        until=until,
        verified_until=_at(case.verified_until, start) or until,
    )


def missing_tests(rule: Rule, least: int) -> str:
    """Describe the missing tests: `least` must expect an alert, and as many must expect nothing; "" if there are enough.

    A rule that only feeds others needs no tests.
    """
    if rule.is_silent:
        return ""
    silent = sum(case.expect.alerts == 0 for case in rule.tests)
    counts = {"alert": len(rule.tests) - silent, "nothing": silent}
    lacking = [f"expect: {word}" for word, count in counts.items() if count < least]
    return f"needs at least {least} test with {' and '.join(lacking)}" if lacking else ""


def _start_of(case: Case) -> datetime:
    """Return the time from which the durations of a test count: its first absolute time, otherwise START."""
    times = [event.at for event in case.events if isinstance(event.at, datetime)]
    return min(times, default=START)


def make_records(case: Case, catalogue: Catalogue) -> list[Record]:
    """Make the records of a test in the order of its events, each with its own key."""
    start = _start_of(case)
    records: list[Record] = []
    for event in case.events:
        for number in range(event.repeat):
            at = (_at(event.at, start) or start) + number * event.every
            records.append(_record(event, at, _at(event.seen_at, start), len(records), catalogue))
    return records


def _problems(expect: Expectation, alerts: Sequence[Alert], start: datetime) -> Iterator[str]:
    if expect.alerts is not None and len(alerts) != expect.alerts:
        yield f"expected {_count(expect.alerts)}, got {_count(len(alerts))}{_named(alerts)}"
        return
    if expect.alerts == 0:
        return
    if not alerts:
        yield "expected an alert, got none"
        return
    differences = [list(_differences(expect, alert, start)) for alert in alerts]
    if all(differences):
        closest = min(differences, key=len)
        which = "the alert" if len(alerts) == 1 else f"none of the {len(alerts)} alerts is as expected: the closest"
        yield from (f"{which}: {difference}" for difference in closest)


def _differences(expect: Expectation, alert: Alert, start: datetime) -> Iterator[str]:
    if expect.events is not None and alert.count != expect.events:
        yield f"expected events: {expect.events}, got {alert.count}"
    group = alert.group or {}
    for name, value in expect.group.items():
        if name not in group or not _is_same(group[name], value):
            yield f"expected group {name}: {value}, got {group.get(name, 'no such field in the group')}"
    if isinstance(expect.late, bool) and expect.late is not (alert.late_by is not None):
        yield f"expected late: {str(expect.late).lower()}, got {_spell_late(alert)}"
    if isinstance(expect.late, timedelta) and expect.late != alert.late_by:
        yield f"expected late: {spell_duration(expect.late)}, got {_spell_late(alert)}"
    for key, text in expect.texts.items():
        if getattr(alert, key) != text:
            yield f"expected {key}: {text!r}, got {getattr(alert, key)!r}"
    if expect.level is not None and alert.level is not expect.level:
        yield f"expected level: {expect.level.word}, got {alert.level.word}"
    for name, text in expect.labels.items():
        if alert.labels.get(name) != text:
            yield f"expected label {name}: {text}, got {alert.labels.get(name)}"
    for key, moment in expect.times.items():
        at: datetime | None = getattr(alert, key)
        if at != (wanted := _at(moment, start)):
            yield f"expected {key}: {_spell_at(wanted, start)}, got {_spell_at(at, start)}"


def _record(event: TestEvent, at: datetime, seen_at: datetime | None, number: int, catalogue: Catalogue) -> Record:
    fields = dict(event.fields)
    kind = str(fields.get("actionKind") or "UNKNOWN").strip().upper()
    known = catalogue.get(kind)
    seen = max(seen_at or at, at)
    operation = fields.get("crudOperation", known.operation if known else None)
    scope = fields.get("scope", known.scope if known else None)
    return Record(
        id=number + 1,
        key=f"{int(at.timestamp() * 1_000_000) & 0xFFFF_FFFF_FFFF_FFFF:016x}-test-{number:05d}",
        source=_text(fields.get("source")) or "test",
        occurred_at=at,
        seen_at=seen,
        action_kind=kind,
        raw=json.dumps(_raw(fields), ensure_ascii=False),
        domain_type=_text(fields.get("domainType")),
        user_name=_text(fields.get("userName")),
        description=_text(fields.get("description")),
        account=_entity(fields, "account"),
        cluster=_entity(fields, "cluster"),
        organisation=_entity(fields, "organisation"),
        operation=operation and str(operation).upper(),
        scope=scope and str(scope).lower(),
        severity=_text(fields.get("severity")) or (known.severity if known else "medium"),
        late_by=seen - at if seen - at > _OVERLAP else None,
        labels={
            name.removeprefix(LABELS): text
            for name, value in fields.items()
            if name.startswith(LABELS) and (text := _text(value)) is not None
        },
    )


def _entity(fields: Mapping[str, Any], name: str) -> Entity:
    """Read `cluster.id` and `cluster.name`. A bare `cluster` is the name, or the id if it is a UUID."""
    bare = _text(fields.get(name))
    is_id = bare is not None and bool(UUID.fullmatch(bare))
    own_id = _text(fields.get(f"{name}.id", fields.get("clusterId") if name == "cluster" else None))
    own_name = _text(fields.get(f"{name}.name"))
    return Entity(own_id or (bare if is_id else None), own_name or (None if is_id else bare))


def _raw(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Build the raw object from the `raw.…` fields. If a path leads through a plain value, its name keeps the dots."""
    raw: dict[str, Any] = {}
    for name, value in fields.items():
        if not name.startswith(RAW):
            continue
        *way, last = name.removeprefix(RAW).split(".")
        here = raw
        for step in way:
            below = here.setdefault(step, {})
            if not isinstance(below, dict):
                here, last = raw, name.removeprefix(RAW)
                break
            here = below
        here[last] = value
    return raw


def _text(value: Any) -> str | None:
    return None if value is None else spell(value)


def _at(moment: Moment | None, start: datetime) -> datetime | None:
    return start + moment if isinstance(moment, timedelta) else moment


def _count(count: int) -> str:
    return counted(count, "alert") if count else "nothing"


def _named(alerts: Sequence[Alert]) -> str:
    if not alerts:
        return ""
    shown = "; ".join(f"{alert.title} ({alert.count} at {instant(alert.first_at)})" for alert in alerts[:3])
    return f": {shown}{'; …' if len(alerts) > 3 else ''}"


def _spell_late(alert: Alert) -> str:
    return "not late" if alert.late_by is None else f"late by {spell_duration(alert.late_by)}"


def _spell_at(at: datetime | None, start: datetime) -> str:
    return "never" if at is None else f"{instant(at)} (start + {spell_duration(at - start)})"


def _is_same(one: str | None, other: str | None) -> bool:
    return one == other or (one is not None and other is not None and canonical(one) == canonical(other))
