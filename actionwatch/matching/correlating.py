"""Correlations and the store: load the state of live correlations, and save what they find.

`matcher.py` calls this in its transactions. If anything fails between taking records and the commit, the state is discarded and
rebuilt, because only the store knows what people received. A rebuild takes a minute for a million records; plain rules continue
during that time. A start, and a reload, continue from the saved state of rules that have not changed, and rebuild the others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import islice

import structlog
from sqlalchemy import Connection

from actionwatch.base.errors import StoreError
from actionwatch.base.model import AlertChange, CorrelatedAlert, Record
from actionwatch.matching.addressing import Addressing
from actionwatch.matching.unexpected import end_unexpected
from actionwatch.rules.correlations.folds.saved import DoesNotFit
from actionwatch.rules.correlations.live.context import StreamBounds
from actionwatch.rules.correlations.live.correlator import Correlator
from actionwatch.rules.correlations.live.fitting import fitting
from actionwatch.rules.correlations.live.order import KEEP, lookbacks, running
from actionwatch.rules.correlations.live.saved import SavedState, decode, encode
from actionwatch.rules.engine import RuleFailure
from actionwatch.rules.model import Correlation, Rule
from actionwatch.store import correlation_state, correlations, marks, positions, records
from actionwatch.store.correlation_state import StoredState
from actionwatch.store.correlations import CorrelationVersion
from actionwatch.store.database import Database
from actionwatch.store.positions import CORRELATED, Overtaken

SAVE_EVERY = 20_000  # records: a start takes them again, in about a second
MAX_BEHIND = 200_000  # records that a start takes on top of a saved state: more of them are cheaper to rebuild
LEARN_AT_ONCE = 20_000  # missed records from which on a rebuild takes them too: in the order of time they cost half
PAUSE_EVERY = 2000  # records of a rebuild: a tenth of a second, in which a look at the store costs little

log = structlog.get_logger()


class Abandoned(Exception):
    """A rebuild is no longer wanted."""


@dataclass(frozen=True, slots=True)
class SourceProgress:
    """How far the sources were read: since when all of them, up to when all proved it, from when on records may alert."""

    begin: datetime | None = None
    verified: datetime | None = None
    alerts_from: datetime | None = None
    names: tuple[str, ...] = ()

    @property
    def is_past_backlog(self) -> bool:
        """Whether all sources have proved the time before which records are backlog."""
        return self.alerts_from is not None and self.verified is not None and self.verified >= self.alerts_from


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
        self._correlations = [rule.correlation for rule in rules if rule.correlation is not None]
        self._running = running(rules)
        self._correlator: Correlator | None = None
        self.position = 0
        """Up to which record the state holds all."""
        self._progress = SourceProgress()
        self._evicted = 0
        self._has_ended_unexpected = False
        self._judged: datetime | None = None  # as this process has stored it
        self._has_tried_saved = False
        self._saved_position = 0
        self._is_saved = False
        self._epoch = 0  # the number of the saved state to come
        self._only_backlog_through = 0  # no record up to this id may alert

    @property
    def is_idle(self) -> bool:
        """Whether there is no correlation at all."""
        return not self._correlations

    @property
    def is_new(self) -> bool:
        """Whether nothing has tried yet to load or rebuild the state of these rules."""
        return not self.is_idle and not self._has_tried_saved

    @property
    def sources(self) -> str:
        """The names of the sources, as an alert about what is missing shows them."""
        return ", ".join(self._progress.names)

    @property
    def is_ready(self) -> bool:
        """Whether it can take records: the state is there, and nothing came too late for what is kept in it."""
        return self.is_idle or (self._correlator is not None and self._correlator.too_late is None)

    def discard_unless_at(self, position: int) -> None:
        """Discard the state if it belongs to another position than the stored one: another process has moved on."""
        if self._correlator is not None and self.position != position:
            log.warning("correlations_overtaken", stood_at=self.position, position=position)
            self.forget()

    def read_progress(self, connection: Connection) -> datetime | None:
        """Return up to when all sources proved what they read. Discard the state if their beginning has changed."""
        before, self._progress = self._progress, self._source_progress(connection)
        if (before.begin, before.alerts_from) != (self._progress.begin, self._progress.alerts_from):
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
        """Rebuild the state that belongs to the position of correlations, or to that of plain rules if that is far ahead.

        Returns: the position of correlations, and that of the new state. If they differ, the caller commits the new one with
        the changes.

        The matcher calls it after a start, a failure, a change of the sources, or a hit that came too late for the kept state:
        then the new state is right from that hit on. It calls `on_pause` every few records, and lets its exceptions through.
        """
        if self._load(database, on_pause):
            return self.position, self.position
        target = None if self._correlator is None else self._correlator.too_late
        with database.read() as connection:
            matched, position = positions.read_both(connection)
            through, unjudged = matched, records.oldest_that_may_alert(connection, position, matched)
            if unjudged is not None and matched - position < self._learn_at_once:
                through, unjudged = position, None  # the matcher takes the few that were missed
            moment = self._moment(connection, through, target, unjudged)
        bounds = self._bounds(self._floors(database, position), self._running, moment, position)
        correlator = self._correlator_of(bounds, database)
        read_count = self._restore(correlator, bounds, self._running, through, database, on_pause)
        self._correlator, self.position, self._evicted, self._is_saved = correlator, through, 0, False
        log.info("correlations_rebuilt", **_size_of(correlator), records_read=read_count)
        return position, through

    def take(self, batch: Sequence[Record], through: int) -> None:
        """Take the next records, backlog included, up to a position.

        Call it again after a rebuild if it is not `is_ready` afterwards.
        """
        if self._correlator is not None:
            self._correlator.take(batch)
            self._is_saved = False
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
        changes = self._correlator.changes(verified)
        judged = self._correlator.too_late or verified  # an inner alert may have come too late for the rules above it
        if judged is not None and judged != self._judged:
            positions.write_judged(connection, judged)
            self._judged = judged
        self._is_saved = self._is_saved and not changes
        return changes

    def store(self, connection: Connection, changes: Sequence[AlertChange], reported_as: Mapping[str, str]) -> None:
        """Store what became of alerts, as the ledger reports them from now on, as newer than the saved state.

        Raises: Overtaken, if another process has saved a state meanwhile.
        """
        if not changes:
            return
        if correlation_state.read_epoch(connection) >= self._epoch:
            raise Overtaken("another process has saved the state of correlations")
        changed: dict[str, CorrelatedAlert] = {}
        for change in changes:
            known, alert_id = change.known, reported_as[change.known.id]
            if change.has_changed or alert_id != known.alert_id:
                known.report_as(alert_id)
                changed[known.id] = known
        if changed:
            correlations.write(connection, changed.values(), self._epoch)

    def forget(self) -> None:
        """Discard the state: a transaction did not commit."""
        self._correlator = self._judged = None

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

    # -- saved, for a restart ------------------------------------------------------------------------------------------

    def save_if_due(self, database: Database) -> None:
        """Save the state if the next process would have to take many records again."""
        if self.is_ready and self.position - self._saved_position >= SAVE_EVERY:
            self.save(database)

    def save(self, database: Database) -> None:
        """Save the state, unless that was done. Call it when all that was found is committed.

        A state that cannot be saved is reported in the log, and a start rebuilds it.
        """
        if self._correlator is None or not self.is_ready or self._is_saved:
            return
        self._saved_position, self._is_saved = self.position, True
        try:
            body = encode(self._correlator.save())
            with database.write() as connection:
                if positions.read(connection, CORRELATED) != self.position or (
                    correlation_state.read_epoch(connection) >= self._epoch
                ):
                    return  # another process has moved on
                correlation_state.write(connection, self.position, self._epoch, body)
        except (ValueError, OverflowError, StoreError) as exc:
            log.warning("correlations_not_saved", error=str(exc), effect="a start rebuilds them from the records")
            return
        self._epoch += 1
        log.debug("correlations_saved", position=self.position, bytes=len(body))

    def _load(self, database: Database, on_pause: Callable[[], None]) -> bool:
        """Continue from the saved state, once for a process, and return whether it fits. After a failure it is not trusted."""
        with database.read() as connection:
            self._epoch = max(correlations.newest_epoch(connection), correlation_state.read_epoch(connection)) + 1
            stored = None if self._has_tried_saved else correlation_state.read(connection)
        self._has_tried_saved = True
        if stored is None:
            return False
        try:
            self._continue_from(stored, database, on_pause)
        except DoesNotFit as exc:
            log.info("saved_correlations_discarded", why=str(exc))
            return False
        return True

    def _continue_from(self, stored: StoredState, database: Database, on_pause: Callable[[], None]) -> None:
        """Continue from what was saved of the rules that have not changed, and rebuild the others as of then."""
        if not stored.is_intact:
            raise DoesNotFit("the saved state was changed or damaged")
        state = decode(stored.body)
        with database.read() as connection:
            position = positions.read(connection, CORRELATED)
            moment = self._moment(connection, stored.position)
            ended = _ended(connection, state)
        if not stored.position <= position <= stored.position + MAX_BEHIND:
            raise DoesNotFit(f"it holds the records up to {stored.position}, and they are matched up to {position}")
        floors = self._floors(database, position)
        saved, state = state, fitting(state, self._running, self._bounds(floors), ended)
        kept = state.rule_ids()
        changed = [rule for rule in self._running if rule.name.id not in kept]
        bounds = self._bounds(floors, changed, moment, position)
        correlator = self._correlator_of(bounds, database)
        with database.read() as connection:
            merging = [rule for rule in self._running if rule.is_merging and rule.name.id in kept]
            known, newer, leading = self._read_alerts(connection, state, stored, merging, moment)
            held = records.read_stored_ids(connection, state.record_ids())
        correlator.load(state, held, known, newer, leading)
        read_count = self._restore(correlator, bounds, changed, stored.position, database, on_pause)
        for record_batch in _between(database, stored.position, position):
            correlator.take(record_batch)
            read_count += len(record_batch)
            if len(record_batch) == PAUSE_EVERY:
                on_pause()
        if correlator.too_late is not None:
            raise DoesNotFit("a record came too late for it")
        self._correlator, self.position, self._evicted = correlator, position, 0
        self._saved_position = 0 if changed else stored.position
        self._is_saved = not changed and kept == saved.rule_ids() and stored.position == position
        rebuilt = [rule.name.name for rule in changed]
        log.info("correlations_loaded", **_size_of(correlator), records_read=read_count, rebuilt=rebuilt)

    def _read_alerts(
        self,
        connection: Connection,
        state: SavedState,
        stored: StoredState,
        merging: Sequence[Correlation],
        moment: datetime | None,
    ) -> tuple[dict[str, CorrelatedAlert], list[CorrelatedAlert], list[CorrelatedAlert]]:
        """Return the alerts of a saved state as they are stored now, those that are newer, and those that may still lead."""
        known = correlations.read_all_of(connection, [each.id for each in state.known()])
        newer = correlations.read_newer(connection, stored.epoch)
        leading = find_known(connection, merging, self._starts(merging, moment))
        by_id = {each.id: each for each in (*leading, *newer, *known)}
        read_records(connection, by_id.values())
        return by_id, [by_id[each.id] for each in newer], [by_id[each.id] for each in leading]

    # -- the state -----------------------------------------------------------------------------------------------------

    def _correlator_of(self, bounds: StreamBounds, database: Database) -> Correlator:
        return Correlator(self._rules, bounds, keep=self._keep, read=partial(_read, database))

    def _source_progress(self, connection: Connection) -> SourceProgress:
        known = {} if self.is_idle else marks.read_all(connection)
        names = list(known) if self._sources is None else self._sources
        if not names or any(name not in known for name in names):
            return SourceProgress()
        found = [known[name] for name in names]
        return SourceProgress(
            max(each.begins_at for each in found),
            min(each.proved_through for each in found),
            max(each.alerts_from for each in found),
            tuple(names),
        )

    def _floors(self, database: Database, position: int) -> dict[str, int]:
        """Return the floor of each rule by id, storing new versions."""
        with database.read() as connection:
            known = correlations.read_versions(connection)
        new = {
            rule.name.id: CorrelationVersion(rule.version, position)
            for rule in self._correlations
            if rule.name.id not in known or known[rule.name.id].version != rule.version
        }
        if new:
            with database.write() as connection:
                for rule_id, version in new.items():
                    correlations.write_version(connection, rule_id, version)
        return {rule_id: version.floor for rule_id, version in (known | new).items()}

    def _moment(self, connection: Connection, through: int, *others: datetime | None) -> datetime | None:
        """Return the time up to which all is read, proved and judged, or an earlier one of `others`; None without any."""
        judged = positions.read_judged(connection)
        times = records.newest_time(connection, through), self._progress.verified, judged, *others
        return min((at for at in times if at is not None), default=None)

    def _bounds(
        self,
        floors: Mapping[str, int],
        rebuilt: Sequence[Correlation] = (),
        moment: datetime | None = None,
        position: int = 0,
    ) -> StreamBounds:
        """Return what the rules are given. Those that are rebuilt must be right for what comes late after a moment.

        A rule that expects groups and has not run yet looks for the last record of each group in all that is stored.
        """
        progress = self._progress
        new = {rule.name.id for rule in rebuilt if rule.is_absence and floors[rule.name.id] >= position}
        whole = _with_those_below(self._running, new)
        starts = self._starts([rule for rule in rebuilt if rule.name.id not in whole], moment)
        return StreamBounds(
            begin=lambda _: progress.begin,
            since=lambda rule: starts.get(rule.name.id),
            floors=lambda rule: floors[rule.name.id],
            alerts_from=progress.alerts_from,
            settled_before=moment - self._keep if moment is not None and progress.verified is not None else None,
        )

    def _starts(self, rules: Sequence[Correlation], moment: datetime | None) -> dict[str, datetime]:
        """Return from when on rules need the records, to be right about what comes late after a moment.

        Rules that need all records are left out.
        """
        if moment is None:
            return {}
        begin, spans = self._progress.begin, lookbacks(self._running)
        found = {rule.name.id: moment - self._keep - spans[rule.name.id] for rule in rules}
        return {name: start for name, start in found.items() if begin is None or start > begin}

    def _restore(
        self,
        correlator: Correlator,
        bounds: StreamBounds,
        rules: Sequence[Correlation],
        through: int,
        database: Database,
        on_pause: Callable[[], None],
    ) -> int:
        """Rebuild rules from the records up to a position. Return how many were read."""
        if not rules:
            return 0
        starts = {rule.name.id: start for rule in rules if (start := bounds.since(rule)) is not None}
        since = min(starts.values()) if len(starts) == len(rules) else None
        with database.read() as connection:
            known = read_known(connection, rules, starts)
            reading = _PacedRecords(records.stream_since(connection, since, through) if through else iter(()), on_pause)
            correlator.restore(known, reading)
        return reading.count


def _with_those_below(rules: Sequence[Correlation], ids: Collection[str]) -> set[str]:
    """Return the ids of rules, and of all that feed them; `rules` are in feeding order."""
    found = set(ids)
    for rule in reversed(rules):
        if rule.name.id in found:
            found.update(step.rule_id for step in rule.steps)
    return found


def _ended(connection: Connection, state: SavedState) -> set[str]:
    """Return the ids of the rules with an alert that is open in the state, and no longer stored: `end_unexpected` deleted it.

    Such a rule did not run for a while, or did not expect the group. When it comes back, what is missing is reported again.
    """
    opened = {known.id: known.rule_id for known in state.known() if known.is_open}
    stored = {known.id for known in correlations.read_all_of(connection, opened)}
    return {rule_id for alert_id, rule_id in opened.items() if alert_id not in stored}


def read_known(
    connection: Connection, rules: Iterable[Correlation], starts: Mapping[str, datetime]
) -> list[CorrelatedAlert]:
    """Return the alerts that each rule found since its start, with the records that they hold."""
    found = find_known(connection, rules, starts)
    read_records(connection, found)
    return found


def find_known(
    connection: Connection, rules: Iterable[Correlation], starts: Mapping[str, datetime]
) -> list[CorrelatedAlert]:
    """Return the alerts that each rule found since its start, without the records that they hold."""
    found: list[CorrelatedAlert] = []
    for rule in rules:
        start = starts.get(rule.name.id)
        if start is not None and rule.is_merging:
            start -= rule.realert  # the leading one of alerts that share an alert may have fired that much earlier
        found += correlations.read(connection, rule.name.id, start)
    return found


def read_records(connection: Connection, found: Collection[CorrelatedAlert]) -> None:
    """Note which records alerts hold. All that are reported in one alert share them."""
    keys: dict[str, set[str]] = {}
    for alert_id, key in correlations.read_keys(connection, [each.alert_id for each in found if each.is_reported]):
        keys.setdefault(alert_id, set()).add(key)
    for each in found:
        each.keys = keys.setdefault(each.alert_id, set())


def _read(database: Database, ids: Collection[int]) -> dict[int, Record]:
    """Read the records that an alert needs. They were committed before, so that any transaction sees them."""
    with database.read() as connection:
        return records.read_by_ids(connection, ids)


def _between(database: Database, after: int, through: int) -> Iterator[list[Record]]:
    """Yield the records after a position and up to another one, in batches; retention may have deleted any of them."""
    at = after
    while at < through:
        with database.read() as connection:
            portion = records.read_unmatched(connection, at, PAUSE_EVERY)
        if portion.through == at:
            return
        yield [record for record in portion.records if record.id <= through]
        at = portion.through


class _PacedRecords:
    """Records of a rebuild, counted, with a pause after every few."""

    def __init__(self, stored: Iterator[Record], pause: Callable[[], None]) -> None:
        self.count = 0
        self._stored = stored
        self._pause = pause

    def __iter__(self) -> Iterator[Record]:
        while portion := list(islice(self._stored, PAUSE_EVERY)):
            yield from portion
            self.count += len(portion)
            if len(portion) == PAUSE_EVERY:
                self._pause()


def _size_of(correlator: Correlator) -> dict[str, int]:
    return {"groups": correlator.count_groups(), "hits": correlator.count_hits()}
