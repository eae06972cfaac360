"""Count records by source and by time, and by the delay with which they were seen."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

from sqlalchemy import BigInteger, Connection, func, select, type_coerce

from actionwatch.base.clock import Spans
from actionwatch.store.record_keys import key_floor
from actionwatch.store.tables import ALERT_RECORD, RECORD, RECORD_COUNT


def count_by_source(connection: Connection) -> dict[str, int]:
    """Return how many records of each source are stored now."""
    c = RECORD_COUNT.c
    return {row[0]: row[1] for row in connection.execute(select(c.source, c.stored_count - c.deleted_count))}


def count_ever_stored(connection: Connection) -> int:
    """Return how many records were stored since the store was created, including those that retention deleted."""
    found: int | None = connection.execute(select(func.sum(RECORD_COUNT.c.stored_count))).scalar()
    return found or 0


def count_by_time(connection: Connection, spans: Spans, most: int) -> list[int]:
    """Count the records with a readable time in each span, with the index alone, and at most `most` in each."""
    bounds = [key_floor(at) for at in (*spans.starts, spans.end)]
    some = (
        select(RECORD.c.record_key).where(RECORD.c.record_key >= low, RECORD.c.record_key < high).limit(most).subquery()
        for low, high in pairwise(bounds)
    )
    counts = [select(func.count()).select_from(each).scalar_subquery() for each in some]
    return list(connection.execute(select(*counts)).one())


def count_joined(connection: Connection) -> int:
    """Count the records that belong to any alert."""
    return connection.execute(select(func.count(ALERT_RECORD.c.record_id.distinct()))).scalar() or 0


def lateness(connection: Connection, limit: int) -> dict[str, list[timedelta]]:
    """Return how long after its time each of the newest `limit` records was seen: by source, shortest first.

    Records from before the first poll of their source are left out, whether they alert or not.
    """
    names = ("source", "seen_at", "occurred_at", "is_backlog", "is_time_readable")
    newest = select(*(RECORD.c[name] for name in names)).order_by(RECORD.c.id.desc()).limit(limit).subquery()
    micros = type_coerce(newest.c.seen_at, BigInteger) - type_coerce(newest.c.occurred_at, BigInteger)
    since = newest.c.occurred_at >= RECORD_COUNT.c.first_seen_at
    watched = (~newest.c.is_backlog, newest.c.is_time_readable, since)
    joined = newest.join(RECORD_COUNT, RECORD_COUNT.c.source == newest.c.source)
    rows = connection.execute(select(newest.c.source, micros).select_from(joined).where(*watched).order_by(micros))
    found: dict[str, list[timedelta]] = {}
    for source, value in rows:
        found.setdefault(source, []).append(timedelta(microseconds=value))
    return found
