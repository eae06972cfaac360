"""The commands for authors of rules: check, test, explain, schema."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.integration.cli.conftest import Desk, call

SHIPPED = Path(__file__).parents[3] / "rules"
GOOD = """\
title: Backup deleted
name: backup_deleted
level: high
logsource: {product: instaclustr, service: user_actions}
detection:
  deletion: {actionKind: DELETE_BACKUP_SCHEDULE}
  robot: {userName: svc-backup}
  condition: deletion and not robot
tests:
  - name: a person
    event: {actionKind: DELETE_BACKUP_SCHEDULE, userName: eve}
    expect: alert
  - name: the robot
    event: {actionKind: DELETE_BACKUP_SCHEDULE, userName: svc-backup}
    expect: nothing
"""


@pytest.fixture
def rule(tmp_path: Path) -> Path:
    """Return a rule file with two tests."""
    path = tmp_path / "good.yml"
    path.write_text(GOOD)
    return path


def test_shipped_rules_need_no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder without a configuration, the shipped rules have no faults, and one of them passes its tests."""
    monkeypatch.chdir(tmp_path)
    tested = call("rules", "test", str(SHIPPED / "api_key_revoked_off_hours.yml"))
    assert (tested.status, tested.err) == (0, "")
    assert ", 0 failed" in tested.out
    checked = call("rules", "check", str(SHIPPED))
    assert checked.status == 0
    (note,) = checked.err.splitlines()
    assert "the list 'production-clusters' is empty: no groups are expected" in note


def test_a_failing_test_is_explained(rule: Path) -> None:
    """A failing test exits with 1 and prints the expected and the actual result, and each selection with the values."""
    rule.write_text(GOOD.replace("userName: svc-backup}\n    expect", "userName: svc-bakcup}\n    expect"))
    tested = call("rules", "test", str(rule))
    assert tested.status == 1
    assert "FAILED backup_deleted: the robot" in tested.out
    assert "expected nothing, got 1 alert" in tested.out
    assert "- userName: svc-backup   <- svc-bakcup" in tested.out
    (document,) = [item for item in call("rules", "test", str(rule), "-o", "json").json if not item["passed"]]
    assert (document["rule"]["name"], document["test"], document["line"]) == ("backup_deleted", "the robot", 13)
    assert document["records"][0]["explanation"]["holds"] is True


def test_text_of_a_rule_file_is_escaped(rule: Path) -> None:
    """Escape sequences in names of rules and fields are escaped, in faults and in results."""
    text = GOOD.replace("name: backup_deleted", 'name: "backup\\e[31m"')
    rule.write_text(text.replace("expect: nothing", "expect: alert"))
    tested = call("rules", "test", str(rule), is_terminal=True)
    assert "FAILED backup\\x1b[31m: the robot" in tested.out
    assert "  on 2026-03-04T12:00:00.000Z DELETE_BACKUP_SCHEDULE:" in tested.out
    rule.write_text(GOOD.replace("{userName: svc-backup}\n  c", '{"user\\e[31m": svc-backup}\n  c'))
    assert "unknown field 'user\\x1b[31m'" in call("rules", "check", str(rule)).err


@pytest.mark.parametrize(
    "arguments",
    [("explain", "none.json", "x"), ("explain", "-", "none.yml"), ("backtest", "none.yml"), ("backtest", "no/ne")],
)
def test_missing_file_is_the_reported_error(arguments: tuple[str, ...], rule: Path) -> None:
    """The error names the missing file and not the configuration, which the command does not need."""
    command, *names = (str(rule) if name == "x" else name for name in arguments)
    called = call("-c", "none.yaml", "rules", command, *names, stdin="{}")
    assert called.status == 2
    assert "there is no " in called.err
    assert "configuration" not in called.err
    assert "none.yaml" not in called.err


def test_junit_report_is_complete(rule: Path, tmp_path: Path) -> None:
    """The JUnit output contains every test, its failure, and the faults."""
    rule.write_text(GOOD.replace("expect: nothing", "expect: alert") + "---\ntitle: broken\n")
    report = tmp_path / "junit.xml"
    assert call("rules", "test", str(rule), "--junit", str(report)).status == 1
    root = ElementTree.parse(report).getroot()
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("5", "2", "2")
    assert "expected an alert, got none" in str(next(root.iter("failure")).get("message"))


