"""The rows about sources, on the overview and the page of sources: the state of each, its labels and a strip of its proof."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from actionwatch.base.clock import Spans
from actionwatch.base.source_labels import labels_of
from actionwatch.queries.source_health import SourceHealth
from actionwatch.queries.status import SourceState
from actionwatch.web.console.charts import BandPart, Chart, classify, draw_timeline, percent_proved
from actionwatch.web.parts import Parts


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A source on a page. `timeline` is None if nothing was read yet."""

    state: SourceState
    health: SourceHealth
    labels: Mapping[str, str]
    timeline: Chart | None = None
    percent: float = 0.0
    gaps: tuple[BandPart, ...] = ()


def read_rows(
    connection: Connection,
    parts: Parts,
    sources: Iterable[SourceState],
    healths: Mapping[str, SourceHealth],
    spans: Spans,
    now: datetime,
) -> list[SourceRow]:
    """Return the rows of sources. The proof of all is read at once."""
    sources = list(sources)
    read = [each.name for each in sources if each.marks]
    stretches = parts.service.stretches(connection, read, spans.start)
    found = []
    for state in sources:
        health, labels = healths[state.name], labels_of(state.name)
        if state.marks is None:
            found.append(SourceRow(state, health, labels))
            continue
        there = state.upstream_time(now)
        states = classify(stretches[state.name], state.marks.seen_through, there)
        gaps = [part for part in states if part.state == "gap"]
        timeline, percent = draw_timeline(states, spans.start, there), percent_proved(states, spans.start, there)
        found.append(SourceRow(state, health, labels, timeline, percent, tuple(reversed(gaps))))
    return found
