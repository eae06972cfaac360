"""The alerts that correlations found, and the version of each that runs.

A start rebuilds the state of the correlations from these and the records.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from operator import attrgetter

from sqlalchemy import Connection, func, select

from actionwatch.base.model import CorrelatedAlert
from actionwatch.store.statements import portions, upsert
from actionwatch.store.tables import ALERT_RECORD, CORRELATED_ALERT, CORRELATION_VERSION, RECORD

_TABLE = CORRELATED_ALERT.c
_COLUMNS = {
    "group" if column.name == "group_values" else column.name: column for column in _TABLE if column.name != "epoch"
}
_ALERTS = select(*(column.label(name) for name, column in _COLUMNS.items())).order_by(_TABLE.first_at, _TABLE.id)


@dataclass(frozen=True, slots=True)
class CorrelationVersion:
    """A version of a rule; `floor` is the newest record from before it ran."""

    version: str
    floor: int


def read(connection: Connection, rule_id: str, since: datetime | None) -> list[CorrelatedAlert]:
    """Read the alerts of a rule that are open or end after a time; None reads all."""
    its = _ALERTS.where(_TABLE.rule_id == rule_id)
    # Two statements, because one index serves one condition.
    statements = (
        [its] if since is None else [its.where(_TABLE.is_open), its.where(_TABLE.until >= since, ~_TABLE.is_open)]
    )
    found = [CorrelatedAlert(**row) for each in statements for row in connection.execute(each).mappings()]
    return sorted(found, key=attrgetter("first_at", "id"))


def read_open(connection: Connection) -> list[CorrelatedAlert]:
    """Read the alerts of all rules that report something that is still missing."""
    statement = _ALERTS.where(_TABLE.is_open)
    return [CorrelatedAlert(**row) for row in connection.execute(statement).mappings()]


def delete(connection: Connection, ids: Collection[str]) -> None:
    """Delete alerts."""
    for some in portions(ids):
        connection.execute(CORRELATED_ALERT.delete().where(_TABLE.id.in_(some)))


def read_keys(connection: Connection, alert_ids: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the records of alerts, as (alert id, record key)."""
    for some in portions(alert_ids):
        statement = (
            select(ALERT_RECORD.c.alert_id, RECORD.c.record_key)
            .join(RECORD, RECORD.c.id == ALERT_RECORD.c.record_id)
            .where(ALERT_RECORD.c.alert_id.in_(some))
        )
        for row in connection.execute(statement):
            yield row.alert_id, row.record_key


def read_all_of(connection: Connection, ids: Collection[str]) -> list[CorrelatedAlert]:
    """Read those of the alerts that are stored."""
    found = (connection.execute(_ALERTS.where(_TABLE.id.in_(some))).mappings() for some in portions(ids))
    return [CorrelatedAlert(**row) for rows in found for row in rows]


def read_newer(connection: Connection, epoch: int) -> list[CorrelatedAlert]:
    """Read the alerts that were stored after an epoch."""
    return [CorrelatedAlert(**row) for row in connection.execute(_ALERTS.where(_TABLE.epoch > epoch)).mappings()]


def newest_epoch(connection: Connection) -> int:
    """Return the newest epoch of any alert; 0 without alerts."""
    return connection.execute(select(func.max(_TABLE.epoch))).scalar() or 0


def write(connection: Connection, changed: Iterable[CorrelatedAlert], epoch: int) -> None:
    """Store alerts in an epoch."""
    rows = [
        {**{column.name: getattr(alert, name) for name, column in _COLUMNS.items()}, "epoch": epoch}
        for alert in changed
    ]
    upsert(connection, CORRELATED_ALERT, *rows)


def read_versions(connection: Connection) -> dict[str, CorrelationVersion]:
    """Read the last version of each rule by id."""
    rows = connection.execute(select(CORRELATION_VERSION))
    return {row.rule_id: CorrelationVersion(row.version, row.floor) for row in rows}


def write_version(connection: Connection, rule_id: str, version: CorrelationVersion) -> None:
    """Store the version of a rule that runs."""
    upsert(connection, CORRELATION_VERSION, {"rule_id": rule_id, **asdict(version)})


def delete_older(connection: Connection, before: datetime, limit: int) -> int:
    """Delete at most `limit` alerts that ended before a time. Return how many."""
    doomed = select(_TABLE.id).where(_TABLE.until < before, ~_TABLE.is_open).order_by(_TABLE.until).limit(limit)
    ids = connection.execute(doomed).scalars().all()
    return connection.execute(CORRELATED_ALERT.delete().where(_TABLE.id.in_(ids))).rowcount


def forget_versions(connection: Connection, kept: Collection[str]) -> None:
    """Delete the versions of all other rules: a rule that returns starts as new."""
    connection.execute(CORRELATION_VERSION.delete().where(CORRELATION_VERSION.c.rule_id.not_in(kept)))
