"""Apply the retention: delete what is older, in small transactions so that no other writer waits long.

`look_back` computes how far back polls, sweeps and stateful rules still need the stored records: nothing newer is deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import Connection

from actionwatch.base.clock import ALWAYS
from actionwatch.rules.correlations.order import memories
from actionwatch.rules.model import Rule
from actionwatch.rules.prefilter import prefilter_of
from actionwatch.settings import Retention, Settings, Source
from actionwatch.store import (
    accounts,
    alerts,
    correlations,
    hits,
    marks,
    positions,
    receipts,
    record_aliases,
    record_blocks,
    records,
    retention,
    rule_history,
    sessions,
    streams,
    tokens,
    unproved_windows,
)
from actionwatch.store.database import Database, StoreReader
from actionwatch.store.marks import Marks, find_left
from actionwatch.store.records import Needed
from actionwatch.store.rehearsal import Transactions, rehearsal
from actionwatch.store.unproved_windows import SECOND_LOOK, UnprovedWindow
from actionwatch.tail.cursor import COARSEST_UNIT
from actionwatch.tail.planning import begin_of, reaches_back

BATCH = 5000  # rows per transaction
_NEVER = datetime.max.replace(tzinfo=UTC)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Lookback:
    """The records that must stay regardless of their age, and since when the findings of correlations must stay."""

    needed: tuple[Needed, ...] = ()
    found_since: datetime = _NEVER
    streams: tuple[str, ...] = ()
    """The streams that must have sent a record before it is deleted."""


def apply_retention(
    database: Database, settings: Settings, read_rules: Callable[[], Sequence[Rule]], clock: Callable[[], datetime]
) -> dict[str, int]:
    """Delete what is older than its retention, unless polls or rules still need it. Return the number of deleted rows."""
    with database.read() as connection:
        back = look_back(connection, settings, read_rules())
    return run_once(database, settings.store.retention, clock(), back)


def foresee(store: StoreReader, settings: Settings, rules: Sequence[Rule], now: datetime) -> dict[str, int]:
    """Return what `apply_retention` would delete: it deletes it in a copy. Nobody waits meanwhile."""
    with rehearsal(store) as copy:
        with copy.read() as connection:
            back = look_back(connection, settings, rules)
        return run_once(copy, settings.store.retention, now, back)


def look_back(connection: Connection, settings: Settings, rules: Sequence[Rule]) -> Lookback:
    """Return what polls and sweeps of the sources, these rules after a restart, and the streams can still need."""
    sources = settings.sources
    known = marks.read_all(connection)
    configured = {source.name for source in sources}
    continued = [(source, _marks_of(source, known, configured)) for source in sources]
    asked = {
        its.name: oldest_asked(source, its, unproved_windows.read(connection, its.name))
        for source, its in continued
        if its is not None
    }
    # The upstream returns these records again. A deleted one would be stored as new, and alert again.
    of_sources = [Needed(since, source=name) for name, since in asked.items()]
    proved = [known[name].proved_through for name in asked]
    newest = records.newest_time(connection, records.newest_id(connection))
    moment = min([*asked.values(), *proved, *([newest] if newest else [])], default=ALWAYS)
    # When a source is read for the first time, rules that wait for all may be fed again with the records since it begins.
    if moment != ALWAYS:
        moment = min([moment, *(begin_of(source.start, moment) for source, its in continued if its is None)])
    by_id = {rule.name.id: rule for rule in rules}
    of_rules = [
        Needed(moment - span if moment > ALWAYS + span else ALWAYS, kinds=prefilter_of([by_id[rule_id]], rules).kinds)
        for rule_id, span in memories(rules).items()
    ]
    realert = max((rule.correlation.realert for rule in rules if rule.correlation), default=timedelta(0))
    found_since = min((each.since for each in of_rules), default=_NEVER)
    if ALWAYS + realert < found_since < _NEVER:
        found_since -= realert  # the first of several alerts that are reported as one may have fired that much earlier
    return Lookback((*of_sources, *of_rules), found_since, tuple(each.name for each in settings.streams))


def _marks_of(source: Source, known: Mapping[str, Marks], configured: Collection[str]) -> Marks | None:
    """Return the marks of a source, or those with which its first poll will continue, because it was renamed."""
    if source.name in known:
        return known[source.name]
    return find_left((its for its in known.values() if its.organisation == source.organisation_id), configured)


def oldest_asked(source: Source, known: Marks, unproved: Iterable[UnprovedWindow]) -> datetime:
    """Return the time before which no poll and no sweep of a source queries the upstream."""
    unit = COARSEST_UNIT if known.bounds_unit is None else known.bounds_unit
    begin = known.mark - source.overlap - unit - reaches_back(source.sweeps, unit)
    asked = (one for one in unproved if one.reach == SECOND_LOOK or not one.failure_count or one.ends_at > begin)
    return min([begin, *(one.starts_at - unit for one in asked)])


def forgotten_before(connection: Connection, kept: Retention, now: datetime) -> datetime:
    """Return the time from before which retention may have deleted records and alerts."""
    return _clamped(connection, now) - kept.records


def _clamped(connection: Connection, now: datetime) -> datetime:
    """Return our time, but no later than any source was seen, by the upstream's clock."""
    seen = [found.seen_through for found in marks.read_all(connection).values()]
    return min(now, max(seen, default=now))


