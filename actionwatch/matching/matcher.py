"""Match stored records: records become matches, and matches become alerts and the deliveries they need.

The matcher reads records after its position in the order in which they were stored, so that it never skips a late record. It
writes alerts, deliveries and the new position in one transaction: after a kill it repeats the batch and changes nothing twice.
If another process has moved the position meanwhile, the transaction changes nothing, and the matcher reads the position again.

Plain rules and correlations have a position each. The two are usually equal, and one transaction serves both. While the state
of correlations is rebuilt, only plain rules continue; correlations then take the records that they missed.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import structlog
from sqlalchemy import Connection

from actionwatch.base import tracing
from actionwatch.base.clock import MICROSECOND
from actionwatch.base.model import Alert, AlertChange, Match, Record
from actionwatch.matching import ledger_store
from actionwatch.matching.addressing import Addressing
from actionwatch.matching.correlating import Abandoned, Correlating
from actionwatch.matching.rule_failures import FailureLog
from actionwatch.rules.correlations.folds.saved import DoesNotFit
from actionwatch.rules.engine import RuleFailure
from actionwatch.store import positions, records
from actionwatch.store.database import Database
from actionwatch.store.positions import CORRELATED, MATCHED, Overtaken
from actionwatch.store.records import Portion

MANY_BATCHES = 10  # after so many, correlations continue although plain rules are not done: there may always be more
BATCH = 2000  # records a transaction: long enough to spread its cost, short enough to let other writers in

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
    ) -> None:
        self._database = database
        self._engine = engine
        self._addressing = addressing
        self._clock = clock
        self._batch_size = batch_size
        self._correlating = correlating or Correlating((), addressing)
        self._failures = failures or FailureLog()
        self.dropped_groups = 0
        """How many groups of correlations were dropped since the start because there was no room."""
        self.pause_count = 0
        """How often rebuilds have paused since the start: it grows while one makes progress."""
        self.has_learned = self._correlating.is_idle
        """Whether correlations have once taken all that was stored, since this matcher was made."""
        self._verified: datetime | None = None
        self._opened_count = 0
        self._lock = threading.Lock()
        self._requested: tuple[Evaluator, Correlating] | None = None
        self._running: tuple[Evaluator, Correlating] | None = None
        self._is_stopping = False

    def run_once(self) -> int:
        """Match every record stored so far. Return how many alerts were opened."""
        with self._lock:
            self._opened_count = 0
            while True:
                self._switch(self._requested)
                is_done = self._match_all()
                if self._is_stopping or (is_done and not self._is_replaced()):
                    return self._opened_count

    def use(self, engine: Evaluator, correlating: Correlating | None) -> None:
        """Switch to other rules, all at once between two batches. Does not wait for the batch in progress."""
        self._requested = (engine, correlating or Correlating((), self._addressing))

    def stop(self) -> None:
        """Let `run_once` end after the batch in progress; a later process matches the rest."""
        self._is_stopping = True

    def save(self) -> None:
        """Save the state of correlations for the next process. Waits for a run in progress."""
        with self._lock:
            self._correlating.save(self._database)

    def _switch(self, rules: tuple[Evaluator, Correlating] | None) -> None:
        """Switch to rules. Where correlations are replaced, their state is saved, because those that stay continue from it."""
        self._running = rules
        if rules is None:
            return
        engine, correlating = rules
        if correlating is not self._correlating:
            self._correlating.save(self._database)
        if engine is not self._engine:
            self._failures.settle()
        self._engine, self._correlating = engine, correlating

    def _is_replaced(self) -> bool:
        return self._requested is not self._running

    def _must_leave(self) -> bool:
        return self._is_stopping or self._is_replaced()

    def _match_all(self) -> bool:
        """Match what is stored, then judge what is verified, unless the step stops or other rules take over.

        Returns: False if another process has moved a position: what is stored must be read again.
        """
        try:
            self._correlating.end_unexpected(self._database, self._clock())
            # Read before the records: what is verified up to here is among those that are stored by now.
            with self._database.read() as connection:
                verified = self._correlating.read_progress(connection)
            if self._correlating.is_new and self._few_records_wait() and not self._is_learned_later():
                self._rebuild()
            batch_count, advanced = 0, None
            while (is_more := self._match_next()) or not self._correlating.is_ready:
                if self._must_leave():
                    return True
                batch_count += 1
                is_long = batch_count % MANY_BATCHES == 0
                if not self._correlating.is_ready and (is_long or not is_more):
                    if not self._is_learned_later():
                        self._rebuild()
                    elif not is_more:
                        break
                if is_long:
                    advanced = self._read_matched()
                    self._verified = _later(self._verified, advanced)
                self._correlating.save_if_due(self._database)
            self._verified = _later(verified, advanced)
            self._apply_verified_time()
            self.has_learned = self.has_learned or self._correlating.is_ready
        except Overtaken as error:
            self._correlating.forget()
            log.warning("matcher_overtaken", error=str(error))
            return False
        except DoesNotFit as error:
            self._correlating.forget()
            log.warning("correlations_discarded", why=str(error), effect="they are rebuilt from the records")
            return False
        except BaseException:
            self._correlating.forget()  # what it took in may not have been committed
            raise
        return True

    def _few_records_wait(self) -> bool:
        """Return whether so few records wait that plain rules and correlations should take them together, after a start.

        Then a sequence inhibits the alert of a plain rule about the same action, as at any other time. Plain rules wait until a
        saved state is loaded, but not for a rebuild that takes long, or that fails: they continue at its pauses, and after it.
        """
        with self._database.read() as connection:
            matched, _ = positions.read_both(connection)
            return records.newest_id(connection) - matched <= self._batch_size

    def _is_learned_later(self) -> bool:
        with self._database.read() as connection:
            return self._correlating.is_learned_later(connection)

    def _read_matched(self) -> datetime | None:
        """Return up to when all is verified and matched although more waits: until the oldest record that is not matched."""
        with self._database.read() as connection:
            verified = self._correlating.read_progress(connection)
            _, correlated = positions.read_both(connection)
            oldest = records.oldest_time_after(connection, correlated)
        return verified if verified is None or oldest is None else min(verified, oldest - MICROSECOND)

    def _rebuild(self) -> None:
        """Rebuild the state of correlations, unless it is no longer wanted, and commit what it found if it went ahead."""
        self._pass_backlog()
        with contextlib.suppress(Abandoned):
            position, through = self._correlating.rebuild(self._database, self._match_plain)
            if through > position:
                self._commit([], {CORRELATED: (position, through)})
            self._correlating.save_if_due(self._database)

    def _pass_backlog(self) -> None:
        """Move plain rules over backlog, which they ignore, as long as one look finds nothing else.

        A rebuild takes what they have passed. Correlations would take the rest in the order stored, which costs more, and would
        keep its hits until all is matched. A tail does not store as much during a look, so that this ends.
        """
        while not self._must_leave():
            with self._database.read() as connection:
                matched, _ = positions.read_both(connection)
                passed = records.read_that_may_alert(connection, matched, 1)
            if passed.records or passed.through - matched < records.MOST_SKIPPED:
                return
            self._match(passed, {MATCHED: matched})

    def _match_plain(self) -> None:
        """Match new records by plain rules while the state of correlations is rebuilt.

        Raises: Abandoned, if that state is no longer wanted.
        """
        self.pause_count += 1
        requested = self._requested
        if self._is_stopping or (requested is not None and requested[1] is not self._correlating):
            raise Abandoned
        self._switch(requested)
        for _ in range(MANY_BATCHES):
            if self._must_leave() or not self._match_next():
                return

    def _match_next(self) -> bool:
        """Match the next records. Return whether there were any."""
        correlating = self._correlating
        with self._database.read() as connection:
            matched, correlated = positions.read_both(connection)
            correlating.discard_unless_at(correlated)
            is_level = correlating.is_ready and correlated == matched
            is_behind = correlating.is_ready and not is_level
            # Plain rules ignore backlog.
            read = records.read_unmatched if is_level and not correlating.is_idle else records.read_that_may_alert
            new = read(connection, matched, self._batch_size)
            missed = records.read_unmatched(connection, correlated, self._batch_size) if is_behind else None
        if missed is not None:
            self._match(new, {MATCHED: matched})  # plain rules have missed nothing: they go first
            self._match(missed, {CORRELATED: correlated})
            return new.through > matched or missed.through > correlated
        self._match(new, {MATCHED: matched, CORRELATED: matched} if is_level else {MATCHED: matched})
        return new.through > matched

    def _match(self, portion: Portion, before: Mapping[str, int]) -> None:
        """Take a portion of records through one step, or both, from their positions, and commit the result."""
        if portion.through in before.values():
            return
        # In event order, so that the order in which the upstream returned the records makes no difference.
        ordered = sorted(portion.records, key=_event_order)
        moves = {step: (position, portion.through) for step, position in before.items()}
        matches: list[Match] = []
        if MATCHED in moves:
            matches += self._engine.evaluate([record for record in ordered if not record.is_backlog])
        if CORRELATED in moves:
            self._correlating.take(ordered, portion.through)
            if not self._correlating.is_ready:  # a record arrived too late for what is kept: take these again
                del moves[CORRELATED]
        self._commit(matches, moves)

    def _apply_verified_time(self) -> None:
        """Open and resolve the alerts that depend on verified time, even if no record arrived."""
        correlating = self._correlating
        if correlating.is_due(self._verified):
            self._commit([], {CORRELATED: (correlating.position, correlating.position)})
        self.dropped_groups += correlating.report_evictions()

    def _commit(self, matches: Sequence[Match], moves: Mapping[str, tuple[int, int]]) -> None:
        """Commit what matches make of alerts, and what correlations find now if they take part, with the new positions.

        `moves`: the position of each step that takes part, before and after.

        Raises: Overtaken, if another process has moved one of them.
        """
        with self._database.write() as connection:
            for step, (before, after) in moves.items():
                positions.move(connection, step, before, after)
            changes = self._correlating.changes(connection, self._verified) if CORRELATED in moves else []
            failures = [*self._engine.take_failures(), *self._correlating.take_failures()]
            self._failures.report(connection, failures)
            opened = self._write(connection, matches, changes)
        self._opened_count += len(opened)
        for alert in opened:
            tracing.alert_opened(alert, self._clock())
            log.info("alert_opened", alert=alert.id, rule=alert.rule.name, level=alert.level.word, title=alert.title)

    def _write(
        self, connection: Connection, matches: Sequence[Match], changes: Sequence[AlertChange]
    ) -> Sequence[Alert]:
        """Write what matches and changes of correlations make of alerts. Return the alerts that are new."""
        if not matches and not changes:
            return []
        sources = self._correlating.sources
        opened, reported_as = ledger_store.add(connection, matches, changes, self._addressing, self._clock(), sources)
        self._correlating.store(connection, changes, reported_as)
        return opened


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((at for at in (one, other) if at is not None), default=None)


def _event_order(record: Record) -> tuple[datetime, str]:
    return record.occurred_at, record.key
