"""The keys of records: they begin with the time, so that one index finds records by time and by key."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement

from actionwatch.base.clock import MICROSECOND, from_micros, to_micros
from actionwatch.store.tables import RECORD

_KEY_TIME_CHARS = 16  # a key begins with epoch microseconds in hex digits
_KEY_TIME = re.compile(f"[0-9a-f]{{{_KEY_TIME_CHARS}}}")
OTHER_KEYS_FROM = "g"  # of `HAS_OTHER_KEY`
IN_TIME = (RECORD.c.record_key, RECORD.c.source)


def key_time(key: str) -> datetime | None:
    """Return the time with which a key, or a prefix of one, begins; None if it does not begin with a time."""
    try:
        return from_micros(int(key[:_KEY_TIME_CHARS], 16)) if _KEY_TIME.match(key) else None
    except OverflowError:
        return None


def key_floor(at: datetime) -> str:
    """Return the lowest record key of an instant: keys begin with epoch microseconds as 16 hex digits."""
    return f"{to_micros(at):016x}"


def key_bounds(since: datetime | None, until: datetime | None) -> tuple[str, str]:
    """Return the lowest key of a time within these bounds, and the lowest one above them."""
    high = min(key_floor(until + MICROSECOND), OTHER_KEYS_FROM) if until else OTHER_KEYS_FROM
    return key_floor(since) if since else "", high


def timed(since: datetime | None = None, until: datetime | None = None) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for records whose key begins with a time within these bounds. The index by key serves them."""
    low, high = key_bounds(since, until)
    return RECORD.c.record_key >= low, RECORD.c.record_key < high


def between(source: str, start: datetime, end: datetime) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for records of a source with start <= occurred_at <= end and a readable time."""
    return in_keys(source, key_floor(start), key_floor(end + MICROSECOND))


def in_keys(source: Any, low: Any, high: Any) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for records of a source with low <= key < high, which are texts or parameters."""
    return RECORD.c.source == source, RECORD.c.record_key >= low, RECORD.c.record_key < high
