"""Decide which receivers can take a message now, and when the next row is due.

The worker looks at the outbox in each round, and waits until what it saw there is due. `Inbox.collect` ends that wait when the
store has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta

from actionwatch.delivery.receiver_worker import ReceiverWorker
from actionwatch.delivery.summary import Summaries
from actionwatch.store import outbox
from actionwatch.store.database import Database

IDLE_SECONDS = 5.0  # the longest delay until the end of a mute interval is noticed: no row shows it
SUMMARIES_EVERY = timedelta(seconds=1)


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
        waits = [seconds for worker in self._workers if (seconds := worker.wait_seconds(now)) > 0]
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
        return any(max(due_at, worker.paused_until or due_at) <= until for worker, due_at in dues if due_at is not None)
