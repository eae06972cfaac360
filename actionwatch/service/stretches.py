"""Find which stretches of a source's time are proved without a gap, and why others are not: for auditors and the console."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection

from actionwatch.base.clock import utc_now
from actionwatch.base.model import Stretch
from actionwatch.settings import Settings, Source
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
    return read_many_stretches(connection, [source], settings, since, until)[source]


def read_many_stretches(
    connection: Connection,
    sources: Collection[str],
    settings: Settings,
    since: datetime | None = None,
    until: datetime | None = None,
) -> dict[str, list[Stretch]]:
    """Return the stretches of several sources that were read, in as many statements as for one."""
    known, known_polls = marks.read_many(connection, sources), polls.read_many(connection, sources)
    proved = receipts.spans(connection, marks.owners(connection, sources), since)
    lagging = {each.subject: each.what for each in self_alerts.read_all(connection) if each.trouble == "proof_lagging"}
    failed: dict[str, list[Stretch]] = {source: [] for source in sources}
    for window in unproved_windows.read_failed_of(connection, sources):
        doubt = Stretch(window.source, window.starts_at, window.ends_at, is_proved=False, why=window.why)
        failed[window.source].append(doubt)
    swept = sweeps.read_many(connection, sources)
    configured = {each.name: each for each in settings.sources}
    earliest = utc_now() - settings.store.retention.receipts
    found = {}
    for source in sources:
        its, poll, options = known[source], known_polls.get(source), configured.get(source)
        doubts = failed[source]
        if poll is not None and options is not None:
            doubts += _overdue(its, options, swept[source], poll.last_poll_at + poll.clock_skew)
        why = lagging.get(source, "read, but not proved")
        at = max(its.begins_at, earliest, *([since] if since else []))
        whole = _whole(its, proved[source], at, why, doubts)
        found[source] = [clipped for each in whole if (clipped := _clip(each, since, until)) is not None]
    return found


def _whole(
    known: marks.Marks, proved: Iterable[receipts.Span], at: datetime, why: str, doubts: Sequence[Stretch]
) -> list[Stretch]:
    """Return the stretches of a source from a time on: what is proved without the doubts, what is not, and the doubts."""
    found: list[Stretch] = []
    for start, end in proved:
        if end <= at:
            continue
        if start - at > EDGE:
            found.append(Stretch(known.name, at, start, is_proved=False, why=why))
        found += _without(Stretch(known.name, max(at, start), end, is_proved=True), doubts)
        at = end
    if known.seen_through - at > EDGE:
        found.append(Stretch(known.name, at, known.seen_through, is_proved=False, why=why))
    return sorted([*found, *doubts], key=lambda stretch: stretch.start)


def _overdue(
    known: marks.Marks, source: Source, asked: Mapping[timedelta, datetime], now: datetime
) -> Iterator[Stretch]:
    """Find the windows whose sweep was overdue at the last poll."""
    overdue = overdue_windows(source.sweeps, known.mark - source.overlap, known.begins_at, asked, now)
    for reach, window in overdue:
        why = f"not checked for late records since {asked[reach]:%Y-%m-%dT%H:%M:%SZ}"
        yield Stretch(source.name, window.start, window.end, is_proved=False, why=why)


def read_unread(
    connection: Connection, source: str, since: datetime | None = None, until: datetime | None = None
) -> list[Stretch]:
    """Return the time after that of `read_stretches` which the last poll could not read; nothing if it succeeded."""
    known, poll = marks.read_many(connection, [source])[source], polls.read(connection, source)
    if poll is None or poll.last_error is None:
        return []
    end = poll.last_poll_at + poll.clock_skew
    found = Stretch(source, known.seen_through, end, is_proved=False, why=f"not read: {poll.last_error}")
    clipped = _clip(found, since, until)
    return [] if clipped is None else [clipped]


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
