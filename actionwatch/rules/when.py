"""`when`: restricts a rule to events within, or outside, named time intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from actionwatch.rules.conditions import Leaf
from actionwatch.rules.fields import FIELDS, Candidates
from actionwatch.rules.report import Report
from actionwatch.text.suggestions import suggest
from actionwatch.text.timeintervals import TimeInterval

KEYS = ("during", "outside")


@dataclass(frozen=True, slots=True)
class When:
    """Holds within one of `during` (if there are any), and within none of `outside`."""

    during: tuple[TimeInterval, ...] = ()
    outside: tuple[TimeInterval, ...] = ()

    def holds(self, at: datetime) -> bool:
        """Check an aware time."""
        is_during = not self.during or any(interval.holds(at) for interval in self.during)
        return is_during and not any(interval.holds(at) for interval in self.outside)

    def as_condition(self) -> Leaf:
        """Return the condition on the timestamp of a record."""

        def test(candidates: Candidates) -> bool:
            return any(isinstance(at, datetime) and self.holds(at) for at in candidates)

        return Leaf(("when", self.during, self.outside), "timestamp", FIELDS["timestamp"].read, test)

    def __str__(self) -> str:
        """Return the text of the block, as in the rule."""
        named = (("during", self.during), ("outside", self.outside))
        return " and ".join(f"{key} {', '.join(each.name for each in found)}" for key, found in named if found)


def read_when(value: Any, report: Report, intervals: Mapping[str, TimeInterval]) -> When | None:
    """Read the block; None if there are faults, which go to the report."""
    if not isinstance(value, dict) or not value:
        report.fault(("when",), "'when' must contain 'during' or 'outside'", "for example: {outside: [business-hours]}")
        return None
    before = len(report.faults)
    report.check_keys(value, ("when",), KEYS)
    when = When(*(_read_names(value[key], key, report, intervals) if key in value else () for key in KEYS))
    return when if len(report.faults) == before else None


def _read_names(
    names: Any, key: str, report: Report, intervals: Mapping[str, TimeInterval]
) -> tuple[TimeInterval, ...]:
    if not isinstance(names, list) or not names:
        report.fault(("when", key), f"'{key}' must be a list of time intervals", "for example: [business-hours]")
        return ()
    found = []
    for index, name in enumerate(names):
        if isinstance(name, str) and name in intervals:
            found.append(intervals[name])
            continue
        remedy = suggest(str(name), intervals, "they are") or "define it under 'time_intervals' in the configuration"
        report.fault(("when", key, index), f"no time interval is named '{name}'", remedy)
    return tuple(found)