def run_once(database: Transactions, kept: Retention, now: datetime, back: Lookback = Lookback()) -> dict[str, int]:
    """Delete what is older than its retention and no longer needed. Return the number of deleted rows of each kind.

    The records of an alert stay as long as the alert. What `look_back` returned stays longer.
    Ages count from the newest time through which a source was seen, so a clock that is years ahead deletes nothing.
    """
    with database.read() as connection:
        now = _clamped(connection, now)
    forgotten, finished = now - kept.records, now - kept.deliveries
    # A record gets the name that its account had at its time when it is stored.
    unnamed = min([forgotten, *(each.since for each in back.needed)])
    # What rules did, and unproved windows stay visible as long as any record or receipt of their time.
    unknown = min(forgotten, now - kept.receipts)

    passed_id = 0

    def old_records(connection: Connection) -> int:
        nonlocal passed_id
        # Every rule must see a record before it is deleted, and every stream must send it.
        matched = min(positions.read_both(connection))
        handled = streams.least_record_position(connection, back.streams, matched)
        deleted = records.delete_older(connection, forgotten, handled, BATCH, back.needed, passed_id)
        passed_id = max(deleted, default=passed_id)
        return len(deleted)

    deleted = {
        "correlated": _in_batches(
            database, lambda c: correlations.delete_older(c, min(forgotten, back.found_since), BATCH)
        ),
        "deliveries": _in_batches(database, lambda c: retention.delete_deliveries(c, finished, forgotten, now, BATCH)),
        "alerts": _in_batches(database, lambda c: alerts.delete_settled(c, forgotten, now, BATCH)),
        "records": _in_batches(database, old_records),
        "receipts": _in_batches(database, lambda c: receipts.delete_older(c, now - kept.receipts, BATCH)),
        "rule_history": _in_batches(database, lambda c: rule_history.delete_older(c, unknown, BATCH)),
    }
    _delete_hits(database, min(forgotten, back.found_since))
    _in_batches(database, lambda c: accounts.delete_older(c, unnamed, BATCH))
    _in_batches(database, lambda c: unproved_windows.delete_older(c, unknown))
    _in_batches(database, lambda c: retention.delete_bodies(c, finished, BATCH))
    last: tuple[str, int] | None = ("", 0)
    while last is not None:
        with database.write() as connection:
            last = record_aliases.delete_unused(connection, last, BATCH)
    with database.write() as connection:
        record_blocks.delete_unused_values(connection)
        sessions.delete_ended(connection, now)
        tokens.delete_ended(connection, forgotten)  # until then, people see who had access
    if any(deleted.values()):
        log.info("store_pruned", **deleted)
    return deleted


def _delete_hits(database: Transactions, before: datetime) -> None:
    """Delete the hits of records that are deleted."""
    after: hits.HitKey | None = None
    while True:
        with database.read() as connection:
            found, after = hits.find_without_record(connection, before, after, BATCH)
        if found:
            with database.write() as connection:
                hits.delete_all(connection, found)
        if after is None:
            return


def _in_batches(database: Transactions, delete: Callable[[Connection], int]) -> int:
    total = 0
    while True:
        with database.write() as connection:
            deleted = delete(connection)
        total += deleted
        if deleted < BATCH:
            return total
