"""Fields with the labels of a source, and `alert.sources`, which restricts a rule to records of some sources."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from actionwatch.base.source_labels import use_labels
from actionwatch.instaclustr.kinds import KINDS as CATALOGUE
from actionwatch.rules.case_runner import CaseRunner
from actionwatch.rules.engine import Engine
from actionwatch.rules.explain import explain
from actionwatch.rules.fields import group_value, shown_texts
from actionwatch.rules.lists import Lists
from actionwatch.service.simulation import simulate
from tests.cases import in_one_test
from tests.unit.rules.builders import HEAD, is_met, record, rules_in

LABELS = {
    "acme-1": {"customer": "acme", "tier": "gold"},
    "acme-2": {"customer": "acme", "tier": "basic"},
    "a*": {"customer": "Other"},
    "bare": {},
}
RULE = HEAD + "name: n\ndetection:\n  s: {actionKind: DELETE_CLUSTER}\n  condition: s\n"
COUNTED = RULE + "correlation: {type: event_count, group-by: [userName], timespan: 10m, condition: {gte: 2}}\n"


@pytest.fixture(autouse=True)
def labels() -> Iterator[None]:
    """Use the labels of the sources of these tests."""
    use_labels(LABELS)
    yield
    use_labels({})


def met_by(rule: str) -> list[str]:
    """Return the sources whose records the only rule of a text matches."""
    loaded = rules_in(rule)
    assert loaded.faults == ()
    matches = Engine(loaded.rules).evaluate([replace(record(), source=name) for name in LABELS])
    return [match.record.source for match in matches]


@in_one_test(
    ("sources", "expected"),
    [
        ("[acme-1]", ["acme-1"]),
        ("[ACME-1]", []),
        ("['a*']", ["a*"]),
        ("[acme-1, bare]", ["acme-1", "bare"]),
        ("['customer=\"acme\"']", ["acme-1", "acme-2"]),
        ("[customer=other]", []),
        ("[tier=gold, bare]", ["acme-1", "bare"]),
        ("['customer!=\"acme\"']", ["a*", "bare"]),
        ("['customer=\"\"']", ["bare"]),
        ("['tier!=\"\"']", ["acme-1", "acme-2"]),
        ("['customer=~\"ac.*|Oth.*\"']", ["acme-1", "acme-2", "a*"]),
        ("['customer=~\"ac\"']", []),
        ("['customer!~\"ac.*\"']", ["a*", "bare"]),
        ("['source=~\"acme-.\"']", ["acme-1", "acme-2"]),
        ("[region=eu]", []),
    ],
)
def test_records_of_some_sources(sources: str, expected: list[str]) -> None:
    """A rule with `sources` matches records of the sources that a name or a matcher names, with case, and no others."""
    assert met_by(RULE + f"alert: {{sources: {sources}}}\n") == expected


@in_one_test(
    ("selection", "expected"),
    [
        ({"source.labels.customer": "acme"}, ["acme-1", "acme-2"]),
        ({"source.labels.customer": "OTHER"}, ["a*"]),
        ({"source.labels.tier|startswith": "g"}, ["acme-1"]),
        ({"source.labels.tier|re": "^(gold|basic)$"}, ["acme-1", "acme-2"]),
        ({"source.labels.tier": None}, ["a*", "bare"]),
        ({"source.labels.tier|exists": True}, ["acme-1", "acme-2"]),
        ({"source.labels.customer|fieldref": "source.labels.customer"}, ["acme-1", "acme-2", "a*"]),
    ],
)
def test_labels_are_fields(selection: dict[str, object], expected: list[str]) -> None:
    """The labels of the source are fields of a record, and absent if the source does not have them."""
    assert [name for name in LABELS if is_met(selection, replace(record(), source=name))] == expected


def test_changed_labels_apply_at_once() -> None:
    """Rules that were built before the labels changed use the new ones."""
    loaded = rules_in(RULE + "alert: {sources: [tier=gold]}\n")
    engine = Engine(loaded.rules)
    records = [replace(record(), source="bare")]
    assert engine.evaluate(records) == []
    use_labels({"bare": {"tier": "gold"}})
    assert len(engine.evaluate(records)) == 1


def test_labels_group_and_are_shown() -> None:
    """A rule can group by a label and show it."""
    one = replace(record(), source="acme-1")
    assert group_value(one, "source.labels.customer") == "acme"
    assert shown_texts(one, ["source.labels.tier"]) == (("source.labels.tier", "gold"),)


def test_a_filter_for_one_customer() -> None:
    """A filter on a label hides only the records of the sources with that label."""
    hidden = (
        "---\ntitle: F\nname: f\nlogsource: {product: instaclustr}\nfilter:\n  rules: [n]\n"
        "  s: {source.labels.customer: acme}\n  condition: not s\nowner: o\nreason: r\nexpires: 2099-12-31\n"
    )
    assert met_by(RULE + hidden) == ["a*", "bare"]


TESTS = """\
tests:
  - name: two deletions of the customer
    events:
      - {actionKind: DELETE_CLUSTER, source.labels.customer: acme, source: one}
      - {actionKind: DELETE_CLUSTER, source.labels.customer: acme, source: two, at: 1m}
    expect: {alerts: 1, labels: {customer: acme}}
  - name: one deletion of the customer and one of another
    events:
      - {actionKind: DELETE_CLUSTER, source.labels.customer: acme}
      - {actionKind: DELETE_CLUSTER, source.labels.customer: other, at: 1m}
    expect: nothing
  - name: the labels of the configuration do not matter
    events:
      - {actionKind: DELETE_CLUSTER, source: acme-1}
      - {actionKind: DELETE_CLUSTER, source: acme-2, at: 1m}
    expect: nothing
