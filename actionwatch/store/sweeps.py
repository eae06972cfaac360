"""The time of the last run of each sweep over older windows."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from actionwatch.store.statements import upsert
from actionwatch.store.tables import SWEEP


def read(connection: Connection, source: str) -> dict[timedelta, datetime]:
    """Return when the sweep of each reach last ran; a reach that never ran has no key."""
    rows = connection.execute(select(SWEEP).where(SWEEP.c.source == source))
    return {row.reach: row.asked_at for row in rows}


def note_sweep(connection: Connection, source: str, reach: timedelta, at: datetime) -> None:
    """Store that the sweep of a reach ran."""
    upsert(connection, SWEEP, {"source": source, "reach": reach, "asked_at": at})
