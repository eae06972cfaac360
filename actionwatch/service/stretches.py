"""Find which stretches of a source's time are proved without a gap, and why others are not: for auditors and the console."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from actionwatch.base.clock import utc_now
from actionwatch.base.model import Stretch
from actionwatch.settings import Settings
from actionwatch.store import marks, polls, receipts, self_alerts, sweeps, unproved_windows
from actionwatch.tail.cursor import EDGE
from actionwatch.tail.planning import overdue_windows


def read_stretches(
    connection: Connection,
    source: str,
    settings: Settings,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[Stretch]:
    """Return the stretches of a source, oldest first, from its beginning or the retention of receipts to where it was read.

    Time that a receipt covers is not proved if a later reading failed, or if a sweep that should check it is overdue.
    """
    known = _marks(connection, source)
    why = _why_lagging(connection, source)
    at = max(known.begins_at, utc_now() - settings.store.retention.receipts)
    at = max(at, since) if since else at
    doubts = list(_doubts(connection, source, known, settings))
    found: list[Stretch] = []
    for start, end in receipts.spans(connection, [source, *marks.former_names(connection, source)], since):
        if end <= at:
            continue
        if start - at > EDGE:
            found.append(Stretch(source, at, start, is_proved=False, why=why))
        found += _without(Stretch(source, max(at, start), end, is_proved=True), doubts)
        at = end
    if known.seen_through - at > EDGE:
        found.append(Stretch(source, at, known.seen_through, is_proved=False, why=why))
    whole = sorted([*found, *doubts], key=lambda stretch: stretch.start)
    return [clipped for stretch in whole if (clipped := _clip(stretch, since, until)) is not None]


def read_unread(
    connection: Connection, source: str, since: datetime | None = None, until: datetime | None = None
) -> list[Stretch]:
    """Return the time after that of `read_stretches` which the last poll could not read; nothing if it succeeded."""
    known, poll = _marks(connection, source), polls.read(connection, source)
    if poll is None or poll.last_error is None:
        return []
    end = poll.last_poll_at + poll.clock_skew
    found = Stretch(source, known.seen_through, end, is_proved=False, why=f"not read: {poll.last_error}")
    clipped = _clip(found, since, until)
    return [] if clipped is None else [clipped]


def _marks(connection: Connection, source: str) -> marks.Marks:
    found = marks.read(connection, source)
    if found is None:
        raise KeyError(source)
    return found


def _why_lagging(connection: Connection, source: str) -> str:
    lagging = self_alerts.read(connection, "proof_lagging", source)
    return lagging.what if lagging is not None else "read, but not proved"


def _doubts(connection: Connection, source: str, known: marks.Marks, settings: Settings) -> Iterator[Stretch]:
    """Find the windows that could not be proved when they were read again, or whose sweep was overdue at the last poll."""
    for doubt in unproved_windows.read_failed(connection, source):
        yield Stretch(source, doubt.starts_at, doubt.ends_at, is_proved=False, why=doubt.why)
    configured = next((each for each in settings.sources if each.name == source), None)
    poll = polls.read(connection, source)
    if configured is None or poll is None:
        return
    asked, now = sweeps.read(connection, source), poll.last_poll_at + poll.clock_skew
    overdue = overdue_windows(configured.sweeps, known.mark - configured.overlap, known.begins_at, asked, now)
    for reach, window in overdue:
        why = f"not checked for late records since {asked[reach]:%Y-%m-%dT%H:%M:%SZ}"
        yield Stretch(source, window.start, window.end, is_proved=False, why=why)


def _without(stretch: Stretch, doubts: Sequence[Stretch]) -> list[Stretch]:
    """Cut unproved windows out of a stretch."""
    left, start = list[Stretch](), stretch.start
    for doubt in sorted(doubts, key=lambda doubt: doubt.start):
        if start < doubt.start < stretch.end:
            left.append(replace(stretch, start=start, end=doubt.start))
        start = max(start, doubt.end)
    return [*left, replace(stretch, start=start)] if start < stretch.end else left


def _clip(stretch: Stretch, since: datetime | None, until: datetime | None) -> Stretch | None:
    start = max(stretch.start, since) if since else stretch.start
    end = min(stretch.end, until) if until else stretch.end
    return replace(stretch, start=start, end=end) if start < end else None
