"""The outbox: one row for each message an alert owes a receiver, from its intent to `sent` or `dead`.

Order within alert and receiver is `ordinal`: a row is claimed only when no earlier one is pending. A claim is a lease that
runs out, so that a killed process gives back what it held.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from msgspec import structs
from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, exists, func, or_, select

from actionwatch.base.ids import stable_id
from actionwatch.base.model import ESCALATION, READDRESSED, UNTOLD, Alert, Delivery, DeliveryStatus, Event, Status
from actionwatch.store import alerts
from actionwatch.store.database import bulk_insert, bulk_update
from actionwatch.store.tables import ALERT, DELIVERY
from actionwatch.store.timestamps import Instant, as_stored, from_micros, from_stored, to_micros

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
    "mutes",
    "fallback_of",
    "why",
    "ref",
    "body",
)
_UPDATES = (Event.UPDATED.value, Event.ACKED.value)
_PENDING = DELIVERY.c.status == DeliveryStatus.PENDING.value
# Written so, SQLite does not take it for a reason to walk the index of all that waits instead of one alert's rows.
_PENDING_OF_ALERT = DELIVERY.c.status.concat("") == DeliveryStatus.PENDING.value

READ = as_stored(column for column in DELIVERY.columns if column.name not in ("leased_until", "reported_in"))
"""What `delivery_of` takes."""
_DELIVERIES = select(*READ)
_IS_FROZEN = case((DELIVERY.c.body.is_not(None), "{}")).label("body")

# The questions of every round, built once: to build one anew costs as much as its answer.
_NOW = bindparam("now", type_=Instant)
_EARLIER = DELIVERY.alias()
_CLAIMABLE = (
    _PENDING,
    DELIVERY.c.receiver == bindparam("wanted"),
    or_(DELIVERY.c.leased_until.is_(None), DELIVERY.c.leased_until < _NOW),
    ~exists().where(
        _EARLIER.c.alert_id == DELIVERY.c.alert_id,
        _EARLIER.c.receiver == DELIVERY.c.receiver,
        _EARLIER.c.ordinal < DELIVERY.c.ordinal,
        # An escalation waits for nobody, and nobody for it until it was tried: its receiver may have been told then.
        or_(_EARLIER.c.ordinal > 0, _EARLIER.c.body.is_not(None)),
        _EARLIER.c.status.concat("") == DeliveryStatus.PENDING.value,
    ),
)
"""Nobody holds the row, and no earlier row of this alert and receiver is pending."""
_IS_TOLD = exists().where(
    _EARLIER.c.alert_id == DELIVERY.c.alert_id,
    _EARLIER.c.receiver == DELIVERY.c.receiver,
    or_(
        _EARLIER.c.status.concat("") == DeliveryStatus.SENT.value,
        and_(_EARLIER.c.status.concat("") == DeliveryStatus.HELD.value, _EARLIER.c.reported_in.concat("").is_not(None)),
    ),
)
"""The receiver took some message of the alert, or a digest that listed it."""
_DUE = (
    select(*READ, _IS_TOLD.label("is_told"), *alerts.READ)
    .select_from(DELIVERY.join(ALERT, ALERT.c.id == DELIVERY.c.alert_id, isouter=True))
    .where(*_CLAIMABLE, DELIVERY.c.due_at <= _NOW)
    .order_by(DELIVERY.c.due_at)  # nothing more: it would make a sort of thousands of rows that fell due in one instant
    .limit(bindparam("most"))
)
_NEXT_DUE = select(DELIVERY.c.due_at).where(*_CLAIMABLE).order_by(DELIVERY.c.due_at).limit(1)
_LEASED = select(func.count()).select_from(
    select(DELIVERY.c.receiver)
    .where(DELIVERY.c.receiver == bindparam("wanted"), DELIVERY.c.leased_until >= _NOW)
    .limit(bindparam("most"))
    .subquery()
)
_SENT = (
    DELIVERY.update()
    .where(DELIVERY.c.id.in_(bindparam("ids", expanding=True)))
    .values(
        status=DeliveryStatus.SENT.value,
        sent_at=bindparam("at", type_=Instant),
        why=None,
        last_error=None,
        leased_until=None,
    )
)
_UNTOLD_ENDS = (
    DELIVERY.c.status == DeliveryStatus.SUPPRESSED.value,
    DELIVERY.c.event == Event.RESOLVED.value,
    DELIVERY.c.why == UNTOLD,
    exists().where(
        _EARLIER.c.alert_id == DELIVERY.c.alert_id,
        _EARLIER.c.receiver == DELIVERY.c.receiver,
        _EARLIER.c.ordinal < DELIVERY.c.ordinal,
        _EARLIER.c.status.concat("") == DeliveryStatus.PENDING.value,
    ),
)
"""Ends that a receiver was not told because it had not been told the opening, and of which something is pending now."""


@dataclass(frozen=True, slots=True)
class Due:
    """A row that can be claimed; its alert, None where that is no longer in the store; whether its receiver heard of it."""

    delivery: Delivery
    alert: Alert | None
    is_told: bool


@dataclass(frozen=True, slots=True)
class Queue:
    """How much one receiver has waiting and given up."""

    pending: int = 0
    dead: int = 0


def insert_new(connection: Connection, deliveries: Sequence[Delivery]) -> int:
    """Store new pending rows, skipping ids already there; give how many were new."""
    return bulk_insert(connection, DELIVERY, _COLUMNS, [_values(delivery) for delivery in deliveries])


def read_due(connection: Connection, receiver: str, now: datetime, limit: int) -> list[Due]:
    """Read the due rows of a receiver that nobody holds, longest due first."""
    rows = connection.execute(_DUE, {"wanted": receiver, "now": now, "most": limit})
    # One row for all that is asked of each: between two rows SQLite's driver lets other threads run, and waits for its turn.
    width = len(READ)
    return [
        Due(delivery_of(row[:width]), alerts.alert_of(row[width + 1 :]) if row[width + 1] else None, bool(row[width]))
        for row in rows
    ]


def count_leased(connection: Connection, receiver: str, now: datetime, most: int) -> int:
    """Count the rows of a receiver that any process holds; at most so many."""
    return connection.execute(_LEASED, {"wanted": receiver, "now": now, "most": most}).scalar() or 0


def lease(connection: Connection, deliveries: Sequence[Delivery], until: datetime) -> list[Delivery]:
    """Lease rows, count the attempt that follows, and freeze what they say; gives them as they are then."""
    leased = [structs.replace(delivery, attempts=delivery.attempts + 1) for delivery in deliveries]
    ends = to_micros(until)
    rows = [(each.id, each.event.value, each.body, each.attempts, ends) for each in leased]
    bulk_update(connection, DELIVERY, ("id", "event", "body", "attempts", "leased_until"), rows)
    return leased


def freeze(connection: Connection, deliveries: Sequence[Delivery]) -> None:
    """Fix what messages say, and what they turned out to be to their receiver, before their first attempt."""
    rows = [(each.id, each.event.value, each.body) for each in deliveries]
    bulk_update(connection, DELIVERY, ("id", "event", "body"), rows)


def record_sent(connection: Connection, notes: Mapping[str, str | None], at: datetime) -> None:
    """End deliveries as sent, by id; a note is worth showing (recipients that were refused, say)."""
    if notes:
        connection.execute(_SENT, {"ids": list(notes), "at": at})
    bulk_update(connection, DELIVERY, ("id", "why"), [(name, note) for name, note in notes.items() if note is not None])


def record_retry(connection: Connection, delivery: Delivery, due_at: datetime, error: str) -> None:
    """Put a delivery back for another attempt; what waits behind it need not be looked at before."""
    _end(connection, delivery.id, due_at=due_at, last_error=error)
    if delivery.ordinal == ESCALATION:
        return
    behind = (DELIVERY.c.alert_id == delivery.alert_id, DELIVERY.c.receiver == delivery.receiver, _PENDING_OF_ALERT)
    is_early = (DELIVERY.c.ordinal > delivery.ordinal, DELIVERY.c.due_at < due_at)
    connection.execute(DELIVERY.update().where(*behind, *is_early).values(due_at=due_at))


def record_dead(connection: Connection, delivery_id: str, error: str | None, why: str) -> None:
    """Bury a delivery as a dead letter."""
    _end(connection, delivery_id, status=DeliveryStatus.DEAD.value, last_error=error, why=why)


def read_leaseholders(connection: Connection) -> list[str]:
    """Name the receivers that messages are under way to, or were when a process died."""
    held = select(DELIVERY.c.receiver).where(_PENDING, DELIVERY.c.leased_until.is_not(None)).distinct()
    return list(connection.execute(held.order_by(DELIVERY.c.receiver)).scalars())


def release_leases(connection: Connection) -> int:
    """Give back every lease: right where one process alone works on the store, as on SQLite. Gives how many there were."""
    return connection.execute(
        DELIVERY.update().where(_PENDING, DELIVERY.c.leased_until.is_not(None)).values(leased_until=None)
    ).rowcount


def next_due(connection: Connection, receiver: str, now: datetime) -> datetime | None:
    """Give when the next row of a receiver that can be claimed falls due; None when none is waiting."""
    due: datetime | None = connection.execute(_NEXT_DUE, {"wanted": receiver, "now": now}).scalar()
    return due


def read_of_alert(connection: Connection, alert_id: str) -> list[Delivery]:
    """Read the rows of one alert, by receiver and order."""
    statement = _DELIVERIES.where(DELIVERY.c.alert_id == alert_id)
    return [delivery_of(row) for row in connection.execute(statement.order_by(DELIVERY.c.receiver, DELIVERY.c.ordinal))]


def turn_untried(connection: Connection, alert_id: str, receiver: str, event: Event) -> bool:
    """Make a pending update that was never tried say `event` instead, an end at once; gives whether there was one."""
    its = (DELIVERY.c.alert_id == alert_id, DELIVERY.c.receiver == receiver, _PENDING_OF_ALERT)
    is_untried = (DELIVERY.c.body.is_(None), DELIVERY.c.event.in_(_UPDATES), DELIVERY.c.ordinal != ESCALATION)
    due_at = DELIVERY.c.created_at if event is Event.RESOLVED else DELIVERY.c.due_at
    statement = DELIVERY.update().where(*its, *is_untried)
    return connection.execute(statement.values(event=event.value, due_at=due_at)).rowcount > 0


def suppress(connection: Connection, delivery_id: str, why: str) -> None:
    """End a delivery that was never tried, with the reason for it."""
    _end(connection, delivery_id, status=DeliveryStatus.SUPPRESSED.value, why=why)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows a command is about; None and empty mean all."""

    ids: Collection[str] | None = None
    receiver: str | None = None
    since: datetime | None = None
    status: DeliveryStatus | None = None

    def tests(self) -> list[ColumnElement[bool]]:
        """Give the conditions."""
        tests: list[ColumnElement[bool]] = []
        if self.status is not None:
            tests.append(DELIVERY.c.status == self.status.value)
        if self.ids is not None:
            tests.append(DELIVERY.c.id.in_(self.ids))
        if self.receiver is not None:
            tests.append(DELIVERY.c.receiver == self.receiver)
        if self.since is not None:
            tests.append(DELIVERY.c.created_at >= self.since)
        return tests