def test_rules_need_tests(rule: Path) -> None:
    """A rule without one test of each type fails, unless that is waived."""
    rule.write_text(GOOD.partition("tests:")[0])
    lacking = call("rules", "test", str(rule))
    assert lacking.status == 1
    assert "needs at least 1 test with expect: alert and expect: nothing" in lacking.out
    assert call("rules", "test", str(rule), "--min-tests", "0").status == 0


def test_lists_in_tests_replace_configured_lists(rule: Path) -> None:
    """A rule that uses a list can be tested without the operator's lists."""
    text = GOOD.replace("{userName: svc-backup}\n  condition", "{userName|expand: '%robots%'}\n  condition")
    rule.write_text(text.replace("  - name: the robot\n", "  - name: the robot\n    lists: {robots: [svc-backup]}\n"))
    assert call("rules", "test", str(rule)).status == 0
    assert call("rules", "check", str(rule)).status == 1


def test_check_prints_notes(rule: Path, desk: Desk) -> None:
    """The notes of lint are printed with their location and do not fail the check."""
    rule.write_text(GOOD.replace("  condition:", "  other: {source: a}\n  condition:", 1).replace("tests:", "x-tests:"))
    checked = call("rules", "check", str(rule))
    assert checked.status == 0
    remedy = "name it in the condition, or remove it"
    assert f"{rule}:8:3: the selection 'other' is not used: {remedy} (note)" in checked.err
    (desk.folder / "rules" / "more.yml").write_text(rule.read_text())
    whole = desk.call("check")
    assert whole.status == 0
    assert "the selection 'other' is not used" in whole.err


def test_filters_and_modes_are_listed(desk: Desk) -> None:
    """`rules list` and `status` show filters and the rules that are off or in shadow mode."""
    shadow = GOOD.partition("tests:")[0] + "mode: shadow\n"
    off = shadow.replace("shadow", "off").replace("backup_deleted", "other").replace("title: B", "title: O")
    hidden = (
        "title: F\nname: f\nlogsource: {product: instaclustr}\nowner: dba\nreason: drills\nexpires: 2099-01-01\n"
        "filter: {rules: [cluster_deleted], s: {userName: driller}, condition: not s}\n"
    )
    (desk.folder / "rules" / "more.yml").write_text("---\n".join([shadow, off, hidden]))
    listed = desk.call("rules", "list")
    assert "1 rule in mode shadow: evaluated and stored, but not delivered: backup_deleted" in listed.err
    assert "1 rule in mode off: not evaluated: other" in listed.err
    modes = {rule["name"]: (rule["mode"], rule["filters"]) for rule in desk.call("rules", "list", "-o", "json").json}
    assert modes["cluster_deleted"] == ("live", ["f"])
    assert (modes["backup_deleted"][0], modes["other"][0]) == ("shadow", "off")
    assert desk.call("status", "-o", "json").json["rules"] == {"live": 1, "shadow": 1, "off": 1, "broken": 0}


def test_shadow_alert_is_recorded_and_not_delivered(desk: Desk) -> None:
    """The alert is stored, and it has no delivery."""
    rule = desk.folder / "rules" / "cluster_deleted.yml"
    rule.write_text(rule.read_text() + "mode: shadow\n")
    desk.act("DELETE_CLUSTER", 5)
    assert desk.call("run", "--once").status == 0
    (alert,) = desk.call("alerts", "list", "--status", "any", "-o", "json").json
    assert alert["labels"] == {"mode": "shadow"}
    assert desk.call("deliveries", "list", "-o", "json").json == []
    assert desk.webhook.requests == []


