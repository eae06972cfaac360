"""Fallback: send a copy, with another id, of what does not reach a receiver to its fallback receiver.

The opening of an alert and a summary are copied, each once: when the original becomes a dead letter, or when its receiver has
failed for `fallback_after`. The opening after a person reopened the alert is another one. The original stays as it is, and may
still arrive late. The end of an alert, and its reopening, follow the copy of its opening: `matching/addressing.py` enqueues
them. If the alert ended before the copy, its end is enqueued here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import structlog
from msgspec.structs import replace
from sqlalchemy import Connection

from actionwatch.alerts.policy import ReceiverPolicy
from actionwatch.base.delivery import Delivery, new_delivery
from actionwatch.base.model import Alert, Event, Status
from actionwatch.store import alert_history, alerts, delivery_transitions, fallback_deliveries, receiver_progress
from actionwatch.store.fallback_deliveries import COPIED
from actionwatch.store.receivers import Health

_ROWS_AT_ONCE = 500  # one transaction copies this many

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

    def fall_back(self, connection: Connection, rows: Sequence[tuple[Delivery, str]], now: datetime) -> None:
        """Copy rows, each for a reason, to the fallbacks of their receivers; each alert and each summary once."""
        for receiver, policy in self._policies.items():
            some = [(row, why) for row, why in rows if row.receiver == receiver and row.event in COPIED]
            if some and policy.fallback is not None:
                self._copy(connection, receiver, policy.fallback, some, now)

    def fall_back_all(self, connection: Connection, receiver: str, now: datetime) -> None:
        """Copy what waits for a failing receiver."""
        waiting = fallback_deliveries.read_uncopied(connection, receiver, _ROWS_AT_ONCE)
        self.fall_back(connection, [(each, "it has failed for too long") for each in waiting], now)

    def _copy(
        self, connection: Connection, receiver: str, to: str, rows: Sequence[tuple[Delivery, str]], now: datetime
    ) -> None:
        """Copy rows of one receiver. The number of statements does not depend on that of the rows."""
        alert_ids = {row.alert_id for row, _ in rows}
        copied = fallback_deliveries.read_copied(connection, receiver, alert_ids)
        of_alert = alerts.read_many(connection, alert_ids)
        progress = receiver_progress.read_of_receiver(connection, to, alert_ids)
        copies: list[Delivery] = []
        lines: list[alert_history.Entry] = []
        for row, why in rows:
            alert = of_alert.get(row.alert_id)  # None for a summary
            if _is_copied(row, alert, copied.get(row.alert_id)):
                continue
            copied[row.alert_id] = now
            copies += self._copies_of(row, to, alert, progress[row.alert_id].next_ordinal, now)
            what = f"{to} replaces {receiver} ({row.event}): {why}"
            lines.append(alert_history.Entry(now, row.alert_id, "fallback", what))
            log.warning("fallback_used", delivery=row.id, receiver=receiver, fallback=to)
        delivery_transitions.enqueue(connection, copies)
        alert_history.append(connection, lines)

    def _copies_of(self, row: Delivery, to: str, alert: Alert | None, ordinal: int, now: datetime) -> list[Delivery]:
        """Return the copy of a row, and the end of its alert if that is over. A summary keeps its text, which names the
        receiver; one for a digest waits for its time.
        """
        if row.event is not Event.SUMMARY:
            events = (
                [row.event] if alert is None or alert.status is not Status.RESOLVED else [row.event, Event.RESOLVED]
            )
            reopened_at = alert.reopened_at if alert is not None else None
            return [
                new_delivery(row.alert_id, to, event, number, now, now, fallback_of=row.id, reopened_at=reopened_at)
                for number, event in enumerate(events, ordinal)
            ]
        digest = self._policies[to].digest
        due_at = digest.next_after(now) if digest else now
        copy = new_delivery(row.alert_id, to, row.event, ordinal, now, due_at, fallback_of=row.id)
        return [replace(copy, body=row.body)]


def _is_copied(row: Delivery, alert: Alert | None, copied_at: datetime | None) -> bool:
    """Return whether a copy was made, for a row of a reopened alert since then."""
    if copied_at is None or alert is None or alert.reopened_at is None:
        return copied_at is not None
    return row.created_at < alert.reopened_at or copied_at >= alert.reopened_at


def _has_failed_since(health: Health | None, now: datetime, policy: ReceiverPolicy) -> bool:
    return (
        health is not None and health.failing_since is not None and now - health.failing_since >= policy.fallback_after
    )
