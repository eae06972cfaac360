"""The correlations of a simulated service, and their oracle: a naive reading of the specification over the stored records."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select

from actionwatch.base.clock import from_micros
from actionwatch.base.model import Group, Hit
from actionwatch.rules.model import Correlation, CorrelationType
from actionwatch.store import marks, positions
from actionwatch.store.tables import ALERT, ALERT_RECORD, CORRELATED_ALERT, RECORD, TOUCHED_GROUP
from tests.simulation.network import UPSTREAMS
from tests.unit.rules.correlation import oracle
from tests.unit.rules.correlation.kit import loaded

_RULE = """\
title: Rule {name}
id: {number:08}-0000-4000-8000-000000000001
name: {name}
status: stable
level: high
logsource: {{product: instaclustr, service: user_actions}}
detection: {{{detection}}}
correlation: {{{block}}}
"""
_BACKUP, _CREATED, _DELETED = (f"{{actionKind: {kind}}}" for kind in ("BACKUP", "CREATE_CLUSTER", "DELETE_CLUSTER"))
_BY_USER = "group-by: [userName]"
_TEXTS = {
    "burst": (
        "s: {actionKind: INVITE_USER}, condition: s",
        f"type: event_count, {_BY_USER}, timespan: 10m, condition: {{gte: 2}}",
    ),
    "kinds": (
        "s: {actionKind: [BACKUP, CREATE_CLUSTER, INVITE_USER, DELETE_KAFKA_TOPIC]}, condition: s",
        f"type: value_count, {_BY_USER}, timespan: 10m, condition: {{field: actionKind, gte: 3}}",
    ),
    "together": (
        f"backup: {_BACKUP}, topic: {{actionKind: DELETE_KAFKA_TOPIC}}",
        f"type: temporal, rules: [backup, topic], {_BY_USER}, timespan: 8m",
    ),
    "replaced": (
        f"made: {_CREATED}, gone: {_DELETED}",
        f"type: temporal_ordered, rules: [made, gone], {_BY_USER}, timespan: 30m",
    ),
    "kept": (
        f"made: {_CREATED}, gone: {_DELETED}",
        f"type: temporal_ordered, rules: [made, gone], {_BY_USER}, timespan: 15m, condition: made and not gone",
    ),
    "missing": (
        f"s: {_BACKUP}, condition: s",
        f"type: event_count, {_BY_USER}, timespan: 35m, condition: {{lt: 1}}, expect-groups: {{userName: [PEOPLE]}}",
    ),
    "kept_in_source": (
        f"made: {_CREATED}, gone: {_DELETED}",
        "type: temporal_ordered, rules: [made, gone], group-by: [source, userName], timespan: 15m,"
        " condition: made and not gone",
    ),
    "kept_by_customer": (
        f"backup: {_BACKUP}, invited: {{actionKind: INVITE_USER}}",
        "type: temporal, rules: [backup, invited], group-by: [userName, source.labels.customer], timespan: 8m,"
        " condition: backup and not invited",
    ),
    "silent": (
        "s: {actionKind: [BACKUP, CREATE_CLUSTER]}, condition: s",
        "type: event_count, group-by: [source], timespan: 25m, condition: {lt: 1}, expect-groups: {source: [SOURCES]}",
    ),
    "new_in_source": (
        f"s: {{actionKind: DELETE_KAFKA_TOPIC}}, known: {_BACKUP}, condition: s",
        "type: new_term, group-by: [source], fields: [userName], history: 20m, baseline: known",
    ),
}
CORRELATIONS = tuple(_TEXTS)
"""The name of each rule."""
USERS = ("eve", "bob")
_STEPS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "burst": (("INVITE_USER",),),
    "kinds": (("BACKUP", "CREATE_CLUSTER", "INVITE_USER", "DELETE_KAFKA_TOPIC"),),
    "together": (("BACKUP",), ("DELETE_KAFKA_TOPIC",)),
    "replaced": (("CREATE_CLUSTER",), ("DELETE_CLUSTER",)),
    "kept": (("CREATE_CLUSTER",), ("DELETE_CLUSTER",)),
    "missing": (("BACKUP",),),
    "kept_in_source": (("CREATE_CLUSTER",), ("DELETE_CLUSTER",)),
    "kept_by_customer": (("BACKUP",), ("INVITE_USER",)),
    "silent": (("BACKUP", "CREATE_CLUSTER"),),
    "new_in_source": (("DELETE_KAFKA_TOPIC",), ("BACKUP",)),
}
"""The kinds that each step of a rule counts."""
_LEARNING = ("new_in_source",)
"""The rules that fire only when what they learn from is verified."""
_WAITING = ("kept", "missing", "kept_in_source", "kept_by_customer", "silent", *_LEARNING)
"""The rules that fire only when it is verified that something did not happen, or that all of it is known."""
ABSENCES = ("missing", "silent")
"""The rules whose alerts last until something happens."""


def rule_text(name: str, people: Collection[str]) -> str:
    """Return the file of a rule. `missing` expects these people, and `silent` each source under its first name."""
    detection, block = _TEXTS[name]
    block = block.replace("PEOPLE", ", ".join(people)).replace("SOURCES", ", ".join(UPSTREAMS))
    return _RULE.format(name=name, number=CORRELATIONS.index(name), detection=detection, block=block)


_Place = tuple[Group, str, datetime, datetime]
"""An alert of one rule: its group, its origin, its first time, and when it fired."""


@dataclass(frozen=True)
class Sources:
    """The sources of the last configuration, each with its customer, and whether there were never others."""

    customers: Mapping[str, str | None]
    are_steady: bool


@dataclass(frozen=True)
class _Seen:
    """An action, however often it is stored, and the source that read it first."""

    key: str
    source: str
    kind: str
    user: str | None
    at: datetime
    may_alert: bool


@dataclass(frozen=True)
class _Progress:
    """Since when all of some sources are read, up to when they are proved, and from when on what is missing may alert."""

    begin: datetime
    verified: datetime
    alerts_from: datetime


@dataclass(frozen=True)
class _Expected:
    keys: frozenset[str]
    is_verified: bool
    must_open: bool
    is_over: bool
    """Whether what was missing has come back."""


def differences(
    connection: Connection,
    running: Collection[str],
    people: Collection[str],
    always: Collection[str],
    sources: Sources,
) -> Iterator[str]:
    """Yield how the alerts of correlations differ from what the stored records mean.

    `running` are the correlations of the last configuration, and `people` whom it expects. The `always` ones have run since
    the beginning, so that each record that is no backlog may open an alert. A label belongs to the sources of the
    configuration: a group of records of others has the one with which they were matched, which is not known here. What was
    verified of other sources than now stays.
    """
    known = _Marks(connection)
    seen = list(_records(connection))
    may_alert = {each.key for each in seen if each.may_alert}
    alerts = _Alerts(connection)
    for name in running:
        if name == "kept_by_customer" and not sources.are_steady:
            continue
        rule = correlation(name, tuple(people))
        places, unjudged = dict[_Place, _Expected](), set[Group]()
        for group, its in _grouped(name, rule, seen, sources).items():
            progress = _progress(rule, group, sources, known)
            if progress is None:
                unjudged.add(group)
            else:
                places |= _expected(name, rule, group, its, may_alert, progress)
        found = {
            place: row
            for place, row in alerts.current[rule.name.id].items()
            if place[0] not in unjudged
            # what was missing of others is over
            and (rule.expected is None or place[0] in rule.expected or row.is_open)
        }
        if rule.is_absence and not sources.are_steady:  # what was missing since another beginning stays
            places = {place: its for place, its in places.items() if place[1]}
            found = {place: row for place, row in found.items() if place[1]}
        early = {place for place, its in places.items() if not its.is_verified}
        wanted = {place: its for place, its in places.items() if place not in early}
        beside = found.keys() - wanted.keys() - (set() if sources.are_steady else early)
        if beside or not wanted.keys() <= found.keys():
            yield f"{name} misses {wanted.keys() - found.keys()}, and finds {beside} beside"
        for place, expected in wanted.items():
            row = found.get(place)
            if row is None or (name not in always and not row.is_reported):
                continue
            if expected.must_open and row.alert_id not in alerts.held:
                yield f"lost: {name} has not opened the alert of {place}"
            elif row.is_reported and not expected.keys <= alerts.held.get(row.alert_id, set()):
                yield f"lost: the alert of {name} {place} is without {expected.keys - alerts.held[row.alert_id]}"
            if rule.is_absence and row.is_reported and row.is_open == expected.is_over:
                yield f"{name} {place} is {'open' if row.is_open else 'over'}"
    if unfounded := alerts.held.keys() - alerts.reported - alerts.plain:
        yield f"the alerts {unfounded} are of no correlation"


def is_level(connection: Connection) -> bool:
    """Return whether correlations are evaluated for all that is stored."""
    newest = connection.execute(select(func.max(RECORD.c.id))).scalar() or 0
    return positions.read_both(connection) == (newest, newest) and not connection.execute(select(TOUCHED_GROUP)).first()


def _records(connection: Connection) -> Iterator[_Seen]:
    """Yield each action once. It may alert if any of its rows may: then the first of these counts."""
    columns = [
        RECORD.c[name] for name in ("record_key", "source", "action_kind", "user_name", "occurred_at", "is_backlog")
    ]
    rows: dict[str, list[Any]] = defaultdict(list)
    for row in connection.execute(select(*columns).order_by(RECORD.c.id)):
        rows[row.record_key].append(row)
    for key, some in rows.items():
        first = next((row for row in some if not row.is_backlog), some[0])
        yield _Seen(key, first.source, first.action_kind, first.user_name, first.occurred_at, not first.is_backlog)


def _grouped(name: str, rule: Correlation, seen: Iterable[_Seen], sources: Sources) -> dict[Group, list[Hit]]:
    """Return the hits of each group."""
    groups: dict[Group, list[Hit]] = {group: [] for group in rule.expected or ()}
    for each in seen:
        values = {
            "userName": each.user,
            "source": each.source,
            "source.labels.customer": sources.customers.get(each.source),
        }
        group = tuple(values[field] for field in rule.group_fields)
        for step, kinds in enumerate(_STEPS[name]):
            if each.kind in kinds and each.user is not None and (rule.expected is None or group in groups):
                groups.setdefault(group, []).append(Hit(each.at, step, each.key, (), each.kind))
    return groups


class _Marks:
    """The marks of the sources that were polled. Groups by `source` of one that was renamed begin with its name."""

    def __init__(self, connection: Connection) -> None:
        self.of_sources = marks.read_all(connection)
        renamed = marks.read_renamed(connection)
        self.of_names = {
            name: replace(its, begins_at=max(its.begins_at, from_micros(renamed[name]))) if name in renamed else its
            for name, its in self.of_sources.items()
        }


def _progress(rule: Correlation, group: Group, sources: Sources, known: _Marks) -> _Progress | None:
    """Return the progress of the sources for which a group waits; None if it cannot be judged."""
    values = dict(zip(rule.group_fields, group, strict=True))
    names = list(sources.customers)
    if "source" in values:
        if values["source"] not in names and rule.type is CorrelationType.NEW_TERM:
            return None  # what it learned with the beginning of its source stays
        names = [name for name in names if name == values["source"]]
    elif "source.labels.customer" in values:
        names = [name for name in names if sources.customers[name] == values["source.labels.customer"]]
    its_marks = known.of_names if "source" in values and names else known.of_sources
    names = names or list(sources.customers)  # those of a source that is no longer read wait for all
    if any(name not in its_marks for name in names):
        return None
    its = [its_marks[name] for name in names]
    return _Progress(
        max(each.begins_at for each in its),
        min(each.proved_through for each in its),
        max(each.alerts_from for each in its),
    )


def _expected(
    name: str, rule: Correlation, group: Group, hits: Sequence[Hit], may_alert: Set[str], progress: _Progress
) -> Iterator[tuple[_Place, _Expected]]:
    for origin, first_at, fired_at, its in oracle.expected(rule, hits, progress.begin):
        keys = frozenset(key for key, _ in its)
        is_over = rule.is_absence and bool(its)
        is_known = not is_over and progress.verified >= progress.alerts_from
        judged_at = progress.begin + rule.history if name in _LEARNING else fired_at
        yield (
            (group, origin, first_at, fired_at),
            _Expected(
                frozenset() if rule.is_absence else keys,
                name not in _WAITING or judged_at <= progress.verified,
                is_known if rule.is_absence else bool(keys & may_alert),
                is_over,
            ),
        )


class _Alerts:
    """The alerts of correlations in the store."""

    def __init__(self, connection: Connection) -> None:
        self.current: dict[str, dict[_Place, Any]] = defaultdict(dict)
        """The ones that each correlation finds now."""
        self.reported: set[str] = set()
        self.held: dict[str, set[str]] = {}
        """The records of each alert that people see."""
        self.plain: set[str] = set()
        for row in connection.execute(select(CORRELATED_ALERT)).all():
            known = _Row(row.reported_as or row.id, row.is_reported, row.is_open)
            if row.is_reported:
                self.reported.add(known.alert_id)
            if row.is_current and row.is_noted and not row.is_quiet:
                self.current[row.rule_id][row.group_values, row.origin, row.first_at, row.fired_at] = known
        for alert, name, status in connection.execute(select(ALERT.c.id, ALERT.c.rule_name, ALERT.c.status)).all():
            self.held[alert] = set()
            if name not in CORRELATIONS or (name in ABSENCES and status == "resolved"):  # no longer expected
                self.plain.add(alert)
        joined = select(ALERT_RECORD.c.alert_id, RECORD.c.record_key).join(
            RECORD, RECORD.c.id == ALERT_RECORD.c.record_id
        )
        for alert, key in connection.execute(joined).all():
            self.held[alert].add(key)


@dataclass(frozen=True)
class _Row:
    alert_id: str
    is_reported: bool
    is_open: bool


@functools.cache
def correlation(name: str, people: tuple[str, ...]) -> Correlation:
    """Return a rule as the service loads it."""
    (rule,) = loaded(rule_text(name, people))
    assert rule.correlation is not None
    return rule.correlation
