"""The meaning of each modifier and each type of value, one line per case."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from actionwatch.base.model import Entity, Record
from actionwatch.rules.compile import compile_item
from actionwatch.rules.engine import Engine
from actionwatch.rules.lists import Lists
from tests.cases import in_one_test
from tests.unit.rules.builders import AT, detection_rule, is_met, record, rules_of

FULL = record(
    description="Rule added: 0.0.0.0/0 -force /q, key dGVzdA== 100% a\\b",
    account=Entity(id="acc-1", name="Payments"),
    cluster=Entity(id="c-1", name="prod-eu"),
    raw={
        "n": 5, "text": "5", "float": 1.5, "flag": True, "no": False, "null": None, "empty": "", "list": ["a", "b", None],
        "deep": {"er": [{"x": 1}, {"x": "two"}], "with.dot": "yes"}, "ip": "10.1.2.3", "net": "10.1.0.0/16",
        "ip6": "2001:db8::1",
        "user": "EVE", "prefix": "ev", "at": "2026-12-31T23:59:59+10:00", "epoch": 1772600767, "epoch_ms": 1772600767000,
    },
)  # fmt: skip
BARE = record(user=None)

CASES: list[tuple[dict[str, Any] | list[Any], bool]] = [
    # plain text: without case, wildcards, escapes
    ({"userName": "EVE"}, True),
    ({"userName": "ev"}, False),
    ({"userName": "e*"}, True),
    ({"userName": "?v?"}, True),
    ({"userName": "?ve?"}, False),
    ({"userName": "e*v*e"}, True),
    ({"userName": "*"}, True),
    ({"userName": "e\\*"}, False),
    ({"description": "*100% a\\\\b"}, True),
    ({"userName": ["mallory", "eve"]}, True),
    ({"actionKind": "delete_cluster", "userName": "mallory"}, False),
    # parts of texts
    ({"userName|contains": "V"}, True),
    ({"userName|startswith": "ev"}, True),
    ({"userName|startswith": "ve"}, False),
    ({"userName|endswith": "VE"}, True),
    ({"description|contains|all": ["added", "0.0.0.0/0"]}, True),
    ({"description|contains|all": ["added", "removed"]}, False),
    ({"description|contains": "a*0.0"}, True),
    ({"userName|cased": "eve"}, True),
    ({"userName|cased": "Eve"}, False),
    ({"description|contains|cased": "Rule"}, True),
    ({"description|contains|cased": "rule"}, False),
    # encodings
    ({"description|base64|contains": "test"}, True),
    ({"description|base64offset|contains": "test"}, True),
    ({"description|wide|base64|contains": "test"}, False),
    ({"description|utf16|base64|contains": "test"}, False),
    ({"description|utf16be|base64|contains": "test"}, False),
    ({"description|windash|contains": "/force"}, True),
    ({"description|windash|contains": "-q"}, True),
    # regular expressions: case counts, found anywhere
    ({"userName|re": "v"}, True),
    ({"userName|re": "V"}, False),
    ({"userName|re|i": "^EVE$"}, True),
    ({"userName|re": ["^x", "e$"]}, True),
    ({"description|re|s|m|i": "^rule.*B$"}, True),
    # presence
    ({"userName|exists": True}, True),
    ({"userName|exists": False}, False),
    ({"userName": None}, False),
    ({"domainType": None}, True),
    ({"domainType|exists": False}, True),
    ({"domainType": "*"}, False),
    ({"domainType": ""}, False),
    ({"raw.empty": ""}, True),
    ({"raw.empty": None}, False),
    ({"raw.null": None}, True),
    ({"raw.missing.deeper": None}, True),
    # negation
    ({"userName|neq": "eve"}, False),
    ({"userName|neq": "mallory"}, True),
    ({"domainType|neq": "x"}, True),
    # numbers and booleans
    ({"raw.n": 5}, True),
    ({"raw.n": "5"}, True),
    ({"raw.text": 5}, True),
    ({"raw.float": 1.5}, True),
    ({"raw.n|gt": 4}, True),
    ({"raw.n|gte": 5}, True),
    ({"raw.n|lt": 5}, False),
    ({"raw.n|lte": 5}, True),
    ({"raw.text|gt": 4}, True),
    ({"raw.float|lt": 2}, True),
    ({"raw.flag|gt": 0}, False),
    ({"raw.user|gt": 0}, False),
    ({"raw.flag": True}, True),
    ({"raw.flag": 1}, False),
    ({"raw.flag": "true"}, True),
    ({"raw.no": False}, True),
    ({"raw.no": True}, False),
    # addresses
    ({"raw.ip|cidr": "10.0.0.0/8"}, True),
    ({"raw.ip|cidr": ["192.168.0.0/16", "10.1.2.3/32"]}, True),
    ({"raw.ip|cidr": "10.2.0.0/16"}, False),
    ({"raw.net|cidr": "10.0.0.0/8"}, True),
    ({"raw.net|cidr": "10.1.2.0/24"}, False),
    ({"raw.ip6|cidr": "2001:db8::/32"}, True),
    ({"raw.ip6|cidr": "10.0.0.0/8"}, False),
    ({"userName|cidr": "10.0.0.0/8"}, False),
    ({"raw.n|cidr": "0.0.0.0/0"}, False),
    # two fields
    ({"userName|fieldref": "raw.user"}, True),
    ({"userName|fieldref": "raw.prefix"}, False),
    ({"userName|fieldref|startswith": "raw.prefix"}, True),
    ({"userName|fieldref|endswith": "raw.prefix"}, False),
    ({"userName|fieldref|contains": "raw.prefix"}, True),
    ({"userName|fieldref": "raw.missing"}, False),
    ({"userName|fieldref|neq": "raw.user"}, False),
    ({"userName|cased|fieldref": "raw.user"}, False),
    ({"raw.user|cased|fieldref": "raw.user"}, True),
    ({"userName|cased|fieldref|startswith": "raw.prefix"}, True),
    ({"raw.user|cased|fieldref|startswith": "raw.prefix"}, False),
    ({"userName|utf16le|contains": "e"}, False),
    # parts of a time, in UTC
    ({"timestamp|minute": 6}, True),
    ({"timestamp|hour": [4, 5]}, True),
    ({"timestamp|hour": 23}, False),
    ({"timestamp|day": 4}, True),
    ({"timestamp|week": 10}, True),
    ({"timestamp|month": 3}, True),
    ({"timestamp|year": 2026}, True),
    ({"timestamp|year": 2025}, False),
    ({"raw.at|hour": 13}, True),
    ({"raw.epoch|year": 2026}, True),
    ({"raw.epoch_ms|minute": 6}, True),
    ({"userName|hour": 5}, False),
    ({"timestamp": "2026-03-04T05:06:07.000Z"}, True),
    ({"timestamp|startswith": "2026-03-04T05"}, True),
    ({"timestamp|gt": 1772600766000}, True),
    ({"timestamp|lt": 1772600766000}, False),
    # id or name
    ({"account": "payments"}, True),
    ({"account": "acc-1"}, True),
    ({"account.id": "payments"}, False),
    ({"account.name": "Payments"}, True),
    ({"cluster": ["x", "c-1"]}, True),
    ({"clusterId": "c-1"}, True),
    ({"cluster.id": "c-1", "cluster.name|startswith": "prod-"}, True),
    ({"organisation": None}, True),
    # the raw record
    ({"raw.list": "b"}, True),
    ({"raw.list|contains|all": ["a", "b"]}, True),
    ({"raw.deep.er.x": 1}, True),
    ({"raw.deep.er.x": "two"}, True),
    ({"raw.deep.with.dot": "yes"}, True),
    ({"raw.deep.er|contains": '{"x":1}'}, True),
    # other fields
    ({"source": "acme", "scope": "account", "crudOperation": "DELETE", "severity": "medium"}, True),
    # keywords: anywhere in kind, user, description, account and cluster names
    (["nothing", "cluster"], True),
    (["nothing"], False),
    (["PAYMENTS"], True),
    (["prod-eu"], True),
    (["acc-1"], False),
    (["rule*force"], True),
    ([100], True),
    ({"|all": ["eve", "payments"]}, True),
    ({"|all": ["eve", "nothing"]}, False),
    ({"|re": "^ev"}, True),
    ({"|contains": "eve"}, True),
    # lists of maps are OR
    ([{"userName": "x"}, {"userName": "eve"}], True),
]


@in_one_test(("item", "expected"), CASES)
def test_modifiers_have_the_meaning_of_sigma(item: dict[str, Any] | list[Any], expected: bool) -> None:
    """A selection has the meaning of the Sigma specification."""
    assert is_met(item, FULL) is expected


@in_one_test(
    "item",
    [
        item
        for item, _ in CASES
        if isinstance(item, dict) and len(item) == 1 and next(iter(item)).startswith("userName")
    ],
)
def test_absent_field_matches_only_null_and_negations(item: dict[str, Any]) -> None:
    """An absent field matches nothing but null, exists: false and negations."""
    ((key, value),) = item.items()
    assert is_met(item, BARE) is (value is None or "neq" in key or (key.endswith("exists") and value is False))


@in_one_test(
    ("condition", "expected"),
    [
        ("a", True), ("b", False), ("not b", True), ("a and b", False), ("a or b", True), ("a and not b", True),
        ("not (a or b)", False), ("1 of a*", True), ("all of them", False), ("1 of them", True), ("any of them", True),
        ("not 1 of b*", True), ("all of a*", True), ("a and (b or not b)", True), (["b", "a"], True), (["b"], False),
    ],
)  # fmt: skip
def test_conditions_combine_selections(condition: str | list[str], expected: bool) -> None:
    """Conditions combine selections. Several conditions are alternatives."""
    rules = rules_of(detection_rule({"a": {"userName": "eve"}, "b": {"userName": "bob"}, "condition": condition}))
    assert rules.faults == ()
    assert bool(Engine(rules.rules).evaluate([FULL])) is expected


@in_one_test(
    ("item", "user", "expected"),
    [
        ({"userName|expand": "%admins%"}, "root", True),
        ({"userName|expand": "%admins%"}, "svc-7", True),
        ({"userName|expand": "%admins%"}, "eve", False),
        ({"userName|expand": "x-%admins%"}, "x-root", True),
        ({"userName|contains|expand": "%admins%"}, "my-root-user", True),
        ({"userName|expand|startswith": "%admins%"}, "rooted", True),
        ({"userName|re|expand": "^%names%$"}, "a.b", True),
        ({"userName|re|expand": "^%names%$"}, "axb", False),
        ({"userName|expand": ["%names%", "%admins%"]}, "root", True),
        ({"userName": "%admins%"}, "root", False),
        ({"userName|neq|expand": "%admins%"}, "root", False),
    ],
)
def test_expand_inserts_the_values_of_a_list(item: dict[str, Any], user: str, expected: bool) -> None:
    """`expand` inserts the values of a list. Their wildcards count, except in patterns."""
    lists = {"admins": ("root", "svc-*"), "names": ("a.b",)}
    assert is_met(item, record(user=user), lists) is expected


def test_expand_takes_long_lists() -> None:
    """A list of thousands of names works, although pySigma's own expansion stops at 200."""
    names = tuple(f"c-{number}" for number in range(9000))
    assert is_met({"cluster|expand": "%all%"}, record(cluster=Entity(id="c-8999")), {"all": names})


