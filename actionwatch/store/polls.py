"""How polling each source goes: when it was last tried, and how often in a row it failed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, select

from actionwatch.store.database import upsert
from actionwatch.store.tables import POLL
from actionwatch.store.timestamps import MICROSECOND


@dataclass(frozen=True, slots=True)
class Poll:
    """The last poll of a source; `failures` counts those that failed in a row up to it.

    `clock_skew` is how far the upstream's clock was ahead of ours: its marks are told by that clock.
    """

    last_poll_at: datetime
    failures: int
    last_error: str | None
    clock_skew: timedelta = timedelta(0)


def read_all(connection: Connection) -> dict[str, Poll]:
    """Read the last poll of every source that was ever tried, by name."""
    return {
        row.source: Poll(row.last_poll_at, row.failures, row.last_error, row.clock_skew * MICROSECOND)
        for row in connection.execute(select(POLL))
    }


def read_skews(connection: Connection) -> dict[str, timedelta]:
    """Give how far the clock of each source's upstream is ahead of ours, by name."""
    return {name: poll.clock_skew for name, poll in read_all(connection).items()}


def note(
    connection: Connection, source: str, at: datetime, error: str | None, clock_skew: timedelta = timedelta(0)
) -> int:
    """Note a poll that ended, well (None) or not; give how many have now failed in a row."""
    before: int | None = connection.execute(select(POLL.c.failures).where(POLL.c.source == source)).scalar()
    failures = 0 if error is None else (before or 0) + 1
    values = {
        "source": source,
        "last_poll_at": at,
        "failures": failures,
        "last_error": error,
        "clock_skew": clock_skew // MICROSECOND,
    }
    upsert(connection, POLL, values)
    return failures
