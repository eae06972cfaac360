"""Deliver: due deliveries -> notifiers -> outcomes.

One dispatcher thread does all the writing, in batches: a transaction records the outcomes that came in and claims what is due;
sending happens in the receivers' own threads with no transaction open. Each receiver has its own threads, rate and backlog, so
that one that hangs delays no other. Delivery is at least once: killed between send and record, a message goes out again under
the same id.
"""

from __future__ import annotations

import contextlib
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from actionwatch.alerts.policy import House
from actionwatch.alerts.self_alerts import SelfAlerts
from actionwatch.base.durations import spell_duration
from actionwatch.base.errors import DeliveryError, StoreError, TransientDeliveryError
from actionwatch.base.model import Delivery, Event, Receipt
from actionwatch.delivery.compose import compose
from actionwatch.delivery.fallback import Fallbacks
from actionwatch.delivery.gates import Gatekeeper, Judged
from actionwatch.delivery.health import FAILING_AFTER as FAILING_AFTER
from actionwatch.delivery.health import ReceiverWatch
from actionwatch.delivery.receiver_worker import HELD_ELSEWHERE, Channel, Job, Line, Outcome, Renderer
from actionwatch.delivery.removed_receivers import bury_strangers
from actionwatch.delivery.retry import Bury, RetryAt, decide
from actionwatch.delivery.summary import Summaries
from actionwatch.store import alert_history, delivery_latency, outbox, receivers
from actionwatch.store.database import Database
from actionwatch.text.escaping import visible
from actionwatch.text.payloads import instant

LEASE = timedelta(minutes=5)  # longer than any send can take; a process that died gives its rows back after it
POLL_SECONDS = 1.0  # other processes (a replay by hand, another step) fill the outbox too: looked for once a second
IDLE_SECONDS = 5.0  # where nothing is written, such as the end of a mute interval is seen this soon
STOP_SECONDS = 8.0  # within the 10 s that a clean end may take; what still hangs is tried again at the next start
GATHER_SECONDS = 0.04  # how long a round waits at most for what a quick receiver has in hand, if nothing new comes
GATHER_STEP = 0.002
SUMMARIES_EVERY = timedelta(seconds=1)
JUDGED_AT_ONCE = (
    500  # rows a transaction that go through the gates: a storm of thousands must not hold the store for long
)
TROUBLES_EVERY = timedelta(seconds=5)  # how often the health of receivers is judged: counting is not free

log = structlog.get_logger()


def _attempt(work: Callable[[], object]) -> bool:
    try:
        work()
    except StoreError as exc:
        log.warning("store_failed", step="deliver", error=str(exc))
        return False
    except Exception as exc:
        log.exception("step_failed", step="deliver", error=str(exc))
        return False
    return True


