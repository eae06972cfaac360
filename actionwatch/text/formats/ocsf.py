"""OCSF 1.4.0 (https://schema.ocsf.io/1.4.0): findings for alerts, activities for records; our own fields are under `unmapped`.

An alert is a Detection Finding that is created, updated and closed, with its records as evidence, so that no action is counted
twice. A summary, a decision and a statement about a stream are Base Events. A record is an API Activity, an Account Change or
User Access Management. The audit log contains neither the source address of a call nor fields with the changed user and the
privileges. The schema requires them, so they are `unknown`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from actionwatch.base.model import LEVELS, Message

OCSF_VERSION = "1.4.0"
_API_ACTIVITY = (6003, "API Activity", 6, "Application Activity")
_ACCOUNT_CHANGE = (3001, "Account Change", 3, "Identity & Access Management")
_USER_ACCESS = (3005, "User Access Management", 3, "Identity & Access Management")
_DETECTION_FINDING = (2004, "Detection Finding", 2, "Findings")
_BASE_EVENT = (0, "Base Event", 0, "Uncategorized")
_NO_FINDINGS = frozenset(
    {"alerts", "decision", "stream"}
)  # the beginnings of the types of messages about no single alert
_OTHER = 99
_UNKNOWN = "unknown"
_TIME_UNTIL = 253_402_300_800_000  # the year 10000: many readers fail beyond it

_SEVERITIES = {word: (number, word.capitalize()) for number, word in enumerate(LEVELS, 1)}  # OCSF has the same five
_OPERATIONS = {"CREATE": (1, "Create"), "READ": (2, "Read"), "UPDATE": (3, "Update"), "DELETE": (4, "Delete")}
CREATED, ENABLED, DISABLED, DELETED = (1, "Create"), (2, "Enable"), (5, "Disable"), (6, "Delete")
ACCOUNT_KINDS: dict[str, tuple[int, str] | None] = {
    **dict.fromkeys(("CREATE_SERVICE_USER", "CREATE_BUNDLE_USER"), CREATED),
    **dict.fromkeys(("INVITE_USER", "ACCOUNT_INVITE_USER"), CREATED),
    **dict.fromkeys(("ACCOUNT_ACCEPT_INVITATION", "REACTIVATE_SCIM_USER", "REACTIVATE_SERVICE_USER"), ENABLED),
    **dict.fromkeys(("DEACTIVATE_USER", "DEACTIVATE_SCIM_USER", "DEACTIVATE_SERVICE_USER"), DISABLED),
    **dict.fromkeys(("DELETE_BUNDLE_USER", "REVOKE_USER_INVITE", "ACCOUNT_REVOKE_INVITATION"), DELETED),
    **dict.fromkeys(("EDIT_BUNDLE_USER", "UPDATE_SSO_LOGIN_TYPE"), None),
}
"""Kinds that change a user, and the activity of each; None if the class has no such activity."""
ACCESS_KINDS: dict[str, tuple[int, str] | None] = {
    "LINK_USER": (1, "Assign Privileges"),
    "UNLINK_USER": (2, "Revoke Privileges"),
    "ADMIN_SET_ACCESS_LEVEL": None,
}
"""Kinds that change what a user may do, in the same form."""

_FINDING_ACTIVITIES = {"alert.opened": (1, "Create"), "alert.updated": (2, "Update"), "alert.resolved": (3, "Close")}
_FINDING_STATUSES = {"open": (1, "New"), "acked": (2, "In Progress"), "resolved": (4, "Resolved")}
_RULE_ANALYTIC = {"type_id": 1, "type": "Rule"}


def ocsf_document(message: Message, receiver: str) -> dict[str, Any]:  # noqa: ARG001
    """Return the finding of an alert, or the event of anything else, with severity, count and time span."""
    data = message.data
    is_alert = message.type.partition(".")[0] not in _NO_FINDINGS and bool(data.get("id"))
    severity_id, severity = _SEVERITIES.get(str(data.get("level")), (0, "Unknown"))
    return {
        **(_finding(message) if is_alert else _classified(_BASE_EVENT, (_OTHER, message.type))),
        "time": _millis(message.timestamp),
        **_given({"start_time": _millis(data.get("first_at")), "end_time": _millis(data.get("last_at"))}),
        "metadata": {**_metadata(), "uid": message.id, **({"correlation_uid": str(data["id"])} if is_alert else {})},
        "message": str(data.get("title") or message.type),
        "severity_id": severity_id,
        "severity": severity,
        "count": max(int(data.get("count") or 1), 1),
        "unmapped": {
            "actionwatch": {"type": message.type, "data": {key: data[key] for key in data if key != "records"}}
        },
    }


def _finding(message: Message) -> dict[str, Any]:
    """Describe the alert, which has the same `finding_info.uid` in all its events, and the records that it is about."""
    data = message.data
    rule = data.get("rule") or {}
    records = data.get("records") or []
    status_id, status = _FINDING_STATUSES.get(str(data.get("status")), (0, "Unknown"))
    finding = {
        "uid": str(data["id"]),
        "title": str(data.get("title") or ""),
        "desc": str(data.get("body") or ""),
        "first_seen_time": _millis(data.get("first_at")),
        "last_seen_time": _millis(data.get("last_at")),
        "src_url": data.get("url"),
        "analytic": {**_RULE_ANALYTIC, "uid": str(rule.get("id")), "name": str(rule.get("name"))},
    }
    evidences = [_evidence(record) for record in records]
    return {
        **_classified(_DETECTION_FINDING, _FINDING_ACTIVITIES.get(message.type, (_OTHER, message.type))),
        "status_id": status_id,
        "status": status,
        "is_alert": True,
        "finding_info": _given(finding),
        **_given({"evidences": evidences, "resources": _resources(records[-1]) if records else []}),
    }


def _evidence(record: Mapping[str, Any]) -> dict[str, Any]:
    return {"actor": _actor(record), "api": _api(record), "data": {"key": record["key"], "raw": record.get("raw")}}


def ocsf_event(record: Mapping[str, Any]) -> dict[str, Any]:
    """Convert one record document into an event with unknown severity."""
    kind = _kind(record)
    event = {
        "time": _millis(record.get("timestamp")) or 0,
        "actor": _actor(record),
        "src_endpoint": {"name": _UNKNOWN},
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
    if kind in ACCOUNT_KINDS:
        return {
            **_classified(_ACCOUNT_CHANGE, ACCOUNT_KINDS[kind] or (_OTHER, kind)),
            **event,
            "user": {"name": _UNKNOWN},
        }
    if kind in ACCESS_KINDS:
        access = {"user": {"name": _UNKNOWN}, "privileges": [_UNKNOWN]}
        return {**_classified(_USER_ACCESS, ACCESS_KINDS[kind] or (_OTHER, kind)), **event, **access}
    activity = _OPERATIONS.get(str(record.get("crudOperation")), (_OTHER, kind))
    return {
        **_classified(_API_ACTIVITY, activity),
        **event,
        "api": _api(record),
        **_given({"resources": _resources(record)}),
    }


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is unknown or empty."""
    return {name: value for name, value in values.items() if value not in (None, "", [])}


def _kind(record: Mapping[str, Any]) -> str:
    return str(record.get("actionKind") or _UNKNOWN)


def _actor(record: Mapping[str, Any]) -> dict[str, Any]:
    return {"user": {"name": str(record.get("userName") or _UNKNOWN)}}


def _api(record: Mapping[str, Any]) -> dict[str, Any]:
    return {"operation": _kind(record), "service": {"name": "Instaclustr"}}


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
    return min(max(int(at.timestamp() * 1000), 0), _TIME_UNTIL)
