"""Explanations: every line agrees with the engine and shows the value of the record."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from actionwatch.base.model import Entity, Record
from actionwatch.rules.conditions import predicate
from actionwatch.rules.explain import Explanation, Miss, explain, nearest_misses
from actionwatch.rules.fields import Subject
from actionwatch.rules.lists import Lists
from actionwatch.rules.load import build_rules
from actionwatch.text.timeintervals import Period, TimeInterval
from actionwatch.text.yaml_document import read_text
from tests.examples import examples
from tests.unit.rules.builders import AT, HEAD, KINDS, detection_rule, record, rules_of
from tests.unit.rules.strategies import detections, records

TEXT = (
    HEAD
    + """name: n
mode: shadow
when: {outside: [office]}
detection:
  deletion: {actionKind: [DELETE_CLUSTER, REQUEST_CLUSTER_DELETE], cluster.name|startswith: prod}
  robots:
    - {userName|expand: '%robots%'}
    - {description: null}
  words: [billing, invoice]
  same: {userName|fieldref: description}
  condition: deletion and not 1 of robots and (words or same)
---
title: F
name: f
logsource: {product: instaclustr}
filter: {rules: [n], s: {account.name: Sandbox}, condition: not s}
owner: dba
reason: nothing of value
expires: 2026-12-31
"""
)
OFFICE = TimeInterval("office", (Period(times=((480, 1080),)),))
EXPECTED = """\
- n: T
  - condition: deletion and not 1 of robots and (words or same)
    - and
      + deletion
        + actionKind: [DELETE_CLUSTER, REQUEST_CLUSTER_DELETE]   <- DELETE_CLUSTER
        + cluster.name|startswith: prod   <- prod-eu
      + not
        - 1 of robots
          - robots
            - either 1
              - userName|expand: %robots%   <- eve
            - either 2
              - description: null   <- eva
      - or
        - words
          - words: [billing, invoice]   <- [DELETE_CLUSTER, eve, eva, Sandbox, prod-eu]
        - same
          - userName|fieldref: description   <- eve, and description holds eva
  + when: outside office   <- 2026-03-04T05:06:07.000Z
  - filter f (dba, until 2026-12-31: nothing of value)
    - not
      + s
        + account.name: Sandbox   <- Sandbox
  ? mode: shadow   <- nobody is notified
