"""The deliveries: the newest, those that are not finished, and one with its message."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from actionwatch.base.delivery import Delivery, DeliveryStatus
from actionwatch.queries.pages import Page, only
from actionwatch.store import outbox
from actionwatch.store.column_types import damaged
from actionwatch.store.statements import PageKey
from actionwatch.text.payloads import DeliveryDocument, delivery_document

STATES: Mapping[str, DeliveryStatus | None] = {
    "waiting": DeliveryStatus.PENDING,
    "held": None,
    "dead": DeliveryStatus.DEAD,
}
"""The status of the rows of each state; None: they wait for a summary, in any status."""


class DeliveryDetail(DeliveryDocument):
    """A delivery with its message as it was sent; null before the first attempt, and after retention deleted it."""

    message: Any


def newest(connection: Connection, limit: int, *, is_dead: bool, receiver: str | None) -> Sequence[Delivery]:
    """Return the newest deliveries, or dead letters, newest first."""
    return outbox.find(connection, limit=limit, is_dead=is_dead, receiver=receiver)


def page(
    connection: Connection, state: str, receiver: str | None, limit: int, after: PageKey | None = None
) -> Page[Delivery]:
    """Return the next deliveries in a state, by receiver and time, after a place."""
    return Page(*outbox.read_page(connection, STATES[state], receiver, limit, after))


def place_of(state: str) -> tuple[type[str] | type[datetime], ...]:
    """Return the types of the values that make a place in the list of a state."""
    return (str, str if STATES[state] is None else datetime, str)


def find(connection: Connection, beginning: str) -> Delivery:
    """Return the delivery whose id starts with this. Raises: NotFound."""
    return only(outbox.read_by_prefix(connection, beginning), "delivery", beginning, "deliveries list")


def document(delivery: Delivery) -> DeliveryDetail:
    """Return a delivery and its message as JSON. Raises: StoreError, if the message cannot be read."""
    try:
        message = json.loads(delivery.body) if delivery.body else None
    except ValueError as exc:
        raise damaged(exc) from exc
    return {**delivery_document(delivery), "message": message}
