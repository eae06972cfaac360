"""The correlations of one process: what the matcher gives to them, and what they find.

All that they know is stored in the transactions of the matcher: a start loads nothing, and a transaction that fails, or another
process that takes over, changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from actionwatch.base.model import AlertChange, Group, Record
from actionwatch.matching.addressing import Addressing
from actionwatch.matching.correlation_rows import StoredRows, span_of
from actionwatch.matching.rule_feeding import RuleFeeding
from actionwatch.matching.source_progress import SourceProgress, read_progress
from actionwatch.matching.unexpected import end_unexpected
from actionwatch.rules.correlations.context import StreamBounds
from actionwatch.rules.correlations.correlator import Correlator
from actionwatch.rules.correlations.evaluate import Span
from actionwatch.rules.correlations.feed import Feed, GroupHit, keep_reference
from actionwatch.rules.correlations.fold_cache import FoldCache
from actionwatch.rules.correlations.folding import too_early
from actionwatch.rules.correlations.order import KEEP, running
from actionwatch.rules.engine import RuleFailure
from actionwatch.rules.model import Rule
from actionwatch.store import correlations, hits, positions, records
from actionwatch.store.database import Database

FED_AT_ONCE = 2000  # records that rules are fed in one transaction: others wait meanwhile
JUDGED_AT_ONCE = 250  # groups, as many as one statement takes
DELETED_AT_ONCE = 5000  # hits


class Correlating:
    """The correlations of one process. `sources` are those whose proof counts; None: all that were ever polled."""

    def __init__(
        self,
        rules: Sequence[Rule],
        addressing: Addressing,
        *,
        sources: Sequence[str] | None = None,
        keep: timedelta = KEEP,
    ) -> None:
        self._rules = rules
        self._addressing = addressing
        self._sources = sources
        self.is_idle = all(rule.correlation is None for rule in rules)
        """Whether there is no correlation at all."""
        self.fed_count = 0
        """How many records rules were fed again since the start."""
        self._running = running(rules)
        self._feeding = RuleFeeding(self._running, keep)
        self._cache = FoldCache()
        self._correlator: Correlator | None = None
        self._feeds: dict[frozenset[int], Feed] = {}
        self._position: int | None = None  # where the cache, and what is known of the feeding, belongs
        self._progress = SourceProgress()
        self._is_too_early = False
        self._only_backlog_through = 0  # no record up to this id may alert
        self._waits_for_sources = self._is_in_backlog = False
        self._has_seen_live = False  # from then on, each batch may alert
        self._has_garbage = True
        self._has_ended_unexpected = False
        self._stored: StoredRows | None = None

    @property
    def sources(self) -> str:
        """The names of the sources, as an alert about what is missing shows them."""
        return ", ".join(self._progress.names)

    @property
    def is_level(self) -> bool:
        """Whether all rules are evaluated with each batch."""
        return self.is_idle or (self._correlator is not None and not self._is_deferring and not self._feeding.later())

    @property
    def is_behind(self) -> bool:
        """Whether `catch_up` has anything to do now."""
        if self.is_idle or self._correlator is None:
            return False
        return (
            self._has_garbage or bool(self._feeding.feeding) or (bool(self._feeding.judging) and not self._is_deferring)
        )

    @property
    def _is_deferring(self) -> bool:
        return self._waits_for_sources or self._is_in_backlog

    def end_unexpected(self, database: Database, now: datetime) -> None:
        """Resolve, once, the alerts about missing groups that these rules do not expect."""
        if self._has_ended_unexpected:
            return
        with database.write() as connection:
            end_unexpected(connection, self._rules, self._addressing, now)
        self._has_ended_unexpected = True

    def read_progress(self, connection: Connection) -> datetime | None:
        """Return up to when all sources proved what they read.

        While only backlog is stored, and the sources are still reading it, no correlation can alert: hits are stored, and each
        group is evaluated once when they have read it.
        """
        if self.is_idle:
            return None
        before, self._progress = self._progress, read_progress(connection, self._sources)
        if not self._progress.has_beginning_of(before):
            self._correlator = None
        self._waits_for_sources = not self._progress.is_past_backlog and not self._has_any_that_may_alert(connection)
        return self._progress.verified

    def _has_any_that_may_alert(self, connection: Connection) -> bool:
        newest = records.newest_id(connection)
        if records.has_any_that_may_alert(connection, self._only_backlog_through):
            return True
        self._only_backlog_through = newest
        return False

    def align(self, database: Database, position: int) -> None:
        """Find out how far rules were fed, unless it is known for this position. New and changed ones are fed from now on."""
        if self.is_idle or (self.is_aligned(position) and not self._is_too_early):
            return
        with database.write() as connection:
            positions.check(connection, position)
            fed_again = self._feeding.align(connection, position, self._progress)
            self._correlator = self._make_correlator()
            rows = self._rows(connection, ())
            self._place_alerts(connection, rows)
            for number, spans in self._correlator.begin().items():
                if number in fed_again:
                    rows.postpone(number, spans)
                    self._feeding.judging.add(number)
            correlations.delete_saved_state(connection)
            positions.note_fed(connection, position)
        self._cache.clear()
        self._feeds.clear()
        self._is_too_early, self._has_garbage, self._position = False, True, position

    def hits(self, batch: Sequence[Record]) -> list[GroupHit]:
        """Return the hits of records, for the rules that are fed with each batch."""
        if self._correlator is None:
            return []
        feeding = self._feeding.feeding
        return [each for each in self._correlator.hits(batch) if each[0] not in feeding]

    def take(
        self,
        connection: Connection,
        batch: Sequence[Record],
        found: Sequence[GroupHit],
        verified: datetime | None,
        *,
        is_more: bool,
    ) -> list[AlertChange]:
        """Take the hits of a batch, and return what becomes of alerts as of a verified time. `store` follows.

        Where more backlog waits, groups are evaluated when it is read: once, however many batches touch them.
        """
        if self._correlator is None:
            return []
        self._has_seen_live = self._has_seen_live or not all(record.is_backlog for record in batch)
        self._is_in_backlog = is_more and not self._has_seen_live
        later = set(range(len(self._running))) if self._is_deferring else self._feeding.later()
        self._stored = self._rows(connection, batch)
        changes = self._correlator.take(self._stored, found, verified, later)
        self._feeding.judging.update({number for number, *_ in found} & later)
        self._note_too_early(connection, self._correlator.too_early)
        return changes

    def is_aligned(self, position: int) -> bool:
        """Return whether it is known how far rules were fed at a position."""
        return self._correlator is not None and self._position == position

    def is_due(self, connection: Connection, verified: datetime | None) -> bool:
        """Return whether an alert must be looked at now that time is verified."""
        return not self.is_idle and verified is not None and correlations.is_any_pending(connection, verified)

    def store(self, changes: Sequence[AlertChange], reported_as: Mapping[str, str]) -> None:
        """Store what became of alerts, as the ledger reports them from now on."""
        for change in changes:
            change.known.report_as(reported_as[change.known.id])
        if self._stored is not None:
            self._stored.flush()

    def committed(self, position: int) -> None:
        """Note that all of this is committed, up to a position."""
        self._position, self._stored = position, None

    def note_all_read(self) -> None:
        """Note that no more records wait: what was put off while backlog was read is due."""
        self._is_in_backlog = False

    def catch_up(self, connection: Connection, position: int, verified: datetime | None) -> list[AlertChange]:
        """Do a part of what rules that were fed again need. Return what becomes of alerts; `store` follows."""
        self._stored = None
        if self._correlator is None:
            return []
        if self._feeding.feeding:
            self._feed(connection, self._correlator, position)
        elif (number := self._feeding.to_judge()) is not None and not self._is_deferring:
            return self._judge(connection, self._correlator, number, verified)
        elif self._has_garbage:
            deleted = hits.delete_others(connection, self._feeding.numbers, DELETED_AT_ONCE)
            self._has_garbage = deleted > 0
        return []

    def forget(self) -> None:
        """Forget what is known of the store: a transaction did not commit, or another process has moved on."""
        self._cache.clear()
        self._correlator = self._stored = self._position = None
        self._is_too_early = False

    def take_failures(self) -> list[RuleFailure]:
        """Return what went wrong with rules since the last call."""
        return [] if self._correlator is None else self._correlator.take_failures()

    # -- feeding -------------------------------------------------------------------------------------------------------

    def _feed(self, connection: Connection, correlator: Correlator, position: int) -> None:
        """Feed the next records to the rules that are furthest behind."""
        places, after, others = self._feeding.to_feed()
        portion = records.read_unmatched(connection, after, FED_AT_ONCE)
        through = min(portion.through, position, others if others is not None else position)
        batch = [record for record in portion.records if record.id <= through]
        key = frozenset(places)
        if key not in self._feeds:
            self._feeds[key] = correlator.feed_of(key)
        since = {place: self._feeding.versions[place].fed_from for place in places}
        made = list(self._feeds[key].hits(batch))
        found = [each for each in made if (start := since[each[0]]) is None or each[2].at >= start]
        rows = self._rows(connection, batch)
        rows.add(found)
        spans: dict[int, dict[Group, Span]] = {}
        for number, group, hit in found:
            spans.setdefault(number, {}).setdefault(group, Span(hit.order, hit.order)).include(hit.order)
        for number, its in spans.items():
            rows.postpone(number, its)
        is_done = through >= position or portion.through == after
        self._feeding.note_fed(connection, places, None if is_done else through)
        self._feeding.judging.update(places)
        self.fed_count += len(batch)
        early = {
            place: at
            for place in places
            if (at := too_early(correlator.contexts[place], (hit for number, _, hit in made if number == place)))
        }
        self._note_too_early(connection, early)

    def _note_too_early(self, connection: Connection, places: Mapping[int, datetime]) -> None:
        """Let rules read older records, because a hit that may alert lies before those that they have."""
        if places:
            self._feeding.note_too_early(connection, places)
            self._is_too_early = True

    def _judge(
        self, connection: Connection, correlator: Correlator, number: int, verified: datetime | None
    ) -> list[AlertChange]:
        """Evaluate some of the groups of a rule that were touched."""
        place = self._feeding.numbers[number]
        touched = hits.read_touched(connection, place, JUDGED_AT_ONCE)
        if len(touched) < JUDGED_AT_ONCE:
            self._feeding.judging.discard(number)
        hits.forget_touched(connection, place, [row.group_id for row in touched])
        self._stored = self._rows(connection, ())
        spans = {row.group_values: span_of(row.first_at, row.last_at) for row in touched}
        later = self._feeding.later() - {number}
        changes = correlator.take_again(self._stored, number, spans, verified, later)
        self._note_too_early(connection, correlator.too_early)
        self._feeding.judging.update(self._touched_above(number))
        return changes

    def _touched_above(self, number: int) -> set[int]:
        """Return the places of the rules above one that are not evaluated with each batch: they may have been touched."""
        name, later = self._running[number].name.id, self._feeding.later()
        above = (place for place in later if any(step.rule_id == name for step in self._running[place].steps))
        return set(above)

    def _make_correlator(self) -> Correlator:
        versions = {rule.name.id: version for rule, version in zip(self._running, self._feeding.versions, strict=True)}
        begins = {version.alerts_from for version in versions.values()}
        bounds = StreamBounds(
            begin=lambda rule: versions[rule.name.id].begins_at,
            since=lambda rule: versions[rule.name.id].fed_from,
            floor=lambda rule: versions[rule.name.id].floor,
            alerts_from=max((at for at in begins if at is not None), default=None),
        )
        return Correlator(self._rules, bounds, keep_reference, self._cache)

    def _place_alerts(self, connection: Connection, rows: StoredRows) -> None:
        """Note the groups of the alerts that a replica of an older version stored."""
        ids = {rule.name.id: rule for rule in self._running}
        while unplaced := correlations.read_unplaced(connection, ids, DELETED_AT_ONCE):
            for known in unplaced:
                rule = ids[known.rule_id]
                known.stored, known.back_at = None, known.resolved_at if rule.is_absence else None
            fits = {each.id: len(each.group) == len(ids[each.rule_id].group_fields) for each in unplaced}
            rows.adopt(each for each in unplaced if fits[each.id])
            correlations.delete(connection, [name for name, is_fitting in fits.items() if not is_fitting])
            rows.flush()

    def _rows(self, connection: Connection, batch: Sequence[Record]) -> StoredRows:
        return StoredRows(connection, self._running, self._feeding.numbers, batch)
