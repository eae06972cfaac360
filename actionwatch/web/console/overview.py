"""The overview: whether everything is seen, what needs a person, and the state of sources, alerts and receivers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from actionwatch.base.clock import Spans
from actionwatch.base.model import LEVELS
from actionwatch.base.reasons import SourceReason
from actionwatch.queries import names, rules
from actionwatch.queries.replicas import list_replicas
from actionwatch.queries.source_health import MANY, MEANINGS, survey
from actionwatch.queries.status import read_state
from actionwatch.queries.streams import read_streams
from actionwatch.store import alerts, record_counts, silences
from actionwatch.web.console.charts import (
    Chart,
    draw_bars,
    level_counts,
)
from actionwatch.web.console.page import render
from actionwatch.web.console.source_rows import read_rows
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


def show(request: Request, parts: Parts) -> Response:
    """Show the overview of a day, a week or a month."""
    now = parts.clock()
    query = UrlQuery(request.query_params)
    width, count = query.choice("range", _RANGES, "day")
    spans = Spans.until(now, width, count)
    unready = list(parts.service.unready())
    with parts.database.read() as connection:
        active = silences.read_active(connection, now)[:_SILENCES_SHOWN]
        configuration = parts.configuration
        state = read_state(connection, configuration.sources(), configuration.receivers, unready, now)
        surveyed = survey(state.healths)
        by_name = {each.name: each for each in state.sources}
        shown = surveyed.first if surveyed.is_large else by_name
        troubles = state.troubles[:MANY] if surveyed.is_large else state.troubles
        values: dict[str, Any] = {
            "sources": read_rows(connection, parts, [by_name[name] for name in shown], state.healths, spans, now),
            "receivers": state.receivers,
            "streams": read_streams(connection, parts.configuration.streams, now),
            "troubles": troubles,
            "removed": rules.removed_since(connection, now - timedelta(days=_REMOVED_DAYS)),
            "levels": alerts.read_many(connection, [each.alert_id for each in troubles]),
            "silences": active,
            "names": names.of_silences(connection, active),
            "alert_chart": _alert_chart(connection, spans),
            "record_chart": _record_chart(connection, spans),
        }
    roster = parts.service.roster()
    shown = next((word for word, each in _RANGES.items() if each == (width, count)), "day")
    return render(
        request,
        "overview.html",
        now,
        verdict=state.verdict,
        survey=surveyed,
        meanings=MEANINGS,
        trouble_count=len(state.troubles),
        # The table of sources has what they are about.
        unready=[each for each in unready if not (surveyed.is_large and isinstance(each, SourceReason))],
        removed_days=_REMOVED_DAYS,
        range=shown,
        ranges=list(_RANGES),
        roster=roster,
        replicas=list_replicas(roster) if roster is not None else [],
        spans=spans,
        **values,
    )


def _alert_chart(connection: Connection, spans: Spans) -> Chart:
    counts = alerts.count_by_time(connection, spans, _MAX_CHARTED_ALERTS)
    return draw_bars(spans, level_counts(counts), list(LEVELS))


def _record_chart(connection: Connection, spans: Spans) -> Chart:
    counts = record_counts.count_by_time(connection, spans, _MAX_CHARTED_RECORDS)
    return draw_bars(spans, [{"records": count} for count in counts], ["records"], cap=_MAX_CHARTED_RECORDS)
