"""Copies for fallback receivers. `fallback_of` of a copy names the original row."""

from __future__ import annotations

from sqlalchemy import Connection, exists, select

from actionwatch.base.delivery import Delivery
from actionwatch.base.model import Event
from actionwatch.store.outbox import IS_FROZEN, IS_PENDING, READ, delivery_of
from actionwatch.store.tables import DELIVERY

_COPY, _ORIGINAL = DELIVERY.alias("copy"), DELIVERY.alias("original")
_COPIED = (Event.OPENED.value, Event.RESOLVED.value)


def is_copied(connection: Connection, alert_id: str, receiver: str, event: Event) -> bool:
    """Return whether a receiver's message of an alert was copied before, under any id."""
    found = (
        select(_COPY.c.id)
        .join(_ORIGINAL, _COPY.c.fallback_of == _ORIGINAL.c.id)
        .where(_ORIGINAL.c.alert_id == alert_id, _ORIGINAL.c.receiver == receiver, _ORIGINAL.c.event == event.value)
    )
    return connection.execute(found.limit(1)).first() is not None


def read_uncopied(connection: Connection, receiver: str, limit: int) -> list[Delivery]:
    """Read what waits for a receiver, passed the gates (or resolves what did) and was not copied, in the order of sending."""
    statement = (
        select(*READ)
        .where(IS_PENDING, DELIVERY.c.receiver == receiver, DELIVERY.c.event.in_(_COPIED))
        .where((DELIVERY.c.event == Event.RESOLVED.value) | IS_FROZEN)
        .where(~exists().where(_COPY.c.fallback_of == DELIVERY.c.id, _COPY.c.fallback_of.is_not(None)))
        .order_by(DELIVERY.c.created_at, DELIVERY.c.ordinal)
        .limit(limit)
    )
    return [delivery_of(row) for row in connection.execute(statement)]
