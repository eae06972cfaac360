"""Receivers that the configuration no longer names: end what waits for them, where people see it.

Used by `worker.py` at its start and now and then: a row of such a receiver has nobody else who moves it on.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import structlog
from sqlalchemy import Connection

from actionwatch.base.model import GONE, Event
from actionwatch.delivery.summary import AT_THE_END, write_summary
from actionwatch.store import alert_history, outbox, receivers, suppressed_deliveries

log = structlog.get_logger()


def bury_strangers(connection: Connection, configured: Collection[str], now: datetime) -> int:
    """End what waits for receivers that are not configured, and forget how they are; give how many messages are dead.

    What is owed, held or collapsed becomes a dead letter. What a silence or a mute interval hid is never sent: its
    summary becomes one in its place.
    """
    count = 0
    for receiver in outbox.read_strangers(connection, configured):
        for reason in AT_THE_END:
            _sum_up(connection, receiver, reason, now)
        outbox.end_unneeded_escalations(connection, receiver)
        buried = outbox.bury_all(connection, receiver, GONE)
        stage, what = f"delivery to {receiver}", f"dead letter: {GONE}"
        told = [(alert_id, event) for alert_id, event in buried if event is not Event.SUMMARY]
        alert_history.append(
            connection, [alert_history.Entry(now, alert_id, stage, f"{event.word}: {what}") for alert_id, event in told]
        )
        log.warning("deliveries_buried", receiver=receiver, count=len(buried), why=GONE)
        count += len(buried)
    receivers.delete_others(connection, configured)
    return count


def _sum_up(connection: Connection, receiver: str, reason: str, now: datetime) -> None:
    """Write the summary that will not come any more, and say so in the story of each alert that it tells of."""
    groups = [group for group in suppressed_deliveries.read_groups(connection, receiver) if group.awaits == reason]
    if groups:
        summary_id = write_summary(connection, receiver, reason, groups, now, now)
        what = f"{reason}: its summary is a dead letter: {GONE}"
        alert_ids = suppressed_deliveries.read_told_of(connection, summary_id)
        alert_history.append(
            connection, [alert_history.Entry(now, each, f"delivery to {receiver}", what) for each in alert_ids]
        )
