"""What correlations found, and which version of each runs: from this and the records their state is rebuilt."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import Connection, or_, select

from actionwatch.store.database import upsert
from actionwatch.store.tables import CORRELATED, CORRELATION, JOINED, RECORD

CHUNK = 500  # values in one IN clause


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlated:
    """An alert that a correlation found; `group_values` is JSON."""

    id: str
    rule_id: str
    group_values: str
    origin: str
    first_at: datetime
    fired_at: datetime
    until: datetime
    is_told: bool
    is_open: bool
    is_current: bool
    told_as: str | None
    resolved_at: datetime | None


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a rule; `floor` is the newest record from before it ran."""

    version: str
    floor: int


def read(connection: Connection, rule_ids: Collection[str], since: datetime | None) -> list[Correlated]:
    """Read what these rules found that reaches up to a time or beyond, or stands open; everything for None."""
    found: list[Correlated] = []
    names = list(rule_ids)
    for start in range(0, len(names), CHUNK):
        statement = select(CORRELATED).where(CORRELATED.c.rule_id.in_(names[start : start + CHUNK]))
        if since is not None:
            statement = statement.where(or_(CORRELATED.c.until >= since, CORRELATED.c.is_open))
        rows = connection.execute(statement.order_by(CORRELATED.c.first_at, CORRELATED.c.id)).mappings()
        found.extend(Correlated(**row) for row in rows)
    return found


def read_open(connection: Connection) -> list[Correlated]:
    """Read what was told and is missing still, by any rule."""
    statement = select(CORRELATED).where(CORRELATED.c.is_open).order_by(CORRELATED.c.first_at, CORRELATED.c.id)
    return [Correlated(**row) for row in connection.execute(statement).mappings()]


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


def write(connection: Connection, found: Collection[Correlated]) -> None:
    """Store alerts, replacing what was there."""
    for each in found:
        values = {field.name: getattr(each, field.name) for field in fields(each)}
        upsert(connection, CORRELATED, values, key=("id",))


def read_versions(connection: Connection) -> dict[str, Version]:
    """Read which version of each rule ran last, by rule id."""
    rows = connection.execute(select(CORRELATION))
    return {row.rule_id: Version(row.version, row.floor) for row in rows}


def write_version(connection: Connection, rule_id: str, version: Version) -> None:
    """Store the version of a rule that runs."""
    values = {"rule_id": rule_id, "version": version.version, "floor": version.floor}
    upsert(connection, CORRELATION, values, key=("rule_id",))


def delete_older(connection: Connection, before: datetime) -> int:
    """Delete what was over before a time; give how many."""
    statement = CORRELATED.delete().where(CORRELATED.c.until < before, ~CORRELATED.c.is_open)
    return connection.execute(statement).rowcount


def forget_versions(connection: Connection, kept: Collection[str]) -> None:
    """Forget which version ran of every rule but these: one that comes back starts from then."""
    for rule_id in read_versions(connection).keys() - set(kept):
        connection.execute(CORRELATION.delete().where(CORRELATION.c.rule_id == rule_id))
