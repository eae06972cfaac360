"""Build the state of correlations from what is stored: for a start, a reload, and after a failure.

Rules are given the records since a time at which all was read, proved and judged, less how far they look back: then they are
right about what comes late after it. Pauses let plain rules continue meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import islice

from sqlalchemy import Connection

from actionwatch.base.model import Record
from actionwatch.matching.known_alerts import read_known
from actionwatch.matching.source_progress import SourceProgress
from actionwatch.rules.correlations.live.context import StreamBounds
from actionwatch.rules.correlations.live.correlator import Correlator
from actionwatch.rules.correlations.live.order import lookbacks, running
from actionwatch.rules.model import Correlation, Rule
from actionwatch.store import correlations, positions, records
from actionwatch.store.correlations import CorrelationVersion
from actionwatch.store.database import Database

PAUSE_EVERY = 2000  # records of a rebuild: a tenth of a second, in which a look at the store costs little


@dataclass(frozen=True, slots=True)
class BuiltState:
    """The state of all correlations, with all records up to a position in it."""

    correlator: Correlator
    position: int
    read_count: int
    """How many records were read for it."""

    def describe(self) -> dict[str, int]:
        """Return its size and what it took, for the log."""
        correlator = self.correlator
        return {
            "groups": correlator.count_groups(),
            "hits": correlator.count_hits(),
            "records_read": self.read_count,
        }


class StateBuilder:
    """What building a state needs: the rules, how far the sources were read, and the store.

    It calls `on_pause` every `PAUSE_EVERY` records, and lets its exceptions through.
    """

    def __init__(
        self,
        database: Database,
        rules: Sequence[Rule],
        progress: SourceProgress,
        keep: timedelta,
        on_pause: Callable[[], None],
    ) -> None:
        self.database = database
        self.running = running(rules)
        self._rules = rules
        self._progress = progress
        self._keep = keep
        self._on_pause = on_pause

    def rebuild(self, position: int, through: int, moment: datetime | None) -> BuiltState:
        """Build the state of all rules from the records up to a position. `position` is how far correlations are committed."""
        bounds = self.bounds(self.floors(position), self.running, moment, position)
        correlator = self.correlator(bounds)
        return BuiltState(correlator, through, self.restore(correlator, bounds, self.running, through))

    def moment(self, connection: Connection, through: int, *others: datetime | None) -> datetime | None:
        """Return the time up to which all is read, proved and judged, or an earlier one of `others`; None without any."""
        judged = positions.read_judged(connection)
        times = records.newest_time(connection, through), self._progress.verified, judged, *others
        return min((at for at in times if at is not None), default=None)

    def floors(self, position: int) -> dict[str, int]:
        """Return by rule id after which record a rule may alert, storing new versions: these begin at `position`."""
        with self.database.read() as connection:
            known = correlations.read_versions(connection)
        new = {
            rule.name.id: CorrelationVersion(rule.version, position)
            for rule in (each.correlation for each in self._rules)
            if rule is not None and (rule.name.id not in known or known[rule.name.id].version != rule.version)
        }
        if new:
            with self.database.write() as connection:
                for rule_id, version in new.items():
                    correlations.write_version(connection, rule_id, version)
        return {rule_id: version.floor for rule_id, version in (known | new).items()}

    def bounds(
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
        whole = _with_those_below(self.running, new)
        starts = self.starts([rule for rule in rebuilt if rule.name.id not in whole], moment)
        return StreamBounds(
            begin=lambda _: progress.begin,
            since=lambda rule: starts.get(rule.name.id),
            floors=lambda rule: floors[rule.name.id],
            alerts_from=progress.alerts_from,
            settled_before=moment - self._keep if moment is not None and progress.verified is not None else None,
        )

    def starts(self, rules: Sequence[Correlation], moment: datetime | None) -> dict[str, datetime]:
        """Return by rule id from when on rules need the records, to be right about what comes late after a moment.

        Rules that need all records are left out.
        """
        if moment is None:
            return {}
        begin, spans = self._progress.begin, lookbacks(self.running)
        found = {rule.name.id: moment - self._keep - spans[rule.name.id] for rule in rules}
        return {name: start for name, start in found.items() if begin is None or start > begin}

    def correlator(self, bounds: StreamBounds) -> Correlator:
        """Return a correlator that knows nothing yet."""
        return Correlator(self._rules, bounds, keep=self._keep, read=partial(_read, self.database))

    def restore(self, correlator: Correlator, bounds: StreamBounds, rules: Sequence[Correlation], through: int) -> int:
        """Rebuild rules from the records up to a position. Return how many were read."""
        if not rules:
            return 0
        starts = {rule.name.id: start for rule in rules if (start := bounds.since(rule)) is not None}
        since = min(starts.values()) if len(starts) == len(rules) else None
        with self.database.read() as connection:
            known = read_known(connection, rules, starts)
            stored = records.stream_since(connection, since, through) if through else iter(())
            reading = _PacedRecords(stored, self._on_pause)
            correlator.restore(known, reading)
        return reading.count

    def take_between(self, correlator: Correlator, after: int, through: int) -> int:
        """Let a correlator take the records after a position and up to another one. Return how many were read."""
        read_count = 0
        for batch in _between(self.database, after, through):
            correlator.take(batch)
            read_count += len(batch)
            if len(batch) == PAUSE_EVERY:
                self._on_pause()
        return read_count


def _with_those_below(rules: Sequence[Correlation], ids: Collection[str]) -> set[str]:
    """Return the ids of rules, and of all that feed them; `rules` are in feeding order."""
    found = set(ids)
    for rule in reversed(rules):
        if rule.name.id in found:
            found.update(step.rule_id for step in rule.steps)
    return found


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
