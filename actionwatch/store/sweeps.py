"""The time of the last run of each sweep over older windows."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import Connection, bindparam, select

from actionwatch.store.statements import upsert
from actionwatch.store.tables import SWEEP

_OF_SOURCES = select(SWEEP).where(SWEEP.c.source.in_(bindparam("names", expanding=True)))


def read(connection: Connection, source: str) -> dict[timedelta, datetime]:
    """Return when the sweep of each reach last ran; a reach that never ran has no key."""
    return read_many(connection, [source])[source]


def read_many(connection: Connection, sources: Collection[str]) -> dict[str, dict[timedelta, datetime]]:
    """Return the same for several sources."""
    found: dict[str, dict[timedelta, datetime]] = {source: {} for source in sources}
    for row in connection.execute(_OF_SOURCES, {"names": list(sources)}):
        found[row.source][row.reach] = row.asked_at
    return found


def note_sweep(connection: Connection, source: str, reach: timedelta, at: datetime) -> None:
    """Store that the sweep of a reach ran."""
    upsert(connection, SWEEP, {"source": source, "reach": reach, "asked_at": at})
