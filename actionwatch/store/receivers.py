"""How each receiver is: when it last took a message, since when it fails, until when it asked to be left alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from actionwatch.store.database import upsert
from actionwatch.store.tables import RECEIVER, REFERENCE


@dataclass(frozen=True, slots=True)
class Health:
    """One receiver's health; all None before its first message."""

    last_sent_at: datetime | None = None
    failing_since: datetime | None = None
    paused_until: datetime | None = None
    last_error: str | None = None


def read_all(connection: Connection) -> dict[str, Health]:
    """Read the health of every receiver that was ever tried, by name."""
    rows = connection.execute(select(RECEIVER))
    return {row.name: Health(row.last_sent_at, row.failing_since, row.paused_until, row.last_error) for row in rows}


def note_success(connection: Connection, name: str, at: datetime) -> None:
    """Note that a receiver took a message: it fails no longer."""
    values = {"name": name, "last_sent_at": at, "failing_since": None, "paused_until": None, "last_error": None}
    upsert(connection, RECEIVER, values, key=("name",))


def note_failure(connection: Connection, name: str, at: datetime, error: str, paused_until: datetime | None) -> None:
    """Note that a receiver did not take a message, and until when it asked to be left alone."""
    since: datetime | None = connection.execute(
        select(RECEIVER.c.failing_since).where(RECEIVER.c.name == name)
    ).scalar()
    values = {"name": name, "failing_since": since or at, "paused_until": paused_until, "last_error": error}
    upsert(connection, RECEIVER, values, key=("name",))


def read_reference(connection: Connection, alert_id: str, receiver: str) -> str | None:
    """Give what a receiver calls the message of an alert (a Slack `ts`), None where it has told nothing."""
    statement = select(REFERENCE.c.value).where(REFERENCE.c.alert_id == alert_id, REFERENCE.c.receiver == receiver)
    value: str | None = connection.execute(statement).scalar()
    return value


def write_reference(connection: Connection, alert_id: str, receiver: str, value: str) -> None:
    """Keep what a receiver calls the message of an alert."""
    values = {"alert_id": alert_id, "receiver": receiver, "value": value}
    upsert(connection, REFERENCE, values, key=("alert_id", "receiver"))
