"""The fields that an organisation's records were ever seen to carry beyond those we map."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, select

from actionwatch.store.database import bulk_insert
from actionwatch.store.tables import KNOWN_FIELD
from actionwatch.store.timestamps import to_micros


def read(connection: Connection, organisation: str) -> dict[str, datetime]:
    """Give each field's first sight."""
    rows = connection.execute(select(KNOWN_FIELD).where(KNOWN_FIELD.c.organisation == organisation))
    return {row.name: row.seen_at for row in rows}


def insert_new(connection: Connection, organisation: str, names: Iterable[str], at: datetime) -> None:
    """Note the first sight of fields."""
    bulk_insert(
        connection,
        KNOWN_FIELD,
        ("organisation", "name", "seen_at"),
        [(organisation, name, to_micros(at)) for name in names],
    )
