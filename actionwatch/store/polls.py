"""The last poll of each source, and how many polls in a row failed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select

from actionwatch.store.statements import columns_of, upsert
from actionwatch.store.tables import POLL

_ALL = select(POLL)
_OF_SOURCE = select(POLL).where(POLL.c.source == bindparam("of"))
FAILED_POLLS = 3  # in a row; a single failure is usual, and the next poll reads what it missed
MISSED_POLLS = (
    10  # intervals after which a running service is late: two failures wait up to four, the third is reported
)


@dataclass(frozen=True, slots=True)
class Poll:
    """The last poll of a source; `failures` counts the failed polls in a row up to it.

    `clock_skew` is how far the clock of the upstream was ahead of ours: the marks of the source are times of that clock.
    `backoff` is how long a running service waits from `last_poll_at` on, at least; zero if it keeps its interval.
    """

    last_poll_at: datetime
    failures: int
    last_error: str | None
    clock_skew: timedelta = timedelta(0)
    backoff: timedelta = timedelta(0)

    @property
    def resumes_at(self) -> datetime:
        """When the backoff ends."""
        return self.last_poll_at + self.backoff


def read_all(connection: Connection) -> dict[str, Poll]:
    """Read the last poll of every source by name."""
    return {row.source: _poll(row) for row in connection.execute(_ALL)}


def read(connection: Connection, source: str) -> Poll | None:
    """Read the last poll of a source; None before it."""
    row = connection.execute(_OF_SOURCE, {"of": source}).first()
    return None if row is None else _poll(row)


def read_many(connection: Connection, sources: Collection[str]) -> dict[str, Poll]:
    """Read the last poll of some sources by name."""
    return {row.source: _poll(row) for row in connection.execute(_ALL.where(POLL.c.source.in_(sources)))}


def _poll(row: Row[Any]) -> Poll:
    return Poll(row.last_poll_at, row.failures, row.last_error, row.clock_skew, row.backoff)


def note_poll(
    connection: Connection,
    source: str,
    at: datetime,
    error: str | None,
    clock_skew: timedelta = timedelta(0),
    backoff_after: Callable[[int], timedelta] = lambda _: timedelta(0),
) -> Poll:
    """Store a poll that ended; `error` is None if it succeeded. `backoff_after` is asked with the failures in a row."""
    before = None if error is None else read(connection, source)
    failures = 0 if error is None else (before.failures if before else 0) + 1
    poll = Poll(at, failures, error, clock_skew, backoff_after(failures))
    write(connection, {source: poll})
    return poll


def write(connection: Connection, ended: Mapping[str, Poll]) -> None:
    """Store the last polls of sources, by name."""
    upsert(connection, POLL, *({"source": source, **columns_of(poll)} for source, poll in ended.items()))
