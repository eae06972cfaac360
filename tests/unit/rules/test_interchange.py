"""Export, coverage and prefilters: what other tools, people and filters of the upstream get from the rules."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import yaml
from sigma.collection import SigmaCollection

from actionwatch.rules.coverage import cover_kinds, cover_techniques
from actionwatch.rules.engine import Engine
from actionwatch.rules.export import export_rules
from actionwatch.rules.lists import Lists
from actionwatch.rules.load import Rules, build_rules, load_rules
from actionwatch.rules.prefilter import names_demanding, prefilter_of
from actionwatch.text.timeintervals import Period, TimeInterval
from actionwatch.text.yaml_document import read_text
from tests.cases import in_one_test
from tests.unit.rules.builders import HEAD, KINDS, record

ROOT = Path(__file__).parents[3]
NOW = datetime(2026, 6, 1, tzinfo=UTC)
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
FILTER = (
    "title: F\nname: f\nlogsource: {product: instaclustr}\nowner: dba\nreason: harmless\nexpires: 2026-12-31\n"
    "filter: {rules: [d], s: {userName: eve}, condition: not s}\n"
)


def load(*texts: str) -> Rules:
    """Build rules."""
    loaded = build_rules(
        read_text("---\n".join(texts), "r.yml"), lists=Lists(), known_kinds=KINDS, time_intervals=INTERVALS
    )
    assert loaded.faults == ()
    return loaded


def exported(loaded: Rules) -> tuple[str, list[str]]:
    """Return the exported Sigma text and what it omits."""
    found = list(export_rules(loaded.rules, loaded.filters, NOW))
    documents = [document for each in found for document in each.documents]
    return yaml.safe_dump_all(documents, sort_keys=False), [lost for each in found for lost in each.lost]


def test_the_shipped_rules_are_plain_sigma() -> None:
    """pySigma parses every exported rule without an error, and it matches the same records as before."""
    loaded = load_rules([ROOT / "rules"], lists=None, known_kinds=KINDS, time_intervals=INTERVALS)
    text, _ = exported(loaded)
    collection = SigmaCollection.from_yaml(text)
    assert [rule.errors for rule in collection.rules if rule.errors] == []
    again = build_rules(read_text(text, "s.yml"), lists=Lists(), known_kinds=KINDS)
    assert again.faults == ()
    plain = [rule for rule in loaded.rules if rule.correlation is None and rule.when is None]
    by_name = {rule.name.name: rule for rule in again.rules}
    assert [by_name[rule.name.name].condition for rule in plain] == [rule.condition for rule in plain]


def test_short_correlation_is_split_for_sigma() -> None:
    """A short correlation becomes Sigma's multi-document form, which pySigma resolves."""
    text, lost = exported(load(BURST, SEQUENCE))
    collection = SigmaCollection.from_yaml(text)
    collection.resolve_rule_references()
    assert lost == []
    assert [rule.name for rule in collection.rules] == ["b_events", "b", "q_first", "q_then_so", "q"]
    assert build_rules(read_text(text, "s.yml"), lists=Lists(), known_kinds=KINDS).faults == ()


def test_omissions_are_reported() -> None:
    """The export reports that it omits `when`, `mode`, expiry and our own correlations.

    Rules that are off or expired are omitted.
    """
    when = DELETION + "when: {outside: [business-hours]}\nmode: shadow\n"
    off = DELETION.replace("name: d", "name: o").replace("title: T", "title: O") + "mode: off\n"
    expired = FILTER.replace("name: f", "name: g").replace("2026-12-31", "2026-01-01")
    text, lost = exported(load(when, TERM, off, FILTER, expired))
    assert [line.partition(":")[0] for line in lost] == ["d", "d", "n", "o", "f", "g"]
    (rule,) = SigmaCollection.from_yaml(text).rules
    assert rule.name == "d"


def test_rules_that_depend_on_an_omitted_rule_are_omitted() -> None:
    """No exported correlation names a rule that is not exported, even indirectly."""
    off = DELETION + "mode: off\n"
    over = "title: V\nname: v\ncorrelation: {type: event_count, rules: [d], timespan: 5m, condition: {gte: 2}}\n"
    above = "title: W\nname: w\ncorrelation: {type: temporal, rules: [v, b], timespan: 5m}\n"
    text, lost = exported(load(above, over, off, BURST.replace("title: T", "title: B"), FILTER))
    SigmaCollection.from_yaml(text).resolve_rule_references()
    assert lost == [
        "w: is not exported because it depends on 'v', which is not",
        "v: is not exported because it depends on 'd', which is not",
        "d: is off and is not exported",
        "f: is not exported because its rules are not",
    ]


def test_absence_without_groups_is_not_sigma() -> None:
    """Rules about absence are not exported, because a count below one has another meaning in other tools."""
    absence = BURST.replace("group-by: [userName], ", "").replace("gte: 5", "lt: 1")
    assert exported(load(absence))[1] == ["b: Sigma has no absence: the rule is not exported"]


