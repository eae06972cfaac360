"""The edges of the pipeline as tests need them: rules by kind, and notifiers whose responses a test sets."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from actionwatch.alerts.ledger import SELF_RULE
from actionwatch.alerts.policy import ReceiverPolicy
from actionwatch.alerts.routes import Route
from actionwatch.base.delivery import Delivery, new_delivery
from actionwatch.base.errors import Fault, PermanentDeliveryError, TransientDeliveryError
from actionwatch.base.model import Alert, Event, Level, Match, Message, Receipt, Record, Rendered, RuleName
from actionwatch.delivery.attempt import Channel
from actionwatch.delivery.worker import DeliveryWorker
from actionwatch.matching.addressing import Addressing
from actionwatch.matching.matcher import RecordMatcher
from actionwatch.matching.self_alerts import SelfAlertStore
from actionwatch.rules.engine import RuleFailure
from actionwatch.store import alerts, delivery_transitions, outbox, records, self_alerts
from actionwatch.store.database import Database
from tests.builders import Clock, make_alert, make_delivery
from tests.waiting import LIMIT, wait_for_event

DOWN = TransientDeliveryError("the receiver answered 503")
REFUSED = PermanentDeliveryError("the receiver answered 400")

Answer = Receipt | Exception | None


@dataclass
class KindRule:
    """A rule that matches one kind, grouped by user if it has a `realert`."""

    kind: str = "DELETE_CLUSTER"
    name: str = "cluster_deleted"
    realert: timedelta | None = None
    level: Callable[[Record], Level] = lambda record: Level.HIGH

    def match(self, record: Record) -> Match:
        """Make the match of a record."""
        return Match(
            rule=RuleName(self.name, self.name, self.name.title()),
            record=record,
            level=self.level(record),
            title=f"{self.name} by {record.user_name}",
            body="",
            group=None if self.realert is None else {"userName": record.user_name},
            realert=self.realert or timedelta(0),
        )


class KindEngine:
    """Rules in the form that the matcher uses."""

    def __init__(self, *rules: KindRule, failures: Sequence[RuleFailure] = ()) -> None:
        self.rules = rules
        self.seen: list[Record] = []
        self._failures = list(failures)

    def evaluate(self, batch: Sequence[Record]) -> Iterable[Match]:
        """Return the matches of a batch."""
        self.seen += batch
        return [rule.match(record) for record in batch for rule in self.rules if rule.kind == record.action_kind]

    def take_failures(self) -> Sequence[RuleFailure]:
        """Return the failures, once."""
        taken, self._failures = self._failures, []
        return taken


@dataclass
class Sender:
    """A notifier whose responses a test decides: it calls `answer` for each message, after `gate` lets the message pass."""

    answer: Callable[[Message], Answer] = lambda message: None
    gate: threading.Event = field(default_factory=threading.Event)
    sent: list[Message] = field(default_factory=list)
    references: list[str | None] = field(default_factory=list)
    texts: list[Rendered] = field(default_factory=list)
    most_at_once: int = 0
    is_closed: bool = False
    _at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.gate.set()

    def send(self, message: Message, rendered: Rendered, reference: str | None) -> Receipt:
        """Record the attempt, and respond."""
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            self.sent.append(message)
            self.references.append(reference)
            self.texts.append(rendered)
        try:
            wait_for_event(self.gate, "the test to let the message pass")
            answer = self.answer(message)
        finally:
            with self._lock:
                self._at_once -= 1
        if isinstance(answer, Exception):
            raise answer
        return answer or Receipt()

    def close(self) -> None:
        """Record that it was closed."""
        self.is_closed = True

    @property
    def types(self) -> list[str]:
        """The types of the messages that arrived, in order, without self-alerts."""
        return [message.type for message in self.sent if message.data["rule"]["id"] != SELF_RULE.id]

    @property
    def ids(self) -> list[str]:
        """The ids of the messages that arrived, in order."""
        return [message.id for message in self.sent]


@dataclass
class PlainRenderer:
    """A renderer whose templates all work, unless `failures` names some."""

    failures: Sequence[Fault] = ()
    version: int = 0

    def render(self, names: tuple[str, ...], message: Message) -> tuple[Rendered, Sequence[Fault]]:
        """Render the type of the message with every template."""
        return Rendered(dict.fromkeys(names, message.type)), self.failures


@dataclass
class Post:
    """Receivers and routes over one store, and the steps that use them. A new worker is a restarted process."""

    database: Database
    clock: Clock = field(default_factory=Clock)
    senders: dict[str, Sender] = field(default_factory=lambda: {"hook": Sender()})
    route: Route | None = None
    policies: dict[str, ReceiverPolicy] = field(default_factory=dict)
    renderer: PlainRenderer = field(default_factory=PlainRenderer)
    channel: dict[str, Any] = field(default_factory=dict)
    """The options of channels in addition to name and notifier: `concurrency`, `retry`, …"""
    jitter: float = 1 - 2**-53

    @property
    def addressing(self) -> Addressing:
        """The routing tree."""
        names = tuple(self.senders)
        return Addressing(self.route or Route(names), dict.fromkeys(names, ReceiverPolicy()) | self.policies)

    @property
    def troubles(self) -> SelfAlertStore:
        """The self-alerts."""
        return SelfAlertStore(self.database, self.addressing, self.clock)

    def matcher(self, *rules: KindRule, batch_size: int = 2000) -> RecordMatcher:
        """Make the matching step."""
        return RecordMatcher(self.database, KindEngine(*rules), self.addressing, self.clock, batch_size)

    def options(self, receiver: str) -> dict[str, Any]:
        """Return the options of a receiver's channel, with its policy."""
        return {"policy": self.policies.get(receiver, ReceiverPolicy()), **self.channel}

    def worker(self, **changes: Any) -> DeliveryWorker:
        """Make the delivery step of a process that has just started."""
        channels = [Channel(name, sender, ("t.txt",), **self.options(name)) for name, sender in self.senders.items()]
        return DeliveryWorker(
            self.database,
            channels,
            self.renderer,
            self.troubles,
            self.clock,
            **{"jitter": lambda: self.jitter, "stop_seconds": LIMIT, **changes},
        )

    def store(self, *stored: Record) -> None:
        """Store records one after the other, so that ids follow this order."""
        with self.database.write() as connection:
            for record in stored:
                records.insert_new(connection, [record])

    def open_alerts(self, *alert_ids: str, receiver: str = "hook") -> None:
        """Open alerts, each with a message for one receiver that is due now."""
        now = self.clock()
        with self.database.write() as connection:
            alerts.insert_new(connection, [(make_alert(name, title=name), name) for name in alert_ids])
            rows = [
                make_delivery(name, receiver, created_at=now, started_at=now, due_at=now + timedelta(microseconds=n))
                for n, name in enumerate(alert_ids)
            ]
            delivery_transitions.enqueue(connection, rows)
        self.clock.advance(microseconds=len(alert_ids))

    def rows(self, alert_id: str | None = None) -> list[Delivery]:
        """Read the deliveries, oldest first, without those of self-alerts."""
        with self.database.read() as connection:
            own = {found.id for found in alerts.read_newest(connection, 1000) if found.rule == SELF_RULE}
            found = outbox.find(connection, limit=10_000)
        rows = [row for row in found if row.alert_id not in own and alert_id in (None, row.alert_id)]
        return sorted(rows, key=lambda row: (row.alert_id, row.receiver, row.ordinal))

    def states(self) -> list[str]:
        """Return receiver, event and status of each row."""
        return [f"{row.receiver} {row.event.value} {row.status.value}" for row in self.rows()]

    def alerts(self) -> dict[str, Alert]:
        """Read the alerts except self-alerts, by id."""
        with self.database.read() as connection:
            found = alerts.read_newest(connection, 10_000)
        return {alert.id: alert for alert in found if alert.rule != SELF_RULE}

    def open_troubles(self) -> list[str]:
        """Return trouble and subject of the open self-alerts."""
        with self.database.read() as connection:
            return [f"{found.trouble} {found.subject}" for found in self_alerts.read_all(connection)]

    @contextmanager
    def delivering(self, **changes: Any) -> Iterator[DeliveryWorker]:
        """Run a delivery process during the block. At its end, let hanging messages pass and end all threads."""
        worker = self.worker(**changes)
        worker.recover()
        try:
            yield worker
        finally:
            for sender in self.senders.values():
                sender.gate.set()
            worker.finish()

    def deliver(self) -> None:
        """Deliver what is due now, in a process that starts and ends."""
        with self.delivering() as worker:
            settle(worker)


def enqueue_test(connection: Connection, alert: Alert, receiver: str, now: datetime) -> None:
    """Enqueue a test message, as older versions did."""
    delivery_transitions.enqueue(connection, [new_delivery(alert.id, receiver, Event.TEST, 1, now, now)])


def settle(worker: DeliveryWorker, rounds: int = 1000) -> None:
    """Deliver what is due now, and what becomes due by that, until no message is in progress."""
    for _ in range(rounds):
        handed = worker.run_once(0.0)
        while worker.receivers.under_way():
            worker.run_once(LIMIT)
            handed += 1
        if not handed:
            return
    raise AssertionError("never settles")