def test_lists_multiply_values_up_to_a_limit() -> None:
    """A rule that names a long list many times is refused before it fills the memory."""
    lists = Lists({"all": tuple(f"c-{number}" for number in range(10_000))})
    with pytest.raises(ValueError, match="more than 100000 values together"):
        compile_item("cluster|expand", ["%all%"] * 11, lists)


HOSTILE: list[Record] = [
    record(user="\ud800", description="\udfff x"),
    record(user="\x00\u202e" * 50),
    record(user="a" * 100_000, description="b" * 100_000),
    record(raw="not json"),
    record(raw="[1]"),
    record(raw='{"n": ' + "9" * 6000 + ', "ip": "10.0.0.1"}'),
    record(raw='{"n": ' + "[" * 900 + "]" * 900 + "}"),
    record(raw='{"n": NaN, "at": Infinity, "epoch": 1e308, "ip": 1e999}'),
    record(raw='{"n": "\\ud800", "ip": "\\ud800", "at": "\\ud800", "user": {"a": "\\ud800"}}'),
    record(raw='{"n": true, "ip": {}, "at": [], "deep": "x", "list": {"a": [[]]}}'),
    record(at=datetime.min.replace(tzinfo=UTC)),
    record(at=datetime.max.replace(tzinfo=UTC)),
]


@in_one_test("hostile", HOSTILE)
def test_no_condition_raises(hostile: Record) -> None:
    """No condition raises for any record."""
    for item, _ in CASES:
        assert is_met(item, hostile) in (True, False)


def test_a_huge_number_hides_nothing() -> None:
    """A number that Python does not convert does not prevent the rest of the record from being read."""
    assert is_met({"raw.ip|cidr": "10.0.0.0/8"}, HOSTILE[5])


def test_surrogates_match_as_replacement_characters() -> None:
    """Half of a surrogate pair is one character to a pattern."""
    assert is_met({"userName|re": "^.$"}, record(user="\ud800"))


def test_case_is_folded_not_lowered() -> None:
    """Texts that differ only in case are equal in every script."""
    assert is_met({"userName": "STRASSE"}, record(user="straße"))
    assert is_met({"userName|contains": "ΟΔΟΣ"}, record(user="η οδος μου"))


def test_at_is_what_the_cases_assume() -> None:
    """The cases above about time use this time."""
    assert AT.isocalendar().week == 10