"""


def test_tree_shows_each_part_with_its_result() -> None:
    """The tree has condition, selections, fields, time, filters and mode, each with its result and the value of the record."""
    lists = Lists({"robots": ("svc-*",)})
    loaded = build_rules(read_text(TEXT, "r.yml"), lists=lists, known_kinds=KINDS, time_intervals={"office": OFFICE})
    assert loaded.faults == ()
    eve = record(description="eva", account=Entity(name="Sandbox"), cluster=Entity(name="prod-eu"))
    finding = explain(loaded.rules[0], eve, lists)
    assert "\n".join(finding.lines()) + "\n" == EXPECTED
    document = finding.document()
    assert (document["holds"], document["parts"][1]["found"]) == (False, "2026-03-04T05:06:07.000Z")


def test_lines_that_depend_on_a_missing_list_are_unknown() -> None:
    """Without a list, lines that depend on it are unknown. The other lines are known."""
    text = HEAD + "detection:\n  a: {userName|expand: '%x%'}\n  b: {userName: bob}\n  condition: a or b\n"
    (rule,) = build_rules(read_text(text, "r.yml"), lists=Lists({"x": ("eve",)}), known_kinds=KINDS).rules
    tree = explain(rule, record(user="eve")).parts[0].parts[0]
    assert [part.holds for part in tree.parts] == [None, False]
    assert tree.holds is None
    assert explain(rule, record(user="bob")).parts[0].holds is True


@examples(75)
@given(detections(), st.lists(records(), min_size=1, max_size=3))
def test_the_tree_agrees_with_the_engine(drawn: dict[str, Any], stored: list[Record]) -> None:
    """For any rule and record, the line of the condition agrees with the engine."""
    (rule,) = rules_of(detection_rule(drawn)).rules
    for each in stored:
        finding = explain(rule, each)
        assert finding.holds is predicate(rule.condition)(Subject(each))
        assert finding.parts[0].holds is finding.holds


def test_long_values_are_cut() -> None:
    """Long values are cut, so that the tree stays readable."""
    text = HEAD + "detection:\n  a: {description|contains: x}\n  condition: a\n"
    (rule,) = build_rules(read_text(text, "r.yml"), lists=Lists(), known_kinds=KINDS).rules
    at = datetime(2026, 1, 1, tzinfo=UTC)
    lines = list(explain(rule, record(description="x" * 10_000, at=at)).lines())
    assert max(map(len, lines)) < 300
    assert isinstance(explain(rule, record()), Explanation)


def near(text: str, **changes: Any) -> list[Miss]:
    """Return the nearest of the rules in a text, for one record."""
    rules = build_rules(read_text(text, "r.yml"), lists=Lists(), known_kinds=KINDS).rules
    given = record(**changes)
    return nearest_misses([(rule, explain(rule, given)) for rule in rules], 9)


def spelled(misses: list[Miss]) -> list[tuple[str, str, bool, list[str]]]:
    """Return name, selection, whether it should have matched, and the lines of each miss."""
    return [(one.rule.name.name, one.selection, one.should_hold, [line.text for line in one.lines]) for one in misses]


def detection(name: str, body: str) -> str:
    """Return a rule with a detection."""
    return f"{HEAD}name: {name}\ndetection: {body}\n"


def test_nearest_rules_come_first_with_what_decided() -> None:
    """The rule that lacks the fewest lines comes first; the first selection that decided and its lines are named."""
    text = "---\n".join(
        [
            detection("far", "{a: {userName: eve, cluster.name: x, account.name: y}, condition: a}"),
            detection("near", "{a: {userName: eve}, b: {cluster.name: x}, condition: a and b}"),
            detection("unrelated", "{a: {userName: bob}, condition: a}"),
            detection(
                "excluded", "{a: {userName: eve}, robots: {actionKind: DELETE_CLUSTER}, condition: a and not robots}"
            ),
            detection("matching", "{a: {userName: eve}, condition: a}"),
        ]
    )
    assert spelled(near(text, user="eve")) == [
        ("excluded", "robots", False, ["actionKind: DELETE_CLUSTER"]),
        ("near", "b", True, ["cluster.name: x"]),
        ("far", "a", True, ["cluster.name: x", "account.name: y"]),
    ]


def test_only_lines_that_should_hold_make_a_rule_near() -> None:
    """A line that must not hold, the time of a rule, and the rules of a correlation do not make it near."""
    against = "{a: {userName: bob}, robots: {actionKind: DELETE_CLUSTER}, condition: a and not robots}"
    assert near(detection("against", against), user="eve") == []
    timed = detection("timed", "{a: {userName: bob}, condition: a}") + "when: {during: [office]}\n"
    (rule,) = build_rules(
        read_text(timed, "r.yml"), lists=Lists(), known_kinds=KINDS, time_intervals={"office": OFFICE}
    ).rules
    assert nearest_misses([(rule, explain(rule, record(at=AT.replace(hour=9))))], 9) == []
    fed = detection("part", "{a: {userName: eve, cluster.name: x}, condition: a}")
    asked = "correlation: {type: event_count, rules: [part], timespan: 1h, condition: {gte: 2}}\n"
    correlation = f"title: C\nname: many\n{asked}"
    rules = build_rules(read_text(f"{fed}---\n{correlation}", "r.yml"), lists=Lists(), known_kinds=KINDS).rules
    (part, many) = sorted(rules, key=lambda rule: rule.correlation is not None)
    findings = [(many, explain(many, record(), feeders=[part])), (part, explain(part, record()))]
    assert spelled(nearest_misses(findings, 9)) == [("part", "a", True, ["cluster.name: x"])]


def test_distance_counts_what_is_needed() -> None:
    """Alternatives count as their nearest one; of several selections that are needed, the first decides."""
    text = "---\n".join(
        [
            detection("two", "{a: {userName: eve, cluster.name: x, account.name: y}, condition: a}"),
            detection(
                "either",
                "{a: {userName: eve, cluster.name: x}, b: {userName: bob, cluster.name: y, scope: z}, condition: a or b}",
            ),
            detection(
                "first", "{a: {userName: eve, cluster.name: x, account.name: y}, b: {scope: z}, condition: a and b}"
            ),
        ]
    )
    assert spelled(near(text, user="eve")) == [
        ("either", "a", True, ["cluster.name: x"]),
        ("two", "a", True, ["cluster.name: x", "account.name: y"]),
        ("first", "a", True, ["cluster.name: x", "account.name: y"]),
    ]


def test_the_nearest_of_several_alternatives_is_named() -> None:
    """Of selections joined by `or`, and of a list of alternatives, the one that lacks the fewest lines decides."""
    text = detection(
        "n", "{a: {userName: bob, cluster.name: x}, b: {userName: eve, cluster.name: x}, condition: a or b}"
    )
    assert spelled(near(text, user="eve")) == [("n", "b", True, ["cluster.name: x"])]
    listed = detection("n", "{a: [{userName: bob, cluster.name: x}, {userName: eve, cluster.name: x}], condition: a}")
    assert spelled(near(listed, user="eve")) == [("n", "a", True, ["cluster.name: x"])]


def test_time_and_filters_decide_too() -> None:
    """A rule whose time or filter excluded a record is near, although its condition holds."""
    lists = Lists({"robots": ("svc-*",)})
    rules = build_rules(
        read_text(TEXT, "r.yml"), lists=lists, known_kinds=KINDS, time_intervals={"office": OFFICE}
    ).rules

    def decided(account: str, hour: int) -> Miss:
        prod = Entity(name="prod-eu")
        given = record(description="eve", account=Entity(name=account), cluster=prod, at=AT.replace(hour=hour))
        (miss,) = nearest_misses([(rule, explain(rule, given, lists)) for rule in rules], 9)
        return miss

    excluded, too_early = decided("Sandbox", 5), decided("other", 9)
    assert spelled([excluded]) == [("n", "s", False, ["account.name: Sandbox"])]
    assert spelled([too_early]) == [("n", "", True, ["when: outside office"])]


@examples(75)
@given(detections(), records())
def test_a_miss_names_lines_that_decided(drawn: dict[str, Any], stored: Record) -> None:
    """For any rule that does not match, the named lines are not as the rule wants them."""
    (rule,) = rules_of(detection_rule(drawn)).rules
    finding = explain(rule, stored)
    for miss in nearest_misses([(rule, finding)], 1):
        assert finding.holds is False
        assert miss.lines
        assert all(line.holds is not miss.should_hold for line in miss.lines)
