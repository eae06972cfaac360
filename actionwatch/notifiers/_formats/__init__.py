"""The formats of a webhook body: actionwatch, CloudEvents, Alertmanager and OCSF. Pure functions, one module each.

`webhook.py` looks up a format in `FORMATS` and encodes its document with `encode`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from actionwatch.base.model import Message
from actionwatch.notifiers._formats.alertmanager import alertmanager_document
from actionwatch.notifiers._formats.cloudevents import cloudevents_document
from actionwatch.notifiers._formats.encoding import encode
from actionwatch.notifiers._formats.ocsf import ocsf_document
from actionwatch.text.payloads import instant

__all__ = ["FORMATS", "Format", "encode", "message_document"]


@dataclass(frozen=True, slots=True)
class Format:
    """A format. `document` converts a message and the name of its receiver into the JSON value of the body."""

    content_type: str
    document: Callable[[Message, str], dict[str, Any]]


def message_document(message: Message, receiver: str = "") -> dict[str, Any]:  # noqa: ARG001
    """Return the message as in the contract: `{"type", "timestamp", "data"}`."""
    return {"type": message.type, "timestamp": instant(message.timestamp), "data": message.data}


FORMATS: dict[str, Format] = {
    "actionwatch": Format("application/json", message_document),
    "cloudevents": Format("application/cloudevents+json", cloudevents_document),
    "alertmanager": Format("application/json", alertmanager_document),
    "ocsf": Format("application/json", ocsf_document),
}
