"""CloudEvents 1.0, structured mode: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from actionwatch.base.model import Message
from actionwatch.text.payloads import instant


def cloudevents_document(message: Message, receiver: str) -> dict[str, Any]:  # noqa: ARG001
    """Wrap the message: `id` is the message id, `subject` the alert id. A summary has no subject."""
    source, subject = message.data.get("source"), message.data.get("id")
    event = _event(message.id, source, message.type, instant(message.timestamp), message.data)
    return {**event, "subject": str(subject)} if subject else event


def cloudevents_event(record: Mapping[str, Any]) -> dict[str, Any]:
    """Convert one record document into an event: `id` is the record key, `time` the time of the action."""
    return _event(record["key"], record["source"], "record", record["timestamp"], record)


def _event(event_id: str, source: object, kind: str, at: str, data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": f"/actionwatch/{quote(str(source), safe='', errors='replace')}" if source else "/actionwatch",
        "type": f"actionwatch.{kind}",
        "time": at,
        "datacontenttype": "application/json",
        "data": data,
    }
