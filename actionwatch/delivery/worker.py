"""Step 3, deliver: rows of the outbox -> notifiers -> recorded outcomes.

One thread does all the writing, in rounds: one transaction records the attempts that ended and claims what is due. Receivers
send in their own threads, with no transaction open. Delivery is at least once: a process that is killed between sending and
recording sends the message again, under the same id.
"""

from __future__ import annotations

import contextlib
import queue
import random
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from actionwatch.alerts.policy import GlobalPolicy
from actionwatch.alerts.self_alerts import SelfAlerts
from actionwatch.base.durations import spell_duration
from actionwatch.base.errors import DeliveryError, StoreError
from actionwatch.delivery.claiming import LEASE, Claimer
from actionwatch.delivery.fallback import Fallbacks
from actionwatch.delivery.gate_check import GateCheck
from actionwatch.delivery.health import ReceiverWatch
from actionwatch.delivery.inbox import Inbox
from actionwatch.delivery.receiver_worker import Channel, Job, MessageRenderer, ReceiverWorker
from actionwatch.delivery.record import Recorder
from actionwatch.delivery.removed_receivers import bury_unknown_receivers
from actionwatch.delivery.schedule import SUMMARIES_EVERY, Schedule
from actionwatch.delivery.summary import Summaries
from actionwatch.delivery.template_watch import TemplateWatch
from actionwatch.store import delivery_transitions, receivers
from actionwatch.store.database import Database
from actionwatch.store.membership import LEADER

STOP_SECONDS = 8.0  # within the 10 s that stopping may take; the next start retries what still hangs
FAILED_SECONDS = 1.0  # until the next round after one that failed, for example because the store was busy
HEALTH_EVERY = timedelta(seconds=5)  # counting dead letters takes time

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


