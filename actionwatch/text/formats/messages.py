"""The formats of a webhook body: actionwatch, CloudEvents, Alertmanager and OCSF. Pure functions, one module each.

`webhook.py` looks up a format in `FORMATS` and encodes its document with `encode`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import msgspec

from actionwatch.base.errors import PermanentDeliveryError
from actionwatch.base.model import Message
from actionwatch.text.formats.alertmanager import alertmanager_document
from actionwatch.text.formats.cloudevents import cloudevents_document
from actionwatch.text.formats.ocsf import ocsf_document
from actionwatch.text.payloads import instant

_TEMPLATE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", re.ASCII)
# Prefixes of the names of other templates, and the name of the type of receivers.
_RESERVED_NAMES = frozenset({"slack", "email", "summary", "webhook"})
_SURROGATE = re.compile("[\ud800-\udfff]")


def message_document(message: Message, receiver: str = "") -> dict[str, Any]:  # noqa: ARG001
    """Return the message as in the contract: `{"type", "timestamp", "data"}`."""
    return {"type": message.type, "timestamp": instant(message.timestamp), "data": message.data}


FORMATS: dict[str, tuple[str, Callable[[Message, str], dict[str, Any]]]] = {
    "actionwatch": ("application/json", message_document),
    "cloudevents": ("application/cloudevents+json", cloudevents_document),
    "alertmanager": ("application/json", alertmanager_document),
    "ocsf": ("application/json", ocsf_document),
}
"""Format -> content type, and the function that makes the JSON value of the body of a message and its receiver's name."""


def check_format(built_in: Collection[str], name: str) -> str:
    """Check the name of a format: one of those that are built in, or of a template of the operator. Return it.

    Raises: ValueError.
    """
    if name not in built_in and (not _TEMPLATE_NAME.fullmatch(name) or name in _RESERVED_NAMES):
        raise ValueError(f"must be one of {', '.join(built_in)}, or NAME for your own template NAME.json.j2")
    return name


def encode(document: Mapping[str, Any]) -> bytes:
    """Encode a document as JSON in UTF-8, also with values that UTF-8 or JSON cannot represent.

    Raises: PermanentDeliveryError, if it is nested too deeply.
    """
    try:
        return msgspec.json.encode(document)
    except RecursionError as exc:
        raise PermanentDeliveryError("the message is nested too deeply for JSON") from exc
    except (UnicodeEncodeError, OverflowError, ValueError, TypeError):
        # msgspec refuses lone surrogates and integers beyond 64 bits; the JSON of an upstream may contain both.
        return _encode_slowly(document)


def _encode_slowly(document: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(_encodable(document), ensure_ascii=False, separators=(",", ":")).encode()
    except (ValueError, TypeError, RecursionError) as exc:
        raise PermanentDeliveryError(f"the message cannot be written as JSON: {exc}") from exc


def _encodable(value: Any) -> Any:
    """Replace what JSON in UTF-8 cannot represent: lone surrogates by U+FFFD, NaN and infinities by null."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {_encodable(key): _encodable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(item) for item in value]
    return value
