"""How far each source has been read: its high-water mark, what was seen through, and what was proved."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select

from actionwatch.store.database import upsert
from actionwatch.store.tables import BACKLOG, POLL, SOURCE, SWEEP, UNPROVED
from actionwatch.store.timestamps import MICROSECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """One source's progress in the log of one organisation.

    `mark` is the newest `occurred_at` stored by a completed poll; `seen_through` is the end of the last completed window: all
    before it was read. `proved_through` is as far as counts or two agreeing walks proved it without a gap. Records before
    `alerts_from` are backlog. `totals_cover_pages`: a walk up to an empty page confirmed that totals count the window.
    `bounds_unit` is how finely the upstream takes a window's bounds, as it was found at `bounds_asked_at`; None: not settled.
    Records that were marked as vanished up to `vanished_reported_through` are reported.
    """

    name: str
    organisation: str
    begins_at: datetime
    alerts_from: datetime
    mark: datetime
    seen_through: datetime
    proved_through: datetime
    totals_cover_pages: bool = False
    bounds_unit: timedelta | None = None
    bounds_asked_at: datetime | None = None
    vanished_reported_through: datetime | None = None


def read(connection: Connection, name: str) -> Marks | None:
    """Read a source's marks; None before its first successful poll, or after another name took them over."""
    return next((_marks(row) for row in _rows(connection) if row.name == name), None)


def read_all(connection: Connection) -> dict[str, Marks]:
    """Read the marks of every source that was ever polled, by name; the former names of renamed sources are left out."""
    return {row.name: _marks(row) for row in _rows(connection)}


def write(connection: Connection, marks: Marks) -> None:
    """Store a source's marks, replacing what was there."""
    values = {field.name: getattr(marks, field.name) for field in fields(marks)}
    unit = marks.bounds_unit
    values |= {"bounds_unit": unit and unit // MICROSECOND, "renamed_to": None}
    upsert(connection, SOURCE, values)


def rename(connection: Connection, marks: Marks, name: str) -> Marks:
    """Have a source go on under another name, with what is still to be read; its records and receipts keep the old one."""
    renamed = replace(marks, name=name)
    write(connection, renamed)
    connection.execute(SOURCE.update().where(SOURCE.c.name == marks.name).values(renamed_to=name))
    for table in (BACKLOG, POLL, SWEEP, UNPROVED):
        connection.execute(table.delete().where(table.c.source == name))
        connection.execute(table.update().where(table.c.source == marks.name).values(source=name))
    connection.execute(UNPROVED.update().where(UNPROVED.c.source == name).values(is_reported=False))
    return renamed


def former_names(connection: Connection, name: str) -> list[str]:
    """Give the names that a source had before, the latest first."""
    rows = connection.execute(select(SOURCE.c.renamed_to, SOURCE.c.name).where(SOURCE.c.renamed_to.is_not(None)))
    before: dict[str, list[str]] = {}
    for row in rows:
        before.setdefault(row.renamed_to, []).append(row.name)
    found: list[str] = []
    pending = [name]
    while pending:
        earlier = [each for each in before.get(pending.pop(), ()) if each not in (name, *found)]
        found += earlier
        pending += earlier
    return found


def _rows(connection: Connection) -> list[Row[Any]]:
    return list(connection.execute(select(SOURCE).where(SOURCE.c.renamed_to.is_(None)).order_by(SOURCE.c.name)))


def _marks(row: Row[Any]) -> Marks:
    values = {field.name: getattr(row, field.name) for field in fields(Marks)}
    unit = row.bounds_unit
    return Marks(**{**values, "bounds_unit": unit and unit * MICROSECOND})
