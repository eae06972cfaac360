"""Tests in rule files: how they are read and run, and what a failed test reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from actionwatch.instaclustr.kinds import KINDS
from actionwatch.rules.case_runner import START, CaseResult, CaseRunner, make_records, missing_tests
from actionwatch.rules.lists import Lists
from actionwatch.rules.load import Rules, build_rules
from actionwatch.rules.model import Rule
from actionwatch.service.simulation import simulate
from actionwatch.text.yaml_document import read_text
from tests.cases import in_one_test

HEAD = "title: T\nname: t\nlevel: high\nlogsource: {product: instaclustr}\n"
RULE = HEAD + "detection:\n  s: {actionKind: DELETE_CLUSTER, userName: 'e*'}\n  condition: s\n"
GROUPED = (
    RULE + "alert: {title: '{{ userName }} did it', group_by: [userName, cluster], realert: 10m, labels: {team: dba}}\n"
)
BURST = (
    HEAD + "detection:\n  s: {actionKind: CHANGE_CLUSTER_FIREWALL_RULES}\n  condition: s\n"
    "correlation: {type: event_count, group-by: [userName], timespan: 10m, condition: {gte: 5}}\n"
)
SILENCE = (
    HEAD + "detection:\n  s: {actionKind: BACKUP}\n  condition: s\n"
    "correlation: {type: event_count, timespan: 26h, condition: {lt: 1}, expect-groups: {clusterId: {list: prod}},\n"
    "              group-by: [clusterId]}\n"
)
ALIASED = (
    HEAD + "detection:\n  s: {actionKind: DELETE_CLUSTER}\n  t: {actionKind: CREATE_CLUSTER}\n"
    "correlation: {type: event_count, rules: [s, t], aliases: {who: {s: userName, t: userName}}, group-by: [who],\n"
    "              timespan: 10m, condition: {gte: 1}}\n"
)
HIT = "{actionKind: DELETE_CLUSTER, userName: eve, cluster.name: prod}"


def load(text: str, lists: Mapping[str, tuple[str, ...]] | None = None) -> Rules:
    """Build rules."""
    return build_rules(read_text(text, "r.yml"), lists=Lists(lists or {}), known_kinds=[*KINDS])


def results(rule: str, *tests: str, lists: Mapping[str, tuple[str, ...]] | None = None) -> list[CaseResult]:
    """Run the tests of a rule."""
    text = rule + "tests:\n" + "".join(f"  - {test}\n" for test in tests)
    loaded = load(text, lists)
    assert loaded.faults == ()

    def rebuild(values: Mapping[str, tuple[str, ...]]) -> Sequence[Rule]:
        return load(text, {**(lists or {}), **values}).rules

    runner = CaseRunner(loaded.rules, simulate, KINDS, Lists(lists or {}), rebuild)
    return [result for each in loaded.rules for result in runner.run(each)]


@in_one_test(
    ("rule", "test"),
    [
        (RULE, f"{{event: {HIT}, expect: alert}}"),
        (RULE, "{event: {actionKind: DELETE_CLUSTER, userName: bob}, expect: nothing}"),
        (RULE, "{event: {actionKind: DELETE_CLUSTER, userName: null}, expect: {alerts: 0}}"),
        (RULE, f"{{events: [{HIT}, {HIT}], expect: {{alerts: 2, events: 1, level: high, title: T}}}}"),
        (GROUPED, f"{{events: [{HIT}, {HIT}], "
         f"expect: {{alerts: 1, events: 2, group: {{userName: eve, cluster: prod}}}}}}"),
        (GROUPED, f"{{event: {HIT}, expect: {{title: eve did it, labels: {{team: dba}}, first_at: 0m, last_at: 0}}}}"),
        (GROUPED, "{events: [{at: -1h, actionKind: DELETE_CLUSTER, userName: eve}], "
         "expect: {first_at: -1h, group: {cluster: null}}}"),
        (GROUPED, "{events: [{repeat: 3, every: 6m, actionKind: DELETE_CLUSTER, userName: eve}], "
         "expect: {alerts: 2, events: 2}}"),
        (
            GROUPED,
            "{events: [{at: '2026-03-07T10:00:00Z', actionKind: DELETE_CLUSTER, userName: eve}, {at: 1m, actionKind: "
            "DELETE_CLUSTER, userName: eve}], expect: {alerts: 1, first_at: '2026-03-07T10:00:00Z', last_at: 1m}}",
        ),
        (RULE, "{event: {timestamp: '2026-03-07T10:00:00Z', actionKind: DELETE_CLUSTER, userName: eve}, "
         "expect: {first_at: 0m}}"),
        (RULE, "{events: [{at: 0m, seen_at: 45m, actionKind: DELETE_CLUSTER, userName: eve}], expect: {late: true}}"),
        (RULE, "{events: [{at: 0m, seen_at: 45m, actionKind: DELETE_CLUSTER, userName: eve}], expect: {late: 45m}}"),
        (RULE, "{events: [{at: 0m, seen_at: 10m, actionKind: DELETE_CLUSTER, userName: eve}], expect: {late: false}}"),
        (RULE, f"{{events: [{HIT}], until: -1m, expect: nothing}}"),
        (BURST, "{events: [{repeat: 5, every: 90s, actionKind: CHANGE_CLUSTER_FIREWALL_RULES, userName: eve}], "
         "expect: {alerts: 1}}"),
        (BURST, "{events: [{repeat: 4, every: 90s, actionKind: CHANGE_CLUSTER_FIREWALL_RULES, userName: eve}], "
         "expect: nothing}"),
        (
            BURST,
            "{events: [{repeat: 4, every: 1m, actionKind: CHANGE_CLUSTER_FIREWALL_RULES, userName: eve}, "
            "{at: 150s, seen_at: 45m, "
            "actionKind: CHANGE_CLUSTER_FIREWALL_RULES, userName: eve}], expect: {alerts: 1, late: true, events: 5}}",
        ),
        (SILENCE, "{lists: {prod: [c]}, events: [{actionKind: BACKUP, clusterId: c}], until: 30h, "
         "expect: {alerts: 1, first_at: 26h}}"),
        (SILENCE, "{lists: {prod: [c]}, events: [{actionKind: BACKUP, clusterId: c}], until: 30h, verified_until: 20h, "
         "expect: nothing}"),
        (
            SILENCE,
            "{lists: {prod: [c]}, events: [{actionKind: BACKUP, clusterId: c}, {at: 30h, actionKind: BACKUP, clusterId: c}], "
            "expect: {alerts: 1, resolved_at: 30h, group: {clusterId: c}}}",
        ),
        (SILENCE, "{lists: {prod: [c]}, events: [{actionKind: BACKUP, clusterId: c}], until: 30h, "
         "expect: {alerts: 1, resolved_at: null}}"),
        (ALIASED, "{event: {actionKind: DELETE_CLUSTER, userName: eve}, expect: {alerts: 1, group: {who: eve}}}"),
    ],
)  # fmt: skip
def test_tests_that_pass(rule: str, test: str) -> None:
    """These tests pass: by count, group, texts, level, lateness and time, for plain rules and correlations."""
    (result,) = results(rule, test, lists={"prod": ("other",)})
    assert result.problems == ()


@in_one_test(
    ("test", "problem"),
    [
        ("{event: {actionKind: BACKUP}, expect: alert}", "expected an alert, got none"),
        (
            f"{{event: {HIT}, expect: nothing}}",
            "expected nothing, got 1 alert: eve did it (1 at 2026-03-04T12:00:00.000Z)",
        ),
        (f"{{event: {HIT}, expect: {{alerts: 2}}}}", "expected 2 alerts, got 1 alert: eve did it"),
        (f"{{event: {HIT}, expect: {{events: 2}}}}", "the alert: expected events: 2, got 1"),
        (f"{{event: {HIT}, expect: {{group: {{userName: bob}}}}}}", "the alert: expected group userName: bob, got eve"),
        (
            f"{{event: {HIT}, expect: {{group: {{account: x}}}}}}",
            "the alert: expected group account: x, got no such field",
        ),
        (f"{{event: {HIT}, expect: {{level: low}}}}", "the alert: expected level: low, got high"),
        (f"{{event: {HIT}, expect: {{title: x}}}}", "the alert: expected title: 'x', got 'eve did it'"),
        (f"{{event: {HIT}, expect: {{late: true}}}}", "the alert: expected late: true, got not late"),
        (f"{{event: {HIT}, expect: {{labels: {{team: x}}}}}}", "the alert: expected label team: x, got dba"),
        (
            f"{{event: {HIT}, expect: {{first_at: 5m}}}}",
            "the alert: expected first_at: 2026-03-04T12:05:00.000Z (start + 5m)",
        ),
        (f"{{event: {HIT}, expect: {{resolved_at: 5m}}}}", "the alert: expected resolved_at: 2026-03-04T12:05:00.000Z"),
        (
            f"{{events: [{HIT}, {{actionKind: DELETE_CLUSTER, userName: eva}}], expect: {{group: {{userName: bob}}}}}}",
            "none of the 2 alerts is as expected: the closest: expected group userName: bob",
        ),
    ],
)
def test_failed_test_reports_expected_and_actual_result(test: str, problem: str) -> None:
    """A failed test reports the expected and the actual result, and for each selection the value of the record."""
    (result,) = results(GROUPED, test)
    assert len(result.problems) == 1
    assert result.problems[0].startswith(problem)
    lines = list(result.explained[0][1].lines())
    assert any("actionKind: DELETE_CLUSTER   <- " in line for line in lines)


def test_all_keys_must_hold_for_one_alert() -> None:
    """All expectations must hold for the same alert."""
    events = "{actionKind: DELETE_CLUSTER, userName: eve}, {repeat: 2, actionKind: DELETE_CLUSTER, userName: eva}"
    fine, wrong = results(
        GROUPED,
        f"{{events: [{events}], expect: {{alerts: 2, events: 2, group: {{userName: eva}}}}}}",
        f"{{events: [{events}], expect: {{alerts: 2, events: 2, group: {{userName: eve}}}}}}",
    )
    assert not fine.problems
    assert wrong.problems


@in_one_test(
    ("test", "fault"),
    [
        ("5", "r.yml:10:5: a test must be a mapping"),
        ("{expect: alert}", "r.yml:10:5: a test needs an 'event' or 'events'"),
        ("{event: {}, events: [], expect: alert}", "r.yml:10:5: a test has 'event' or 'events', not both"),
        ("{event: {}}", "r.yml:10:5: a test needs 'expect'"),
        ("{event: {}, expect: alrt}", "r.yml:10:17: unknown expectation 'alrt'"),
        ("{event: {}, expect: {alert: 1}}", "r.yml:10:26: unknown key 'alert': did you mean 'alerts'?"),
        ("{evnt: {}, expect: alert}", "r.yml:10:6: unknown key 'evnt': did you mean 'event'?"),
        ("{event: {useName: eve}, expect: alert}", "r.yml:10:14: unknown field 'useName': did you mean 'userName'?"),
        ("{event: {repaet: 5}, expect: alert}", "r.yml:10:14: unknown field 'repaet': did you mean 'repeat'?"),
        ("{event: {at: soon}, expect: alert}", "r.yml:10:14: 'at' is not a time"),
        ("{event: {repeat: 0}, expect: alert}", "r.yml:10:14: 'repeat' must be a number from 1 to"),
        ("{event: {at: '9999-12-31T23:59:59Z'}, expect: alert}", "r.yml:10:14: 'at' is not a time"),
        (
            "{event: {repeat: 9999, every: 100d}, expect: alert}",
            "r.yml:10:28: the last of these records is more than",
        ),
        ("{event: {every: 5}, expect: alert}", "r.yml:10:14: not a duration"),
        ("{event: {userName: [a]}, expect: alert}", "r.yml:10:14: 'userName' must be a string"),
        ("{events: [{repeat: 20000}, {}], expect: alert}", "r.yml:10:5: the test has more than 20000 records"),
        ("{event: {}, expect: {alerts: -1}}", "r.yml:10:26: 'alerts' must be a whole number, 0 or more"),
        ("{event: {}, expect: {level: hi}}", "r.yml:10:26: unknown level 'hi'"),
        ("{event: {}, expect: {group: {useName: a}}}", "r.yml:10:34: unknown field 'useName'"),
        ("{event: {}, expect: {late: soon}}", "r.yml:10:26: 'late' must be true, false or a duration"),
        ("{event: {}, expect: alert, lists: {a: b}}", "r.yml:10:40: the list 'a' must contain strings"),
        ("{event: {}, expect: alert, history: -1d}", "r.yml:10:32: not a duration"),
        ("{event: {}, expect: alert, name: 5}", "r.yml:10:32: 'name' must be a string"),
    ],
)
def test_fault_in_a_test_has_a_location(test: str, fault: str) -> None:
    """A fault in a test is reported with its location."""
    loaded = load(RULE + f"x-a: 1\ntests:\n  - {test}\n")
    faults = [str(each) for each in loaded.faults]
    assert [each for each in faults if each.startswith(fault)], faults


def test_a_misspelt_kind_in_a_test_is_noted() -> None:
    """An unknown kind in a test is a note, because it is probably misspelt."""
    loaded = load(RULE + "tests: [{event: {actionKind: DELETE_CLUSTR}, expect: nothing}]\n")
    assert [note.remedy for note in loaded.notes] == ["did you mean 'DELETE_CLUSTER'?"]


def test_records_are_as_the_catalogue_says() -> None:
    """Operation, scope and severity come from the catalogue, a test can set every field, and each record has its own key."""
    fields: dict[str, Any] = {
        "account": "Payments", "cluster.id": "c-1", "cluster.name": "prod", "organisation": "o", "raw.a.b": 5, "source": "s",
        "domainType": "D", "description": "d", "raw.a.c": [1],
    }  # fmt: skip
    text = (
        RULE + f"tests: [{{events: [{{actionKind: delete_cluster, repeat: 2, every: 5s}}, {fields}], expect: alert}}]\n"
    )
    case = load(text).rules[0].tests[0]
    first, second, third = make_records(case, KINDS)
    assert (first.operation, first.scope, first.severity) == ("DELETE", "account", "critical")
    assert first.key != second.key
    assert second.occurred_at - first.occurred_at == timedelta(seconds=5)
    assert first.occurred_at == START
    assert (third.account.name, third.cluster.id, third.cluster.name) == ("Payments", "c-1", "prod")
    assert third.raw == '{"a": {"b": 5, "c": [1]}}'
    assert (third.source, third.domain_type, third.description) == ("s", "D", "d")


def test_rule_without_enough_tests_is_reported() -> None:
    """A rule needs one test of each kind, or as many as required."""
    (rule,) = load(RULE + f"tests: [{{event: {HIT}, expect: alert}}]\n").rules
    assert missing_tests(rule, 0) == ""
    assert missing_tests(rule, 1) == "needs at least 1 test with expect: nothing"
    assert missing_tests(rule, 2) == "needs at least 2 test with expect: alert and expect: nothing"


def test_rules_that_are_off_or_in_shadow_mode_are_tested() -> None:
    """Rules that are off or in shadow mode are tested as if they were live."""
    for mode in ("off", "shadow"):
        (result,) = results(RULE + f"mode: {mode}\n", f"{{event: {HIT}, expect: alert}}")
        assert not result.problems


def test_a_start_with_a_zone() -> None:
    """The durations of a test count from its absolute time, with its zone."""
    text = RULE + "tests: [{events: [{at: '2026-03-07T10:00:00+11:00'}, {at: 1h}], expect: alert}]\n"
    records = make_records(load(text).rules[0].tests[0], KINDS)
    assert [record.occurred_at for record in records] == [
        datetime(2026, 3, 6, 23, tzinfo=UTC),
        datetime(2026, 3, 7, 0, tzinfo=UTC),
    ]
