"""Run rules over records on a virtual clock: the engine and the grouping of the service, without its store.

`simulate` is for tests in rule files: records may come late. `replay` is for backtests, over any number of records in event
order: it holds the alerts, and of the records only what the rules still need.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

from actionwatch.alerts.grouping import alert_to_join, grouping_key, join, open_alert
from actionwatch.base.model import Alert, Match, Record
from actionwatch.rules.engine import Engine
from actionwatch.rules.fired import Fired, Outcome, ends
from actionwatch.rules.model import Rule
from actionwatch.rules.simulate import Simulation

BATCH = 1000  # records that are matched at once


def simulate(
    rules: Sequence[Rule],
    records: Sequence[Record],
    *,
    begin: datetime | None,
    start: datetime,
    until: datetime,
    verified_until: datetime,
) -> Outcome:
    """Run the rules; see `rules.fired.Simulate`."""
    seen = sorted((record for record in records if record.seen_at <= until), key=_seen_order)
    run = _Run(rules, Simulation(rules, begin=begin, start=start))
    for batch in _batches(seen):
        run.take(batch, verified_until)
    return run.outcome(verified_until)


def replay(rules: Sequence[Rule], records: Iterable[Record], *, begin: datetime, end: datetime) -> Outcome:
    """Run the rules over records in event order, each seen as it happened; all of the time from begin to end is known whole."""
    run = _Run(rules, Simulation(rules, begin=begin, start=begin, is_replay=True), is_replay=True)
    for batch in _batches(records):
        run.take(batch, end)
    return run.outcome(end)


@dataclass(slots=True)
class _Group:
    """The alerts of one grouping key, by the time of their first record."""

    times: list[datetime] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)

    def near(self, match: Match) -> list[str]:
        """Give those that a match may join."""
        at = match.record.occurred_at
        first = bisect.bisect_left(self.times, at - match.realert)
        return self.ids[first : bisect.bisect_right(self.times, at + match.realert)]

    def add(self, alert: Alert) -> None:
        """Take another one."""
        place = bisect.bisect_right(self.times, alert.first_at)
        self.times.insert(place, alert.first_at)
        self.ids.insert(place, alert.id)


class _Run:
    """The alerts so far, and the records in each: in a replay the first and the last."""

    def __init__(self, rules: Sequence[Rule], correlations: Simulation, *, is_replay: bool = False) -> None:
        self._engine = Engine(rules)
        self._correlations = correlations
        self._is_replay = is_replay
        self._alerts: dict[str, Alert] = {}
        self._records: dict[str, list[Record]] = {}
        self._groups: dict[str, _Group] = {}

    def take(self, batch: Sequence[Record], verified_until: datetime) -> None:
        """Take records in the order in which they were seen, all of an instant in one batch."""
        for match in self._engine.evaluate(batch):
            self._place(match)
        if not self._correlations.is_idle:
            for at, together in groupby(batch, key=_seen_at):
                self._correlations.take(at, list(together), verified_until)

    def outcome(self, verified_until: datetime) -> Outcome:
        """Give what came of it."""
        self._correlations.judge(verified_until)
        correlated = self._correlations.outcome()
        alerts = sorted((*map(self._fired, self._alerts.values()), *correlated.alerts), key=_first_order)
        return Outcome(tuple(alerts), (*self._engine.take_failures(), *correlated.failures))

    def _place(self, match: Match) -> None:
        """Join a match to an alert, or open one."""
        group = self._groups.setdefault(grouping_key(match), _Group()) if match.group is not None else None
        near = [self._alerts[each] for each in group.near(match)] if group is not None else []
        alert = alert_to_join(match, near)
        if alert is None:
            alert = open_alert(match, match.record.seen_at)
            if alert.id in self._alerts:
                return
            if group is not None:
                group.add(alert)
        else:
            alert = join(alert, match)
        self._alerts[alert.id] = alert
        held = self._records.setdefault(alert.id, [])
        held.append(match.record)
        if self._is_replay:
            held[:] = ends(sorted(held, key=_event_order))

    def _fired(self, alert: Alert) -> Fired:
        records = sorted(self._records[alert.id], key=_event_order)
        return Fired(
            id=alert.id,
            rule=alert.rule,
            level=alert.level,
            title=alert.title,
            body=alert.body,
            first_at=min(alert.first_at, records[0].occurred_at),
            last_at=alert.last_at,
            count=alert.count,
            records=tuple(records),
            group=dict(alert.group or {}),
            labels=alert.labels,
            late_by=alert.late_by,
            resolved_at=alert.resolved_at,
        )


def _batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Cut into batches of a size, none of which ends within an instant."""
    batch: list[Record] = []
    for record in records:
        if len(batch) >= BATCH and record.seen_at != batch[-1].seen_at:
            yield batch
            batch = []
        batch.append(record)
    if batch:
        yield batch


def _seen_at(record: Record) -> datetime:
    return record.seen_at


def _seen_order(record: Record) -> tuple[datetime, datetime, str]:
    return record.seen_at, record.occurred_at, record.key


def _event_order(record: Record) -> tuple[datetime, str]:
    return record.occurred_at, record.key


def _first_order(fired: Fired) -> tuple[datetime, str]:
    return fired.first_at, fired.id
