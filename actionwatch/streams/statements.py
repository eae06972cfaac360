"""Statements of a stream of records: all records of a source in a time are sent. With what a consumer needs to check that.

A statement is made in a transaction in which the stream is at the newest stored record, from the proved time of the same
transaction. So no record that is stored and not sent can belong to its time. What arrives later is late, and the statement
about its time is made again (`stream.amended`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import Connection

from actionwatch.base.clock import ALWAYS, EPOCH, MICROSECOND
from actionwatch.base.ids import stable_id
from actionwatch.base.model import Message, Record
from actionwatch.store import marks, receipts, streams
from actionwatch.store.marks import Marks
from actionwatch.store.record_keys import key_time
from actionwatch.store.streams import Mark
from actionwatch.streams import messages
from actionwatch.streams.driver import StreamMessage
from actionwatch.streams.messages import Plan
from actionwatch.text.payloads import instant

_MOST_AT_ONCE = 100  # statements in one transaction: a stream from the beginning states one for each hour of a year
MOST_RANGES = 10_000  # of offsets in a statement, 160 kB: destinations limit the size of a message
Span = tuple[datetime, datetime]
"""From a time until another one, which is not included."""


def begin_marks(connection: Connection, plan: Plan, since: datetime | None, *, is_first: bool) -> dict[str, Mark]:
    """Return the marks of the sources that the stream does not know yet: from when on it has all of their records.

    `is_first`: the stream begins. Then it has the records since a time; None: those that are stored from now on.
    """
    known, found = streams.read_marks(connection, plan.name), {}
    for name, source in marks.read_all(connection).items():
        if name not in known:
            begins_at = _begin(connection, source, since, plan.watermark, is_first=is_first)
            found[name] = Mark(begins_at, begins_at)
    return found


def rewound(connection: Connection, plan: Plan, to: datetime) -> dict[str, Mark]:
    """Return the marks of a stream that sends everything since a time again."""
    found = {}
    known = streams.read_marks(connection, plan.name)
    for name, source in marks.read_all(connection).items():
        if name in known:
            since = _begin(connection, source, to, plan.watermark, is_first=True)
            kept = _kept_since(connection, name, plan.watermark)
            begins_at = max(min(known[name].begins_at, since), kept or ALWAYS)
            through = max(begins_at, _floor(since, plan.watermark))
            found[name] = Mark(begins_at, min(known[name].complete_through, through))
    return found


def _begin(
    connection: Connection, source: Marks, since: datetime | None, length: timedelta, *, is_first: bool
) -> datetime:
    """Return from when on a stream has all records of a source: what is proved, but not sent, is before it."""
    is_renamed = bool(marks.former_names(connection, source.name))  # its records until now have the former name
    if is_renamed or (is_first and since is None):
        return source.seen_through
    kept = _kept_since(connection, source.name, length)
    return max(each for each in (source.begins_at, since, kept) if each is not None)


def _kept_since(connection: Connection, source: str, length: timedelta) -> datetime | None:
    """Return since when retention has deleted no record of a source, in whole statements; None: it has deleted none."""
    kept = streams.kept_since(connection, source)
    return None if kept is None else _floor(kept, length) + length


def due(connection: Connection, plan: Plan) -> dict[str, list[Span]]:
    """Return the times that are proved and not stated yet, of each source, oldest first. A record that the destination refused
    stops them, until a person has sent it again or dropped it.
    """
    found, left = {}, _MOST_AT_ONCE
    refused = streams.first_refused(connection, plan.name)
    proved = {
        name: min(source.proved_through, refused.get(name, source.proved_through))
        for name, source in marks.read_all(connection).items()
    }
    for name, mark in streams.read_marks(connection, plan.name).items():
        if name in proved and (spans := list(islice(_spans(mark, proved[name], plan.watermark), left))):
            found[name], left = spans, left - len(spans)
    return found


def _spans(mark: Mark, proved: datetime, length: timedelta) -> Iterator[Span]:
    start = mark.complete_through
    while (end := _floor(start, length) + length) <= proved:
        yield start, end
        start = end


def _floor(at: datetime, length: timedelta) -> datetime:
    return at - (at - EPOCH) % length


def is_late(mark: Mark | None, record: Record) -> bool:
    """Return whether the stream has stated that it is complete through the time of a record, or a later one."""
    if mark is None or mark.complete_through == mark.begins_at or key_time(record.key) is None:
        return False
    return record.occurred_at < mark.complete_through


def span_of(at: datetime, mark: Mark, length: timedelta) -> Span:
    """Return the time of the statement that is about an instant."""
    start = _floor(at, length)
    return max(start, mark.begins_at), min(start + length, mark.complete_through)


def state(connection: Connection, plan: Plan, kind: str, source: str, span: Span, position: int) -> list[StreamMessage]:
    """Make the statement about a time: how many records the stream has sent of it, of each kind, their digest and offsets.

    Where it would name more than `MOST_RANGES` of offsets, there are several statements, about parts of the time.
    """
    (start, end), kinds, keys, ids = span, Counter[str](), list[str](), list[int]()
    for record in streams.read_window(connection, source, start, end, position):
        if plan.takes_record(record):
            kinds[record.action_kind] += 1
            keys.append(record.key)
            ids.append(record.id)
    ranges = _ranges(sorted(ids))
    if len(ranges) > MOST_RANGES and end - start > MICROSECOND:
        middle = start + (end - start) // 2
        parts = ((start, middle), (middle, end))
        return [each for part in parts for each in state(connection, plan, kind, source, part, position)]
    data: dict[str, Any] = {
        "source": source,
        "starts_at": instant(start),
        "ends_at": instant(end),
        "complete_through": instant(end),
        "count": len(ids),
        "kinds": dict(sorted(kinds.items())),
        "digest": receipts.digest_of(keys),
        "offsets": ranges,
    }
    name = stable_id(kind, plan.name, source, data["starts_at"], data["ends_at"], data["digest"], str(position))
    return [messages.compose(plan, Message(name, kind, end, data), kind, {"offset": position}, source)]


def _ranges(ids: Sequence[int]) -> list[list[int]]:
    """Return ascending ids as ranges [first, last]."""
    found: list[list[int]] = []
    for each in ids:
        if found and each == found[-1][1] + 1:
            found[-1][1] = each
        else:
            found.append([each, each])
    return found


def touched(found: Iterable[Record], known: Mapping[str, Mark], length: timedelta) -> list[tuple[str, Span]]:
    """Return the times, with their source, about which the statements change because some of these records are late."""
    spans = {
        (record.source, span_of(record.occurred_at, known[record.source], length)): None
        for record in found
        if is_late(known.get(record.source), record) and known[record.source].begins_at <= record.occurred_at
    }
    return list(spans)
