"""Copies for fallback receivers. `fallback_of` of a copy names the original row."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, exists, select

from actionwatch.base.delivery import Delivery
from actionwatch.base.model import Event
from actionwatch.store.outbox import IS_FROZEN, IS_PENDING, READ, delivery_of
from actionwatch.store.statements import portions
from actionwatch.store.tables import DELIVERY

_COPY, _ORIGINAL = DELIVERY.alias("copy"), DELIVERY.alias("original")
_COPIED = (Event.OPENED.value, Event.RESOLVED.value)


def read_copied(connection: Connection, receiver: str, alert_ids: Collection[str]) -> set[tuple[str, Event]]:
    """Return the alert and the event of each of a receiver's messages of these alerts that was copied, under any id."""
    found: set[tuple[str, Event]] = set()
    for some in portions(alert_ids):
        originals = select(_ORIGINAL.c.alert_id, _ORIGINAL.c.event).where(
            _ORIGINAL.c.alert_id.in_(some), _ORIGINAL.c.receiver == receiver, _ORIGINAL.c.event.in_(_COPIED)
        )
        is_copied = exists().where(_COPY.c.fallback_of == _ORIGINAL.c.id, _COPY.c.fallback_of.is_not(None))
        found.update((row.alert_id, row.event) for row in connection.execute(originals.where(is_copied)))
    return found


def read_replaced(connection: Connection, deliveries: Collection[Delivery]) -> dict[str, str]:
    """Return the receiver that each of these copies replaces, by the id of the copy."""
    of_original = {each.fallback_of: each.id for each in deliveries if each.fallback_of is not None}
    found: dict[str, str] = {}
    for some in portions(of_original):
        rows = connection.execute(select(DELIVERY.c.id, DELIVERY.c.receiver).where(DELIVERY.c.id.in_(some)))
        found.update({of_original[row.id]: row.receiver for row in rows})
    return found


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
