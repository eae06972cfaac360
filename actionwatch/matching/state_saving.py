"""Save the state of correlations for the next process, and continue from it.

A saved state says up to which record it holds all, and the *epoch* of the alerts that it holds. Alerts that are stored after it
have a later epoch, so that a start finds them. A saved state that does not fit is discarded, and rebuilt from the records.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from datetime import datetime

import structlog
from sqlalchemy import Connection

from actionwatch.base.errors import StoreError
from actionwatch.base.model import CorrelatedAlert
from actionwatch.matching.known_alerts import note_records, read_without_records, rules_with_deleted_alerts
from actionwatch.matching.state_building import BuiltState, StateBuilder
from actionwatch.rules.correlations.folds.saved import DoesNotFit
from actionwatch.rules.correlations.live.correlator import Correlator
from actionwatch.rules.correlations.live.fitting import fitting
from actionwatch.rules.correlations.live.saved import SavedState, decode, encode
from actionwatch.rules.model import Correlation
from actionwatch.store import correlation_state, correlations, positions
from actionwatch.store.correlation_state import NewState, StoredState
from actionwatch.store.database import Database
from actionwatch.store.positions import CORRELATED, Overtaken

SAVE_EVERY = 20_000  # records: a start takes them again, in about a second
SAVE_AT_LATEST = 100_000  # records: so many between two states that are large
BYTES_PER_RECORD = 300  # what a saved state may have for each record since the one before; a larger one waits for more
MAX_BEHIND = 200_000  # records that a start takes on top of a saved state: more of them are cheaper to rebuild

log = structlog.get_logger()


class StateStorage:
    """The saved state, as one process loads it once and replaces it from time to time."""

    def __init__(self) -> None:
        self.has_tried = False
        """Whether this process has tried to load it. After a failure a saved state is not trusted."""
        self._epoch = 0  # of the state to come, and of the alerts that are stored until then
        self._position = 0  # of the newest saved state
        self._is_current = False  # whether that is the state as it is now
        self._until_next = SAVE_EVERY  # records between that state and the next one

    def load(self, builder: StateBuilder) -> BuiltState | None:
        """Continue from the saved state, once for a process; None if there is none, or it does not fit."""
        with builder.database.read() as connection:
            newest = max(correlations.newest_epoch(connection), correlation_state.read_epoch(connection))
            stored = None if self.has_tried else correlation_state.read(connection)
        self._epoch, self.has_tried = newest + 1, True
        if stored is None:
            return None
        self._until_next = _records_between(stored.size)
        try:
            saved = _read(builder.database, stored)
            built, rebuilt = _continue_from(saved, stored, builder)
        except DoesNotFit as exc:
            log.info("saved_correlations_discarded", why=str(exc))
            return None
        self._position = 0 if rebuilt else stored.position
        is_same = not rebuilt and saved.rule_ids() == {rule.name.id for rule in builder.running}
        self._is_current = is_same and built.position == stored.position
        log.info("correlations_loaded", **built.describe(), rebuilt=[rule.name.name for rule in rebuilt])
        return built

    def note_change(self) -> None:
        """Note that the state is no longer as it was saved."""
        self._is_current = False

    def save_if_due(self, database: Database, correlator: Correlator, position: int) -> None:
        """Save a state if the next process would have to take many records again."""
        if position - self._position >= self._until_next:
            self.save(database, correlator, position)

    def save(self, database: Database, correlator: Correlator, position: int) -> None:
        """Save a state, unless that was done. Call it when all that was found is committed.

        A state that cannot be saved is reported in the log, and a start rebuilds it.
        """
        if self._is_current:
            return
        self._position, self._is_current = position, True
        try:
            self._until_next = SAVE_AT_LATEST  # unless it succeeds: each attempt takes long
            state = self._write(database, correlator, position)
        except (ValueError, OverflowError, StoreError) as exc:
            log.warning("correlations_not_saved", error=str(exc), effect="a start rebuilds them from the records")
            with contextlib.suppress(StoreError), database.write() as connection:  # the next attempt may be long after
                correlation_state.drop_unfinished(connection)
            return
        if state is not None:
            self._until_next = _records_between(state.size)
            log.debug("correlations_saved", position=position, bytes=state.size)

    def _write(self, database: Database, correlator: Correlator, position: int) -> NewState | None:
        """Write a state; None if another process has moved on meanwhile."""
        with database.write() as connection:
            correlation_state.drop_unfinished(connection)
        state = NewState()
        for piece in encode(correlator.save()):
            with database.write() as connection:
                state.add(connection, piece)
        with database.write() as connection:
            if positions.read(connection, CORRELATED) != position or self._is_overtaken(connection):
                return None
            is_finished = state.finish(connection, position, self._epoch)
        if not is_finished:
            return None
        self._epoch += 1
        return state

    def write_alerts(self, connection: Connection, changed: Collection[CorrelatedAlert]) -> None:
        """Store alerts as newer than the saved state.

        Raises: Overtaken, if another process has saved a state meanwhile.
        """
        if self._is_overtaken(connection):
            raise Overtaken("another process has saved the state of correlations")
        if changed:
            correlations.write(connection, changed, self._epoch)

    def _is_overtaken(self, connection: Connection) -> bool:
        return correlation_state.read_epoch(connection) >= self._epoch


def _records_between(size: int) -> int:
    """Return after how many records a state of this size is replaced, in bytes."""
    return min(max(SAVE_EVERY, size // BYTES_PER_RECORD), SAVE_AT_LATEST)


def _read(database: Database, stored: StoredState) -> SavedState:
    with database.read() as connection:
        body = correlation_state.read_body(connection, stored)
    if body is None:
        raise DoesNotFit("the saved state was changed or damaged")
    return decode(body)


def _continue_from(
    saved: SavedState, stored: StoredState, builder: StateBuilder
) -> tuple[BuiltState, list[Correlation]]:
    """Continue from what was saved of the rules that have not changed, and rebuild the others as of then.

    Returns: the state up to the position of correlations, and the rules that were rebuilt.

    Raises: DoesNotFit.
    """
    with builder.database.read() as connection:
        position = positions.read(connection, CORRELATED)
        moment = builder.moment(connection, stored.position)
        deleted = rules_with_deleted_alerts(connection, saved)
    if not stored.position <= position <= stored.position + MAX_BEHIND:
        raise DoesNotFit(f"it holds the records up to {stored.position}, and they are matched up to {position}")
    floors = builder.floors(position)
    kept = fitting(saved, builder.running, builder.bounds(floors), deleted)
    rebuilt = [rule for rule in builder.running if rule.name.id not in kept.rule_ids()]
    bounds = builder.bounds(floors, rebuilt, moment, position)
    correlator = builder.correlator(bounds)
    _load(correlator, kept, stored, builder, moment)
    read_count = builder.restore(correlator, bounds, rebuilt, stored.position)
    read_count += builder.take_between(correlator, stored.position, position)
    if correlator.too_late is not None:
        raise DoesNotFit("a record arrived too late for it")
    return BuiltState(correlator, position, read_count), rebuilt


def _load(
    correlator: Correlator, kept: SavedState, stored: StoredState, builder: StateBuilder, moment: datetime | None
) -> None:
    """Load what was saved of rules, with its alerts as they are stored now."""
    ids = kept.rule_ids()
    merging = [rule for rule in builder.running if rule.is_merging and rule.name.id in ids]
    with builder.database.read() as connection:
        known = correlations.read_all_of(connection, [each.id for each in kept.known()])
        newer = correlations.read_newer(connection, stored.epoch)
        leading = read_without_records(connection, merging, builder.starts(merging, moment))
        by_id = {each.id: each for each in (*leading, *newer, *known)}
        note_records(connection, by_id.values())
    correlator.load(kept, by_id, [by_id[each.id] for each in newer], [by_id[each.id] for each in leading])
