"""Filters: what they hide, from which rules, until when, and which are refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from actionwatch.base.model import Record
from actionwatch.rules.engine import Engine
from actionwatch.rules.lists import Lists
from actionwatch.rules.load import Rules, build_rules
from actionwatch.text.yaml_document import read_text
from tests.cases import in_one_test
from tests.unit.rules.builders import HEAD, KINDS, record

RULES = (
    HEAD
    + "name: one\ndetection:\n  s: {actionKind: [BACKUP, DELETE_CLUSTER]}\n  condition: s\n---\n"
    + HEAD.replace("title: T", "title: U")
    + "name: two\nid: 1f0c6a0e-7a0b-4d50-9f9c-0d1f6c1d2a01\ndetection:\n  s: {userName: eve}\n  condition: s\n---\n"
)
NOW = datetime(2026, 6, 1, tzinfo=UTC)


def filter_text(rules: str = "[one]", condition: str = "not s", **more: Any) -> str:
    """Write a filter document."""
    keys = {"owner": "dba", "reason": "nightly job", "expires": "2026-12-31", **more}
    lines = "".join(f"{key}: {value}\n" for key, value in keys.items() if value is not None)
    return (
        "title: F\nname: f\nlogsource: {product: instaclustr}\nfilter:\n"
        f"  rules: {rules}\n  s: {{userName: eve}}\n  t: {{actionKind: BACKUP}}\n  condition: {condition}\n{lines}"
    )


def load(text: str, now: datetime | None = NOW) -> Rules:
    """Build rules."""
    return build_rules(read_text(text, "r.yml"), lists=Lists(), known_kinds=KINDS, now=now)


def names(loaded: Rules, *records: Record) -> list[tuple[str, str]]:
    """Return rule and record of each match."""
    return [(match.rule.name, match.record.key) for match in Engine(loaded.rules).evaluate(records)]


EVE, BOB = record("BACKUP", user="eve", key="eve"), record("BACKUP", user="bob", key="bob")


@in_one_test(
    ("rules", "expected"),
    [
        ("[one]", [("two", "eve"), ("one", "bob")]),
        ("one", [("two", "eve"), ("one", "bob")]),
        ("[1f0c6a0e-7a0b-4d50-9f9c-0d1f6c1d2a01]", [("one", "eve"), ("one", "bob")]),
        ("[one, two]", [("one", "bob")]),
        ("any", [("one", "bob")]),
    ],
)
@in_one_test("is_first", [True, False])
def test_filter_hides_records_from_its_rules(rules: str, expected: list[tuple[str, str]], is_first: bool) -> None:
    """A filter hides records from the rules that it names by name or id, in any order of the documents."""
    text = f"{filter_text(rules)}---\n{RULES}" if is_first else RULES + filter_text(rules)
    loaded = load(text)
    assert (loaded.faults, loaded.notes) == ((), ())
    assert names(loaded, EVE, BOB) == expected


@pytest.mark.parametrize("condition", ["not s", "not (s and t)", "not 1 of them", "not s and not t", "not all of them"])
def test_record_that_no_selection_matches_is_not_hidden(condition: str) -> None:
    """A record that no selection matches is not hidden, however the condition is written."""
    loaded = load(RULES + filter_text(condition=condition))
    assert loaded.faults == ()
    assert ("one", "eve") not in names(loaded, EVE)
    assert ("one", "carol") in names(loaded, record("DELETE_CLUSTER", user="carol", key="carol"))


@pytest.mark.parametrize("condition", ["s", "s or t", "s and not t", "1 of them", "not (not s)"])
def test_reversed_polarity_is_refused(condition: str) -> None:
    """A filter that would hide everything but its selections is a fault and hides nothing."""
    loaded = load(RULES + filter_text(condition=condition))
    assert [fault.what for fault in loaded.faults] == ["this filter hides everything that its selections do not match"]
    assert loaded.faults[0].remedy == f"write: condition: not ({condition})"
    assert ("one", "eve") in names(loaded, EVE)


def test_filter_expires_by_event_time() -> None:
    """Records of the last day are hidden and later ones are not, by the time of the event."""
    loaded = load(RULES + filter_text(expires="2026-12-31"), now=datetime(2030, 1, 1, tzinfo=UTC))
    last = record("BACKUP", at=datetime(2026, 12, 31, 23, 59, tzinfo=UTC), key="last")
    after = record("BACKUP", at=datetime(2027, 1, 1, tzinfo=UTC), key="after")
    assert names(loaded, last, after) == [("two", "last"), ("one", "after"), ("two", "after")]
    assert [note.what for note in loaded.notes] == ["the filter expired (2026-12-31): it no longer hides records"]
    assert load(RULES + filter_text(expires="2026-12-31"), now=None).notes == ()


def test_an_instant_may_be_given() -> None:
    """`expires` can be a time with its zone."""
    loaded = load(RULES + filter_text(expires="2026-12-31T12:00:00+02:00"))
    assert loaded.filters[0].expires == datetime(2026, 12, 31, 10, tzinfo=UTC)


@in_one_test(
    ("text", "expected"),
    [
        (
            filter_text(owner=None),
            "r.yml:16:1: a filter needs 'owner': name the team or person responsible for it",
        ),
        (filter_text(reason="''"), "r.yml:25:1: 'reason' must be a string: explain why these records are harmless"),
        (
            filter_text(expires=None),
            "r.yml:16:1: a filter needs 'expires': set the last day, for example: expires: 2026-12-31",
        ),
        (filter_text(expires="soon"), "r.yml:26:1: 'expires' must be a day or a time"),
        (filter_text(expires="5"), "r.yml:26:1: 'expires' must be a day or a time"),
        (filter_text("[oen]"), "r.yml:20:11: no rule has the name or id 'oen': did you mean 'one'?"),
        (filter_text("[]"), "r.yml:20:3: 'rules' must list names or ids"),
        (filter_text("5"), "r.yml:20:3: 'rules' must list names or ids"),
        (filter_text(condition="not u"), "r.yml:23:3: the condition names 'u', which is not defined"),
        (filter_text(condition="[not s, not t]"), "r.yml:23:3: the condition of a filter must be one string"),
        (filter_text(onwer="x"), "r.yml:27:1: unknown key 'onwer': did you mean 'owner'?"),
        (filter_text().replace("userName", "useName"), "r.yml:21:7: unknown field 'useName'"),
        (filter_text() + "level: hihg\n", "r.yml:27:1: 'hihg' is not a valid"),
    ],
)
def test_fault_of_a_filter_is_located(text: str, expected: str) -> None:
    """A fault of a filter is reported with its location, and the rules run without the filter."""
    loaded = load(RULES + text)
    found = [str(fault) for fault in loaded.faults]
    assert len(found) == 1
    assert found[0].startswith(expected)
    assert len(loaded.rules) == 2
    assert loaded.filters == ()


def test_a_filter_needs_its_own_name() -> None:
    """A filter and a rule with the same name are a fault."""
    loaded = load(RULES + filter_text().replace("name: f", "name: one"))
    assert [fault.what for fault in loaded.faults] == ["the name 'one' is already used by the rule at r.yml:1"]


CORRELATED = (
    RULES
    + "title: C\nname: both\ncorrelation: {type: temporal, rules: [one, two], timespan: 10m, group-by: [account]}\n---\n"
)


def test_a_correlation_of_other_rules_cannot_be_filtered() -> None:
    """As in Sigma, a filter applies to rules that find records.

    A filter of a correlation of other rules is a fault that names these rules.
    """
    loaded = load(CORRELATED + filter_text("[both]"))
    assert [str(fault) for fault in loaded.faults] == [
        "r.yml:24:11: 'both' is a correlation of other rules and finds no records itself: name the rules that feed it: one, two"
    ]
    assert [rule.name.name for rule in loaded.rules if rule.filters] == []


def test_filter_for_any_includes_feeding_rules() -> None:
    """`any` includes the rules that feed a correlation."""
    loaded = load(CORRELATED + filter_text("any"))
    assert loaded.faults == ()
    assert {rule.name.name: len(rule.filters) for rule in loaded.rules} == {"one": 1, "two": 1, "both": 0}
