"""Copies for fallback receivers. `fallback_of` of a copy names the original row.

The end of an alert, for a fallback that got a copy of the opening, names the same row.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import BigInteger, Connection, and_, bindparam, exists, func, select, type_coerce

from actionwatch.base.delivery import Delivery
from actionwatch.base.model import Event
from actionwatch.store.outbox import IS_FROZEN, IS_PENDING, READ, delivery_of
from actionwatch.store.statements import portions, without_index
from actionwatch.store.tables import ALERT, DELIVERY

COPIED = (Event.OPENED, Event.SUMMARY)
"""The events that are copied. The end of an alert follows the copy of its opening, as another message."""

COPY = DELIVERY.alias("copy")
IS_ORIGINAL = (COPY.c.fallback_of == DELIVERY.c.id, COPY.c.fallback_of.is_not(None))
"""For `exists`: the row was copied. The second condition makes SQLite use the partial index."""
_IS_COPIED_EVENT = DELIVERY.c.event.in_([event.value for event in COPIED])

_ORIGINAL = DELIVERY.alias("original")
_IS_OF_BEFORE = exists().where(
    ALERT.c.id == DELIVERY.c.alert_id,
    ALERT.c.reopened_at <= DELIVERY.c.created_at,
    ALERT.c.reopened_at > COPY.c.created_at,
)
"""The alert was reopened between the copy and the message that waits now: the copy does not replace that."""
_HAS_COPIED_ALERT = exists().where(
    _ORIGINAL.c.alert_id == DELIVERY.c.alert_id,
    _ORIGINAL.c.receiver == DELIVERY.c.receiver,
    _ORIGINAL.c.event.in_([event.value for event in COPIED]),
    COPY.c.fallback_of == _ORIGINAL.c.id,
    COPY.c.fallback_of.is_not(None),
    ~_IS_OF_BEFORE,
)

# Built once: the step of delivery asks this every few seconds during an outage.
_UNCOPIED = (
    select(*READ)
    .where(IS_PENDING, DELIVERY.c.receiver == bindparam("wanted"), _IS_COPIED_EVENT, IS_FROZEN, ~_HAS_COPIED_ALERT)
    # In the order of an index, SQLite would look for what waits among all messages of the receiver.
    .order_by(without_index(type_coerce(DELIVERY.c.created_at, BigInteger)), DELIVERY.c.ordinal)
    .limit(bindparam("most"))
)
_WAS_COPIED = (
    select(DELIVERY.c.alert_id, func.max(COPY.c.created_at).label("at"))
    .join(COPY, and_(*IS_ORIGINAL))
    .where(
        DELIVERY.c.alert_id.in_(bindparam("alert_ids", expanding=True)),
        DELIVERY.c.receiver == bindparam("wanted"),
        _IS_COPIED_EVENT,
    )
    .group_by(DELIVERY.c.alert_id)
)


def read_copied(connection: Connection, receiver: str, alert_ids: Collection[str]) -> dict[str, datetime]:
    """Return when a message of a receiver was copied last, under any id, for those of these alerts or summaries that were."""
    found: dict[str, datetime] = {}
    for some in portions(alert_ids):
        found.update(
            {row.alert_id: row.at for row in connection.execute(_WAS_COPIED, {"alert_ids": some, "wanted": receiver})}
        )
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
    """Read what waits for a receiver, passed the gates and was not copied, in the order of sending."""
    return [delivery_of(row) for row in connection.execute(_UNCOPIED, {"wanted": receiver, "most": limit})]
