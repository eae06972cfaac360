"""Every write that changes a delivery's state: one function for each transition of `base/delivery.py`, under its name.

A function does nothing to a row whose state does not allow its transition. The state is part of each UPDATE, so that two
processes cannot both move a row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from msgspec import structs
from sqlalchemy import ColumnElement, Connection, Update, bindparam, exists, func, or_, select

from actionwatch.base.clock import to_micros
from actionwatch.base.delivery import (
    BURY,
    DROPPED,
    NOT_NOTIFIED,
    READDRESS,
    READDRESSED,
    SUMMARISE,
    Delivery,
    DeliveryStatus,
    Transition,
)
from actionwatch.base.ids import stable_id
from actionwatch.base.model import Event, Status
from actionwatch.store.column_types import Instant, RowFormat
from actionwatch.store.outbox import (
    AWAITS_SUMMARY,
    IS_BEHIND,
    IS_ESCALATION,
    IS_FROZEN,
    IS_LEASED,
    IS_PENDING,
    DeliveryFilter,
)
from actionwatch.store.statements import bulk_insert, bulk_update, portions, without_index
from actionwatch.store.suppressed_deliveries import SummaryGroup
from actionwatch.store.tables import ALERT, DELIVERY

# Null in a new row. They are left out, because the driver spends more time on a NULL than on a text.
_UNSET = ("sent_at", "last_error", "awaits", "leased_by")
_NEW = RowFormat(DELIVERY, {name: name for name in Delivery.__struct_fields__ if name not in ("status", *_UNSET)})
# With an index by status or receiver, SQLite would read all pending rows of a receiver, or all that it ever had, instead of
# those with the given ids: from two ids on, it believes that to be as good.
_IS_STILL_PENDING = without_index(DELIVERY.c.status) == DeliveryStatus.PENDING.value
_ONLY_PENDING = ("status", DeliveryStatus.PENDING.value)
_UPDATES = (Event.UPDATED.value, Event.ACKED.value)
_DECISIONS = (Event.ACKED.value, Event.RESOLVED.value)
_UNLEASED: dict[str, None] = {"leased_until": None, "leased_by": None}

_SENT = (
    DELIVERY.update()
    .where(
        DELIVERY.c.id.in_(bindparam("ids", expanding=True)),
        without_index(DELIVERY.c.receiver) == bindparam("wanted"),
        _IS_STILL_PENDING,
        or_(DELIVERY.c.leased_by.is_(None), DELIVERY.c.leased_by == bindparam("sender")),
    )
    .values(
        status=DeliveryStatus.SENT.value,
        sent_at=bindparam("at", type_=Instant),
        why=None,
        last_error=None,
        **_UNLEASED,
    )
)
_ENDED = (
    DELIVERY.update()
    .where(
        DELIVERY.c.id == bindparam("known_id"),
        _IS_STILL_PENDING,
        DELIVERY.c.attempts == bindparam("attempt"),
        or_(DELIVERY.c.leased_by.is_(None), DELIVERY.c.leased_by == bindparam("sender")),
    )
    .values(last_error=bindparam("error"), **_UNLEASED)
)
_RETRY = _ENDED.values(due_at=bindparam("new_due_at", type_=Instant))
_BURY = _ENDED.values(status=DeliveryStatus.DEAD.value, why=bindparam("new_why"))
_STOP = (
    DELIVERY.update()
    .where(DELIVERY.c.id == bindparam("known_id"), _IS_STILL_PENDING, ~IS_FROZEN)
    .values(
        status=bindparam("new_status"),
        why=bindparam("new_why"),
        ref=bindparam("new_ref"),
        awaits=bindparam("new_awaits"),
        due_at=bindparam("new_due_at", type_=Instant),
        **_UNLEASED,
    )
)
_SUPPRESSED_ENDS = (
    without_index(DELIVERY.c.status) == DeliveryStatus.SUPPRESSED.value,
    DELIVERY.c.event == Event.RESOLVED.value,
    DELIVERY.c.why == NOT_NOTIFIED,
    exists().where(*IS_BEHIND),
)
"""Ends that a gate stopped because the receiver did not get the opening, of alerts that have a pending message now."""


@dataclass(frozen=True, slots=True)
class Suppression:
    """A row that a gate stopped: by what, the silence, alert or interval it refers to, the summary that will report it."""

    delivery: Delivery
    by: str
    ref: str | None = None
    awaits: str | None = None


def enqueue(connection: Connection, deliveries: Sequence[Delivery]) -> int:
    """Insert pending rows and skip ids and places that exist. Return how many are new."""
    return _insert(connection, deliveries, DeliveryStatus.PENDING)


def change_event(
    connection: Connection, alert_id: str, receiver: str, event: Event, due_at: datetime | None = None
) -> bool:
    """Make a pending update that was not attempted report `event` instead, a resolution at once. Return whether one exists.

    A decision that was not attempted can only become an update, due at a time: the alert is open again.
    """
    replaced = _DECISIONS if event is Event.UPDATED else _UPDATES
    its = (DELIVERY.c.alert_id == alert_id, DELIVERY.c.receiver == receiver, _IS_STILL_PENDING)
    is_open = (~IS_FROZEN, DELIVERY.c.event.in_(replaced), ~IS_ESCALATION)
    default = DELIVERY.c.created_at if event is Event.RESOLVED else DELIVERY.c.due_at
    statement = DELIVERY.update().where(*its, *is_open)
    return connection.execute(statement.values(event=event.value, due_at=due_at or default)).rowcount > 0


def claim(
    connection: Connection,
    deliveries: Sequence[Delivery],
    until: datetime,
    sender: str,
    in_hand: Collection[str] = (),
) -> list[Delivery]:
    """Lease pending rows to a process, count the attempt that follows, and freeze their text. Return them as they are then.

    The process is still sending those `in_hand`, by id: their attempt goes on, and only their lease is renewed.
    """
    claimed = [
        structs.replace(each, attempts=each.attempts + (each.id not in in_hand), leased_by=sender)
        for each in deliveries
    ]
    lease = to_micros(until)
    rows = [(each.id, each.event.value, each.body, each.attempts, lease, sender) for each in claimed]
    columns = ("id", "event", "body", "attempts", "leased_until", "leased_by")
    changed_count = bulk_update(connection, DELIVERY, columns, rows, only=_ONLY_PENDING)
    if changed_count == len(rows):
        return claimed
    pending = select(DELIVERY.c.id).where(DELIVERY.c.id.in_([each.id for each in claimed]), _IS_STILL_PENDING)
    held = set(connection.execute(pending).scalars())
    return [each for each in claimed if each.id in held]


def freeze(connection: Connection, deliveries: Sequence[Delivery]) -> None:
    """Fix the text and the event of pending rows before their first attempt."""
    rows = [(each.id, each.event.value, each.body) for each in deliveries]
    bulk_update(connection, DELIVERY, ("id", "event", "body"), rows, only=_ONLY_PENDING)


def release_left(connection: Connection, senders: Collection[str]) -> dict[str, int]:
    """End the leases of all processes but these. Return how many there were for each receiver."""
    return _release(connection, or_(DELIVERY.c.leased_by.is_(None), DELIVERY.c.leased_by.not_in(senders)))


def release_forgotten(connection: Connection, mine: str, in_hand: Collection[str]) -> dict[str, int]:
    """End the leases of this process (`mine`) for rows that it does not have in hand. Return how many for each receiver.

    It did not send them in time, or a failover of the database brought them back.
    """
    return _release(connection, (DELIVERY.c.leased_by == mine) & DELIVERY.c.id.not_in(in_hand))


def _release(connection: Connection, leases: ColumnElement[bool]) -> dict[str, int]:
    its = (IS_PENDING, IS_LEASED, leases)
    found = connection.execute(select(DELIVERY.c.receiver, func.count()).where(*its).group_by(DELIVERY.c.receiver))
    counts = {row[0]: row[1] for row in found}
    if counts:
        connection.execute(DELIVERY.update().where(*its).values(**_UNLEASED))
    return counts


def sent(
    connection: Connection, receiver: str, sender: str | None, notes: Mapping[str, str | None], at: datetime
) -> None:
    """Mark pending rows as sent, by id, unless another process than `sender` has claimed them since.

    A note, such as the recipients that were refused, is kept as `why`.
    """
    if notes:
        connection.execute(_SENT, {"ids": list(notes), "wanted": receiver, "sender": sender, "at": at})
    rows = [(delivery_id, note) for delivery_id, note in notes.items() if note is not None]
    bulk_update(connection, DELIVERY, ("id", "why"), rows, only=("status", DeliveryStatus.SENT.value))


def retry(connection: Connection, delivery: Delivery, due_at: datetime, error: str) -> bool:
    """Make a pending row due later, and with it the rows that wait behind it, unless another process has claimed it since.

    Returns: whether it did.
    """
    if not _end_attempt(connection, delivery, _RETRY, {"new_due_at": due_at, "error": error}):
        return False
    if delivery.is_escalation:
        return True
    behind = (DELIVERY.c.alert_id == delivery.alert_id, DELIVERY.c.receiver == delivery.receiver, _IS_STILL_PENDING)
    is_early = (DELIVERY.c.ordinal > delivery.ordinal, DELIVERY.c.due_at < due_at)
    connection.execute(DELIVERY.update().where(*behind, *is_early).values(due_at=due_at))
    return True


def bury(connection: Connection, delivery: Delivery, why: str, error: str | None = None) -> bool:
    """Make a pending row a dead letter, unless another process has claimed it since. Return whether it did."""
    return _end_attempt(connection, delivery, _BURY, {"new_why": why, "error": error})


def bury_all(connection: Connection, receiver: str, why: str) -> list[tuple[str, Event]]:
    """Make dead letters of all rows that wait for a receiver, or for a storm's summary or a digest.

    Returns: the alert and the event of each row, in the order of sending.
    """
    waits = (DELIVERY.c.receiver == receiver, _allows(BURY))
    order = (DELIVERY.c.alert_id, DELIVERY.c.ordinal)
    rows = connection.execute(select(DELIVERY.c.alert_id, DELIVERY.c.event).where(*waits).order_by(*order))
    found = [(row.alert_id, row.event) for row in rows]
    dead = {"status": DeliveryStatus.DEAD.value, "why": why, "awaits": None, "ref": None, **_UNLEASED}
    connection.execute(DELIVERY.update().where(*waits).values(dead))
    return found


def suppress(connection: Connection, rows: Sequence[Suppression]) -> None:
    """End pending rows that a gate stopped before the first attempt."""
    _stop(connection, DeliveryStatus.SUPPRESSED, [(each, each.delivery.due_at) for each in rows])


def suppress_escalations(connection: Connection, receiver: str) -> None:
    """End the pending escalations to a receiver whose alert is acknowledged or resolved."""
    escalations = (IS_PENDING, DELIVERY.c.receiver == receiver, IS_ESCALATION)
    alert_status = select(ALERT.c.status).where(ALERT.c.id == DELIVERY.c.alert_id).scalar_subquery()
    ended = {"status": DeliveryStatus.SUPPRESSED.value, "why": alert_status, **_UNLEASED}
    connection.execute(DELIVERY.update().where(*escalations, alert_status != Status.OPEN.value).values(ended))


def collapse(connection: Connection, rows: Sequence[tuple[Delivery, datetime]]) -> None:
    """End pending rows that were created in a storm; its summary reports each, not before the given time."""
    _stop(connection, DeliveryStatus.COLLAPSED, [(Suppression(row, "storm", awaits="storm"), at) for row, at in rows])


def hold(connection: Connection, rows: Sequence[tuple[Delivery, datetime]]) -> None:
    """End pending rows of a digest receiver; the digest that is due at the given time reports each."""
    _stop(connection, DeliveryStatus.HELD, [(Suppression(row, "digest", awaits="digest"), at) for row, at in rows])


def summarise(
    connection: Connection, receiver: str, groups: Sequence[SummaryGroup], summary_id: str, now: datetime
) -> None:
    """Mark the rows of these groups as reported by a summary; of a digest only those that are due."""
    for group in groups:
        its = (
            DELIVERY.c.receiver == receiver,
            DELIVERY.c.awaits == group.awaits,
            DELIVERY.c.ref.is_not_distinct_from(group.ref),
            DELIVERY.c.mutes.is_not_distinct_from(group.mutes),
            # SQLite would choose between this index and that of `awaits` by the order in which a store's indexes were created.
            _allows(SUMMARISE, without_index(DELIVERY.c.status)),
        )
        statement = DELIVERY.update().where(*its)
        if group.awaits == "digest":
            statement = statement.where(DELIVERY.c.due_at <= now)
        connection.execute(statement.values(awaits=None, reported_in=summary_id))


def requeue(connection: Connection, wanted: DeliveryFilter, now: datetime) -> int:
    """Make dead rows pending again under the same ids. Return how many.

    The end of an alert, which was kept from a receiver because it did not get the opening, follows that opening now.
    """
    again = {**_pending_again(now), "why": None}
    dead = replace(wanted, status=DeliveryStatus.DEAD).conditions()
    changed = DELIVERY.update().where(*dead).values(again).returning(DELIVERY.c.id)
    letters = connection.execute(changed).scalars().all()
    for some in portions(letters):
        alert_ids = select(DELIVERY.c.alert_id).where(DELIVERY.c.id.in_(some))
        its = (DELIVERY.c.alert_id.in_(alert_ids), *_SUPPRESSED_ENDS)
        connection.execute(DELIVERY.update().where(*its).values(again))
    return len(letters)


def readdress(connection: Connection, letter: Delivery, to: str, ordinal: int, event: Event, now: datetime) -> None:
    """Make a dead row pending for another receiver, under its id. A new row in its old place names that receiver.

    The new row keeps the old number in use: the id of the next message would be the id of this one.
    """
    values = {
        **_pending_again(now),
        "receiver": to,
        "ordinal": ordinal,
        "event": event.value,
        "mutes": None,
        "why": READDRESSED,
        "ref": letter.receiver,
    }
    its = (DELIVERY.c.id == letter.id, _allows(READDRESS))
    if not connection.execute(DELIVERY.update().where(*its).values(values)).rowcount:
        return
    name = stable_id("moved", letter.id, letter.receiver, str(letter.ordinal))
    left = structs.replace(letter, id=name, why=READDRESSED, ref=to, body=None)
    _insert(connection, [left], DeliveryStatus.SUPPRESSED)
    connection.execute(DELIVERY.update().where(DELIVERY.c.fallback_of == letter.id).values(fallback_of=name))


def drop(connection: Connection, wanted: DeliveryFilter, who: str) -> int:
    """Give up dead rows for good. Return how many there were."""
    dropped = {"status": DeliveryStatus.SUPPRESSED.value, "why": DROPPED, "ref": who}
    dead = replace(wanted, status=DeliveryStatus.DEAD).conditions()
    return connection.execute(DELIVERY.update().where(*dead).values(dropped)).rowcount


def _allows(transition: Transition, status: ColumnElement[str] = DELIVERY.c.status) -> ColumnElement[bool]:
    """Return the condition that a row's state allows a transition. Indexes serve it, unless `status` is without one."""
    states = [state for state in transition.sources if state is not None]
    plain = sorted(state.status.value for state in states if not state.awaits_summary)
    awaiting = sorted(state.status.value for state in states if state.awaits_summary)
    allowed = ((plain, ~AWAITS_SUMMARY), (awaiting, AWAITS_SUMMARY))
    return or_(*(status.in_(statuses) & awaits for statuses, awaits in allowed if statuses))


