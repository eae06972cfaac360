"""The meaning of correlations, sentence by sentence, with the code of the service on a virtual clock."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from actionwatch.base.model import Level, Record
from actionwatch.rules.lists import Lists
from actionwatch.rules.load import build_rules
from actionwatch.text.timeintervals import Period, TimeInterval
from actionwatch.text.yaml_document import read_text
from tests.cases import in_one_test
from tests.unit.rules.builders import KINDS, rules_of
from tests.unit.rules.correlation.kit import HEAD, loaded, minutes, record_at, run, shapes

BACKUP = "detection: {s: {actionKind: BACKUP}, condition: s}\n"
BURST = "correlation: {type: event_count, group-by: [userName], timespan: 10m, condition: {gte: 3}}\n"
SELECTIONS = "detection: {a: {actionKind: BACKUP}, b: {actionKind: CREATE_CLUSTER}, c: {actionKind: DELETE_CLUSTER}}\n"
A, B, C = "BACKUP", "CREATE_CLUSTER", "DELETE_CLUSTER"
EXPECTED = (
    "correlation: {type: event_count, group-by: [cluster], timespan: 60m, condition: {lt: 1},"
    " expect-groups: {cluster: {list: prod}}}\n"
)

Times = Sequence[float]


def fired(text: str, records: Sequence[Record], lists: Any = None, **how: Any) -> list[tuple[int, Any, Any]]:
    """Run one document, and return each alert's count, first and last minute."""
    return shapes(run(loaded(HEAD + text, lists), records, **how))


@in_one_test(
    ("times", "expected"),
    [
        ([0, 5, 10], [(3, 0, 10)]),  # both ends belong to the window
        ([0, 5, 10.01], []),
        ([0, 1, 2, 12, 12.01], [(4, 0, 12)]),  # open for ten minutes from firing, the end included
        ([0, 1, 2, 12, 12.01, 13, 14], [(4, 0, 12), (3, 12.01, 14)]),  # then the window starts empty
        ([0, 1, 2, 11, 13, 20], [(4, 0, 11)]),  # what joined counts towards no second alert
        ([0, 0, 0], [(3, 0, 0)]),
    ],
)
def test_windows_slide_and_include_both_ends(times: Times, expected: list[Any]) -> None:
    """Windows slide and include both ends; the alert stays open for `realert`, then the next window starts empty."""
    records = [record_at(time, key=f"k{number}") for number, time in enumerate(times)]
    assert fired(BACKUP + BURST, records) == expected
    assert fired(BACKUP + BURST, records[::-1]) == expected


def test_groups_are_case_sensitive() -> None:
    """Groups differ by case; records without the field form a separate group."""
    users = ["eve", "Eve", None, "eve", "Eve", None, "eve", "Eve", None]
    records = [record_at(number, user=user, key=f"k{number}") for number, user in enumerate(users)]
    alerts = run(loaded(HEAD + BACKUP + BURST), records)
    assert [alert.group for alert in alerts] == [{"userName": "eve"}, {"userName": "Eve"}, {"userName": None}]
    grouped = BURST.replace("userName", "cluster")
    by_id = [record_at(n, cluster="c-1", cluster_name=f"n{n}") for n in range(3)]
    assert [alert.group for alert in run(loaded(HEAD + BACKUP + grouped), by_id)] == [{"cluster": "c-1"}]


@in_one_test(
    ("condition", "values", "is_met"),
    [
        ("gte: 3", ["x", "y", "x", "z"], True),
        ("gte: 3", ["x", "y", None, "x"], False),
        ("gte: 2", ["x", "X"], True),
        ("gt: 2, lte: 5", ["x", "y", "z"], True),
    ],
)
def test_distinct_values_are_counted(condition: str, values: list[Any], is_met: bool) -> None:
    """Missing values do not count."""
    text = f"correlation: {{type: value_count, timespan: 1h, condition: {{field: raw.v, {condition}}}}}\n"
    records = [record_at(n, raw=json.dumps({"v": value}), key=f"k{n}") for n, value in enumerate(values)]
    assert bool(fired(BACKUP + text, records)) is is_met


