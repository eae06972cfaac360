"""Run the tests of a rule on a virtual clock, through whatever `simulate` is given: the production engine.

A test that fails says what was expected, what came, and which selection said what of each record.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from actionwatch.base.durations import spell_duration
from actionwatch.base.model import Alert, Entity, Mode, Record
from actionwatch.base.unicode import canonical
from actionwatch.rules.cases import Case, Expectation, Moment, TestEvent
from actionwatch.rules.engine import Failure
from actionwatch.rules.explain import Finding, explain
from actionwatch.rules.fields import RAW
from actionwatch.rules.lists import Lists
from actionwatch.rules.model import Rule
from actionwatch.text.payloads import instant

START = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)  # a Wednesday noon; any would do
OVERLAP = timedelta(minutes=15)  # the default of a source: what comes later than this is late
EXPLAINED = 5  # records that a failed test explains; all are much alike when they are many
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)


class Kind(Protocol):
    """What the catalogue knows of a kind."""

    @property
    def operation(self) -> str: ...
    @property
    def scope(self) -> str: ...
    @property
    def severity(self) -> str: ...


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """All alerts of a run, in the order of their first time, with the records of each by its id, and the failures of rules.

    The records of an alert are in event order; there are none where something was missing. A replay keeps only the first
    and the last of them.
    """

    alerts: tuple[Alert, ...]
    records: Mapping[str, tuple[Record, ...]]
    failures: tuple[Failure, ...] = ()


class Simulate(Protocol):
    """Runs rules over records through the production engine, in the order of `seen_at`.

    `begin` is from when on the stream is known completely (None: for as long as the rules need); `verified_until`, up to when.
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
    ) -> SimulationResult:
        """Run."""
        ...


Catalogue = Mapping[str, Kind]
Rebuild = Callable[[Mapping[str, tuple[str, ...]]], Sequence[Rule]]
"""Builds the rules anew with lists of a test in place of the operator's."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one test went. `problems` is empty where it passed; `explained` says of each record what the rule made of it."""

    rule: Rule
    case: Case
    problems: tuple[str, ...] = ()
    explained: tuple[tuple[Record, Finding], ...] = ()

    @property
    def is_passed(self) -> bool:
        """Whether all was as expected."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class Bench:
    """What tests are run with: all rules, since one may feed on others."""

    rules: Sequence[Rule]
    simulate: Simulate
    catalogue: Catalogue
    lists: Lists
    rebuild: Rebuild

    def run(self, rule: Rule) -> Iterator[Verdict]:
        """Run every test of a rule, in their order."""
        for case in rule.tests:
            yield self._run_case(rule, case)

    def _run_case(self, rule: Rule, case: Case) -> Verdict:
        rules, lists = self.rules, self.lists
        if case.lists is not None:
            rules, lists = self.rebuild(case.lists), Lists({**self.lists.values, **case.lists})
            rule = next((each for each in rules if each.name.id == rule.name.id), rule)
        records = make_records(case, self.catalogue)
        outcome = play(rule, case, rules, records, self.simulate)
        alerts = [alert for alert in outcome.alerts if alert.rule.id == rule.name.id]
        problems = tuple(judge(case.expect, alerts, start_of(case)))
        problems += tuple(f"{failure.what}" for failure in outcome.failures if failure.rule.id == rule.name.id)
        if not problems:
            return Verdict(rule, case)
        explained = tuple((record, explain(rule, record, lists)) for record in records[:EXPLAINED])
        return Verdict(rule, case, problems, explained)


def play(
    rule: Rule, case: Case, rules: Sequence[Rule], records: Sequence[Record], simulate: Simulate
) -> SimulationResult:
    """Run a rule, whatever its mode, over the records of one of its tests; `rules` are all, since one may feed on others."""
    start = start_of(case)
    if rule.correlation is None:
        rules = [rule]  # most rules have no part in each other's alerts, and are tested alone for speed
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
    """Say what a rule's tests lack: at least so many that expect an alert, and as many that expect nothing; "" for none.

    A rule that only feeds others needs none.
    """
    if rule.is_silent:
        return ""
    silent = sum(case.expect.is_nothing for case in rule.tests)
    counts = {"alert": len(rule.tests) - silent, "nothing": silent}
    lacking = [f"expect: {word}" for word, count in counts.items() if count < least]
    return f"needs at least {least} test with {' and '.join(lacking)}" if lacking else ""


def start_of(case: Case) -> datetime:
    """Give the instant that durations of a test count from: the first time it names, else one of ours."""
    times = [event.at for event in case.events if isinstance(event.at, datetime)]
    return min(times, default=START)


def make_records(case: Case, catalogue: Catalogue) -> list[Record]:
    """Make the records of a test, in the order of its events; each has its own key, alike as they may be."""
    start = start_of(case)
    records: list[Record] = []
    for event in case.events:
        for number in range(event.repeat):
            at = (_at(event.at, start) or start) + number * event.every
            records.append(_record(event, at, _at(event.seen_at, start), len(records), catalogue))
    return records


def judge(expect: Expectation, alerts: Sequence[Alert], start: datetime) -> Iterator[str]:
    """Say what differs from what is expected; nothing where all is well."""
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
        if at != _at(moment, start):
            wanted = _at(moment, start)
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
        late_by=seen - at if seen - at > OVERLAP else None,
    )


def _entity(fields: Mapping[str, Any], name: str) -> Entity:
    """Read `cluster.id` and `cluster.name`; a bare `cluster` is its name, unless it looks like an id."""
    bare = _text(fields.get(name))
    is_id = bare is not None and bool(_UUID.fullmatch(bare))
    told_id = fields.get(f"{name}.id", fields.get("clusterId") if name == "cluster" else None)
    return Entity(
        _text(told_id) or (bare if is_id else None), _text(fields.get(f"{name}.name")) or (None if is_id else bare)
    )


def _raw(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Build the raw object from the `raw.…` fields; a path whose way is taken by a value keeps its dots."""
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
    if value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


def _at(moment: Moment | None, start: datetime) -> datetime | None:
    return start + moment if isinstance(moment, timedelta) else moment


def _count(count: int) -> str:
    return "nothing" if count == 0 else "1 alert" if count == 1 else f"{count} alerts"


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
    """Compare two values of a group."""
    return one == other or (one is not None and other is not None and canonical(one) == canonical(other))
