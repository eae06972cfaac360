"""`when` and `mode`: which records count, and who is notified."""

from __future__ import annotations

from datetime import datetime

import pytest

from actionwatch.base.model import Alert, Level, Match, Mode, RuleName
from actionwatch.rules.engine import Engine
from actionwatch.rules.lists import Lists
from actionwatch.rules.load import build_rules
from actionwatch.text.timeintervals import Period, TimeInterval
from actionwatch.text.yaml_document import read_text
from tests.unit.rules.builders import AT, HEAD, KINDS, record

INTERVALS = {
    "office": TimeInterval("office", (Period(times=((8 * 60, 18 * 60),)),)),
    "weekend": TimeInterval("weekend", (Period(weekdays=((5, 6),)),)),
}
RULE = HEAD + "detection:\n  s: {userName: eve}\n  condition: s\n"
WEDNESDAY_NOON, WEDNESDAY_NIGHT = "2026-03-04T12:00:00Z", "2026-03-04T23:00:00Z"
SATURDAY_NOON, SATURDAY_NIGHT = "2026-03-07T12:00:00Z", "2026-03-07T23:00:00Z"


def matches(text: str, *times: str) -> list[Match]:
    """Run the only rule of a text on records at these times."""
    loaded = build_rules(read_text(text, "r.yml"), lists=Lists(), known_kinds=KINDS, time_intervals=INTERVALS)
    assert loaded.faults == ()
    return Engine(loaded.rules).evaluate([record(at=datetime.fromisoformat(at), key=at) for at in times])


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("{outside: [office]}", [WEDNESDAY_NIGHT, SATURDAY_NIGHT]),
        ("{during: [office]}", [WEDNESDAY_NOON, SATURDAY_NOON]),
        ("{outside: [office, weekend]}", [WEDNESDAY_NIGHT]),
        ("{during: [office, weekend]}", [WEDNESDAY_NOON, SATURDAY_NOON, SATURDAY_NIGHT]),
        ("{during: [office], outside: [weekend]}", [WEDNESDAY_NOON]),
    ],
)
def test_rule_matches_within_its_intervals(when: str, expected: list[str]) -> None:
    """A rule matches within one of `during` and within none of `outside`, by the time of the event."""
    found = matches(RULE + f"when: {when}\n", WEDNESDAY_NOON, WEDNESDAY_NIGHT, SATURDAY_NOON, SATURDAY_NIGHT)
    assert [match.record.key for match in found] == expected


def test_a_misspelt_interval_is_suggested() -> None:
    """An unknown interval is a fault at its location, with a suggestion."""
    text = RULE + "when:\n  outside: [office, weekedn]\n"
    loaded = build_rules(read_text(text, "r.yml"), lists=Lists(), known_kinds=KINDS, time_intervals=INTERVALS)
    assert [str(fault) for fault in loaded.faults] == [
        "r.yml:7:21: no time interval is named 'weekedn': did you mean 'weekend'?"
    ]


@pytest.mark.parametrize(
    ("mode", "count", "labels"),
    [
        ("live", 1, {}),
        ("shadow", 1, {"mode": "shadow"}),
        ("off", 0, None),
        ("'off'", 0, None),
        ("Shadow", 1, {"mode": "shadow"}),
    ],
)
def test_modes_decide_whether_a_rule_runs_and_notifies(mode: str, count: int, labels: dict[str, str] | None) -> None:
    """A live rule matches, a rule in shadow mode matches with a label, and a rule that is off does not run."""
    found = matches(RULE + f"mode: {mode}\n", WEDNESDAY_NOON)
    assert [dict(match.labels) for match in found] == [labels] * count


def test_rules_that_are_off_are_still_listed() -> None:
    """Rules that are off are loaded with their mode, and the engine omits them."""
    loaded = build_rules(read_text(RULE + "mode: off\n", "r.yml"), lists=Lists(), known_kinds=KINDS)
    assert [rule.mode for rule in loaded.rules] == [Mode.OFF]
    assert Engine(loaded.rules).rules == ()


def test_rule_cannot_set_the_label_mode() -> None:
    """A rule cannot set the label `mode` itself."""
    text = RULE + "alert: {labels: {mode: shadow}}\n"
    loaded = build_rules(read_text(text, "r.yml"), lists=Lists(), known_kinds=KINDS)
    assert [fault.what for fault in loaded.faults] == ["the label 'mode' is set by actionwatch"]
    alert = Alert("a", RuleName("r", "r", "R"), Level.HIGH, "t", "b", "acme", AT, AT, AT, labels={"mode": "shadow"})
    assert alert.is_shadow