def test_several_fields_count_together() -> None:
    """A value_count over two fields counts combinations, without records that lack one of the fields."""
    text = "correlation: {type: value_count, timespan: 1h, condition: {field: [userName, source], gte: 2}}\n"
    records = [record_at(0), record_at(1), record_at(2, user=None), record_at(3, source="other")]
    assert fired(BACKUP + text, records) == [(3, 0, 3)]


@in_one_test(
    ("kind", "condition", "events", "expected"),
    [
        ("temporal_ordered", "", [(0, A), (1, B), (2, C)], [(3, 0, 2)]),
        ("temporal_ordered", "", [(0, B), (1, A), (2, C)], []),
        ("temporal_ordered", "", [(0, C), (0, B), (0, A)], [(3, 0, 0)]),  # ties count as ordered
        (
            "temporal_ordered",
            "",
            [(0, A), (4, A), (5, B), (6, C), (7, B)],
            [(5, 0, 7)],
        ),  # every hit from the first step on
        ("temporal_ordered", "", [(0, A), (4, A), (5, B), (11, C)], [(3, 4, 11)]),  # the first step that counts
        ("temporal", "", [(0, C), (5, A), (10, B)], [(3, 0, 10)]),
        ("temporal", "", [(0, C), (5, A), (10.1, B)], []),
        ("temporal", "{gte: 2}", [(0, C), (5, A)], [(2, 0, 5)]),
        ("temporal_ordered", "a and b and not c", [(0, A), (1, B)], [(2, 0, 1)]),
        (
            "temporal_ordered",
            "a and b and not c",
            [(0, A), (1, B), (10, C)],
            [],
        ),  # trailing: up to first step + timespan
        ("temporal_ordered", "a and b and not c", [(0, A), (1, B), (10.1, C)], [(2, 0, 1)]),
        ("temporal_ordered", "a and not b and c", [(0, A), (1, B), (2, C)], []),
        ("temporal_ordered", "a and not b and c", [(0, B), (1, A), (2, C), (3, B)], [(2, 1, 2)]),  # only between them
        ("temporal_ordered", "a and not b and c", [(0, A), (1, B), (2, A), (3, C)], [(2, 2, 3)]),
        ("temporal_ordered", "not a and b and c", [(0, A), (1, B), (2, C)], []),  # before the first step
        ("temporal_ordered", "not a and b and c", [(0, A), (9, B), (10.1, C)], [(2, 9, 10.1)]),
        ("temporal", "a and not b or c", [(0, B), (1, A), (5, C)], [(1, 5, 5)]),
        ("temporal", "a and (b or c)", [(0, C), (5, A)], [(2, 0, 5)]),
        ("temporal", "a and c and not b", [(0, A), (3, C), (9, B)], []),  # anywhere in the window
        ("temporal", "a and c and not b", [(0, B), (3, A), (4, C)], []),
        ("temporal", "a and c and not b", [(0, B), (11, A), (12, C)], [(2, 11, 12)]),
    ],
)
def test_sequences_respect_order_and_negations(
    kind: str, condition: str, events: list[tuple[float, str]], expected: list[Any]
) -> None:
    """Order, ties, and unwanted steps before, between, after or anywhere."""
    more = f", condition: {condition}" if condition else ""
    text = f"correlation: {{type: {kind}, rules: [a, b, c], group-by: [userName], timespan: 10m{more}}}\n"
    records = [record_at(minute, action, key=f"k{n}") for n, (minute, action) in enumerate(events)]
    assert fired(SELECTIONS + text, records) == expected


