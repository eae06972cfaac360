"""Deterministic ids: the same records always produce the same alerts and messages."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping

from actionwatch.base.unicode import canonical

_NAMESPACE = uuid.UUID("8a4f3c58-6a4e-5c56-9d0b-8f2f3f0c9a11")  # must never change: all ids depend on it
UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)


def stable_id(*parts: str) -> str:
    """Make an id that depends only on its parts (UUIDv5, RFC 9562 §5.5)."""
    return str(uuid.uuid5(_NAMESPACE, json.dumps(parts, ensure_ascii=True)))


def group_id(rule_id: str, group: Mapping[str, str | None]) -> str:
    """Name a group of a rule's alerts: the rule and the values that its matches agree in, in whatever Unicode normal form."""
    values = {name: value and canonical(value) for name, value in group.items()}
    return stable_id("group", rule_id, json.dumps(values, sort_keys=True))
