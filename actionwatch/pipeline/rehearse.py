"""Run rules over records on a virtual clock: the engine and the grouping of the service, without its store.

Used by tests in rule files and by backtests. Records come in the order in which they were seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

from actionwatch.alerts.grouping import alert_to_join, grouping_key, join, open_alert
from actionwatch.model import Alert, Match, Record
from actionwatch.rules.engine import Engine, Rule
from actionwatch.rules.fired import Fired, Outcome
from actionwatch.rules.simulate import simulate_correlations


@dataclass(slots=True)
class _Run:
    """The alerts so far, and the records in each."""

    alerts: dict[str, Alert] = field(default_factory=dict)
    records: dict[str, list[Record]] = field(default_factory=dict)
    groups: dict[str, list[str]] = field(default_factory=dict)

    def place(self, match: Match) -> None:
        """Join a match to an alert, or open one."""
        key = grouping_key(match)
        known = self.groups.setdefault(key, [])
        alert = alert_to_join(match, [self.alerts[each] for each in known])
        if alert is None:
            alert = open_alert(match, match.record.seen_at)
            if alert.id in self.alerts:
                return
            known.append(alert.id)
        else:
            alert = join(alert, match)
        self.alerts[alert.id] = alert
        self.records.setdefault(alert.id, []).append(match.record)


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
    engine, run = Engine(rules), _Run()
    seen = sorted((record for record in records if record.seen_at <= until), key=_seen_order)
    for _, batch in groupby(seen, key=lambda record: record.seen_at):
        for match in engine.evaluate(batch):
            run.place(match)
    correlated = simulate_correlations(
        rules, records, begin=begin, start=start, until=until, verified_until=verified_until
    )
    alerts = sorted((*_fired(run), *correlated.alerts), key=lambda fired: (fired.first_at, fired.id))
    return Outcome(tuple(alerts), (*engine.take_failures(), *correlated.failures))


def _fired(run: _Run) -> Iterable[Fired]:
    for alert in sorted(run.alerts.values(), key=lambda alert: (alert.first_at, alert.id)):
        records = sorted(run.records[alert.id], key=lambda record: (record.occurred_at, record.key))
        yield Fired(
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


def _seen_order(record: Record) -> tuple[datetime, datetime, str]:
    return record.seen_at, record.occurred_at, record.key
