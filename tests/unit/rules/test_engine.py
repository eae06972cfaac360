"""The engine: order, failures, and an index that never changes the result."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionwatch.base.model import Entity, Record
from actionwatch.rules import index
from actionwatch.rules.conditions import Condition, Leaf, Not, predicate
from actionwatch.rules.engine import Engine
from actionwatch.rules.fields import Subject, field_named
from tests.examples import examples
from tests.unit.rules.builders import detection_rule, record, rules_of
from tests.unit.rules.strategies import detections, records


def _rules(*items: dict[str, Any]) -> Any:
    documents = [
        detection_rule({"s": item, "condition": "s"}, title=f"r{number}", name=f"r{number}")
        for number, item in enumerate(items)
    ]
    loaded = rules_of(*documents)
    assert loaded.faults == ()
    return loaded.rules


def test_matches_are_in_order_of_records_and_rules() -> None:
    """Matches are in the order of the records, then of the rules."""
    rules = _rules({"userName": "*"}, {"actionKind": "BACKUP"}, {"userName": "eve"})
    stored = [record("BACKUP", user="bob", key="1"), record(user=None, key="2"), record("BACKUP", key="3")]
    found = [(match.record.key, match.rule.name) for match in Engine(rules).evaluate(stored)]
    assert found == [("1", "r0"), ("1", "r1"), ("3", "r0"), ("3", "r1"), ("3", "r2")]


def test_no_rules_and_no_records() -> None:
    """No rules or no records give no matches."""
    assert Engine(()).evaluate([record()]) == []
    assert Engine(_rules({"userName": "eve"})).evaluate([]) == []


def test_rule_error_stops_no_other_rule() -> None:
    """If a condition raises, the other rules continue and the failure is reported."""

    def broken(_: object) -> bool:
        raise ValueError("broken")

    good, other = _rules({"userName": "eve"}, {"userName": "*"})
    field = field_named("userName")
    assert field is not None
    bad = dataclasses.replace(other, condition=Leaf(("broken",), "userName", field.read, broken))
    engine = Engine([bad, good])
    assert [match.rule.name for match in engine.evaluate([record(), record()])] == ["r0", "r0"]
    assert [failure.what for failure in engine.take_failures()] == ["ValueError: broken"] * 2


def failing(condition: Condition, error: type[Exception] = ValueError) -> Condition:
    """Return a condition whose tests raise."""

    def fail(_: object) -> bool:
        raise error("no such thing")

    match condition:
        case Leaf():
            return dataclasses.replace(condition, key=("fails",), test=fail, equals=None)
        case Not(part):
            return Not(failing(part, error))
    raise AssertionError(condition)


@pytest.mark.parametrize(("field", "key"), [("description", "key"), ("userName", "")])
@pytest.mark.parametrize("condition", ["odd", "not odd"])
def test_condition_that_fails_stops_only_its_rule(field: str, key: str, condition: str) -> None:
    """Whether it runs by value in the index or by record, its rule is reported each time, and the others match."""
    broken, sound = rules_of(
        detection_rule({"odd": {f"{field}|contains": "e"}, "condition": condition}, name="broken"),
        detection_rule({"deletion": {"actionKind": "DELETE_CLUSTER"}, "condition": "deletion"}, name="sound"),
    ).rules
    engine = Engine([dataclasses.replace(broken, condition=failing(broken.condition)), sound])
    for _ in range(2):
        assert [match.rule.name for match in engine.evaluate([record(key="key", description="eve")])] == ["sound"]
        (failure,) = engine.take_failures()
        assert (failure.rule.name, failure.record_key) == ("broken", key)
        assert failure.what.endswith("ValueError: no such thing")


@pytest.mark.parametrize("field", ["description", "userName"])
def test_without_memory_no_record_is_passed_over(field: str) -> None:
    """The step fails, and evaluates the records again: it does not go on without a rule."""
    (rule,) = _rules({f"{field}|contains": "e"})
    engine = Engine([dataclasses.replace(rule, condition=failing(rule.condition, MemoryError))])
    with pytest.raises(MemoryError):
        engine.evaluate([record(description="eve")])


@examples(40)
@given(st.lists(detections(), min_size=1, max_size=8), st.lists(records(), max_size=30))
def test_the_index_changes_no_result(drawn: list[dict[str, Any]], stored: list[Record]) -> None:
    """The engine finds exactly the matches that running every rule on every record finds."""
    rules = rules_of(*[detection_rule(each, title=f"r{number}") for number, each in enumerate(drawn)]).rules
    assert len(rules) == len(drawn)
    tests = [predicate(rule.condition) for rule in rules]
    expected = [
        (number, rule.name.name)
        for number, each in enumerate(stored)
        for rule, test in zip(rules, tests, strict=True)
        if test(Subject(each))
    ]
    numbered = [_numbered(each, number) for number, each in enumerate(stored)]
    engine = Engine(rules)
    for _ in range(2):  # the second time from the cache
        assert [(int(match.record.key), match.rule.name) for match in engine.evaluate(numbered)] == expected


def _numbered(stored: Record, number: int) -> Record:
    fields = {name: getattr(stored, name) for name in Record.__struct_fields__}
    return Record(**{**fields, "key": str(number)})


def test_memory_is_bounded(monkeypatch: Any) -> None:
    """A column caches a limited number of values."""
    monkeypatch.setattr(index, "MAX_REMEMBERED", 10)
    engine = Engine(_rules({"userName": "user-*7"}))
    matches = engine.evaluate(record(user=f"user-{number}") for number in range(100))
    assert len(matches) == 10
    assert all(len(column) <= 10 for column in engine._index.columns)


def test_long_values_are_not_cached() -> None:
    """Names that are longer than any real one are matched, and do not fill the memory."""
    engine = Engine(_rules({"userName": "user-*7"}))
    names = [f"user-{'x' * length}7" for length in (494, 495, 9_994)]
    assert len(engine.evaluate(record(user=name) for name in names)) == 3
    assert [list(column) for column in engine._index.columns] == [names[:1]]


regexes = st.sampled_from(
    [
        "a",
        "^a",
        "b$",
        "a.*b",
        "(?s)a.*b",
        "[^a]b",
        "(?i)A",
        r"\bb",
        r"\Aa",
        r"b\z",
        "^$",
        r"a\nb",
        "",
        "(?-m)^b",
        "é|x",
        r"\x00",
    ]
)
hostile = st.lists(
    st.sampled_from(["a", "b", "B", " ", "\n", "\r\n", "\x00", "é", "\ud835", "x" * 50]), min_size=0, max_size=5
).map("".join)


@examples(40)
@given(
    st.lists(
        st.tuples(st.sampled_from(["description", "raw.n"]), st.lists(regexes, min_size=1, max_size=2)),
        min_size=1,
        max_size=8,
    ),
    st.lists(st.one_of(st.none(), hostile), min_size=1, max_size=12),
    st.sampled_from([1, 3, 9]),
    st.sampled_from([10, 100, 65_536]),
)
def test_searching_in_many_texts_at_once_changes_no_result(
    drawn: list[tuple[str, list[str]]], values: list[str | None], times: int, size: int
) -> None:
    """Searching for patterns in many texts at once finds the same as searching in each text, for any batch."""
    rules = _rules(*({f"{name}|re": patterns} for name, patterns in drawn))
    stored = [
        record(description=value, raw={} if value is None else {"n": [value, "b"]}, key=f"{number}")
        for number, value in enumerate(values * times)
    ]
    tests = [(rule.name.name, predicate(rule.condition)) for rule in rules]
    expected = [(each.key, name) for each in stored for name, test in tests if test(Subject(each))]
    with pytest.MonkeyPatch.context() as smaller:
        smaller.setattr(index, "MAX_JOINED", size)
        together = [(match.record.key, match.rule.name) for match in Engine(rules).evaluate(stored)]
    engine = Engine(rules)
    one_by_one = [(match.record.key, match.rule.name) for each in stored for match in engine.evaluate([each])]
    assert together == expected
    assert one_by_one == expected


def test_a_pattern_in_no_text_is_not_tried() -> None:
    """Of ten thousand records, a pattern is tried only on those that can contain it."""
    tried: Counter[str] = Counter()
    rules = _rules(*({"description|re": f"{word} .*node"} for word in ("moved", "opened", "shut")))
    counted = [dataclasses.replace(rule, condition=_counting(rule.condition, tried)) for rule in rules]
    stored = [record(description=f"opened {number}{' node' * (number % 100 == 0)}") for number in range(10_000)]
    matches = Engine(counted).evaluate(stored)
    assert len(matches) == 100
    assert tried.total() == 100


def test_a_pattern_in_most_texts_is_tried_once_per_record() -> None:
    """A pattern that most texts contain is tried once on each record."""
    tried: Counter[str] = Counter()
    (rule,) = _rules({"description|re": "(?s)opened.*nowhere|opened"})
    counted = dataclasses.replace(rule, condition=_counting(rule.condition, tried))
    matches = Engine([counted]).evaluate(record(description=f"opened {number}") for number in range(3000))
    assert len(matches) == tried.total() == 3000


def _counting(condition: Condition, tried: Counter[str]) -> Leaf:
    """Count the calls of the only test of a condition."""
    assert isinstance(condition, Leaf)
    leaf = condition

    def test(candidates: Any) -> bool:
        tried[str(leaf.pattern)] += 1
        return leaf.test(candidates)

    return dataclasses.replace(leaf, test=test)


def test_rule_without_indexed_conditions_is_always_run() -> None:
    """The index does not exclude rules on the description, on the raw record, or on what is absent."""
    rules = _rules({"description|contains": "x"}, {"raw.n": 1}, {"userName|neq": "bob"}, {"account": None})
    found = Engine(rules).evaluate([record(description="xx", raw={"n": 1}, cluster=Entity(id="c"))])
    assert [match.rule.name for match in found] == ["r0", "r1", "r2", "r3"]


def test_a_negation_on_one_field_is_tested_once_per_value() -> None:
    """What a rule excludes is found by value, and not record by record; a negation on two fields is not."""
    tried = Counter[str]()
    one, two = _rules({"userName|re": "svc-.*"}, {"userName|re": "svc-.*", "cluster.id": "c1"})
    counted = dataclasses.replace(one, condition=Not(_counting(one.condition, tried)))
    engine = Engine([counted, dataclasses.replace(two, condition=Not(two.condition))])
    read = [record(user=user, cluster=Entity(id="c1")) for user in ["svc-a", "bob", None] * 10]
    assert [match.rule.name for match in engine.evaluate(read)] == ["r0", "r1"] * 20
    assert tried.total() == 3


def test_equal_demands_are_shared() -> None:
    """A thousand rules with the same user pattern test it once per user."""
    rules = _rules(*[{"userName": "svc-*x", "description|contains": str(number)} for number in range(100)])
    (column,) = Engine(rules)._index.columns
    assert len(column._tests) == 1
