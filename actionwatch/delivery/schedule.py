"""Decide which receivers can take a message now, and when the next row is due."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta

from actionwatch.delivery.receiver_worker import ReceiverWorker
from actionwatch.delivery.summary import Summaries
from actionwatch.store import outbox
from actionwatch.store.database import Database

IDLE_SECONDS = 5.0  # the longest delay until the end of a mute interval is noticed: no row shows it
SUMMARIES_EVERY = timedelta(seconds=1)


class Schedule:
    """Reads when the rows of these receivers are due."""

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

    def free_workers(self) -> list[ReceiverWorker]:
        """Return the receivers that can take a message now."""
        now = self._clock()
        return [worker for worker in self._workers if worker.free(now)]

    def due_workers(self) -> list[ReceiverWorker]:
        """Return the receivers that can take a message now and for which one is due."""
        now = self._clock()
        return [worker for worker, due_at in self._next_dues(self.free_workers()) if due_at <= now]

    def seconds_until_next(self) -> float:
        """Return how long nothing is due, unless a process writes to the store."""
        now = self._clock()
        waits = [seconds for worker in self._workers if (seconds := worker.wait_seconds(now)) > 0]
        waits += [(due_at - now).total_seconds() for _, due_at in self._next_dues(self.free_workers())]
        if (storm_due_at := self._summaries.next_due(now)) is not None:
            waits.append(max(storm_due_at - now, SUMMARIES_EVERY).total_seconds())
        return max(0.0, min([IDLE_SECONDS, *waits]))

    def has_work_by(self, deadline: datetime) -> bool:
        """Return whether anything is due by the deadline, at a receiver that is not paused until then."""
        until = max(deadline, self._clock())
        summary_due_at = self._summaries.next_due(until)
        if summary_due_at is not None and summary_due_at <= until:
            return True
        dues = self._next_dues(list(self._workers))
        return any(max(due_at, worker.paused_until or due_at) <= until for worker, due_at in dues)

    def _next_dues(self, workers: Sequence[ReceiverWorker]) -> list[tuple[ReceiverWorker, datetime]]:
        """Return when the next row of each of these receivers is due; receivers without a row are left out."""
        if not workers:
            return []
        now = self._clock()
        with self._database.read() as connection:
            dues = [(worker, outbox.next_due(connection, worker.channel.name, now)) for worker in workers]
        return [(worker, due_at) for worker, due_at in dues if due_at is not None]
