"""Find out the unit of the upstream's bounds with a record that it has just shown, at first and once a day.

An upstream that cuts `endTime` to whole minutes hides what happened in the last minute of every window, and its total does not
show that. So requests cover whole units (`cursor.Window.widened`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice, pairwise
from typing import cast

from actionwatch.base import clock
from actionwatch.base.errors import SourceError
from actionwatch.base.model import Record
from actionwatch.instaclustr.client import Client
from actionwatch.instaclustr.query import Query
from actionwatch.instaclustr.wire import Page
from actionwatch.store.marks import Marks
from actionwatch.tail.cursor import COARSEST_UNIT, EDGE, EDGE_SECOND, Window, round_down
from actionwatch.tail.state import PollReport

UNITS = (timedelta(milliseconds=1), timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), COARSEST_UNIT)
_ASKED_EVERY = timedelta(days=1)
_RETRIED_AFTER = timedelta(hours=1)  # if the first record was inconclusive
_MAX_PAGES = 3  # a window of a few milliseconds hardly holds more


def is_due(marks: Marks, now: datetime) -> bool:
    """Return whether to find out the unit now."""
    wait = _RETRIED_AFTER if marks.bounds_unit is None else _ASKED_EVERY
    return clock.is_due(marks.bounds_asked_at, wait, now)


def choose_record(shown: Sequence[Record]) -> Record | None:
    """Choose the record whose time can tell most units apart; None if there is none."""
    best = max(shown, key=lambda record: len(_distinctive_units(record)), default=None)
    return best if best is not None and _distinctive_units(best) else None


def find_unit(upstream: Client, record: Record, known: Marks, now: datetime, report: PollReport) -> Marks:
    """Request a record that was just shown, in coarser and coarser units, until it comes: once if bounds are fine.

    Returns: the marks with the unit. If the record does not come, or only sometimes, or the upstream refuses, they keep the
    unit that was known.
    """
    finer: timedelta | None = None
    with contextlib.suppress(SourceError):
        for unit in _distinctive_units(record):
            if _is_shown(upstream, _around(record, unit), record, report):
                # One empty response may have another reason.
                if finer is not None and _is_shown(upstream, _around(record, finer), record, report):
                    break
                return replace(known, bounds_unit=unit, bounds_asked_at=now)
            finer = unit
    return replace(known, bounds_asked_at=now)


def _distinctive_units(record: Record) -> list[timedelta]:
    """Return the units in which a request shows a record if the upstream cuts bounds to them, but not if it cuts them further.

    For example, a record on a whole second comes whether or not bounds are cut to seconds. Returns none if the record cannot
    even tell seconds from minutes: otherwise, a record on the full hour would make every request cover whole hours.
    """
    if not record.is_time_readable:
        return []
    at = record.occurred_at
    units = [unit for unit, coarser in pairwise(UNITS) if round_down(_around(record, unit).end, coarser) < at]
    return [*units, COARSEST_UNIT] if units and units[0] <= EDGE_SECOND else []


def _around(record: Record, unit: timedelta) -> Window:
    begin = round_down(record.occurred_at, unit)
    return Window(begin - unit, begin + unit + EDGE)


def _is_shown(upstream: Client, window: Window, record: Record, report: PollReport) -> bool:
    pages = upstream.user_actions(Query(start=window.start, end=window.end), trusts_total=False)
    with contextlib.closing(cast("Generator[Page]", pages)):
        for page in islice(pages, _MAX_PAGES):
            report.request_count += 1
            if any(shown.key == record.key for shown in page.records):
                return True
    return False
