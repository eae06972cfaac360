"""The correlations of one process: what the matcher gives to them, and what they find.

All that they know is stored in the transactions of the matcher: a start loads nothing, and a transaction that fails, or another
process that takes over, changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from actionwatch.base.model import AlertChange, CorrelatedAlert, Record
from actionwatch.matching.addressing import Addressing
from actionwatch.matching.backlog import BacklogWatch
from actionwatch.matching.catching_up import CatchUp
from actionwatch.matching.rule_feeding import RuleFeeding
from actionwatch.matching.source_progress import SourceProgress
from actionwatch.matching.stored_rows import StoredRows
from actionwatch.matching.unexpected import end_unexpected
from actionwatch.rules.correlations.correlator import Correlator
from actionwatch.rules.correlations.feed import GroupedHits, keep_reference
from actionwatch.rules.correlations.fold_cache import FoldCache
from actionwatch.rules.correlations.order import KEEP, running
from actionwatch.rules.correlations.sources import sources_of
from actionwatch.rules.engine import RuleFailure
from actionwatch.rules.model import Rule
from actionwatch.store import positions
from actionwatch.store.database import Database


class Correlating:
    """The correlations of one process. `sources` returns those whose proof counts; None: all that were ever polled."""

    def __init__(
        self,
        rules: Sequence[Rule],
        addressing: Addressing,
        *,
        sources: Callable[[], Sequence[str]] | None = None,
        keep: timedelta = KEEP,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules = rules
        self._addressing = addressing
        self._elapsed = elapsed
        self.is_idle = all(rule.correlation is None for rule in rules)
        """Whether there is no correlation at all."""
        self.backlog = BacklogWatch(sources, sources_of(rules))
        self.feeding = RuleFeeding(running(rules), keep)
        """How far each rule was fed."""
        self._cache = FoldCache()
        self._correlator: Correlator | None = None
        self._catch_up: CatchUp | None = None
        self._aligned: tuple[int, SourceProgress] | None = None  # to which position and beginning all of this belongs
        self._stored: StoredRows | None = None

    @property
    def is_level(self) -> bool:
        """Whether all rules are evaluated with each batch."""
        return self.is_idle or (
            self._correlator is not None and not self.backlog.is_reading and not self.feeding.later()
        )

    @property
    def is_behind(self) -> bool:
        """Whether `catch_up` has anything to do now."""
        return self._catch_up is not None and self._catch_up.is_due(can_judge=not self.backlog.is_reading)

    def is_aligned(self, position: int) -> bool:
        """Return whether it is known how far rules were fed at a position."""
        beginning = self.backlog.progress
        if self._aligned is None or self._aligned[0] != position:
            return False
        return self.is_idle or beginning.has_beginning_of(self._aligned[1], self.feeding.rules)

    def align(self, database: Database, position: int, clock: Callable[[], datetime]) -> None:
        """Find out how far rules were fed, unless it is known for this position. New and changed ones are fed from now on.

        Ends what these rules do not expect of what others left, also without any correlation: the last ones were removed.
        """
        if self.is_aligned(position) and not self.feeding.is_too_early:
            return
        with database.write() as connection:
            positions.check(connection, position)
            correlator = self._align(connection, position, clock())
        self._cache.clear()
        self._correlator = None if self.is_idle else correlator
        self._catch_up = CatchUp(correlator, self.feeding, self._elapsed)
        self._aligned = position, self.backlog.progress

    def hits(self, batch: Sequence[Record]) -> GroupedHits:
        """Return the hits of records, for the rules that are fed with each batch."""
        if self._correlator is None:
            return {}
        feeding = self.feeding.feeding
        return {number: its for number, its in self._correlator.hits(batch).items() if number not in feeding}

    def take_batch(
        self,
        connection: Connection,
        batch: Sequence[Record],
        found: GroupedHits,
        verified: SourceProgress,
        *,
        is_more: bool,
    ) -> list[AlertChange]:
        """Take the hits of a batch, and return what becomes of alerts as of verified times. `store` follows.

        Where more backlog waits, groups are evaluated when it is read: once, however many batches touch them.
        """
        if self._correlator is None:
            return []
        self.backlog.note_batch(batch, is_more=is_more)
        later = set(range(len(self._correlator.rules))) if self.backlog.is_reading else self.feeding.later()
        self._stored = self.feeding.rows(connection, batch)
        changes = self._correlator.take_hits(self._stored, found, verified, later)
        self.feeding.judging.update(found.keys() & later)
        self.feeding.note_too_early(connection, self._correlator.too_early)
        return changes

    def catch_up(self, connection: Connection, position: int, verified: SourceProgress) -> list[AlertChange]:
        """Do a part of what rules that were fed again need. Return what becomes of alerts; `store` follows."""
        self._stored = None
        if self._catch_up is None:
            return []
        self._stored = self.feeding.rows(connection)
        return self._catch_up.run(connection, self._stored, position, verified, can_judge=not self.backlog.is_reading)

    def sources_of(self, known: CorrelatedAlert) -> Sequence[str]:
        """Return the sources whose records an alert can have."""
        stored = self.feeding.stored()
        rule = stored.rules[stored.places[known.rule_id]]
        return self.backlog.progress.of_group(rule, known.group).names

    def store(self, changes: Sequence[AlertChange], reported_as: Mapping[str, str]) -> None:
        """Store what became of alerts, as the ledger reports them from now on."""
        for change in changes:
            change.known.report_as(reported_as[change.known.id])
        if self._stored is not None:
            self._stored.alerts.flush()

    def committed(self, position: int) -> None:
        """Note that all of this is committed, up to a position."""
        if self._aligned is not None:
            self._aligned = position, self._aligned[1]

    def forget(self) -> None:
        """Forget what is known of the store: a transaction did not commit, or another process has moved on."""
        self._cache.clear()
        self._correlator = self._catch_up = self._stored = self._aligned = None

    def take_failures(self) -> list[RuleFailure]:
        """Return what went wrong with rules since the last call."""
        return [] if self._correlator is None else self._correlator.take_failures()

    def _align(self, connection: Connection, position: int, now: datetime) -> Correlator:
        fed_again = self.feeding.align(connection, position, self.backlog.progress)
        end_unexpected(connection, self.feeding.rules, fed_again, self._addressing, now)
        bounds = self.feeding.bounds(lambda: self.backlog.progress)
        correlator = Correlator(self._rules, bounds, keep_reference, self._cache)
        rows = self.feeding.rows(connection)
        for number, spans in correlator.begin().items():
            if number in fed_again or self.backlog.progress.names.keeps_apart(correlator.rules[number]):
                rows.hits.postpone(number, spans)
                self.feeding.judging.add(number)
        return correlator