def find(
    connection: Connection,
    *,
    limit: int,
    is_dead: bool = False,
    receiver: str | None = None,
    since: datetime | None = None,
    status: DeliveryStatus | None = None,
) -> list[Delivery]:
    """Read the rows made last, newest first."""
    wanted = Wanted(receiver=receiver, since=since, status=DeliveryStatus.DEAD if is_dead else status)
    statement = _DELIVERIES.where(*wanted.tests()).order_by(DELIVERY.c.created_at.desc(), DELIVERY.c.id)
    return [delivery_of(row) for row in connection.execute(statement.limit(limit))]


def read(connection: Connection, delivery_id: str) -> Delivery | None:
    """Read one row."""
    row = connection.execute(_DELIVERIES.where(DELIVERY.c.id == delivery_id)).first()
    return delivery_of(row) if row else None


def read_by_prefix(connection: Connection, beginning: str) -> list[Delivery]:
    """Read the rows whose id begins so; at most two, which is enough to know that it is not the only one."""
    statement = _DELIVERIES.where(DELIVERY.c.id.startswith(beginning, autoescape=True)).limit(2)
    return [delivery_of(row) for row in connection.execute(statement)]


def replay(
    connection: Connection,
    ids: Collection[str] | None,
    now: datetime,
    *,
    receiver: str | None = None,
    since: datetime | None = None,
) -> int:
    """Make dead rows (None: all of them, as far as the filters go) pending again, under the same ids; give how many.

    The end of an alert, which was kept from a receiver because it did not take the opening, follows that opening now.
    """
    again = {**_again(now), "why": None}
    wanted = Wanted(ids, receiver, since, DeliveryStatus.DEAD)
    replayed = connection.execute(DELIVERY.update().where(*wanted.tests()).values(again)).rowcount
    connection.execute(DELIVERY.update().where(*_UNTOLD_ENDS).values(again))
    return replayed


