"""How far each source has been read: its high-water mark, what was seen through, and what was proved."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from actionwatch.store.database import upsert
from actionwatch.store.tables import SOURCE
from actionwatch.store.timestamps import MICROSECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """One source's progress.

    `mark` is the newest `occurred_at` stored by a completed poll; `seen_through` is the end of the last completed window: all
    before it was read. `proved_through` is as far as counts or two agreeing walks proved it without a gap. Records before
    `alerts_from` are backlog. `totals_cover_pages`: a walk up to an empty page confirmed that totals count the window.
    `bounds_unit` is how finely the upstream takes a window's bounds, as it was found at `bounds_asked_at`; None: not settled.
    """

    name: str
    begins_at: datetime
    alerts_from: datetime
    mark: datetime
    seen_through: datetime
    proved_through: datetime
    totals_cover_pages: bool = False
    bounds_unit: timedelta | None = None
    bounds_asked_at: datetime | None = None


def read(connection: Connection, name: str) -> Marks | None:
    """Read a source's marks; None before its first successful poll."""
    row = connection.execute(select(SOURCE).where(SOURCE.c.name == name)).mappings().first()
    return _marks(dict(row)) if row else None


def read_all(connection: Connection) -> dict[str, Marks]:
    """Read the marks of every source that was ever polled, by name."""
    rows = connection.execute(select(SOURCE).order_by(SOURCE.c.name)).mappings()
    return {row["name"]: _marks(dict(row)) for row in rows}


def write(connection: Connection, marks: Marks) -> None:
    """Store a source's marks, replacing what was there."""
    values = {field.name: getattr(marks, field.name) for field in fields(marks)}
    unit = marks.bounds_unit
    upsert(connection, SOURCE, {**values, "bounds_unit": unit and unit // MICROSECOND}, key=("name",))


def _marks(row: dict[str, Any]) -> Marks:
    unit = row["bounds_unit"]
    return Marks(**{**row, "bounds_unit": unit and unit * MICROSECOND})
