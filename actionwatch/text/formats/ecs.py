"""Elastic Common Schema 8.17 (https://www.elastic.co/guide/en/ecs/8.17/index.html); our own fields are under `actionwatch`.

A record is an event, an alert is an alert, and a statement about a stream is a state.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from actionwatch.base.model import LEVELS, Message
from actionwatch.text.formats.ocsf import ACCESS_KINDS, ACCOUNT_KINDS
from actionwatch.text.payloads import instant

ECS_VERSION = "8.17.0"
_TYPES = {"CREATE": "creation", "READ": "access", "UPDATE": "change", "DELETE": "deletion"}
_SEVERITIES = {word: number * 25 for number, word in enumerate(LEVELS)}


def ecs_document(message: Message) -> dict[str, Any]:
    """Return the event of a record, an alert, a decision or a statement about a stream."""
    data = message.data
    event = {"id": message.id, "provider": "instaclustr", "module": "actionwatch"}
    head = {"@timestamp": instant(message.timestamp), "ecs": {"version": ECS_VERSION}}
    if message.type == "record":
        return {**head, **_record(data, event), "actionwatch": {"type": message.type, "source": data["source"]}}
    kept = {"type": message.type, "data": {name: value for name, value in data.items() if name != "records"}}
    if "rule" in data:
        rule = data["rule"]
        return {
            **head,
            "event": {**event, "kind": "alert", "dataset": "actionwatch.alert", "action": message.type}
            | {"severity": _SEVERITIES.get(str(data.get("level")), 0)},
            "rule": {"id": rule["id"], "name": rule["name"], "description": rule["title"]},
            "message": str(data.get("title") or message.type),
            "actionwatch": kept,
        }
    state = {**event, "kind": "state", "dataset": "actionwatch.stream", "action": message.type}
    return {**head, "event": state, "message": message.type, "actionwatch": kept}


def _record(record: Mapping[str, Any], event: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(record.get("actionKind"))
    is_iam = kind in ACCOUNT_KINDS or kind in ACCESS_KINDS
    found = {
        "event": {
            **event,
            "kind": "event",
            "dataset": "instaclustr.audit",
            "action": kind,
            "category": ["iam" if is_iam else "configuration"],
            "type": [_TYPES.get(str(record.get("crudOperation")), "info")],
            "original": json.dumps(record.get("raw") or {}, ensure_ascii=False, default=str),
        },
        "message": str(record.get("description") or kind),
    }
    user, account, cluster = record.get("userName"), record.get("account") or {}, record.get("cluster") or {}
    if user:
        found["user"] = {"name": str(user)}
    if any(account.values()):
        found["cloud"] = {"account": {name: str(value) for name, value in account.items() if value}}
    if any(cluster.values()):
        found["orchestrator"] = {"cluster": {name: str(value) for name, value in cluster.items() if value}}
    return found
