"""Join each match to the open alert of its grouping key, or open one. Pure: history is an argument.

Ids are functions of rule, group and first record, so that the same records give the same alerts after a restart, in another
batching, and on another machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec.structs import replace

from actionwatch.base.ids import group_id, stable_id
from actionwatch.base.model import Alert, Match, Status

__all__ = ["alert_to_join", "grouping_key", "join", "open_alert", "resolve", "stable_id"]


def grouping_key(match: Match) -> str:
    """Name the group a match belongs to: rule and the values of its `group_by`; without one, the record itself."""
    if match.group is None:
        return stable_id("record", match.rule.id, match.record.key)
    return group_id(match.rule.id, match.group)


def open_alert(match: Match, now: datetime) -> Alert:
    """Make the alert that a match opens."""
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
    )


def alert_to_join(match: Match, unresolved: Iterable[Alert]) -> Alert | None:
    """Choose the alert a match joins: the newest whose first record lies within `realert` of it, either side."""
    at = match.record.occurred_at
    near = [alert for alert in unresolved if abs(at - alert.first_at) <= alert.realert]
    return max(near, key=lambda alert: (alert.first_at, alert.id), default=None) if match.group is not None else None


def join(alert: Alert, match: Match) -> Alert:
    """Count one more match into an alert. The window of `realert` hangs on the first record and is never extended."""
    at = match.record.occurred_at
    return replace(
        alert,
        count=alert.count + 1,
        level=max(alert.level, match.level),
        last_at=max(alert.last_at, at),
        late_by=_later(alert.late_by, match.record.late_by),
    )


def resolve(alert: Alert, by: str, at: datetime, why: str = "") -> Alert:
    """End an alert; people read at the end of its text why, where that is not plain."""
    body = f"{alert.body}\n\nResolved: {why}".strip() if why else alert.body
    return replace(alert, status=Status.RESOLVED, resolved_by=by, resolved_at=at, body=body)


def _later(one: timedelta | None, other: timedelta | None) -> timedelta | None:
    known = [span for span in (one, other) if span is not None]
    return max(known, default=None)