class DeliveryWorker:
    """The step, for all receivers of one process."""

    def __init__(
        self,
        database: Database,
        channels: Sequence[Channel],
        renderer: MessageRenderer,
        self_alerts: SelfAlerts,
        clock: Callable[[], datetime],
        jitter: Callable[[], float] = random.random,
        stop_seconds: float = STOP_SECONDS,
        global_policy: GlobalPolicy = GlobalPolicy(),  # noqa: B008 - a frozen value
        leads: Callable[[], bool] = lambda: True,
        leader_alerts: SelfAlerts | None = None,
    ) -> None:
        """`leads` returns whether this process does what only one of several replicas does: report, summarise, give up.

        It does that with `leader_alerts`; by default, with `self_alerts`.
        """
        policies = {channel.name: channel.policy for channel in channels}
        self._database = database
        self._clock = clock
        self._stop_seconds = stop_seconds
        self._stopping = threading.Event()
        self._clock_steps: queue.SimpleQueue[timedelta] = queue.SimpleQueue()
        self._leads = leads
        self._links = global_policy.links
        self._sender = database.sender or secrets.token_hex(8)
        self._is_recovered = False
        self._inbox = Inbox(database)
        self._workers = {channel.name: ReceiverWorker(channel, renderer, self._inbox.put) for channel in channels}
        self._fallbacks = Fallbacks(policies)
        self._claimer = Claimer(GateCheck(global_policy), self._fallbacks, self._sender)
        self._recorder = Recorder(self._workers, self._fallbacks, jitter)
        self._leading = database.as_holder(LEADER)
        self._summaries = Summaries(self._leading, global_policy, policies)
        self._watch = ReceiverWatch(self._leading, leader_alerts or self_alerts, policies, global_policy.links)
        self._templates = TemplateWatch(renderer, self_alerts)
        self._schedule = Schedule(database, self._workers.values(), self._summaries, clock)
        self._summaries_timer = _Timer(SUMMARIES_EVERY)
        self._health_timer = _Timer(HEALTH_EVERY)

    def wake(self) -> None:
        """Read the outbox now, because it has changed."""
        self._inbox.wake()

    def follow_clock(self, step: timedelta) -> None:
        """Move the pauses of the receivers by a step of the clock, which the stored times have followed."""
        self._clock_steps.put(step)
        self.wake()

    def run(self, attempt: Callable[[Callable[[], object]], bool] = _attempt) -> None:
        """Work until `stop`, in a separate thread. `attempt` calls its argument and returns whether that succeeded."""
        while not self._stopping.is_set():
            if not attempt(self._run_round):
                self._is_recovered = False  # the server of the store may have lost what this process committed last
                self._stopping.wait(FAILED_SECONDS)
        self.finish()

    def stop(self) -> None:
        """End `run`: it claims nothing more, and records the attempts that have started."""
        self._stopping.set()
        self.wake()

    def check_sends(self) -> None:
        """Check that every send ends: a notifier has time limits, so one that outlasts a lease hangs.

        Raises: DeliveryError, with the receivers.
        """
        hung = [name for name, worker in self._workers.items() if worker.longest_send() > LEASE]
        if hung:
            limit = spell_duration(LEASE)
            raise DeliveryError(f"sends to {', '.join(hung)} have been running for more than {limit}")

    def recover(self) -> None:
        """End the leases of processes that are dead, or forgotten, and give up what waits for removed receivers."""
        self._is_recovered = True  # first: a process that ends meanwhile asks for the next one
        with self._database.write() as connection:
            now = self._clock()
            senders = {self._sender, *self._database.read_senders(connection)}
            released = delivery_transitions.release(connection, senders, self._sender, self._in_hand())
            for name in self._workers.keys() & released.keys():
                # A receiver that hangs until each of our processes ends fails too, though none of them records it.
                receivers.note_failure(connection, name, now, "no response before the process ended", None)
        buried = 0
        if self._leads():
            with self._leading.write() as connection:
                buried = bury_unknown_receivers(connection, self._workers.keys(), now, self._links)
        if released or buried:
            log.info("outbox_recovered", released=sum(released.values()), buried=buried)

    def recover_soon(self) -> None:
        """Let the next round call `recover`: another process has ended."""
        self._is_recovered = False
        self.wake()

    def run_once(self, wait_seconds: float = 0.0) -> int:
        """Run one round; wait up to `wait_seconds` for attempts to end. Return how many messages were claimed."""
        self._inbox.collect(self._workers.values(), wait_seconds)
        self._follow_clock_steps()
        self._make_summaries()
        jobs = self._record_and_claim()
        for job in jobs:
            self._workers[job.delivery.receiver].send(job)
        for worker in self._workers.values():
            worker.start_threads()
        self._templates.report()
        self._check_receivers()
        return len(jobs)

    def drain(self, wait_for_retries: timedelta = timedelta(0)) -> None:
        """Deliver until nothing is being sent and nothing falls due within `wait_for_retries` from now; for `run --once`."""
        self.recover()
        deadline = self._clock() + wait_for_retries
        while not self._stopping.is_set():
            if self.under_way() == 0:
                self._make_summaries(is_forced=True)
            if self.under_way() == 0 and not self._schedule.has_work_by(deadline):
                self._check_receivers(is_forced=True)  # the self-alerts that this opens go out in the same run
                if not self._schedule.has_work_by(deadline):
                    break
            self.run_once(self._seconds_until_next())
        self._watch.bury_unknown_receivers(self._clock())  # a self-alert may have ended for a removed receiver
        self.finish()

    def under_way(self) -> int:
        """Count the messages whose attempt has started and is not recorded."""
        return sum(len(worker.in_hand) for worker in self._workers.values()) + len(self._inbox.ended)

    def finish(self) -> None:
        """Wait for the attempts that have started, record them, and close the notifiers; `run` and `drain` end with this."""
        deadline = time.monotonic() + self._stop_seconds
        self._stopping.set()
        while self.under_way() and time.monotonic() < deadline:
            if not _attempt(lambda: self.run_once(0.05)):
                time.sleep(0.05)
        if self.under_way():
            log.warning("deliveries_interrupted", count=self.under_way(), remedy="the next start retries them")
        for worker in self._workers.values():
            worker.close()

    def _in_hand(self) -> set[str]:
        """Return the rows whose attempt has started and is not recorded."""
        ended = {attempt.job.delivery.id for attempt in self._inbox.ended}
        return ended.union(*(worker.in_hand for worker in self._workers.values()))

    def _run_round(self) -> None:
        if not self._is_recovered:
            self.recover()
        self.run_once(self._seconds_until_next())

    def _seconds_until_next(self) -> float:
        self._inbox.note_version()
        return self._schedule.seconds_until_next()

    def _follow_clock_steps(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                step = self._clock_steps.get_nowait()
                for worker in self._workers.values():
                    worker.follow_clock(step)

    def _make_summaries(self, *, is_forced: bool = False) -> None:
        now = self._clock()
        if not self._stopping.is_set() and self._leads() and self._summaries_timer.is_due(now, is_forced=is_forced):
            self._summaries.make_due(now)

    def _record_and_claim(self) -> list[Job]:
        """Record the attempts that ended and claim what is due, in one transaction."""
        ended = self._inbox.ended
        claiming: list[ReceiverWorker] = []
        if not self._stopping.is_set():
            claiming = self._schedule.free_workers() if ended else self._schedule.due_workers()
        if not ended and not claiming:
            return []
        # A server that fails over forgets commits that did not wait for the disk: not one of a message that was sent, because
        # it would be written again, with another time under the same id.
        with self._database.write(is_durable=self._database.is_shared and bool(claiming)) as connection:
            self._recorder.record(connection, ended, self._clock())
            self._share_out(connection)
            jobs = [job for each in claiming for job in self._claimer.claim(connection, each, self._clock())]
        self._inbox.ended = []
        self._templates.note(ended)
        return jobs

    def _share_out(self, connection: Connection) -> None:
        """Divide what receivers take at a time among the processes that send."""
        if self._database.is_shared:
            senders = sorted({self._sender, *self._database.read_senders(connection)})
            for worker in self._workers.values():
                worker.sender_count, worker.sender_rank = len(senders), senders.index(self._sender)

    def _check_receivers(self, *, is_forced: bool = False) -> None:
        """Report failing receivers and dead letters, and copy what waits for failing receivers to their fallbacks."""
        now = self._clock()
        if self._stopping.is_set() or not self._leads() or not self._health_timer.is_due(now, is_forced=is_forced):
            return
        health = self._watch.check(now)
        for name in self._fallbacks.failing(health, now):
            with self._database.read() as connection:
                prepared = self._claimer.prepare(connection, name, now)
            with self._leading.write() as connection:
                self._claimer.freeze_due(connection, name, self._workers[name].channel.policy, prepared, now)
                self._fallbacks.fall_back_all(connection, name, now)


class _Timer:
    """Decides whether something that runs at intervals is due."""

    def __init__(self, interval: timedelta) -> None:
        self._interval = interval
        self._last: datetime | None = None

    def is_due(self, now: datetime, *, is_forced: bool) -> bool:
        is_due = is_forced or self._last is None or abs(now - self._last) >= self._interval  # the clock may be set back
        if is_due:
            self._last = now
        return is_due
