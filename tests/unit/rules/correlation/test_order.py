"""How far back each rule looks, and which rules run."""

from __future__ import annotations

from typing import Any

from actionwatch.rules.correlations.order import KEEP, lookback, memories, running
from actionwatch.rules.model import CorrelationType, Threshold
from tests.cases import in_one_test
from tests.unit.rules.correlation.kit import MINUTE, loaded, make
from tests.unit.rules.correlation.live import RULES

EVENTS, SPIKE = CorrelationType.EVENT_COUNT, CorrelationType.SPIKE


@in_one_test(
    ("type_", "more", "reach", "back"),
    [
        (EVENTS, {}, 10, 20),
        (EVENTS, {"realert": 60 * MINUTE}, 10, 70),  # an alert that is still open can be joined
        (CorrelationType.TEMPORAL, {}, 20, 30),  # it may wait for a timespan after one that lies as far back
        (CorrelationType.TEMPORAL_ORDERED, {}, 20, 30),
        (CorrelationType.NEW_TERM, {"history": 90 * MINUTE}, 90, 100),
        (SPIKE, {"windows": 3}, 40, 50),  # its own window, and those that it is compared with
    ],
)
def test_reach_covers_every_relevant_hit(type_: CorrelationType, more: dict[str, Any], reach: int, back: int) -> None:
    """A restart reads every hit that matters to an alert, and those of alerts that can still be joined."""
    given: dict[str, Any] = {"threshold": Threshold("gte", 2), "realert": 0 * MINUTE, "timespan": 10 * MINUTE, **more}
    rule = make(type_, **given)
    assert (rule.reach, lookback(rule)) == (reach * MINUTE, back * MINUTE)


def test_rules_that_are_off_do_not_run_and_are_remembered() -> None:
    """Records stay as long as a rule that is off would need them, because it may be switched on."""
    rules = loaded(RULES)
    off = loaded(RULES.replace("name: burst\n", "name: burst\nmode: off\n"))
    assert {rule.name.name for rule in running(rules)} - {rule.name.name for rule in running(off)} == {"burst"}
    assert memories(off).keys() == memories(rules).keys()
    assert memories(rules) == {rule.name.id: lookback(rule) + KEEP for rule in running(rules)}
