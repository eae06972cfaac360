"""The filters of the list of alerts that a person keeps under a name."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import datetime

from actionwatch.base.errors import StoreError
from actionwatch.store import kept_filters
from actionwatch.store.database import Database
from actionwatch.store.kept_filters import KeptFilter


def read(database: Database, person: str | None, now: datetime) -> Sequence[KeptFilter]:
    """Return the filters of a person, by name, and note their use, even if the store cannot be written."""
    if person is None:
        return ()
    with database.read() as connection:
        found = kept_filters.read(connection, person)
    if any(each.used_at < now - kept_filters.USE_NOTED_EVERY for each in found):
        with contextlib.suppress(StoreError), database.write() as connection:
            kept_filters.note_use(connection, person, now)
    return found
