"""The body that Alertmanager posts (version "4"), so that existing receivers work unchanged.

https://prometheus.io/docs/alerting/latest/configuration/#webhook_config. One alert is one group. Its `groupKey` and
`fingerprint` derive from the alert id, so that receivers can pair firing and resolved.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from actionwatch.base.model import Message
from actionwatch.base.plurals import counted
from actionwatch.text.links import console_of
from actionwatch.text.payloads import instant

_NEVER = "0001-01-01T00:00:00Z"  # Go's zero time: Alertmanager sends it as `endsAt` of a firing alert
_SUMMARY_NAME = "actionwatch_summary"

_NOT_IN_LABEL = re.compile(r"[^A-Za-z0-9_]")


def alertmanager_document(message: Message, receiver: str) -> dict[str, Any]:
    """Return the message as a group with one alert: firing while open or acknowledged, then resolved."""
    data = message.data
    is_summary = message.type == "alerts.summary"
    key = message.id if is_summary else str(data.get("id") or message.id)
    labels = _summary_labels(message) if is_summary else _labels(message)
    annotations = _summary_annotations(message) if is_summary else _annotations(message)
    is_resolved = message.type == "alert.resolved" or data.get("status") == "resolved"
    status = "resolved" if is_resolved else "firing"
    alert = {
        "status": status,
        "labels": labels,
        "annotations": annotations,
        "startsAt": data.get("first_at") or instant(message.timestamp),
        "endsAt": instant(message.timestamp) if is_resolved else _NEVER,
        "generatorURL": data.get("url") or "",
        "fingerprint": hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:16],
    }
    return {
        "version": "4",
        "groupKey": key,
        "truncatedAlerts": 0,
        "status": status,
        "receiver": receiver,
        "groupLabels": {name: labels[name] for name in ("alertname", *_names(data.get("group"))) if name in labels},
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": console_of(data.get("url")),
        "alerts": [alert],
    }


def _labels(message: Message) -> dict[str, str]:
    """Return the labels of the rule and the values of the group. Our own labels win; empty labels are left out."""
    data = message.data
    rule = data.get("rule") or {}
    own = {
        "alertname": rule.get("name"),
        "severity": data.get("level"),
        "source": data.get("source"),
        "test": "true" if message.type == "receiver.test" else None,
    }
    return _texts({**(data.get("group") or {}), **(data.get("labels") or {}), **own})


def _annotations(message: Message) -> dict[str, str]:
    data = message.data
    shown = {
        "summary": data.get("title"),
        "description": data.get("body"),
        "runbook": data.get("runbook"),
        "count": data.get("count"),
        "acked_by": data.get("acked_by"),
        "resolved_by": data.get("resolved_by"),
        "reopened_by": data.get("reopened_by"),
        "assigned_to": data.get("assigned_to"),
        "note": data.get("note"),
        "noted_by": data.get("noted_by"),
        "explain": data.get("explain"),
        "inhibits": message.inhibited,
    }
    return _texts(shown)


def _summary_labels(message: Message) -> dict[str, str]:
    severity = message.level or "informational"
    return _texts({"alertname": _SUMMARY_NAME, "severity": severity, "reason": message.data.get("reason")})


def _summary_annotations(message: Message) -> dict[str, str]:
    data = message.data
    titles = [str(alert.get("title")) for alert in data.get("alerts") or []]
    more = [f"and {data['omitted']} more"] if data.get("omitted") else []
    summary = f"{counted(data.get('count', 0), 'alert')} in one message ({data.get('reason')})"
    return _texts(
        {"summary": summary, "description": "\n".join([*message.causes, *titles, *more]), "count": data.get("count")}
    )


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    named = zip(_names(values), values.values(), strict=True)
    return {name: str(value) for name, value in named if value is not None and value != ""}


def _names(values: Mapping[str, Any] | None) -> list[str]:
    """Convert names to what Prometheus allows: letters, digits and `_`, with no digit first."""
    spelt = [_NOT_IN_LABEL.sub("_", name) for name in values or ()]
    return [f"_{name}" if not name or name[0].isdigit() else name for name in spelt]
