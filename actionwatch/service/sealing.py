"""Seal what was written: within seconds, receipts within minutes. The head of the chain leaves the machine in the log."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from datetime import datetime, timedelta

import structlog

from actionwatch.base.clock import is_due
from actionwatch.store import seals
from actionwatch.store.database import Database
from actionwatch.store.sealed_tables import SEALED
from actionwatch.store.tables import RECEIPT

SEAL_EVERY = timedelta(seconds=5)
MAX_WORK = timedelta(milliseconds=250)  # of SEAL_EVERY, so that sealing a backlog costs a source that catches up little
_LOG_EVERY = timedelta(days=1)
# Each quiet poll replaces the receipt before it: a seal of each, and a cut, would be 6 MB a day.
_RECEIPTS_EVERY = timedelta(minutes=5)
_WITHOUT_RECEIPTS = tuple(name for name in SEALED if name != RECEIPT.name)

log = structlog.get_logger()


class Sealing:
    """The step that seals. `database` writes as the leader, so that one replica at a time seals."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        most: timedelta = MAX_WORK,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """A run seals for `most`, by `elapsed`."""
        self._elapsed = elapsed
        self._database = database
        self._clock = clock
        self._most = most.total_seconds()
        self._logged_at: datetime | None = None
        self._receipts_at: datetime | None = None

    def run_once(self) -> None:
        """Seal what waits longest, receipts and the head in the log if it is time for them."""
        now = self._clock()
        if is_due(self._receipts_at, _RECEIPTS_EVERY, now):
            if self._seal(self._most):
                self._receipts_at = now
        else:
            self._seal(self._most, _WITHOUT_RECEIPTS)
        if is_due(self._logged_at, _LOG_EVERY, now):
            self._log_head()

    def finish(self) -> None:
        """Seal a last time, and log the head."""
        self._seal(self._most)
        self._log_head()

    def seal_all(self) -> None:
        """Seal whatever waits, and log the head."""
        self._seal(float("inf"))
        self._log_head()

    def _seal(self, seconds: float, tables: Collection[str] = SEALED) -> bool:
        """Seal what waits of some tables. Return whether nothing is left."""
        with self._database.read() as connection:
            if seals.is_complete(connection, tables):
                return True
        deadline = self._elapsed() + seconds
        while self._elapsed() < deadline:
            # Durable, because a head that somebody noted must not be lost in a power cut.
            with self._database.write(is_durable=True) as connection:
                if not seals.seal_next(connection, self._clock(), tables=tables):
                    return True
        return False

    def _log_head(self) -> None:
        with self._database.read() as connection:
            head = seals.read_head(connection)
        if head is not None:
            self._logged_at = self._clock()
            log.info("store_sealed", head=str(head))
