"""Summaries: one message that tells of the alerts which a storm, a digest, a mute interval or a silence kept back.

All four are one thing: collect what waits for the same reason, write one `alerts.summary` into the outbox, mark what it
tells of. Used by `worker.py`, which asks at every round.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import structlog
from msgspec.structs import replace
from sqlalchemy import Connection

from actionwatch.alerts.new_delivery import owed
from actionwatch.alerts.policy import House, Policy, Storm
from actionwatch.base.ids import stable_id
from actionwatch.base.model import MESSAGE_TYPES, DeliveryStatus, Event, Message
from actionwatch.delivery.compose import freeze
from actionwatch.store import alert_history, outbox, receiver_progress, silences, suppressed_deliveries
from actionwatch.store.database import Database
from actionwatch.text.payloads import ALERTS_SHOWN, summary_document

REASONS = ("silence", "mute", "storm", "digest")
AT_THE_END = ("silence", "mute")  # after these, what lasts still is delivered

A_MOMENT = timedelta(seconds=1)

log = structlog.get_logger()


class Summaries:
    """Makes the summaries of these receivers when they are due."""

    def __init__(self, database: Database, house: House, policies: Mapping[str, Policy]) -> None:
        self._database = database
        self._house = house
        self._policies = policies

    def make_due(self, now: datetime) -> int:
        """Write every summary that is due into the outbox; give how many. Costs a few reads where none is."""
        with self._database.read() as connection:
            if not any(True for _ in self._due(connection, now)):
                return 0
        with self._database.write() as connection:
            due = list(self._due(connection, now))
            for receiver, reason, groups in due:
                self._make(connection, receiver, reason, groups, now)
        return len(due)

    def next_due(self, now: datetime) -> datetime | None:
        """Say when the next summary of a storm is due; None where none waits. The other reasons have no hurry."""
        dues: list[datetime] = []
        with self._database.read() as connection:
            for receiver, policy in self._policies.items():
                storms = [
                    group
                    for group in suppressed_deliveries.read_groups(connection, receiver)
                    if group.awaits == "storm"
                ]
                if storms:
                    least = self._storm_may_be_told(connection, receiver, policy, now)
                    dues.append(max(least, min(group.due_at for group in storms)))
        return min(dues, default=None)

    def _due(
        self, connection: Connection, now: datetime
    ) -> Iterable[tuple[str, str, list[suppressed_deliveries.Group]]]:
        """Give (receiver, reason, what is to be told of) for every summary that is due."""
        active = {silence.id for silence in silences.read_active(connection, now)}
        for receiver, policy in self._policies.items():
            groups = suppressed_deliveries.read_groups(connection, receiver)
            over = [group for group in groups if self._is_over(group, active, now)]
            for reason in REASONS:
                chosen = [group for group in over if group.awaits == reason]
                if chosen and (reason != "storm" or self._storm_may_be_told(connection, receiver, policy, now) <= now):
                    yield receiver, reason, chosen

    def _is_over(self, group: suppressed_deliveries.Group, active: Collection[str], now: datetime) -> bool:
        if group.awaits in AT_THE_END:
            is_muted = self._house.muting(group.mutes, now) is not None
            return not is_muted and (group.awaits == "mute" or group.ref not in active)
        return group.due_at <= now

    def _storm_may_be_told(self, connection: Connection, receiver: str, policy: Policy, now: datetime) -> datetime:
        """Say from when on the next summary of a storm may be made: one in `per`, and not while the last one waits."""
        last = suppressed_deliveries.read_last_storm(connection, receiver)
        if last is None:
            return now
        if last.status is DeliveryStatus.PENDING:
            return max(last.due_at, now + A_MOMENT)
        if last.created_at > now:
            return now  # the clock was set back since
        return last.created_at + (policy.storm or Storm()).per

    def _make(
        self,
        connection: Connection,
        receiver: str,
        reason: str,
        groups: Sequence[suppressed_deliveries.Group],
        now: datetime,
    ) -> None:
        """Write one summary, and let what lasts still be told by itself. A receiver of digests gets all at their times."""
        digest = self._policies[receiver].digest
        due_at = digest.next_after(now) if digest and reason != "digest" else now
        summary_id = write_summary(connection, receiver, reason, groups, now, due_at)
        if reason == "storm":
            suppressed_deliveries.note_storm(connection, receiver, summary_id)
        if reason in AT_THE_END:
            self._tell_what_lasts(connection, receiver, summary_id, reason, now)

    def _tell_what_lasts(
        self, connection: Connection, receiver: str, summary_id: str, reason: str, now: datetime
    ) -> None:
        """Owe the troubles that last still to a receiver that was told of them in a summary only."""
        for alert in suppressed_deliveries.read_lasting(connection, summary_id):
            found = receiver_progress.read(connection, alert.id).get(receiver, receiver_progress.Standing())
            if not found.is_told and found.last is not None and found.last.status is DeliveryStatus.SUPPRESSED:
                row = owed(alert.id, receiver, Event.OPENED, found.next_ordinal, now, now, found.last.mutes)
                outbox.insert_new(connection, [row])
                what = f"{receiver} is told now: the {reason} is over, the trouble is not"
                alert_history.append(connection, [alert_history.Entry(now, alert.id, "routed", what)])


def write_summary(
    connection: Connection,
    receiver: str,
    reason: str,
    groups: Sequence[suppressed_deliveries.Group],
    now: datetime,
    due_at: datetime,
) -> str:
    """Write a summary of these groups into the outbox, and mark what it tells of; give its id."""
    causes = sorted({group.ref or "" for group in groups})
    subject = stable_id("summary", receiver, reason, *causes, now.isoformat())
    row = owed(subject, receiver, Event.SUMMARY, 1, now, due_at)
    while outbox.read(connection, row.id) is not None:  # the clock was set back: it shows this instant again
        subject = stable_id("summary", subject)
        row = owed(subject, receiver, Event.SUMMARY, 1, now, due_at)
    suppressed_deliveries.report(connection, receiver, groups, row.id, now)
    content = suppressed_deliveries.read_content(connection, row.id, ALERTS_SHOWN)
    data = summary_document(reason, receiver, content.levels, content.alerts, content.causes)
    message = Message(row.id, MESSAGE_TYPES[Event.SUMMARY], now, data)
    outbox.insert_new(connection, [replace(row, body=freeze(message))])
    log.info("summary_made", receiver=receiver, reason=reason, count=content.count, delivery=row.id)
    return row.id
