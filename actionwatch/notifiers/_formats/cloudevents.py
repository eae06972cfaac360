"""CloudEvents 1.0, structured mode: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from actionwatch.documents import instant
from actionwatch.model import Message


def cloudevents_document(message: Message, receiver: str) -> dict[str, Any]:  # noqa: ARG001
    """Wrap the message: `id` is its own id, `subject` the alert's, `data` ours; a summary has no subject."""
    source = message.data.get("source")
    event = {
        "specversion": "1.0",
        "id": message.id,
        "source": f"/actionwatch/{quote(str(source), safe='', errors='replace')}" if source else "/actionwatch",
        "type": f"actionwatch.{message.type}",
        "time": instant(message.timestamp),
        "datacontenttype": "application/json",
        "data": message.data,
    }
    subject = message.data.get("id")
    return {**event, "subject": str(subject)} if subject else event
