"""Alerts of inner rules are hits of the rules above: which ones, when they are replaced or removed, and what that asks for."""

from __future__ import annotations

from collections.abc import Sequence

from actionwatch.base.model import AlertChange, ChangeKind, Group, Hit, HitOrder
from actionwatch.rules.correlations.context import StreamBounds
from actionwatch.rules.correlations.evaluate import Span
from actionwatch.rules.correlations.memory_rows import MemoryHits
from actionwatch.rules.correlations.sources import VerifiedTime
from tests.unit.rules.correlation.correlating import Run, backups, keys
from tests.unit.rules.correlation.kit import START, at, record_at
from tests.unit.rules.correlation.live import BY, OVER
from tests.unit.rules.correlation.test_folding import ABSENCE, rules_of

INNER = f"type: event_count, rules: a, {BY}: 10m, condition: {{gte: 2}}"


def above(inner: str = "r0", number: int = 1, by: str = BY) -> str:
    """Make a rule that counts alerts of another."""
    return f"type: event_count, rules: {inner}, {by}: 30m, condition: {{gte: {number}}}"


def of_rule(run: Run, number: int, made: Sequence[AlertChange]) -> list[tuple[ChangeKind | None, list[str]]]:
    """Return the changes of one rule."""
    name = run.correlator.rules[number].name.id
    return [(each.kind, keys(each)) for each in made if each.known.rule_id == name]


EVE: Group = ("eve",)
AGAIN = {EVE: Span((at(2), -1, ""), (at(2), 99, ""))}


def test_an_inner_alert_that_is_as_it_was_is_not_replaced() -> None:
    """To fold a group again in which nothing has changed writes no hit for the rule above."""

    class Noting(MemoryHits):
        def replace(self, number: int, group: Group, hit: Hit) -> None:
            noted.append("replace")
            super().replace(number, group, hit)

        def remove(self, number: int, group: Group, order: HitOrder) -> None:
            noted.append("remove")
            super().remove(number, group, order)

        def at(self, number: int, group: Group, order: HitOrder) -> Hit | None:
            noted.append("at")
            return super().at(number, group, order)

    noted: list[str] = []
    run = Run(rules_of(INNER, above()))
    run.rows.hits = Noting(run.correlator.rules)
    run.take(*backups(1, 2))
    run.correlator.take_again(run.rows, 0, AGAIN, VerifiedTime(at(50)))
    assert noted == ["replace", "at"]
    run.take(*backups(1.5))  # fires earlier
    assert noted[2:] == ["remove", "replace"]


def test_an_inner_alert_that_waits_is_no_hit_yet() -> None:
    """What may still be excluded does not count in the rule above, until so much time is verified."""
    waiting = f"type: temporal, rules: [a, b], {BY}: 10m, condition: a and not b"
    for excluding, found in ((record_at(5, "CREATE_CLUSTER", key="b"), []), (None, [(ChangeKind.OPEN, ["00001.0"])])):
        run = Run(rules_of(waiting, above()))
        made = run.take(*backups(1), verified=2)
        made += run.take(*[excluding] if excluding else [], verified=7)
        assert made == []
        assert of_rule(run, 1, run.take(verified=12)) == found


def test_an_inner_alert_is_published_to_a_rule_that_is_new() -> None:
    """A rule that was added counts an alert that another rule counts already."""
    before, run = Run(rules_of(INNER, above())), Run(rules_of(INNER, above(), above()))
    before.take(*backups(1, 2))
    run.rows.alerts.put(0, before.rows.alerts)
    for number in (0, 1):
        run.rows.hits.add({number: {EVE: [*before.rows.hits.since(number, EVE, at(0))]}})
    made = run.correlator.take_again(run.rows, 0, AGAIN, VerifiedTime(at(50)))
    assert of_rule(run, 2, made) == [(ChangeKind.OPEN, ["00001.0", "00002.0"])]


def test_the_hits_of_an_alert_in_a_rule_that_is_gone_are_left_alone() -> None:
    """A rule that no longer runs has no rows to change."""
    before, run = Run(rules_of(INNER, above(), above())), Run(rules_of(INNER, above()))
    before.take(*backups(2, 3))
    run.rows = before.rows
    assert of_rule(run, 1, run.take(*backups(1))) == [(ChangeKind.JOIN, ["00001.0"])]


def test_an_alert_that_is_only_learned_is_no_hit() -> None:
    """A rule above does not count what a rule found while it was learning."""
    term = "type: new_term, rules: a, fields: [userName], history: 20m"
    run = Run(rules_of(term, above()))
    assert run.take(*backups(1), verified=500) == []
    assert len(of_rule(run, 1, run.take(*backups(100), verified=500))) == 1


def test_an_alert_of_an_absence_is_a_hit_two_levels_above() -> None:
    """It has no record: its group is that of the absence."""
    run = Run(rules_of(ABSENCE, above(), above("r1", by=OVER)), StreamBounds(begin=lambda *_: START))
    assert of_rule(run, 2, run.take(verified=10)) == []
    run.take(*backups(1), verified=5)
    made = run.take(verified=20)
    assert of_rule(run, 2, made) == [(ChangeKind.OPEN, [])]