def _again(now: datetime) -> dict[str, Any]:
    """Give what makes a row pending once more, as if it were new."""
    return {
        "status": DeliveryStatus.PENDING.value,
        "due_at": now,
        "started_at": now,
        "attempts": 0,
        "leased_until": None,
    }


def drop(connection: Connection, wanted: Wanted, who: str) -> int:
    """Let dead rows go for good: nobody is told of them, and they trouble nobody any more. Gives how many there were."""
    dropped = {"status": DeliveryStatus.SUPPRESSED.value, "why": "dropped", "ref": who}
    tests = replace(wanted, status=DeliveryStatus.DEAD).tests()
    return connection.execute(DELIVERY.update().where(*tests).values(dropped)).rowcount


def read_letters(connection: Connection, wanted: Wanted) -> list[Delivery]:
    """Read dead rows, each alert's in the order of sending; what they say is left out, which may be much."""
    columns = [column if column.name != "body" else _IS_FROZEN for column in READ]
    statement = select(*columns).where(*replace(wanted, status=DeliveryStatus.DEAD).tests())
    order = (DELIVERY.c.alert_id, DELIVERY.c.receiver, DELIVERY.c.ordinal)
    return [delivery_of(row) for row in connection.execute(statement.order_by(*order))]


def count_letters(connection: Connection, wanted: Wanted, *, besides: Collection[str]) -> dict[str, int]:
    """Count the dead rows of each receiver but these."""
    tests = (*replace(wanted, status=DeliveryStatus.DEAD).tests(), DELIVERY.c.receiver.not_in(besides))
    statement = select(DELIVERY.c.receiver, func.count()).where(*tests).group_by(DELIVERY.c.receiver)
    return {row[0]: int(row[1]) for row in connection.execute(statement.order_by(DELIVERY.c.receiver))}


