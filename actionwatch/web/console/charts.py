"""Charts as rectangles in a unit-free picture, which the templates draw as SVG. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from actionwatch.base.clock import Spans
from actionwatch.base.model import Level, Stretch

WIDTH = 1000.0
HEIGHT = 100.0
_GAP = 0.15  # of the width of a bar
_LEAST_HEIGHT = 2.0  # one alert among thousands is still visible
_LEAST_WIDTH = 3.0  # a gap of a second in a month is still visible


@dataclass(frozen=True, slots=True)
class Mark:
    """A rectangle with the class that colours it, and a sentence about it."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture: its rectangles, the times at its left, middle and right, and the greatest value."""

    marks: Sequence[Mark]
    axis: tuple[datetime, datetime, datetime]
    most: int = 0


def draw_bars(spans: Spans, counts: Sequence[Mapping[str, int]], kinds: Sequence[str], cap: int | None = None) -> Chart:
    """Draw one bar for each span, whose parts are stacked in the order of their kinds. A count of `cap` may be more."""
    most = max((sum(each.values()) for each in counts), default=0)
    step = WIDTH / spans.count
    marks: list[Mark] = []
    for number, (start, found) in enumerate(zip(spans.starts, counts, strict=True)):
        top = HEIGHT
        title = _spell_bar(start, found, kinds, cap)
        for kind in kinds:
            if count := found.get(kind, 0):
                height = max(count / most * HEIGHT, _LEAST_HEIGHT)
                top -= height
                marks.append(
                    Mark(number * step + step * _GAP / 2, max(top, 0.0), step * (1 - _GAP), height, kind, title)
                )
    return Chart(marks, _axis(spans.start, spans.end), most)


def _spell_bar(start: datetime, found: Mapping[str, int], kinds: Sequence[str], cap: int | None) -> str:
    parts = [
        f"{count:,}{' or more' if cap and count >= cap else ''} {kind}"
        for kind in reversed(kinds)
        if (count := found.get(kind))
    ]
    return f"{start:%Y-%m-%d %H:%M} UTC: {', '.join(parts)}"


def level_counts(counts: Sequence[Mapping[Level, int]]) -> list[dict[str, int]]:
    """Name the levels of counts."""
    return [{level.word: count for level, count in each.items()} for each in counts]


@dataclass(frozen=True, slots=True)
class BandPart:
    """A part of a source's time in one state.

    `proved`; `seen`: read and not proved yet; `gap`: not proved, before time that is; `blind`: not read yet.
    """

    state: str
    start: datetime
    end: datetime
    why: str = ""


def classify(stretches: Sequence[Stretch], seen_through: datetime, now: datetime) -> list[BandPart]:
    """Return the states of a source's time up to now, oldest first.

    The end of the time that was read is `seen` if it is not proved; nothing was read after that.
    """
    proved_end = max((each.end for each in stretches if each.is_proved), default=None)
    parts = []
    for each in stretches:
        is_gap = proved_end is not None and each.start < proved_end
        state = "proved" if each.is_proved else "gap" if is_gap else "seen"
        parts.append(BandPart(state, each.start, each.end, each.why))
    if seen_through < now:
        parts.append(BandPart("blind", seen_through, now, "not read yet"))
    return parts


def draw_timeline(parts: Sequence[BandPart], since: datetime, until: datetime) -> Chart:
    """Draw the states as a band. What is not proved lies on top, and is never too narrow to see."""
    order = sorted(parts, key=lambda part: part.state != "proved")
    return Chart([mark for part in order for mark in _band(part, since, until)], _axis(since, until))


def _band(part: BandPart, since: datetime, until: datetime) -> Iterator[Mark]:
    start, end = max(part.start, since), min(part.end, until)
    if start >= end:
        return
    scale = WIDTH / (until - since).total_seconds()
    x, width = (start - since).total_seconds() * scale, (end - start).total_seconds() * scale
    if part.state in ("seen", "blind") and width < _LEAST_WIDTH / 2:
        return  # the time between two polls, which is normal
    shown = max(width, _LEAST_WIDTH) if part.state == "gap" else width
    title = (
        f"{part.state}: {start:%Y-%m-%d %H:%M:%S} to {end:%Y-%m-%d %H:%M:%S} UTC{f': {part.why}' if part.why else ''}"
    )
    yield Mark(min(x, WIDTH - shown), 0, shown, HEIGHT, part.state, title)


def percent_proved(parts: Sequence[BandPart], since: datetime, until: datetime) -> float:
    """Return how many percent of the time that was read are proved, rounded down: 100 means without a gap."""
    spans = [(max(part.start, since), min(part.end, until), part.state) for part in parts]
    held = [(end - start, state) for start, end, state in spans if start < end and state != "blind"]
    whole = sum((span for span, _ in held), timedelta(0))
    proved = sum((span for span, state in held if state == "proved"), timedelta(0))
    return math.floor(proved / whole * 1000) / 10 if whole else 0.0


def _axis(start: datetime, end: datetime) -> tuple[datetime, datetime, datetime]:
    return start, start + (end - start) / 2, end
