"""Run rules over records on a virtual clock: the engine, correlations and alert ledger of the service, without its store.

`simulate` is for tests in rule files, where records may arrive late. `replay` is for backtests of any number of records in
event order. It keeps the alerts in memory, and only those records that the rules still need.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import groupby
from operator import attrgetter

from actionwatch.alerts.ledger import Ledger, LedgerEntry
from actionwatch.base.model import Alert, Mode, Record
from actionwatch.rules.case_runner import SimulationResult
from actionwatch.rules.correlations.context import Beginning, StreamBounds
from actionwatch.rules.correlations.correlator import Correlator
from actionwatch.rules.correlations.fold_cache import FoldCache
from actionwatch.rules.correlations.memory_rows import MemoryRows
from actionwatch.rules.correlations.sources import Verified, VerifiedTime, VerifiedUntil
from actionwatch.rules.engine import Engine
from actionwatch.rules.model import Correlation, CorrelationType, Rule

_BATCH = 1000  # records that are matched at once
_JUST_BEFORE = timedelta(microseconds=1)
_SOURCES = ("test",)  # of alerts without a record
_SEEN_ORDER = attrgetter("seen_at", "occurred_at", "key")
_EVENT_ORDER = attrgetter("occurred_at", "key")


def simulate(
    rules: Sequence[Rule],
    records: Sequence[Record],
    *,
    begin: datetime | None,
    start: datetime,
    until: datetime,
    verified_until: datetime,
) -> SimulationResult:
    """Run the rules; see `rules.case_runner.Simulate`."""
    seen = sorted((record for record in records if record.seen_at <= until), key=_SEEN_ORDER)
    bounds = StreamBounds(begin=lambda rule, _: begin or _begin(rule, start))
    return _Run(rules, bounds, VerifiedTime(verified_until), MemoryHistory()).over(seen)


def replay(
    rules: Sequence[Rule], records: Iterable[Record], *, begin: Beginning, verified: Verified
) -> SimulationResult:
    """Run the rules over records in event order, each seen when it happened.

    Each group is known since its `begin`, and judged up to its verified time.
    """
    bounds, history = StreamBounds(begin=begin), MemoryHistory(keeps_ends_only=True)
    return _Run(rules, bounds, verified, history, is_in_order=True).over(records)


def to_replay(chosen: Sequence[Rule], rules: Sequence[Rule]) -> list[Rule]:
    """Return the chosen rules, live, with those of `rules` on which their correlations feed.

    By themselves, the latter are silent, or were not asked for.
    """
    known = {rule.name.id: rule for rule in rules}
    wanted = {rule.name.id: rule for rule in chosen}
    for step in (step for rule in chosen if rule.correlation is not None for step in rule.correlation.steps):
        if step.rule_id in known and step.rule_id not in wanted:
            wanted[step.rule_id] = replace(known[step.rule_id], is_silent=True)
    return [replace(rule, mode=Mode.LIVE) for rule in wanted.values()]


@dataclass(slots=True)
class _Group:
    """The alerts of one grouping key, by the time of their first record, and the longest `realert` among them."""

    times: list[datetime] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    realert: timedelta = timedelta(0)

    def near(self, at: datetime) -> list[str]:
        """Return the alerts that a match at a time may join."""
        first = bisect.bisect_left(self.times, at - self.realert)
        return self.ids[first : bisect.bisect_right(self.times, at + self.realert)]

    def add(self, alert: Alert) -> None:
        """Add an alert."""
        place = bisect.bisect_right(self.times, alert.first_at)
        self.times.insert(place, alert.first_at)
        self.ids.insert(place, alert.id)
        self.realert = max(self.realert, alert.realert)


class MemoryHistory:
    """The alerts so far, with the records of each in event order: all of them, or only the first and the last."""

    def __init__(self, *, keeps_ends_only: bool = False) -> None:
        self.alerts: dict[str, Alert] = {}
        self.records: dict[str, tuple[Record, ...]] = {}
        self._keeps_ends_only = keeps_ends_only
        self._groups: dict[str, _Group] = {}

    def unresolved(self, group_key: str, at: datetime) -> Iterable[Alert]:
        """Return the alerts of a group that a match at a time may join; matches of plain rules never resolve."""
        group = self._groups.get(group_key)
        return [self.alerts[alert_id] for alert_id in group.near(at)] if group is not None else ()

    def alert(self, alert_id: str) -> Alert | None:
        """Return an alert by its id."""
        return self.alerts.get(alert_id)

    def save(self, entries: Iterable[LedgerEntry]) -> None:
        """Save the alerts that a batch opened or changed."""
        for entry in entries:
            alert = self.alerts[entry.alert.id] = entry.alert
            if entry.group_key is not None and alert.group is not None:
                self._groups.setdefault(entry.group_key, _Group()).add(alert)
            records = sorted((*self.records.get(alert.id, ()), *entry.records), key=_EVENT_ORDER)
            self.records[alert.id] = ends(records) if self._keeps_ends_only else tuple(records)


class _Run:
    """Runs rules over a stream of records. If it is in event order, whole batches are correlated at once."""

    def __init__(
        self,
        rules: Sequence[Rule],
        bounds: StreamBounds,
        verified: Verified,
        history: MemoryHistory,
        *,
        is_in_order: bool = False,
    ) -> None:
        """`verified`: up to when groups are judged at the end."""
        self._rules = rules
        self._verified = verified
        self._history = history
        self._is_in_order = is_in_order
        self._cache = FoldCache()
        self._correlator = Correlator(rules, bounds, cache=self._cache)
        self._rows = MemoryRows(self._correlator.rules)
        for number, spans in self._correlator.begin().items():
            self._correlator.take_again(self._rows, number, spans, VerifiedTime(None))

    def over(self, records: Iterable[Record]) -> SimulationResult:
        """Process all records, in the order in which they are seen, and return the alerts."""
        engine = Engine(self._rules)
        for batch in _batches(records):
            ledger = Ledger(self._history, batch[-1].seen_at)
            ledger.add_all(engine.evaluate(batch), ())
            self._history.save(ledger.entries.values())
            if self._correlator.rules:
                self._correlate(batch)
        if self._verified.newest is not None:
            self._conclude((), self._verified.newest)
        alerts = sorted(self._history.alerts.values(), key=lambda alert: (alert.first_at, alert.id))
        failures = (*engine.take_failures(), *self._correlator.take_failures())
        return SimulationResult(tuple(alerts), self._history.records, failures)

    def _correlate(self, batch: Sequence[Record]) -> None:
        """Process records. The verified time follows the clock, up to the one at the end."""
        if self._is_in_order:
            now = batch[-1].occurred_at
            self._conclude(batch, now)
            if self._rows.forget_before(now):
                self._cache.clear()  # its folds know alerts that are forgotten now
            return
        for at, together in groupby(batch, key=lambda record: record.seen_at):
            self._conclude((), at - _JUST_BEFORE)
            # As in the service, records count before the time that they verify.
            self._conclude(list(together), at - _JUST_BEFORE)
            self._conclude((), at)

    def _conclude(self, records: Sequence[Record], now: datetime) -> None:
        """Add records, and open and resolve the alerts of the time that is verified by now."""
        verified = VerifiedUntil(self._verified, now)
        changes = self._correlator.take_hits(self._rows, self._correlator.hits(records), verified)
        if changes:
            ledger = Ledger(self._history, now, lambda _: _SOURCES)
            ledger.add_all((), changes)
            for change in changes:
                change.known.report_as(ledger.reported_as[change.known.id])
            self._rows.records.hold(changes)
            self._history.save(ledger.entries.values())


def ends(records: Sequence[Record]) -> tuple[Record, ...]:
    """Return the first and the last of some records."""
    return tuple(records) if len(records) < 2 else (records[0], records[-1])


def _begin(rule: Correlation, start: datetime) -> datetime:
    """Return since when a rule must know the stream to start with its full state."""
    if rule.type is CorrelationType.SPIKE:
        return start - rule.timespan * (rule.windows + 1)
    return start - rule.history


def _batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Cut into batches. None ends between records of the same instant."""
    batch: list[Record] = []
    for record in records:
        if len(batch) >= _BATCH and record.seen_at != batch[-1].seen_at:
            yield batch
            batch = []
        batch.append(record)
    if batch:
        yield batch
