"""The rows that a gate stopped, and the summaries that report them.

`awaits` of such a row is the reason of the summary that will report it: `silence`, `mute`, `storm` or `digest`. The summary is
a row of the outbox; its id is `reported_in` of the rows that it reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, exists, func, or_, select

from actionwatch.base.delivery import Delivery
from actionwatch.base.model import Alert, Cause, Event, Level, Status
from actionwatch.store import alerts, outbox, silences
from actionwatch.store.column_types import Instant
from actionwatch.store.fallback_deliveries import COPY, IS_ORIGINAL
from actionwatch.store.statements import upsert
from actionwatch.store.tables import ALERT, ALERT_RECORD, DELIVERY, IS_LET_THROUGH, RECEIVER

_AWAITING = (
    select(DELIVERY.c.awaits, DELIVERY.c.ref, DELIVERY.c.mutes, func.min(DELIVERY.c.due_at).label("due_at"))
    .where(DELIVERY.c.receiver == bindparam("wanted"), outbox.AWAITS_SUMMARY)
    .group_by(DELIVERY.c.awaits, DELIVERY.c.ref, DELIVERY.c.mutes)
)


_NOW, _SINCE = (bindparam(name, type_=Instant) for name in ("now", "since"))
_LET_THROUGH = select(DELIVERY.c.receiver).where(IS_LET_THROUGH, DELIVERY.c.receiver == bindparam("wanted"))
# A time in the future is from before the clock was set back: ignore it.
_IS_SENT_SINCE = (outbox.IS_SENT, DELIVERY.c.sent_at > _SINCE, DELIVERY.c.sent_at <= _NOW)
_SENT_SINCE = outbox.count_at_most(_LET_THROUGH.where(*_IS_SENT_SINCE))
# What a fallback got counts like a sent message: while a receiver fails, it would otherwise count for as long as that lasts.
_IS_COPIED_BEFORE = exists().where(*IS_ORIGINAL, or_(COPY.c.created_at <= _SINCE, COPY.c.created_at > _NOW))
# No pending row has a time: the condition makes SQLite use the partial index.
_BEING_SENT = outbox.count_at_most(
    _LET_THROUGH.where(outbox.IS_PENDING, DELIVERY.c.sent_at.is_(None), ~_IS_COPIED_BEFORE)
)

_DUE_OPENINGS = outbox.count_at_most(
    select(DELIVERY.c.receiver).where(
        outbox.IS_PENDING,
        DELIVERY.c.receiver == bindparam("wanted"),
        DELIVERY.c.due_at <= _NOW,
        DELIVERY.c.event == Event.OPENED.value,
        ~outbox.IS_FROZEN,
    )
)


@dataclass(frozen=True, slots=True)
class SummaryGroup:
    """Rows of one receiver that await a summary for one cause. `due_at`: when the first of them may be reported."""

    awaits: str
    ref: str | None
    mutes: tuple[str, ...]
    due_at: datetime


@dataclass(frozen=True, slots=True)
class SummaryContent:
    """The content of a summary: the number of alerts, in total and by level, the most severe ones, and the causes."""

    count: int
    levels: dict[Level, int]
    alerts: list[Alert]
    causes: list[Cause]


def count_let_through(connection: Connection, receiver: str, since: datetime, now: datetime, most: int) -> int:
    """Count the alerts sent to a receiver or its fallback since then, and those being sent; at most `most` of each."""
    asked = {"wanted": receiver, "since": since, "now": now, "most": most}
    return sum(int(connection.execute(statement, asked).scalar() or 0) for statement in (_SENT_SINCE, _BEING_SENT))


def count_due_openings(connection: Connection, receiver: str, now: datetime, most: int) -> int:
    """Count at most `most` openings that are due and were not attempted."""
    return connection.execute(_DUE_OPENINGS, {"wanted": receiver, "now": now, "most": most}).scalar_one()


def read_groups(connection: Connection, receiver: str) -> list[SummaryGroup]:
    """Read what awaits a summary for a receiver."""
    rows = connection.execute(_AWAITING, {"wanted": receiver})
    return [SummaryGroup(row.awaits, row.ref, row.mutes, row.due_at) for row in rows]


def read_content(connection: Connection, summary_id: str, limit: int) -> SummaryContent:
    """Read what a summary reports: the alerts by level, then newest first."""
    ids = select(DELIVERY.c.alert_id).where(DELIVERY.c.reported_in == summary_id)
    is_reported = ALERT.c.id.in_(ids)
    counts = connection.execute(select(ALERT.c.level, func.count()).where(is_reported).group_by(ALERT.c.level))
    levels = {row[0]: row[1] for row in counts}
    order = (ALERT.c.level.desc(), ALERT.c.last_at.desc(), ALERT.c.id)
    chosen = connection.execute(select(ALERT.c.id).where(is_reported).order_by(*order).limit(limit)).scalars().all()
    found = alerts.read_many(connection, chosen)
    shown = [found[alert_id] for alert_id in chosen]
    return SummaryContent(sum(levels.values()), levels, shown, _read_causes(connection, summary_id))


def _read_causes(connection: Connection, summary_id: str) -> list[Cause]:
    """Read how many alerts of which rule each silence or mute interval suppressed, in descending order."""
    counted = func.count(DELIVERY.c.alert_id.distinct())
    statement = (
        select(DELIVERY.c.ref, ALERT.c.rule_name, counted)
        .join(ALERT, ALERT.c.id == DELIVERY.c.alert_id)
        .where(DELIVERY.c.reported_in == summary_id, DELIVERY.c.ref.is_not(None))
        .group_by(DELIVERY.c.ref, ALERT.c.rule_name)
        .order_by(counted.desc(), ALERT.c.rule_name)
    )
    rules: dict[str, dict[str, int]] = {}
    for ref, rule, count in connection.execute(statement):
        rules.setdefault(ref, {})[rule] = count
    known = silences.read_many(connection, rules)
    causes = [
        Cause(ref, counts, known[ref].author, known[ref].comment) if ref in known else Cause(ref, counts)
        for ref, counts in rules.items()
    ]
    return sorted(causes, key=lambda cause: (-sum(cause.rules.values()), cause.ref))


def read_lasting(connection: Connection, summary_id: str) -> list[str]:
    """Return the ids of the alerts of a summary that report something that still lasts.

    They have no records: self-alerts, and alerts about something that did not happen.
    """
    ids = select(DELIVERY.c.alert_id).where(DELIVERY.c.reported_in == summary_id)
    statement = (
        select(ALERT.c.id)
        .where(ALERT.c.id.in_(ids), ALERT.c.status != Status.RESOLVED.value)
        .where(~exists().where(ALERT_RECORD.c.alert_id == ALERT.c.id))
    )
    return list(connection.execute(statement.order_by(ALERT.c.id)).scalars())


def read_summary_of(connection: Connection, delivery_id: str) -> str | None:
    """Return the id of the summary that reported a stopped row; None before there is one."""
    found: str | None = connection.execute(select(DELIVERY.c.reported_in).where(DELIVERY.c.id == delivery_id)).scalar()
    return found


def read_reported(connection: Connection, summary_id: str) -> list[str]:
    """Return the ids of the alerts that a summary reports."""
    ids = select(DELIVERY.c.alert_id).distinct().where(DELIVERY.c.reported_in == summary_id)
    return list(connection.execute(ids.order_by(DELIVERY.c.alert_id)).scalars())


def read_last_storm(connection: Connection, receiver: str) -> Delivery | None:
    """Read the last summary of a storm for a receiver."""
    known: str | None = connection.execute(select(RECEIVER.c.storm_summary).where(RECEIVER.c.name == receiver)).scalar()
    return outbox.read(connection, known) if known else None


def note_storm(connection: Connection, receiver: str, summary_id: str) -> None:
    """Remember the last summary of a storm."""
    upsert(connection, RECEIVER, {"name": receiver, "storm_summary": summary_id})
