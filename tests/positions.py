"""Puts a step of the pipeline where a test needs it."""

from __future__ import annotations

from sqlalchemy import Connection

from actionwatch.store import positions


def move_to(connection: Connection, step: str, position: int) -> None:
    """Move a step to a position, whatever its present one."""
    positions.move(connection, step, positions.read(connection, step), position)
