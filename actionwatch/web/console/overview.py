"""The overview: whether everything is seen, what needs a person, and the state of sources, alerts and receivers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from actionwatch.base.clock import Spans
from actionwatch.base.model import LEVELS
from actionwatch.queries import names, rules
from actionwatch.queries.status import SourceState, read_state
from actionwatch.queries.streams import read_streams
from actionwatch.store import alerts, record_counts, silences
from actionwatch.web.console.charts import (
    BandPart,
    Chart,
    classify,
    draw_bars,
    draw_timeline,
    level_counts,
    percent_proved,
)
from actionwatch.web.console.page import render
from actionwatch.web.parts import Parts
from actionwatch.web.query import UrlQuery

_RANGES: Mapping[str, tuple[timedelta, int]] = {
    "day": (timedelta(hours=1), 24),
    "week": (timedelta(hours=6), 28),
    "month": (timedelta(days=1), 30),
}
"""The width and the number of the bars of each range."""
_MAX_CHARTED_ALERTS = 20_000  # of a range, the newest
_MAX_CHARTED_RECORDS = 10_000  # of one bar
_SILENCES_SHOWN = 5
_REMOVED_DAYS = 7


@dataclass(frozen=True, slots=True)
class _Source:
    """A source on the page."""

    state: SourceState
    timeline: Chart | None = None
    percent: float = 0.0
    gaps: tuple[BandPart, ...] = ()


def show(request: Request, parts: Parts) -> Response:
    """Show the overview of a day, a week or a month."""
    now = parts.clock()
    query = UrlQuery(request.query_params)
    width, count = query.choice("range", _RANGES, "day")
    spans = Spans.until(now, width, count)
    unready = list(parts.service.unready())
    with parts.database.read() as connection:
        active = silences.read_active(connection, now)[:_SILENCES_SHOWN]
        state = read_state(connection, parts.configuration.sources(), parts.configuration.receivers, unready)
        values: dict[str, Any] = {
            "sources": _sources(connection, parts, state.sources, spans, now),
            "receivers": state.receivers,
            "streams": read_streams(connection, parts.configuration.streams, now),
            "troubles": state.troubles,
            "removed": rules.removed_since(connection, now - timedelta(days=_REMOVED_DAYS)),
            "levels": alerts.read_many(connection, [each.alert_id for each in state.troubles]),
            "silences": active,
            "names": names.of_silences(connection, active),
            "alert_chart": _alert_chart(connection, spans),
            "record_chart": _record_chart(connection, spans),
        }
    shown = next((word for word, each in _RANGES.items() if each == (width, count)), "day")
    return render(
        request,
        "overview.html",
        now,
        verdict=state.verdict,
        unready=unready,
        removed_days=_REMOVED_DAYS,
        range=shown,
        ranges=list(_RANGES),
        roster=parts.service.roster(),
        spans=spans,
        **values,
    )


def _sources(
    connection: Connection, parts: Parts, sources: Sequence[SourceState], spans: Spans, now: datetime
) -> list[_Source]:
    found = []
    for state in sources:
        if state.marks is None:
            found.append(_Source(state))
            continue
        there = state.upstream_time(now)
        states = classify(parts.service.stretches(connection, state.name, spans.start), state.marks.seen_through, there)
        gaps = [part for part in states if part.state == "gap"]
        timeline, percent = draw_timeline(states, spans.start, there), percent_proved(states, spans.start, there)
        found.append(_Source(state, timeline, percent, tuple(reversed(gaps))))
    return found


def _alert_chart(connection: Connection, spans: Spans) -> Chart:
    counts = alerts.count_by_time(connection, spans, _MAX_CHARTED_ALERTS)
    return draw_bars(spans, level_counts(counts), list(LEVELS))


def _record_chart(connection: Connection, spans: Spans) -> Chart:
    counts = record_counts.count_by_time(connection, spans, _MAX_CHARTED_RECORDS)
    return draw_bars(spans, [{"records": count} for count in counts], ["records"], cap=_MAX_CHARTED_RECORDS)
