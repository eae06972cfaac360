"""The receivers of one process together. Their attempts return through the inbox, and the schedule says which of them can take
a message, and when the next row is due.

The worker looks at the outbox in each round, and waits until what it saw there is due. `Inbox.collect` ends that wait when the
store has changed.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta

from actionwatch.base.daemon_threads import StartThread
from actionwatch.base.durations import spell_duration
from actionwatch.base.errors import DeliveryError
from actionwatch.delivery.attempt import LEASE, Attempt, Channel, MessageRenderer
from actionwatch.delivery.compose import Job
from actionwatch.delivery.receiver_worker import ReceiverWorker
from actionwatch.delivery.summary import Summaries
from actionwatch.store import outbox
from actionwatch.store.database import Database

IDLE_SECONDS = 5.0  # the longest delay until the end of a mute interval is noticed: no row shows it
SUMMARIES_EVERY = timedelta(seconds=1)
_GATHER_SECONDS = 0.04  # the longest wait of a round for the next attempts of a quick receiver
_GATHER_SHARED_SECONDS = 0.1  # likewise, if replicas wait for each other's rounds, and each waits for the disk
_GATHER_STEP = 0.002


class Inbox:
    """News of other threads for the delivery worker: attempts that ended, steps of the clock, and wake-ups.

    Only `put`, `wake` and `follow_clock` are called from other threads.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen_version: int | None = None
        """The version of the store before the last look at the outbox."""
        self._arrived: queue.SimpleQueue[Attempt | timedelta | None] = queue.SimpleQueue()
        self.ended: list[Attempt] = []
        """Attempts that ended and are not recorded; they stay here while the store is busy."""
        self.left_count = 0
        """How many jobs were not sent since somebody last set this to 0, because others may have claimed them."""

    def put(self, attempt: Attempt) -> None:
        """Add an attempt that ended."""
        self._arrived.put(attempt)

    def wake(self) -> None:
        """End the wait of `collect`."""
        self._arrived.put(None)

    def follow_clock(self, step: timedelta) -> None:
        """Let the next `collect`, which it wakes, move the pauses of the receivers by a step of the clock."""
        self._arrived.put(step)

    def remember_version(self) -> None:
        """Remember the version of the store, before a look at the outbox: `collect` ends when somebody has written since."""
        self._seen_version = self._database.version()

    def collect(self, workers: Mapping[str, ReceiverWorker], wait_seconds: float) -> bool:
        """Wait up to `wait_seconds` for an attempt or a wake-up, then take all attempts. Return whether there was a wake-up.

        Wait a little longer for a quick receiver, because its threads and a round of the worker slow each other down.
        """
        wait_seconds = 0.0 if self.ended else wait_seconds
        for worker in workers.values():
            worker.capacity.ended_count = 0
        try:
            first = self._wait(wait_seconds) if wait_seconds > 0 else self._arrived.get_nowait()
        except queue.Empty:
            return False
        is_woken = self._accept(first, workers) | self._accept_all(workers)
        longest = _GATHER_SHARED_SECONDS if self._database.is_shared else _GATHER_SECONDS
        ends_at = time.monotonic() + (longest if wait_seconds > 0 else 0)
        while not is_woken and time.monotonic() < ends_at and any(worker.is_busy for worker in workers.values()):
            time.sleep(_GATHER_STEP)
            is_woken = self._accept_all(workers)
        return is_woken

    def _wait(self, wait_seconds: float) -> Attempt | timedelta | None:
        """Raises: queue.Empty, after `wait_seconds` or when another process wrote to the store."""
        deadline = time.monotonic() + wait_seconds
        while True:
            left = deadline - time.monotonic()
            try:
                return self._arrived.get(timeout=max(min(left, self._database.peers.look_seconds), 0))
            except queue.Empty:
                if left <= self._database.peers.look_seconds or self._database.version() != self._seen_version:
                    raise

    def _accept_all(self, workers: Mapping[str, ReceiverWorker]) -> bool:
        """Take all attempts. Return whether there was a wake-up."""
        is_woken = False
        with contextlib.suppress(queue.Empty):
            while True:
                is_woken |= self._accept(self._arrived.get_nowait(), workers)
        return is_woken

    def _accept(self, arrived: Attempt | timedelta | None, workers: Mapping[str, ReceiverWorker]) -> bool:
        """Take one. Return whether it was a wake-up."""
        if isinstance(arrived, Attempt):
            workers[arrived.job.delivery.receiver].take_back(arrived)
            if arrived.left is not None:
                self.left_count += 1
            else:
                self.ended.append(arrived)
            return False
        if arrived is not None:
            for worker in workers.values():
                worker.capacity.follow_clock(arrived)
        return True