def test_record_that_meets_two_steps() -> None:
    """One record that meets both rules completes `temporal`; `temporal_ordered` needs a second record."""
    both = "detection: {a: {actionKind: BACKUP}, b: {userName: eve}}\n"
    text = both + "correlation: {type: temporal_ordered, rules: [a, b], timespan: 10m}\n"
    assert fired(text, [record_at(0)]) == []
    assert fired(text, [record_at(0, key="k"), record_at(0, key="l")]) == [(2, 0, 0)]
    assert fired(text.replace("temporal_ordered", "temporal"), [record_at(0)]) == [(1, 0, 0)]


@pytest.mark.parametrize(("verified", "count"), [(9.9, 0), (10, 1)])
def test_trailing_not_is_evaluated_on_verified_time(verified: float, count: int) -> None:
    """The alert opens when verified time reaches the first step + timespan; the clock does not matter."""
    text = SELECTIONS + "correlation: {type: temporal_ordered, rules: [a, b], timespan: 10m, condition: a and not b}\n"
    assert len(fired(text, [record_at(0, A), record_at(50, C)], verified=verified)) == count


@in_one_test(
    ("times", "verified", "expected"),
    [
        ([], 59.9, []),
        ([], 60, [(60, None)]),  # none yet: the start of verified time + timespan
        ([0], 60, [(60, None)]),
        ([0, 60], 119, []),  # the window includes both ends
        ([0, 61], 100, [(60, 61)]),
        ([0, 90, 200], 300, [(60, 90), (150, 200), (260, None)]),
        ([0, 90], 59, []),  # seen, but not proved
    ],
)
def test_absence_is_due_in_verified_time(times: Times, verified: float, expected: list[Any]) -> None:
    """An absence is due at the last match + timespan in verified time, has count 0, opens once, and ends with a match."""
    records = [record_at(time, cluster="c-1", cluster_name="prod-eu") for time in times]
    for name in ("c-1", "prod-eu"):  # an id or a name
        alerts = run(loaded(HEAD + BACKUP + EXPECTED, {"prod": (name,)}), records, verified=verified, begin=0)
        assert [(minutes(alert.first_at), minutes(alert.resolved_at)) for alert in alerts] == expected
        assert all(alert.count == 0 and alert.group == {"cluster": name} for alert in alerts)


def test_absence_of_several_fields_and_of_none() -> None:
    """Every combination is expected; without groups the whole stream is one group."""
    text = BACKUP + EXPECTED.replace("[cluster]", "[cluster, userName]").replace("prod}", "prod}, userName: [eve, bob]")
    alerts = run(loaded(HEAD + text, {"prod": ("c-1", "c-2")}), [record_at(30, cluster="c-1")], verified=80, begin=0)
    assert [tuple((alert.group or {}).values()) for alert in alerts].count(("c-1", "eve")) == 0
    assert len(alerts) == 3
    whole = "correlation: {type: event_count, timespan: 60m, condition: {lt: 1}}\n"
    assert [shape[1] for shape in fired(BACKUP + whole, [], verified=60, begin=0)] == [60]


@in_one_test(
    ("block", "events", "expected"),
    [
        ("", [(0, A, "eve"), (10, A, "bob")], [0, 10]),
        ("", [(0, A, "eve"), (60, A, "eve"), (120, A, "eve"), (181, A, "eve")], [0, 181]),  # both ends
        ("", [(0, A, None)], []),
        (", baseline: any", [(-5, B, "eve"), (0, A, "eve")], []),
        (", baseline: b", [(-5, B, "eve"), (0, A, "eve"), (50, A, "eve"), (56, A, "eve")], [56]),
        (", baseline: b", [(0, A, "eve"), (50, A, "eve"), (61, A, "eve")], [0, 61]),  # firing makes it known
    ],
)
def test_term_is_new_if_not_known_within_history(
    block: str, events: list[tuple[float, str, Any]], expected: list[float]
) -> None:
    """A term is new if neither the baseline nor an alert made it known within `history`."""
    detection = "detection: {a: {actionKind: BACKUP}, b: {actionKind: CREATE_CLUSTER}, condition: a}\n"
    text = detection + f"correlation: {{type: new_term, fields: [userName], history: 60m{block}}}\n"
    records = [record_at(minute, action, user=user) for minute, action, user in events]
    assert [shape[1] for shape in fired(text, records)] == expected
    assert all(shape[0] == 1 for shape in fired(text, records))


