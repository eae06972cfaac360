"""The formats of the messages of streams: actionwatch, CloudEvents and OCSF. Pure functions.

Each has where in the stream a message is: `offset`, and for a record `late`, under the names that its format allows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from actionwatch.base.model import Message
from actionwatch.text.formats.cloudevents import cloudevents_document, cloudevents_event
from actionwatch.text.formats.ocsf import ocsf_document, ocsf_event
from actionwatch.text.payloads import instant

Place = Mapping[str, Any]
"""Where in its stream a message is: `offset`, and `late` of a record."""


def _actionwatch(message: Message, place: Place) -> dict[str, Any]:
    at = instant(message.timestamp)
    return {"id": message.id, "type": message.type, "timestamp": at, **place, "data": message.data}


def _cloudevents(message: Message, place: Place) -> dict[str, Any]:
    if message.type == "record":
        return {**cloudevents_event(message.data), "id": message.id, **place}
    return {**cloudevents_document(message, ""), **place}


def _ocsf(message: Message, place: Place) -> dict[str, Any]:
    event = ocsf_event(message.data) if message.type == "record" else ocsf_document(message, "")
    own = event.get("unmapped", {}).get("actionwatch", {"type": message.type})
    return {**event, "unmapped": {"actionwatch": {**own, "id": message.id, **place}}}


STREAM_FORMATS: Mapping[str, tuple[str, Callable[[Message, Place], dict[str, Any]]]] = {
    "actionwatch": ("application/json", _actionwatch),
    "cloudevents": ("application/cloudevents+json", _cloudevents),
    "ocsf": ("application/json", _ocsf),
}
"""Format -> content type, and the function that makes the JSON value of a message."""
