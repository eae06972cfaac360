"""Routing has the semantics of Alertmanager: matchers, anchoring, and the search in the tree."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionwatch.alerts.routes import Route, RouteText, alert_labels, build, mutes_for, visit
from actionwatch.base.model import Alert, Entity, Level, Record, RuleName
from actionwatch.text.matchers import Matcher, parse_matcher
from tests.cases import in_one_test

NOW = datetime(2026, 11, 25, 9, tzinfo=UTC)


@in_one_test(
    ("text", "expected"),
    [
        ('level="critical"', ("level", "=", "critical")),
        ("level=critical", ("level", "=", "critical")),
        ("  level  !=  critical  ", ("level", "!=", "critical")),
        ('a=~"b.*"', ("a", "=~", "b.*")),
        ("a!~b.*", ("a", "!~", "b.*")),
        ('a=""', ("a", "=", "")),
        ("a=", ("a", "=", "")),
        ('a=" b "', ("a", "=", " b ")),
        ("a=b c", ("a", "=", "b c")),
        ('a="b,c={d}"', ("a", "=", "b,c={d}")),
        (r'a="say \"hi\""', ("a", "=", 'say "hi"')),
        (r'a="x\\"', ("a", "=", "x\\")),
        (r'a="x\ny"', ("a", "=", "x\ny")),
        (r'a="\d\w"', ("a", "=", r"\d\w")),
        (r"a=x\ny", ("a", "=", "x\ny")),
        ("a=x\\", ("a", "=", "x\\")),
        ('a="=b"', ("a", "=", "=b")),
        ("a=b=c", ("a", "=", "b=c")),
        ("a:b_C9=x", ("a:b_C9", "=", "x")),
        ("team-name.x=y", ("team-name.x", "=", "y")),
        ("a=ü✓", ("a", "=", "ü✓")),
        ("a='b'", ("a", "=", "'b'")),
    ],
)
def test_matchers_are_parsed_like_in_alertmanager(text: str, expected: tuple[str, str, str]) -> None:
    """Quotes, escapes and blanks have the meaning that they have in Alertmanager."""
    matcher = parse_matcher(text)
    assert (matcher.label, matcher.operator, matcher.value) == expected


@in_one_test(
    ("text", "reason"),
    [
        ("", 'not a matcher: write label="value"'),
        ("level", 'not a matcher: write label="value", with =, !=, =~ or !~'),
        ('="x"', "not a matcher"),
        ("9a=x", "not a matcher"),
        ("a b=x", "not a matcher"),
        ('{a="b"}', "not a matcher"),
        ("a>b", "not a matcher"),
        ('a="b', "a quote is not closed"),
        ('a="', "a quote is not closed"),
        (r'a="b\"', "the last quote is escaped"),
        ('a="b"c"', r'a quote within the value: write \\"'),
        (r"a=\"x\"", 'a value with , { } or " needs quotes'),
        ("a==b", r'the operator is one of =, !=, =~ and !~: did you mean a="b"\?'),
        ("a=~~b", r'the operator is one of =, !=, =~ and !~: did you mean a=~"b"\?'),
        ('a=="b"', r'the operator is one of =, !=, =~ and !~: did you mean a="b"\?'),
        ("a==", r'the operator is one of =, !=, =~ and !~: did you mean a="value"\?'),
        ('a=b"c', 'a value with , { } or " needs quotes'),
        ("a=b,c=d", 'needs quotes: write label="value", and one matcher per item'),
        ('a="b",c="d"', r'a quote within the value: write \\"'),
        ("a=~(", r"not a regular expression \(missing \): \(\): RE2 takes no lookaround"),
        ('a=~"(?=x)"', r"not a regular expression \(invalid perl operator: \(\?=\): RE2 takes no lookaround"),
        (r'a!~"(x)\1"', r"not a regular expression \(invalid escape sequence: .*no back references"),
        ('a=~"x)|(y"', "not a regular expression"),
        ('a=~"\ud800"', "not a regular expression"),
    ],
)
def test_invalid_matcher_is_rejected_with_a_remedy(text: str, reason: str) -> None:
    """The error of an invalid matcher shows what to write instead."""
    with pytest.raises(ValueError, match=reason):
        parse_matcher(text)


def test_invalid_regular_expression_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """RE2 prints nothing to standard error about an invalid expression."""
    with pytest.raises(ValueError):
        parse_matcher('a=~"("')
    assert capfd.readouterr() == ("", "")


@in_one_test(
    ("text", "labels", "expected"),
    [
        ("a=b", {"a": "b"}, True),
        ("a=b", {"a": "B"}, False),
        ("a=b", {}, False),
        ("a!=b", {}, True),
        ("a=", {}, True),
        ("a!=", {}, False),
        ("a!=", {"a": "x"}, True),
        ("a=~b", {"a": "abc"}, False),
        ("a=~.*b.*", {"a": "abc"}, True),
        ("a=~b|c", {"a": "bx"}, False),
        ("a=~b|c", {"a": "c"}, True),
        ("a!~b|c", {"a": "cx"}, True),
        ("a=~.*", {}, True),
        ("a=~.+", {}, False),
        ('a=~"(?i)BOB"', {"a": "bob"}, True),
        ("a=~b", {"a": "b\n"}, False),
        ("a=~.", {"a": "\ud800"}, True),
        ("a=b", {"a": ("x", "b")}, True),
        ("a=b", {"a": ("x", "y")}, False),
        ("a!=b", {"a": ("x", "b")}, False),
        ("a!=b", {"a": ("x", "y")}, True),
        ("a=~b.*", {"a": ("x", "bob")}, True),
        ("a!~b.*", {"a": ("x", "bob")}, False),
        ("a=", {"a": ()}, True),
        ("a!=", {"a": ()}, False),
    ],
)
def test_matcher_matches_whole_values(text: str, labels: dict[str, Any], expected: bool) -> None:
    """Whole values match. An absent label is empty. Any of several values can match, none for a negative matcher."""
    assert parse_matcher(text).is_met(labels) is expected


@given(st.text(), st.text())
def test_a_quoted_value_matches_itself(value: str, other: str) -> None:
    """Every value can be quoted, and `!=` is the opposite of `=`."""
    quoted = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    equal, unequal = parse_matcher(f'a="{quoted}"'), parse_matcher(f'a!="{quoted}"')
    assert equal.is_met({"a": value})
    assert equal.is_met({"a": other}) is (value == other)
    assert unequal.is_met({"a": other}) is not equal.is_met({"a": other})
    assert parse_matcher(str(unequal)) == unequal


@given(st.text())
def test_any_text_is_a_matcher_or_an_error(text: str) -> None:
    """Any text is a matcher or raises ValueError."""
    try:
        parse_matcher(text)
    except ValueError:
        return


@dataclass(frozen=True)
class Node:
    """A route in the form of the settings."""

    targets: tuple[str, ...] = ()
    matchers: tuple[str, ...] = ()
    is_continued: bool = False
    routes: tuple[RouteText, ...] = ()
    mute_time_intervals: tuple[str, ...] = ()


def _walk(root: Node, **labels: str) -> tuple[str, ...]:
    return tuple(mutes_for(build(root, ("x", "y")), labels))


def test_default_route_is_every_receiver() -> None:
    """The default route is every receiver, in the order of the settings."""
    assert _walk(Node()) == ("x", "y")
    assert mutes_for(build(Node(), ()), {}) == {}


def test_the_first_child_that_matches_ends_the_search() -> None:
    """Later siblings and the parent do not receive the alert."""
    root = Node(("root",), routes=(Node(("a",), ("l=1",)), Node(("b",), ("l=~.",))))
    assert [_walk(root, l="1"), _walk(root, l="2"), _walk(root)] == [("a",), ("b",), ("root",)]


def test_continue_adds_matching_siblings() -> None:
    """With `continue`, later siblings that match are added, and the parent is not."""
    root = Node(("root",), routes=(Node(("a",), ("l=1",), True), Node(("b",), ("l=2",)), Node(("c",), ("l=1",))))
    assert [_walk(root, l="1"), _walk(root, l="2")] == [("a", "c"), ("b",)]


def test_deepest_match_replaces_its_parent() -> None:
    """A child that matches replaces its parent; if no grandchild matches, the child receives."""
    child = Node(("a",), ("l=1",), routes=(Node(("b",), ("m=1",), True), Node(("c",), ("m=~.",))))
    root = Node(("root",), routes=(child, Node(("d",))))
    assert [_walk(root, l="1", m="1"), _walk(root, l="1", m="2"), _walk(root, l="1"), _walk(root)] == [
        ("b", "c"),
        ("c",),
        ("a",),
        ("d",),
    ]


def test_grandchild_requires_the_matchers_of_its_parents() -> None:
    """The matchers of a node and of all nodes above it must match."""
    root = Node(("root",), routes=(Node(("a",), ("l=1", "m=1"), routes=(Node(("b",), ("n=1",)),)),))
    assert [_walk(root, l="1", n="1"), _walk(root, l="1", m="1", n="1")] == [("root",), ("b",)]


def test_each_node_says_why_it_took_the_alert_or_not() -> None:
    """A visit names the first matcher that failed, and the nodes that were not tried because another one took the alert."""
    child = Node(("a",), ("l=1",), routes=(Node(("b",), ("m=1", "n=1")),))
    root = build(Node(("root",), routes=(Node(("c",), ("l=2",)), child, Node(("d",)))), ())
    found = visit(root, {"l": "1", "m": "1"})
    first, second, third = found.below
    assert (first.failed, first.is_passed_over) == (Matcher("l", "=", "2"), False)
    assert [each.failed for each in second.below] == [Matcher("n", "=", "1")]
    assert (third.failed, third.is_passed_over, third.is_met) == (None, True, False)
    assert [route.receivers for route in found.takers] == [("a",)]


def test_receiver_named_twice_gets_one_message() -> None:
    """A receiver that the tree names twice has the position of its first occurrence."""
    root = Node(("root",), routes=(Node(("b", "a"), (), True), Node(("a", "c"), (), True)))
    assert _walk(root) == ("b", "a", "c")


def test_receivers_are_inherited() -> None:
    """A node without receivers has those of its parent, at any depth; the root has all."""
    leaf = Node((), ("l=1",), routes=(Node((), ("m=1",)),))
    assert _walk(Node(("a",), routes=(leaf,)), l="1", m="1") == ("a",)
    assert _walk(Node(routes=(leaf,)), l="1", m="1") == ("x", "y")


def _alert(**fields: Any) -> Alert:
    rule = RuleName("r-1", "cluster_deleted", "Cluster deleted")
    return Alert("a-1", rule, Level.HIGH, "t", "b", "acme", NOW, NOW, NOW, **fields)


def test_labels_of_an_alert() -> None:
    """An alert has every documented label; account and cluster have their id and their name."""
    record = Record(
        key="k", source="acme", occurred_at=NOW, seen_at=NOW, action_kind="DELETE_CLUSTER", raw="{}", user_name="eve",
        account=Entity("acc-1", "payments"), cluster=Entity("c-1"), operation="DELETE", scope="account",
    )  # fmt: skip
    assert alert_labels(_alert(labels={"team": "soc", "trouble": "key_refused"}), record) == {
        "team": "soc", "trouble": "key_refused", "rule": "cluster_deleted", "level": "high", "source": "acme",
        "actionKind": "DELETE_CLUSTER", "userName": "eve", "account": ("acc-1", "payments"), "cluster": ("c-1",),
        "scope": "account", "crudOperation": "DELETE",
    }  # fmt: skip


def test_labels_of_an_alert_without_records() -> None:
    """A self-alert has only its own labels; a record without fields has empty ones."""
    assert alert_labels(_alert(), None) == {"rule": "cluster_deleted", "level": "high", "source": "acme"}
    bare = Record(key="k", source="acme", occurred_at=NOW, seen_at=NOW, action_kind="X", raw="{}")
    labels = alert_labels(_alert(), bare)
    for name in ("userName", "account", "cluster", "scope", "crudOperation", "gone"):
        assert parse_matcher(f'{name}=""').is_met(labels)


def test_labels_of_an_absence() -> None:
    """An absence has the labels of its group, for any fields in `group-by`."""
    group = {"clusterId": "c-1", "cluster.name": "payments", "userName": None, "raw.x": "y", "source": "other"}
    assert alert_labels(_alert(group=group), None) == {
        "rule": "cluster_deleted", "level": "high", "source": "acme", "cluster": ("c-1", "payments"), "userName": (),
    }  # fmt: skip
    assert parse_matcher('userName=""').is_met(alert_labels(_alert(group=group), None))


def test_labels_of_a_rule_do_not_replace_those_of_the_alert() -> None:
    """The labels of a rule do not replace the labels of the alert."""
    labels = alert_labels(_alert(labels={"rule": "x", "source": "x", "level": "low"}), None)
    assert labels == {"rule": "cluster_deleted", "level": "high", "source": "acme"}


def test_equal_routes_compare_equal() -> None:
    """Two trees from the same text are equal, so that a reload detects a change."""
    root = Node(("a",), routes=(Node(("b",), ("l=~x.*",)),))
    assert (
        build(root, ()) == build(root, ()) == Route(("a",), (), False, (Route(("b",), (Matcher("l", "=~", "x.*"),)),))
    )
