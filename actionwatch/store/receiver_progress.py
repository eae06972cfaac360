"""The progress of each receiver with an alert: its last message, whether it was notified, its copies. For addressing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, bindparam, case, func, or_, select

from actionwatch.base.delivery import ESCALATION, Delivery, DeliveryStatus
from actionwatch.store.outbox import IS_ESCALATION, IS_FALLBACK, IS_FROZEN, IS_SENT, READ, delivery_of, notifies
from actionwatch.store.statements import portions
from actionwatch.store.tables import DELIVERY

_IS_OWN = and_(~IS_FALLBACK, or_(~IS_ESCALATION, IS_SENT, IS_FROZEN))
"""Neither a copy for a fallback, nor an escalation that was not attempted yet."""
_IS_COPY = and_(IS_FALLBACK, DELIVERY.c.status != DeliveryStatus.SUPPRESSED.value)
"""A copy for a fallback, neither dropped nor sent elsewhere."""


def _progress(*its: ColumnElement[bool]) -> Select[Any]:
    """Return the query of the progress for the rows that meet these conditions, by alert and receiver."""
    place = (DELIVERY.c.alert_id, DELIVERY.c.receiver)
    sums = (
        select(
            *place,
            func.max(DELIVERY.c.ordinal).label("top"),
            func.min(DELIVERY.c.ordinal).label("bottom"),
            func.max(case((_IS_OWN, DELIVERY.c.ordinal))).label("own"),
            func.max(case((notifies(DELIVERY), 1), else_=0)).label("is_notified"),
            func.max(case((_IS_COPY, DELIVERY.c.fallback_of))).label("copied"),
        )
        .where(*its)
        .group_by(*place)
        .subquery()
    )
    is_last = (*(sums.c[each.name] == each for each in place), DELIVERY.c.ordinal == sums.c.own)
    named = (
        sums.c.alert_id.label("of_alert"),
        sums.c.receiver.label("name"),
        sums.c.top,
        sums.c.bottom,
        sums.c.own,
        sums.c.is_notified,
        sums.c.copied,
    )
    found = select(*READ, *named).select_from(sums).join(DELIVERY, and_(*is_last), isouter=True)
    return found.order_by(sums.c.alert_id, sums.c.receiver)


_OF_ALERT = _progress(DELIVERY.c.alert_id == bindparam("wanted"))
_OF_RECEIVER = _progress(
    DELIVERY.c.alert_id.in_(bindparam("alert_ids", expanding=True)), DELIVERY.c.receiver == bindparam("wanted")
)


@dataclass(frozen=True, slots=True)
class ReceiverProgress:
    """The rows of one alert and receiver. `last`: the newest row, except fallback copies and escalations not attempted.

    `copied`: the message of another receiver of which this one, as its fallback, has a copy.
    """

    last: Delivery | None = None
    next_ordinal: int = 1
    next_escalation: int = ESCALATION
    is_notified: bool = False
    copied: str | None = None


def read(connection: Connection, alert_id: str) -> dict[str, ReceiverProgress]:
    """Read the progress of every receiver that has rows of an alert, by name."""
    return {row.name: _progress_of(row) for row in connection.execute(_OF_ALERT, {"wanted": alert_id})}


def read_of_receiver(
    connection: Connection, receiver: str, alert_ids: Collection[str]
) -> defaultdict[str, ReceiverProgress]:
    """Read the progress of one receiver with these alerts, by alert; an alert without rows of it has the first one."""
    found = defaultdict[str, ReceiverProgress](ReceiverProgress)
    for some in portions(alert_ids):
        rows = connection.execute(_OF_RECEIVER, {"alert_ids": some, "wanted": receiver})
        found.update({row.of_alert: _progress_of(row) for row in rows})
    return found


def _progress_of(row: Row[Any]) -> ReceiverProgress:
    last = delivery_of(row[: len(READ)]) if row.own is not None else None
    return ReceiverProgress(
        last, max(row.top, 0) + 1, min(row.bottom, 0) + ESCALATION, bool(row.is_notified), row.copied
    )
