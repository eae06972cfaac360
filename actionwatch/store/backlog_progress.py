"""The sources that are catching up, and how far they are: a row while they do, none otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from actionwatch.store.database import upsert
from actionwatch.store.tables import BACKLOG


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """The stretch of time that a source catches up with, `through` of it done by `noted_at`, with so many new records.

    `began_at`, `began_through` and `began_count` are where this process took it up: it may have been killed over it before.
    """

    source: str
    starts_at: datetime
    ends_at: datetime
    through: datetime
    record_count: int
    began_at: datetime
    began_through: datetime
    began_count: int
    noted_at: datetime

    @property
    def share(self) -> float:
        """How much of the stretch is read, from 0 to 1."""
        span = self.ends_at - self.starts_at
        return min(max((self.through - self.starts_at) / span, 0.0), 1.0) if span else 1.0

    @property
    def records_per_second(self) -> float | None:
        """How many new records came a second since this process took it up; None before anything can be said."""
        seconds = (self.noted_at - self.began_at).total_seconds()
        return (self.record_count - self.began_count) / seconds if seconds > 0 else None

    @property
    def remaining(self) -> timedelta | None:
        """How long the rest takes where it goes on as it did so far; None before anything can be said."""
        done, elapsed = self.through - self.began_through, self.noted_at - self.began_at
        if done <= timedelta(0) or elapsed <= timedelta(0):
            return None
        return elapsed * ((self.ends_at - self.through) / done)


def read_all(connection: Connection) -> dict[str, Backlog]:
    """Read what every source that is catching up has done of it, by name."""
    return {row["source"]: Backlog(**row) for row in connection.execute(select(BACKLOG)).mappings()}


def write(connection: Connection, backlog: Backlog) -> None:
    """Store how far a source is, replacing what was there."""
    values = {name: getattr(backlog, name) for name in backlog.__dataclass_fields__}
    upsert(connection, BACKLOG, values)


def delete(connection: Connection, source: str) -> None:
    """Delete the row of a source that has caught up."""
    connection.execute(BACKLOG.delete().where(BACKLOG.c.source == source))
