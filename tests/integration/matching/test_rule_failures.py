"""Rules that fail on a record: people learn of each, and nothing that a record contains stops the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime

import pytest

from actionwatch.base.model import Level
from actionwatch.matching import ledger_store
from actionwatch.matching.correlating import Correlating
from actionwatch.matching.matcher import RecordMatcher
from actionwatch.matching.rule_failures import RuleFailures
from actionwatch.rules.engine import MAX_FAILURES, Engine
from actionwatch.rules.model import Rule
from actionwatch.rules.when import When
from actionwatch.store import positions
from tests.builders import make_record
from tests.integration.kit import Post
from tests.integration.matching.test_correlation import BURST, DELETED, HEAD, rules_of

FAILING_BURST = BURST.replace("{{ count }} by", "{{ 1 // (count - 3) }}")


def matcher(post: Post, rules: Sequence[Rule]) -> RecordMatcher:
    """Make the matching step with rules, as the service does."""
    correlating = Correlating(rules, post.addressing)
    return RecordMatcher(
        post.database,
        Engine(rules),
        post.addressing,
        post.clock,
        correlating=correlating,
        failures=RuleFailures(post.troubles),
    )


def failing_by_length(name: str, kind: str, length: int) -> str:
    """Write a rule whose title fails for descriptions of a length."""
    return (
        f"title: {name}\nname: {name}\nlogsource: {{product: instaclustr, service: user_actions}}\n"
        f"detection: {{s: {{actionKind: {kind}}}, condition: s}}\nlevel: high\n"
        f"alert: {{title: '{{{{ 1 // (description | length - {length}) }}}}'}}\n"
    )


@pytest.mark.parametrize("value", [r"b\ud800c", r"b\u0000c"], ids=["surrogate", "NUL"])
@pytest.mark.parametrize(
    "alert",
    [
        "title: '{{ raw.w }}'",
        "body: 'x {{ raw.w }}'",
        "title: '{{ raw }}'",
        "group_by: [raw.w]",
        """title: "{{ ('{:' ~ raw.w ~ '}').format(1) }}\"""",
    ],
)
def test_no_text_of_a_record_stops_matching(post: Post, alert: str, value: str) -> None:
    """A text that no store accepts, or an error that contains it, makes an alert, and the position moves on."""
    step = matcher(post, rules_of(HEAD.format("plain") + DELETED + f"alert: {{{alert}}}\n"))
    post.store(make_record(1, raw=f'{{"w":"{value}"}}'))
    assert step.run_once() == 1
    with post.database.read() as connection:
        assert positions.read_both(connection) == (1, 1)


def test_failure_of_a_correlation_is_reported_with_its_alert(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are committed together: whatever ends the step, nobody has the alert without the report, or never the report."""

    def full(*_: object) -> None:
        raise OSError("disk full")

    post.store(*(make_record(number, minutes=number) for number in range(3)))
    with monkeypatch.context() as patch:
        patch.setattr(ledger_store, "_write", full)
        with pytest.raises(OSError, match="disk full"):
            matcher(post, rules_of(FAILING_BURST)).run_once()
    assert (list(post.alerts()), post.open_troubles()) == ([], [])
    matcher(post, rules_of(FAILING_BURST)).run_once()
    assert len(post.alerts()) == 1
    assert post.open_troubles() == ["rule_failing burst"]


def with_failing_level(rule: Rule) -> Rule:
    """Return a rule with a level whose selection raises for each record."""

    def fail(_: object) -> bool:
        raise ValueError("no such thing")

    alert = dataclasses.replace(rule.alert, levels=((Level.CRITICAL, fail),))
    correlation = rule.correlation and dataclasses.replace(rule.correlation, alert=alert)
    return dataclasses.replace(rule, alert=alert, correlation=correlation)


class OddTime(When):
    """Fails for each time."""

    def holds(self, _: datetime) -> bool:
        """Fail."""
        raise OverflowError("date value out of range")


def test_correlation_that_fails_on_a_record_stops_no_other(post: Post) -> None:
    """The failure is reported, and other correlations open their alerts."""
    large, burst = rules_of(f"{BURST.replace('burst', 'large')}---\n{BURST}")
    assert large.correlation is not None
    failing = dataclasses.replace(large, correlation=dataclasses.replace(large.correlation, when=OddTime()))
    post.store(*(make_record(number, minutes=number) for number in range(3)))
    assert matcher(post, [failing, burst]).run_once() == 1
    assert post.open_troubles() == ["rule_failing large"]
    with post.database.read() as connection:
        assert positions.read_both(connection) == (3, 3)


@pytest.mark.parametrize("text", [HEAD.format("plain") + DELETED, BURST], ids=["plain", "correlation"])
def test_alert_whose_level_fails_opens_with_the_next_one(post: Post, text: str) -> None:
    """People get the alert, later records join it, and the failure is reported."""
    rules = [with_failing_level(rule) for rule in rules_of(text)]
    step = matcher(post, rules)
    post.store(*(make_record(number, minutes=number / 10) for number in range(3)))
    step.run_once()
    post.store(make_record(3, minutes=0.3))
    step.run_once()
    (name,) = {rule.name.name for rule in rules}
    opened = post.alerts().values()
    assert {alert.rule.name for alert in opened} == {name}
    assert {alert.level for alert in opened} == {rules[0].level}
    assert sum(alert.count for alert in opened) == 4
    assert post.open_troubles() == [f"rule_failing {name}"]


def test_many_failures_of_one_rule_hide_no_other_rule(post: Post) -> None:
    """The first failure of each rule is kept, however often another rule fails."""
    step = matcher(
        post,
        rules_of(f"{failing_by_length('often', 'DELETE_CLUSTER', 1)}---\n{failing_by_length('once', 'BACKUP', 3)}"),
    )
    many = [make_record(number, minutes=number / 100, description="x") for number in range(MAX_FAILURES + 100)]
    post.store(*many, make_record(MAX_FAILURES + 100, minutes=100, action_kind="BACKUP", description="odd"))
    step.run_once()
    assert post.open_troubles() == ["rule_failing often", "rule_failing once"]


def test_other_rules_are_reported_again(post: Post) -> None:
    """What was reported about the rules before is over when others are used; the next failure is reported again."""
    rules = rules_of(failing_by_length("odd", "DELETE_CLUSTER", 3))
    step = matcher(post, rules)
    post.store(make_record(1, description="odd"))
    step.run_once()
    assert post.open_troubles() == ["rule_failing odd"]
    step.use(Engine(rules), None)
    step.run_once()
    assert post.open_troubles() == []
    post.store(make_record(2, description="odd"))
    step.run_once()
    assert post.open_troubles() == ["rule_failing odd"]
