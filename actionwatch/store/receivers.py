"""The health of each receiver: when it last accepted a message, since when it fails, until when it is paused.

All processes that deliver from the store share it: a pause or a used-up rate applies to all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, select

from actionwatch.store import outbox
from actionwatch.store.statements import upsert
from actionwatch.store.tables import DELIVERY, MESSAGE_REFERENCE, RECEIVER

_REFERENCES = select(MESSAGE_REFERENCE.c.alert_id, MESSAGE_REFERENCE.c.value).where(
    MESSAGE_REFERENCE.c.alert_id.in_(bindparam("alert_ids", expanding=True)),
    MESSAGE_REFERENCE.c.receiver == bindparam("wanted"),
)
_IS_WANTED = RECEIVER.c.name == bindparam("wanted")
_LEASED = select(DELIVERY.c.receiver).where(DELIVERY.c.receiver == bindparam("wanted"), outbox.IS_LEASED_NOW)
# Built once: every claim runs it.
_AVAILABILITY = select(
    select(RECEIVER.c.paused_until).where(_IS_WANTED).scalar_subquery(),
    select(RECEIVER.c.next_at).where(_IS_WANTED).scalar_subquery(),
    outbox.count_at_most(_LEASED).scalar_subquery(),
    outbox.NEXT_DUE.scalar_subquery(),
)
_TROUBLE = select(RECEIVER.c.failing_since, RECEIVER.c.paused_until).where(_IS_WANTED)


@dataclass(frozen=True, slots=True)
class Health:
    """One receiver's health; all None before its first message."""

    last_sent_at: datetime | None = None
    failing_since: datetime | None = None
    paused_until: datetime | None = None
    last_error: str | None = None


class Availability(NamedTuple):
    """The rest that all processes leave of a receiver: its pause, when its rate allows the next message, rows leased.

    `next_due_at` is when the next of its rows that can be claimed falls due.
    """

    paused_until: datetime | None
    next_at: datetime | None
    leased_count: int
    next_due_at: datetime | None


def read_all(connection: Connection) -> dict[str, Health]:
    """Read the health of every receiver that was ever tried, by name."""
    rows = connection.execute(select(RECEIVER))
    return {row.name: Health(row.last_sent_at, row.failing_since, row.paused_until, row.last_error) for row in rows}


def delete_others(connection: Connection, names: Collection[str]) -> None:
    """Delete the health of every receiver that is not one of these."""
    connection.execute(RECEIVER.delete().where(RECEIVER.c.name.not_in(names)))


def note_success(connection: Connection, name: str, at: datetime) -> None:
    """Note that a receiver accepted a message: it no longer fails."""
    upsert(connection, RECEIVER, {"name": name, "last_sent_at": at, "failing_since": None, "last_error": None})


def note_failure(connection: Connection, name: str, at: datetime, error: str, paused_until: datetime | None) -> None:
    """Note that a receiver did not accept a message, and until when it is paused: the longest pause counts."""
    known = connection.execute(_TROUBLE, {"wanted": name}).first()
    since, before = known or (None, None)
    pauses = [until for until in (paused_until, before) if until is not None]
    values = {
        "name": name,
        "failing_since": since or at,
        "paused_until": max(pauses, default=None),
        "last_error": error,
    }
    upsert(connection, RECEIVER, values)


def read_availability(connection: Connection, name: str, now: datetime, most: int) -> Availability:
    """Read whether a receiver can take messages, and has any. Count at most `most` rows under a lease of any process."""
    found = connection.execute(_AVAILABILITY, {"wanted": name, "now": now, "most": most}).one()
    return Availability(*found)


def note_next(connection: Connection, name: str, at: datetime) -> None:
    """Note when the rate of a receiver allows the next message."""
    upsert(connection, RECEIVER, {"name": name, "next_at": at})


def read_references(connection: Connection, alert_ids: Collection[str], receiver: str) -> Mapping[str, str]:
    """Return the references that a receiver gave for alerts (a Slack `ts`); an alert without one has no key."""
    rows = connection.execute(_REFERENCES, {"alert_ids": list(alert_ids), "wanted": receiver})
    return {row.alert_id: row.value for row in rows}


def write_reference(connection: Connection, alert_id: str, receiver: str, value: str) -> None:
    """Keep the reference that a receiver gave for the message of an alert."""
    upsert(connection, MESSAGE_REFERENCE, {"alert_id": alert_id, "receiver": receiver, "value": value})
