"""The alert ledger over the store: read the history of a batch once, and write what the batch makes of it once.

`matcher.py` calls this in its transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from sqlalchemy import Connection

from actionwatch.alerts.ledger import Ledger, grouping_key
from actionwatch.base.model import Alert, AlertChange, CorrelatedAlert, Match, Status
from actionwatch.matching.addressing import Addressing
from actionwatch.store import alerts


def add(
    connection: Connection,
    matches: Sequence[Match],
    changes: Sequence[AlertChange],
    addressing: Addressing,
    now: datetime,
    sources: Callable[[CorrelatedAlert], Sequence[str]],
) -> tuple[list[Alert], dict[str, str]]:
    """Write what matches and changes of correlations make of alerts, and the deliveries that they need.

    `sources` returns those whose records an alert can have: one about what is missing shows them.

    Returns: the alerts that are new; and for each change, by the id of its alert, the id of the alert that reports it.
    """
    matches = _only_new(connection, matches)
    ledger = Ledger(_StoredHistory(connection, matches, changes), now, sources)
    ledger.add_all(matches, changes)
    return _write(connection, ledger, addressing, now), ledger.reported_as


class _StoredHistory:
    """The alerts that a batch of matches and changes can touch."""

    def __init__(self, connection: Connection, matches: Iterable[Match], changes: Iterable[AlertChange]) -> None:
        times: dict[str, list[datetime]] = {}
        for match in matches:
            if match.group is not None:
                times.setdefault(grouping_key(match), []).append(match.record.occurred_at)
        ids = {alert_id for change in changes if change.kind for alert_id in (change.known.alert_id, change.known.id)}
        spans = [(group_key, min(its), max(its)) for group_key, its in times.items()]
        self._joinable = alerts.read_joinable(connection, spans)
        self._alerts = alerts.read_many(connection, ids) if ids else {}

    def unresolved(self, group_key: str, _at: datetime) -> Iterable[Alert]:
        """Return the unresolved alerts of a grouping key that any match of the batch may join."""
        return self._joinable.get(group_key, ())

    def alert(self, alert_id: str) -> Alert | None:
        """Return an alert by its id."""
        return self._alerts.get(alert_id)


def _only_new(connection: Connection, matches: Sequence[Match]) -> list[Match]:
    """Leave out what the store holds: each record alerts once per rule."""
    held = alerts.read_joined(connection, {match.record.id for match in matches}) if matches else set()
    by_rule = {(rule_id, record_id) for rule_id, _, record_id in held}
    return [match for match in matches if (match.rule.id, match.record.id) not in by_rule]


def _write(connection: Connection, ledger: Ledger, addressing: Addressing, now: datetime) -> list[Alert]:
    entries = ledger.entries.values()
    opened = [entry for entry in entries if entry.group_key is not None]
    alerts.insert_new(connection, [(entry.alert, entry.group_key or "") for entry in opened])
    joined = ((entry.alert.id, each.id, each.occurred_at) for entry in entries for each in entry.records)
    alerts.join(connection, list(joined))
    addressing.open(connection, [entry.steps for entry in opened], now)
    for entry in entries:
        if entry.group_key is None:
            alerts.update(connection, entry.alert)
            if entry.alert.status is not Status.RESOLVED:  # what joins a resolved alert is counted, and sends nothing
                addressing.update(connection, entry.steps, now)
        if entry.is_resolved:
            addressing.resolve(connection, entry.alert, now)
    return [entry.alert for entry in opened]
