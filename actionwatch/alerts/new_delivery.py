"""Make new rows of the outbox, before any gate or attempt."""

from __future__ import annotations

from datetime import datetime

from actionwatch.base.delivery import Delivery, DeliveryStatus
from actionwatch.base.ids import stable_id
from actionwatch.base.model import Event


def new_delivery(
    alert_id: str,
    receiver: str,
    event: Event,
    ordinal: int,
    now: datetime,
    due_at: datetime,
    mutes: tuple[str, ...] = (),
    *,
    fallback_of: str | None = None,
    body: str | None = None,
) -> Delivery:
    """Make a row. Its id comes from the ordinal: ids from event and count would collide when the event changes."""
    return Delivery(
        id=stable_id("delivery", alert_id, receiver, str(ordinal)),
        alert_id=alert_id,
        receiver=receiver,
        event=event,
        ordinal=ordinal,
        status=DeliveryStatus.PENDING,
        attempts=0,
        created_at=now,
        started_at=now,
        due_at=due_at,
        mutes=mutes,
        fallback_of=fallback_of,
        body=body,
    )
