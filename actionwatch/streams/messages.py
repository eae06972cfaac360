"""Make the messages of streams from records, alerts, decisions and statements. Pure: the same input makes the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from actionwatch.alerts.routes import record_labels
from actionwatch.base.model import Alert, Message, Record
from actionwatch.base.source_labels import labels_of_record
from actionwatch.streams.driver import StreamMessage
from actionwatch.text.formats.messages import encode
from actionwatch.text.formats.streams import STREAM_FORMATS
from actionwatch.text.matchers import Labels, Matcher
from actionwatch.text.payloads import record_document

RECORD, ALERT, DECISION = "record", "alert", "decision"
COMPLETE_THROUGH, AMENDED = "stream.complete_through", "stream.amended"

_RECORD_KEYS: Mapping[str, Callable[[Record], str | None]] = {
    "source": lambda record: record.source,
    "account": lambda record: record.account.id or record.account.name,
    "cluster": lambda record: record.cluster.id or record.cluster.name,
    "user": lambda record: record.user_name,
    "kind": lambda record: record.action_kind,
}
_ALERT_KEYS: Mapping[str, Callable[[Alert], str | None]] = {
    "alert": lambda alert: alert.id,
    "rule": lambda alert: alert.rule.name,
    "source": lambda alert: alert.source,
    "cluster": lambda alert: alert.cluster,
    "user": lambda alert: alert.user,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The contents of a stream and their form. `render` fills the operator's template, if the format is one."""

    name: str
    what: Literal["records", "alerts", "decisions", "everything"] = "records"
    matchers: tuple[Matcher, ...] = ()
    format: str = "actionwatch"
    key: str = "source"
    start: Literal["now", "beginning"] | datetime = "now"
    watermark: timedelta = timedelta(hours=1)
    batch: int = 500
    wait: timedelta = timedelta(0)
    is_object: bool = False
    render: Callable[[Message], str] | None = None

    @property
    def has_records(self) -> bool:
        """Whether it sends records, and statements about them."""
        return self.what in ("records", "everything")

    def takes(self, labels: Labels) -> bool:
        """Return whether the matchers let something with these labels pass."""
        return all(matcher.is_met(labels) for matcher in self.matchers)

    def takes_record(self, record: Record) -> bool:
        """Return whether the matchers let a record with its labels, and those of its source, pass."""
        return self.takes({**labels_of_record(record), **record_labels(record)})


def record_message(plan: Plan, record: Record, *, is_late: bool) -> StreamMessage:
    """Make the message of a record. `is_late`: the stream has stated before that its time is complete."""
    message_id = f"{record.source}/{record.key}"
    message = Message(message_id, RECORD, record.occurred_at, record_document(record))
    key = _RECORD_KEYS[plan.key](record) or ""
    return compose(plan, message, RECORD, {"offset": record.id, "late": is_late}, key)


def alert_key(plan: Plan, alert: Alert | None) -> str:
    """Return the partition key of a message about an alert; None: retention deleted it, or it is about no alert."""
    return (_ALERT_KEYS[plan.key](alert) or "") if alert is not None else ""


def compose(plan: Plan, message: Message, kind: str, place: Mapping[str, Any], key: str) -> StreamMessage:
    """Write a message in the format of the stream. `place` has its `offset`, and of a record whether it is `late`."""
    if plan.render is not None:
        placed = Message(message.id, message.type, message.timestamp, {**message.data, **place})
        content_type, body = "application/json", plan.render(placed).encode("utf-8", "replace")
    else:
        content_type, document = STREAM_FORMATS[plan.format]
        body = encode(document(message, place))
    return StreamMessage(message.id, kind, place["offset"], message.timestamp, key, body, content_type)