def test_when_does_not_limit_the_baseline() -> None:
    """`when` limits the hours in which a term can be new, not the hours in which a term becomes known."""
    detection = "detection: {a: {actionKind: BACKUP}, b: {actionKind: CREATE_CLUSTER}, condition: a}\n"
    text = (
        "when: {during: [noon]}\n"
        "correlation: {type: new_term, fields: [userName], history: 9h, baseline: b, cold-start: alert}\n"
    )
    noon = TimeInterval("noon", (Period(times=((12 * 60, 13 * 60),)),))
    document = read_text(HEAD + detection + text, "r.yml")
    rules = build_rules(document, lists=Lists(), known_kinds=KINDS, time_intervals={"noon": noon})
    assert rules.faults == ()
    known = record_at(-120, B, user="eve")
    assert shapes(run(rules.rules, [known, record_at(5, user="eve"), record_at(6, user="bob")])) == [(1, 6, 6)]
    assert run(rules.rules, [record_at(-120, user="eve")]) == []
    both = "correlation: {type: event_count, rules: [a, b], timespan: 9h, condition: {gte: 2}}\n"
    document = read_text(HEAD + SELECTIONS + "when: {during: [noon]}\n" + both, "r.yml")
    rules = build_rules(document, lists=Lists(), known_kinds=KINDS, time_intervals={"noon": noon})
    assert run(rules.rules, [known, record_at(5)]) == []  # of other types `when` holds for every rule they count
    assert shapes(run(rules.rules, [record_at(4, B), record_at(5)])) == [(2, 4, 5)]


def test_record_without_the_term_is_ignored() -> None:
    """A record without the term is ignored; a record that lacks only a field of `group-by` counts."""
    block = "{type: new_term, fields: [clusterId], group-by: [userName], history: 9h, cold-start: alert}"
    records = [record_at(0, user=None, cluster="x"), record_at(1, user="eve")]
    assert fired(f"{BACKUP}correlation: {block}\n", records) == [(1, 0, 0)]


def test_group_expected_by_name_is_found_under_the_field_of_its_id() -> None:
    """A cluster that is expected by its name under `clusterId` is found by its name."""
    block = EXPECTED.replace("[cluster]", "[clusterId]").replace("{cluster: {list: prod}}", "{clusterId: [prod-eu]}")
    records = [record_at(minute, cluster="c-1", cluster_name="prod-eu") for minute in (0, 50)]
    assert fired(BACKUP + block, records, verified=60, begin=0) == []


@pytest.mark.parametrize(("start", "begin", "count"), [("learn", -59, 0), ("learn", -60, 1), ("alert", -1, 1)])
def test_learning_rule_does_not_alert(start: str, begin: float, count: int) -> None:
    """`learn` opens no alert until the whole history is known; terms that occur until then are known."""
    text = BACKUP + f"correlation: {{type: new_term, fields: [userName], history: 60m, cold-start: {start}}}\n"
    assert len(fired(text, [record_at(0)], begin=begin)) == count
    assert len(fired(text, [record_at(0), record_at(2)], begin=begin)) == count


def test_spike_is_a_multiple_of_the_mean() -> None:
    """A spike is `factor` times the mean of the previous windows and at least `min`, once enough of the stream is known."""
    text = BACKUP + (
        "correlation: {type: spike, group-by: [userName], timespan: 10m, windows: 3, condition: {factor: 2, min: 4}}\n"
    )
    before = [record_at(time, key=f"b{time}") for time in (-35, -25, -24, -15, -14, -13)]
    four = [record_at(time, key=f"s{time}") for time in (0, 1, 2, 3)]
    assert fired(text, before + four) == [(4, 0, 3)]
    assert fired(text, [*before, record_at(-37.1, key="one more"), *four]) == [(4, 0, 3)]
    assert fired(text, [*before, record_at(-26, key="one more"), *four]) == []
    assert fired(text, [*before, record_at(-26, key="one more"), *four, record_at(4)]) == [(5, 0, 4)]
    assert fired(text, four) == [(4, 0, 3)]  # a new group's baseline is 0
    assert fired(text, before + four, begin=-35) == []


