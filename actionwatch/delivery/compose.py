"""Compose: what a claimed delivery says, frozen at its first attempt.

Used by `worker.py` within its claiming transaction. A message that was frozen before is sent again to the letter; one that
cannot be composed becomes a dead letter, so that no single alert can stop the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
import structlog
from msgspec.structs import replace
from sqlalchemy import Connection

from actionwatch.base.durations import spell_duration
from actionwatch.base.model import ESCALATION, MESSAGE_TYPES, READDRESSED, Alert, Delivery, Event, Message, Record
from actionwatch.rules.fields import shown_texts
from actionwatch.store import outbox, records
from actionwatch.store.outbox import Due
from actionwatch.text.payloads import RECORDS_SHOWN, alert_document

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Composed:
    """A delivery, frozen: its `body` is the message written down. The alert is None where it is no longer in the store."""

    delivery: Delivery
    message: Message
    alert: Alert | None


def compose(connection: Connection, passed: Sequence[Due], now: datetime) -> list[Composed]:
    """Give what each delivery says that the gates let through, in order.

    One that cannot be written is missing, and buried in the store.
    """
    untried = {due.delivery.alert_id for due in passed if due.delivery.body is None}
    newest = records.read_of_alerts(connection, untried, RECORDS_SHOWN) if untried else {}
    found = (_thawed(due) if due.delivery.body is not None else _frozen(connection, due, newest, now) for due in passed)
    return [composed for composed in found if composed is not None]


def message_of(
    delivery_id: str,
    event: Event,
    alert: Alert,
    newest: Sequence[Record],
    now: datetime,
    reasons: tuple[tuple[str, str], ...] = (),
) -> Message:
    """Say what there is to say of an alert; `newest` are the newest of its records, newest last, `reasons` come first."""
    fields = shown_texts(newest[-1], alert.fields) if newest else ()
    return Message(delivery_id, MESSAGE_TYPES[event], now, alert_document(alert, newest), (*reasons, *fields))


def _frozen(connection: Connection, due: Due, newest: Mapping[str, Sequence[Record]], now: datetime) -> Composed | None:
    delivery, why = due.delivery, "its alert is no longer in the store"
    try:
        if due.alert is not None:
            reasons = _reasons(connection, delivery)
            message = message_of(delivery.id, delivery.event, due.alert, newest[delivery.alert_id], now, reasons)
            return Composed(replace(delivery, body=freeze(message)), message, due.alert)
    except Exception as exc:
        why = f"cannot be written: {type(exc).__name__}"
        log.exception("message_not_composed", delivery=delivery.id, alert=delivery.alert_id)
    log.error("delivery_buried", delivery=delivery.id, alert=delivery.alert_id, why=why)
    outbox.record_dead(connection, delivery.id, None, why)
    return None


def _reasons(connection: Connection, delivery: Delivery) -> tuple[tuple[str, str], ...]:
    """Tell a person who would not be told otherwise why this came."""
    if delivery.why == READDRESSED and delivery.ref is not None:
        return (("in place of", delivery.ref),)
    if delivery.fallback_of is not None:
        original = outbox.read(connection, delivery.fallback_of)
        return (("in place of", original.receiver),) if original else ()
    if delivery.ordinal == ESCALATION:
        return (("escalated", f"nobody took it on within {spell_duration(delivery.due_at - delivery.created_at)}"),)
    return ()


def freeze(message: Message) -> str:
    """Write a message down, as it will be sent on every attempt."""
    frozen = {
        "type": message.type,
        "timestamp": message.timestamp.isoformat(),
        "data": message.data,
        "fields": message.fields,
    }
    try:
        return msgspec.json.encode(frozen).decode()
    except (UnicodeEncodeError, OverflowError, ValueError):
        # Lone surrogates and integers beyond 64 bits, which an upstream's JSON may hold: slower, and able to.
        return json.dumps(frozen, ensure_ascii=True, separators=(",", ":"))


def _thawed(due: Due) -> Composed:
    return Composed(due.delivery, thaw(due.delivery.id, due.delivery.body or ""), due.alert)


def thaw(delivery_id: str, body: str) -> Message:
    """Read a message that was frozen."""
    frozen = json.loads(body)
    fields = tuple((label, value) for label, value in frozen["fields"])
    at = datetime.fromisoformat(frozen["timestamp"])
    return Message(delivery_id, frozen["type"], at, frozen["data"], fields)