"""


def test_correlations_count_only_records_in_the_scope() -> None:
    """A correlation with `sources` counts only their records; tests of rules set the source and its labels."""
    loaded = rules_in(COUNTED + "alert: {sources: [customer=acme]}\n" + TESTS)
    assert loaded.faults == ()
    runner = CaseRunner(loaded.rules, simulate, CATALOGUE, Lists(), lambda _: loaded.rules)
    results = [result for rule in loaded.rules for result in runner.run(rule)]
    assert [(result.case.name, result.problems) for result in results] == [(each.case.name, ()) for each in results]
    assert len(results) == 3


def test_new_terms_are_those_of_the_scope() -> None:
    """The baseline of a `new_term` rule holds only records of its sources, also with `baseline: any`."""
    rule = RULE + (
        "correlation: {type: new_term, fields: [userName], history: 7d, baseline: any}\n"
        "alert: {sources: [customer=acme]}\n"
        "tests:\n"
        "  - history: 30d\n"
        "    events:\n"
        "      - {actionKind: BACKUP, userName: eve, source.labels.customer: other}\n"
        "      - {actionKind: DELETE_CLUSTER, userName: eve, source.labels.customer: acme, at: 1h}\n"
        "    expect: {alerts: 1}\n"
        "  - history: 30d\n"
        "    events:\n"
        "      - {actionKind: BACKUP, userName: eve, source.labels.customer: acme}\n"
        "      - {actionKind: DELETE_CLUSTER, userName: eve, source.labels.customer: acme, at: 1h}\n"
        "    expect: nothing\n"
    )
    loaded = rules_in(rule)
    assert loaded.faults == ()
    runner = CaseRunner(loaded.rules, simulate, CATALOGUE, Lists(), lambda _: loaded.rules)
    assert [result.problems for each in loaded.rules for result in runner.run(each)] == [(), ()]


@in_one_test(
    ("sources", "fault"),
    [
        ("acme", "'sources' must be a list of names or matchers: for example: [acme, 'customer=\"acme\"']"),
        ("[]", "'sources' must be a list of names or matchers: for example: [acme, 'customer=\"acme\"']"),
        ("[5]", "a source must be a name or a matcher: for example: [acme, 'customer=\"acme\"']"),
        ("['customer=\"acme']", 'a quote is not closed: write label="value"'),
        ("['customer=~(']", "not a regular expression (missing ): (): RE2 takes no lookaround and no back references"),
        ("['customer==acme']", 'the operator is one of =, !=, =~ and !~: did you mean customer="acme"?'),
    ],
)
def test_faults(sources: str, fault: str) -> None:
    """What is wrong with a scope is a fault at its place."""
    (found,) = rules_in(RULE + f"alert: {{sources: {sources}}}\n").faults
    assert (found.line, str(found).partition(" ")[2]) == (7, fault)


def test_a_correlation_of_other_rules_has_no_scope() -> None:
    """Only rules that find records have `sources`."""
    other = HEAD + "name: m\ncorrelation: {type: event_count, rules: [n], timespan: 1h, condition: {gte: 2}}\n"
    (fault,) = rules_in(RULE + "---\n" + other + "alert: {sources: [acme-1]}\n").faults
    assert "write them in the rules that it names" in str(fault)


def test_the_scope_is_explained() -> None:
    """`explain` shows the scope, and the source of the record with its labels."""
    (rule,) = rules_in(RULE + "alert: {sources: [tier=basic, bare]}\n").rules
    lines = [line for line in explain(rule, replace(record(), source="acme-1")).lines() if "sources" in line]
    assert lines == ["  - sources: tier=basic, bare   <- acme-1, customer=acme, tier=gold"]


def test_what_names_no_source() -> None:
    """A scope knows which of its items name none of the configured sources."""
    (rule,) = rules_in(RULE + "alert: {sources: [acme-1, acme-3, tier=gold, tier=silver]}\n").rules
    assert rule.alert.scope is not None
    assert rule.alert.scope.unknown(list(LABELS)) == [1, 3]
