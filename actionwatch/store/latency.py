"""How long alerts take to reach people: counts per rule, receiver and beginning, in buckets that only grow.

Kept as counters because a scrape must not read every delivery, and retention must not make a counter fall.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, func, select, type_coerce
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import BigInteger

from actionwatch.model import DeliveryStatus
from actionwatch.store.instants import MICROSECOND
from actionwatch.store.tables import ALERT, DELIVERY, IS_LET_THROUGH, LATENCY

BOUNDS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)  # seconds
BEYOND = -1
STAMPS = ("happened", "seen", "matched")
_STAMPS = select(
    ALERT.c.id,
    ALERT.c.rule_name,
    ALERT.c.happened_at.label("happened"),
    ALERT.c.seen_at.label("seen"),
    ALERT.c.opened_at.label("matched"),
).where(ALERT.c.id.in_(bindparam("ids", expanding=True)))


@dataclass(frozen=True, slots=True)
class Histogram:
    """One row of buckets: how many took up to each bound (each bucket on its own), and how long all took together."""

    rule: str
    receiver: str
    since: str
    buckets: dict[int, int]
    total: timedelta


def note(connection: Connection, told: Sequence[tuple[str, str]], at: datetime) -> None:
    """Count the alerts that were told to receivers now, as (alert id, receiver), and stamp those nobody was told of before."""
    if not told:
        return
    ids = {alert_id for alert_id, _ in told}
    stamps = {row.id: row for row in connection.execute(_STAMPS, {"ids": list(ids)})}
    counts: Counter[tuple[str, str, str, int]] = Counter()
    totals: Counter[tuple[str, str, str, int]] = Counter()
    for alert_id, receiver in told:
        row = stamps.get(alert_id)
        if row is None:
            continue
        for since in STAMPS:
            began = getattr(row, since)
            if began is not None:
                span = max(at - began, timedelta(0))
                key = (row.rule_name, receiver, since, _bucket(span))
                counts[key] += 1
                totals[key] += span // MICROSECOND
    for key, count in counts.items():
        _add(connection, key, count, totals[key])
    first = (ALERT.c.id.in_(ids), ALERT.c.told_at.is_(None))
    connection.execute(ALERT.update().where(*first).values(told_at=at))


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


def _bucket(span: timedelta) -> int:
    return next((bound for bound in BOUNDS if span <= timedelta(seconds=bound)), BEYOND)


def _add(connection: Connection, key: Iterable[str | int], count: int, total: int) -> None:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    names = ("rule", "receiver", "since", "bucket")
    values = {**dict(zip(names, key, strict=True)), "message_count": count, "total": total}
    statement = dialect.insert(LATENCY).values(values)
    more = {"message_count": LATENCY.c.message_count + count, "total": LATENCY.c.total + total}
    connection.execute(statement.on_conflict_do_update(index_elements=list(names), set_=more))