def _end_attempt(connection: Connection, delivery: Delivery, change: Update, values: Mapping[str, Any]) -> bool:
    """Write how the attempt at a pending row ended, and end its lease. Return whether it still was this attempt."""
    its = {"known_id": delivery.id, "attempt": delivery.attempts, "sender": delivery.leased_by}
    return connection.execute(change, {**its, **values}).rowcount > 0


def _stop(connection: Connection, status: DeliveryStatus, rows: Collection[tuple[Suppression, datetime]]) -> None:
    if rows:
        values = [
            {
                "known_id": each.delivery.id,
                "new_status": status,
                "new_why": each.by,
                "new_ref": each.ref,
                "new_awaits": each.awaits,
                "new_due_at": due_at,
            }
            for each, due_at in rows
        ]
        connection.execute(_STOP, values)


def _pending_again(now: datetime) -> dict[str, Any]:
    """Return the values that make a row pending as if it were new."""
    return {
        "status": DeliveryStatus.PENDING.value,
        "due_at": now,
        "started_at": now,
        "attempts": 0,
        **_UNLEASED,
    }


def _insert(connection: Connection, deliveries: Sequence[Delivery], status: DeliveryStatus) -> int:
    columns = {**_NEW.store(deliveries), "status": [status.value] * len(deliveries)}
    return bulk_insert(connection, DELIVERY, columns)