class ReceiverWorkers:
    """The workers of all receivers. Their attempts return through the inbox."""

    def __init__(
        self,
        channels: Sequence[Channel],
        renderer: MessageRenderer,
        inbox: Inbox,
        term: Callable[[], int | None],
        start_thread: StartThread,
    ) -> None:
        self.by_name = {
            channel.name: ReceiverWorker(channel, renderer, inbox.put, term=term, start_thread=start_thread)
            for channel in channels
        }
        self._inbox = inbox

    def send(self, jobs: Sequence[Job]) -> None:
        """Send jobs in the threads of their receivers."""
        for job in jobs:
            self.by_name[job.delivery.receiver].send(job)
        for worker in self.by_name.values():
            worker.start_threads()

    def under_way(self) -> int:
        """Count the messages whose attempt has started and is not recorded."""
        return sum(len(worker.in_hand) for worker in self.by_name.values()) + len(self._inbox.ended)

    def in_hand(self) -> set[str]:
        """Return the rows whose attempt has started and is not recorded."""
        ended = {attempt.job.delivery.id for attempt in self._inbox.ended}
        return ended.union(*(worker.in_hand for worker in self.by_name.values()))

    def check_sends(self) -> None:
        """Check that every send ends: a notifier has time limits, so one that outlasts a lease hangs.

        Raises: DeliveryError, with the receivers.
        """
        hung = [name for name, worker in self.by_name.items() if worker.longest_send() > LEASE]
        if hung:
            limit = spell_duration(LEASE)
            raise DeliveryError(f"sends to {', '.join(hung)} have been running for more than {limit}")

    def share_out(self, senders: Sequence[str], own: str) -> None:
        """Divide what receivers take at a time among the processes that send, of which this is the one with the name `own`."""
        for worker in self.by_name.values():
            worker.capacity.sender_count, worker.capacity.sender_rank = len(senders), senders.index(own)

    def close(self) -> None:
        """End the threads and close the notifiers."""
        for worker in self.by_name.values():
            worker.close()


class Schedule:
    """Decides when these receivers have something to do."""

    def __init__(
        self,
        database: Database,
        workers: Collection[ReceiverWorker],
        summaries: Summaries,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._workers = workers
        self._summaries = summaries
        self._clock = clock
        self._storm_due_at: datetime | None = None
        """When the next summary of a storm is due, as the last look at the outbox saw it."""

    def free_workers(self) -> list[ReceiverWorker]:
        """Return the receivers that can take a message now. Of the others, one may be due once they can."""
        now = self._clock()
        free: list[ReceiverWorker] = []
        for worker in self._workers:
            if worker.free(now):
                free.append(worker)
            else:  # nobody looks now: a row that arrived since the last look would wait for the next one
                worker.next_due_at = now
        return free

    def due_workers(self) -> list[ReceiverWorker]:
        """Look at the outbox. Return the receivers that can take a message now and for which one is due."""
        now = self._clock()
        free = self.free_workers()
        with self._database.read() as connection:
            self._storm_due_at = self._summaries.next_due(connection, now)
            for worker in free:
                worker.next_due_at = outbox.next_due(connection, worker.channel.name, now)
        return [worker for worker in free if worker.is_due(now)]

    def seconds_until_next(self) -> float:
        """Return how long nothing is due, unless a process has written to the store since the last look at the outbox."""
        now = self._clock()
        waits = [seconds for worker in self._workers if (seconds := worker.capacity.wait_seconds(now)) > 0]
        dues = (worker.next_due_at for worker in self._workers if worker.free(now))
        waits += [(due_at - now).total_seconds() for due_at in dues if due_at is not None]
        if self._storm_due_at is not None:
            waits.append(max(self._storm_due_at - now, SUMMARIES_EVERY).total_seconds())
        return max(0.0, min([IDLE_SECONDS, *waits]))

    def has_work_by(self, deadline: datetime) -> bool:
        """Return whether anything is due by the deadline, at a receiver that is not paused until then."""
        now = self._clock()
        until = max(deadline, now)
        with self._database.read() as connection:
            summary_due_at = self._summaries.next_due(connection, until)
            dues = [(each, outbox.next_due(connection, each.channel.name, now)) for each in self._workers]
        if summary_due_at is not None and summary_due_at <= until:
            return True
        return any(
            max(due_at, worker.capacity.paused_until or due_at) <= until
            for worker, due_at in dues
            if due_at is not None
        )
