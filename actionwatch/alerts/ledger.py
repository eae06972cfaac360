"""The alert ledger: how alerts open, change and resolve. No other module opens an alert or changes one.

`Ledger` takes the matches and correlation changes of one batch. The functions below it are also for the alerts that do not come
from a batch: self-alerts, test messages, and what people decide.

Pure: the caller passes in the history and the time, and writes what comes out. The service does so over its store
(`matching/ledger_store.py`), tests of rules and backtests over a dict (`service/simulation.py`).

Ids are functions of rule, group and first record, so that the same records give the same alerts after a restart, in another
batching, and on another machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from msgspec.structs import replace

from actionwatch.alerts.self_alerts import TROUBLES
from actionwatch.base.access import OWN_NAME
from actionwatch.base.ids import group_id, stable_id
from actionwatch.base.model import (
    SELF_RULE_NAME,
    Alert,
    AlertChange,
    ChangeKind,
    CorrelatedAlert,
    Level,
    Match,
    Record,
    RuleName,
    Status,
)
from actionwatch.base.plurals import counted
from actionwatch.base.source_labels import labels_of, labels_of_record
from actionwatch.text.payloads import instant

SELF_RULE = RuleName(SELF_RULE_NAME, SELF_RULE_NAME, "actionwatch is in trouble")
RESOLVED_BY = OWN_NAME  # who resolves an alert that no person resolves
_MOST_NAMED = 5  # sources of an alert without records


class History(Protocol):
    """The alerts of earlier batches, as far as the ledger reads them."""

    def unresolved(self, group_key: str, at: datetime) -> Iterable[Alert]:
        """Return the unresolved alerts of a grouping key, at least those that a match at a time may join."""
        ...

    def alert(self, alert_id: str) -> Alert | None:
        """Return an alert by its id."""
        ...


@dataclass(slots=True)
class LedgerEntry:
    """The result of a batch for one alert.

    `group_key` is set if the alert is new. `steps` are its states, the newest last, each with the record that routes it;
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
    """The alerts of one batch. `entries` holds the alerts that it touches, in the order in which it first touches them.

    `reported_as` has, for each alert of a correlation that a change names, the id of the alert that reports it from now on.
    """

    def __init__(
        self, history: History, now: datetime, sources: Callable[[CorrelatedAlert], Sequence[str]] = lambda _: ()
    ) -> None:
        """Begin a batch at a time; `sources` returns those whose records an alert can have, for one without records."""
        self._history = history
        self._now = now
        self._sources = sources
        self.entries: dict[str, LedgerEntry] = {}
        self.reported_as: dict[str, str] = {}
        self._groups: dict[str, set[str]] = {}

    def add_all(self, matches: Iterable[Match], changes: Iterable[AlertChange]) -> None:
        """Add matches, and apply changes."""
        for match in matches:
            self._add(match)
        for change in changes:
            self.reported_as[change.known.id] = self._apply(change)

    def _add(self, match: Match) -> None:
        """Join a match to the newest alert of its group whose first record lies within `realert` of it, or open one."""
        key, record = grouping_key(match), match.record
        near = [
            alert
            for alert in (self._unresolved(key, record.occurred_at) if match.group is not None else ())
            if abs(record.occurred_at - alert.first_at) <= alert.realert
        ]
        alert = max(near, key=lambda alert: (alert.first_at, alert.id), default=None)
        if alert is None:
            alert = open_alert(match, self._now)
            self._open(alert, key, record, [record], [record.source])
        else:
            # The window of `realert` begins at the first record and is never extended.
            joined = replace(_join_records(alert, [record], match.level), first_at=alert.first_at)
            self._note(joined, record, [record])
        self._groups.setdefault(key, set()).add(alert.id)

    def _apply(self, change: AlertChange) -> str:
        """Apply a change of a correlation. Return the id of the alert that reports it from now on."""
        alert_id = self.reported_as.get(change.known.id, change.known.alert_id)
        alert = self._alert(alert_id) if change.kind is not None else None
        if change.kind is ChangeKind.RESOLVE:
            if alert is not None and alert.status is not Status.RESOLVED:
                self._resolve(alert, change.at)
        elif alert is None:
            if change.kind is ChangeKind.OPEN:
                self._open_correlated(change, alert_id)
        elif not change.is_absence:
            if change.records:
                self._note(_join_records(alert, change.records, change.level), change.records[-1], change.records)
        elif alert.status is Status.RESOLVED:
            alert_id = self._open_again(change)
        return alert_id

    def _open_again(self, change: AlertChange) -> str:
        """Report what is missing in another alert: the one that reported it is resolved."""
        alert_id = change.known.id
        if self._alert(alert_id) is not None:
            alert_id = stable_id("alert", change.known.id, instant(self._now))
        self._open_correlated(change, alert_id)
        return alert_id

    def _open_correlated(self, change: AlertChange, alert_id: str) -> None:
        """Open the alert of a correlation. Its records come in event order; there may be none."""
        match, records = change.match, change.records
        if match is None:
            return
        times = [record.occurred_at for record in records] or [change.at]
        sources = [match.record.source] if match.record.source else self._sources(change.known)
        alert = open_alert(match, self._now)
        alert = replace(
            alert,
            id=alert_id,
            source=_spell_sources(sources),
            count=len(records),
            first_at=times[0],
            last_at=times[-1],
            happened_at=times[-1],
            late_by=max((record.late_by for record in records if record.late_by is not None), default=None),
        )
        self._open(alert, grouping_key(match), match.record, records, sources)

    def _open(self, alert: Alert, key: str, record: Record, records: Sequence[Record], sources: Sequence[str]) -> None:
        # Labels of its sources replace those of the rule: no rule can move an alert of one customer to the routes of another.
        own = labels_of(sources[0]) if sources and record.labels is None else record.labels or {}
        agreed = _agreed(_agreed(own, map(labels_of, sources[1:])), map(labels_of_record, records))
        self.entries[alert.id] = LedgerEntry(
            key, [(replace(alert, labels={**alert.labels, **agreed}), record)], list(records)
        )

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

    def _unresolved(self, key: str, at: datetime) -> Iterable[Alert]:
        """Return the alerts that a match may join, those of this batch as the batch left them."""
        touched = self._groups.get(key, ())
        yield from (self.entries[alert_id].alert for alert_id in touched)
        for alert in self._history.unresolved(key, at):
            if alert.id not in touched:
                yield alert


