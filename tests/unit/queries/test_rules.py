"""Which rules a list has, and in which order."""

from __future__ import annotations

from datetime import timedelta

from actionwatch.base.model import Level
from actionwatch.queries.rules import RuleFilter, RuleOrder, choose, in_use
from tests.builders import CLUSTER_DELETED_RULE, NOON
from tests.cases import in_one_test
from tests.unit.rules.builders import rules_in


def rule_text(name: str, level: str = "critical", more: str = "") -> str:
    """Return a rule with this name as a file."""
    text = CLUSTER_DELETED_RULE.replace("cluster_deleted", name).replace("id:", "x-id:")
    return text.replace("level: critical", f"level: {level}") + more


TAGS = "tags: [attack.persistence, attack.t1098.001]\n"
TEXTS = [rule_text("two", "low", TAGS), rule_text("one"), rule_text("three")]
RULES = in_use(rule for text in TEXTS for rule in rules_in(text).rules)
COUNTS = {"one": (1, NOON), "three": (2, NOON - timedelta(hours=1)), "two": (0, None)}
NAME = RuleOrder.NAME


@in_one_test(
    ("wanted", "order", "expected"),
    [
        (RuleFilter(), NAME, ["one", "three", "two"]),
        (RuleFilter(text="THRE"), NAME, ["three"]),
        (RuleFilter(text="nothing"), NAME, []),
        (RuleFilter(levels=[Level.LOW]), NAME, ["two"]),
        (RuleFilter(tactic="persistence"), NAME, ["two"]),
        (RuleFilter(), RuleOrder.LEVEL, ["one", "three", "two"]),
        (RuleFilter(), RuleOrder.ALERTS, ["three", "one", "two"]),
        (RuleFilter(), RuleOrder.LAST, ["one", "three", "two"]),
    ],
)
def test_rules_are_chosen_and_sorted(wanted: RuleFilter, order: RuleOrder, expected: list[str]) -> None:
    """A text, levels and a tactic choose rules; equal ones are in the order of their names."""
    assert [rule.name.name for rule in choose(RULES, wanted, order, COUNTS)] == expected
