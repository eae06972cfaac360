"""What the sweeps have still to ask for, or to read again, and what they could not prove: kept, so that no restart forgets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from actionwatch.store.database import upsert
from actionwatch.store.tables import UNPROVED
from actionwatch.store.timestamps import MICROSECOND

SECOND_LOOK = timedelta(0)  # the reach of what no sweep asks for: it is read once more whatever is counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Unproved:
    """An older window in doubt. `failure_count` says how often in a row it could not be proved, 0: it was not asked yet."""

    source: str
    starts_at: datetime
    ends_at: datetime
    reach: timedelta
    due_at: datetime
    failure_count: int = 0
    why: str = ""


def read(connection: Connection, source: str) -> list[Unproved]:
    """Read a source's windows in doubt: what was due first comes first, and of that the oldest."""
    order = (UNPROVED.c.due_at, UNPROVED.c.starts_at, UNPROVED.c.ends_at)
    rows = connection.execute(select(UNPROVED).where(UNPROVED.c.source == source).order_by(*order)).mappings()
    return [Unproved(**{**row, "reach": row["reach"] * MICROSECOND}) for row in rows]


def write(connection: Connection, windows: Iterable[Unproved]) -> None:
    """Store windows, replacing what was there of each."""
    for window in windows:
        values = {name: getattr(window, name) for name in window.__dataclass_fields__}
        values["reach"] = window.reach // MICROSECOND
        upsert(connection, UNPROVED, values)


def delete(connection: Connection, window: Unproved) -> None:
    """Delete a window that is in doubt no more."""
    is_it = (
        UNPROVED.c.source == window.source,
        UNPROVED.c.starts_at == window.starts_at,
        UNPROVED.c.ends_at == window.ends_at,
    )
    connection.execute(UNPROVED.delete().where(*is_it))


def delete_older(connection: Connection, before: datetime) -> int:
    """Delete the windows that ended before a time; return their number."""
    return connection.execute(UNPROVED.delete().where(UNPROVED.c.ends_at < before)).rowcount
