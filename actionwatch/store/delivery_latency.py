"""How long alerts take to reach people: counts per rule, receiver and beginning, in buckets that only grow.

Kept as counters because a scrape must not read every delivery, and retention must not make a counter fall.
"""

from __future__ import annotations

import functools
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, Insert, bindparam, func, select, type_coerce
from sqlalchemy.types import BigInteger

from actionwatch.base.delivery import DeliveryStatus
from actionwatch.base.model import Alert
from actionwatch.store.database import insert_into
from actionwatch.store.tables import ALERT, DELIVERY, IS_LET_THROUGH, LATENCY
from actionwatch.store.timestamps import MICROSECOND, Instant

BOUNDS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)  # seconds
BEYOND = -1
STAMPS = ("happened", "seen", "matched")
_BOUNDS_MICROS = [bound * 1_000_000 for bound in BOUNDS]
_TOLD_FIRST = (
    ALERT.update()
    .where(ALERT.c.id.in_(bindparam("ids", expanding=True)), ALERT.c.told_at.is_(None))
    .values(told_at=bindparam("at", type_=Instant))
)


_Key = tuple[str, str, str, int]
_COLUMNS = ("rule", "receiver", "since", "bucket", "message_count", "total")


@dataclass(frozen=True, slots=True)
class Histogram:
    """One row of buckets: how many took up to each bound (each bucket on its own), and how long all took together."""

    rule: str
    receiver: str
    since: str
    buckets: dict[int, int]
    total: timedelta


def note(connection: Connection, told: Sequence[tuple[Alert, str]], at: datetime) -> None:
    """Count the alerts that receivers were told of now, by name, and stamp those nobody was told of before."""
    if not told:
        return
    counts: Counter[_Key] = Counter()
    totals: Counter[_Key] = Counter()
    for alert, receiver in told:
        for since, began in zip(STAMPS, (alert.happened_at, alert.seen_at, alert.opened_at), strict=True):
            if began is not None:
                span = max((at - began) // MICROSECOND, 0)
                key = (alert.rule.name, receiver, since, _bucket(span))
                counts[key] += 1
                totals[key] += span
    rows = [(*key, count, totals[key]) for key, count in counts.items()]
    connection.execute(_adding(connection.dialect.name), [dict(zip(_COLUMNS, row, strict=True)) for row in rows])
    connection.execute(_TOLD_FIRST, {"ids": [alert.id for alert, _ in told], "at": at})


def read_all(connection: Connection) -> list[Histogram]:
    """Read every histogram."""
    rows = connection.execute(select(LATENCY).order_by(LATENCY.c.rule, LATENCY.c.receiver, LATENCY.c.since))
    found: dict[tuple[str, str, str], tuple[dict[int, int], list[int]]] = {}
    for row in rows:
        buckets, totals = found.setdefault((row.rule, row.receiver, row.since), ({}, []))
        buckets[row.bucket] = row.message_count
        totals.append(row.total)
    return [Histogram(*key, buckets, sum(totals) * MICROSECOND) for key, (buckets, totals) in found.items()]


_SPAN = type_coerce(DELIVERY.c.sent_at, BigInteger) - type_coerce(ALERT.c.happened_at, BigInteger)
_ARRIVED = (
    select(func.count(), func.count().filter(bindparam("objective") < _SPAN))
    .select_from(DELIVERY)
    .join(ALERT, ALERT.c.id == DELIVERY.c.alert_id)
    .where(IS_LET_THROUGH, DELIVERY.c.receiver == bindparam("wanted"), ALERT.c.late_by.is_(None))
)


def count_slow(
    connection: Connection, receiver: str, since: datetime, now: datetime, objective: timedelta
) -> tuple[int, int]:
    """Count the alerts a receiver was told of since then, and those told later than the objective after they happened.

    What is still on its way counts once it is overdue. Alerts of late records are left out: it was not us who took so long.
    """
    asked = {"wanted": receiver, "objective": objective // MICROSECOND}
    sent = _ARRIVED.where(DELIVERY.c.status == DeliveryStatus.SENT.value, DELIVERY.c.sent_at > since)
    arrived, slow = connection.execute(sent, asked).one()
    waiting = _ARRIVED.where(DELIVERY.c.status == DeliveryStatus.PENDING.value, ALERT.c.happened_at < now - objective)
    overdue = connection.execute(waiting, asked).one()[0]
    return arrived + overdue, slow + overdue


def _bucket(span: int) -> int:
    place = bisect_left(_BOUNDS_MICROS, span)
    return BOUNDS[place] if place < len(BOUNDS) else BEYOND


@functools.cache
def _adding(dialect_name: str) -> Insert:
    """Make the statement that adds to a count, which may be new: its form is each database's own."""
    statement = insert_into(LATENCY, dialect_name)
    more = {name: LATENCY.c[name] + statement.excluded[name] for name in ("message_count", "total")}
    return statement.on_conflict_do_update(index_elements=list(_COLUMNS[:4]), set_=more)
