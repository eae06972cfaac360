"""The groups that matter if a rule counts some records."""

from __future__ import annotations

from actionwatch.rules.correlations.feed import Feed
from actionwatch.rules.correlations.order import running
from actionwatch.rules.correlations.relevance import RelevantGroups, involved_in
from tests.unit.rules.correlation.kit import record_at
from tests.unit.rules.correlation.live import BOTH, OVER
from tests.unit.rules.correlation.test_folding import rules_of

RULES = rules_of(
    f"type: event_count, rules: a, {BOTH}: 10m, condition: {{gte: 2}}",
    f"type: event_count, rules: r0, {OVER}: 30m, condition: {{gte: 1}}",
    f"type: event_count, rules: b, {OVER}: 30m, condition: {{gte: 1}}",
)
OUTER = next(rule for rule in RULES if rule.name.name == "r1")


def test_only_rules_that_feed_one_are_involved() -> None:
    """A rule, what it counts, and what that counts."""
    assert [rule.name.name for rule in involved_in(OUTER, RULES)] == ["a", "r0", "r1"]


def test_groups_matter_by_the_values_that_they_share_with_those_of_the_records() -> None:
    """Groups of an inner rule matter if the outer group has their user, whichever cluster they have."""
    involved = involved_in(OUTER, RULES)
    correlations = running(involved)
    hits = Feed(involved, correlations).hits([record_at(1, user="eve", cluster="x")])
    relevant = RelevantGroups(OUTER.name.id, correlations, hits)
    inner = next(rule.name.id for rule in RULES if rule.name.name == "r0")
    assert relevant
    assert [relevant.has(OUTER.name.id, group) for group in (("eve",), ("bob",), ("eve", "x"))] == [True, False, False]
    assert [relevant.has(inner, group) for group in (("eve", "x"), ("eve", "y"), ("bob", "x"), ("eve",))] == [
        True, True, False, False,
    ]  # fmt: skip
    assert not relevant.has("unknown", ("eve",))
    assert not RelevantGroups(OUTER.name.id, correlations, {})
