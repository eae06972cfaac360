"""The policy that applies to every receiver: which mute intervals are active."""

from __future__ import annotations

from datetime import timedelta

from actionwatch.alerts.policy import GlobalPolicy
from actionwatch.text.timeintervals import Period, TimeInterval
from tests.builders import NOON
from tests.cases import in_one_test

MORNING = TimeInterval("morning", (Period(times=((0, 12 * 60),)),))
AFTERNOON = TimeInterval("afternoon", (Period(times=((12 * 60, 24 * 60),)),))
POLICY = GlobalPolicy((), {"morning": MORNING, "afternoon": AFTERNOON})


@in_one_test(
    ("names", "hours", "expected"),
    [
        ((), 0, None),
        (("afternoon",), 0, "afternoon"),
        (("morning",), 0, None),
        (("morning", "afternoon"), 0, "afternoon"),
        (("morning", "afternoon"), -1, "morning"),
        (("gone",), 0, None),  # no longer configured: never active
        (("gone", "afternoon"), 0, "afternoon"),
    ],
)
def test_only_active_intervals_mute(names: tuple[str, ...], hours: int, expected: str | None) -> None:
    """A route is muted only by an interval that is configured and active."""
    assert POLICY.active_mute(names, NOON + timedelta(hours=hours)) == expected
