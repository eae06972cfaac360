"""Positions: the last local record id that a step of the pipeline has handled."""

from __future__ import annotations

from sqlalchemy import Connection, select

from actionwatch.store.database import upsert
from actionwatch.store.tables import POSITION

MATCHED = "match"  # by plain rules
CORRELATED = "correlate"

_ALL = select(POSITION)


def read(connection: Connection, name: str) -> int:
    """Return the position of a step; 0 before it handled anything."""
    found: int | None = connection.execute(select(POSITION.c.record_id).where(POSITION.c.name == name)).scalar()
    return found or 0


def read_both(connection: Connection) -> tuple[int, int]:
    """Return the positions of `MATCHED` and of `CORRELATED`, which is never further."""
    found = {row.name: row.record_id for row in connection.execute(_ALL)}
    return found.get(MATCHED, 0), found.get(CORRELATED, 0)


def write(connection: Connection, name: str, record_id: int) -> None:
    """Store the position of a step."""
    upsert(connection, POSITION, {"name": name, "record_id": record_id})
