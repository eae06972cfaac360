"""The charts of the console show what is stored, also where it is small."""

from __future__ import annotations

from datetime import timedelta

from actionwatch.base.clock import EPOCH, Spans
from actionwatch.base.model import Stretch
from actionwatch.web.console import charts
from tests.builders import NOON

HOUR = timedelta(hours=1)
DAY = 24 * HOUR


def stretch(start: float, end: float, *, is_proved: bool = True, why: str = "") -> Stretch:
    """Make a stretch between two hours after noon."""
    return Stretch("acme", NOON + start * HOUR, NOON + end * HOUR, is_proved, why)


def test_spans_contain_now_and_follow_each_other() -> None:
    """The last span contains now, each begins at a multiple of its width, and together they have no gap."""
    for minutes in (0, 1, 59, 60, 719, 1439):
        now = NOON + timedelta(minutes=minutes)
        for width, count in ((HOUR, 24), (6 * HOUR, 28), (DAY, 30)):
            spans = Spans.until(now, width, count)
            assert spans.starts[-1] <= now < spans.end == spans.starts[-1] + width
            assert all((at - EPOCH) % width == timedelta(0) for at in spans.starts)
            assert len(spans.starts) == count


def test_bars_are_stacked_within_the_picture() -> None:
    """Bars are as high as their counts, parts of a bar lie on each other, and a single alert among thousands is seen."""
    spans = Spans(NOON, HOUR, 3)
    counts = [{"low": 1, "high": 3}, {}, {"high": 1000}]
    chart = charts.draw_bars(spans, counts, ["low", "high"])
    assert chart.most == 1000
    assert chart.axis == (NOON, NOON + 1.5 * HOUR, NOON + 3 * HOUR)
    low, high, tall = chart.marks
    assert (low.kind, high.kind, tall.kind) == ("low", "high", "high")
    assert low.y == high.y + high.height
    assert min(low.height, high.height) >= 2
    assert (tall.y, tall.height) == (0, charts.HEIGHT)
    assert all(mark.x >= 0 and mark.x + mark.width <= charts.WIDTH and mark.y >= 0 for mark in chart.marks)
    assert low.title == "2026-11-25 12:00 UTC: 3 high, 1 low"


def test_a_capped_bar_says_so() -> None:
    """A count that stopped at its limit is no exact number."""
    chart = charts.draw_bars(Spans(NOON, HOUR, 1), [{"records": 10_000}], ["records"], cap=10_000)
    assert chart.marks[0].title == "2026-11-25 12:00 UTC: 10,000 or more records"


def test_no_counts_are_an_empty_picture() -> None:
    """Without alerts there is nothing to draw, and no division by zero."""
    chart = charts.draw_bars(Spans(NOON, HOUR, 2), [{}, {}], ["low"])
    assert (list(chart.marks), chart.most) == ([], 0)


def test_time_has_four_states() -> None:
    """Time that is not proved is a gap before proved time, and else seen; what was not read is blind."""
    stretches = [
        stretch(0, 2),
        stretch(2, 3, is_proved=False, why="counts differ"),
        stretch(3, 5),
        stretch(5, 6, is_proved=False, why="read, but not proved"),
    ]
    parts = charts.classify(stretches, NOON + 6 * HOUR, NOON + 8 * HOUR)
    assert [part.state for part in parts] == ["proved", "gap", "proved", "seen", "blind"]
    assert charts.percent_proved(parts, NOON, NOON + 8 * HOUR) == 66.6
    chart = charts.draw_timeline(parts, NOON, NOON + 8 * HOUR)
    assert {mark.kind: mark.width for mark in chart.marks if mark.kind != "proved"} == {
        "gap": 125,
        "seen": 125,
        "blind": 250,
    }
    assert "counts differ" in next(mark.title for mark in chart.marks if mark.kind == "gap")


def test_a_short_gap_is_seen_and_is_no_100_percent() -> None:
    """A gap of a second in a month is drawn on top, and the share is less than 100 %."""
    second = timedelta(seconds=1)
    end = NOON + 30 * DAY
    gap = Stretch("acme", NOON + DAY, NOON + DAY + second, is_proved=False)
    parts = charts.classify([stretch(0, 24), gap, Stretch("acme", gap.end, end, is_proved=True)], end, end + second)
    chart = charts.draw_timeline(parts, NOON, end + second)
    assert chart.marks[-1].kind == "gap"
    assert chart.marks[-1].width >= 3
    assert charts.percent_proved(parts, NOON, end + second) == 99.9
    assert "blind" not in [mark.kind for mark in chart.marks], "the second since the last poll is no news"
