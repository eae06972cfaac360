"""How far each receiver is with an alert: its last message, and whether it was notified. Addressing reads it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, and_, bindparam, case, func, or_, select

from actionwatch.base.delivery import Delivery
from actionwatch.store.outbox import IS_ESCALATION, IS_FALLBACK, IS_FROZEN, IS_SENT, READ, delivery_of
from actionwatch.store.tables import DELIVERY

_IS_OWN = and_(~IS_FALLBACK, or_(~IS_ESCALATION, IS_SENT, IS_FROZEN))
"""Neither a copy for a fallback, nor an escalation that was not attempted yet."""
_ALERT = DELIVERY.c.alert_id == bindparam("wanted")
_SUMS = (
    select(
        DELIVERY.c.receiver,
        func.max(DELIVERY.c.ordinal).label("top"),
        func.max(case((_IS_OWN, DELIVERY.c.ordinal))).label("own"),
        func.max(case((IS_SENT, 1), else_=0)).label("is_notified"),
    )
    .where(_ALERT)
    .group_by(DELIVERY.c.receiver)
    .subquery()
)
_PROGRESS = (
    select(*READ, _SUMS.c.receiver.label("name"), _SUMS.c.top, _SUMS.c.own, _SUMS.c.is_notified)
    .select_from(_SUMS)
    .join(
        DELIVERY, and_(_ALERT, DELIVERY.c.receiver == _SUMS.c.receiver, DELIVERY.c.ordinal == _SUMS.c.own), isouter=True
    )
    .order_by(_SUMS.c.receiver)
)


@dataclass(frozen=True, slots=True)
class ReceiverProgress:
    """The rows of one alert and receiver. `last`: the newest row, except fallback copies and escalations not attempted."""

    last: Delivery | None = None
    next_ordinal: int = 1
    is_notified: bool = False


def read(connection: Connection, alert_id: str) -> dict[str, ReceiverProgress]:
    """Read the progress of every receiver that has rows of an alert, by name."""
    return {
        row.name: ReceiverProgress(
            delivery_of(row[: len(READ)]) if row.own is not None else None, max(row.top, 0) + 1, bool(row.is_notified)
        )
        for row in connection.execute(_PROGRESS, {"wanted": alert_id})
    }
