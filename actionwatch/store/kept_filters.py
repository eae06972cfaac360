"""The filters of the list of alerts that people keep under a name: here, so that each browser and replica has them.

A person is a name that a token, a provider or a proxy proves. Retention deletes the filters of people who no longer come.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select

from actionwatch.store.statements import upsert
from actionwatch.store.tables import KEPT_FILTER

USE_NOTED_EVERY = timedelta(days=1)
MAX_KEPT = 100  # of a person: each is a link on their list of alerts


@dataclass(frozen=True, slots=True)
class KeptFilter:
    """A filter: `query` is the part of the URL after the question mark, `used_at` when the person last had the list."""

    name: str
    query: str
    used_at: datetime


def read(connection: Connection, person: str) -> list[KeptFilter]:
    """Read the filters of a person, by name."""
    columns = [KEPT_FILTER.c[name] for name in KeptFilter.__dataclass_fields__]
    its = select(*columns).where(KEPT_FILTER.c.person == person).order_by(KEPT_FILTER.c.name)
    return [KeptFilter(*row) for row in connection.execute(its)]


def keep(connection: Connection, person: str, kept: KeptFilter) -> bool:
    """Keep a filter, in place of the one with its name. Return whether there is room for it."""
    others = (KEPT_FILTER.c.person == person, KEPT_FILTER.c.name != kept.name)
    count = connection.execute(select(func.count()).select_from(KEPT_FILTER).where(*others)).scalar_one()
    if count < MAX_KEPT:
        upsert(connection, KEPT_FILTER, {"person": person, **asdict(kept)})
    return bool(count < MAX_KEPT)


def remove(connection: Connection, person: str, name: str) -> None:
    """Remove a filter, if it is there."""
    connection.execute(KEPT_FILTER.delete().where(KEPT_FILTER.c.person == person, KEPT_FILTER.c.name == name))


def note_use(connection: Connection, person: str, now: datetime) -> None:
    """Note that a person has the list with their filters."""
    connection.execute(KEPT_FILTER.update().where(KEPT_FILTER.c.person == person).values(used_at=now))


def delete_unused(connection: Connection, before: datetime) -> int:
    """Delete the filters that nobody used since a time. Return how many."""
    return connection.execute(KEPT_FILTER.delete().where(KEPT_FILTER.c.used_at < before)).rowcount
