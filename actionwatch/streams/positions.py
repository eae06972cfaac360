"""The positions at which a stream begins, and to which a person rewinds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from actionwatch.base.clock import ALWAYS
from actionwatch.store import marks, streams
from actionwatch.store.streams import RECORD_FEED, Position
from actionwatch.streams import feeds, statements
from actionwatch.streams.messages import Plan


def begin(connection: Connection, plan: Plan, now: datetime) -> None:
    """Give a stream its first positions, as `start` says, and marks to the sources that are new to it."""
    known = streams.read_positions(connection, plan.name)
    if not known:
        health = streams.read_health(connection, plan.name)
        streams.write_health(connection, plan.name, replace(health, started_at=now))
    for name, position in _positions(connection, plan).items():
        if name not in known:
            streams.write_position(connection, plan.name, name, Position(position))
    if plan.has_records:
        since = _since(plan)
        new = statements.begin_marks(connection, plan, since, is_first=RECORD_FEED not in known)
        for source, mark in new.items():
            streams.write_mark(connection, plan.name, source, mark)


def rewind(connection: Connection, plan: Plan, to: datetime, now: datetime) -> None:
    """Move a stream back, so that everything that happened since a time is sent again under the same ids."""
    known = streams.read_positions(connection, plan.name)
    for name, position in _positions(connection, replace(plan, start=to)).items():
        before = known[name].row_id if name in known else position
        streams.write_position(connection, plan.name, name, Position(min(position, before)))
    health = streams.read_health(connection, plan.name)
    streams.write_health(connection, plan.name, replace(health, started_at=now))
    for source, mark in statements.rewound(connection, plan, to).items():
        streams.write_mark(connection, plan.name, source, mark)


def _now(connection: Connection) -> int:
    """Return the position of a stream of records that starts now. What a poll at work has stored is behind it, because the
    marks do not cover it yet.
    """
    known = {name: source.seen_through for name, source in marks.read_all(connection).items()}
    return streams.position_of_polls(connection, known)


def _since(plan: Plan) -> datetime | None:
    """Return since when a stream has all records; None: from its start on. `beginning` is before every source."""
    if plan.start == "now":
        return None
    return plan.start if isinstance(plan.start, datetime) else ALWAYS


def _positions(connection: Connection, plan: Plan) -> dict[str, int]:
    """Return where each feed begins."""
    places: list[tuple[str, Callable[[Connection], int], Callable[[Connection, datetime], int]]]
    places = [(RECORD_FEED, _now, streams.position_before)] if plan.has_records else []
    places += [(feed.name, feed.newest, feed.before) for feed in feeds.KEPT_FEEDS[plan.what]]
    found: dict[str, int] = {}
    for name, newest, before in places:
        if isinstance(plan.start, datetime):
            found[name] = before(connection, plan.start)
        else:
            found[name] = 0 if plan.start == "beginning" else newest(connection)
    return found
