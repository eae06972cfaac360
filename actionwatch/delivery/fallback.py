"""Fallback: what does not reach a receiver goes to the one named to stand in for it, as a copy with an id of its own.

Copied are the opening and the resolution of an alert, each once: when the original is given up, or when its receiver has been
failing for `fallback_after`. The original stays as it is, and may still arrive late.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import structlog
from sqlalchemy import Connection

from actionwatch.alerts.new_delivery import owed
from actionwatch.alerts.policy import Policy
from actionwatch.base.model import Delivery, Event
from actionwatch.store import alert_history, fallback_deliveries, outbox, receiver_progress
from actionwatch.store.receivers import Health

COPIED = (Event.OPENED, Event.RESOLVED)
AT_ONCE = 500  # rows a transaction

log = structlog.get_logger()


class Fallbacks:
    """Copies rows to the receivers that stand in."""

    def __init__(self, policies: Mapping[str, Policy]) -> None:
        self._policies = policies

    def failing(self, health: Mapping[str, Health], now: datetime) -> list[str]:
        """Name the receivers that have a fallback and have failed for long enough to use it."""
        return [
            name
            for name, policy in self._policies.items()
            if policy.fallback is not None and _has_failed_since(health.get(name), now, policy)
        ]

    def stand_in(self, connection: Connection, delivery: Delivery, why: str, now: datetime) -> str | None:
        """Copy a row that was given up, unless its like was copied before; give the receiver that stands in."""
        policy = self._policies.get(delivery.receiver, Policy())
        if policy.fallback is None or delivery.event not in COPIED:
            return None
        if fallback_deliveries.is_copied(connection, delivery.alert_id, delivery.receiver, delivery.event):
            return None
        known = receiver_progress.read(connection, delivery.alert_id).get(policy.fallback, receiver_progress.Standing())
        row = owed(
            delivery.alert_id,
            policy.fallback,
            delivery.event,
            known.next_ordinal,
            now,
            now,
            fallback_of=delivery.id,
        )
        outbox.insert_new(connection, [row])
        what = f"{policy.fallback} stands in for {delivery.receiver} ({delivery.event}): {why}"
        alert_history.append(connection, [alert_history.Entry(now, delivery.alert_id, "fallback", what)])
        log.warning("fallback_used", delivery=delivery.id, receiver=delivery.receiver, fallback=policy.fallback)
        return policy.fallback

    def follow(self, connection: Connection, ends: Sequence[Delivery], now: datetime) -> None:
        """Copy the ends of alerts whose opening the fallback was told, also where the receiver itself was told it since."""
        for delivery in ends:
            policy = self._policies.get(delivery.receiver, Policy())
            if policy.fallback is not None and fallback_deliveries.is_copied(
                connection, delivery.alert_id, delivery.receiver, Event.OPENED
            ):
                self.stand_in(connection, delivery, "it was told the opening", now)

    def stand_in_for_all(self, connection: Connection, receiver: str, now: datetime) -> int:
        """Copy what waits for a receiver that keeps failing; give how many rows were looked at."""
        waiting = fallback_deliveries.read_uncopied(connection, receiver, AT_ONCE)
        for delivery in waiting:
            is_end = delivery.event is Event.RESOLVED
            if is_end and not fallback_deliveries.is_copied(connection, delivery.alert_id, receiver, Event.OPENED):
                continue  # its beginning was told: it waits for the receiver, as everything else does
            self.stand_in(connection, delivery, "it has been failing for too long", now)
        return len(waiting)


def _has_failed_since(health: Health | None, now: datetime, policy: Policy) -> bool:
    return (
        health is not None and health.failing_since is not None and now - health.failing_since >= policy.fallback_after
    )
