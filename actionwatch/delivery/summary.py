"""Summaries: one message reports the alerts that a storm, a digest, a mute interval or a silence has held back.

All four work the same way: collect the rows that await the same summary, enqueue one `alerts.summary`, and mark the rows as
reported in it. `leader.py` calls it every second.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import structlog
from msgspec.structs import replace
from sqlalchemy import Connection

from actionwatch.alerts.policy import GlobalPolicy, ReceiverPolicy, Storm
from actionwatch.base.delivery import Delivery, DeliveryStatus, delivery_about, new_delivery
from actionwatch.base.ids import stable_id
from actionwatch.base.model import MESSAGE_TYPES, Event, Message
from actionwatch.delivery.compose import freeze
from actionwatch.store import (
    alert_history,
    alerts,
    delivery_transitions,
    fallback_deliveries,
    outbox,
    receiver_progress,
    silences,
    suppressed_deliveries,
)
from actionwatch.store.database import Database
from actionwatch.store.suppressed_deliveries import SummaryGroup
from actionwatch.text.links import Links
from actionwatch.text.payloads import ALERTS_SHOWN, summary_document

_REASONS = ("silence", "mute", "storm", "digest")
ENDED_BY_TIME = ("silence", "mute")  # at their end, alerts about something that still lasts are delivered

_A_MOMENT = timedelta(seconds=1)

log = structlog.get_logger()


class Summaries:
    """Makes the summaries of these receivers when they are due."""

    def __init__(self, database: Database, global_policy: GlobalPolicy, policies: Mapping[str, ReceiverPolicy]) -> None:
        self._database = database
        self._global_policy = global_policy
        self._policies = policies

    def make_due(self, now: datetime) -> None:
        """Enqueue every summary that is due. Without any, this takes only a few reads."""
        with self._database.read() as connection:
            due = [(receiver, reason) for receiver, reason, _ in self._due(connection, now)]
        for place in due:
            with self._database.write() as connection:  # one for each, because each writes a message
                for receiver, reason, groups in self._due(connection, now):
                    if (receiver, reason) == place:
                        self._make(connection, receiver, reason, groups, now)
                        break

    def next_due(self, connection: Connection, now: datetime) -> datetime | None:
        """Return when the next summary of a storm is due; None if there is none. Other summaries can wait for a round."""
        dues: list[datetime] = []
        for receiver, policy in self._policies.items():
            groups = suppressed_deliveries.read_groups(connection, receiver)
            storm_dues = [group.due_at for group in groups if group.awaits == "storm"]
            if storm_dues:
                dues.append(max(self._next_storm_summary(connection, receiver, policy, now), min(storm_dues)))
        return min(dues, default=None)

    def _due(self, connection: Connection, now: datetime) -> Iterable[tuple[str, str, list[SummaryGroup]]]:
        """Yield (receiver, reason, rows to report) for every summary that is due."""
        active = {silence.id for silence in silences.read_active(connection, now)}
        for receiver, policy in self._policies.items():
            groups = suppressed_deliveries.read_groups(connection, receiver)
            over = [group for group in groups if self._is_over(group, active, now)]
            for reason in _REASONS:
                chosen = [group for group in over if group.awaits == reason]
                if chosen and (reason != "storm" or self._next_storm_summary(connection, receiver, policy, now) <= now):
                    yield receiver, reason, chosen

    def _is_over(self, group: SummaryGroup, active: Collection[str], now: datetime) -> bool:
        if group.awaits in ENDED_BY_TIME:
            is_muted = self._global_policy.active_mute(group.mutes, now) is not None
            return not is_muted and (group.awaits == "mute" or group.ref not in active)
        return group.due_at <= now

    def _next_storm_summary(
        self, connection: Connection, receiver: str, policy: ReceiverPolicy, now: datetime
    ) -> datetime:
        """Return when the next summary of a storm may be made: at most one in `per`, and not while the last one is pending.

        A fallback that got the last one gets the next one too, however long the receiver fails.
        """
        last = suppressed_deliveries.read_last_storm(connection, receiver)
        if last is None:
            return now
        if last.status is DeliveryStatus.PENDING and not fallback_deliveries.read_copied(
            connection, receiver, [last.alert_id]
        ):
            return max(last.due_at, now + _A_MOMENT)
        if last.created_at > now:
            return now  # the clock was set back since
        return last.created_at + (policy.storm or Storm()).per

    def _make(
        self,
        connection: Connection,
        receiver: str,
        reason: str,
        groups: Sequence[SummaryGroup],
        now: datetime,
    ) -> None:
        """Enqueue one summary, and alerts about something that still lasts. A digest receiver gets it with its next digest."""
        digest = self._policies[receiver].digest
        due_at = digest.next_after(now) if digest and reason != "digest" else now
        summary_id = write_summary(connection, receiver, reason, groups, now, due_at, self._global_policy.links)
        if reason == "storm":
            suppressed_deliveries.note_storm(connection, receiver, summary_id)
        if reason in ENDED_BY_TIME:
            self._enqueue_lasting(connection, receiver, summary_id, reason, now)

    def _enqueue_lasting(
        self, connection: Connection, receiver: str, summary_id: str, reason: str, now: datetime
    ) -> None:
        """Enqueue alerts about something that still lasts, for a receiver that a summary alone notified."""
        lasting = suppressed_deliveries.read_lasting(connection, summary_id)
        of_alert = alerts.read_many(connection, lasting)
        rows: list[Delivery] = []
        for alert_id, found in receiver_progress.read_of_receiver(connection, receiver, lasting).items():
            if not found.is_notified and found.last is not None and found.last.status is DeliveryStatus.SUPPRESSED:
                alert, ordinal = of_alert[alert_id], found.next_ordinal
                rows.append(delivery_about(alert, receiver, Event.OPENED, ordinal, now, now, found.last.mutes))
        delivery_transitions.enqueue(connection, rows)
        what = f"also {receiver}: the {reason} is over, but the problem is not"
        lines = [alert_history.Entry(now, row.alert_id, "routed", what) for row in rows]
        alert_history.append(connection, lines)


def write_summary(
    connection: Connection,
    receiver: str,
    reason: str,
    groups: Sequence[SummaryGroup],
    now: datetime,
    due_at: datetime,
    links: Links,
) -> str:
    """Enqueue a summary of these groups, and mark their rows as reported in it. Return its id."""
    causes = sorted({group.ref or "" for group in groups})
    subject = stable_id("summary", receiver, reason, *causes, now.isoformat())
    row = new_delivery(subject, receiver, Event.SUMMARY, 1, now, due_at)
    while outbox.read(connection, row.id) is not None:  # the clock was set back: it shows this instant again
        subject = stable_id("summary", subject)
        row = new_delivery(subject, receiver, Event.SUMMARY, 1, now, due_at)
    delivery_transitions.summarise(connection, receiver, groups, row.id, now)
    content = suppressed_deliveries.read_content(connection, row.id, ALERTS_SHOWN)
    data = summary_document(reason, receiver, content.levels, content.alerts, content.causes, links)
    message = Message(row.id, MESSAGE_TYPES[Event.SUMMARY], now, data)
    delivery_transitions.enqueue(connection, [replace(row, body=freeze(message))])
    log.info("summary_made", receiver=receiver, reason=reason, count=content.count, delivery=row.id)
    return row.id
