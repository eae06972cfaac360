"""The windows that the sweeps have yet to check, and those that they could not prove. They survive a restart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, select

from actionwatch.store.statements import upsert
from actionwatch.store.tables import UNPROVED_WINDOW

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
    return _read(connection, UNPROVED_WINDOW.c.source == source)


def read_failed(connection: Connection, source: str) -> list[UnprovedWindow]:
    """Read the windows of a source that could not be proved. After a backlog, thousands more were not checked yet."""
    return _read(connection, UNPROVED_WINDOW.c.source == source, UNPROVED_WINDOW.c.failure_count > 0)


def _read(connection: Connection, *conditions: ColumnElement[bool]) -> list[UnprovedWindow]:
    order = (UNPROVED_WINDOW.c.due_at, UNPROVED_WINDOW.c.starts_at, UNPROVED_WINDOW.c.ends_at)
    rows = connection.execute(select(UNPROVED_WINDOW).where(*conditions).order_by(*order))
    return [UnprovedWindow(**row) for row in rows.mappings()]


def write(connection: Connection, windows: Iterable[UnprovedWindow]) -> None:
    """Store windows; replace those that are stored."""
    upsert(connection, UNPROVED_WINDOW, *map(asdict, windows))


def delete(connection: Connection, window: UnprovedWindow) -> None:
    """Delete a window."""
    is_it = (column == getattr(window, column.name) for column in UNPROVED_WINDOW.primary_key)
    connection.execute(UNPROVED_WINDOW.delete().where(*is_it))


def delete_older(connection: Connection, before: datetime) -> int:
    """Delete the windows that ended before a time; return their number."""
    return connection.execute(UNPROVED_WINDOW.delete().where(UNPROVED_WINDOW.c.ends_at < before)).rowcount