def test_late_record_counts_in_its_window() -> None:
    """A late record counts in the window that contains its time, and the alert shows the delay."""
    late = record_at(2.5, seen=45, late_by=timedelta(minutes=42))
    (alert,) = run(loaded(HEAD + BACKUP + BURST), [record_at(0), record_at(1), late])
    assert (alert.count, alert.late_by) == (3, timedelta(minutes=42))


def test_replaced_alert_joins_the_sent_one() -> None:
    """If a late record changes the first record of a sent alert, the new alert joins the sent one."""
    records = [record_at(5), record_at(6), record_at(7), record_at(1, seen=60)]
    (alert,) = run(loaded(HEAD + BACKUP + BURST), records)
    (plain,) = run(loaded(HEAD + BACKUP + BURST), records[:3])
    assert (alert.id, alert.count, minutes(alert.first_at)) == (plain.id, 4, 1)


def test_late_match_resolves_an_absence() -> None:
    """A reported absence ends if a match for it arrives late."""
    records = [record_at(0, cluster="c-1"), record_at(50, cluster="c-1", seen=100)]
    (alert, *rest) = run(loaded(HEAD + BACKUP + EXPECTED, {"prod": ("c-1",)}), records, verified=105, begin=0)
    assert (minutes(alert.first_at), minutes(alert.resolved_at), rest) == (60, 50, [])


def test_level_title_and_group() -> None:
    """An alert has the highest level of its records; texts use the newest record, the count and the group."""
    block = (
        "alert: {title: '{{ group.userName }} {{ count }} {{ cluster.id }}', level: {critical: {cluster.id: c-0}},"
        " group_by: [userName], labels: {team: dba}}\n"
    )
    (alert,) = run(loaded(HEAD + BACKUP + BURST + block), [record_at(n, cluster=f"c-{n}") for n in range(3)])
    assert (alert.level, alert.title, alert.labels) == (Level.CRITICAL, "eve 3 c-2", {"team": "dba"})


def test_alert_id_depends_on_rule_group_and_first_record() -> None:
    """The id is a function of rule, group and first record: more records or another batching do not change it."""
    one = run(loaded(HEAD + BACKUP + BURST), [record_at(n) for n in range(3)])
    more = run(loaded(HEAD + BACKUP + BURST), [record_at(n) for n in range(6)])
    other = run(loaded(HEAD.replace("name: t", "name: u") + BACKUP + BURST), [record_at(n) for n in range(3)])
    assert one[0].id == more[0].id != other[0].id


def test_filters_apply_to_counted_records() -> None:
    """A filter on a shorthand removes records from its count; `mode: off` disables the rule."""
    rule = {
        "title": "T", "name": "t", "logsource": {"product": "instaclustr"},
        "detection": {"s": {"actionKind": "BACKUP"}, "condition": "s"},
        "correlation": {"type": "event_count", "timespan": "10m", "condition": {"gte": 3}},
    }  # fmt: skip
    hidden = {
        "title": "F", "logsource": {"product": "instaclustr"}, "owner": "me", "reason": "robots", "expires": "2030-01-01",
        "filter": {"rules": ["t"], "s": {"userName": "bob"}, "condition": "not s"},
    }  # fmt: skip
    records = [record_at(n, user=user) for n, user in enumerate(["eve", "bob", "eve"])]
    assert len(run(rules_of(rule).rules, records)) == 1
    filtered = rules_of(rule, hidden)
    assert filtered.faults == ()
    assert run(filtered.rules, records) == []
    assert run(rules_of({**rule, "mode": "off"}).rules, records) == []
