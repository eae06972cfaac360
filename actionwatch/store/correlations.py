"""The alerts that correlations found, and which version of each runs: their state is rebuilt from this and the records."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, RowMapping, or_, select

from actionwatch.base.model import CorrelatedAlert
from actionwatch.store.database import upsert
from actionwatch.store.tables import CORRELATED, CORRELATION, JOINED, RECORD

CHUNK = 500  # values in one IN clause

_FIELDS = tuple(column.name for column in CORRELATED.columns if column.name != "group_values")
_ALERTS = select(CORRELATED).order_by(CORRELATED.c.first_at, CORRELATED.c.id)


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a rule; `floor` is the newest record from before it ran."""

    version: str
    floor: int


def read(connection: Connection, rule_ids: Collection[str], since: datetime | None) -> list[CorrelatedAlert]:
    """Return the alerts of these rules that reach up to a time or beyond, or are open; all of them for None."""
    found: list[CorrelatedAlert] = []
    names = list(rule_ids)
    for start in range(0, len(names), CHUNK):
        statement = _ALERTS.where(CORRELATED.c.rule_id.in_(names[start : start + CHUNK]))
        if since is not None:
            statement = statement.where(or_(CORRELATED.c.until >= since, CORRELATED.c.is_open))
        found.extend(map(_alert, connection.execute(statement).mappings()))
    return found


def read_open(connection: Connection) -> list[CorrelatedAlert]:
    """Return the alerts of any rule that report something that is still missing."""
    return [_alert(row) for row in connection.execute(_ALERTS.where(CORRELATED.c.is_open)).mappings()]


def delete(connection: Connection, ids: Collection[str]) -> None:
    """Forget what was found."""
    names = list(ids)
    for start in range(0, len(names), CHUNK):
        connection.execute(CORRELATED.delete().where(CORRELATED.c.id.in_(names[start : start + CHUNK])))


def read_keys(connection: Connection, alert_ids: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Give which records alerts hold, as (alert id, record key)."""
    for start in range(0, len(alert_ids), CHUNK):
        statement = (
            select(JOINED.c.alert_id, RECORD.c.record_key)
            .join(RECORD, RECORD.c.id == JOINED.c.record_id)
            .where(JOINED.c.alert_id.in_(alert_ids[start : start + CHUNK]))
        )
        for row in connection.execute(statement):
            yield row.alert_id, row.record_key


def write(connection: Connection, changed: Iterable[CorrelatedAlert]) -> None:
    """Store alerts, replacing what was there."""
    for alert in changed:
        values = {name: getattr(alert, name) for name in _FIELDS}
        upsert(connection, CORRELATED, {**values, "group_values": json.dumps(alert.group)})


def read_versions(connection: Connection) -> dict[str, Version]:
    """Read which version of each rule ran last, by rule id."""
    rows = connection.execute(select(CORRELATION))
    return {row.rule_id: Version(row.version, row.floor) for row in rows}


def write_version(connection: Connection, rule_id: str, version: Version) -> None:
    """Store the version of a rule that runs."""
    values = {"rule_id": rule_id, "version": version.version, "floor": version.floor}
    upsert(connection, CORRELATION, values)


def delete_older(connection: Connection, before: datetime) -> int:
    """Delete what was over before a time; give how many."""
    statement = CORRELATED.delete().where(CORRELATED.c.until < before, ~CORRELATED.c.is_open)
    return connection.execute(statement).rowcount


def forget_versions(connection: Connection, kept: Collection[str]) -> None:
    """Forget which version ran of every rule but these: one that comes back starts from then."""
    for rule_id in read_versions(connection).keys() - set(kept):
        connection.execute(CORRELATION.delete().where(CORRELATION.c.rule_id == rule_id))


def _alert(row: RowMapping) -> CorrelatedAlert:
    return CorrelatedAlert(group=tuple(json.loads(row["group_values"])), **{name: row[name] for name in _FIELDS})
