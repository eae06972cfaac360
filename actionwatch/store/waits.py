"""The stored times until which something waits, or from which it counts: they move together when the machine's clock is set.

Times that only record when something happened do not move.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Column, ColumnElement, Connection, and_, case, func, literal, select, type_coerce

from actionwatch.base.clock import MICROSECOND, to_micros
from actionwatch.base.model import Event
from actionwatch.store.column_types import Instant
from actionwatch.store.outbox import IS_PENDING
from actionwatch.store.tables import BACKLOG, DELIVERY, POLL, RECEIVER


def shift(connection: Connection, step: timedelta, before: datetime) -> None:
    """Move all waits by a step of the clock, which showed `before` when it was set.

    The time of a digest does not move, because it is a time of day.
    """
    is_for_digest = and_(DELIVERY.c.event == Event.SUMMARY.value, DELIVERY.c.attempts == 0, DELIVERY.c.due_at > before)
    moved = {name: _moved(DELIVERY.c[name], step) for name in ("created_at", "started_at", "leased_until")}
    due_at = case((is_for_digest, DELIVERY.c.due_at), else_=_moved(DELIVERY.c.due_at, step))
    connection.execute(DELIVERY.update().where(IS_PENDING).values(**moved, due_at=due_at))
    is_of_storm = DELIVERY.c.awaits == "storm"
    connection.execute(DELIVERY.update().where(is_of_storm).values(due_at=_moved(DELIVERY.c.due_at, step)))
    waits = ("failing_since", "paused_until", "next_at")
    connection.execute(RECEIVER.update().values({name: _moved(RECEIVER.c[name], step) for name in waits}))
    progress = {name: _moved(BACKLOG.c[name], step) for name in ("began_at", "noted_at")}
    connection.execute(BACKLOG.update().values(progress))
    # The clock of the upstream did not change: it is ahead of ours by that much less.
    skew = POLL.c.clock_skew - step
    connection.execute(POLL.update().values(last_poll_at=_moved(POLL.c.last_poll_at, step), clock_skew=skew))


def excuse(connection: Connection, lost: timedelta, now: datetime) -> None:
    """Do not count a time in which nothing ran against messages and receivers."""
    started_at = _at_most(_moved(DELIVERY.c.started_at, lost), now)
    connection.execute(DELIVERY.update().where(IS_PENDING).values(started_at=started_at))
    failing_since = _at_most(_moved(RECEIVER.c.failing_since, lost), now)
    connection.execute(RECEIVER.update().values(failing_since=failing_since))


def clamp(connection: Connection, now: datetime, longest_pause: timedelta) -> None:
    """Treat messages that were created in the future as created now, and shorten pauses to the longest possible one."""
    early = type_coerce(DELIVERY.c.started_at, BigInteger) - to_micros(now)
    due_at = type_coerce(type_coerce(DELIVERY.c.due_at, BigInteger) - early, Instant)
    made = {"created_at": _at_most(DELIVERY.c.created_at, now), "started_at": now, "due_at": due_at}
    connection.execute(DELIVERY.update().where(IS_PENDING, DELIVERY.c.started_at > now).values(made))
    values = {
        "failing_since": _at_most(RECEIVER.c.failing_since, now),
        "paused_until": _at_most(RECEIVER.c.paused_until, now + longest_pause),
    }
    connection.execute(RECEIVER.update().values(values))


def read_last_alive(connection: Connection) -> datetime | None:
    """Return when a process last stored a poll or the progress of a backlog; None before the first."""
    columns = (POLL.c.last_poll_at, BACKLOG.c.noted_at)
    noted = [connection.execute(select(func.max(column))).scalar() for column in columns]
    return max((at for at in noted if at is not None), default=None)


def _moved(column: Column[Any], step: timedelta) -> ColumnElement[Any]:
    return type_coerce(type_coerce(column, BigInteger) + step // MICROSECOND, Instant)


def _at_most(value: ColumnElement[Any], limit: datetime) -> ColumnElement[Any]:
    return case((value > limit, literal(limit, Instant)), else_=value)
