"""The outbox: one row for each message an alert owes a receiver, from its intent to `sent` or `dead`.

Order within alert and receiver is `ordinal`: a row is claimed only when no earlier one is pending. A claim is a lease that
runs out, so that a killed process gives back what it held.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, exists, func, or_, select

from actionwatch.model import Delivery, DeliveryStatus, Event
from actionwatch.store.database import bulk_insert, to_micros
from actionwatch.store.tables import ALERT, DELIVERY

_COLUMNS = (
    "id",
    "alert_id",
    "receiver",
    "event",
    "ordinal",
    "status",
    "attempts",
    "created_at",
    "started_at",
    "due_at",
)
_PENDING = DELIVERY.c.status == DeliveryStatus.PENDING.value


@dataclass(frozen=True, slots=True)
class Queue:
    """How much one receiver has waiting and given up."""

    pending: int = 0
    dead: int = 0


def insert_new(connection: Connection, deliveries: Sequence[Delivery]) -> int:
    """Store new pending rows, skipping ids already there; give how many were new."""
    return bulk_insert(connection, DELIVERY, _COLUMNS, [_values(delivery) for delivery in deliveries])


def claim(connection: Connection, receiver: str, now: datetime, limit: int, leased_until: datetime) -> list[Delivery]:
    """Lease the due rows of a receiver, longest due first, and count the attempt that follows.

    Returns: the rows as they are after the claim; `attempts` is the number of the attempt about to be made.
    """
    due = (
        select(DELIVERY.c.id)
        .where(_PENDING, DELIVERY.c.receiver == receiver, DELIVERY.c.due_at <= now, *_is_claimable(now))
        .order_by(DELIVERY.c.due_at, DELIVERY.c.created_at, DELIVERY.c.id)
        .limit(limit)
    )
    ids = connection.execute(due).scalars().all()
    if not ids:
        return []
    leased = {"leased_until": leased_until, "attempts": DELIVERY.c.attempts + 1}
    connection.execute(DELIVERY.update().where(DELIVERY.c.id.in_(ids)).values(leased))
    found = {row.id: _delivery(row) for row in connection.execute(select(DELIVERY).where(DELIVERY.c.id.in_(ids)))}
    return [found[delivery_id] for delivery_id in ids]


def freeze(connection: Connection, delivery_id: str, event: Event, body: str) -> None:
    """Fix what a message says, before its first attempt."""
    connection.execute(DELIVERY.update().where(DELIVERY.c.id == delivery_id).values(event=event.value, body=body))


def record_sent(connection: Connection, delivery_id: str, at: datetime, note: str | None) -> None:
    """End a delivery as sent; `note` is worth showing (recipients that were refused, say)."""
    _end(connection, delivery_id, status=DeliveryStatus.SENT.value, sent_at=at, why=note, last_error=None)


def record_retry(connection: Connection, delivery_id: str, due_at: datetime, error: str) -> None:
    """Put a delivery back for another attempt."""
    _end(connection, delivery_id, due_at=due_at, last_error=error)


def record_dead(connection: Connection, delivery_id: str, error: str | None, why: str) -> None:
    """Bury a delivery as a dead letter."""
    _end(connection, delivery_id, status=DeliveryStatus.DEAD.value, last_error=error, why=why)


def release_leases(connection: Connection) -> int:
    """Give back every lease: right where one process alone works on the store, as on SQLite. Gives how many there were."""
    return connection.execute(
        DELIVERY.update().where(_PENDING, DELIVERY.c.leased_until.is_not(None)).values(leased_until=None)
    ).rowcount


def next_due(connection: Connection, receiver: str, now: datetime) -> datetime | None:
    """Give when the next row of a receiver that can be claimed falls due; None when none is waiting."""
    statement = select(DELIVERY.c.due_at).where(_PENDING, DELIVERY.c.receiver == receiver, *_is_claimable(now))
    due: datetime | None = connection.execute(statement.order_by(DELIVERY.c.due_at).limit(1)).scalar()
    return due


def read_of_alert(connection: Connection, alert_id: str) -> list[Delivery]:
    """Read the rows of one alert, by receiver and order."""
    statement = select(DELIVERY).where(DELIVERY.c.alert_id == alert_id)
    return [_delivery(row) for row in connection.execute(statement.order_by(DELIVERY.c.receiver, DELIVERY.c.ordinal))]


def told(connection: Connection, alert_ids: Collection[str], receiver: str) -> set[str]:
    """Say which of these alerts a receiver took any message of."""
    sent = DELIVERY.c.status == DeliveryStatus.SENT.value
    statement = select(DELIVERY.c.alert_id).where(
        DELIVERY.c.alert_id.in_(alert_ids), DELIVERY.c.receiver == receiver, sent
    )
    return set(connection.execute(statement.distinct()).scalars())


def turn_untried(connection: Connection, alert_id: str, receiver: str, event: Event) -> bool:
    """Make a pending update that was never tried say `event` instead; gives whether there was one."""
    untried = (DELIVERY.c.alert_id == alert_id, DELIVERY.c.receiver == receiver, _PENDING, DELIVERY.c.body.is_(None))
    statement = DELIVERY.update().where(*untried, DELIVERY.c.event == Event.UPDATED.value)
    return connection.execute(statement.values(event=event.value, due_at=DELIVERY.c.created_at)).rowcount > 0


def suppress(connection: Connection, delivery_id: str, why: str) -> None:
    """End a delivery that was never tried, with the reason for it."""
    _end(connection, delivery_id, status=DeliveryStatus.SUPPRESSED.value, why=why)


def find(connection: Connection, *, limit: int, is_dead: bool = False, receiver: str | None = None) -> list[Delivery]:
    """Read the rows made last, newest first."""
    statement = select(DELIVERY).order_by(DELIVERY.c.created_at.desc(), DELIVERY.c.id).limit(limit)
    if receiver:
        statement = statement.where(DELIVERY.c.receiver == receiver)
    return [_delivery(row) for row in connection.execute(_only_dead(statement) if is_dead else statement)]


def read(connection: Connection, delivery_id: str) -> Delivery | None:
    """Read one row."""
    row = connection.execute(select(DELIVERY).where(DELIVERY.c.id == delivery_id)).first()
    return _delivery(row) if row else None


def replay(connection: Connection, ids: Collection[str] | None, now: datetime) -> int:
    """Make dead rows (None: all of them) pending again, under the same ids; give how many there were."""
    again = {
        "status": DeliveryStatus.PENDING.value,
        "due_at": now,
        "started_at": now,
        "attempts": 0,
        "leased_until": None,
        "why": None,
    }
    statement = DELIVERY.update().where(DELIVERY.c.status == DeliveryStatus.DEAD.value).values(again)
    if ids is not None:
        statement = statement.where(DELIVERY.c.id.in_(ids))
    return connection.execute(statement).rowcount


def bury_strangers(connection: Connection, receivers: Collection[str]) -> int:
    """Bury what waits for receivers that are no longer configured; give how many rows those were."""
    buried = {"status": DeliveryStatus.DEAD.value, "why": "no longer configured", "leased_until": None}
    strangers = DELIVERY.c.receiver.not_in(receivers)
    return connection.execute(DELIVERY.update().where(_PENDING, strangers).values(buried)).rowcount


def count_queues(connection: Connection) -> dict[str, Queue]:
    """Count what each receiver has pending and dead."""
    statement = (
        select(DELIVERY.c.receiver, DELIVERY.c.status, func.count())
        .where(DELIVERY.c.status != DeliveryStatus.SENT.value)
        .group_by(DELIVERY.c.receiver, DELIVERY.c.status)
    )
    counts: dict[str, dict[str, int]] = {}
    for receiver, status, count in connection.execute(statement):
        counts.setdefault(receiver, {})[status] = count
    return {name: Queue(found.get("pending", 0), found.get("dead", 0)) for name, found in counts.items()}


def count_sent(connection: Connection) -> int:
    """Count the messages that were taken."""
    sent = select(func.count()).select_from(DELIVERY).where(DELIVERY.c.status == DeliveryStatus.SENT.value)
    return connection.execute(sent).scalar() or 0


def delete_older(connection: Connection, before: datetime, limit: int) -> int:
    """Delete at most `limit` ended rows made before a time; give how many."""
    doomed = select(DELIVERY.c.id).where(DELIVERY.c.created_at < before, ~_PENDING).limit(limit)
    return connection.execute(DELIVERY.delete().where(DELIVERY.c.id.in_(doomed))).rowcount


def delivered_latencies(connection: Connection, limit: int) -> list[tuple[datetime, datetime, datetime]]:
    """Give (happened, opened, first delivered) of the alerts delivered last."""
    sent = DELIVERY.c.status == DeliveryStatus.SENT.value
    first = (
        select(DELIVERY.c.alert_id, func.min(DELIVERY.c.sent_at).label("at")).where(sent).group_by(DELIVERY.c.alert_id)
    )
    told = first.subquery()
    statement = select(ALERT.c.first_at, ALERT.c.opened_at, told.c.at).join(told, told.c.alert_id == ALERT.c.id)
    return [(row[0], row[1], row[2]) for row in connection.execute(statement.order_by(told.c.at.desc()).limit(limit))]


def _is_claimable(now: datetime) -> tuple[ColumnElement[bool], ...]:
    """Nobody holds the row, and no earlier row of this alert and receiver is pending."""
    earlier = DELIVERY.alias()
    is_before = (
        earlier.c.alert_id == DELIVERY.c.alert_id,
        earlier.c.receiver == DELIVERY.c.receiver,
        earlier.c.ordinal < DELIVERY.c.ordinal,
        earlier.c.status == DeliveryStatus.PENDING.value,
    )
    return or_(DELIVERY.c.leased_until.is_(None), DELIVERY.c.leased_until < now), ~exists().where(*is_before)


def _only_dead(statement: Select[Any]) -> Select[Any]:
    return statement.where(DELIVERY.c.status == DeliveryStatus.DEAD.value)


def _end(connection: Connection, delivery_id: str, **values: Any) -> None:
    """Write the end of an attempt: whatever it was, the lease is over."""
    connection.execute(DELIVERY.update().where(DELIVERY.c.id == delivery_id).values(leased_until=None, **values))


def _values(delivery: Delivery) -> tuple[Any, ...]:
    return (
        delivery.id,
        delivery.alert_id,
        delivery.receiver,
        delivery.event.value,
        delivery.ordinal,
        delivery.status.value,
        delivery.attempts,
        to_micros(delivery.created_at),
        to_micros(delivery.started_at),
        to_micros(delivery.due_at),
    )


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        id=row.id,
        alert_id=row.alert_id,
        receiver=row.receiver,
        event=Event(row.event),
        ordinal=row.ordinal,
        status=DeliveryStatus(row.status),
        attempts=row.attempts,
        created_at=row.created_at,
        started_at=row.started_at,
        due_at=row.due_at,
        sent_at=row.sent_at,
        last_error=row.last_error,
        why=row.why,
        body=row.body,
    )
