"""OCSF 1.4.0 (https://schema.ocsf.io/1.4.0): API Activity or Account Change; our own fields are under `unmapped`.

An alert becomes the event of its newest record. Without a record (absence, self-alert, summary) it is a Base Event. The audit
log contains neither the source address of a call nor a field with the changed user. The schema requires both, so they are
`unknown`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from actionwatch.base.model import LEVELS, Message

OCSF_VERSION = "1.4.0"
API_ACTIVITY = (6003, "API Activity", 6, "Application Activity")
ACCOUNT_CHANGE = (3001, "Account Change", 3, "Identity & Access Management")
BASE_EVENT = (0, "Base Event", 0, "Uncategorized")
OTHER = 99
UNKNOWN = "unknown"
TIME_UNTIL = 253_402_300_800_000  # the year 10000: many readers fail beyond it

SEVERITIES = {word: (number, word.capitalize()) for number, word in enumerate(LEVELS, 1)}  # OCSF has the same five
OPERATIONS = {"CREATE": (1, "Create"), "READ": (2, "Read"), "UPDATE": (3, "Update"), "DELETE": (4, "Delete")}
CREATED, ENABLED, DISABLED, DELETED = (1, "Create"), (2, "Enable"), (5, "Disable"), (6, "Delete")
ACCOUNT_KINDS: dict[str, tuple[int, str] | None] = {
    **dict.fromkeys(("CREATE_SERVICE_USER", "CREATE_BUNDLE_USER", "LINK_USER"), CREATED),
    **dict.fromkeys(("INVITE_USER", "ACCOUNT_INVITE_USER"), CREATED),
    **dict.fromkeys(("ACCOUNT_ACCEPT_INVITATION", "REACTIVATE_SCIM_USER", "REACTIVATE_SERVICE_USER"), ENABLED),
    **dict.fromkeys(("DEACTIVATE_USER", "DEACTIVATE_SCIM_USER", "DEACTIVATE_SERVICE_USER"), DISABLED),
    **dict.fromkeys(("DELETE_BUNDLE_USER", "UNLINK_USER", "REVOKE_USER_INVITE", "ACCOUNT_REVOKE_INVITATION"), DELETED),
    **dict.fromkeys(("EDIT_BUNDLE_USER", "ADMIN_SET_ACCESS_LEVEL", "UPDATE_SSO_LOGIN_TYPE"), None),
}
"""Kinds that change a user, and the activity of each; None if the class has no such activity."""


def ocsf_document(message: Message, receiver: str) -> dict[str, Any]:  # noqa: ARG001
    """Return the event of the newest record, with title, severity, count and time span of the alert."""
    data = message.data
    records = data.get("records") or []
    event = ocsf_event(records[-1]) if records else _classified(BASE_EVENT, (OTHER, message.type))
    severity_id, severity = SEVERITIES.get(str(data.get("level")), (0, "Unknown"))
    metadata = {**event.get("metadata", {}), **_metadata(), "uid": message.id}
    if data.get("id"):
        metadata["correlation_uid"] = str(data["id"])
    alert = {key: value for key, value in data.items() if key != "records"}
    times = {"start_time": _millis(data.get("first_at")), "end_time": _millis(data.get("last_at"))}
    return {
        "time": _millis(message.timestamp),
        **event,
        **{name: at for name, at in times.items() if at is not None},
        "metadata": metadata,
        "message": str(data.get("title") or message.type),
        "severity_id": severity_id,
        "severity": severity,
        "count": max(int(data.get("count") or 1), 1),
        "unmapped": {"actionwatch": {"type": message.type, "data": alert}},
    }


def ocsf_event(record: Mapping[str, Any]) -> dict[str, Any]:
    """Convert one record document into an event with unknown severity."""
    kind = str(record.get("actionKind") or UNKNOWN)
    is_account_change = kind in ACCOUNT_KINDS
    actor = {"user": {"name": str(record.get("userName") or UNKNOWN)}}
    event = {
        "time": _millis(record.get("timestamp")) or 0,
        "actor": actor,
        "src_endpoint": {"name": UNKNOWN},
        "message": str(record.get("description") or kind),
        "raw_data": json.dumps(record.get("raw") or {}, ensure_ascii=False, default=str),
        "severity_id": 0,
        "metadata": {
            **_metadata(),
            "uid": str(record["key"]),
            "event_code": kind,
            "original_time": str(record.get("timestamp")),
        },
    }
    if is_account_change:
        activity = ACCOUNT_KINDS[kind] or (OTHER, kind)
        return {**_classified(ACCOUNT_CHANGE, activity), **event, "user": {"name": UNKNOWN}}
    activity = OPERATIONS.get(str(record.get("crudOperation")), (OTHER, kind))
    api = {"operation": kind, "service": {"name": "Instaclustr"}}
    resources = _resources(record)
    return {
        **_classified(API_ACTIVITY, activity),
        **event,
        "api": api,
        **({"resources": resources} if resources else {}),
    }


def _classified(kind: tuple[int, str, int, str], activity: tuple[int, str]) -> dict[str, Any]:
    class_uid, class_name, category_uid, category_name = kind
    return {
        "class_uid": class_uid,
        "class_name": class_name,
        "category_uid": category_uid,
        "category_name": category_name,
        "activity_id": activity[0],
        "activity_name": activity[1],
        "type_uid": class_uid * 100 + activity[0],
    }


def _metadata() -> dict[str, Any]:
    product = {"name": "Instaclustr audit log", "vendor_name": "Instaclustr"}
    return {"version": OCSF_VERSION, "product": product, "log_provider": "actionwatch"}


def _resources(record: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the cluster and the account, as far as the record names them."""
    found: list[dict[str, str]] = []
    for kind in ("cluster", "account"):
        entity = record.get(kind) or {}
        named = {"uid": entity.get("id"), "name": entity.get("name")}
        given = {key: str(value) for key, value in named.items() if value}
        if given:
            found.append({"type": kind, **given})
    return found


def _millis(value: Any) -> int | None:
    if value is None:
        return None
    at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return min(max(int(at.timestamp() * 1000), 0), TIME_UNTIL)
