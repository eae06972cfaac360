"""Step 3, deliver: rows of the outbox -> notifiers -> recorded outcomes.

One thread does all the writing, in rounds: one transaction records the attempts that ended and claims what is due. Receivers
send in their own threads, with no transaction open. Delivery is at least once: a process that is killed between sending and
recording sends the message again, under the same id.
"""

from __future__ import annotations

import math
import random
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from actionwatch.alerts.policy import GlobalPolicy
from actionwatch.alerts.self_alerts import SelfAlerts
from actionwatch.base.daemon_threads import StartThread, start_daemon
from actionwatch.base.errors import StoreError
from actionwatch.delivery.attempt import Channel, MessageRenderer
from actionwatch.delivery.fallback import Fallbacks
from actionwatch.delivery.gate_check import GateCheck
from actionwatch.delivery.health import TemplateWatch
from actionwatch.delivery.leader import Leader
from actionwatch.delivery.receiver_worker import ReceiverWorker
from actionwatch.delivery.receiver_workers import Inbox, ReceiverWorkers, Schedule
from actionwatch.delivery.rounds import Claimer, Recorder, Rounds
from actionwatch.store import delivery_transitions, receivers
from actionwatch.store.database import Database
from actionwatch.store.membership import LEADER

_STOP_SECONDS = 7.0  # within the 10 s that stopping may take; the next start retries what still hangs
_FAILED_SECONDS = 1.0  # until the next round after one that failed, for example because the store was busy
_UNSTEADY_SECONDS = 1.0  # until the next look whether replicas are dead

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
        stop_seconds: float = _STOP_SECONDS,
        global_policy: GlobalPolicy = GlobalPolicy(),  # noqa: B008 - a frozen value
        leads: Callable[[], bool] = lambda: True,
        leader_alerts: SelfAlerts | None = None,
        start_thread: StartThread = start_daemon,
    ) -> None:
        """`leads` returns whether this process does what only one of several replicas does: report, summarise, give up.

        It does that with `leader_alerts`; by default, with `self_alerts`.
        """
        policies = {channel.name: channel.policy for channel in channels}
        self._database = database
        self._clock = clock
        self._stop_seconds = stop_seconds
        self._stopping = threading.Event()
        self._sender = database.peers.sender or secrets.token_hex(8)
        self._recover_at = 0.0
        """The monotonic time from which on the next round calls `recover`; infinite if nothing is to be recovered."""
        self._inbox = Inbox(database)
        self.receivers = ReceiverWorkers(channels, renderer, self._inbox, database.peers.term, start_thread)
        fallbacks = Fallbacks(policies)
        claimer = Claimer(GateCheck(global_policy), fallbacks, self._sender)
        self._leader = Leader(
            database.as_holder(LEADER),
            leads,
            leader_alerts or self_alerts,
            policies,
            global_policy,
            claimer,
            fallbacks,
        )
        self._templates = TemplateWatch(renderer, self_alerts)
        recorder = Recorder(self.receivers.by_name, fallbacks, jitter)
        self._rounds = Rounds(
            database, clock, self.receivers, self._inbox, recorder, claimer, self._templates, self._sender
        )
        self._schedule = Schedule(database, self.receivers.by_name.values(), self._leader.summaries, clock)

    def wake(self) -> None:
        """Read the outbox now, because it has changed."""
        self._inbox.wake()

    def follow_clock(self, step: timedelta) -> None:
        """Move the pauses of the receivers by a step of the clock, which the stored times have followed."""
        self._inbox.follow_clock(step)

    def begin(self) -> None:
        """Prepare for the first round: try each receiver that an earlier process paused."""
        self._leader.try_receivers_first(self._clock())

    def run(self, attempt: Callable[[Callable[[], object]], bool] = _attempt) -> None:
        """Work until `stop`, in a separate thread. `attempt` calls its argument and returns whether that succeeded."""
        self.begin()
        while not self._stopping.is_set():
            if not attempt(self.run_round):
                self.recover_soon()  # the server of the store may have lost what this process committed last
                self._stopping.wait(_FAILED_SECONDS)
        self.finish()

    def stop(self) -> None:
        """End `run`: it claims nothing more, and records the attempts that have started."""
        self._stopping.set()
        self.wake()

    def recover(self) -> None:
        """End the leases of processes that are dead, or forgotten, and give up what waits for removed receivers."""
        self._recover_at = math.inf  # first: a process that ends meanwhile asks for the next one
        with self._database.write() as connection:
            now = self._clock()
            released = self._release_left(connection, now)
            forgotten = delivery_transitions.release_forgotten(connection, self._sender, self.receivers.in_hand())
        buried = self._leader.bury_unknown_receivers(now)
        if released or forgotten or buried:
            count = sum(released.values()) + sum(forgotten.values())
            log.info("outbox_recovered", released=count, buried=buried)

    def _release_left(self, connection: Connection, now: datetime) -> Mapping[str, int]:
        """End the leases of processes that are dead. After an outage of the store, each gets the time to show that it lives."""
        senders = {self._sender, *self._database.peers.read_senders(connection)}
        if not self._database.peers.is_steady():
            self._recover_at = time.monotonic() + _UNSTEADY_SECONDS
            return {}
        released = delivery_transitions.release_left(connection, senders)
        for name in self.receivers.by_name.keys() & released.keys():
            # A receiver that hangs until each of our processes ends fails too, though none of them records it.
            receivers.note_failure(connection, name, now, "no response before the process ended", None)
        return released

    def recover_if_due(self) -> bool:
        """Call `recover` if a process may have ended, or forgotten something, since the last time. Return whether it did."""
        is_due = self._recover_at <= time.monotonic()
        if is_due:
            self.recover()
        return is_due

    def recover_soon(self) -> None:
        """Let the next round call `recover`: another process has ended."""
        self._recover_at = 0.0
        self.wake()

    def run_once(self, wait_seconds: float = 0.0) -> int:
        """Run one round; wait up to `wait_seconds` for attempts to end. Return how many messages were claimed.

        If the claim for one receiver fails, its error is raised when everything else is done.
        """
        is_woken = self._inbox.collect(self.receivers.by_name, wait_seconds)
        if self._inbox.left_count:
            # Others may have claimed some of it since this process was silent; the rest is released.
            log.warning("deliveries_left", count=self._inbox.left_count, why="this replica was silent for too long")
            self.recover()
            self._inbox.left_count = 0
        claiming: list[ReceiverWorker] = []
        if not self._stopping.is_set():
            self._leader.make_summaries(self._clock())
            self._inbox.remember_version()
            # Whoever wakes the worker has opened an alert: look for it in the transaction that claims it.
            has_news = is_woken or bool(self._inbox.ended)
            claiming = self._schedule.free_workers() if has_news else self._schedule.due_workers()
        jobs, failure = self._rounds.record_and_claim(claiming)
        self.receivers.send(jobs)
        self._templates.report()
        if not self._stopping.is_set():
            self._leader.check_receivers(self._clock())
        if failure is not None:
            raise failure
        return len(jobs)

    def run_round(self, longest_seconds: float = math.inf) -> None:
        """Run one round of `run`, which waits until something may be due, but no longer than `longest_seconds`."""
        wait_seconds = min(self._schedule.seconds_until_next(), longest_seconds)
        if self.recover_if_due():
            wait_seconds = 0.0
        self.run_once(min(wait_seconds, max(self._recover_at - time.monotonic(), 0.0)))

    def drain(self, wait_for_retries: timedelta = timedelta(0)) -> None:
        """Deliver until nothing is being sent and nothing falls due within `wait_for_retries` from now; for `run --once`.

        Raises: StoreError, when a write failed; what was sent until then is recorded, if that succeeds within the stop time.
        """
        try:
            self.recover()
            self.begin()
            deadline = self._clock() + wait_for_retries
            while not self._stopping.is_set():
                if self.receivers.under_way() == 0:
                    self._leader.make_summaries(self._clock(), is_forced=True)
                if self.receivers.under_way() == 0 and not self._schedule.has_work_by(deadline):
                    # The self-alerts that this opens go out in the same run.
                    self._leader.check_receivers(self._clock(), is_forced=True)
                    if not self._schedule.has_work_by(deadline):
                        break
                self._schedule.due_workers()  # a summary or a self-alert may be due since the last look
                self.run_once(self._schedule.seconds_until_next())
            # A self-alert may have ended for a removed receiver.
            self._leader.watch.bury_unknown_receivers(self._clock())
        finally:
            self.finish()

    def finish(self) -> None:
        """Wait for the attempts that have started, record them, and close the notifiers; `run` and `drain` end with this."""
        deadline = time.monotonic() + self._stop_seconds
        self._stopping.set()
        while self.receivers.under_way() and time.monotonic() < deadline:
            if not _attempt(lambda: self.run_once(0.05)):
                time.sleep(0.05)
        if left := self.receivers.under_way():
            log.warning("deliveries_interrupted", count=left, remedy="the next start retries them")
        self.receivers.close()
