"""PagerDuty: one incident per alert through Events API v2. Acknowledging or resolving the alert updates the incident.

https://developer.pagerduty.com/docs/events-api-v2-overview. The alert id is the dedup key, so that a repeat opens no second
incident. A summary of a digest, a mute or a silence becomes a change event, which pages no one.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, SecretStr, model_validator

from actionwatch.base.errors import PermanentDeliveryError
from actionwatch.base.model import Message, Receipt, Rendered
from actionwatch.net.http_response import HttpResponse
from actionwatch.notifiers.base import AddressNotifier, BaseUrl, HttpOptions, Redactor, Traits, check_response
from actionwatch.text import options as words
from actionwatch.text.escaping import one_line, shorten, steps, visible
from actionwatch.text.formats.messages import encode
from actionwatch.text.payloads import instant

TRAITS = Traits()

_MAX_SUMMARY_CHARS = 1_024
_MAX_KEY_CHARS = 255
# The limit of an event is 512 KB; with three bytes per character, these limits add up to 350 KB.
_MAX_VALUE_CHARS = 1_000
_MAX_DETAILS = 60
MAX_STEPS = 20
_MAX_RECORDS = 10
_MAX_LISTED = 50
_SEVERITIES = {"critical": "critical", "high": "error", "medium": "warning", "low": "info", "informational": "info"}
EVENTS, CHANGES = "/v2/enqueue", "/v2/change/enqueue"


def _routing_key(value: SecretStr) -> SecretStr:
    if not re.fullmatch("[A-Za-z0-9]{8,128}", value.get_secret_value()):
        raise ValueError("must be the key of an Events API v2 integration: only letters and digits")
    return value


class Options(HttpOptions):
    """The keys of a `pagerduty:` receiver."""

    routing_key: Annotated[words.Secret, AfterValidator(_routing_key)] | None = None
    """The key of an Events API v2 integration. One of the two is required."""
    routing_key_file: Annotated[words.SecretFile, AfterValidator(_routing_key)] | None = None
    base_url: BaseUrl = "https://events.pagerduty.com"
    """The address of the Events API."""

    @model_validator(mode="after")
    def _check(self) -> Options:
        words.require_one(self, "routing_key", "routing_key_file")
        return self


def build(options: Options, *, receiver: str) -> PagerDutyNotifier:
    return PagerDutyNotifier(options, receiver=receiver)


def preview(options: Options, message: Message, rendered: Rendered, *, receiver: str) -> dict[str, str]:  # noqa: ARG001
    """Return the events that `send` would post, with a placeholder for the routing key."""
    events = [event for _, event in events_of(message, receiver, "ROUTING-KEY")]
    return {"pagerduty.json": json.dumps(events, ensure_ascii=False, indent=2, default=str)}


class PagerDutyNotifier(AddressNotifier):
    """Sends events to one integration."""

    def __init__(self, options: Options, *, receiver: str) -> None:
        self.receiver = receiver
        self._key = words.secret(options.routing_key, options.routing_key_file) or ""
        redact = Redactor(self._key, proxy=options.proxy)
        super().__init__(options.base_url, options.http_client(), redact, unreachable="cannot reach PagerDuty: ")

    def send(self, message: Message, rendered: Rendered, reference: str | None) -> Receipt:  # noqa: ARG002
        """Send the event of the message. A repeat is harmless, because the dedup key is the alert id."""
        headers = {"content-type": "application/json", "idempotency-key": message.id}
        for path, event in events_of(message, self.receiver, self._key):
            self._check(self.post(headers, encode(event), path))
        return Receipt()

    def _check(self, response: HttpResponse) -> None:
        """Check the status; the body of a 400 explains what is wrong with the event."""
        reasons = _reasons(response) if response.status == 400 else ""
        if reasons:
            what = (
                "PagerDuty refused the event (400): check that the routing key belongs to an Events API v2 integration"
            )
            raise PermanentDeliveryError(what, response=self._redact.excerpt(reasons))
        check_response(response, self._redact)


def events_of(message: Message, receiver: str, routing_key: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the events of a message, each with its path. A test message is triggered and resolved at once."""
    if message.type == "alerts.summary" and message.data.get("reason") != "storm":
        change = {"routing_key": routing_key, "payload": _change(message, receiver)}
        links = [{"href": message.data["url"], "text": "Alerts in actionwatch"}] if message.data.get("url") else []
        return [(CHANGES, {**change, **({"links": links} if links else {})})]
    event = {
        "routing_key": routing_key,
        "event_action": _action(message),
        "dedup_key": _dedup_key(message, receiver),
        "client": "actionwatch",
        **({"client_url": message.data["url"]} if message.data.get("url") else {}),
        "payload": _payload(message, receiver),
    }
    resolved = {**event, "event_action": "resolve"}
    return [(EVENTS, event), (EVENTS, resolved)] if message.type == "receiver.test" else [(EVENTS, event)]


