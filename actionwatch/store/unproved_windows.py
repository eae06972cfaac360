"""The windows that the sweeps have yet to check, and those that they could not prove. They survive a restart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from actionwatch.store.database import upsert
from actionwatch.store.tables import UNPROVED
from actionwatch.store.timestamps import MICROSECOND

SECOND_LOOK = timedelta(0)  # the reach of a window of a backlog, which is read a second time


@dataclass(frozen=True, slots=True, kw_only=True)
class UnprovedWindow:
    """An older window to check, or to read whatever the upstream counts (`must_read`).

    `failure_count` is how often in a row it could not be proved; 0: it was not checked yet.
    """

    source: str
    starts_at: datetime
    ends_at: datetime
    reach: timedelta
    due_at: datetime
    must_read: bool = False
    failure_count: int = 0
    is_reported: bool = False
    why: str = ""


def read(connection: Connection, source: str) -> list[UnprovedWindow]:
    """Read the windows of a source: the one that was due first comes first, and of those the oldest."""
    order = (UNPROVED.c.due_at, UNPROVED.c.starts_at, UNPROVED.c.ends_at)
    rows = connection.execute(select(UNPROVED).where(UNPROVED.c.source == source).order_by(*order)).mappings()
    return [UnprovedWindow(**{**row, "reach": row["reach"] * MICROSECOND}) for row in rows]


def write(connection: Connection, windows: Iterable[UnprovedWindow]) -> None:
    """Store windows; replace those that are stored."""
    for window in windows:
        values = {name: getattr(window, name) for name in window.__dataclass_fields__}
        values["reach"] = window.reach // MICROSECOND
        upsert(connection, UNPROVED, values)


def delete(connection: Connection, window: UnprovedWindow) -> None:
    """Delete a window."""
    is_it = (
        UNPROVED.c.source == window.source,
        UNPROVED.c.starts_at == window.starts_at,
        UNPROVED.c.ends_at == window.ends_at,
    )
    connection.execute(UNPROVED.delete().where(*is_it))


def delete_older(connection: Connection, before: datetime) -> int:
    """Delete the windows that ended before a time; return their number."""
    return connection.execute(UNPROVED.delete().where(UNPROVED.c.ends_at < before)).rowcount
