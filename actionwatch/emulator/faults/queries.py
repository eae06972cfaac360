"""Faults of the query: bounds, sizes, offsets and filters that the API interprets differently or ignores."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

from actionwatch.emulator.faults.kinds import Play
from actionwatch.emulator.log import FIRST_MS, LAST_MS, LogFilter
from actionwatch.emulator.query import DEFAULT_PAGE_SIZE, LogQuery

Change = Callable[[LogQuery], LogQuery]

# Times are whole milliseconds, so an exclusive bound is the next millisecond.
BOUNDS: Final[dict[str, Change]] = {
    "inclusive": lambda query: query,
    "exclusive_start": lambda query: replace(query, start=query.start + 1),
    "exclusive_end": lambda query: replace(query, end=query.end - 1),
    "exclusive": lambda query: replace(query, start=query.start + 1, end=query.end - 1),
}
UNBOUNDED: Final[dict[str, Change]] = {
    "both": lambda query: replace(query, start=FIRST_MS, end=LAST_MS),
    "start": lambda query: replace(query, start=FIRST_MS),
    "end": lambda query: replace(query, end=LAST_MS),
}
UNFILTERED: Final[dict[str, Callable[[LogFilter], LogFilter]]] = {
    "all": lambda _: LogFilter(),
    "actionKinds": lambda wanted: replace(wanted, kinds=None),
    "crudOperations": lambda wanted: replace(wanted, operations=None),
    "account": lambda wanted: replace(wanted, account=None),
    "clusterId": lambda wanted: replace(wanted, cluster_id=None),
    "userName": lambda wanted: replace(wanted, user_name=None),
    "descriptionKeyword": lambda wanted: replace(wanted, keyword=None),
    "organisationLogsOnly": lambda wanted: replace(wanted, organisation_only=False),
    "accountLogsOnly": lambda wanted: replace(wanted, account_only=False),
}


def bound(query: LogQuery, play: Play) -> LogQuery:
    """Make bounds exclusive."""
    return BOUNDS[play.arg](query)


def truncate_bounds(query: LogQuery, play: Play) -> LogQuery:
    """Round both bounds down to a unit."""
    unit = max(1, play.arg // timedelta(milliseconds=1))
    return replace(query, start=query.start // unit * unit, end=query.end // unit * unit)


def ignore_times(query: LogQuery, play: Play) -> LogQuery:
    """Ignore bounds."""
    return UNBOUNDED[play.arg](query)


def ignore_filter(query: LogQuery, play: Play) -> LogQuery:
    """Ignore one or all filters."""
    return replace(query, wanted=UNFILTERED[play.arg](query.wanted))


def clamp_page(query: LogQuery, play: Play) -> LogQuery:
    """Limit the page size."""
    return replace(query, limit=min(query.limit, play.arg))


def ignore_page_size(query: LogQuery, _: Play) -> LogQuery:
    """Ignore the page size."""
    return replace(query, limit=DEFAULT_PAGE_SIZE)


def ignore_index(query: LogQuery, _: Play) -> LogQuery:
    """Always return the first page."""
    return replace(query, offset=0)


def always_count(query: LogQuery, _: Play) -> LogQuery:
    """Send counts even if they are declined."""
    return replace(query, with_counts=True)
