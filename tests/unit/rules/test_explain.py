"""Explanations: every line agrees with the engine and shows the value of the record."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from actionwatch.base.model import Entity, Record
from actionwatch.rules.conditions import predicate
from actionwatch.rules.explain import Explanation, explain
from actionwatch.rules.fields import Subject
from actionwatch.rules.lists import Lists
from actionwatch.rules.load import build_rules
from actionwatch.text.timeintervals import Period, TimeInterval
from actionwatch.text.yaml_document import read_text
from tests.examples import examples
from tests.unit.rules.builders import HEAD, KINDS, detection_rule, record, rules_of
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
