"""The correlations of one process: what the matcher gives to them, when their state is built, and what they find.

`matcher.py` calls this in its transactions. If anything fails between taking records and the commit, the state is discarded and
rebuilt, because only the store knows what people received. A rebuild takes a minute for a million records; plain rules continue
during that time. A start, and a reload, continue from the saved state of rules that have not changed, and rebuild the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from actionwatch.base.errors import ActionwatchError
from actionwatch.base.model import AlertChange, CorrelatedAlert, Record
from actionwatch.matching.addressing import Addressing
from actionwatch.matching.source_progress import SourceProgress, read_progress
from actionwatch.matching.state_building import BuiltState, StateBuilder
from actionwatch.matching.state_saving import StateStorage
from actionwatch.matching.unexpected import end_unexpected
from actionwatch.rules.correlations.live.correlator import Correlator
from actionwatch.rules.correlations.live.order import KEEP
from actionwatch.rules.engine import RuleFailure
from actionwatch.rules.model import Rule
from actionwatch.store import positions, records
from actionwatch.store.database import Database

LEARN_AT_ONCE = 20_000  # missed records from which on a rebuild takes them too: in the order of time they cost half

log = structlog.get_logger()


class Abandoned(Exception):
    """A rebuild is no longer wanted."""


class RebuildRepeated(ActionwatchError):
    """A rebuild for a hit that arrived too late did not help: the step must fail, visibly, instead of repeating it for ever."""


class Correlating:
    """The correlations of one process. `sources` are those whose proof counts; None: all that were ever polled."""

    def __init__(
        self,
        rules: Sequence[Rule],
        addressing: Addressing,
        *,
        sources: Sequence[str] | None = None,
        keep: timedelta = KEEP,
        learn_at_once: int = LEARN_AT_ONCE,
    ) -> None:
        self._rules = rules
        self._addressing = addressing
        self._sources = sources
        self._keep = keep
        self._learn_at_once = learn_at_once
        self.is_idle = all(rule.correlation is None for rule in rules)
        """Whether there is no correlation at all."""
        self._correlator: Correlator | None = None
        self.position = 0
        """Up to which record the state holds all."""
        self._storage = StateStorage()
        self._progress = SourceProgress()
        self._evicted = 0
        self._has_ended_unexpected = False
        self._judged: datetime | None = None  # as this process has stored it
        self._rebuilt_for: tuple[int, datetime] | None = None  # the position and the hit that came too late there
        self._only_backlog_through = 0  # no record up to this id may alert

    @property
    def is_new(self) -> bool:
        """Whether nothing has tried yet to load or rebuild the state of these rules."""
        return not self.is_idle and not self._storage.has_tried

    @property
    def sources(self) -> str:
        """The names of the sources, as an alert about what is missing shows them."""
        return ", ".join(self._progress.names)

    @property
    def is_ready(self) -> bool:
        """Whether it can take records: the state is there, and nothing arrived too late for what is kept in it."""
        return self.is_idle or (self._correlator is not None and self._correlator.too_late is None)

    def discard_unless_at(self, position: int) -> None:
        """Discard the state if it belongs to another position than the stored one: another process has moved on."""
        if self._correlator is not None and self.position != position:
            log.warning("correlations_overtaken", stood_at=self.position, position=position)
            self.forget()

    def read_progress(self, connection: Connection) -> datetime | None:
        """Return up to when all sources proved what they read. Discard the state if their beginning has changed."""
        before = self._progress
        self._progress = SourceProgress() if self.is_idle else read_progress(connection, self._sources)
        if not self._progress.has_beginning_of(before):
            self.forget()
        return self._progress.verified

    def is_learned_later(self, connection: Connection) -> bool:
        """Return whether only backlog is stored, and the sources are still reading it: then no correlation can alert yet.

        The state is built when they have read it. In the order of time, this costs less than half: a tail stores the newest
        records of each window first, so that each batch would fold each of its groups again.
        """
        if self._correlator is not None or self._progress.is_past_backlog:
            return False
        newest = records.newest_id(connection)
        if records.has_any_that_may_alert(connection, self._only_backlog_through):
            return False
        self._only_backlog_through = newest
        return True

    def end_unexpected(self, database: Database, now: datetime) -> None:
        """Resolve, once, the alerts about missing groups that these rules do not expect."""
        if self._has_ended_unexpected:
            return
        with database.write() as connection:
            end_unexpected(connection, self._rules, self._addressing, now)
        self._has_ended_unexpected = True

    def rebuild(self, database: Database, on_pause: Callable[[], None]) -> tuple[int, int]:
        """Build the state: from the saved one, once for a process, or from the records.

        Returns: the position of correlations, and that of the new state. If they differ, the caller commits the new one with
        the changes. It is that of plain rules if that is far ahead.

        The matcher calls it after a start, a failure, a change of the sources, or a hit that arrived too late for the kept
        state: then the new state is right from that hit on. It calls `on_pause` every few records, and lets its exceptions
        through.
        """
        builder = StateBuilder(database, self._rules, self._progress, self._keep, on_pause)
        built = self._storage.load(builder)
        if built is not None:
            position = built.position
        else:
            position, built = self._rebuild(builder)
        self._correlator, self.position, self._evicted = built.correlator, built.position, 0
        return position, built.position

    def _rebuild(self, builder: StateBuilder) -> tuple[int, BuiltState]:
        """Build the state from the records. Return it with the position of correlations."""
        target = None if self._correlator is None else self._correlator.too_late
        with builder.database.read() as connection:
            matched, position = positions.read_both(connection)
            through, unjudged = matched, records.oldest_that_may_alert(connection, position, matched)
            if unjudged is not None and matched - position < self._learn_at_once:
                through, unjudged = position, None  # the matcher takes the few that were missed
            moment = builder.moment(connection, through, target, unjudged)
        if target is not None and (position, target) == self._rebuilt_for:
            raise RebuildRepeated(
                f"correlations cannot take what happened at {target:%Y-%m-%d %H:%M:%S} UTC: after a rebuild for it, it "
                "is too late again"
            )
        built = builder.rebuild(position, through, moment)
        self._rebuilt_for = None if target is None else (position, target)
        self._storage.note_change()
        log.info("correlations_rebuilt", **built.describe())
        return position, built

    def take(self, batch: Sequence[Record], through: int) -> None:
        """Take the next records, backlog included, up to a position.

        Call it again after a rebuild if it is not `is_ready` afterwards.
        """
        if self._correlator is not None:
            self._correlator.take(batch)
            self._storage.note_change()
            if self.is_ready:
                self.position = through

    def is_due(self, verified: datetime | None) -> bool:
        """Return whether `changes` has anything to look at, or has not stored yet how far it has judged."""
        if self._correlator is None:
            return False
        return (self._judged is None and verified is not None) or self._correlator.is_due(verified)

    def changes(self, connection: Connection, verified: datetime | None) -> list[AlertChange]:
        """Return what becomes of alerts as of a verified time. The caller stores them as the ledger then reports them.

        Store how far that is judged: what waits for a later time would be lost if a rebuild began after it.

        Raises: DoesNotFit, if the store no longer has a record that an alert needs: forget the state, and rebuild it.
        """
        if self._correlator is None:
            return []
        kept_count = self._correlator.count_hits()
        changes = self._correlator.changes(verified)
        # An inner alert may have arrived too late for the rules above it.
        judged = self._correlator.too_late or verified
        if self.is_ready:
            self._rebuilt_for = None
        if judged is not None and judged != self._judged:
            positions.write_judged(connection, judged)
            self._judged = judged
        if changes or self._correlator.count_hits() != kept_count:
            self._storage.note_change()
        return changes

    def store(self, connection: Connection, changes: Sequence[AlertChange], reported_as: Mapping[str, str]) -> None:
        """Store what became of alerts, as the ledger reports them from now on, as newer than the saved state.

        Raises: Overtaken, if another process has saved a state meanwhile.
        """
        if not changes:
            return
        changed: dict[str, CorrelatedAlert] = {}
        for change in changes:
            known, alert_id = change.known, reported_as[change.known.id]
            if change.has_changed or alert_id != known.alert_id:
                known.report_as(alert_id)
                changed[known.id] = known
        self._storage.write_alerts(connection, changed.values())

    def forget(self) -> None:
        """Discard the state: a transaction did not commit."""
        self._correlator = self._judged = self._rebuilt_for = None

    def take_failures(self) -> list[RuleFailure]:
        """Return what went wrong with rules since the last call."""
        return [] if self._correlator is None else self._correlator.take_failures()

    def report_evictions(self) -> int:
        """Log and return how many groups were dropped since the last call because there was no room."""
        evicted = 0 if self._correlator is None else self._correlator.evicted
        dropped = max(evicted - self._evicted, 0)
        if dropped:
            log.warning("correlation_groups_dropped", count=dropped)
        self._evicted = evicted
        return dropped

    def save_if_due(self, database: Database) -> None:
        """Save the state if the next process would have to take many records again."""
        if self._correlator is not None and self.is_ready:
            self._storage.save_if_due(database, self._correlator, self.position)

    def save(self, database: Database) -> None:
        """Save the state for the next process, if there is one. Call it when all that was found is committed."""
        if self._correlator is not None and self.is_ready:
            self._storage.save(database, self._correlator, self.position)
