"""Match stored records: records become matches, and matches become alerts and the deliveries they need.

The matcher reads records after its position in the order in which they were stored, so that it never skips a late record. It
writes alerts, deliveries and the new position in one transaction: after a kill it repeats the batch and changes nothing twice.
If another process has moved the position meanwhile, the transaction changes nothing, and the matcher reads the position again.

Correlations take the same records in the same transaction. Rules that are new or have changed read older records first, in
portions between these batches.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import structlog
from sqlalchemy import Connection

from actionwatch.base.clock import MICROSECOND
from actionwatch.base.model import Alert, AlertChange, Match, Record
from actionwatch.matching import ledger_store
from actionwatch.matching.addressing import Addressing
from actionwatch.matching.correlating import Correlating
from actionwatch.matching.portion_size import PortionSize
from actionwatch.matching.rule_failures import FailureLog
from actionwatch.matching.source_progress import SourceProgress
from actionwatch.rules.engine import RuleFailure
from actionwatch.store import positions, records
from actionwatch.store.database import Database
from actionwatch.store.positions import MATCHED, Overtaken

MANY_BATCHES = 10  # after so many, what is verified is read again although more waits: there may always be more
CATCH_UP_SECONDS = 0.1  # after each batch
BATCH = 2000  # records a transaction, at most: long enough to spread its cost, short enough to let other writers in
LEAST = 100  # records a transaction, however long they take: it has a cost by itself
BATCH_SECONDS = 0.5  # for one transaction
LATE_FACTOR = 5  # so many times both if they are older than those before: each batch folds their groups again

log = structlog.get_logger()


class Evaluator(Protocol):
    """Finds the rules that a record meets: the engine of `rules/`."""

    def evaluate(self, batch: Sequence[Record]) -> Iterable[Match]:
        """Return the matches of a batch, in record order."""
        ...

    def take_failures(self) -> Sequence[RuleFailure]:
        """Return and forget what went wrong with rules since the last call."""
        ...


class RecordMatcher:
    """The matching step. `run_once` waits for a run in progress: only one runs at a time."""

    def __init__(
        self,
        database: Database,
        engine: Evaluator,
        addressing: Addressing,
        clock: Callable[[], datetime],
        batch_size: int = BATCH,
        correlating: Correlating | None = None,
        failures: FailureLog | None = None,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._addressing = addressing
        self._clock = clock
        self._elapsed = elapsed
        self._running = self._requested = (engine, correlating or Correlating((), addressing))
        self._failures = failures or FailureLog()
        self.step_count = 0
        """How many transactions were committed since the start: it grows while there is progress."""
        self.has_learned = self._correlating.is_idle
        """Whether correlations were once evaluated for all that was stored, since this matcher was made."""
        self._verified = self._correlating.backlog.progress
        self._order = _Order(batch_size, elapsed)
        self._opened_count = 0
        self._lock = threading.Lock()
        self._is_stopping = False

    @property
    def fed_count(self) -> int:
        """How many records these correlations were fed again since the start."""
        return self._correlating.feeding.fed_count

    def run_once(self) -> int:
        """Match every record stored so far. Return how many alerts were opened."""
        with self._lock:
            self._opened_count = 0
            while True:
                if self._requested[0] is not self._running[0]:
                    self._failures.settle_failures()
                self._running = self._requested
                is_done = self._match_all()
                if self._is_stopping or (is_done and self._requested is self._running):
                    return self._opened_count

    def use(self, engine: Evaluator, correlating: Correlating | None) -> None:
        """Switch to other rules, all at once between two batches. Does not wait for the batch in progress."""
        self._requested = (engine, correlating or Correlating((), self._addressing))

    def stop(self) -> None:
        """Let `run_once` end after the batch in progress; a later process matches the rest."""
        self._is_stopping = True

    @property
    def _correlating(self) -> Correlating:
        return self._running[1]

    def _must_leave(self) -> bool:
        return self._is_stopping or self._requested is not self._running

    def _match_all(self) -> bool:
        """Match what is stored, then judge what is verified, unless the step stops or other rules take over.

        Returns: False if another process has moved the position: what is stored must be read again.
        """
        correlating = self._correlating
        try:
            # Read before the records: what is verified up to here is among those that are stored by now.
            with self._database.read() as connection:
                verified = correlating.backlog.read_progress(connection)
            self._verified = self._verified.named(verified.names)
            batch_count = 0
            while self._match_next() or correlating.is_behind:
                if self._must_leave():
                    return True
                self._catch_up()
                batch_count += 1
                if batch_count % MANY_BATCHES == 0:
                    advanced = _read_matched(self._database, correlating)
                    self._verified = advanced.joined(self._verified)
                    verified = advanced.joined(verified)
            self._verified = verified
            self._apply_verified_time()
            self.has_learned = self.has_learned or correlating.is_level
        except Overtaken as error:
            correlating.forget()
            log.warning("matcher_overtaken", error=str(error))
            return False
        except BaseException:
            correlating.forget()  # what it has taken may not be committed
            raise
        return True

    def _match_next(self) -> bool:
        """Match the next records. Return whether there were any."""
        correlating = self._correlating
        with self._database.read() as connection:
            position = positions.read(connection, MATCHED)
            # Plain rules ignore backlog.
            read = records.read_that_may_alert if correlating.is_idle else records.read_unmatched
            most = self._order.size.count
            portion = read(connection, position, most)
            correlating.backlog.note_read(connection, portion.records)
        correlating.align(self._database, position, self._clock)
        if portion.through == position:
            correlating.backlog.note_batch((), is_more=False)  # what was put off while backlog was read is due
            return False
        # In event order, so that the order in which the upstream returned the records makes no difference.
        ordered = sorted(portion.records, key=_event_order)
        matches = list(self._running[0].evaluate([record for record in ordered if not record.is_backlog]))
        self._commit(position, portion.through, matches, ordered, is_more=len(ordered) == most)
        self._order.note_batch(ordered, self._clock())
        return True

    def _catch_up(self) -> None:
        """Do what correlations need that read older records, but let new records wait for no longer than a moment."""
        ends_at = self._elapsed() + CATCH_UP_SECONDS
        correlating = self._correlating
        while correlating.is_behind and not self._must_leave():
            with self._database.write() as connection:
                position = positions.read(connection, MATCHED)
                if not correlating.is_aligned(position):
                    raise Overtaken("another process has matched records")
                changes = correlating.catch_up(connection, position, self._verified)
                opened = self._write(connection, [], changes)
                if correlating.is_level:
                    positions.move(connection, position, position, is_correlated=True)
            self._note_opened(opened)
            if self._elapsed() >= ends_at:
                return

    def _apply_verified_time(self) -> None:
        """Open and resolve the alerts that depend on verified time, even if no record arrived."""
        with self._database.read() as connection:
            position = positions.read(connection, MATCHED)
            is_due = self._correlating.is_aligned(position) and any(
                True for _ in self._correlating.feeding.stored().due(connection, self._verified)
            )
        if is_due:
            self._commit(position, position, [], [])

    def _commit(
        self, before: int, after: int, matches: Sequence[Match], batch: Sequence[Record], *, is_more: bool = False
    ) -> None:
        """Commit what matches make of alerts, and what correlations find now, with the new position.

        Raises: Overtaken, if another process has moved it.
        """
        correlating = self._correlating
        found = correlating.hits(batch)
        with self._database.write() as connection, self._order.size.measured(len(batch)):
            positions.check(connection, before)
            changes = correlating.take_batch(connection, batch, found, self._verified, is_more=is_more)
            opened = self._write(connection, matches, changes)
            positions.move(connection, before, after, is_correlated=correlating.is_level)
        correlating.committed(after)
        self._note_opened(opened)

    def _write(
        self, connection: Connection, matches: Sequence[Match], changes: Sequence[AlertChange]
    ) -> Sequence[Alert]:
        """Write what matches and changes of correlations make of alerts. Return the alerts that are new."""
        engine, correlating = self._running
        failures = [*engine.take_failures(), *correlating.take_failures()]
        self._failures.report(connection, failures)
        opened: Sequence[Alert] = []
        reported_as: Mapping[str, str] = {}
        if matches or changes:
            opened, reported_as = ledger_store.add(
                connection, matches, changes, self._addressing, self._clock(), correlating.sources_of
            )
        correlating.store(changes, reported_as)
        return opened

    def _note_opened(self, opened: Sequence[Alert]) -> None:
        """Log the alerts that a transaction opened, once it is committed."""
        self.step_count += 1
        self._opened_count += len(opened)
        for alert in opened:
            log.info("alert_opened", alert=alert.id, rule=alert.rule.name, level=alert.level.word, title=alert.title)


class _Order:
    """The order of batches: one is older than those before it while a source reads a backlog, and its newest records."""

    def __init__(self, batch_size: int, elapsed: Callable[[], float]) -> None:
        self._is_late = False
        self._newest: datetime | None = None
        self._usual = PortionSize(batch_size, BATCH_SECONDS, elapsed, least=LEAST)
        self._late = PortionSize(
            batch_size * LATE_FACTOR, BATCH_SECONDS * LATE_FACTOR, elapsed, first=batch_size, least=LEAST
        )

    @property
    def size(self) -> PortionSize:
        """The size of the next batch."""
        return self._late if self._is_late else self._usual

    def note_batch(self, ordered: Sequence[Record], now: datetime) -> None:
        """Note a batch, in event order. A record of the future makes no later one late."""
        if ordered:
            self._is_late = self._newest is not None and ordered[0].occurred_at < self._newest
            self._newest = _later(self._newest, min(ordered[-1].occurred_at, now))


def _read_matched(database: Database, correlating: Correlating) -> SourceProgress:
    """Return up to when all is verified and matched although more waits: until the oldest record that is not matched."""
    with database.read() as connection:
        verified = correlating.backlog.read_progress(connection)
        oldest = records.oldest_time_after(connection, positions.read(connection, MATCHED))
    return verified if oldest is None else verified.until(oldest - MICROSECOND)


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((at for at in (one, other) if at is not None), default=None)


def _event_order(record: Record) -> tuple[datetime, str]:
    return record.occurred_at, record.key
