"""The pipeline with a policy for each receiver and with operator actions.

Every delivery runs as a restarted process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from actionwatch.alerts.policy import GlobalPolicy
from actionwatch.alerts.silences import make_silence
from actionwatch.base.delivery import Delivery
from actionwatch.base.model import Escalation, Event, Match, Message, Record, Silence
from actionwatch.delivery.worker import DeliveryWorker
from actionwatch.matching.operator_actions import OperatorActions
from actionwatch.store import alert_history, alerts, outbox, records, silences
from actionwatch.text.timeintervals import Period, TimeInterval
from tests.builders import QUARTER, make_record
from tests.integration.kit import KindRule, Post, Sender

NIGHTS = TimeInterval("nights", (Period(times=((22 * 60, 24 * 60), (0, 6 * 60))),))


@dataclass
class Rule(KindRule):
    """A rule for one kind that can escalate and has labels."""

    realert: timedelta | None = QUARTER
    escalation: Escalation | None = None
    labels: dict[str, str] = field(default_factory=dict)

    def match(self, record: Record) -> Match:
        """Make the match of a record."""
        return replace(super().match(record), escalation=self.escalation, labels=self.labels)


@dataclass
class Desk(Post):
    """A pipeline with a global policy."""

    global_policy: GlobalPolicy = field(default_factory=GlobalPolicy)
    number: int = 0

    def worker(self, **changes: Any) -> DeliveryWorker:
        """Make the delivery step of a process that has just started."""
        return super().worker(**{"global_policy": self.global_policy, **changes})

    @property
    def operator(self) -> OperatorActions:
        """The actions of operators: acknowledge, resolve, silence."""
        return OperatorActions(self.database, self.addressing, self.clock)

    @property
    def hook(self) -> Sender:
        """The receiver that every test starts with."""
        return self.senders["hook"]

    def match_records(self, *rules: KindRule, count: int = 1, **changes: Any) -> str:
        """Store records, match them, and return the id of the alert that contains the last one."""
        made = []
        for _ in range(count):
            self.number += 1
            made.append(make_record(self.number, occurred_at=self.clock(), **changes))
        with self.database.write() as connection:
            records.insert_new(connection, made)
        self.matcher(*(rules or (Rule(),))).run_once()
        with self.database.read() as connection:
            held = alerts.read_of_record(connection, records.newest_id(connection))
        return held[0] if held else ""

    def deliver(self) -> None:
        """Deliver what is due now, in a process that starts and ends."""
        self.worker().drain()

    def later(self, **span: float) -> None:
        """Advance the clock, then deliver what is due."""
        self.clock.advance(**span)
        self.deliver()

    def silence(self, *matchers: str, **span: float) -> Silence:
        """Add a silence that starts now."""
        now = self.clock()
        made = make_silence(matchers, "sam", "planned", now, now + timedelta(**span), made_at=now)
        with self.database.write() as connection:
            silences.write(connection, made)
        return made

    def received(self, name: str = "hook") -> list[str]:
        """Describe what a receiver was sent: `opened x3` with the count, `silence: 2` for a summary of two alerts."""
        return [describe(message) for message in self.senders[name].sent if not is_self_alert(message)]

    def history(self, alert_id: str) -> list[str]:
        """Read the history of an alert."""
        with self.database.read() as connection:
            return [f"{entry.stage}: {entry.what}" for entry in alert_history.read(connection, alert_id)]

    def gated(self) -> list[str]:
        """Describe the messages that gates stopped, in order."""
        return [
            f"{row.receiver} {row.event} {row.status} by {row.why}"
            for row in self.rows()
            if row.status in ("suppressed", "collapsed", "held")
        ]

    def all_rows(self) -> Sequence[Delivery]:
        """Read all deliveries."""
        with self.database.read() as connection:
            return outbox.find(connection, limit=1_000_000)


def is_self_alert(message: Message) -> bool:
    """Return whether a message is about a self-alert."""
    rule: dict[str, str] = message.data.get("rule", {})
    return rule.get("id") == "actionwatch_self"


def describe(message: Message) -> str:
    """Describe a message in a few words."""
    if message.type == "alerts.summary":
        return f"{message.data['reason']}: {message.data['count']}"
    return f"{message.type.removeprefix('alert.')} x{message.data['count']}"


def summaries(messages: Sequence[Message]) -> list[Message]:
    """Return the summaries among the messages."""
    return [message for message in messages if message.type == "alerts.summary"]


def at(text: str) -> datetime:
    """Return a time on the day of the tests."""
    return datetime.fromisoformat(f"2026-11-25T{text}:00+00:00")


__all__ = ["NIGHTS", "Desk", "Event", "Rule", "at", "describe", "is_self_alert", "summaries"]