def move(connection: Connection, letter: Delivery, to: str, ordinal: int, event: Event, now: datetime) -> None:
    """Make a dead row one of another receiver, under the id it had, due now; a row in its old place says where it went.

    That row keeps the number from being used again: the id of the next message would be this one's.
    """
    values = {
        **_again(now),
        "receiver": to,
        "ordinal": ordinal,
        "event": event.value,
        "mutes": None,
        "why": READDRESSED,
        "ref": letter.receiver,
    }
    connection.execute(DELIVERY.update().where(DELIVERY.c.id == letter.id).values(values))
    name = stable_id("moved", letter.id, letter.receiver, str(letter.ordinal))
    left = structs.replace(letter, id=name, status=DeliveryStatus.SUPPRESSED, why=READDRESSED, ref=to, body=None)
    insert_new(connection, [left])
    connection.execute(DELIVERY.update().where(DELIVERY.c.fallback_of == letter.id).values(fallback_of=name))


def read_strangers(connection: Connection, receivers: Collection[str]) -> list[str]:
    """Name the receivers, none of these, for which something waits: to be sent, or to be told of in a summary."""
    pending = select(DELIVERY.c.receiver).where(_PENDING)
    found = connection.execute(pending.union(select(DELIVERY.c.receiver).where(DELIVERY.c.awaits.is_not(None))))
    return sorted(set(found.scalars()) - set(receivers))


def is_taken(connection: Connection, alert_id: str, receiver: str, ordinal: int) -> bool:
    """Say whether there is a row of that number."""
    place = (DELIVERY.c.alert_id == alert_id, DELIVERY.c.receiver == receiver, DELIVERY.c.ordinal == ordinal)
    return connection.execute(select(DELIVERY.c.id).where(*place)).first() is not None


def end_unneeded_escalations(connection: Connection, receiver: str) -> None:
    """End the escalations to a receiver of alerts that a person took on, or that are over."""
    escalations = (_PENDING, DELIVERY.c.receiver == receiver, DELIVERY.c.ordinal == ESCALATION)
    alert_status = select(ALERT.c.status).where(ALERT.c.id == DELIVERY.c.alert_id).scalar_subquery()
    ended = {"status": DeliveryStatus.SUPPRESSED.value, "why": alert_status, "leased_until": None}
    connection.execute(DELIVERY.update().where(*escalations, alert_status != Status.OPEN.value).values(ended))


