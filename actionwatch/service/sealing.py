"""Seal what was written, a few seconds later, and let the head of the chain leave the machine: it is in the log each day."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from actionwatch.store import seals, unsealed
from actionwatch.store.database import Database

SEAL_EVERY = timedelta(seconds=5)
MAX_WORK = timedelta(milliseconds=250)  # of SEAL_EVERY, so that sealing a backlog costs a source that catches up little
LOG_EVERY = timedelta(days=1)

log = structlog.get_logger()


class Sealing:
    """The step that seals. `database` writes as the leader, so that one replica at a time seals."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._logged_at: datetime | None = None

    def run_once(self) -> None:
        """Seal for `MAX_WORK` what waits longest, and log the head if it is time."""
        self._seal(MAX_WORK.total_seconds())
        if self._logged_at is None or not timedelta(0) <= self._clock() - self._logged_at < LOG_EVERY:
            self._log_head()

    def finish(self) -> None:
        """Seal a last time, and log the head."""
        self._seal(MAX_WORK.total_seconds())
        self._log_head()

    def seal_all(self) -> None:
        """Seal whatever waits, and log the head."""
        self._seal(float("inf"))
        self._log_head()

    def _seal(self, seconds: float) -> None:
        with self._database.read() as connection:
            if unsealed.is_empty(connection):
                return
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            # Durable, because a head that somebody noted must not be lost in a power cut.
            with self._database.write(is_durable=True) as connection:
                if not seals.seal_next(connection, self._clock()):
                    return

    def _log_head(self) -> None:
        with self._database.read() as connection:
            head = seals.read_head(connection)
        if head is not None:
            self._logged_at = self._clock()
            log.info("store_sealed", head=str(head))
