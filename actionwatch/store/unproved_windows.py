"""The windows that the sweeps have yet to check, and those that they could not prove. They survive a restart."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, func, or_, select

from actionwatch.store.statements import upsert
from actionwatch.store.tables import UNPROVED_WINDOW

SECOND_LOOK = timedelta(0)  # the reach of a window of a backlog, which is read a second time
_TABLE = UNPROVED_WINDOW.c
_HAS_FAILED = _TABLE.failure_count > 0
# Built once: every poll runs them.
_OF_SOURCE = _TABLE.source == bindparam("of")
_ANY = select(_TABLE.source).where(_OF_SOURCE).limit(1)
_FAILED_COUNTS = select(func.count(), func.count().filter(~_TABLE.is_reported)).where(
    _OF_SOURCE, _TABLE.failure_count >= bindparam("failures")
)
_UNCHECKED_REACHES = select(_TABLE.reach).distinct().where(_OF_SOURCE, ~_HAS_FAILED)
_WAITING_SINCE = select(func.min(_TABLE.due_at)).where(_OF_SOURCE, ~_HAS_FAILED)
_ALL = select(UNPROVED_WINDOW).where(_OF_SOURCE).order_by(_TABLE.due_at, _TABLE.starts_at, _TABLE.ends_at)
# The sweeps, which begin at a time, no longer reach these windows. They never reach those of a backlog.
_IS_PASSED = and_(_HAS_FAILED, _TABLE.reach != SECOND_LOOK, _TABLE.ends_at <= bindparam("swept_from"))
_PASSED = _ALL.where(_IS_PASSED, _TABLE.failure_count < bindparam("failures"))
_DUE = _ALL.where(
    or_(
        _TABLE.due_at <= bindparam("now"),
        _TABLE.due_at > bindparam("furthest"),
    ),
    ~_IS_PASSED,
)
_DELETE = UNPROVED_WINDOW.delete().where(
    *(each == bindparam(f"its_{each.name}") for each in UNPROVED_WINDOW.primary_key)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnprovedWindow:
    """An older window to check, or to read whatever the upstream counts (`must_read`).

    `failure_count` is how often in a row it could not be proved; 0: it was not checked yet.
    """

    source: str
    starts_at: datetime
    ends_at: datetime
    reach: timedelta
    due_at: datetime
    must_read: bool = False
    failure_count: int = 0
    is_reported: bool = False
    why: str = ""


def read(connection: Connection, source: str) -> list[UnprovedWindow]:
    """Read the windows of a source: the one that was due first comes first, and of those the oldest."""
    return _windows(connection, _ALL, {"of": source})


def has_any(connection: Connection, source: str) -> bool:
    """Return whether a source has any window here: nearly always none."""
    return connection.execute(_ANY, {"of": source}).first() is not None


def read_due(
    connection: Connection, source: str, now: datetime, longest_wait: timedelta, swept_from: datetime
) -> list[UnprovedWindow]:
    """Read the windows to check now, in the same order, except those that the sweeps have passed.

    A time that is further ahead than the longest wait is from before the clock was set back.
    """
    asked = {"of": source, "now": now, "furthest": now + longest_wait, "swept_from": swept_from}
    return _windows(connection, _DUE, asked)


def read_passed(connection: Connection, source: str, swept_from: datetime, failures: int) -> list[UnprovedWindow]:
    """Read the windows that the sweeps have passed after fewer failures than these."""
    return _windows(connection, _PASSED, {"of": source, "swept_from": swept_from, "failures": failures})


def read_failed(connection: Connection, source: str, after: datetime | None = None) -> list[UnprovedWindow]:
    """Read the windows of a source that could not be proved, all or those that end after a time.

    After a backlog, thousands more were not checked yet.
    """
    its = _ALL.where(_HAS_FAILED, *([] if after is None else [_TABLE.ends_at > after]))
    return _windows(connection, its, {"of": source})


def read_failed_of(connection: Connection, sources: Collection[str]) -> list[UnprovedWindow]:
    """Read the windows of several sources that could not be proved."""
    return _windows(connection, select(UNPROVED_WINDOW).where(_TABLE.source.in_(sources), _HAS_FAILED), {})


def read_first_failed(connection: Connection, source: str, failures: int) -> UnprovedWindow:
    """Read the first window of a source that failed so often, in the order of `read`. There is one."""
    return _windows(connection, _ALL.where(_TABLE.failure_count >= failures).limit(1), {"of": source})[0]


def count_failed(connection: Connection, source: str, failures: int) -> tuple[int, int]:
    """Return how many windows of a source failed so often, and how many of them are not reported yet."""
    count, unreported_count = connection.execute(_FAILED_COUNTS, {"of": source, "failures": failures}).one()
    return count, unreported_count


def unchecked_reaches(connection: Connection, source: str) -> set[timedelta]:
    """Return the reaches of the windows of a source that were not checked yet."""
    return set(connection.execute(_UNCHECKED_REACHES, {"of": source}).scalars())


def waiting_since(connection: Connection, source: str) -> datetime | None:
    """Return when the first of the windows that were not checked yet was due; None if there is none."""
    since: datetime | None = connection.execute(_WAITING_SINCE, {"of": source}).scalar()
    return since


def _windows(connection: Connection, statement: Select[Any], asked: Mapping[str, Any]) -> list[UnprovedWindow]:
    return [UnprovedWindow(**row) for row in connection.execute(statement, asked).mappings()]


def write(connection: Connection, windows: Iterable[UnprovedWindow]) -> None:
    """Store windows; replace those that are stored."""
    upsert(connection, UNPROVED_WINDOW, *map(asdict, windows))


def note_reported(connection: Connection, source: str, failures: int) -> None:
    """Store that the windows of a source that failed so often are reported."""
    is_it = (_TABLE.source == source, _TABLE.failure_count >= failures, ~_TABLE.is_reported)
    connection.execute(UNPROVED_WINDOW.update().where(*is_it).values(is_reported=True))


def delete(connection: Connection, window: UnprovedWindow) -> None:
    """Delete a window."""
    key = {f"its_{each.name}": getattr(window, each.name) for each in UNPROVED_WINDOW.primary_key}
    connection.execute(_DELETE, key)


def delete_older(connection: Connection, before: datetime) -> int:
    """Delete the windows that ended before a time; return their number."""
    return connection.execute(UNPROVED_WINDOW.delete().where(_TABLE.ends_at < before)).rowcount
