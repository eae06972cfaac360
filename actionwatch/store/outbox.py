"""The outbox, read: one row for each message of an alert for a receiver. `delivery_transitions.py` writes it.

Order within alert and receiver is `ordinal`: a row is claimed only when no earlier one is pending. A claim is a lease that
ends by itself, so that the rows of a killed process are claimed again.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    bindparam,
    case,
    exists,
    func,
    or_,
    select,
    type_coerce,
)

from actionwatch.base.delivery import ESCALATION, Delivery, DeliveryStatus
from actionwatch.base.model import Alert
from actionwatch.store import alerts
from actionwatch.store.column_types import Instant, RowFormat
from actionwatch.store.statements import PageKey, first_two, has_row, is_after, portions, without_index
from actionwatch.store.tables import ALERT, DELIVERY, MESSAGE_REFERENCE

# The properties of `Delivery` as SQL conditions.
IS_PENDING = DELIVERY.c.status == DeliveryStatus.PENDING.value
IS_SENT = DELIVERY.c.status == DeliveryStatus.SENT.value
IS_ESCALATION = DELIVERY.c.ordinal <= ESCALATION
IS_FROZEN = DELIVERY.c.body.is_not(None)
IS_LEASED = DELIVERY.c.leased_until.is_not(None)
IS_FALLBACK = DELIVERY.c.fallback_of.is_not(None)
AWAITS_SUMMARY = DELIVERY.c.awaits.is_not(None)

_ROWS = RowFormat(DELIVERY, {name: name for name in Delivery.__struct_fields__})
READ = _ROWS.columns
"""The columns that `delivery_of` reads, in its order."""
_DELIVERIES = select(*READ)
_WITHOUT_BODY = [column if column.name != "body" else case((IS_FROZEN, "{}")).label("body") for column in READ]

# Built once: building a statement takes as long as running it.
_NOW = bindparam("now", type_=Instant)
_OTHER = DELIVERY.alias()
_IS_BESIDE = (_OTHER.c.alert_id == DELIVERY.c.alert_id, _OTHER.c.receiver == DELIVERY.c.receiver)
IS_BEHIND = (
    *_IS_BESIDE,
    _OTHER.c.ordinal < DELIVERY.c.ordinal,
    _OTHER.c.status == DeliveryStatus.PENDING.value,
    # No message waits for an escalation before its first attempt: its receiver may have got nothing until then.
    or_(_OTHER.c.ordinal > ESCALATION, _OTHER.c.body.is_not(None)),
)
"""For `exists`: an earlier row of the same alert and receiver is pending."""
_CLAIMABLE = (
    IS_PENDING,
    DELIVERY.c.receiver == bindparam("wanted"),
    or_(DELIVERY.c.leased_until.is_(None), DELIVERY.c.leased_until < _NOW),
    ~exists().where(*IS_BEHIND),
)
"""No lease holds the row, and no earlier row of its alert and receiver is pending."""


def notifies(row: FromClause) -> ColumnElement[bool]:
    """Return the condition that the receiver of a row accepted its message, or got a digest that listed its alert."""
    is_in_digest = and_(row.c.status == DeliveryStatus.HELD.value, row.c.reported_in.is_not(None))
    return or_(row.c.status == DeliveryStatus.SENT.value, is_in_digest)


_IS_NOTIFIED = exists().where(*_IS_BESIDE, notifies(_OTHER))
_REFERENCE = (
    select(MESSAGE_REFERENCE.c.value)
    .where(MESSAGE_REFERENCE.c.alert_id == DELIVERY.c.alert_id, MESSAGE_REFERENCE.c.receiver == DELIVERY.c.receiver)
    .scalar_subquery()
)
_DUE = (
    select(*READ, _IS_NOTIFIED.label("is_notified"), _REFERENCE.label("reference"), *alerts.READ)
    .select_from(DELIVERY.join(ALERT, ALERT.c.id == DELIVERY.c.alert_id, isouter=True))
    .where(*_CLAIMABLE, DELIVERY.c.due_at <= _NOW)
    .order_by(DELIVERY.c.due_at)  # only this: a second column would sort thousands of rows that fell due at one instant
    .limit(bindparam("most"))
)
_DUE_UNFROZEN = _DUE.where(~IS_FROZEN)
_OF_ALERT = _DELIVERIES.where(DELIVERY.c.alert_id == bindparam("wanted")).order_by(
    DELIVERY.c.receiver, DELIVERY.c.ordinal
)
NEXT_DUE = select(DELIVERY.c.due_at).where(*_CLAIMABLE).order_by(DELIVERY.c.due_at).limit(1)


def count_at_most(some: Select[Any]) -> Select[int]:
    """Return a query that counts at most `most` rows."""
    return select(func.count()).select_from(some.limit(bindparam("most")).subquery())


IS_LEASED_NOW = DELIVERY.c.leased_until >= _NOW


@dataclass(frozen=True, slots=True)
class DueDelivery:
    """A row that can be claimed; its alert, None where the store no longer has it; whether its receiver was notified.

    `reference` is what the receiver calls its message about the alert (a Slack `ts`), if it got one.
    """

    delivery: Delivery
    alert: Alert | None
    is_notified: bool
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Queue:
    """The number of messages of one receiver that are pending and dead."""

    pending: int = 0
    dead: int = 0


def read_due(connection: Connection, receiver: str, now: datetime, limit: int) -> list[DueDelivery]:
    """Read the due rows of a receiver that no lease holds, longest due first."""
    return _read_due(connection, _DUE, receiver, now, limit)


def read_due_unfrozen(connection: Connection, receiver: str, now: datetime, limit: int) -> list[DueDelivery]:
    """Read, of the rows that `read_due` reads, those whose text is not fixed yet."""
    return _read_due(connection, _DUE_UNFROZEN, receiver, now, limit)


def _read_due(
    connection: Connection, statement: Select[Any], receiver: str, now: datetime, limit: int
) -> list[DueDelivery]:
    rows = connection.execute(statement, {"wanted": receiver, "now": now, "most": limit})
    # One statement for everything: between two rows SQLite's driver lets other threads run, and waits for its turn.
    width = len(READ)
    return [
        DueDelivery(
            delivery_of(row[:width]),
            alerts.alert_of(row[width + 2 :]) if row[width + 2] else None,
            bool(row[width]),
            row[width + 1],
        )
        for row in rows
    ]


def next_due(connection: Connection, receiver: str, now: datetime) -> datetime | None:
    """Return when the next row of a receiver that can be claimed falls due; None when none waits."""
    due: datetime | None = connection.execute(NEXT_DUE, {"wanted": receiver, "now": now}).scalar()
    return due


def read_of_alert(connection: Connection, alert_id: str) -> list[Delivery]:
    """Read the rows of one alert, by receiver and order."""
    return [delivery_of(row) for row in connection.execute(_OF_ALERT, {"wanted": alert_id})]


def read_pending(connection: Connection, receiver: str, alert_ids: Collection[str]) -> list[Delivery]:
    """Read the pending rows of these alerts for a receiver, by alert and order. A frozen body is read as `{}`."""
    c = DELIVERY.c
    its = (c.receiver == receiver, without_index(c.status) == DeliveryStatus.PENDING.value)
    statement = select(*_WITHOUT_BODY).where(*its).order_by(c.alert_id, c.ordinal)
    chosen = (statement.where(c.alert_id.in_(some)) for some in portions(alert_ids))
    return [delivery_of(row) for each in chosen for row in connection.execute(each)]


def read_reached(connection: Connection, receiver: str, alert_ids: Collection[str]) -> set[str]:
    """Return which of these alerts have a row for a receiver that is neither pending nor suppressed: sent, held, dead."""
    undecided = (DeliveryStatus.PENDING.value, DeliveryStatus.SUPPRESSED.value)
    its = (DELIVERY.c.alert_id == ALERT.c.id, DELIVERY.c.receiver == receiver)
    is_reached = has_row(*its, without_index(DELIVERY.c.status).not_in(undecided))
    chosen = (select(ALERT.c.id).where(ALERT.c.id.in_(some), is_reached) for some in portions(alert_ids))
    return {alert_id for each in chosen for alert_id in connection.execute(each).scalars()}


@dataclass(frozen=True, slots=True)
class Stop:
    """A row that a gate stopped: `why` is the gate, `ref` what it refers to."""

    receiver: str
    status: DeliveryStatus
    why: str | None
    ref: str | None


def read_stopped(connection: Connection, alert_ids: Collection[str]) -> dict[str, list[Stop]]:
    """Read the rows of each alert that are never sent, by receiver and order, without their bodies. Every id has a key."""
    c = DELIVERY.c
    stopped = [each.value for each in (DeliveryStatus.SUPPRESSED, DeliveryStatus.COLLAPSED, DeliveryStatus.HELD)]
    statement = select(c.alert_id, c.receiver, c.status, c.why, c.ref).where(c.status.in_(stopped))
    found: dict[str, list[Stop]] = {alert_id: [] for alert_id in alert_ids}
    for some in portions(found):
        chosen = statement.where(c.alert_id.in_(some)).order_by(c.alert_id, c.receiver, c.ordinal)
        for alert_id, *values in connection.execute(chosen):
            found[alert_id].append(Stop(*values))
    return found


def without_digests(stops: Sequence[Stop]) -> list[Stop]:
    """Return what stopped messages, each once: what a digest holds is sent with it."""
    return list(dict.fromkeys(stop for stop in stops if stop.status is not DeliveryStatus.HELD))


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """The rows that a command is about; None means all."""

    ids: Collection[str] | None = None
    receiver: str | None = None
    since: datetime | None = None
    status: DeliveryStatus | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return the SQL conditions."""
        conditions: list[ColumnElement[bool]] = []
        status: ColumnElement[str] = DELIVERY.c.status
        receiver: ColumnElement[str] = DELIVERY.c.receiver
        if self.ids is not None:
            conditions.append(DELIVERY.c.id.in_(self.ids))
            # SQLite would read all rows of the receiver in that status instead of those with these ids.
            status, receiver = without_index(status), without_index(receiver)
        if self.status is not None:
            conditions.append(status == self.status.value)
        if self.receiver is not None:
            conditions.append(receiver == self.receiver)
        if self.since is not None:
            conditions.append(DELIVERY.c.created_at >= self.since)
        return conditions


