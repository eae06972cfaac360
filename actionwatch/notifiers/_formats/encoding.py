"""Write JSON in UTF-8, whatever an upstream put into it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from actionwatch.base.errors import PermanentDeliveryError

_SURROGATE = re.compile("[\ud800-\udfff]")


def encode(document: Mapping[str, Any]) -> bytes:
    """Write a document as JSON in UTF-8.

    Raises: PermanentDeliveryError, for one nested too deep to write.
    """
    try:
        return msgspec.json.encode(document)
    except RecursionError as exc:
        raise PermanentDeliveryError("the message is nested too deep to be written as JSON") from exc
    except (UnicodeEncodeError, OverflowError, ValueError, TypeError):
        # Lone surrogates and integers beyond 64 bits, which msgspec refuses and an upstream's JSON may hold.
        return _encode_slowly(document)


def _encode_slowly(document: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(mended(document), ensure_ascii=False, separators=(",", ":")).encode()
    except (ValueError, TypeError, RecursionError) as exc:
        raise PermanentDeliveryError(f"the message cannot be written as JSON: {exc}") from exc


def mended(value: Any) -> Any:
    """Replace what JSON in UTF-8 cannot hold: lone surrogates by U+FFFD, NaN and infinities by null."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {mended(key): mended(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [mended(item) for item in value]
    return value
