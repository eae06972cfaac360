"""Withdraw the messages of a decision that a person takes back, as far as nobody has got them. `addressing.py` calls it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from actionwatch.alerts.policy import ReceiverPolicy
from actionwatch.base.delivery import Delivery, DeliveryStatus
from actionwatch.base.model import Alert, Event, Status
from actionwatch.store import delivery_transitions, outbox
from actionwatch.store.delivery_transitions import Suppression


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """The receivers whose message of the decision was not attempted, and is withdrawn; and those that have got it."""

    spared: frozenset[str]
    reached: frozenset[str]


def withdraw(
    connection: Connection, before: Alert, alert: Alert, policies: Mapping[str, ReceiverPolicy], now: datetime
) -> Withdrawal:
    """Withdraw the messages about what was decided `before`: each becomes the update that it was or that a receiver can show
    in place; one that would be a further message is suppressed.
    """
    event = Event.RESOLVED if before.status is Status.RESOLVED else Event.ACKED
    rows = [row for row in outbox.read_of_alert(connection, alert.id) if not row.is_escalation]
    waiting = [row for row in rows if row.event is event and _is_unattempted(row)]
    further = [row for row in waiting if _is_further(row, before, policies)]
    delivery_transitions.suppress(connection, [Suppression(row, "reopened", alert.reopened_by) for row in further])
    for row in waiting:
        policy = policies.get(row.receiver)
        if row not in further and policy is not None:
            # Mail is updated when no more matches can join.
            due_at = max(now, min(alert.first_at, now) + alert.realert) if policy.is_updated_last else None
            delivery_transitions.change_event(connection, alert.id, row.receiver, Event.UPDATED, due_at)
    spared = frozenset(row.receiver for row in waiting)
    return Withdrawal(spared, _reached(rows, event) - spared)


def end_escalations(connection: Connection, before: Alert) -> None:
    """End the escalations that a decision stopped: the alert is open again, and they would be sent at their old times."""
    who = before.resolved_by or before.acked_by
    delivery_transitions.suppress(
        connection,
        [
            Suppression(row, before.status.value, who)
            for row in outbox.read_of_alert(connection, before.id)
            if row.is_escalation and _is_unattempted(row)
        ],
    )


def _is_unattempted(row: Delivery) -> bool:
    return row.status is DeliveryStatus.PENDING and not row.is_frozen


def _is_further(row: Delivery, before: Alert, policies: Mapping[str, ReceiverPolicy]) -> bool:
    """Return whether a row exists only for the decision, and its receiver could not show the alert in place."""
    policy = policies.get(row.receiver)
    if policy is None or row.is_fallback:
        return True
    was_update = before.resolved_at is not None and row.created_at < before.resolved_at
    return policy.is_updated_last and not was_update


def _reached(rows: Iterable[Delivery], event: Event) -> frozenset[str]:
    """Return the receivers that have an event since the alert opened for them last. The rows come in the order of sending."""
    found: set[str] = set()
    for row in rows:
        if row.event is Event.OPENED:
            found.discard(row.receiver)
        elif row.event is event and row.status is not DeliveryStatus.SUPPRESSED:
            found.add(row.receiver)
    return frozenset(found)
