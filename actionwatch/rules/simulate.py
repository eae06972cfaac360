"""Run correlations over records on a virtual clock, through the code of the service: for `rules test` and `backtest`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import groupby

from actionwatch.model import Record
from actionwatch.rules.correlate import Correlator
from actionwatch.rules.correlations.changes import Change, Past, What
from actionwatch.rules.correlations.spec import Correlation, Found, Kind
from actionwatch.rules.correlations.telling import highest_level, tell
from actionwatch.rules.engine import Failure, Rule
from actionwatch.rules.fired import Fired, Outcome

JUST_BEFORE = timedelta(microseconds=1)


@dataclass(slots=True)
class _Run:
    """The alerts so far, by id."""

    fired: dict[str, Fired] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)

    def apply(self, change: Change) -> None:
        """Write one change down."""
        name, rule = change.told.public_id, change.rule
        if change.what is What.OPEN and change.found is not None:
            self.fired[name] = self._opened(change, change.found)
        elif change.what is What.JOIN and name in self.fired:
            fired = self.fired[name]
            known = {(record.source, record.key) for record in fired.records}
            new = [record for record in change.records if (record.source, record.key) not in known]
            if new:
                self.fired[name] = _joined(rule, fired, new)
        elif change.what is What.RESOLVE and name in self.fired:
            self.fired[name] = replace(self.fired[name], resolved_at=change.at)

    def _opened(self, change: Change, found: Found) -> Fired:
        rule = change.rule

        def on_failure(key: str, what: str) -> None:
            self.failures.append(Failure(rule.name, key, what))

        told = tell(rule, change.group, found, change.records, on_failure)
        return Fired(
            id=change.told.public_id,
            rule=rule.name,
            level=told.match.level,
            title=told.match.title,
            body=told.match.body,
            first_at=told.first_at,
            last_at=told.last_at,
            count=told.count,
            records=change.records,
            group=dict(told.match.group or {}),
            labels=told.match.labels,
            late_by=told.late_by,
        )


def simulate_correlations(
    rules: Sequence[Rule],
    records: Sequence[Record],
    *,
    begin: datetime | None,
    start: datetime,
    until: datetime,
    verified_until: datetime,
) -> Outcome:
    """Run the correlations among the rules; the arguments are those of `rules.fired.Simulate`.

    Records come in the order of `seen_at`; what is verified follows the clock, up to `verified_until`.
    """
    run = _Run()
    correlator = Correlator(rules, Past(begin=lambda rule: begin or _begin(rule, start)))
    if not correlator.rules:
        return Outcome(())
    seen = sorted((record for record in records if record.seen_at <= until), key=_seen_order)
    for at, batch in groupby(seen, key=lambda record: record.seen_at):
        _judge(correlator, run, min(at - JUST_BEFORE, verified_until))
        correlator.take(batch)
        _judge(correlator, run, min(at, verified_until))
    _judge(correlator, run, verified_until)
    alerts = sorted(run.fired.values(), key=lambda fired: (fired.first_at, fired.id))
    return Outcome(tuple(alerts), (*run.failures, *correlator.take_failures()))


def _judge(correlator: Correlator, run: _Run, verified: datetime) -> None:
    if correlator.is_due(verified):
        for change in correlator.changes(verified):
            run.apply(change)


def _begin(rule: Correlation, start: datetime) -> datetime:
    """Say from when on the stream must be known for a rule not to start cold."""
    if rule.kind is Kind.SPIKE:
        return start - rule.timespan * (rule.windows + 1)
    return start - rule.history


def _joined(rule: Correlation, fired: Fired, new: Sequence[Record]) -> Fired:
    records = tuple(sorted((*fired.records, *new), key=lambda record: (record.occurred_at, record.key)))
    late = [record.late_by for record in records if record.late_by is not None]
    return replace(
        fired,
        records=records,
        count=len(records),
        level=max(fired.level, highest_level(rule, new)),
        first_at=min(fired.first_at, records[0].occurred_at),
        last_at=records[-1].occurred_at,
        late_by=max(late, default=None),
    )


def _seen_order(record: Record) -> tuple[datetime, datetime, str]:
    return record.seen_at, record.occurred_at, record.key
