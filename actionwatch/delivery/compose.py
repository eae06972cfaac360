"""Compose the message of a delivery that passed the gates, as it is frozen at its first attempt.

A frozen message is sent again word for word. One that cannot be composed is a value too, so that no single alert can stop the
others.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
import structlog
from msgspec.structs import replace
from sqlalchemy import Connection

from actionwatch.alerts.inhibition import Labelled
from actionwatch.alerts.policy import GlobalPolicy
from actionwatch.alerts.routes import newest_labels
from actionwatch.base.delivery import Delivery
from actionwatch.base.durations import spell_duration
from actionwatch.base.model import MESSAGE_TYPES, Alert, Event, Message, Record
from actionwatch.delivery.gate_check import read_inhibited
from actionwatch.delivery.retry import Bury
from actionwatch.rules.fields import shown_texts
from actionwatch.store import fallback_deliveries, records
from actionwatch.store.outbox import DueDelivery
from actionwatch.text.links import NO_LINKS, Links
from actionwatch.text.payloads import RECORDS_SHOWN, alert_document, inhibited_document
from actionwatch.text.raw_records import cut_record

_MAX_RAW_CHARS = 256 * 1024  # of the records in a message; fifty records of the vendor have about 50 KB
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Job:
    """A delivery and its message, which its `body` holds as JSON. The alert is None where the store no longer has it.

    `reference` is what the receiver calls its message about the alert, if it got one; `term` the one in which it was claimed.
    """

    delivery: Delivery
    message: Message
    alert: Alert | None
    reference: str | None = None
    term: int | None = None


def compose_all(
    connection: Connection, passed: Sequence[DueDelivery], now: datetime, global_policy: GlobalPolicy
) -> list[Job | Bury]:
    """Compose the messages of deliveries that passed the gates, in order. It only reads, in a few statements.

    `global_policy` says which alerts a message names with its own, and where its links lead.
    """
    new = [due for due in passed if not due.delivery.is_frozen]
    newest = records.read_of_alerts(connection, {due.delivery.alert_id for due in new}, RECORDS_SHOWN) if new else {}
    replaced = fallback_deliveries.read_replaced(connection, [due.delivery for due in new])
    known = {due.alert.id: due.alert for due in new if due.alert is not None}
    sources = [Labelled(alert, newest_labels(alert, newest)) for alert in known.values()]
    inhibited = read_inhibited(connection, global_policy.inhibit_rules, sources)
    return [_composed(due, newest, replaced, inhibited, global_policy.links, now) for due in passed]


def message_of(
    delivery_id: str,
    event: Event,
    alert: Alert,
    newest: Sequence[Record],
    now: datetime,
    reasons: tuple[tuple[str, str], ...] = (),
    inhibited: Sequence[Alert] = (),
    links: Links = NO_LINKS,
) -> Message:
    """Compose the message of an alert. `newest` are its newest records, newest last; `reasons` are its first fields.

    It names the alerts that it inhibits, because they have no message.

    If the records are too large together, each is cut to the same size, so that a message has at most about 1 MB.
    """
    shown = newest[-RECORDS_SHOWN:]
    if sum(len(record.raw) for record in shown) > _MAX_RAW_CHARS:
        shown = [cut_record(record, _MAX_RAW_CHARS // RECORDS_SHOWN) for record in shown]
    fields = shown_texts(shown[-1], alert.fields) if shown else ()
    data = {**alert_document(alert, shown), **inhibited_document(inhibited), **links.of_alert(alert.id)}
    message = Message(delivery_id, MESSAGE_TYPES[event], now, data)
    also = (("also open", message.inhibited),) if inhibited else ()
    return dataclasses.replace(message, fields=(*reasons, *also, *fields))


def _composed(
    due: DueDelivery,
    newest: Mapping[str, Sequence[Record]],
    replaced: Mapping[str, str],
    inhibited: Mapping[str, Sequence[Alert]],
    links: Links,
    now: datetime,
) -> Job | Bury:
    delivery, why = due.delivery, "its alert is no longer in the store"
    try:
        if delivery.body is not None:
            return Job(delivery, thaw(delivery.id, delivery.body), due.alert, due.reference)
        if due.alert is not None:
            message = message_of(
                delivery.id,
                delivery.event,
                due.alert,
                newest[delivery.alert_id],
                now,
                _reasons(delivery, replaced),
                inhibited.get(due.alert.id, ()),
                links,
            )
            return Job(replace(delivery, body=freeze(message)), message, due.alert, due.reference)
    except Exception as exc:
        why = f"cannot be {'read' if delivery.is_frozen else 'written'}: {type(exc).__name__}"
        log.exception("message_not_composed", delivery=delivery.id, alert=delivery.alert_id)
    return Bury(why)


def _reasons(delivery: Delivery, replaced: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the fields that explain to people why they get this message, where the alert alone does not."""
    if delivery.is_readdressed and delivery.ref is not None:
        return (("in place of", delivery.ref),)
    if delivery.fallback_of is not None:
        return (("in place of", replaced[delivery.id]),) if delivery.id in replaced else ()
    if delivery.is_escalation:
        return (
            ("escalated", f"nobody acknowledged it within {spell_duration(delivery.due_at - delivery.created_at)}"),
        )
    return ()


def freeze(message: Message) -> str:
    """Encode a message as JSON, as every attempt sends it."""
    frozen = {
        "type": message.type,
        "timestamp": message.timestamp.isoformat(),
        "data": message.data,
        "fields": message.fields,
    }
    try:
        return msgspec.json.encode(frozen).decode()
    except (UnicodeEncodeError, OverflowError, ValueError):
        # An upstream's JSON may hold lone surrogates and integers beyond 64 bits: the slower encoder accepts them.
        return json.dumps(frozen, ensure_ascii=True, separators=(",", ":"))


def thaw(delivery_id: str, body: str) -> Message:
    """Decode a frozen message."""
    frozen = json.loads(body)
    fields = tuple((label, value) for label, value in frozen["fields"])
    at = datetime.fromisoformat(frozen["timestamp"])
    return Message(delivery_id, frozen["type"], at, frozen["data"], fields)
