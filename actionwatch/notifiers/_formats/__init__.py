"""The forms a webhook's body can take: ours, CloudEvents, Alertmanager's, OCSF. Pure functions, one file each.

`webhook.py` looks a form up in `FORMATS` and writes what it gives with `encode`.
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
    """A form: `document` makes the body's JSON value of a message and the receiver's name."""

    content_type: str
    document: Callable[[Message, str], dict[str, Any]]


def message_document(message: Message, receiver: str = "") -> dict[str, Any]:  # noqa: ARG001
    """Return the message as the contract spells it: `{"type", "timestamp", "data"}`."""
    return {"type": message.type, "timestamp": instant(message.timestamp), "data": message.data}


FORMATS: dict[str, Format] = {
    "actionwatch": Format("application/json", message_document),
    "cloudevents": Format("application/cloudevents+json", cloudevents_document),
    "alertmanager": Format("application/json", alertmanager_document),
    "ocsf": Format("application/json", ocsf_document),
}
