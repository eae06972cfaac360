"""The fields that records of an organisation contain and that actionwatch does not map."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, bindparam, select

from actionwatch.base.clock import to_micros
from actionwatch.store.statements import bulk_insert
from actionwatch.store.tables import SEEN_FIELD

_OF_ORGANISATION = select(SEEN_FIELD).where(
    SEEN_FIELD.c.organisation == bindparam("of")
)  # built once: each poll runs it


def read(connection: Connection, organisation: str) -> dict[str, datetime]:
    """Return when each field was first seen."""
    rows = connection.execute(_OF_ORGANISATION, {"of": organisation})
    return {row.name: row.seen_at for row in rows}


def insert_new(connection: Connection, organisation: str, names: Iterable[str], at: datetime) -> None:
    """Insert fields that were seen for the first time."""
    listed = list(names)
    stored = {"organisation": [organisation] * len(listed), "name": listed}
    bulk_insert(connection, SEEN_FIELD, {**stored, "seen_at": [to_micros(at)] * len(listed)})
