"""Puts a step of the pipeline where a test needs it."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from actionwatch.store import positions
from actionwatch.store.statements import upsert
from actionwatch.store.tables import POSITION, RECORD


def move_to(connection: Connection, step: str, position: int) -> None:
    """Move a step to a position, whatever its present one."""
    before = positions.read(connection, step)
    low, high = sorted((before, position))
    count = connection.execute(select(func.count()).where(RECORD.c.id > low, RECORD.c.id <= high)).scalar_one()
    handled = positions.read_handled(connection, step) + (count if position > before else -count)
    upsert(connection, POSITION, {"name": step, "record_id": position, "handled_count": handled})
