"""Deliver: due deliveries -> notifiers -> outcomes.

One dispatcher thread does all the writing, in batches: a transaction records the outcomes that came in and claims what is due;
sending happens in the receivers' own threads with no transaction open. Each receiver has its own threads, rate and backlog, so
that one that hangs delays no other. Delivery is at least once: killed between send and record, a message goes out again under
the same id.
"""

from __future__ import annotations

import json
import queue
import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from actionwatch.documents import RECORDS_SHOWN, alert_document, instant
from actionwatch.errors import DeliveryError, StoreBusy, TransientDeliveryError
from actionwatch.model import MESSAGE_TYPES, Alert, Delivery, Event, Message, Receipt, Record
from actionwatch.pipeline.channels import Channel, Job, Line, Outcome, Renderer
from actionwatch.pipeline.troubles import Troubles
from actionwatch.retry import Bury, RetryAt, decide
from actionwatch.store import alerts, outbox, receivers, records, story
from actionwatch.store.database import Database

LEASE = timedelta(minutes=5)  # longer than any send can take; a process that died gives its rows back after it
POLL_SECONDS = 1.0  # other processes (a replay by hand, another step) fill the outbox too: looked for once a second
STOP_SECONDS = 8.0  # within the 10 s that a clean end may take; what still hangs is tried again at the next start
FAILING_AFTER = timedelta(minutes=10)  # a receiver that refuses everything for this long is a trouble of its own
TROUBLES_EVERY = timedelta(seconds=5)  # how often the health of receivers is judged: counting is not free
DEAD_REMEDY = (
    "mend the receiver, look at 'actionwatch deliveries list --dead', then 'actionwatch deliveries retry --dead'"
)

log = structlog.get_logger()


FieldTexts = Callable[[Record, Sequence[str]], tuple[tuple[str, str], ...]]
"""Gives the labelled values that a rule wants shown of a record: `rules/fields.py`."""


