"""Rules over rules: the order of folding, how far back each rule looks, and which rules wait for verified time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from actionwatch.base.model import Mode, RuleName
from actionwatch.rules.correlations.order import (
    KEEP,
    in_feeding_order,
    linked,
    lookbacks,
    memories,
    needs,
    running,
    waiting,
)
from actionwatch.rules.model import Correlation, CorrelationType, Pattern, Step, Threshold
from tests.cases import in_one_test
from tests.unit.rules.correlation.kit import MINUTE, loaded, make
from tests.unit.rules.correlation.live import RULES as ALL_TEXT


def over(
    name: str, *inner: str, type_: CorrelationType = CorrelationType.EVENT_COUNT, span: int = 10, **more: Any
) -> Correlation:
    """Make a rule over others; `r` is one that counts records."""
    steps = tuple(Step(each) for each in inner or ("r",))
    given: dict[str, Any] = {"threshold": Threshold("gte", 2), "realert": 0 * MINUTE, **more}
    return replace(make(type_, **given), name=RuleName(name, name, name), steps=steps, timespan=span * MINUTE)


def in_minutes(spans: dict[str, timedelta]) -> dict[str, float]:
    return {name: span / MINUTE for name, span in spans.items()}


def test_a_rule_comes_after_those_that_feed_it() -> None:
    """Each rule is folded once, after the rules that feed it, in any order of the files."""
    rules = [over("top", "left", "right"), over("left", "low"), over("right", "low", "r"), over("low")]
    for given in permutations(rules):
        order = [rule.name.id for rule in in_feeding_order(given)]
        assert sorted(order) == ["left", "low", "right", "top"]
        assert order.index("low") < min(order.index("left"), order.index("right"))
        assert order[-1] == "top"


def test_rules_that_count_each_other_are_linked() -> None:
    """A rule is in one set with the rules that it counts and those that count it, however many lie between."""
    rules = [
        over("top", "left", "right"),
        over("left", "low"),
        over("right", "low", "r"),
        over("low"),
        over("alone"),
        over("pair", "base"),
        over("base", "r"),
    ]
    for given in (rules, rules[::-1], [*rules[3:], *rules[:3]], sorted(rules, key=lambda rule: rule.name.id)):
        assert sorted(map(sorted, linked(given))) == [["alone"], ["base", "pair"], ["left", "low", "right", "top"]]
    assert linked([]) == []


def test_rules_that_two_others_link_are_in_one_set() -> None:
    """A rule over rules that were in several sets brings them together."""
    rules = [
        over("a"),
        over("b"),
        over("c"),
        over("d"),
        over("ab", "a", "b"),
        over("cd", "c", "d"),
        over("all", "ab", "cd"),
    ]
    assert linked(rules) == [{"a", "b", "c", "d", "ab", "cd", "all"}]
    assert sorted(map(sorted, linked(rules[:-1]))) == [["a", "ab", "b"], ["c", "cd", "d"]]


@pytest.mark.parametrize(
    ("rule", "reach"),
    [
        (over("a"), 10),
        (over("a", type_=CorrelationType.TEMPORAL), 20),  # it may wait for a timespan after one that lies as far back
        (over("a", type_=CorrelationType.TEMPORAL_ORDERED), 20),
        (over("a", type_=CorrelationType.NEW_TERM, history=90 * MINUTE), 90),
        (over("a", type_=CorrelationType.SPIKE, windows=3), 40),  # its own window, and those that it is compared with
    ],
)
def test_reach_covers_every_relevant_hit(rule: Correlation, reach: int) -> None:
    """A restart reads every hit that matters to an alert."""
    assert rule.reach == reach * MINUTE


def test_a_rule_must_see_as_far_as_all_below_it() -> None:
    """A restart also reads the records of the inner alerts that a rule counts."""
    rules = in_feeding_order(
        [over("top", "mid", "r", span=5), over("mid", "low", "near", span=7), over("low"), over("near", span=1)]
    )
    # low: its own 10; mid: 7, and back to where low is right, which fires 10 after it began; top: 5, and so on for mid.
    assert in_minutes(needs(rules)) == {"low": 10, "near": 1, "mid": 27, "top": 39}


def test_restart_reads_alerts_that_can_be_joined() -> None:
    """A restart reads alerts that are still open, and those that a rule above still counts."""
    alone = [over("a", realert=60 * MINUTE), over("b", realert=2 * MINUTE)]
    assert in_minutes(lookbacks(alone)) == {"a": 70, "b": 20}
    rules = in_feeding_order([over("top", "low", span=5), over("low")])
    assert in_minutes(lookbacks(rules)) == {"low": 30, "top": 30}


@in_one_test(
    ("rule", "waits"),
    [
        (over("a"), False),
        (over("a", type_=CorrelationType.SPIKE), True),
        (over("a", type_=CorrelationType.NEW_TERM, is_learning=True), True),
        (over("a", type_=CorrelationType.NEW_TERM, is_learning=False), False),
        (over("a", is_learning=True), False),  # the default of a type that learns nothing
        (over("a", expected=((),)), True),
        (over("a", type_=CorrelationType.TEMPORAL, patterns=(Pattern((0,)), Pattern((0,), (1,)))), True),
        (over("a", type_=CorrelationType.TEMPORAL, patterns=(Pattern((0,)),)), False),
    ],
)
def test_rules_that_wait_for_verified_time(rule: Correlation, waits: bool) -> None:
    """A rule waits for verified time if one of its patterns can still be undone, or if a rule below waits."""
    rules = [rule, over("above", "a"), over("top", "r", "above"), over("beside")]
    assert waiting(rules) == ({"a", "above", "top"} if waits else set())


def test_a_rule_that_is_off_does_not_run() -> None:
    """A correlation that is off does not run, and how far back the others must read does not change."""
    rules = loaded(ALL_TEXT)
    off = [replace(rule, mode=Mode.OFF) if rule.name.name == "spike" else rule for rule in rules]
    assert {rule.name.name for rule in running(rules)} - {rule.name.name for rule in running(off)} == {"spike"}
    spans = memories(rules)
    assert spans == memories(off)
    assert set(spans) == {rule.name.id for rule in running(rules)}
    assert min(spans.values()) > KEEP
