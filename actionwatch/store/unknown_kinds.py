"""The kinds of records that nobody declared, by source. They survive a restart, and move with a source that is renamed."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select

from actionwatch.store.statements import bulk_insert, portions
from actionwatch.store.tables import UNKNOWN_KIND

_OF_SOURCE = (
    select(UNKNOWN_KIND.c.name, UNKNOWN_KIND.c.is_reported)
    .where(UNKNOWN_KIND.c.source == bindparam("of"))
    .order_by(UNKNOWN_KIND.c.is_reported, UNKNOWN_KIND.c.name)
)


@dataclass(frozen=True, slots=True)
class UnknownKind:
    """A kind of a source, and whether the self-alert of the source has named it."""

    name: str
    is_reported: bool


def read(connection: Connection, source: str) -> list[UnknownKind]:
    """Read the unknown kinds of a source: those that are not reported yet come first, then by name."""
    return [UnknownKind(*row) for row in connection.execute(_OF_SOURCE, {"of": source})]


def insert_new(connection: Connection, source: str, names: Iterable[str]) -> None:
    """Insert kinds that are not reported yet, and skip known ones."""
    listed = list(names)
    stored = {"source": [source] * len(listed), "name": listed}
    bulk_insert(connection, UNKNOWN_KIND, {**stored, "is_reported": [False] * len(listed)})


def delete(connection: Connection, source: str, names: Collection[str]) -> None:
    """Delete kinds that were declared."""
    for some in portions(names):
        connection.execute(UNKNOWN_KIND.delete().where(UNKNOWN_KIND.c.source == source, UNKNOWN_KIND.c.name.in_(some)))


def note_reported(connection: Connection, source: str, names: Collection[str]) -> None:
    """Note that the self-alert of a source has named these kinds."""
    for some in portions(names):
        is_it = (UNKNOWN_KIND.c.source == source, UNKNOWN_KIND.c.name.in_(some))
        connection.execute(UNKNOWN_KIND.update().where(*is_it).values(is_reported=True))
