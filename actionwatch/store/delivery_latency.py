"""The time until alerts reach people: counts per receiver, in buckets that only grow.

Kept as counters, because a scrape must not read every delivery, and retention must not make a counter fall.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from sqlalchemy import Connection, bindparam, select

from actionwatch.base.clock import MICROSECOND
from actionwatch.base.delivery import Delivery
from actionwatch.base.model import Alert
from actionwatch.store import row_versions
from actionwatch.store.column_types import Instant
from actionwatch.store.statements import upsert
from actionwatch.store.tables import ALERT, DELIVERY_LATENCY

BOUNDS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)  # seconds
BEYOND = -1
_BOUNDS_MICROS = [bound * 1_000_000 for bound in BOUNDS]
_FIRST_SENT = (
    ALERT.update()
    .where(ALERT.c.id.in_(bindparam("ids", expanding=True)), ALERT.c.first_sent_at.is_(None))
    .values(first_sent_at=bindparam("at", type_=Instant))
    .returning(ALERT.c.id)
)
_ALL = select(DELIVERY_LATENCY).order_by(DELIVERY_LATENCY.c.receiver, DELIVERY_LATENCY.c.bucket)


@dataclass(frozen=True, slots=True)
class Histogram:
    """The messages of one receiver: how many fell into each bucket, and how long all took together."""

    receiver: str
    buckets: dict[int, int]
    total: timedelta


def note_sent(connection: Connection, sent: Sequence[tuple[Alert, Delivery]], at: datetime) -> None:
    """Count alerts that receivers accepted now, and store the time in those that no receiver accepted before.

    The time counts from the poll that brought the record, so that a late record is no late message; an alert without a record
    counts from when it opened. Escalations are not counted, because they wait on purpose, nor the messages about alerts that a
    person reopened.
    """
    counts: Counter[tuple[str, int]] = Counter()
    totals: Counter[tuple[str, int]] = Counter()
    for alert, delivery in sent:
        if delivery.is_escalation or (alert.reopened_at is not None and delivery.created_at >= alert.reopened_at):
            continue
        span = max((at - (alert.seen_at or alert.opened_at)) // MICROSECOND, 0)
        place = bisect_left(_BOUNDS_MICROS, span)
        key = (delivery.receiver, BOUNDS[place] if place < len(BOUNDS) else BEYOND)
        counts[key] += 1
        totals[key] += span
    rows = [
        {"receiver": receiver, "bucket": bucket, "message_count": count, "total": totals[receiver, bucket]}
        for (receiver, bucket), count in counts.items()
    ]
    upsert(connection, DELIVERY_LATENCY, *rows, added=("message_count", "total"))
    if sent:
        changed = connection.execute(_FIRST_SENT, {"ids": [alert.id for alert, _ in sent], "at": at})
        row_versions.note(connection, ALERT, changed.scalars().all())


def read_all(connection: Connection) -> list[Histogram]:
    """Read the histogram of each receiver."""
    found = []
    for receiver, its in groupby(connection.execute(_ALL), key=lambda row: str(row.receiver)):
        rows = list(its)
        buckets = {row.bucket: row.message_count for row in rows}
        found.append(Histogram(receiver, buckets, sum(row.total for row in rows) * MICROSECOND))
    return found