def find(connection: Connection, *, limit: int, is_dead: bool = False, receiver: str | None = None) -> list[Delivery]:
    """Read the newest rows, newest first."""
    wanted = DeliveryFilter(receiver=receiver, status=DeliveryStatus.DEAD if is_dead else None)
    created_at = type_coerce(DELIVERY.c.created_at, BigInteger)
    # Dead letters are few: in the order of an index, SQLite would look for them among all messages of the receiver.
    order = without_index(created_at) if is_dead else created_at
    statement = _DELIVERIES.where(*wanted.conditions()).order_by(order.desc(), DELIVERY.c.id)
    return [delivery_of(row) for row in connection.execute(statement.limit(limit))]


def read_page(
    connection: Connection, status: DeliveryStatus | None, receiver: str | None, limit: int, after: PageKey | None
) -> tuple[list[Delivery], PageKey | None]:
    """Read the next rows in a status, by receiver and the time when they are or were due, after a place, without their bodies.

    With None, the rows of any status that wait for a summary, by receiver. Also return after which place the list continues.
    """
    its = AWAITS_SUMMARY if status is None else DELIVERY.c.status == status.value
    order = (DELIVERY.c.receiver, DELIVERY.c.awaits if status is None else DELIVERY.c.due_at, DELIVERY.c.id)
    if receiver is not None:  # of one receiver, an index serves only a place in the rest of the order
        wanted = [its, DELIVERY.c.receiver == receiver, *is_after(order[1:], after and after[1:])]
    else:
        wanted = [its, *is_after(order, after)]
    rows = connection.execute(select(*_WITHOUT_BODY).where(*wanted).order_by(*order).limit(limit + 1))
    found = [delivery_of(row) for row in rows]
    if len(found) <= limit:
        return found, None
    last = found[limit - 1]
    return found[:limit], (last.receiver, last.awaits if status is None else last.due_at, last.id)