def test_filter_of_a_short_correlation_names_its_parts() -> None:
    """An exported filter names the parts of a short correlation."""
    text, _ = exported(load(DELETION, BURST, SEQUENCE, FILTER.replace("[d]", "[d, b, q]")))
    SigmaCollection.from_yaml(text)
    *_, found = yaml.safe_load_all(text)
    assert found["filter"]["rules"] == ["d", "b_events", "q_first", "q_then_so"]


def test_parts_have_unique_names_and_ids() -> None:
    """A part has a name that no other rule has, and the same id in every export."""
    text, _ = exported(load(DELETION.replace("name: d", "name: b_events"), BURST))
    assert text == exported(load(DELETION.replace("name: d", "name: b_events"), BURST))[0]
    documents = list(yaml.safe_load_all(text))
    assert [document["name"] for document in documents] == ["b_events", "b_events_", "b"]
    assert documents[2]["correlation"]["rules"] == ["b_events_"]
    assert documents[1]["id"]


def test_names_that_sigma_cannot_parse_are_replaced() -> None:
    """Names with dashes, dots or a leading digit are replaced wherever they occur. Fields with equal names are not."""
    one = DELETION.replace("name: d", "name: d-1.x")
    two = DELETION.replace("name: d", "name: '9'")
    over = (
        "title: V\nname: v-w\ncorrelation: {type: temporal, rules: [d-1.x, '9'], timespan: 5m, group-by: [who], "
        "aliases: {who: {d-1.x: userName, '9': raw.x}}, condition: (9) and not d-1.x}\n"
    )
    inner = HEAD + (
        "name: 1w\ndetection: {cluster: {actionKind: BACKUP}, 1st: {actionKind: CREATE_CLUSTER}}\n"
        "correlation: {type: temporal, rules: [cluster, 1st], group-by: [cluster], timespan: 5m, condition: cluster and 1st}\n"
    )
    text, lost = exported(load(one, two, over, inner))
    assert lost == []
    SigmaCollection.from_yaml(text).resolve_rule_references()
    exported_rules = {document["name"]: document.get("correlation") for document in yaml.safe_load_all(text)}
    assert list(exported_rules) == ["d_1_x", "_9", "v_w", "_1w_cluster", "_1w_1st", "_1w"]
    assert exported_rules["v_w"]["aliases"] == {"who": {"d_1_x": "userName", "_9": "raw.x"}}
    assert exported_rules["_1w"]["group-by"] == ["cluster"]
    assert build_rules(read_text(text, "s.yml"), lists=Lists(), known_kinds=KINDS).faults == ()


def test_one_level_is_exported() -> None:
    """One level is exported, and the omission of the others is reported."""
    text, lost = exported(
        load(DELETION + "alert: {level: critical}\n", BURST + "alert: {level: {low: {userName: eve}}}\n")
    )
    assert [document["level"] for document in yaml.safe_load_all(text)] == ["critical", "informational", "high"]
    assert lost == ["b: Sigma has one level for a rule: it will always be high"]


def test_x_keys_are_omitted() -> None:
    """`x-…` keys of a correlation are omitted, because pySigma refuses them."""
    text, _ = exported(load(BURST.replace("gte: 5", "gte: 5, x-why: five").replace("timespan", "x-mine: 1, timespan")))
    SigmaCollection.from_yaml(text)
    assert "x-" not in text


def test_a_selection_can_begin_with_x() -> None:
    """In a detection, `x-…` names a selection."""
    text, _ = exported(load(HEAD + "detection: {x-s: {actionKind: BACKUP}, condition: x-s}\n"))
    assert build_rules(read_text(text, "s.yml"), lists=Lists(), known_kinds=KINDS).faults == ()


def test_filters_are_exported() -> None:
    """An exported filter document hides the same records."""
    text, _ = exported(load(DELETION, FILTER))
    again = build_rules(
        read_text(text.replace("filter:", "owner: a\nreason: b\nexpires: 2027-01-01\nfilter:"), "s.yml"),
        lists=Lists(),
        known_kinds=KINDS,
    )
    assert again.faults == ()
    assert Engine(again.rules).evaluate([record()]) == []


def test_coverage_lists_the_rules_of_each_kind_and_technique() -> None:
    """Each kind and technique has the rules that detect it, including correlations. Rules that are off detect nothing."""
    off = DELETION.replace("name: d", "name: o").replace("title: T", "title: O") + "mode: off\n"
    anything = HEAD + "name: any\ndetection: {s: {userName: eve}, condition: s}\n"
    rules = load(DELETION, BURST, off, anything).rules
    rows = {row.kind: row.rules for row in cover_kinds(rules, dict.fromkeys(KINDS, "area"))}
    assert (rows["DELETE_CLUSTER"], rows["BACKUP"], rows["CREATE_CLUSTER"]) == (("d",), ("b",), ())
    techniques = {row.technique: row.rules for row in cover_techniques(rules)}
    assert (techniques["T1485"], techniques["T1490"]) == (("d",), ())
    other = load(DELETION.replace("t1485", "t9999.001")).rules
    assert cover_techniques(other)[-1].technique == "T9999.001"


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
