"""Fallback: send a copy, with another id, of what does not reach a receiver to its fallback receiver.

The opening and the resolution of an alert are copied, each once: when the original becomes a dead letter, or when its receiver
has failed for `fallback_after`. The original stays as it is, and may still arrive late.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import structlog
from sqlalchemy import Connection

from actionwatch.alerts.policy import ReceiverPolicy
from actionwatch.base.delivery import Delivery, new_delivery
from actionwatch.base.model import Event
from actionwatch.store import alert_history, delivery_transitions, fallback_deliveries, receiver_progress
from actionwatch.store.receiver_progress import ReceiverProgress
from actionwatch.store.receivers import Health

COPIED = (Event.OPENED, Event.RESOLVED)
ROWS_AT_ONCE = 500  # one transaction copies this many

log = structlog.get_logger()


class Fallbacks:
    """Copies rows to the fallbacks of receivers with these policies."""

    def __init__(self, policies: Mapping[str, ReceiverPolicy]) -> None:
        self._policies = policies

    def failing(self, health: Mapping[str, Health], now: datetime) -> list[str]:
        """Return the receivers that have a fallback and have failed for long enough to use it."""
        return [
            name
            for name, policy in self._policies.items()
            if policy.fallback is not None and _has_failed_since(health.get(name), now, policy)
        ]

    def fall_back(self, connection: Connection, delivery: Delivery, why: str, now: datetime) -> None:
        """Copy a row to the fallback of its receiver, unless that event of its alert was copied before."""
        policy = self._policies.get(delivery.receiver, ReceiverPolicy())
        if policy.fallback is None or delivery.event not in COPIED:
            return
        if fallback_deliveries.is_copied(connection, delivery.alert_id, delivery.receiver, delivery.event):
            return
        known = receiver_progress.read(connection, delivery.alert_id).get(policy.fallback, ReceiverProgress())
        alert_id, ordinal = delivery.alert_id, known.next_ordinal
        row = new_delivery(alert_id, policy.fallback, delivery.event, ordinal, now, now, fallback_of=delivery.id)
        delivery_transitions.enqueue(connection, [row])
        what = f"{policy.fallback} replaces {delivery.receiver} ({delivery.event}): {why}"
        alert_history.append(connection, [alert_history.Entry(now, alert_id, "fallback", what)])
        log.warning("fallback_used", delivery=delivery.id, receiver=delivery.receiver, fallback=policy.fallback)

    def copy_ends(self, connection: Connection, ends: Sequence[Delivery], now: datetime) -> None:
        """Copy the ends of alerts whose opening was copied, even if the receiver got the opening since."""
        for delivery in ends:
            policy = self._policies.get(delivery.receiver, ReceiverPolicy())
            if policy.fallback is not None and fallback_deliveries.is_copied(
                connection, delivery.alert_id, delivery.receiver, Event.OPENED
            ):
                self.fall_back(connection, delivery, "it got the opening", now)

    def fall_back_all(self, connection: Connection, receiver: str, now: datetime) -> None:
        """Copy what waits for a failing receiver."""
        for delivery in fallback_deliveries.read_uncopied(connection, receiver, ROWS_AT_ONCE):
            is_end = delivery.event is Event.RESOLVED
            if is_end and not fallback_deliveries.is_copied(connection, delivery.alert_id, receiver, Event.OPENED):
                continue  # the receiver got the opening: the end waits for it too
            self.fall_back(connection, delivery, "it has failed for too long", now)


def _has_failed_since(health: Health | None, now: datetime, policy: ReceiverPolicy) -> bool:
    return (
        health is not None and health.failing_since is not None and now - health.failing_since >= policy.fallback_after
    )
