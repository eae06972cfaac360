"""Bury what waits for receivers that the configuration no longer names, where people see it.

`worker.py` calls it at its start and now and then: nothing else moves the rows of a removed receiver on.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import structlog
from sqlalchemy import Connection

from actionwatch.base.delivery import GONE
from actionwatch.base.model import Event
from actionwatch.delivery.summary import ENDED_BY_TIME, write_summary
from actionwatch.store import alert_history, delivery_transitions, outbox, receivers, suppressed_deliveries

log = structlog.get_logger()


def bury_unknown_receivers(connection: Connection, configured: Collection[str], now: datetime) -> int:
    """Bury what waits for receivers that are not configured, and delete their health. Return how many messages are dead.

    What is pending, held or collapsed becomes a dead letter. What a silence or a mute interval hid stays suppressed; its
    summary becomes a dead letter.
    """
    count = 0
    for receiver in outbox.read_unknown_receivers(connection, configured):
        for reason in ENDED_BY_TIME:
            _bury_summary(connection, receiver, reason, now)
        delivery_transitions.suppress_escalations(connection, receiver)
        buried = delivery_transitions.bury_all(connection, receiver, GONE)
        stage, what = f"delivery to {receiver}", f"dead letter: {GONE}"
        alert_history.append(
            connection,
            [
                alert_history.Entry(now, alert_id, stage, f"{event.word}: {what}")
                for alert_id, event in buried
                if event is not Event.SUMMARY
            ],
        )
        log.warning("deliveries_buried", receiver=receiver, count=len(buried), why=GONE)
        count += len(buried)
    receivers.delete_others(connection, configured)
    return count


def _bury_summary(connection: Connection, receiver: str, reason: str, now: datetime) -> None:
    """Write the summary that cannot be sent, and note that in the history of each alert that it reports."""
    groups = [group for group in suppressed_deliveries.read_groups(connection, receiver) if group.awaits == reason]
    if groups:
        summary_id = write_summary(connection, receiver, reason, groups, now, now)
        what = f"{reason}: its summary is a dead letter: {GONE}"
        alert_ids = suppressed_deliveries.read_reported(connection, summary_id)
        alert_history.append(
            connection, [alert_history.Entry(now, each, f"delivery to {receiver}", what) for each in alert_ids]
        )
