"""Deliver: due deliveries -> notifiers -> outcomes.

One dispatcher thread does all the writing, in batches: a transaction records the outcomes that came in and claims what is due;
sending happens in the receivers' own threads with no transaction open. Each receiver has its own threads, rate and backlog, so
that one that hangs delays no other. Delivery is at least once: killed between send and record, a message goes out again under
the same id.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from actionwatch.documents import instant
from actionwatch.errors import DeliveryError, StoreError, TransientDeliveryError
from actionwatch.model import Delivery, Receipt
from actionwatch.pipeline.channels import Channel, Job, Line, Outcome, Renderer
from actionwatch.pipeline.composing import Composer, FieldTexts
from actionwatch.pipeline.troubles import Troubles
from actionwatch.retry import Bury, RetryAt, decide
from actionwatch.store import outbox, receivers, story
from actionwatch.store.database import Database
from actionwatch.text import visible

LEASE = timedelta(minutes=5)  # longer than any send can take; a process that died gives its rows back after it
POLL_SECONDS = 1.0  # other processes (a replay by hand, another step) fill the outbox too: looked for once a second
STOP_SECONDS = 8.0  # within the 10 s that a clean end may take; what still hangs is tried again at the next start
FAILING_AFTER = timedelta(minutes=10)  # a receiver that refuses everything for this long is a trouble of its own
TROUBLES_EVERY = timedelta(seconds=5)  # how often the health of receivers is judged: counting is not free
DEAD_REMEDY = (
    "mend the receiver, look at 'actionwatch deliveries list --dead', then 'actionwatch deliveries retry --dead'"
)

log = structlog.get_logger()


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
        stop_seconds: float = STOP_SECONDS,
    ) -> None:
        self._database = database
        self._composer = Composer(field_texts)
        self._troubles = troubles
        self._clock = clock
        self._jitter = jitter
        self._stop_seconds = stop_seconds
        self._outcomes: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
        self._ended: list[Outcome] = []
        """Attempts that ended and are not written down yet: a store that is busy must not make them forgotten."""
        self._lines = {channel.name: Line(channel, renderer, self._outcomes) for channel in channels}
        self._stopping = threading.Event()
        self._is_alone = False
        """Whether `recover` ran: no other process delivers from this store, and all its receivers are ours."""
        self._judged_at: datetime | None = None

    def wake(self) -> None:
        """Look at the outbox now: something was written to it."""
        self._outcomes.put(None)

    def run(self) -> None:
        """Work until `stop`; meant for a thread of its own."""
        while not self._stopping.is_set():
            try:
                if not self._is_alone:
                    self.recover()
                self.run_once(self._patience())
            except StoreError as exc:
                log.warning("store_failed", step="deliver", error=str(exc))
                self._stopping.wait(POLL_SECONDS)
            except Exception as exc:
                log.exception("step_failed", step="deliver", error=str(exc))
                self._stopping.wait(POLL_SECONDS)
        self._finish()

    def stop(self) -> None:
        """End `run`: nothing more is claimed, what is under way is given its time and recorded."""
        self._stopping.set()
        self.wake()

    def recover(self) -> None:
        """Take back what a process that died held, bury what waits for receivers that are gone, respect what others asked."""
        with self._database.write() as connection:
            released = outbox.release_leases(connection)
            buried = outbox.bury_strangers(connection, list(self._lines))
            health = receivers.read_all(connection)
        for name, line in self._lines.items():
            paused_until = health.get(name, receivers.Health()).paused_until
            if paused_until is not None:
                line.pause(paused_until)
        self._is_alone = True
        if released or buried:
            log.info("outbox_recovered", released=released, buried=buried)

    def run_once(self, patience: float = 0.0) -> int:
        """Record the outcomes that came within `patience` seconds, claim what is due, hand it out; give how many."""
        self._collect(patience)
        jobs: list[Job] = []
        lines = self._open_lines() if self._ended else self._due_lines()
        if self._ended or lines:
            with self._database.write() as connection:
                self._record(connection, self._ended)
                for line in lines:
                    jobs += self._claim(connection, line)
            self._ended = []
        for job in jobs:
            self._lines[job.delivery.receiver].send(job)
        if not self._stopping.is_set():
            self._judge_receivers()
        return len(jobs)

    def drain(self, wait_for_retries: timedelta = timedelta(0)) -> None:
        """Deliver until nothing is under way and nothing falls due within `wait_for_retries` from now; for `run --once`."""
        self.recover()
        deadline = self._clock() + wait_for_retries
        while not self._stopping.is_set():
            if self.under_way() == 0 and not self._is_wanted(deadline):
                self._judge_receivers(is_overdue=True)  # what this opens is delivered in the same run
                if not self._is_wanted(deadline):
                    break
            self.run_once(self._patience())
        self._finish()

    def under_way(self) -> int:
        """Count the messages that were handed out and whose end is not recorded."""
        return sum(line.under_way for line in self._lines.values()) + len(self._ended)

    # -- what one round does, in order ---------------------------------------------------------------------------------

    def _collect(self, patience: float) -> None:
        """Wait for the first outcome (or a wake-up), then take all that is there."""
        try:
            outcome = self._outcomes.get(timeout=patience) if patience > 0 else self._outcomes.get_nowait()
            while True:
                if outcome is not None:
                    self._lines[outcome.job.delivery.receiver].under_way -= 1
                    self._ended.append(outcome)
                outcome = self._outcomes.get_nowait()
        except queue.Empty:
            return

    def _open_lines(self) -> list[Line]:
        """Give the receivers that can be handed something now."""
        now = self._clock()
        return [] if self._stopping.is_set() else [line for line in self._lines.values() if line.free(now)]

    def _due_lines(self) -> list[Line]:
        """Give the receivers that can be handed something, and for which something is due."""
        now = self._clock()
        return [line for line, due_at in self._next_dues(self._open_lines()) if due_at <= now]

    def _claim(self, connection: Connection, line: Line) -> list[Job]:
        """Lease what is due for a receiver, and freeze what each message says at its first attempt."""
        now, receiver = self._clock(), line.channel.name
        claimed = outbox.claim(connection, receiver, now, line.free(now), now + LEASE)
        if not claimed:
            return []
        messages = self._composer.compose(connection, receiver, claimed, now)
        references = receivers.read_references(connection, [delivery.alert_id for delivery in claimed], receiver)
        return [
            Job(delivery, messages[delivery.id], references.get(delivery.alert_id))
            for delivery in claimed
            if delivery.id in messages
        ]

    def _record(self, connection: Connection, ended: Sequence[Outcome]) -> None:
        """Write down how attempts ended, each as a line in its alert's story, and what that says of their receivers."""
        now = self._clock()
        taken = {outcome.job.delivery.id: outcome.receipt or Receipt() for outcome in ended if outcome.error is None}
        outbox.record_sent(connection, {delivery_id: receipt.note for delivery_id, receipt in taken.items()}, now)
        for name in {outcome.job.delivery.receiver for outcome in ended if outcome.error is None}:
            receivers.note_success(connection, name, now)
        entries: list[story.Entry] = []
        for outcome in ended:
            delivery = outcome.job.delivery
            if outcome.error is None:
                what = self._note_taken(connection, outcome, taken[delivery.id])
            else:
                what = self._record_failure(connection, delivery, outcome.error, now)
            stage = f"delivery to {delivery.receiver}"
            failures = [f"template: {visible(failure)}" for failure in outcome.render_failures]
            entries += [
                story.Entry(now, delivery.alert_id, stage, line)
                for line in (*failures, f"attempt {delivery.attempts}: {what}")
            ]
        story.append(connection, entries)

    def _note_taken(self, connection: Connection, outcome: Outcome, receipt: Receipt) -> str:
        delivery = outcome.job.delivery
        if receipt.reference is not None:
            receivers.write_reference(connection, delivery.alert_id, delivery.receiver, receipt.reference)
        log.info("delivery_sent", delivery=delivery.id, receiver=delivery.receiver, attempt=delivery.attempts)
        return f"{outcome.job.message.type} taken" + (f"; {receipt.note}" if receipt.note else "")

    def _record_failure(self, connection: Connection, delivery: Delivery, error: DeliveryError, now: datetime) -> str:
        line, text = self._lines[delivery.receiver], visible(str(error))
        decision = decide(error, delivery.attempts, delivery.started_at, now, self._jitter(), line.channel.retry)
        if isinstance(error, TransientDeliveryError) and error.retry_after:
            line.pause(now + error.retry_after)
        receivers.note_failure(connection, delivery.receiver, now, text, line.paused_until)
        match decision:
            case RetryAt(at):
                outbox.record_retry(connection, delivery, at, text)
                what = f"{text}; next attempt at {instant(at)}"
            case Bury(why):
                outbox.record_dead(connection, delivery.id, text, visible(why))
                what = f"{text}; dead letter: {visible(why)}"
        event = "delivery_failed" if isinstance(decision, RetryAt) else "delivery_buried"
        log.warning(event, delivery=delivery.id, receiver=delivery.receiver, attempt=delivery.attempts, error=text)
        return what

    def _judge_receivers(self, *, is_overdue: bool = False) -> None:
        """Report dead letters and receivers that keep failing; settle what is over."""
        now = self._clock()
        if not is_overdue and self._judged_at is not None and now - self._judged_at < TROUBLES_EVERY:
            return
        self._judged_at = now
        with self._database.read() as connection:
            queues, health = outbox.count_queues(connection), receivers.read_all(connection)
        if self._is_alone:
            health = {name: found for name, found in health.items() if name in self._lines}
            self._bury_strangers({name for name, waiting in queues.items() if waiting.pending})
        dead = {name: waiting.dead for name, waiting in queues.items() if waiting.dead}
        for name, count in dead.items():
            self._troubles.report("dead_letters", name, f"{count} of its messages were given up", DEAD_REMEDY)
        self._troubles.settle_others("dead_letters", set(dead))
        failing = {name: found.failing_since for name, found in health.items() if found.failing_since is not None}
        for name, since in failing.items():
            if now - since >= FAILING_AFTER:
                error = health[name].last_error or "no answer"
                self._troubles.report("receiver_failing", name, f"no message taken since {instant(since)}: {error}", "")
        self._troubles.settle_others("receiver_failing", set(failing))

    def _bury_strangers(self, waiting: set[str]) -> None:
        """Bury what a replay by hand made pending again for a receiver that is no longer configured."""
        if waiting - self._lines.keys():
            with self._database.write() as connection:
                outbox.bury_strangers(connection, list(self._lines))

    # -- waiting and ending --------------------------------------------------------------------------------------------

    def _patience(self) -> float:
        """Say how long nothing can be claimed: until a row falls due or a receiver opens, at most POLL_SECONDS."""
        if self._ended:
            return 0.0
        now = self._clock()
        waits = [seconds for line in self._lines.values() if (seconds := line.wait_seconds(now)) > 0]
        waits += [(due_at - now).total_seconds() for _, due_at in self._next_dues(self._open_lines())]
        return max(0.0, min([POLL_SECONDS, *waits]))

    def _is_wanted(self, deadline: datetime) -> bool:
        """Say whether anything can be tried now or by the deadline, as far as due times and the receivers' wishes go."""
        until = max(deadline, self._clock())
        dues = self._next_dues(list(self._lines.values()))
        return any(max(due_at, line.paused_until or due_at) <= until for line, due_at in dues)

    def _next_dues(self, lines: Sequence[Line]) -> list[tuple[Line, datetime]]:
        """Give when the next row of each of these receivers falls due; one without any is left out."""
        if not lines:
            return []
        now = self._clock()
        with self._database.read() as connection:
            dues = [(line, outbox.next_due(connection, line.channel.name, now)) for line in lines]
        return [(line, due_at) for line, due_at in dues if due_at is not None]

    def _finish(self) -> None:
        """Give what is under way its time, record it, close the notifiers."""
        deadline = time.monotonic() + self._stop_seconds
        self._stopping.set()
        while self.under_way() and time.monotonic() < deadline:
            try:
                self.run_once(0.05)
            except StoreError as exc:
                log.warning("store_failed", step="deliver", error=str(exc))
                time.sleep(0.05)
        if self.under_way():
            log.warning(
                "deliveries_interrupted", count=self.under_way(), remedy="they are tried again at the next start"
            )
        for line in self._lines.values():
            line.close()