def _action(message: Message) -> str:
    if message.type == "alert.resolved":
        return "resolve"
    return "acknowledge" if message.data.get("status") == "acked" and message.type == "alert.updated" else "trigger"


def _dedup_key(message: Message, receiver: str) -> str:
    """Return the key of the incident: one per alert, one for the storms of a receiver, one per test."""
    if message.type == "alerts.summary":
        return f"actionwatch-storm-{hashlib.sha256(receiver.encode()).hexdigest()[:16]}"
    key = message.id if message.type == "receiver.test" else str(message.data.get("id") or message.id)
    is_plain = len(key) <= _MAX_KEY_CHARS and key.isascii() and key.isprintable()
    return key if is_plain else hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


def _payload(message: Message, receiver: str) -> dict[str, Any]:
    data = message.data
    rule = data.get("rule") or {}
    test = "[test] " if message.type == "receiver.test" else ""
    group = _text(", ".join(str(value) for value in (data.get("group") or {}).values() if value))
    return {
        "summary": _line(test + message.headline),
        "source": _text(data.get("source") or receiver),
        "severity": "info" if test else _SEVERITIES.get(message.level, "info"),
        "timestamp": data.get("last_at") or instant(message.timestamp),
        "class": _text(rule.get("name") or message.type),
        **({"group": group} if group else {}),
        "custom_details": _summary_details(message) if message.type == "alerts.summary" else _details(message),
    }


def _change(message: Message, receiver: str) -> dict[str, Any]:
    return {
        "summary": _line(message.headline),
        "source": receiver,
        "timestamp": instant(message.timestamp),
        "custom_details": _summary_details(message),
    }


def _details(message: Message) -> dict[str, Any]:
    """Show the alert as a table of short values, and the runbook and the newest records as lists."""
    data = message.data
    details = {
        "description": data.get("body"),
        "level": data.get("level"),
        "count": data.get("count"),
        "first_at": data.get("first_at"),
        "last_at": data.get("last_at"),
        "acked_by": data.get("acked_by"),
        "resolved_by": data.get("resolved_by"),
        "reopened_by": data.get("reopened_by"),
        "assigned_to": data.get("assigned_to"),
        "note": data.get("note"),
        "noted_by": data.get("noted_by"),
        "alert": data.get("id"),
        "history": data.get("explain"),
        "message": message.id,
        **{f"label {_line(name, 80)}": value for name, value in (data.get("labels") or {}).items()},
        **{_line(name, 80): value for name, value in message.fields},
    }
    shown = {name: _text(value) for name, value in details.items() if value not in (None, "")}
    advice = steps(str(data.get("runbook") or ""))[:MAX_STEPS]
    runbook = [_text(f"{number}. {step}") for number, step in enumerate(advice, 1)]
    records = [_record(record) for record in reversed((data.get("records") or [])[-_MAX_RECORDS:])]
    shown = dict(itertools.islice(shown.items(), _MAX_DETAILS))
    return {**shown, **({"runbook": runbook} if runbook else {}), "records": records}


def _record(record: Mapping[str, Any]) -> dict[str, str]:
    shown = {name: record.get(name) for name in ("timestamp", "actionKind", "userName", "description")}
    shown |= {name: (record.get(name) or {}).get("name") for name in ("account", "cluster")}
    return {name: _bounded(str(value), 300) for name, value in shown.items() if value}


def _summary_details(message: Message) -> dict[str, Any]:
    data = message.data
    alerts = [
        f"[{alert.get('level')}] {_line(str(alert.get('title')), 300)} ({_line(str(alert.get('id')), 100)})"
        for alert in (data.get("alerts") or [])[:_MAX_LISTED]
    ]
    counts = {name: data.get(name) for name in ("reason", "count", "levels", "omitted")}
    causes = [_line(cause, 500) for cause in message.causes]
    return {**counts, **({"hidden": causes} if causes else {}), "alerts": alerts, "message": message.id}


def _text(value: Any) -> Any:
    return value if isinstance(value, int | float) else _bounded(str(value), _MAX_VALUE_CHARS)


def _bounded(text: str, limit: int) -> str:
    """Shorten a text before escaping, which is slow, and after it, which makes the text longer."""
    return shorten(visible(shorten(text, limit)), limit)


def _line(text: str, limit: int = _MAX_SUMMARY_CHARS) -> str:
    return shorten(one_line(shorten(text, limit)), limit)


def _reasons(response: HttpResponse) -> str:
    """Read `{"message", "errors": [...]}`; return an empty text for another body."""
    body = response.json_object()
    given = body.get("errors")
    errors: list[Any] = given if isinstance(given, list) else []
    return "; ".join(str(part) for part in (body.get("message"), *errors) if part)
