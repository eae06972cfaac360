"""Prefilters: what the filters of the upstream get from the rules."""

from __future__ import annotations

from actionwatch.rules.lists import Lists
from actionwatch.rules.load import Rules, build_rules
from actionwatch.rules.prefilter import names_demanding, prefilter_of
from actionwatch.text.timeintervals import Period, TimeInterval
from actionwatch.text.yaml_document import read_text
from tests.cases import in_one_test
from tests.unit.rules.builders import HEAD, KINDS

INTERVALS = {"business-hours": TimeInterval("business-hours", (Period(),))}
UUID = "1f0c6a0e-7a0b-4d50-9f9c-0d1f6c1d2a01"
DELETION = (
    HEAD + "name: d\ntags: [attack.impact, attack.t1485]\ndetection: {s: {actionKind: DELETE_CLUSTER}, condition: s}\n"
)
BURST = (
    HEAD + "name: b\nlevel: high\ndetection: {s: {actionKind: BACKUP}, condition: s}\n"
    "correlation: {type: event_count, group-by: [userName], timespan: 10m, condition: {gte: 5}}\n"
)
SEQUENCE = (
    HEAD + "name: q\ndetection: {first: {actionKind: BACKUP}, then-so: {actionKind: DELETE_CLUSTER}}\n"
    "correlation: {type: temporal_ordered, rules: [first, then-so], group-by: [userName], timespan: 10m}\n"
)
TERM = (
    HEAD + "name: n\ndetection: {s: {actionKind: BACKUP}, condition: s}\n"
    "correlation: {type: new_term, fields: [userName], history: 90d, baseline: any}\n"
)


def load(*texts: str) -> Rules:
    """Build rules."""
    loaded = build_rules(
        read_text("---\n".join(texts), "r.yml"), lists=Lists(), known_kinds=KINDS, time_intervals=INTERVALS
    )
    assert loaded.faults == ()
    return loaded


@in_one_test(
    ("texts", "kinds", "cluster", "account"),
    [
        ([DELETION], ("DELETE_CLUSTER",), None, None),
        ([DELETION, BURST], ("BACKUP", "DELETE_CLUSTER"), None, None),
        ([SEQUENCE], ("BACKUP", "DELETE_CLUSTER"), None, None),
        ([TERM], None, None, None),  # anything makes a term known
        ([HEAD + "detection: {s: {actionKind: ADMIN_*}, condition: s}\n"], None, None, None),
        ([HEAD + "detection: {s: {userName: eve}, condition: s}\n"], None, None, None),
        ([HEAD + f"detection: {{s: {{clusterId: {UUID}, account: {UUID}}}, condition: s}}\n"], None, UUID, UUID),
        ([HEAD + "detection: {s: {clusterId: prod, account.name: x}, condition: s}\n"], None, None, None),
        ([HEAD + f"detection: {{s: {{clusterId: {UUID}}}, condition: not s}}\n"], None, None, None),
    ],
)
def test_prefilter_never_excludes_a_match(
    texts: list[str], kinds: tuple[str, ...] | None, cluster: str | None, account: str | None
) -> None:
    """A prefilter for the upstream never excludes a record that a rule can match."""
    reach = prefilter_of(load(*texts).rules)
    assert (reach.kinds, reach.cluster_id, reach.account_id) == (kinds, cluster, account)


def test_rules_that_require_a_kind_are_named() -> None:
    """Running rules that require a kind by name, wildcard or correlation are named; rules for any kind are not."""
    removed = HEAD + "name: removed\ndetection: {s: {actionKind: _LINKED_ACCOUNT_REMOVED}, condition: s}\n"
    wildcard = HEAD + "name: wildcard\ndetection: {s: {actionKind: '*_ACCOUNT_REMOVED'}, condition: s}\n"
    anything = HEAD + "name: anything\ndetection: {s: {userName: eve}, condition: s}\n"
    off = HEAD + "name: off\nmode: off\ndetection: {s: {actionKind: _LINKED_ACCOUNT_REMOVED}, condition: s}\n"
    sequence = SEQUENCE.replace("actionKind: BACKUP", "actionKind: _LINKED_ACCOUNT_REMOVED")
    rules = load(removed, wildcard, anything, off, sequence, DELETION).rules
    assert sorted(names_demanding(rules, ["_LINKED_ACCOUNT_REMOVED"])) == ["q", "removed", "wildcard"]
