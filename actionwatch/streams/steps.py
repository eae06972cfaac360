"""The steps of a stream, in the order in which they are tried: each sends one batch, or keeps what is sent next.

A step commits its progress after its messages are safe at the destination, so a process that is killed sends at most its last
batch again: the same ids, offsets and bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from actionwatch.base.model import Record
from actionwatch.store import records, streams
from actionwatch.store.database import Database
from actionwatch.store.streams import RECORD_FEED, KeptMessage, Mark, Position
from actionwatch.streams import feeds, messages, positions, statements
from actionwatch.streams.driver import Refusal, StreamMessage
from actionwatch.streams.messages import Plan


@dataclass(frozen=True, slots=True)
class Line:
    """A stream on its way: its plan, the store of the holder of its role, and what sends a batch and returns the refusals."""

    plan: Plan
    database: Database
    clock: Callable[[], datetime]
    send: Callable[[Sequence[StreamMessage]], Sequence[Refusal]]


def send_kept(line: Line) -> bool:
    """Send the messages that are kept. Return whether there were any."""
    plan = line.plan
    with line.database.read() as connection:
        waiting = streams.read_waiting(connection, plan.name, plan.batch)
    if not waiting:
        return False
    refused = {each.id: each.why for each in line.send([_sendable(each) for each in waiting])}
    with line.database.write() as connection:
        for each in waiting:
            if each.message_id in refused:
                streams.refuse(connection, [each.id], line.clock(), refused[each.message_id])
        streams.delete_sent(connection, [each.id for each in waiting if each.message_id not in refused])
        _note_sent(connection, line, len(waiting) - len(refused))
    return True


def keep_next(line: Line) -> bool:
    """Keep the next messages about alerts or decisions, and move past what they are made of. Return whether there was any."""
    plan, kept_feeds = line.plan, feeds.KEPT_FEEDS[line.plan.what]
    with line.database.read() as connection:
        before = streams.read_positions(connection, plan.name)
        if not any(feed.newest(connection) > before[feed.name].row_id for feed in kept_feeds):
            return False
    with line.database.write() as connection:
        known = streams.read_positions(connection, plan.name)
        for feed in kept_feeds:
            portion = feed.read(connection, plan, known[feed.name].row_id, line.clock())
            streams.keep(connection, plan.name, [_kept(message) for message in portion.messages])
            streams.write_position(connection, plan.name, feed.name, Position(portion.through))
    return True


def send_records(line: Line) -> bool:
    """Send the next records, and keep a new statement about each time in which one of them is late. Return whether any."""
    plan = line.plan
    if not plan.has_records or (batch := _next_batch(line)) is None:
        return False
    sent = batch.portion.messages
    refused = {each.id: each.why for each in (line.send(sent) if sent else ())}
    kept = [_kept(each, line.clock(), refused[each.id]) for each in sent if each.id in refused]
    with line.database.read() as connection:  # the records up to there no longer change
        known = streams.read_marks(connection, plan.name)
        for source, span in statements.touched(batch.found, known, plan.watermark):
            made = statements.state(connection, plan, messages.AMENDED, source, span, batch.portion.through)
            kept += map(_kept, made)
    with line.database.write() as connection:
        if streams.read_positions(connection, plan.name).get(RECORD_FEED) != batch.before:
            return True  # a person has rewound it: they are sent again
        streams.write_position(connection, plan.name, RECORD_FEED, Position(batch.portion.through))
        streams.keep(connection, plan.name, kept)
        _note_sent(connection, line, len(sent) - len(refused))
    return True


@dataclass(frozen=True, slots=True)
class _Batch:
    """The next records: their messages, and the position behind which they follow."""

    before: Position
    portion: feeds.Portion
    found: Sequence[Record]


def _next_batch(line: Line) -> _Batch | None:
    """Read the next records; None if there are none, or if they still wait for others."""
    plan = line.plan
    with line.database.read() as connection:
        before = streams.read_positions(connection, plan.name)[RECORD_FEED]
        first = streams.first_waiting(connection, before.row_id)
        if first is None:
            return None
        known = streams.read_marks(connection, plan.name)
        portion, found = feeds.read_records(connection, plan, before.row_id, before.planned_through, known)
    is_whole = len(found) >= plan.batch or before.planned_through is not None
    if not is_whole and timedelta(0) <= line.clock() - first[1] < plan.wait:
        return None
    if plan.is_object and before.planned_through is None:
        planned = Position(before.row_id, portion.through)
        with line.database.write() as connection:
            if streams.read_positions(connection, plan.name)[RECORD_FEED] != before:
                return None  # a person has rewound it
            streams.write_position(connection, plan.name, RECORD_FEED, planned)
        before = planned
    return _Batch(before, portion, found)


def state_complete(line: Line) -> bool:
    """Keep the statements about what is proved and sent. Return whether there are any.

    They are made of one state of the store in which the stream is at the newest record, while others may write. What is stored
    meanwhile is late, because the marks have moved then.
    """
    plan = line.plan
    if not plan.has_records:
        return False
    made: list[KeptMessage] = []
    moved: dict[str, Mark] = {}
    with line.database.read() as connection:
        is_any_new = bool(statements.begin_marks(connection, plan, None, is_first=False))
        before = streams.read_positions(connection, plan.name)[RECORD_FEED]
        known = streams.read_marks(connection, plan.name)
        if records.newest_id(connection) <= before.row_id:
            for source, spans in statements.due(connection, plan).items():
                for span in spans:
                    found = statements.state(connection, plan, messages.COMPLETE_THROUGH, source, span, before.row_id)
                    made += map(_kept, found)
                moved[source] = Mark(known[source].begins_at, spans[-1][1])
    if not made and not is_any_new:
        return False
    with line.database.write() as connection:
        positions.begin(connection, plan, line.clock())  # a source may be new
        unchanged = streams.read_marks(connection, plan.name).items() >= known.items()
        if unchanged and streams.read_positions(connection, plan.name)[RECORD_FEED] == before:
            streams.keep(connection, plan.name, made)
            for source, mark in moved.items():
                streams.write_mark(connection, plan.name, source, mark)
    return True


STEPS: tuple[Callable[[Line], bool], ...] = (keep_next, send_kept, send_records, state_complete)
"""Tried in this order, again from the first one after each that did something. What is kept is older than what follows."""


def _note_sent(connection: Connection, line: Line, count: int) -> None:
    health = streams.read_health(connection, line.plan.name)
    sent_at = line.clock() if count else health.last_sent_at
    healthy = replace(health, sent_count=health.sent_count + count, last_sent_at=sent_at, failing_since=None)
    streams.write_health(connection, line.plan.name, healthy)


def _kept(message: StreamMessage, refused_at: datetime | None = None, why: str | None = None) -> KeptMessage:
    return KeptMessage(
        message_id=message.id,
        kind=message.kind,
        row_id=message.offset,
        at=message.at,
        partition_key=message.key,
        content_type=message.content_type,
        body=message.body,
        refused_at=refused_at,
        why=why,
    )


def _sendable(kept: KeptMessage) -> StreamMessage:
    return StreamMessage(
        kept.message_id, kept.kind, kept.row_id, kept.at, kept.partition_key, kept.body, kept.content_type
    )
