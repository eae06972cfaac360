"""How finely the upstream takes the bounds of a window: asked for by a record it has just shown, once, then once a day.

An upstream that cuts `endTime` to whole minutes hides what happened after that from every window that ends in between, and no
total tells: windows are asked in whole units for it (`cursor.Window.widened`), and proved as far as they were meant.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice, pairwise
from typing import cast

from actionwatch.base.errors import SourceError
from actionwatch.base.model import Record
from actionwatch.instaclustr.client import Client
from actionwatch.instaclustr.query import Query
from actionwatch.instaclustr.wire import Page
from actionwatch.store.marks import Marks
from actionwatch.tail.cursor import COARSEST_UNIT, EDGE, EDGE_SECOND, Window, round_down

UNITS = (timedelta(milliseconds=1), timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), COARSEST_UNIT)
ASKED_EVERY = timedelta(days=1)
RETRIED_AFTER = timedelta(hours=1)  # where the first record told nothing
MAX_PAGES = 3  # a window of a few milliseconds holds hardly more


def is_due(marks: Marks, now: datetime) -> bool:
    """Say whether it is time to ask (again) how finely bounds are taken."""
    wait = RETRIED_AFTER if marks.bounds_unit is None else ASKED_EVERY
    return marks.bounds_asked_at is None or not timedelta(0) <= now - marks.bounds_asked_at < wait


def telling(shown: Sequence[Record]) -> Record | None:
    """Choose the record whose time tells most about bounds near it; None where none tells anything."""
    best = max(shown, key=lambda record: len(_telling_units(record)), default=None)
    return best if best is not None and _telling_units(best) else None


def settle(upstream: Client, record: Record, known: Marks, now: datetime) -> tuple[Marks, int]:
    """Ask for a record that was just shown, in ever coarser units, until it comes; give the marks with what that says.

    Returns: also how many requests it took: one where bounds are fine. What cannot be settled, since the record does not
    come at all, or only sometimes, or the upstream refuses, leaves what was known.
    """
    request_count = 0
    finer: timedelta | None = None
    for unit in _telling_units(record):
        try:
            is_shown, asked_count = _shows(upstream, _around(record, unit), record)
            request_count += asked_count
            if is_shown and finer is not None:  # an answer that was empty once, for another reason, settles nothing
                is_passing, asked_count = _shows(upstream, _around(record, finer), record)
                request_count += asked_count
                if is_passing:
                    break
        except SourceError:
            break
        if is_shown:
            return replace(known, bounds_unit=unit, bounds_asked_at=now), request_count
        finer = unit
    return replace(known, bounds_asked_at=now), request_count


def _telling_units(record: Record) -> list[timedelta]:
    """Give the units in which a record comes if its bounds are that fine, and does not if they are cut any coarser.

    A time on a whole second, say, comes whether or not bounds are cut to seconds. None where not even that could be told of
    minutes: a window would be asked in hours because one record happened on the hour.
    """
    if not record.is_time_readable:
        return []
    at = record.occurred_at
    told = [unit for unit, coarser in pairwise(UNITS) if round_down(_around(record, unit).end, coarser) < at]
    return [*told, COARSEST_UNIT] if told and told[0] <= EDGE_SECOND else []


def _around(record: Record, unit: timedelta) -> Window:
    begin = round_down(record.occurred_at, unit)
    return Window(begin - unit, begin + unit + EDGE)


def _shows(upstream: Client, window: Window, record: Record) -> tuple[bool, int]:
    pages = upstream.user_actions(Query(start=window.start, end=window.end), trusts_total=False)
    request_count = 0
    with contextlib.closing(cast("Generator[Page]", pages)):
        for page in islice(pages, MAX_PAGES):
            request_count += 1
            if any(shown.key == record.key for shown in page.records):
                return True, request_count
    return False, request_count