def read(connection: Connection, delivery_id: str) -> Delivery | None:
    """Read one row."""
    row = connection.execute(_DELIVERIES.where(DELIVERY.c.id == delivery_id)).first()
    return delivery_of(row) if row else None


def read_started(connection: Connection, ids: Collection[str]) -> dict[str, datetime]:
    """Read when rows were created or last replayed, by id."""
    rows = connection.execute(select(DELIVERY.c.id, DELIVERY.c.started_at).where(DELIVERY.c.id.in_(ids)))
    return {row.id: row.started_at for row in rows}


def read_by_prefix(connection: Connection, beginning: str) -> list[Delivery]:
    """Read at most two rows whose id has this prefix: two show that it is not unique."""
    return [delivery_of(row) for row in connection.execute(first_two(_DELIVERIES, DELIVERY.c.id, beginning))]


def read_dead_letters(connection: Connection, wanted: DeliveryFilter) -> list[Delivery]:
    """Read dead rows, those of each alert in the order of sending. A frozen body is read as `{}`, because it may be large."""
    return [delivery_of(row) for row in connection.execute(_dead_letters(wanted, *_WITHOUT_BODY))]


def read_dead_ids(connection: Connection, wanted: DeliveryFilter) -> Sequence[str]:
    """Read the ids of dead rows, in the order of `read_dead_letters`."""
    return connection.execute(_dead_letters(wanted, DELIVERY.c.id)).scalars().all()


def _dead_letters(wanted: DeliveryFilter, *columns: ColumnElement[Any]) -> Select[Any]:
    conditions = replace(wanted, status=DeliveryStatus.DEAD).conditions()
    return select(*columns).where(*conditions).order_by(DELIVERY.c.alert_id, DELIVERY.c.receiver, DELIVERY.c.ordinal)