class Deliverer:
    """The step, for all receivers of one process."""

    def __init__(
        self,
        database: Database,
        channels: Sequence[Channel],
        renderer: Renderer,
        field_texts: FieldTexts,
        troubles: Troubles,
        clock: Callable[[], datetime],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._database = database
        self._field_texts = field_texts
        self._troubles = troubles
        self._clock = clock
        self._jitter = jitter
        self._outcomes: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
        self._lines = {channel.name: Line(channel, renderer, self._outcomes) for channel in channels}
        self._stopping = threading.Event()
        self._judged_at: datetime | None = None

    def wake(self) -> None:
        """Look at the outbox now: something was written to it."""
        self._outcomes.put(None)

    def run(self) -> None:
        """Work until `stop`; meant for a thread of its own."""
        self.recover()
        while not self._stopping.is_set():
            try:
                self.run_once(self._patience())
            except StoreBusy as exc:
                log.warning("store_busy", step="deliver", error=str(exc))
            except Exception as exc:
                log.exception("step_failed", step="deliver", error=str(exc))
                self._stopping.wait(POLL_SECONDS)
        self._finish()

    def stop(self) -> None:
        """End `run`: nothing more is claimed, what is under way is given its time and recorded."""
        self._stopping.set()
        self.wake()

    def recover(self) -> None:
        """Take back what a process that died held, and bury what waits for receivers that are gone."""
        with self._database.write() as connection:
            released = outbox.release_leases(connection)
            buried = outbox.bury_strangers(connection, list(self._lines))
        if released or buried:
            log.info("outbox_recovered", released=released, buried=buried)

    def run_once(self, patience: float = 0.0) -> int:
        """Record the outcomes that came within `patience` seconds, claim what is due, hand it out; give how many."""
        outcomes = self._collect(patience)
        jobs: list[Job] = []
        if outcomes or self._is_due():
            with self._database.write() as connection:
                for outcome in outcomes:
                    self._record(connection, outcome)
                jobs = [job for line in self._lines.values() for job in self._claim(connection, line)]
        for outcome in outcomes:
            self._lines[outcome.job.delivery.receiver].under_way -= 1
        for job in jobs:
            self._lines[job.delivery.receiver].send(job)
        self._judge_receivers()
        return len(jobs)

    def drain(self, wait_for_retries: timedelta = timedelta(0)) -> None:
        """Deliver until nothing is under way and nothing falls due within `wait_for_retries` from now; for `run --once`."""
        self.recover()
        deadline = self._clock() + wait_for_retries
        while not self._stopping.is_set():
            self.run_once(0.02 if self._under_way() else 0.0)
            due_at = self._next_due(self._lines.values())
            if not self._under_way() and (due_at is None or due_at > max(deadline, self._clock())):
                break
            if not self._under_way() and due_at is not None:
                self._stopping.wait(max(0.0, min((due_at - self._clock()).total_seconds(), POLL_SECONDS)))
        self._judged_at = None
        self._judge_receivers()
        self._finish()

    # -- what one round does, in order ---------------------------------------------------------------------------------

    def _collect(self, patience: float) -> list[Outcome]:
        """Wait for the first outcome (or a wake-up), then take all that is there."""
        found: list[Outcome] = []
        try:
            first = self._outcomes.get(timeout=patience) if patience > 0 else self._outcomes.get_nowait()
            found += [first] if first else []
            while True:
                more = self._outcomes.get_nowait()
                found += [more] if more else []
        except queue.Empty:
            return found

    def _is_due(self) -> bool:
        due_at = self._next_due(line for line in self._lines.values() if line.free(self._clock()))
        return due_at is not None and due_at <= self._clock()

    def _claim(self, connection: Connection, line: Line) -> list[Job]:
        """Lease what is due for a receiver, and freeze what each message says at its first attempt."""
        now = self._clock()
        free = line.free(now)
        if self._stopping.is_set() or not free:
            return []
        claimed = outbox.claim(connection, line.channel.name, now, free, now + LEASE)
        ids = {delivery.alert_id for delivery in claimed}
        known = alerts.read_many(connection, ids) if ids else {}
        newest = records.read_of_alerts(connection, ids, RECORDS_SHOWN) if ids else {}
        told = outbox.told(connection, ids, line.channel.name) if ids else set()
        jobs: list[Job] = []
        for delivery in claimed:
            message = self._message(connection, delivery, known, newest, told)
            if message:
                reference = receivers.read_reference(connection, delivery.alert_id, line.channel.name)
                jobs.append(Job(delivery, message, reference))
        line.under_way += len(jobs)
        return jobs

    def _message(
        self,
        connection: Connection,
        delivery: Delivery,
        known: Mapping[str, Alert],
        newest: Mapping[str, Sequence[Record]],
        told: set[str],
    ) -> Message | None:
        """Give what a claimed delivery says; None where it has nothing to say, which is then recorded."""
        if delivery.body is not None:
            return thaw(delivery.id, delivery.body)
        alert = known.get(delivery.alert_id)
        if alert is None:
            outbox.record_dead(connection, delivery.id, None, "its alert is no longer in the store")
            return None
        event = delivery.event
        if alert.id not in told and event is Event.UPDATED:
            event = Event.OPENED  # told nothing so far: to this receiver the news is the alert itself
        if alert.id not in told and event is Event.RESOLVED:
            outbox.suppress(connection, delivery.id, "this receiver was never told that it opened")
            return None
        message = self._compose(delivery, event, alert, newest[alert.id])
        outbox.freeze(connection, delivery.id, event, freeze(message))
        return message

    def _compose(self, delivery: Delivery, event: Event, alert: Alert, shown: Sequence[Record]) -> Message:
        fields = self._field_texts(shown[-1], alert.fields) if shown else ()
        return Message(delivery.id, MESSAGE_TYPES[event], self._clock(), alert_document(alert, shown), fields)

    def _record(self, connection: Connection, outcome: Outcome) -> None:
        """Write down how an attempt ended."""
        delivery, now = outcome.job.delivery, self._clock()
        channel = self._lines[delivery.receiver].channel
        if outcome.error is None:
            receipt = outcome.receipt or Receipt()
            outbox.record_sent(connection, delivery.id, now, receipt.note)
            receivers.note_success(connection, channel.name, now)
            if receipt.reference is not None:
                receivers.write_reference(connection, delivery.alert_id, channel.name, receipt.reference)
            what = f"{outcome.job.message.type} taken" + (f"; {receipt.note}" if receipt.note else "")
            log.info("delivery_sent", delivery=delivery.id, receiver=channel.name, attempt=delivery.attempts)
        else:
            what = self._record_failure(connection, delivery, channel, outcome.error, now)
        lines = [f"template: {failure}" for failure in outcome.render_failures]
        lines.append(f"attempt {delivery.attempts}: {what}")
        entries = [story.Entry(now, delivery.alert_id, f"delivery to {channel.name}", line) for line in lines]
        story.append(connection, entries)

    def _record_failure(
        self, connection: Connection, delivery: Delivery, channel: Channel, error: DeliveryError, now: datetime
    ) -> str:
        decision = decide(error, delivery.attempts, delivery.started_at, now, self._jitter(), channel.retry)
        asked = error.retry_after if isinstance(error, TransientDeliveryError) else timedelta(0)
        paused_until = now + asked if asked else None
        receivers.note_failure(connection, channel.name, now, str(error), paused_until)
        self._lines[channel.name].paused_until = paused_until
        match decision:
            case RetryAt(at):
                outbox.record_retry(connection, delivery.id, at, str(error))
                what = f"{error}; next attempt at {instant(at)}"
            case Bury(why):
                outbox.record_dead(connection, delivery.id, str(error), why)
                what = f"{error}; dead letter: {why}"
        event = "delivery_failed" if isinstance(decision, RetryAt) else "delivery_buried"
        log.warning(event, delivery=delivery.id, receiver=channel.name, attempt=delivery.attempts, error=str(error))
        return what

    def _judge_receivers(self) -> None:
        """Report dead letters and receivers that keep failing; settle what is over."""
        now = self._clock()
        if self._judged_at is not None and now - self._judged_at < TROUBLES_EVERY:
            return
        self._judged_at = now
        with self._database.read() as connection:
            queues, health = outbox.count_queues(connection), receivers.read_all(connection)
        for name in self._lines.keys() | queues.keys():
            dead = queues.get(name, outbox.Queue()).dead
            if dead:
                self._troubles.report("dead_letters", name, f"{dead} of its messages were given up", DEAD_REMEDY)
            else:
                self._troubles.settle("dead_letters", name)
            since = health.get(name, receivers.Health()).failing_since
            if since is not None and now - since >= FAILING_AFTER:
                error = health[name].last_error or "no answer"
                self._troubles.report("receiver_failing", name, f"no message taken since {instant(since)}: {error}", "")
            elif since is None:
                self._troubles.settle("receiver_failing", name)

    # -- waiting and ending --------------------------------------------------------------------------------------------

    def _patience(self) -> float:
        """Say how long nothing can be claimed: until a row falls due or a receiver opens, at most POLL_SECONDS."""
        now = self._clock()
        waits = [seconds for line in self._lines.values() if (seconds := line.wait_seconds(now)) > 0]
        due_at = self._next_due(line for line in self._lines.values() if line.free(now))
        if due_at is not None:
            waits.append((due_at - now).total_seconds())
        return min([POLL_SECONDS, *(max(seconds, 0.001) for seconds in waits)])

    def _next_due(self, lines: Iterable[Line]) -> datetime | None:
        with self._database.read() as connection:
            dues = [outbox.next_due(connection, line.channel.name, self._clock()) for line in lines]
        return min((due_at for due_at in dues if due_at is not None), default=None)

    def _under_way(self) -> int:
        return sum(line.under_way for line in self._lines.values())

    def _finish(self) -> None:
        """Give what is under way its time, record it, close the notifiers."""
        deadline = time.monotonic() + STOP_SECONDS
        self._stopping.set()
        while self._under_way() and time.monotonic() < deadline:
            self.run_once(0.05)
        if self._under_way():
            log.warning(
                "deliveries_interrupted", count=self._under_way(), remedy="they are tried again at the next start"
            )
        for line in self._lines.values():
            line.close()


def freeze(message: Message) -> str:
    """Write a message down, as it will be sent on every attempt."""
    frozen = {
        "type": message.type,
        "timestamp": message.timestamp.isoformat(),
        "data": message.data,
        "fields": message.fields,
    }
    return json.dumps(frozen, ensure_ascii=True, separators=(",", ":"))


def thaw(delivery_id: str, body: str) -> Message:
    """Read a message that was frozen."""
    frozen = json.loads(body)
    fields = tuple((label, value) for label, value in frozen["fields"])
    at = datetime.fromisoformat(frozen["timestamp"])
    return Message(delivery_id, frozen["type"], at, frozen["data"], fields)
