"""What people do with dead letters, by a command, in the console or through the API: retry, send elsewhere, drop.

Each action records who decided. It is one transaction, or several if there are many dead letters, so that the other steps can
write between them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from datetime import datetime

import structlog

from actionwatch.base.delivery import Retried
from actionwatch.delivery import replay
from actionwatch.store import outbox
from actionwatch.store.database import Database
from actionwatch.store.outbox import DeliveryFilter
from actionwatch.store.statements import portions

PORTION = 500  # dead letters of a transaction: to move them takes less than a second of CPU

log = structlog.get_logger()


class DeadLetters:
    """The actions. Rows that are no dead letters, because somebody was faster, are left as they are."""

    def __init__(
        self,
        database: Database,
        receivers: Collection[str],
        clock: Callable[[], datetime],
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """`receivers` are the names in the configuration."""
        self._database = database
        self._receivers = receivers
        self._clock = clock
        self._wake = wake

    def at(self, now: datetime) -> DeadLetters:
        """Return the actions at an instant."""
        return DeadLetters(self._database, self._receivers, lambda: now, self._wake)

    def retry(self, wanted: DeliveryFilter, who: str, to: str | None = None) -> Retried:
        """Send dead letters again, each under its old id, to their receivers or to another one.

        Those for a receiver that is not configured stay dead without `to`; if ids are wanted, all do then. Raises: StoreError.
        """
        with self._database.read() as connection:
            stranded = {} if to else outbox.count_dead_letters(connection, wanted, excluding=self._receivers)
        if stranded and wanted.ids is not None:
            return Retried(0, stranded)
        count = 0
        for some in self._portions(wanted):
            with self._database.write(is_durable=True) as connection:
                if to is not None:
                    count += replay.readdress(connection, some, to, who, self._clock())
                else:
                    count += replay.replay(connection, some, self._receivers, who, self._clock())
        if count:
            log.info("dead_letters_retried", count=count, by=who, to=to)
            self._wake()
        return Retried(count, stranded)

    def drop(self, wanted: DeliveryFilter, who: str) -> int:
        """Give up dead letters for good. Return how many. Raises: StoreError."""
        count = 0
        for some in self._portions(wanted):
            with self._database.write(is_durable=True) as connection:
                count += replay.drop(connection, some, who, self._clock())
        if count:
            log.info("dead_letters_dropped", count=count, by=who)
        return count

    def _portions(self, wanted: DeliveryFilter) -> Iterator[DeliveryFilter]:
        """Yield what is wanted in portions, those of each alert in the order of sending."""
        with self._database.read() as connection:
            ids = outbox.read_dead_ids(connection, wanted)
        for some in portions(ids, PORTION):
            yield replace(wanted, ids=some)
