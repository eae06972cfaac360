"""The JSON that leaves actionwatch: records and alerts in the shapes of the contract.

One place, because `actions`, `records`, `alerts` and the webhook message promise the same shape.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from actionwatch.model import Alert, Entity, Level, Record

RECORDS_SHOWN = 50  # the contract: `records` holds the newest 50, `count` says how many there are
ALERTS_SHOWN = 50  # so does a summary, of the alerts it tells of


def instant(at: datetime) -> str:
    """Spell a time as RFC 3339 in UTC with milliseconds; microseconds only where there are any."""
    spec = "microseconds" if at.microsecond % 1000 else "milliseconds"
    return at.astimezone(UTC).isoformat(timespec=spec).replace("+00:00", "Z")


def record_document(record: Record) -> dict[str, Any]:
    """Give a record the shape of the webhook message's `records`."""
    return {
        "key": record.key,
        "timestamp": instant(record.occurred_at),
        "actionKind": record.action_kind,
        "userName": record.user_name,
        "description": record.description,
        "account": _entity(record.account),
        "cluster": _entity(record.cluster),
        "scope": record.scope,
        "crudOperation": record.operation,
        "source": record.source,
        "raw": json.loads(record.raw),
    }


def alert_document(alert: Alert, records: Sequence[Record]) -> dict[str, Any]:
    """Give an alert the shape of the webhook message's `data`; `records` are its newest, newest last, at most 50 are shown."""
    return {
        "id": alert.id,
        "rule": {
            "id": alert.rule.id,
            "name": alert.rule.name,
            "title": alert.rule.title,
            "tags": list(alert.rule.tags),
        },
        "level": alert.level.word,
        "title": alert.title,
        "body": alert.body,
        "runbook": alert.runbook,
        "labels": dict(alert.labels),
        "source": alert.source,
        "group": dict(alert.group or {}),
        "status": alert.status.value,
        "acked_by": alert.acked_by,
        "resolved_by": alert.resolved_by,
        "count": alert.count,
        "first_at": instant(alert.first_at),
        "last_at": instant(alert.last_at),
        "late": alert.late_by is not None,
        "late_by_seconds": alert.late_by.total_seconds() if alert.late_by is not None else None,
        "records": [record_document(record) for record in records[-RECORDS_SHOWN:]],
    }


def summary_document(
    reason: str, receiver: str, levels: Mapping[Level, int], alerts: Sequence[Alert]
) -> dict[str, Any]:
    """Give a summary its shape: `levels` counts every alert that it tells of, `alerts` are the first of them."""
    shown = [alert_document(alert, ()) for alert in alerts[:ALERTS_SHOWN]]
    count = sum(levels.values())
    return {
        "reason": reason,
        "receiver": receiver,
        "count": count,
        "levels": {level.word: levels[level] for level in sorted(levels, reverse=True)},
        "alerts": [{name: value for name, value in each.items() if name != "records"} for each in shown],
        "omitted": count - len(shown),
    }


def _entity(entity: Entity) -> dict[str, str | None]:
    return {"id": entity.id, "name": entity.name}
