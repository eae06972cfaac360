"""The page of sources: which of them need a person, with a search by name and labels. All are links and one form."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from actionwatch.base.clock import Spans
from actionwatch.base.source_labels import labels_of
from actionwatch.queries import PAGE_SIZE
from actionwatch.queries.source_health import MEANINGS, SourceHealth
from actionwatch.queries.sources import SourceOrder, choose, page, place_of
from actionwatch.queries.status import judge_sources, read_sources
from actionwatch.store import self_alerts
from actionwatch.text.matchers import Matcher
from actionwatch.web.console.page import href, render_search
from actionwatch.web.console.source_rows import read_rows
from actionwatch.web.filters import SourceQuery, read_form
from actionwatch.web.parts import Parts
from actionwatch.web.query import UrlQuery

PATH = "/sources"
_STRIP = (timedelta(hours=1), 24)
_LABELS_SHOWN = 12  # the most frequent ones, as a help to search


def show(request: Request, parts: Parts) -> Response:
    """Show the sources that match the filters of the query."""
    now, query = parts.clock(), UrlQuery(request.query_params)
    asked = read_form(query, SourceQuery)
    order, wanted = SourceOrder(asked.sort), asked.filter()
    after = query.after(*place_of(order))
    intervals, spans = parts.configuration.sources(), Spans.until(now, *_STRIP)
    with parts.database.read() as connection:
        sources = read_sources(connection, intervals)
        healths = judge_sources(sources, intervals, self_alerts.read_all(connection), now)
        chosen = choose(sources, healths, wanted)
        found = None if query.problems else page(chosen, healths, order, PAGE_SIZE, after)
        rows = read_rows(connection, parts, found.items if found else (), healths, spans, now)
    given = asked.given()
    return render_search(
        request,
        "sources.html",
        now,
        query,
        found,
        rows=rows,
        spans=spans,
        given=given,
        order=order.value,
        orders=[(each.value, href(PATH, given, sort=each.value)) for each in SourceOrder],
        states=_states(given, Counter(healths.values()), wanted.health),
        set_labels=[(text, href(PATH, given, label=_without(asked.label, text))) for text in asked.label],
        labels=_frequent(intervals),
        found_count=len(chosen),
        count=len(healths),
    )


def _states(given: dict[str, Any], counts: Counter[SourceHealth], chosen: SourceHealth | None) -> list[dict[str, Any]]:
    """Return a link for each state that sources are in, which sets or removes the filter."""
    return [
        {
            "name": health.value,
            "meaning": MEANINGS[health],
            "count": counts[health],
            "is_on": health is chosen,
            "target": href(PATH, given, state="" if health is chosen else health.value),
        }
        for health in SourceHealth
        if counts[health] or health is chosen
    ]


def _without(labels: list[str], text: str) -> list[str]:
    return [each for each in labels if each != text]


def _frequent(names: Any) -> list[str]:
    """Return matchers of the labels that most sources have."""
    counts = Counter(str(Matcher(name, "=", value)) for source in names for name, value in labels_of(source).items())
    return [text for text, _ in counts.most_common(_LABELS_SHOWN)]
