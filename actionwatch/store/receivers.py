"""How each receiver is: when it last took a message, since when it fails, until when it asked to be left alone.

Shared by all who deliver from the store: what one of them was told, or used up of the rate, holds for the others.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, select

from actionwatch.store.database import upsert
from actionwatch.store.tables import RECEIVER, REFERENCE

# Built once: every message asks it.
_REFERENCES = select(REFERENCE.c.alert_id, REFERENCE.c.value).where(
    REFERENCE.c.alert_id.in_(bindparam("alert_ids", expanding=True)), REFERENCE.c.receiver == bindparam("wanted")
)
_CLOSED = select(RECEIVER.c.paused_until, RECEIVER.c.next_at).where(RECEIVER.c.name == bindparam("wanted"))
_TROUBLE = select(RECEIVER.c.failing_since, RECEIVER.c.paused_until).where(RECEIVER.c.name == bindparam("wanted"))


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


def delete_others(connection: Connection, names: Collection[str]) -> None:
    """Forget how every receiver but these is."""
    connection.execute(RECEIVER.delete().where(RECEIVER.c.name.not_in(names)))


def note_success(connection: Connection, name: str, at: datetime) -> None:
    """Note that a receiver took a message: it fails no longer."""
    values = {"name": name, "last_sent_at": at, "failing_since": None, "last_error": None}
    upsert(connection, RECEIVER, values, key=("name",))


def note_failure(connection: Connection, name: str, at: datetime, error: str, paused_until: datetime | None) -> None:
    """Note that a receiver did not take a message, and until when it asked to be left alone: the longest wish counts."""
    known = connection.execute(_TROUBLE, {"wanted": name}).first()
    since, before = known or (None, None)
    wishes = [until for until in (paused_until, before) if until is not None]
    values = {
        "name": name,
        "failing_since": since or at,
        "paused_until": max(wishes, default=None),
        "last_error": error,
    }
    upsert(connection, RECEIVER, values, key=("name",))


def read_closed(connection: Connection, name: str) -> tuple[datetime | None, datetime | None]:
    """Read until when a receiver asked to be left alone, and when its rate lets the next message go."""
    found = connection.execute(_CLOSED, {"wanted": name}).first()
    return (found.paused_until, found.next_at) if found else (None, None)


def note_next(connection: Connection, name: str, at: datetime) -> None:
    """Note when the rate of a receiver lets the next message go."""
    upsert(connection, RECEIVER, {"name": name, "next_at": at}, key=("name",))


def read_references(connection: Connection, alert_ids: Collection[str], receiver: str) -> Mapping[str, str]:
    """Give what a receiver calls the messages of alerts (a Slack `ts`); an alert of which it told nothing has no key."""
    rows = connection.execute(_REFERENCES, {"alert_ids": list(alert_ids), "wanted": receiver})
    return {row.alert_id: row.value for row in rows}


def write_reference(connection: Connection, alert_id: str, receiver: str, value: str) -> None:
    """Keep what a receiver calls the message of an alert."""
    values = {"alert_id": alert_id, "receiver": receiver, "value": value}
    upsert(connection, REFERENCE, values, key=("alert_id", "receiver"))
