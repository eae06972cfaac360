"""Convert records and alerts into the JSON documents of the contract.

The commands, the webhook message and the API share these shapes. The schemas of the API are made of their types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

from typing_extensions import TypedDict  # pydantic refuses that of typing before Python 3.12

from actionwatch.base.model import LEVELS, Alert, Cause, Level, Record, Silence, Status
from actionwatch.text.links import NO_LINKS, Links
from actionwatch.text.raw_records import read_raw

if TYPE_CHECKING:
    from actionwatch.base.delivery import Delivery

RECORDS_SHOWN = 50  # the contract: `records` contains the newest 50, `count` is their total number
ALERTS_SHOWN = 50  # in a summary, and of those that an alert inhibits
_SHORT_ID = 8  # characters of an id, of 32 random bits: among 1,000 alerts, two share them once in 8,000 stores
_CAUSES_SHOWN = 20  # of the silences or mute intervals that suppressed most alerts
_RULES_SHOWN = 10  # of each cause
_OWN_LABELS = ("trouble", "mode", "test")  # of actionwatch itself: the rest of a message says the same


@dataclass(frozen=True, slots=True, eq=False)
class JsonSchema:
    """A note for pydantic about the JSON Schema of a text, in addition to its type. The commands start without pydantic."""

    facts: Mapping[str, Any]

    def __get_pydantic_json_schema__(self, core: Any, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {**handler(core), **self.facts}


Time = Annotated[str, JsonSchema({"format": "date-time"})]
"""RFC 3339 in UTC."""
LevelWord = Annotated[str, JsonSchema({"enum": list(LEVELS)})]
StatusWord = Annotated[str, JsonSchema({"enum": [status.value for status in Status]})]


class EntityDocument(TypedDict):
    """An account or a cluster, identified by id, name or both."""

    id: str | None
    name: str | None


class RecordDocument(TypedDict):
    """One user action, as the upstream logged it. `raw` is what the upstream sent."""

    key: str
    timestamp: Time
    actionKind: str
    userName: str | None
    description: str | None
    account: EntityDocument
    cluster: EntityDocument
    scope: str | None
    crudOperation: str | None
    source: str
    raw: Any


class RuleDocument(TypedDict):
    """The rule of an alert."""

    id: str
    name: str
    title: str
    tags: list[str]


class AlertFacts(TypedDict):
    """An alert without its records. `count` is how many it has, `late` whether its first one appeared late.

    `user` and `cluster` (its name, or its id) are those of the record with which it opened. `note` is the newest one.
    """

    id: str
    rule: RuleDocument
    level: LevelWord
    title: str
    body: str
    runbook: str | None
    labels: dict[str, str]
    source: str
    group: dict[str, str | None]
    status: StatusWord
    acked_by: str | None
    resolved_by: str | None
    count: int
    first_at: Time
    last_at: Time
    late: bool
    late_by_seconds: float | None
    explain: str
    user: str | None
    cluster: str | None
    assigned_to: str | None
    note: str | None
    noted_by: str | None
    reopened_by: str | None


class AlertDocument(AlertFacts):
    """An alert with its newest records, the newest last."""

    records: list[RecordDocument]


class DeliveryDocument(TypedDict):
    """One message of an alert for a receiver. `alert` is null for a summary; `why` says what stopped it."""

    id: str
    alert: str | None
    receiver: str
    event: str
    status: str
    attempts: int
    created_at: Time
    due_at: Time
    sent_at: Time | None
    last_error: str | None
    fallback_of: str | None
    why: str | None


class SuppressedDocument(TypedDict):
    """A receiver whose message was stopped, by which gate, and what this refers to: a silence, a mute interval, an alert."""

    receiver: str
    by: str | None
    ref: str | None


class SilenceDocument(TypedDict):
    """A silence. `status` is pending, active or expired; `ended_by` is who ended it before its time."""

    id: str
    matchers: list[str]
    author: str
    comment: str
    starts_at: Time
    ends_at: Time
    ended_by: str | None
    status: str


def short_id(name: str) -> str:
    """Shorten an id as people see it; commands accept any unique prefix."""
    return name[:_SHORT_ID]


def explain_command(alert_id: str) -> str:
    """Return the command that prints the history of an alert, for messages."""
    return f"actionwatch explain {short_id(alert_id)}"


def shown_labels(alert: Mapping[str, Any]) -> dict[str, str]:
    """Return the labels of an alert in a message that people want to see: those of its rule and source. A summary has none."""
    return {name: value for name, value in (alert.get("labels") or {}).items() if name not in _OWN_LABELS}


def instant(at: datetime) -> str:
    """Format a time as RFC 3339 in UTC with milliseconds, or with microseconds if it has any."""
    spec = "microseconds" if at.microsecond % 1000 else "milliseconds"
    return at.astimezone(UTC).isoformat(timespec=spec).replace("+00:00", "Z")


def record_document(record: Record) -> RecordDocument:
    """Convert a record into an item of `records` in a webhook message."""
    return {
        "key": record.key,
        "timestamp": instant(record.occurred_at),
        "actionKind": record.action_kind,
        "userName": record.user_name,
        "description": record.description,
        "account": {"id": record.account.id, "name": record.account.name},
        "cluster": {"id": record.cluster.id, "name": record.cluster.name},
        "scope": record.scope,
        "crudOperation": record.operation,
        "source": record.source,
        "raw": read_raw(record.raw),
    }


def alert_document(alert: Alert, records: Sequence[Record]) -> AlertDocument:
    """Convert an alert into the `data` of a webhook message. `records` are its newest records, the newest last."""
    return {**alert_facts(alert), "records": [record_document(record) for record in records[-RECORDS_SHOWN:]]}


def alert_facts(alert: Alert) -> AlertFacts:
    """Convert an alert into what `data` says about it, without its records."""
    rule = alert.rule
    return {
        "id": alert.id,
        "rule": {"id": rule.id, "name": rule.name, "title": rule.title, "tags": list(rule.tags)},
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
        "user": alert.user,
        "cluster": alert.cluster,
        "assigned_to": alert.assigned_to,
        "note": alert.note,
        "noted_by": alert.noted_by,
        "reopened_by": alert.reopened_by,
    }


def delivery_document(delivery: Delivery) -> DeliveryDocument:
    """Return a delivery as JSON."""
    return {
        "id": delivery.id,
        "alert": None if delivery.event.value == "summary" else delivery.alert_id,
        "receiver": delivery.receiver,
        "event": delivery.event.word,
        "status": delivery.status.value,
        "attempts": delivery.attempts,
        "created_at": instant(delivery.created_at),
        "due_at": instant(delivery.due_at),
        "sent_at": instant(delivery.sent_at) if delivery.sent_at else None,
        "last_error": delivery.last_error,
        "fallback_of": delivery.fallback_of,
        "why": delivery.why,
    }


def silence_document(silence: Silence, now: datetime) -> SilenceDocument:
    """Return a silence as JSON."""
    return {
        "id": silence.id,
        "matchers": list(silence.matchers),
        "author": silence.author,
        "comment": silence.comment,
        "starts_at": instant(silence.starts_at),
        "ends_at": instant(silence.ends_at),
        "ended_by": silence.ended_by,
        "status": silence.status(now),
    }


def inhibited_document(inhibited: Sequence[Alert]) -> dict[str, Any]:
    """Return what `data` says about the alerts that its alert inhibits, oldest first; nothing if there are none."""
    named = [{"id": alert.id, "rule": alert.rule.name, "title": alert.title} for alert in inhibited[:ALERTS_SHOWN]]
    return {"inhibits": {"count": len(inhibited), "alerts": named}} if named else {}


def summary_document(
    reason: str,
    receiver: str,
    levels: Mapping[Level, int],
    alerts: Sequence[Alert],
    causes: Sequence[Cause] = (),
    links: Links = NO_LINKS,
) -> dict[str, Any]:
    """Convert a summary into `data`. `levels` counts all its alerts; `alerts` are the first of them.

    `causes` are what suppressed them, in descending order of their counts. An alert with two causes counts in both.
    """
    shown = [{**alert_facts(alert), **links.of_alert(alert.id)} for alert in alerts[:ALERTS_SHOWN]]
    count = sum(levels.values())
    return {
        "reason": reason,
        "receiver": receiver,
        "count": count,
        "levels": {level.word: levels[level] for level in sorted(levels, reverse=True)},
        "causes": [_cause(cause) for cause in causes[:_CAUSES_SHOWN]],
        "alerts": shown,
        "omitted": count - len(shown),
        **links.of_list(),
    }


def _cause(cause: Cause) -> dict[str, Any]:
    return {
        "ref": cause.ref,
        "author": cause.author,
        "comment": cause.comment,
        "count": sum(cause.rules.values()),
        "rules": dict(islice(cause.rules.items(), _RULES_SHOWN)),
    }
