"""The alert ledger: which alerts the matches and correlation changes of one batch open, join and resolve.

Pure: the caller passes in the history and the time, and writes what comes out. The service does so over its store
(`matching/ledger_store.py`), tests of rules and backtests over a dict (`service/simulation.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from msgspec.structs import replace

from actionwatch.alerts.grouping import (
    alert_to_join,
    grouping_key,
    join,
    join_missing,
    join_records,
    open_alert,
    open_correlated,
    resolve,
    stable_id,
)
from actionwatch.base.model import Alert, AlertChange, ChangeKind, Match, Record, Status
from actionwatch.text.payloads import instant

RESOLVED_BY = "actionwatch"  # who resolves an alert when a correlation does


class History(Protocol):
    """What the ledger reads of the alerts of earlier batches."""

    def unresolved(self, group_key: str, at: datetime) -> Iterable[Alert]:
        """Return the unresolved alerts of a grouping key, at least those that a match at a time may join."""
        ...

    def alert(self, alert_id: str) -> Alert | None:
        """Return an alert by its id."""
        ...


@dataclass(slots=True)
class LedgerEntry:
    """What a batch makes of one alert.

    `group_key` is set where the alert is new. `steps` are its states, the newest last, each with the record to route it by;
    `records` are those that it did not hold before.
    """

    group_key: str | None
    steps: list[tuple[Alert, Record | None]]
    records: list[Record]
    is_resolved: bool = False
    """Whether this batch resolves it."""

    @property
    def alert(self) -> Alert:
        """The alert as the batch leaves it."""
        return self.steps[-1][0]


class Ledger:
    """The alerts of one batch. `entries` holds those it touches, in the order in which it touches them first."""

    def __init__(self, history: History, now: datetime, source: str = "") -> None:
        """Begin a batch at a time; `source` is what alerts without any record come from."""
        self._history = history
        self._now = now
        self._source = source
        self.entries: dict[str, LedgerEntry] = {}
        self._groups: dict[str, set[str]] = {}
        self._successors: dict[str, str] = {}

    def add_all(self, matches: Iterable[Match], changes: Iterable[AlertChange]) -> None:
        """Add matches, apply changes, and note in the alerts of correlations which alert reports each."""
        for match in matches:
            self.add(match)
        for change in changes:
            change.known.report_as(self.apply(change))

    def add(self, match: Match) -> None:
        """Join a match to an unresolved alert of its group, or open one."""
        key = grouping_key(match)
        alert = alert_to_join(match, self._unresolved(key, match)) if match.group is not None else None
        if alert is None:
            alert = open_alert(match, self._now, key)
            self._open(alert, key, match.record, [match.record])
        else:
            self._note(join(alert, match), match.record, [match.record])
        self._groups.setdefault(key, set()).add(alert.id)

    def apply(self, change: AlertChange) -> str:
        """Apply a change of a correlation. Return the id of the alert that reports it from now on."""
        alert_id = self._successors.get(change.known.alert_id, change.known.alert_id)
        alert = self._alert(alert_id) if change.kind is not None else None
        if change.kind is ChangeKind.RESOLVE:
            if alert is not None and alert.status is not Status.RESOLVED:
                self._resolve(alert, change.at)
        elif alert is None:
            if change.kind is ChangeKind.OPEN:
                self._open_correlated(change, alert_id)
        elif not change.is_absence:
            if change.records:
                self._note(join_records(alert, change.records, change.level), change.records[-1], change.records)
        elif alert.status is Status.RESOLVED:
            alert_id = self._open_again(change, alert_id)
        elif change.match is not None:
            self._note(join_missing(alert, change.match, change.at), change.match.record, ())
        return alert_id

    def _open_again(self, change: AlertChange, resolved_id: str) -> str:
        """Report what is missing in another alert: the one that reported it is resolved."""
        alert_id = change.known.id
        if self._alert(alert_id) is not None:
            alert_id = stable_id("alert", change.known.id, instant(self._now))
        self._successors[resolved_id] = (
            alert_id  # what joins the resolved one in this batch joins the other one instead
        )
        self._open_correlated(change, alert_id)
        return alert_id

    def _open_correlated(self, change: AlertChange, alert_id: str) -> None:
        if (match := change.match) is not None:
            alert = open_correlated(match, alert_id, change.at, change.records, self._now)
            alert = alert if alert.source else replace(alert, source=self._source)
            self._open(alert, grouping_key(match), match.record, change.records)

    def _open(self, alert: Alert, key: str, record: Record, records: Sequence[Record]) -> None:
        self.entries[alert.id] = LedgerEntry(key, [(alert, record)], list(records))

    def _resolve(self, alert: Alert, at: datetime) -> None:
        entry = self.entries.get(alert.id)
        record = entry.steps[-1][1] if entry is not None else None
        self._note(resolve(alert, RESOLVED_BY, at), record, ())
        self.entries[alert.id].is_resolved = True

    def _note(self, alert: Alert, record: Record | None, records: Sequence[Record]) -> None:
        """Note the next state of an alert."""
        entry = self.entries.setdefault(alert.id, LedgerEntry(None, [], []))
        entry.steps.append((alert, record))
        entry.records.extend(records)

    def _alert(self, alert_id: str) -> Alert | None:
        entry = self.entries.get(alert_id)
        return entry.alert if entry is not None else self._history.alert(alert_id)

    def _unresolved(self, key: str, match: Match) -> Iterable[Alert]:
        """Return the alerts that a match may join, those of this batch as the batch made them."""
        touched = self._groups.get(key, ())
        yield from (self.entries[alert_id].alert for alert_id in touched)
        for alert in self._history.unresolved(key, match.record.occurred_at):
            if alert.id not in touched:
                yield alert
