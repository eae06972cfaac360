"""The alerts that correlations found, and how far each correlation was fed."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, and_, bindparam, func, select

from actionwatch.base.clock import from_micros, to_micros
from actionwatch.base.model import CorrelatedAlert, Group
from actionwatch.store.column_types import DAMAGES, Texts, as_stored, damaged
from actionwatch.store.statements import bulk_join, bulk_read, portions, upsert
from actionwatch.store.tables import (
    ALERT_RECORD,
    CORRELATED_ALERT,
    CORRELATION_VERSION,
    RECORD,
)

_TABLE = CORRELATED_ALERT.c
_SAME = (
    "id",
    "rule_id",
    "origin",
    "first_at",
    "fired_at",
    "until",
    "is_reported",
    "is_open",
    "is_current",
    "reported_as",
    "resolved_at",
    "has_waited",
    "is_quiet",
    "back_at",
    "is_judged",
    "is_noted",
    "pending_at",
)
_TIMES = ("first_at", "fired_at", "until", "resolved_at", "back_at", "pending_at")
_FLAGS = ("is_reported", "is_open", "is_current", "has_waited", "is_quiet", "is_judged", "is_noted")
_NAMES = (*_SAME, "group_values", "firing_at", "firing_step", "firing_key")
_ALERTS = select(*as_stored([_TABLE[name] for name in _NAMES]))
_IS_FROM = """correlated_alert.group_id = given.column1 AND correlated_alert.fired_at >= coalesce((
SELECT max(earlier.fired_at) FROM correlated_alert AS earlier
WHERE earlier.group_id = given.column1 AND earlier.is_current AND earlier.fired_at < given.column2), given.column2)"""
_OF_GROUP = _TABLE.group_id == bindparam("group")
_AT = bindparam("at", type_=_TABLE.fired_at.type)
_LAST_BEFORE = (
    select(func.max(_TABLE.fired_at)).where(_OF_GROUP, _TABLE.is_current, _TABLE.fired_at < _AT).scalar_subquery()
)
_FROM = _ALERTS.where(_OF_GROUP, _TABLE.fired_at >= func.coalesce(_LAST_BEFORE, _AT))
_PENDING = (
    select(_TABLE.id, _TABLE.rule_id, _TABLE.group_values, _TABLE.pending_at)
    .where(_TABLE.pending_at <= bindparam("verified", type_=_TABLE.pending_at.type))
    .order_by(_TABLE.pending_at, _TABLE.id)
)
_CURRENT = select(_TABLE.id, _TABLE.group_values, _TABLE.pending_at.is_not(None)).where(
    _TABLE.rule_id == bindparam("rule"), _TABLE.is_current
)


@dataclass(frozen=True, slots=True)
class CorrelationVersion:
    """The progress of a rule; see the table."""

    version: str
    floor: int
    number: int
    digest: str | None = None
    fed_from: datetime | None = None
    fed_through: int | None = None
    begins_at: datetime | None = None
    alerts_from: datetime | None = None


class Pending(NamedTuple):
    """An alert that must be looked at again once a time is verified for its group."""

    id: str
    rule_id: str
    group: Group
    at: datetime


# -- alerts ------------------------------------------------------------------------------------------------------------


def read_from(connection: Connection, group_id: str, at: datetime) -> list[CorrelatedAlert]:
    """Read the alerts that fired in a group from a time on, and the last one before that is current."""
    return _read(connection, _FROM, group=group_id, at=at)


def read_since(connection: Connection, rule_id: str, since: datetime) -> list[CorrelatedAlert]:
    """Read the current alerts of a rule that are open or end after a time."""
    its = _ALERTS.where(_TABLE.rule_id == rule_id, _TABLE.is_current)
    # Two statements, because one index serves one condition.
    statements = its.where(_TABLE.is_open), its.where(_TABLE.until >= since, ~_TABLE.is_open)
    return [alert for each in statements for alert in _read(connection, each)]


def read_all_from(connection: Connection, places: Collection[tuple[str, datetime]]) -> Iterator[CorrelatedAlert]:
    """Yield what `read_from` returns for each of many groups, in any order."""
    given = [(group_id, to_micros(at)) for group_id, at in places]
    return map(_alert, bulk_join(connection, CORRELATED_ALERT, _NAMES, ("group_id", "fired_at"), given, _IS_FROM))


def read_all_of(connection: Connection, ids: Collection[str]) -> list[CorrelatedAlert]:
    """Read those of the alerts that are stored."""
    return [each for some in portions(ids) for each in _read(connection, _ALERTS.where(_TABLE.id.in_(some)))]


def read_pending(connection: Connection, verified: datetime) -> Iterator[Pending]:
    """Yield the alerts that must be looked at once a time is verified, by the time for which they wait."""
    return (Pending(*row) for row in connection.execute(_PENDING, {"verified": verified}))


def read_current(connection: Connection, rule_id: str) -> Iterator[tuple[str, Group, bool]]:
    """Yield the current alerts of a rule: the id, the group, and whether it waits for a time."""
    return ((name, group, bool(waits)) for name, group, waits in connection.execute(_CURRENT, {"rule": rule_id}))


def read_open(connection: Connection) -> list[CorrelatedAlert]:
    """Read the alerts of all rules that report something that is still missing."""
    return _read(connection, _ALERTS.where(_TABLE.is_open).order_by(_TABLE.first_at, _TABLE.id))


def write(connection: Connection, alerts: Iterable[tuple[CorrelatedAlert, str]]) -> None:
    """Store alerts, each with the id of its group."""
    upsert(connection, CORRELATED_ALERT, *(_row(*each) for each in alerts))


def delete(connection: Connection, ids: Collection[str]) -> None:
    """Delete alerts."""
    for some in portions(ids):
        connection.execute(CORRELATED_ALERT.delete().where(_TABLE.id.in_(some)))


def retire(connection: Connection, ids: Collection[str]) -> None:
    """Note that alerts are no longer current: nothing waits for them."""
    for some in portions(ids):
        theirs = CORRELATED_ALERT.update().where(_TABLE.id.in_(some))
        connection.execute(theirs.values(is_current=False, pending_at=None))


def delete_older(connection: Connection, before: datetime, limit: int) -> int:
    """Delete at most `limit` alerts that ended before a time. Return how many."""
    ended = and_(_TABLE.until < before, ~_TABLE.is_open, _TABLE.pending_at.is_(None))
    ids = connection.execute(select(_TABLE.id).where(ended).order_by(_TABLE.until).limit(limit)).scalars().all()
    return connection.execute(CORRELATED_ALERT.delete().where(_TABLE.id.in_(ids))).rowcount


def forget_pending(connection: Connection, rule_ids: Collection[str]) -> None:
    """Let alerts of all other rules wait for nothing: they do not run."""
    others = CORRELATED_ALERT.update().where(_TABLE.pending_at.is_not(None), _TABLE.rule_id.not_in(rule_ids))
    connection.execute(others.values(pending_at=None))


def read_held_records(connection: Connection, keys: Collection[str]) -> set[tuple[str, str]]:
    """Return which alerts hold any of these records, as (id of the alert, key of the record)."""
    read = bulk_read(connection, RECORD, ("id", "record_key"), "record_key", keys)
    by_id: dict[int, str] = {row[0]: row[1] for row in read}
    held = bulk_read(connection, ALERT_RECORD, ("alert_id", "record_id"), "record_id", by_id)
    return {(alert_id, by_id[record_id]) for alert_id, record_id in held}


# -- versions ----------------------------------------------------------------------------------------------------------


def read_versions(connection: Connection) -> dict[str, CorrelationVersion]:
    """Read how far each rule was fed, by id."""
    rows = connection.execute(select(CORRELATION_VERSION)).mappings()
    return {
        row["rule_id"]: CorrelationVersion(**{name: value for name, value in row.items() if name != "rule_id"})
        for row in rows
    }


def write_versions(connection: Connection, versions: Mapping[str, CorrelationVersion]) -> None:
    """Store how far rules were fed, by id."""
    rows = [{"rule_id": rule_id, **asdict(version)} for rule_id, version in versions.items()]
    upsert(connection, CORRELATION_VERSION, *rows)


def forget_versions(connection: Connection, kept: Collection[str]) -> None:
    """Delete the versions of all other rules: a rule that returns starts as new."""
    connection.execute(CORRELATION_VERSION.delete().where(CORRELATION_VERSION.c.rule_id.not_in(kept)))


# -- rows --------------------------------------------------------------------------------------------------------------


def _read(connection: Connection, statement: Select[Any], **values: Any) -> list[CorrelatedAlert]:
    return list(map(_alert, connection.execute(statement, values)))


def _alert(row: Sequence[Any]) -> CorrelatedAlert:
    its = dict(zip(_SAME, row, strict=False))
    group, at, step, key = row[len(_SAME) :]
    try:
        its |= {name: from_micros(its[name]) for name in _TIMES if its[name] is not None}
        its |= {name: bool(its[name]) for name in _FLAGS}
        firing = None if at is None else (from_micros(at), step, key)
        alert = CorrelatedAlert(group=Texts.restore(group), firing=firing, **its)
    except DAMAGES as exc:
        raise damaged(exc) from exc
    alert.stored = alert.values()
    return alert


def _row(alert: CorrelatedAlert, group_id: str) -> dict[str, Any]:
    at, step, key = alert.firing or (None, None, None)
    return {
        **{name: getattr(alert, name) for name in _SAME},
        "group_values": alert.group,
        "firing_at": at,
        "firing_step": step,
        "firing_key": key,
        "group_id": group_id,
    }
