"""The progress of the sources that are catching up. Other sources have no row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from actionwatch.store.statements import columns_of, upsert
from actionwatch.store.tables import BACKLOG


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """The time span that a source catches up with, read up to `through` by `noted_at`, with `record_count` new records.

    `began_at`, `began_through` and `began_count` are where this process started, because an earlier one may have been killed.
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
        """The part of the span that is read, from 0 to 1."""
        span = self.ends_at - self.starts_at
        return min(max((self.through - self.starts_at) / span, 0.0), 1.0) if span else 1.0

    @property
    def records_per_second(self) -> float | None:
        """The new records per second since this process started; None if unknown yet."""
        seconds = (self.noted_at - self.began_at).total_seconds()
        return (self.record_count - self.began_count) / seconds if seconds > 0 else None

    @property
    def remaining(self) -> timedelta | None:
        """How long the rest takes at the speed so far; None if unknown yet."""
        done, elapsed = self.through - self.began_through, self.noted_at - self.began_at
        if done <= timedelta(0) or elapsed <= timedelta(0):
            return None
        return elapsed * ((self.ends_at - self.through) / done)


def read_all(connection: Connection) -> dict[str, Backlog]:
    """Read the progress of every source that is catching up, by name."""
    return {row["source"]: Backlog(**row) for row in connection.execute(select(BACKLOG)).mappings()}


def write(connection: Connection, backlog: Backlog) -> None:
    """Store the progress of a source."""
    upsert(connection, BACKLOG, columns_of(backlog))


def delete(connection: Connection, source: str) -> None:
    """Delete the row of a source that has caught up."""
    connection.execute(BACKLOG.delete().where(BACKLOG.c.source == source))