def count_dead_letters(connection: Connection, wanted: DeliveryFilter, *, excluding: Collection[str]) -> dict[str, int]:
    """Count the dead rows of each receiver that is not in `excluding`."""
    conditions = (*replace(wanted, status=DeliveryStatus.DEAD).conditions(), DELIVERY.c.receiver.not_in(excluding))
    statement = select(DELIVERY.c.receiver, func.count()).where(*conditions).group_by(DELIVERY.c.receiver)
    return {row[0]: int(row[1]) for row in connection.execute(statement.order_by(DELIVERY.c.receiver))}


def count_dead_of_alerts(connection: Connection, alert_ids: Collection[str]) -> dict[str, int]:
    """Count the dead rows of these alerts, by receiver."""
    its = (DELIVERY.c.alert_id.in_(alert_ids), without_index(DELIVERY.c.status) == DeliveryStatus.DEAD.value)
    rows = connection.execute(select(DELIVERY.c.receiver, func.count()).where(*its).group_by(DELIVERY.c.receiver))
    return {row[0]: int(row[1]) for row in rows}


def read_unknown_receivers(connection: Connection, receivers: Collection[str]) -> list[str]:
    """Return the receivers, none of these, for which a message waits to be sent or to be reported in a summary."""
    pending = select(DELIVERY.c.receiver).where(IS_PENDING)
    found = connection.execute(pending.union(select(DELIVERY.c.receiver).where(AWAITS_SUMMARY)))
    return sorted(set(found.scalars()) - set(receivers))


def has_ordinal(connection: Connection, alert_id: str, receiver: str, ordinal: int) -> bool:
    """Return whether there is a row with that ordinal."""
    place = (DELIVERY.c.alert_id == alert_id, DELIVERY.c.receiver == receiver, DELIVERY.c.ordinal == ordinal)
    return connection.execute(select(DELIVERY.c.id).where(*place)).first() is not None


_QUEUES = (  # built once: each look at the health of receivers runs it
    select(DELIVERY.c.receiver, DELIVERY.c.status, func.count())
    .where(DELIVERY.c.status.in_((DeliveryStatus.PENDING.value, DeliveryStatus.DEAD.value)))
    .where(or_(~IS_ESCALATION, DELIVERY.c.status == DeliveryStatus.DEAD.value))
    .group_by(DELIVERY.c.receiver, DELIVERY.c.status)
)


def count_queues(connection: Connection) -> dict[str, Queue]:
    """Count the pending and dead rows of each receiver. A pending escalation is left out: it may never be needed."""
    counts: dict[str, dict[str, int]] = {}
    for receiver, status, count in connection.execute(_QUEUES):
        counts.setdefault(receiver, {})[status] = count
    return {name: Queue(found.get("pending", 0), found.get("dead", 0)) for name, found in counts.items()}


@dataclass(frozen=True, slots=True)
class Waiting:
    """Pending messages of one receiver that failed before, or that did not; `due_at` is the earliest."""

    receiver: str
    has_failed: bool
    count: int
    due_at: datetime


def read_waiting(connection: Connection) -> list[Waiting]:
    """Read what waits for each receiver, and until when. Escalations are left out: they may never be needed."""
    has_failed = DELIVERY.c.last_error.is_not(None).label("has_failed")
    statement = (
        select(DELIVERY.c.receiver, has_failed, func.count(), func.min(DELIVERY.c.due_at).label("due_at"))
        .where(IS_PENDING, ~IS_ESCALATION)
        .group_by(DELIVERY.c.receiver, has_failed)
        .order_by(DELIVERY.c.receiver, has_failed)
    )
    return [Waiting(row[0], bool(row[1]), row[2], row[3]) for row in connection.execute(statement)]


def count_sent(connection: Connection) -> int:
    """Count the messages that receivers accepted."""
    return connection.execute(select(func.count()).select_from(DELIVERY).where(IS_SENT)).scalar_one()


def delivered_latencies(connection: Connection, limit: int) -> list[tuple[datetime, datetime, datetime]]:
    """Return (happened, opened, first delivered) of the alerts delivered last."""
    sent_at = func.min(DELIVERY.c.sent_at).label("at")
    sent_first = select(DELIVERY.c.alert_id, sent_at).where(IS_SENT).group_by(DELIVERY.c.alert_id).subquery()
    columns = (ALERT.c.happened_at, ALERT.c.opened_at, sent_first.c.at)
    statement = select(*columns).join(sent_first, sent_first.c.alert_id == ALERT.c.id)
    newest = connection.execute(statement.order_by(sent_first.c.at.desc()).limit(limit))
    return [(row[0], row[1], row[2]) for row in newest]


def delivery_of(row: Sequence[Any]) -> Delivery:
    """Make a delivery from a row that begins with the columns of `READ`."""
    return Delivery(*_ROWS.restore(row[: len(READ)]))
