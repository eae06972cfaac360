"""The history of each alert: what happened at which stage, and why. Append-only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from actionwatch.base.clock import to_micros
from actionwatch.store.statements import bulk_insert
from actionwatch.store.tables import ALERT_HISTORY


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the history."""

    at: datetime
    alert_id: str
    stage: str
    what: str


def append(connection: Connection, entries: Sequence[Entry]) -> None:
    """Add lines, in order."""
    columns = {name: [getattr(entry, name) for entry in entries] for name in ("alert_id", "stage", "what")}
    bulk_insert(connection, ALERT_HISTORY, {"at": [to_micros(entry.at) for entry in entries], **columns})


def read(connection: Connection, alert_id: str) -> list[Entry]:
    """Read the history of one alert, oldest line first."""
    statement = select(ALERT_HISTORY).where(ALERT_HISTORY.c.alert_id == alert_id).order_by(ALERT_HISTORY.c.id)
    return [Entry(row.at, row.alert_id, row.stage, row.what) for row in connection.execute(statement)]
