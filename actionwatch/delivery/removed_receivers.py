"""Bury what waits for receivers that are not in the configuration, because nothing else moves these rows on."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import structlog
from sqlalchemy import Connection

from actionwatch.base.delivery import NOT_CONFIGURED
from actionwatch.base.model import Event
from actionwatch.delivery.summary import ENDED_BY_TIME, write_summary
from actionwatch.store import alert_history, delivery_transitions, outbox, receivers, suppressed_deliveries
from actionwatch.text.links import Links

log = structlog.get_logger()


def bury_unknown_receivers(connection: Connection, configured: Collection[str], now: datetime, links: Links) -> int:
    """Bury what waits for receivers that are not configured, and delete their health. Return how many messages are dead.

    Pending, held and collapsed rows become dead letters. Rows that a silence or a mute interval stopped stay suppressed; their
    summary becomes a dead letter.
    """
    count = 0
    for receiver in outbox.read_unknown_receivers(connection, configured):
        for reason in ENDED_BY_TIME:
            _bury_summary(connection, receiver, reason, now, links)
        delivery_transitions.suppress_escalations(connection, receiver)
        buried = delivery_transitions.bury_all(connection, receiver, NOT_CONFIGURED)
        lines = [
            alert_history.Entry(
                now, alert_id, f"delivery to {receiver}", f"{event.word}: dead letter: {NOT_CONFIGURED}"
            )
            for alert_id, event in buried
            if event is not Event.SUMMARY
        ]
        alert_history.append(connection, lines)
        log.warning("deliveries_buried", receiver=receiver, count=len(buried), why=NOT_CONFIGURED)
        count += len(buried)
    receivers.delete_others(connection, configured)
    return count


def _bury_summary(connection: Connection, receiver: str, reason: str, now: datetime, links: Links) -> None:
    """Write the summary that cannot be sent, and add it to the history of each alert that it reports."""
    groups = [group for group in suppressed_deliveries.read_groups(connection, receiver) if group.awaits == reason]
    if groups:
        summary_id = write_summary(connection, receiver, reason, groups, now, now, links)
        what = f"{reason}: its summary is a dead letter: {NOT_CONFIGURED}"
        alert_ids = suppressed_deliveries.read_reported(connection, summary_id)
        lines = [alert_history.Entry(now, each, f"delivery to {receiver}", what) for each in alert_ids]
        alert_history.append(connection, lines)
