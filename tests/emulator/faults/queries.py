"""Faults of the query: bounds, sizes, offsets and filters that the API interprets differently or ignores."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

from actionwatch.emulator.log import FIRST_MS, LAST_MS, LogFilter, LogQuery

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


def truncate_bounds(query: LogQuery, unit: timedelta) -> LogQuery:
    unit_ms = max(1, unit // timedelta(milliseconds=1))
    return replace(query, start=query.start // unit_ms * unit_ms, end=query.end // unit_ms * unit_ms)
