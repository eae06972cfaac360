"""What retention lets go of the outbox, and what it must not: a message that is old may still be needed for one to come."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, and_, exists, or_, select

from actionwatch.base.delivery import DeliveryStatus
from actionwatch.base.model import Event, Status
from actionwatch.store import alerts
from actionwatch.store.tables import ALERT, DELIVERY, JOINED, STORY

_LATER = DELIVERY.alias("later")
_IS_LAST = ~exists().where(
    _LATER.c.alert_id == DELIVERY.c.alert_id,
    _LATER.c.receiver == DELIVERY.c.receiver,
    _LATER.c.ordinal > DELIVERY.c.ordinal,
)
_IS_ENDED = DELIVERY.c.status.not_in((DeliveryStatus.PENDING.value, DeliveryStatus.DEAD.value))
_TELLS_STANDING = and_(
    DELIVERY.c.event != Event.TEST.value,
    or_(DELIVERY.c.event == Event.OPENED.value, _IS_LAST),
)
"""From these rows follows whom an alert's end goes to, in whose place, and under which number: ids are never used twice."""


def delete_deliveries(connection: Connection, before: datetime, forgotten: datetime, now: datetime, limit: int) -> int:
    """Delete at most `limit` rows that ended and were made before a time, a summary's with its story; give how many.

    Those stay that a summary is still to tell of, and those by which an alert that is not over knows whom to tell its end: one
    that holds records only if it was opened after `forgotten` or is still at work, for it goes then itself; one of a state as
    long as that lasts. A dead letter stays until a person retries or drops it.
    """
    is_awaited = DELIVERY.c.awaits.is_not(None)
    doomed = (
        select(DELIVERY.c.id, DELIVERY.c.alert_id, DELIVERY.c.event)
        .where(DELIVERY.c.created_at < before, _IS_ENDED, ~is_awaited)
        .where(~and_(_TELLS_STANDING, _is_unresolved(forgotten, now)))
        .limit(limit)
    )
    rows = connection.execute(doomed).all()
    summaries = [row.alert_id for row in rows if row.event == Event.SUMMARY]
    connection.execute(STORY.delete().where(STORY.c.alert_id.in_(summaries)))
    return connection.execute(DELIVERY.delete().where(DELIVERY.c.id.in_([row.id for row in rows]))).rowcount


def forget_words(connection: Connection, before: datetime, limit: int) -> int:
    """Forget what at most `limit` old messages said whose rows are still needed; give how many."""
    wordy = select(DELIVERY.c.id).where(DELIVERY.c.created_at < before, _IS_ENDED, DELIVERY.c.body.is_not(None))
    return connection.execute(DELIVERY.update().where(DELIVERY.c.id.in_(wordy.limit(limit))).values(body=None)).rowcount


def _is_unresolved(forgotten: datetime, now: datetime) -> ColumnElement[bool]:
    holds_records = exists().where(JOINED.c.alert_id == ALERT.c.id)
    return exists().where(
        ALERT.c.id == DELIVERY.c.alert_id,
        ALERT.c.status != Status.RESOLVED.value,
        or_(ALERT.c.opened_at >= forgotten, ~holds_records, alerts.is_at_work(now)),
    )
