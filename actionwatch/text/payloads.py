"""Convert records and alerts into the JSON documents of the contract.

The commands `actions`, `records` and `alerts` and the webhook message share these shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from msgspec import structs

from actionwatch.base.model import Alert, Cause, Level, Record
from actionwatch.text.raw_records import read_raw

RECORDS_SHOWN = 50  # the contract: `records` contains the newest 50, `count` is their total number
ALERTS_SHOWN = 50  # in a summary, and of those that an alert inhibits
SHORT_ID = 8  # characters of an id, of 32 random bits: among 1,000 alerts, two share them once in 8,000 stores
_CAUSES_SHOWN = 20  # of the silences or mute intervals that suppressed most alerts
_RULES_SHOWN = 10  # of each cause


def short_id(name: str) -> str:
    """Shorten an id as people see it; commands accept any unique prefix."""
    return name[:SHORT_ID]


def explain_command(alert_id: str) -> str:
    """Return the command that prints the history of an alert, for messages."""
    return f"actionwatch explain {short_id(alert_id)}"


def instant(at: datetime) -> str:
    """Format a time as RFC 3339 in UTC with milliseconds, or with microseconds if it has any."""
    spec = "microseconds" if at.microsecond % 1000 else "milliseconds"
    return at.astimezone(UTC).isoformat(timespec=spec).replace("+00:00", "Z")


def record_document(record: Record) -> dict[str, Any]:
    """Convert a record into an item of `records` in a webhook message."""
    return {
        "key": record.key,
        "timestamp": instant(record.occurred_at),
        "actionKind": record.action_kind,
        "userName": record.user_name,
        "description": record.description,
        "account": structs.asdict(record.account),
        "cluster": structs.asdict(record.cluster),
        "scope": record.scope,
        "crudOperation": record.operation,
        "source": record.source,
        "raw": read_raw(record.raw),
    }


def alert_document(alert: Alert, records: Sequence[Record]) -> dict[str, Any]:
    """Convert an alert into the `data` of a webhook message. `records` are its newest records, the newest last."""
    return {
        "id": alert.id,
        "rule": {**structs.asdict(alert.rule), "tags": list(alert.rule.tags)},
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
        "explain": explain_command(alert.id),
        "records": [record_document(record) for record in records[-RECORDS_SHOWN:]],
    }


def inhibited_document(inhibited: Sequence[Alert]) -> dict[str, Any]:
    """Return what `data` says about the alerts that its alert inhibits, oldest first; nothing if there are none."""
    named = [{"id": alert.id, "rule": alert.rule.name, "title": alert.title} for alert in inhibited[:ALERTS_SHOWN]]
    return {"inhibits": {"count": len(inhibited), "alerts": named}} if named else {}


def summary_document(
    reason: str, receiver: str, levels: Mapping[Level, int], alerts: Sequence[Alert], causes: Sequence[Cause] = ()
) -> dict[str, Any]:
    """Convert a summary into `data`. `levels` counts all its alerts; `alerts` are the first of them.

    `causes` are what suppressed them, in descending order of their counts. An alert with two causes counts in both.
    """
    shown = [alert_document(alert, ()) for alert in alerts[:ALERTS_SHOWN]]
    count = sum(levels.values())
    return {
        "reason": reason,
        "receiver": receiver,
        "count": count,
        "levels": {level.word: levels[level] for level in sorted(levels, reverse=True)},
        "causes": [_cause(cause) for cause in causes[:_CAUSES_SHOWN]],
        "alerts": [{name: value for name, value in each.items() if name != "records"} for each in shown],
        "omitted": count - len(shown),
    }


def _cause(cause: Cause) -> dict[str, Any]:
    return {
        "ref": cause.ref,
        "author": cause.author,
        "comment": cause.comment,
        "count": sum(cause.rules.values()),
        "rules": dict(islice(cause.rules.items(), _RULES_SHOWN)),
    }
