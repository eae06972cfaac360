"""The inbox of the delivery worker: attempts that ended in the threads of the receivers, and requests to read the outbox."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Collection

from actionwatch.delivery.receiver_worker import Attempt, ReceiverWorker
from actionwatch.store.database import Database

GATHER_SECONDS = 0.04  # the longest wait of a round for the next attempts of a quick receiver
GATHER_STEP = 0.002


class Inbox:
    """Collects the attempts of these receivers. Only `put` and `wake` are called from other threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen_version: int | None = None
        """The version of the store before the outbox was last read."""
        self._attempts: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self.ended: list[Attempt] = []
        """Attempts that ended and are not recorded; they stay here while the store is busy."""

    def put(self, attempt: Attempt) -> None:
        """Add an attempt that ended."""
        self._attempts.put(attempt)

    def wake(self) -> None:
        """End the wait of `collect`."""
        self._attempts.put(None)

    def note_version(self) -> None:
        """Store the version of the store: the next `collect` ends when another process has written since."""
        self._seen_version = self._database.version()

    def collect(self, workers: Collection[ReceiverWorker], wait_seconds: float) -> None:
        """Wait up to `wait_seconds` for an attempt or a wake-up, then take all attempts.

        Wait a little longer for a quick receiver, because its threads and a round of the worker slow each other down.
        """
        wait_seconds = 0.0 if self.ended else wait_seconds
        by_name = {worker.channel.name: worker for worker in workers}
        for worker in workers:
            worker.ended_count = 0
        try:
            first = self._wait(wait_seconds) if wait_seconds > 0 else self._attempts.get_nowait()
        except queue.Empty:
            return
        is_woken = self._take(first, by_name)
        ends_at = time.monotonic() + (GATHER_SECONDS if wait_seconds > 0 else 0)
        while (
            not (self._take_all(by_name) or is_woken)
            and time.monotonic() < ends_at
            and any(worker.is_busy for worker in workers)
        ):
            time.sleep(GATHER_STEP)

    def _wait(self, wait_seconds: float) -> Attempt | None:
        """Raises: queue.Empty, after `wait_seconds` or when another process wrote to the store."""
        deadline = time.monotonic() + wait_seconds
        while True:
            left = deadline - time.monotonic()
            try:
                return self._attempts.get(timeout=max(min(left, self._database.look_seconds), 0))
            except queue.Empty:
                if left <= self._database.look_seconds or self._database.version() != self._seen_version:
                    raise

    def _take_all(self, workers: dict[str, ReceiverWorker]) -> bool:
        """Take all attempts. Return whether there was a wake-up."""
        is_woken = False
        with contextlib.suppress(queue.Empty):
            while True:
                is_woken |= self._take(self._attempts.get_nowait(), workers)
        return is_woken

    def _take(self, attempt: Attempt | None, workers: dict[str, ReceiverWorker]) -> bool:
        if attempt is None:
            return True
        workers[attempt.job.delivery.receiver].take_back(attempt)
        self.ended.append(attempt)
        return False