def grouping_key(match: Match) -> str:
    """Return the key of the group that a match belongs to: rule and values of its `group_by`; without one, the record."""
    if match.group is None:
        return stable_id("record", match.rule.id, match.record.key)
    return group_id(match.rule.id, match.group)


def open_alert(match: Match, now: datetime) -> Alert:
    """Return the alert that a match opens."""
    record = match.record
    return Alert(
        id=stable_id("alert", grouping_key(match), record.key),
        rule=match.rule,
        level=match.level,
        title=match.title,
        body=match.body,
        runbook=match.runbook,
        labels=match.labels,
        fields=match.fields,
        source=record.source,
        group=match.group,
        realert=match.realert,
        first_at=record.occurred_at,
        last_at=record.occurred_at,
        opened_at=now,
        happened_at=record.occurred_at,
        late_by=record.late_by,
        seen_at=record.seen_at,
        escalation=match.escalation,
        user=record.user_name,
        cluster=record.cluster.name or record.cluster.id,
    )


def self_alert_key(trouble: str, subject: str) -> str:
    """Return the grouping key of the self-alerts about a trouble of a subject."""
    return stable_id("group", SELF_RULE.id, trouble, subject)


def open_self_alert(trouble: str, subject: str, what: str, remedy: str, now: datetime) -> Alert:
    """Return the alert of a trouble that began now. Its id is derived from trouble, subject and this instant."""
    kind = TROUBLES[trouble]
    labels = labels_of(subject) if kind.ends_with == "source" else {}
    return Alert(
        id=stable_id("self", trouble, subject, instant(now)),
        rule=SELF_RULE,
        level=kind.level,
        title=kind.title.format(subject),
        body=what,
        runbook=remedy or None,
        labels={**labels, "trouble": trouble},
        source=subject,
        group={"subject": subject},
        first_at=now,
        last_at=now,
        opened_at=now,
        happened_at=now,
    )


def open_test_alert(receiver: str, now: datetime) -> Alert:
    """Return the alert that `receivers test` sends, marked as a test."""
    return Alert(
        id=stable_id("test", receiver, instant(now)),
        rule=SELF_RULE,
        level=Level.INFORMATIONAL,
        title="Test message from actionwatch",
        body=f"Somebody ran `actionwatch receivers test {receiver}`. No action is needed.",
        labels={"test": "true"},
        source="actionwatch",
        first_at=now,
        last_at=now,
        opened_at=now,
        happened_at=now,
    )


def restate(alert: Alert, what: str, now: datetime) -> Alert:
    """Replace what an alert reports by its state of now."""
    return replace(alert, body=what, last_at=max(alert.last_at, now))


def acknowledge(alert: Alert, by: str) -> Alert:
    """Acknowledge an open alert."""
    return replace(alert, status=Status.ACKED, acked_by=by)


def resolve(alert: Alert, by: str, at: datetime, why: str = "") -> Alert:
    """Resolve an alert; its text ends with the reason, if that is not obvious."""
    body = f"{alert.body}\n\nResolved: {why}".strip() if why else alert.body
    return replace(alert, status=Status.RESOLVED, resolved_by=by, resolved_at=at, body=body)


def reopen(alert: Alert, by: str, at: datetime) -> Alert:
    """Open an acknowledged or resolved alert again."""
    undone: dict[str, None] = {"acked_by": None, "resolved_by": None, "resolved_at": None}
    return replace(alert, status=Status.OPEN, reopened_by=by, reopened_at=at, **undone)


def _spell_sources(names: Sequence[str]) -> str:
    """Name a few sources, and count many: nobody reads a thousand names."""
    return ", ".join(names) if len(names) <= _MOST_NAMED else counted(len(names), "source")


def _agreed(labels: Mapping[str, str], others: Iterable[Mapping[str, str]]) -> Mapping[str, str]:
    """Return the labels on which others agree."""
    known = list(others)
    return {name: value for name, value in labels.items() if all(each.get(name) == value for each in known)}


def _labels_with(alert: Alert, records: Sequence[Record]) -> Mapping[str, str]:
    """Return the labels of an alert without those of its source that the sources of further records do not have.

    Otherwise a silence of one customer would hide, and a route to one customer would show, what another one did.
    """
    others = [each for each in records if each.source != alert.source]
    if not others:
        return alert.labels
    own = {name: value for name, value in labels_of(alert.source).items() if alert.labels.get(name) == value}
    lost = own.keys() - _agreed(own, map(labels_of_record, others)).keys()
    return {name: value for name, value in alert.labels.items() if name not in lost}


def _join_records(alert: Alert, records: Sequence[Record], level: Level) -> Alert:
    """Count more records into an alert; they come in event order, `level` is the highest of theirs."""
    late = [each for each in (alert.late_by, *(record.late_by for record in records)) if each is not None]
    return replace(
        alert,
        count=alert.count + len(records),
        level=max(alert.level, level),
        first_at=min(alert.first_at, records[0].occurred_at),
        last_at=max(alert.last_at, records[-1].occurred_at),
        late_by=max(late, default=None),
        labels=_labels_with(alert, records),
    )