def bury_all(connection: Connection, receiver: str, why: str) -> list[tuple[str, Event]]:
    """Bury all that waits for a receiver, what storms and digests kept back too; give the alert and event of each."""
    kept_back = DELIVERY.c.status.in_((DeliveryStatus.HELD.value, DeliveryStatus.COLLAPSED.value))
    waits = (DELIVERY.c.receiver == receiver, or_(_PENDING, and_(DELIVERY.c.awaits.is_not(None), kept_back)))
    order = (DELIVERY.c.alert_id, DELIVERY.c.ordinal)
    rows = connection.execute(select(DELIVERY.c.alert_id, DELIVERY.c.event).where(*waits).order_by(*order))
    found = [(row.alert_id, Event(row.event)) for row in rows]
    dead = {"status": DeliveryStatus.DEAD.value, "why": why, "awaits": None, "ref": None, "leased_until": None}
    connection.execute(DELIVERY.update().where(*waits).values(dead))
    return found


def count_queues(connection: Connection) -> dict[str, Queue]:
    """Count what each receiver has pending and dead; an escalation that may never be needed waits for nothing."""
    statement = (
        select(DELIVERY.c.receiver, DELIVERY.c.status, func.count())
        .where(DELIVERY.c.status.in_((DeliveryStatus.PENDING.value, DeliveryStatus.DEAD.value)))
        .where(or_(DELIVERY.c.ordinal != ESCALATION, DELIVERY.c.status == DeliveryStatus.DEAD.value))
        .group_by(DELIVERY.c.receiver, DELIVERY.c.status)
    )
    counts: dict[str, dict[str, int]] = {}
    for receiver, status, count in connection.execute(statement):
        counts.setdefault(receiver, {})[status] = count
    return {name: Queue(found.get("pending", 0), found.get("dead", 0)) for name, found in counts.items()}


@dataclass(frozen=True, slots=True)
class Waiting:
    """Pending messages of one receiver, those that failed before apart; `due_at` is the first one's."""

    receiver: str
    has_failed: bool
    count: int
    due_at: datetime


def read_waiting(connection: Connection) -> list[Waiting]:
    """Read what waits for each receiver, and until when; an escalation that may never be needed waits for nothing."""
    has_failed = DELIVERY.c.last_error.is_not(None).label("has_failed")
    statement = (
        select(DELIVERY.c.receiver, has_failed, func.count(), func.min(DELIVERY.c.due_at).label("due_at"))
        .where(_PENDING, DELIVERY.c.ordinal != ESCALATION)
        .group_by(DELIVERY.c.receiver, has_failed)
        .order_by(DELIVERY.c.receiver, has_failed)
    )
    return [Waiting(row[0], bool(row[1]), row[2], row[3]) for row in connection.execute(statement)]


def count_sent(connection: Connection) -> int:
    """Count the messages that were taken."""
    sent = select(func.count()).select_from(DELIVERY).where(DELIVERY.c.status == DeliveryStatus.SENT.value)
    return connection.execute(sent).scalar() or 0


def delivered_latencies(connection: Connection, limit: int) -> list[tuple[datetime, datetime, datetime]]:
    """Give (happened, opened, first delivered) of the alerts delivered last."""
    sent = DELIVERY.c.status == DeliveryStatus.SENT.value
    first = (
        select(DELIVERY.c.alert_id, func.min(DELIVERY.c.sent_at).label("at")).where(sent).group_by(DELIVERY.c.alert_id)
    )
    told = first.subquery()
    statement = select(ALERT.c.happened_at, ALERT.c.opened_at, told.c.at).join(told, told.c.alert_id == ALERT.c.id)
    return [(row[0], row[1], row[2]) for row in connection.execute(statement.order_by(told.c.at.desc()).limit(limit))]


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
        json.dumps(delivery.mutes) if delivery.mutes else None,
        delivery.fallback_of,
        delivery.why,
        delivery.ref,
        delivery.body,
    )


def delivery_of(row: Sequence[Any]) -> Delivery:
    """Make the noun of what `READ` names, in its order."""
    (
        delivery_id, alert_id, receiver, event, ordinal, status, attempts, created_at, started_at, due_at, sent_at, last_error,
        why, ref, mutes, fallback_of, awaits, body,
    ) = row  # fmt: skip
    return Delivery(
        id=delivery_id,
        alert_id=alert_id,
        receiver=receiver,
        event=Event(event),
        ordinal=ordinal,
        status=DeliveryStatus(status),
        attempts=attempts,
        created_at=from_micros(created_at),
        started_at=from_micros(started_at),
        due_at=from_micros(due_at),
        sent_at=from_stored(sent_at),
        last_error=last_error,
        why=why,
        body=body,
        ref=ref,
        mutes=tuple(json.loads(mutes)) if mutes else (),
        fallback_of=fallback_of,
        awaits=awaits,
    )
