"""Delete old rows of the outbox, except those that a later message still needs."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, or_, select

from actionwatch.base.delivery import DeliveryStatus
from actionwatch.base.model import Event, Status
from actionwatch.store import alerts
from actionwatch.store.outbox import AWAITS_SUMMARY, IS_FROZEN
from actionwatch.store.statements import has_row
from actionwatch.store.tables import ALERT, ALERT_HISTORY, ALERT_RECORD, DELIVERY

_LATER = DELIVERY.alias("later")
_IS_LATER = (
    _LATER.c.alert_id == DELIVERY.c.alert_id,
    _LATER.c.receiver == DELIVERY.c.receiver,
    _LATER.c.ordinal > DELIVERY.c.ordinal,
)
_OPEN = (DeliveryStatus.PENDING.value, DeliveryStatus.DEAD.value)
_IS_ENDED = DELIVERY.c.status.not_in(_OPEN)
_IS_LAST = ~has_row(*_IS_LATER)
_IS_FOLLOWED = has_row(*_IS_LATER, _LATER.c.status.in_(_OPEN))
"""A later message of the alert waits for the receiver, or is a dead letter."""
_IS_NEEDED = and_(
    DELIVERY.c.event != Event.TEST.value,
    or_(DELIVERY.c.event == Event.OPENED.value, _IS_LAST),
)
"""These rows determine who gets an alert's end, in whose place, and under which ordinal: ids are never used twice."""


def delete_deliveries(connection: Connection, before: datetime, forgotten: datetime, now: datetime, limit: int) -> int:
    """Delete at most `limit` rows in a final state that are older than `before`, a summary's with its history. Return how many.

    Rows that await a summary stay, and rows that are needed to send the end of an alert: while the alert is unresolved, or its
    end waits or is a dead letter. An unresolved alert that holds records needs them if it was opened after `forgotten` or can
    still be joined, because it is deleted otherwise; an alert about something that lasts needs them as long as it lasts. A dead
    letter stays until a person retries or drops it.
    """
    doomed = (
        select(DELIVERY.c.id, DELIVERY.c.alert_id, DELIVERY.c.event)
        .where(DELIVERY.c.created_at < before, _IS_ENDED, ~AWAITS_SUMMARY)
        .where(~and_(_IS_NEEDED, or_(_IS_FOLLOWED, _is_unresolved(forgotten, now))))
        .order_by(DELIVERY.c.created_at)
        .limit(limit)
    )
    rows = connection.execute(doomed).all()
    summaries = [row.alert_id for row in rows if row.event == Event.SUMMARY]
    connection.execute(ALERT_HISTORY.delete().where(ALERT_HISTORY.c.alert_id.in_(summaries)))
    return connection.execute(DELIVERY.delete().where(DELIVERY.c.id.in_([row.id for row in rows]))).rowcount


def delete_bodies(connection: Connection, before: datetime, limit: int) -> int:
    """Delete the bodies of at most `limit` old messages whose rows are still needed. Return how many."""
    old = (
        select(DELIVERY.c.id)
        .where(DELIVERY.c.created_at < before, _IS_ENDED, IS_FROZEN)
        .order_by(DELIVERY.c.created_at)
        .limit(limit)
    )
    ids = connection.execute(old).scalars().all()
    return connection.execute(DELIVERY.update().where(DELIVERY.c.id.in_(ids)).values(body=None)).rowcount


def _is_unresolved(forgotten: datetime, now: datetime) -> ColumnElement[bool]:
    holds_records = has_row(ALERT_RECORD.c.alert_id == ALERT.c.id)
    return has_row(
        ALERT.c.id == DELIVERY.c.alert_id,
        ALERT.c.status != Status.RESOLVED.value,
        or_(ALERT.c.opened_at >= forgotten, ~holds_records, alerts.is_at_work(now)),
    )