class Deliverer:
    """The step, for all receivers of one process."""

    def __init__(
        self,
        database: Database,
        channels: Sequence[Channel],
        renderer: Renderer,
        troubles: SelfAlerts,
        clock: Callable[[], datetime],
        jitter: Callable[[], float] = random.random,
        stop_seconds: float = STOP_SECONDS,
        house: House = House(),  # noqa: B008 - a frozen value
    ) -> None:
        policies = {channel.name: channel.policy for channel in channels}
        self._database = database
        self._gatekeeper = Gatekeeper(house)
        self._fallbacks = Fallbacks(policies)
        self._summaries = Summaries(database, house, policies)
        self._watch = ReceiverWatch(database, troubles, policies)
        self._clock = clock
        self._jitter = jitter
        self._stop_seconds = stop_seconds
        self._outcomes: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
        self._steps: queue.SimpleQueue[timedelta] = queue.SimpleQueue()
        self._ended: list[Outcome] = []
        """Attempts that ended and are not written down yet: a store that is busy must not make them forgotten."""
        self._lines = {channel.name: Line(channel, renderer, self._outcomes) for channel in channels}
        self._stopping = threading.Event()
        self._is_alone = False
        """Whether `recover` ran: no other process delivers from this store, and all its receivers are ours."""
        self._seen_version: int | None = None
        """The store's, before it was last asked what is due."""
        self._judged_at: datetime | None = None
        self._summed_up_at: datetime | None = None

    def wake(self) -> None:
        """Look at the outbox now: something was written to it."""
        self._outcomes.put(None)

    def follow_clock(self, step: timedelta) -> None:
        """Keep receivers closed for as long as they were to be: the clock was set, and the store has followed it."""
        self._steps.put(step)
        self.wake()

    def run(self, attempt: Callable[[Callable[[], object]], bool] = _attempt) -> None:
        """Work until `stop`; meant for a thread of its own.

        `attempt` calls what it is given and returns whether that succeeded.
        """
        while not self._stopping.is_set():
            if not attempt(self._run_round):
                self._stopping.wait(POLL_SECONDS)
        self.finish()

    def stop(self) -> None:
        """End `run`: nothing more is claimed, what is under way is given its time and recorded."""
        self._stopping.set()
        self.wake()

    def check_sends(self) -> None:
        """Check that every send ends: a notifier has time limits, so one that outlasts a lease hangs.

        Raises: DeliveryError, with the receivers.
        """
        hung = [name for name, line in self._lines.items() if line.longest_send() > LEASE]
        if hung:
            limit = spell_duration(LEASE)
            raise DeliveryError(f"sends to {', '.join(hung)} have been under way for more than {limit}")

    def recover(self) -> None:
        """Take back what a process that died held, bury what waits for receivers that are gone, respect what others asked."""
        with self._database.write() as connection:
            now = self._clock()
            interrupted = outbox.read_leaseholders(connection)
            released = outbox.release_leases(connection)
            buried = bury_strangers(connection, self._lines.keys(), now)
            health = receivers.read_all(connection)
            for name in self._lines.keys() & interrupted:
                # A receiver that outlasts each of our processes fails too, though none of them lives to see it.
                paused_until = health.get(name, receivers.Health()).paused_until
                receivers.note_failure(connection, name, now, "no answer before our process ended", paused_until)
        for name, line in self._lines.items():
            paused_until = health.get(name, receivers.Health()).paused_until
            if paused_until is not None:
                line.pause(paused_until)
        self._is_alone = True
        if released or buried:
            log.info("outbox_recovered", released=released, buried=buried)

    def _run_round(self) -> None:
        if not self._is_alone:
            self.recover()
        self.run_once(self._patience())

    def run_once(self, patience: float = 0.0) -> int:
        """Record the outcomes that came within `patience` seconds, claim what is due, hand it out; give how many."""
        self._collect(patience)
        self._move_lines()
        if not self._stopping.is_set():
            self._sum_up()
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
            if self.under_way() == 0:
                self._sum_up(is_overdue=True)
            if self.under_way() == 0 and not self._is_wanted(deadline):
                self._judge_receivers(is_overdue=True)  # what this opens is delivered in the same run
                if not self._is_wanted(deadline):
                    break
            self.run_once(self._patience())
        self._watch.bury_strangers(self._clock())  # the end of a trouble may be owed to one that is gone
        self.finish()

    def under_way(self) -> int:
        """Count the messages that were handed out and whose end is not recorded."""
        return sum(len(line.in_hand) for line in self._lines.values()) + len(self._ended)

    # -- what one round does, in order ---------------------------------------------------------------------------------

    def _move_lines(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                step = self._steps.get_nowait()
                for line in self._lines.values():
                    line.follow_clock(step)

    def _collect(self, patience: float) -> None:
        """Wait for the first outcome or a wake-up, then take all that is there, and what a quick receiver still has in hand."""
        patience = 0.0 if self._ended else patience
        for line in self._lines.values():
            line.ended_count = 0
        try:
            is_woken = self._take_back(self._wait(patience) if patience > 0 else self._outcomes.get_nowait())
        except queue.Empty:
            return
        ends_at = time.monotonic() + (GATHER_SECONDS if patience > 0 else 0)
        while not (self._take_all() or is_woken) and time.monotonic() < ends_at and self._is_gathering():
            time.sleep(GATHER_STEP)

    def _is_gathering(self) -> bool:
        """Say whether to leave the processor to those who send: they and a round of ours, side by side, both take longer."""
        return any(line.is_busy for line in self._lines.values())

    def _take_all(self) -> bool:
        """Take what is there; say whether somebody asked to be heard at once."""
        is_woken = False
        with contextlib.suppress(queue.Empty):
            while True:
                is_woken |= self._take_back(self._outcomes.get_nowait())
        return is_woken

    def _take_back(self, outcome: Outcome | None) -> bool:
        if outcome is None:
            return True
        self._lines[outcome.job.delivery.receiver].take_back(outcome)
        self._ended.append(outcome)
        return False

    def _wait(self, patience: float) -> Outcome | None:
        """Wait for an outcome or a wake-up. Raises: queue.Empty, when patience is over or something was written meanwhile."""
        deadline = time.monotonic() + patience
        while True:
            left = deadline - time.monotonic()
            try:
                return self._outcomes.get(timeout=max(min(left, POLL_SECONDS), 0))
            except queue.Empty:
                if left <= POLL_SECONDS or self._database.version() != self._seen_version:
                    raise

    def _open_lines(self) -> list[Line]:
        """Give the receivers that can be handed something now."""
        now = self._clock()
        return [] if self._stopping.is_set() else [line for line in self._lines.values() if line.free(now)]

    def _due_lines(self) -> list[Line]:
        """Give the receivers that can be handed something, and for which something is due."""
        now = self._clock()
        return [line for line, due_at in self._next_dues(self._open_lines()) if due_at <= now]

    def _claim(self, connection: Connection, line: Line) -> list[Job]:
        """Lease what is due for a receiver and passes the gates, and freeze what each message says at its first attempt."""
        now, channel = self._clock(), line.channel
        jobs: list[Job] = []
        free = limit = self._free(connection, line, now)
        looked_at = 0
        while free > 0 and looked_at < JUDGED_AT_ONCE:
            due = outbox.read_due(connection, channel.name, now, limit)
            if not due:
                break
            judged = self._gatekeeper.judge(connection, channel.policy, due, free, now)
            self._fallbacks.follow(connection, judged.ends, now)
            jobs += self._lease(connection, line, judged, now)
            free -= len(judged.passed)
            looked_at += len(due)
            limit = min(limit * 4, JUDGED_AT_ONCE)  # what gates stop takes no slot: look further, in ever larger steps
        if jobs and line.interval:
            line.closed_until = now + line.interval
            receivers.note_next(connection, channel.name, line.closed_until)
        return jobs

    def _free(self, connection: Connection, line: Line, now: datetime) -> int:
        """Say how many more messages a receiver may be handed, all processes that deliver to it considered."""
        line.heed(*receivers.read_closed(connection, line.channel.name))
        mine = len(line.in_hand)
        leased = outbox.count_leased(connection, line.channel.name, now, mine + line.channel.concurrency)
        free = line.free(now, held_elsewhere=max(leased - mine, 0))
        if not free and leased > mine and not line.wait_seconds(now):
            line.closed_until = now + HELD_ELSEWHERE
        return free

    def _lease(self, connection: Connection, line: Line, judged: Judged, now: datetime) -> list[Job]:
        composed = compose(connection, judged.passed, now)
        leased = outbox.lease(connection, [each.delivery for each in composed], now + LEASE)
        references = receivers.read_references(connection, [each.alert_id for each in leased], line.channel.name)
        # A send that outlasts its lease is not begun once more beside itself: claiming it has renewed the lease.
        return [
            Job(delivery, each.message, references.get(delivery.alert_id), each.alert)
            for delivery, each in zip(leased, composed, strict=True)
            if delivery.id not in line.in_hand
        ]

    def _record(self, connection: Connection, ended: Sequence[Outcome]) -> None:
        """Write down how attempts ended, each as a line in its alert's story, and what that says of their receivers."""
        now = self._clock()
        taken = {outcome.job.delivery.id: outcome.receipt or Receipt() for outcome in ended if outcome.error is None}
        outbox.record_sent(connection, {delivery_id: receipt.note for delivery_id, receipt in taken.items()}, now)
        for name in {outcome.job.delivery.receiver for outcome in ended if outcome.error is None}:
            receivers.note_success(connection, name, now)
        opened = [
            outcome.job for outcome in ended if outcome.error is None and outcome.job.delivery.event is Event.OPENED
        ]
        delivery_latency.note(
            connection, [(job.alert, job.delivery.receiver) for job in opened if job.alert is not None], now
        )
        entries: list[alert_history.Entry] = []
        for outcome in ended:
            delivery = outcome.job.delivery
            if outcome.error is None:
                what = self._note_taken(connection, outcome, taken[delivery.id])
            else:
                what = self._record_failure(connection, delivery, outcome.error, now)
            stage = f"delivery to {delivery.receiver}"
            failures = [f"template: {visible(failure)}" for failure in outcome.render_failures]
            entries += [
                alert_history.Entry(now, delivery.alert_id, stage, line)
                for line in (*failures, f"attempt {delivery.attempts}: {what}")
            ]
        alert_history.append(connection, entries)

    def _note_taken(self, connection: Connection, outcome: Outcome, receipt: Receipt) -> str:
        delivery = outcome.job.delivery
        if (
            receipt.reference is not None and delivery.event is not Event.SUMMARY
        ):  # each summary is a message of its own
            receivers.write_reference(connection, delivery.alert_id, delivery.receiver, receipt.reference)
        log.info("delivery_sent", delivery=delivery.id, receiver=delivery.receiver, attempt=delivery.attempts)
        return f"{outcome.job.message.type} taken" + (f"; {receipt.note}" if receipt.note else "")

    def _record_failure(self, connection: Connection, delivery: Delivery, error: DeliveryError, now: datetime) -> str:
        line, text = self._lines[delivery.receiver], visible(str(error))
        stored = outbox.read(connection, delivery.id) or delivery  # it has followed the clock, where that was set since
        decision = decide(error, delivery.attempts, stored.started_at, now, self._jitter(), line.channel.retry)
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
                self._fallbacks.stand_in(connection, delivery, visible(why), now)
        event = "delivery_failed" if isinstance(decision, RetryAt) else "delivery_buried"
        log.warning(event, delivery=delivery.id, receiver=delivery.receiver, attempt=delivery.attempts, error=text)
        return what

    def _judge_receivers(self, *, is_overdue: bool = False) -> None:
        """Report what is wrong with receivers, settle what is over, and let others stand in for those that keep failing."""
        now = self._clock()
        if not is_overdue and self._judged_at is not None and abs(now - self._judged_at) < TROUBLES_EVERY:
            return
        self._judged_at = now
        health = self._watch.judge(now, is_alone=self._is_alone)
        for name in self._fallbacks.failing(health, now):
            with self._database.write() as connection:
                # What was never tried goes through the gates first, and says from now on what its copy says.
                due = outbox.read_due(connection, name, now, JUDGED_AT_ONCE)
                untried = [each for each in due if each.delivery.body is None]
                policy = self._lines[name].channel.policy
                judged = self._gatekeeper.judge(connection, policy, untried, len(untried), now)
                self._fallbacks.follow(connection, judged.ends, now)
                composed = compose(connection, judged.passed, now)
                outbox.freeze(connection, [each.delivery for each in composed])
                self._fallbacks.stand_in_for_all(connection, name, now)

    def _sum_up(self, *, is_overdue: bool = False) -> None:
        """Make the summaries that are due; looking once a second is enough."""
        now = self._clock()
        if is_overdue or self._summed_up_at is None or abs(now - self._summed_up_at) >= SUMMARIES_EVERY:
            self._summed_up_at = now
            self._summaries.make_due(now)

    # -- waiting and ending --------------------------------------------------------------------------------------------

    def _patience(self) -> float:
        """Say how long nothing can be done unless somebody writes: until a row falls due, a receiver opens, a storm is told."""
        self._seen_version = self._database.version()
        now = self._clock()
        waits = [seconds for line in self._lines.values() if (seconds := line.wait_seconds(now)) > 0]
        waits += [(due_at - now).total_seconds() for _, due_at in self._next_dues(self._open_lines())]
        if (storm_due_at := self._summaries.next_due(now)) is not None:
            waits.append(max(storm_due_at - now, SUMMARIES_EVERY).total_seconds())
        return max(0.0, min([IDLE_SECONDS, *waits]))

    def _is_wanted(self, deadline: datetime) -> bool:
        """Say whether anything can be tried now or by the deadline, as far as due times and the receivers' wishes go."""
        until = max(deadline, self._clock())
        dues = self._next_dues(list(self._lines.values()))
        summary_due_at = self._summaries.next_due(until)
        if summary_due_at is not None and summary_due_at <= until:
            return True
        return any(max(due_at, line.paused_until or due_at) <= until for line, due_at in dues)

    def _next_dues(self, lines: Sequence[Line]) -> list[tuple[Line, datetime]]:
        """Give when the next row of each of these receivers falls due; one without any is left out."""
        if not lines:
            return []
        now = self._clock()
        with self._database.read() as connection:
            dues = [(line, outbox.next_due(connection, line.channel.name, now)) for line in lines]
        return [(line, due_at) for line, due_at in dues if due_at is not None]

    def finish(self) -> None:
        """Give what is under way its time, record it, close the notifiers; `run` and `drain` end so by themselves."""
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
