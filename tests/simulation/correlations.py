"""The correlations of a simulated service, and their oracle: a naive reading of the specification over the stored records."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from actionwatch.base.model import Hit
from actionwatch.rules.model import Correlation
from actionwatch.store import marks
from actionwatch.store.tables import ALERT, ALERT_RECORD, CORRELATED_ALERT, RECORD
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
correlation: {{{block}, group-by: [userName]}}
"""
_BACKUP, _CREATED, _DELETED = (f"{{actionKind: {kind}}}" for kind in ("BACKUP", "CREATE_CLUSTER", "DELETE_CLUSTER"))
_TEXTS = {
    "burst": ("s: {actionKind: INVITE_USER}, condition: s", "type: event_count, timespan: 10m, condition: {gte: 2}"),
    "kinds": (
        "s: {actionKind: [BACKUP, CREATE_CLUSTER, INVITE_USER, DELETE_KAFKA_TOPIC]}, condition: s",
        "type: value_count, timespan: 10m, condition: {field: actionKind, gte: 3}",
    ),
    "together": (
        f"backup: {_BACKUP}, topic: {{actionKind: DELETE_KAFKA_TOPIC}}",
        "type: temporal, rules: [backup, topic], timespan: 8m",
    ),
    "replaced": (
        f"made: {_CREATED}, gone: {_DELETED}",
        "type: temporal_ordered, rules: [made, gone], timespan: 30m",
    ),
    "kept": (
        f"made: {_CREATED}, gone: {_DELETED}",
        "type: temporal_ordered, rules: [made, gone], timespan: 15m, condition: made and not gone",
    ),
    "missing": (
        f"s: {_BACKUP}, condition: s",
        "type: event_count, timespan: 35m, condition: {lt: 1}, expect-groups: {userName: [PEOPLE]}",
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
}
"""The kinds that each step of a rule counts."""
_WAITING = ("kept", "missing")
"""The rules that fire only when it is verified that something did not happen."""


def rule_text(name: str, people: Collection[str]) -> str:
    """Return the file of a rule. `missing` expects these people."""
    detection, block = _TEXTS[name]
    block = block.replace("PEOPLE", ", ".join(people))
    return _RULE.format(name=name, number=CORRELATIONS.index(name), detection=detection, block=block)


_Place = tuple[str, str, datetime, datetime]
"""An alert of one rule: its user, its origin, its first time, and when it fired."""


@dataclass(frozen=True)
class _Seen:
    """An action, however often it is stored."""

    key: str
    kind: str
    user: str | None
    at: datetime
    may_alert: bool


@dataclass(frozen=True)
class _Expected:
    keys: frozenset[str]
    must_open: bool
    is_over: bool
    """Whether what was missing has come back."""


def differences(
    connection: Connection,
    running: Collection[str],
    people: Collection[str],
    always: Collection[str],
    sources: Collection[str],
) -> Iterator[str]:
    """Yield how the alerts of correlations differ from what the stored records mean.

    `running` are the correlations of the last configuration, `people` whom it expects, and `sources` its sources. The `always`
    ones have run since the beginning, so that each record that is no backlog may open an alert.
    """
    known = marks.read_all(connection)
    if not running or any(name not in known for name in sources):
        return
    its = [known[name] for name in sources]
    begin, verified = max(each.begins_at for each in its), min(each.proved_through for each in its)
    alerts_from = max(each.alerts_from for each in its)
    records = list(_records(connection))
    alerts = _Alerts(connection)
    for name in running:
        rule = correlation(name, tuple(people))
        wanted = dict(_expected(name, rule, records, begin, verified, alerts_from))
        found = {
            place: row
            for place, row in alerts.current[rule.name.id].items()
            if rule.expected is None
            or (place[0],) in rule.expected
            or row.is_open  # what was missing of others is over
        }
        if found.keys() != wanted.keys():
            yield f"{name} misses {wanted.keys() - found.keys()}, and finds {found.keys() - wanted.keys()} beside"
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


def _records(connection: Connection) -> Iterator[_Seen]:
    """Yield each action once. It may alert if any of its rows may."""
    columns = RECORD.c.record_key, RECORD.c.action_kind, RECORD.c.user_name, RECORD.c.occurred_at, RECORD.c.is_backlog
    rows: dict[str, list[Any]] = defaultdict(list)
    for row in connection.execute(select(*columns).order_by(RECORD.c.id)):
        rows[row.record_key].append(row)
    for key, some in rows.items():
        first = next((row for row in some if not row.is_backlog), some[0])
        yield _Seen(key, first.action_kind, first.user_name, first.occurred_at, not first.is_backlog)


def _expected(
    name: str, rule: Correlation, records: Iterable[_Seen], begin: datetime, verified: datetime, alerts_from: datetime
) -> Iterator[tuple[_Place, _Expected]]:
    groups: dict[str, list[Hit]] = {group[0]: [] for group in rule.expected or () if group[0] is not None}
    may_alert = {each.key for each in records if each.may_alert}
    for each in records:
        for step, kinds in enumerate(_STEPS[name]):
            if each.kind in kinds and each.user is not None and (rule.expected is None or each.user in groups):
                groups.setdefault(each.user, []).append(Hit(each.at, step, each.key, (), each.kind))
    for user, hits in groups.items():
        for origin, first_at, fired_at, its in oracle.expected(rule, hits, begin):
            if name in _WAITING and fired_at > verified:
                continue
            keys = frozenset(key for key, _ in its)
            is_over = rule.is_absence and bool(its)
            must_open = not is_over and verified >= alerts_from if rule.is_absence else bool(keys & may_alert)
            yield (
                (user, origin, first_at, fired_at),
                _Expected(frozenset() if rule.is_absence else keys, must_open, is_over),
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
            if row.is_current and row.is_noted:
                self.current[row.rule_id][row.group_values[0], row.origin, row.first_at, row.fired_at] = known
        for alert, name, status in connection.execute(select(ALERT.c.id, ALERT.c.rule_name, ALERT.c.status)).all():
            self.held[alert] = set()
            if name not in CORRELATIONS or (name == "missing" and status == "resolved"):  # no longer expected
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
