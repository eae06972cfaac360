"""The time until alerts reach people: counts per rule, receiver and starting point, in buckets that only grow.

Kept as counters, because a scrape must not read every delivery, and retention must not make a counter fall.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, Connection, and_, bindparam, case, func, select, type_coerce

from actionwatch.base.clock import MICROSECOND
from actionwatch.base.delivery import Delivery
from actionwatch.base.model import Alert
from actionwatch.store import row_history
from actionwatch.store.column_types import Instant
from actionwatch.store.outbox import IS_ESCALATION, IS_PENDING, IS_SENT
from actionwatch.store.statements import upsert
from actionwatch.store.tables import ALERT, DELIVERY, DELIVERY_LATENCY, IS_LET_THROUGH

BOUNDS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)  # seconds
BEYOND = -1
_STARTS = ("happened", "seen", "matched")
_BOUNDS_MICROS = [bound * 1_000_000 for bound in BOUNDS]
_FIRST_SENT = row_history.Change.of(
    ALERT.update()
    .where(ALERT.c.id.in_(bindparam("ids", expanding=True)), ALERT.c.first_sent_at.is_(None))
    .values(first_sent_at=bindparam("at", type_=Instant))
)
_KEY = ("rule", "receiver", "since", "bucket")
_PLACE = (DELIVERY_LATENCY.c.receiver, DELIVERY_LATENCY.c.since, DELIVERY_LATENCY.c.bucket)
_ALL = (
    select(*_PLACE, func.sum(DELIVERY_LATENCY.c.message_count), func.sum(DELIVERY_LATENCY.c.total))
    .group_by(*_PLACE)
    .order_by(*_PLACE)
)


@dataclass(frozen=True, slots=True)
class Histogram:
    """The messages of one receiver: how many fell into each bucket, and how long all took together."""

    receiver: str
    since: str
    buckets: dict[int, int]
    total: timedelta


def note_sent(connection: Connection, sent: Sequence[tuple[Alert, Delivery]], at: datetime) -> None:
    """Count alerts that receivers accepted now, and store the time in those that no receiver accepted before.

    Escalations are not counted, because they wait on purpose, nor the messages about alerts that a person reopened.
    """
    counts: Counter[tuple[str, str, str, int]] = Counter()
    totals: Counter[tuple[str, str, str, int]] = Counter()
    for alert, delivery in sent:
        if delivery.is_escalation or (alert.reopened_at is not None and delivery.created_at >= alert.reopened_at):
            continue
        for since, start in zip(_STARTS, (alert.happened_at, alert.seen_at, alert.opened_at), strict=True):
            if start is not None:
                span = max((at - start) // MICROSECOND, 0)
                key = (alert.rule.name, delivery.receiver, since, _bucket(span))
                counts[key] += 1
                totals[key] += span
    columns = (*_KEY, "message_count", "total")
    rows = [dict(zip(columns, (*key, count, totals[key]), strict=True)) for key, count in counts.items()]
    upsert(connection, DELIVERY_LATENCY, *rows, added=("message_count", "total"))
    if sent:
        _FIRST_SENT.run(connection, {"ids": [alert.id for alert, _ in sent], "at": at})


def read_all(connection: Connection) -> list[Histogram]:
    """Read the histogram of each receiver and starting point, over all rules: a series for each rule would be too many."""
    found: dict[tuple[str, str], tuple[dict[int, int], list[int]]] = {}
    for receiver, since, bucket, count, total in connection.execute(_ALL):
        buckets, totals = found.setdefault((receiver, since), ({}, []))
        buckets[bucket] = int(count)
        totals.append(int(total))
    return [Histogram(*key, buckets, sum(totals) * MICROSECOND) for key, (buckets, totals) in found.items()]


# An escalation waits on purpose: it counts from when it was due. After its first attempt, that time is not stored. The messages
# of an alert that a person reopened count from that.
_BEGAN = case(
    (and_(IS_ESCALATION, DELIVERY.c.attempts <= 1), DELIVERY.c.due_at),
    (DELIVERY.c.created_at >= ALERT.c.reopened_at, DELIVERY.c.created_at),
    else_=ALERT.c.happened_at,
)
_SPAN = type_coerce(DELIVERY.c.sent_at, BigInteger) - type_coerce(_BEGAN, BigInteger)
_ARRIVED = (
    select(func.count(), func.count().filter(bindparam("objective") < _SPAN))
    .select_from(DELIVERY)
    .join(ALERT, ALERT.c.id == DELIVERY.c.alert_id)
    .where(IS_LET_THROUGH, DELIVERY.c.receiver == bindparam("wanted"), ALERT.c.late_by.is_(None))
)


def count_slow(
    connection: Connection, receiver: str, since: datetime, now: datetime, objective: timedelta
) -> tuple[int, int]:
    """Count the alerts that a receiver accepted since then, and those that took longer than the objective.

    A pending alert counts once it is overdue, an escalation from when it is due. Alerts of late records do not count, because
    the upstream was late.
    """
    asked = {"wanted": receiver, "objective": objective // MICROSECOND}
    sent = _ARRIVED.where(IS_SENT, DELIVERY.c.sent_at > since)
    arrived, slow = connection.execute(sent, asked).one()
    waiting = _ARRIVED.where(IS_PENDING, now - objective > _BEGAN)
    overdue = connection.execute(waiting, asked).one()[0]
    return arrived + overdue, slow + overdue


def _bucket(span: int) -> int:
    place = bisect_left(_BOUNDS_MICROS, span)
    return BOUNDS[place] if place < len(BOUNDS) else BEYOND
