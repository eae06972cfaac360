"""What one match or correlation makes of one alert: which alert it joins, and the alert that opens, is joined, or resolves.

Ids are functions of rule, group and first record, so that the same records give the same alerts after a restart, in another
batching, and on another machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from msgspec.structs import replace

from actionwatch.base.ids import group_id, stable_id
from actionwatch.base.model import Alert, Level, Match, Record, Status

__all__ = [
    "alert_to_join",
    "grouping_key",
    "join",
    "join_missing",
    "join_records",
    "open_alert",
    "open_correlated",
    "resolve",
    "stable_id",
]

MAX_MISSING_LINES = 20  # of a body that lists missing groups: nobody reads a longer list
_MORE = "… and more."


def grouping_key(match: Match) -> str:
    """Return the key of the group that a match belongs to: rule and values of its `group_by`; without one, the record."""
    if match.group is None:
        return stable_id("record", match.rule.id, match.record.key)
    return group_id(match.rule.id, match.group)


def open_alert(match: Match, now: datetime, key: str | None = None) -> Alert:
    """Return the alert that a match opens; `key` is its grouping key, where the caller knows it already."""
    record = match.record
    return Alert(
        id=stable_id("alert", key or grouping_key(match), record.key),
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
    )


def open_correlated(match: Match, alert_id: str, first_at: datetime, records: Sequence[Record], now: datetime) -> Alert:
    """Return the alert that a correlation opens with these records, which come in event order; there may be none."""
    times = [record.occurred_at for record in records] or [first_at]
    return replace(
        open_alert(match, now),
        id=alert_id,
        count=len(records),
        first_at=min(first_at, times[0]),  # an alert that feeds another rule counts when it fires, after its records
        last_at=times[-1],
        happened_at=times[-1],
        late_by=max((record.late_by for record in records if record.late_by is not None), default=None),
    )


def alert_to_join(match: Match, unresolved: Iterable[Alert]) -> Alert | None:
    """Choose the alert a match joins: the newest whose first record lies within `realert` of it, either side."""
    at = match.record.occurred_at
    near = [alert for alert in unresolved if abs(at - alert.first_at) <= alert.realert]
    return max(near, key=lambda alert: (alert.first_at, alert.id), default=None) if match.group is not None else None


def join(alert: Alert, match: Match) -> Alert:
    """Count one more match into an alert. The window of `realert` begins at the first record and is never extended."""
    return replace(join_records(alert, [match.record], match.level), first_at=alert.first_at)


def join_records(alert: Alert, records: Sequence[Record], level: Level) -> Alert:
    """Count more records into an alert of a correlation; they come in event order, `level` is the highest of theirs."""
    late = [each for each in (alert.late_by, *(record.late_by for record in records)) if each is not None]
    return replace(
        alert,
        count=alert.count + len(records),
        level=max(alert.level, level),
        first_at=min(alert.first_at, records[0].occurred_at),
        last_at=max(alert.last_at, records[-1].occurred_at),
        late_by=max(late, default=None),
    )


def join_missing(alert: Alert, match: Match, at: datetime) -> Alert:
    """Add one more missing group, due at a time, to an alert that reports what is missing."""
    return replace(
        alert,
        body=_with_line(alert.body, match.body),
        level=max(alert.level, match.level),
        last_at=max(alert.last_at, at),
    )


def resolve(alert: Alert, by: str, at: datetime, why: str = "") -> Alert:
    """Resolve an alert; its text ends with the reason, where that is not obvious."""
    body = f"{alert.body}\n\nResolved: {why}".strip() if why else alert.body
    return replace(alert, status=Status.RESOLVED, resolved_by=by, resolved_at=at, body=body)


def _with_line(body: str, line: str) -> str:
    lines = body.splitlines()
    if line in body or lines[-1:] == [_MORE]:
        return body
    return f"{body}\n{line if len(lines) < MAX_MISSING_LINES else _MORE}"
