"""Ids that are a function of their parts alone: the same records give the same alerts and messages, wherever and whenever."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping

from actionwatch.base.unicode import canonical

_NAMESPACE = uuid.UUID("8a4f3c58-6a4e-5c56-9d0b-8f2f3f0c9a11")  # ours alone; changing it would change every id


def stable_id(*parts: str) -> str:
    """Make an id that is a function of its parts alone (RFC 9562 §5.5, UUIDv5)."""
    return str(uuid.uuid5(_NAMESPACE, json.dumps(parts, ensure_ascii=True)))


def group_id(rule_id: str, group: Mapping[str, str | None]) -> str:
    """Name a group of a rule's alerts: the rule and the values that its matches agree in, in whatever Unicode normal form."""
    values = {name: value and canonical(value) for name, value in group.items()}
    return stable_id("group", rule_id, json.dumps(values, sort_keys=True))
