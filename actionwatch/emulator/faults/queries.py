"""What the API makes of a question: bounds, sizes, offsets and filters that it reads in another way, or not at all."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

from actionwatch.emulator.faults.kinds import Play
from actionwatch.emulator.log import FIRST_MS, LAST_MS, LogFilter
from actionwatch.emulator.query import DEFAULT_PAGE_SIZE, LogQuery

Change = Callable[[LogQuery], LogQuery]

# The log's times are whole milliseconds, so an excluded bound is the next one.
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
    """Exclude bounds."""
    return BOUNDS[play.arg](query)


def truncate_bounds(query: LogQuery, play: Play) -> LogQuery:
    """Cut both bounds down to a whole unit of time."""
    unit = max(1, play.arg // timedelta(milliseconds=1))
    return replace(query, start=query.start // unit * unit, end=query.end // unit * unit)


def ignore_times(query: LogQuery, play: Play) -> LogQuery:
    """Forget bounds."""
    return UNBOUNDED[play.arg](query)


def ignore_filter(query: LogQuery, play: Play) -> LogQuery:
    """Forget one filter, or all."""
    return replace(query, wanted=UNFILTERED[play.arg](query.wanted))


def clamp_page(query: LogQuery, play: Play) -> LogQuery:
    """Return no more records than a maximum, whatever was asked for."""
    return replace(query, limit=min(query.limit, play.arg))


def ignore_page_size(query: LogQuery, _: Play) -> LogQuery:
    """Return pages of the default size."""
    return replace(query, limit=DEFAULT_PAGE_SIZE)


def ignore_index(query: LogQuery, _: Play) -> LogQuery:
    """Return the first page for ever."""
    return replace(query, offset=0)


def always_count(query: LogQuery, _: Play) -> LogQuery:
    """Send counts to who declined them."""
    return replace(query, with_counts=True)
