"""The inbox of the delivery worker: what other threads have for it. Attempts that ended, steps of the clock, and wake-ups."""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Mapping
from datetime import timedelta

from actionwatch.delivery.receiver_worker import Attempt, ReceiverWorker
from actionwatch.store.database import Database

_GATHER_SECONDS = 0.04  # the longest wait of a round for the next attempts of a quick receiver
_GATHER_SHARED_SECONDS = 0.1  # likewise, if replicas wait for each other's rounds, and each waits for the disk
_GATHER_STEP = 0.002


class Inbox:
    """Collects the attempts of these receivers. Only `put`, `wake` and `follow_clock` are called from other threads."""

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

    def note_version(self) -> None:
        """Store the version of the store, before a look at the outbox: `collect` ends when somebody has written since."""
        self._seen_version = self._database.version()

    def collect(self, workers: Mapping[str, ReceiverWorker], wait_seconds: float) -> bool:
        """Wait up to `wait_seconds` for an attempt or a wake-up, then take all attempts. Return whether there was a wake-up.

        Wait a little longer for a quick receiver, because its threads and a round of the worker slow each other down.
        """
        wait_seconds = 0.0 if self.ended else wait_seconds
        for worker in workers.values():
            worker.ended_count = 0
        try:
            first = self._wait(wait_seconds) if wait_seconds > 0 else self._arrived.get_nowait()
        except queue.Empty:
            return False
        is_woken = self._take(first, workers) | self._take_all(workers)
        longest = _GATHER_SHARED_SECONDS if self._database.is_shared else _GATHER_SECONDS
        ends_at = time.monotonic() + (longest if wait_seconds > 0 else 0)
        while not is_woken and time.monotonic() < ends_at and any(worker.is_busy for worker in workers.values()):
            time.sleep(_GATHER_STEP)
            is_woken = self._take_all(workers)
        return is_woken

    def _wait(self, wait_seconds: float) -> Attempt | timedelta | None:
        """Raises: queue.Empty, after `wait_seconds` or when another process wrote to the store."""
        deadline = time.monotonic() + wait_seconds
        while True:
            left = deadline - time.monotonic()
            try:
                return self._arrived.get(timeout=max(min(left, self._database.look_seconds), 0))
            except queue.Empty:
                if left <= self._database.look_seconds or self._database.version() != self._seen_version:
                    raise

    def _take_all(self, workers: Mapping[str, ReceiverWorker]) -> bool:
        """Take all attempts. Return whether there was a wake-up."""
        is_woken = False
        with contextlib.suppress(queue.Empty):
            while True:
                is_woken |= self._take(self._arrived.get_nowait(), workers)
        return is_woken

    def _take(self, arrived: Attempt | timedelta | None, workers: Mapping[str, ReceiverWorker]) -> bool:
        """Take one. Return whether it was a wake-up."""
        if isinstance(arrived, Attempt):
            workers[arrived.job.delivery.receiver].take_back(arrived)
            if arrived.is_left:
                self.left_count += 1
            else:
                self.ended.append(arrived)
            return False
        if arrived is not None:
            for worker in workers.values():
                worker.follow_clock(arrived)
        return True
