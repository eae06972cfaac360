"""Compose: what a claimed delivery says, frozen at its first attempt.

Used by `deliver.py` within its claiming transaction. A message that was frozen before is sent again to the letter; one that
cannot be composed becomes a dead letter, so that no single alert can stop the others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import msgspec
import structlog
from sqlalchemy import Connection

from actionwatch.documents import RECORDS_SHOWN, alert_document
from actionwatch.model import MESSAGE_TYPES, Alert, Delivery, Message, Record
from actionwatch.store import alerts, outbox, records

log = structlog.get_logger()

FieldTexts = Callable[[Record, Sequence[str]], tuple[tuple[str, str], ...]]
"""Gives the labelled values that a rule wants shown of a record: `rules/fields.py`."""


class Composer:
    """Turns claimed deliveries of one receiver into messages."""

    def __init__(self, field_texts: FieldTexts) -> None:
        self._field_texts = field_texts

    def compose(
        self,
        connection: Connection,
        passed: Sequence[Delivery],
        known: Mapping[str, Alert],
        now: datetime,
    ) -> dict[str, Message]:
        """Give what each delivery says, by delivery id; one that cannot be written is missing, and buried in the store.

        `passed` are the deliveries that the gates let through; `known` their alerts, as far as they have been read.
        """
        found = {delivery.id: thaw(delivery.id, delivery.body) for delivery in passed if delivery.body is not None}
        untried = [delivery for delivery in passed if delivery.body is None]
        if not untried:
            return found
        ids = {delivery.alert_id for delivery in untried}
        if unknown := ids - known.keys():
            known = {**known, **alerts.read_many(connection, unknown)}
        newest = records.read_of_alerts(connection, ids, RECORDS_SHOWN)
        frozen: list[outbox.Frozen] = []
        for delivery in untried:
            try:
                message = self._message(delivery, known[delivery.alert_id], newest[delivery.alert_id], now)
                frozen.append(outbox.Frozen(delivery.id, delivery.event, freeze(message)))
            except Exception as exc:
                is_gone = delivery.alert_id not in known
                why = "its alert is no longer in the store" if is_gone else f"cannot be written: {type(exc).__name__}"
                log.exception("message_not_composed", delivery=delivery.id, alert=delivery.alert_id, why=why)
                outbox.record_dead(connection, delivery.id, None, why)
            else:
                found[delivery.id] = message
        outbox.freeze(connection, frozen)
        return found

    def _message(self, delivery: Delivery, alert: Alert, shown: Sequence[Record], now: datetime) -> Message:
        fields = self._field_texts(shown[-1], alert.fields) if shown else ()
        return Message(delivery.id, MESSAGE_TYPES[delivery.event], now, alert_document(alert, shown), fields)


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


def thaw(delivery_id: str, body: str) -> Message:
    """Read a message that was frozen."""
    frozen = json.loads(body)
    fields = tuple((label, value) for label, value in frozen["fields"])
    at = datetime.fromisoformat(frozen["timestamp"])
    return Message(delivery_id, frozen["type"], at, frozen["data"], fields)