def test_explain_a_stored_record(desk: Desk) -> None:
    """A record key and the name of a rule print the tree; a JSON file or standard input works too."""
    desk.act("DELETE_CLUSTER", 5, user="eve")
    desk.call("run", "--once")
    (record,) = desk.call("records", "list", "-o", "json").json
    explained = desk.call("rules", "explain", record["key"], "cluster_deleted")
    assert explained.status == 0
    assert "+ actionKind: DELETE_CLUSTER   <- DELETE_CLUSTER" in explained.out
    file = desk.folder / "record.json"
    file.write_text(json.dumps(record))
    for arguments, stdin in ((str(file), ""), ("-", json.dumps(record["raw"]))):
        document = desk.call("rules", "explain", arguments, "cluster_deleted", "-o", "json", stdin=stdin).json
        assert document["holds"] is True
    assert "did you mean 'cluster_deleted'?" in desk.call("rules", "explain", record["key"], "cluster_delted").err
    assert desk.call("rules", "explain", "nonsense", "cluster_deleted").status == 1
    assert desk.call("rules", "explain", "-", "cluster_deleted", stdin="[1]").status == 1


def test_rules_of_files_are_listed(desk: Desk, tmp_path: Path) -> None:
    """`rules list FILE` lists the rules of the file, with or without a configuration; a broken one exits with 1."""
    file = tmp_path / "mine.yml"
    file.write_text(GOOD)
    for config in (str(desk.folder / "actionwatch.yaml"), "none.yaml"):
        listed = call("-c", config, "rules", "list", str(file), "-o", "json")
        assert ([rule["name"] for rule in listed.json], listed.status) == (["backup_deleted"], 0)
    file.write_text(GOOD.replace("title:", "titel:"))
    assert call("-c", "none.yaml", "rules", "list", str(file)).status == 1
    assert call("-c", "none.yaml", "rules", "list").status == 2


def test_schemas() -> None:
    """The schemas of rules and of the configuration are JSON."""
    assert call("rules", "schema").json["properties"]["detection"]
    assert call("rules", "schema", "--config").json["properties"]["sources"]


def test_unknown_interval_breaks_only_its_rule(desk: Desk) -> None:
    """The rule with the unknown interval has a fault with its location; the others run."""
    (desk.folder / "rules" / "when.yml").write_text(GOOD.partition("tests:")[0] + "when: {outside: [business-hours]}\n")
    checked = desk.call("rules", "check")
    assert checked.status == 1
    assert "when.yml:9:18: no time interval is named 'business-hours': define it under 'time_intervals'" in checked.err
    desk.more = "time_intervals: [{name: business-hours, time_intervals: [{weekdays: ['monday:friday']}]}]\n"
    desk.write()
    assert desk.call("rules", "check").status == 0


BURST = """\
title: Burst
name: burst
logsource: {product: instaclustr, service: user_actions}
detection: {s: {actionKind: CHANGE_CLUSTER_FIREWALL_RULES}, condition: s}
correlation: {type: event_count, group-by: [userName], timespan: 1h, condition: {gte: 3}}
"""


def test_explain_shows_what_a_correlation_counts(desk: Desk) -> None:
    """The output contains the count before and with the record, and the alert."""
    (desk.folder / "rules" / "burst.yml").write_text(BURST)
    for minutes in (30, 20, 10):
        desk.act("CHANGE_CLUSTER_FIREWALL_RULES", minutes, user="eve")
    desk.act("CHANGE_CLUSTER_FIREWALL_RULES", 5, user="bob")
    desk.call("run", "--once")
    (alert,) = desk.call("alerts", "list", "-o", "json").json
    exported = desk.call("records", "export").jsonl
    records = sorted(exported, key=lambda each: each["timestamp"])
    explained = desk.call("rules", "explain", records[2]["key"], "burst").out
    assert "? before it: 2 records" in explained
    assert "+ with it: 3 records" in explained
    assert f"+ opens the alert {alert['id']}" in explained
    assert "- no alert" in desk.call("rules", "explain", records[1]["key"], "burst").out
    story = desk.call("explain", alert["id"], "-o", "json").json["story"]
    counted = [line["what"] for line in story if line["stage"] == "counted"]
    assert counted[-1] == f"group userName=eve: 2 records before it, 3 records with it; opens the alert {alert['id']}"
    assert len(counted) == 3
