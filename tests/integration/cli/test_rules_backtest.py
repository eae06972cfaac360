"""`rules backtest`: the same alerts from a file, the store and the upstream, and the output."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from actionwatch.cli.rules.spool import RUN, Spool
from tests.builders import make_record
from tests.integration.cli.conftest import Desk, call

BURST = """\
title: Burst
name: burst
level: high
logsource: {product: instaclustr, service: user_actions}
detection: {s: {actionKind: CHANGE_CLUSTER_FIREWALL_RULES}, condition: s}
correlation: {type: event_count, group-by: [userName], timespan: 1h, condition: {gte: 3}}
"""


@pytest.fixture
def busy(desk: Desk) -> Desk:
    """A desk whose upstream has two deletions, a burst, and other actions."""
    for minutes, kind, user in [
        (300, "DELETE_CLUSTER", "eve"),
        (200, "DELETE_CLUSTER", "bob"),
        (100, "CHANGE_CLUSTER_FIREWALL_RULES", "eve"),
        (95, "CHANGE_CLUSTER_FIREWALL_RULES", "eve"),
        (90, "CHANGE_CLUSTER_FIREWALL_RULES", "eve"),
        (50, "BACKUP", "svc"),
    ]:
        desk.act(kind, minutes, user=user)
    (desk.folder / "burst.yml").write_text(BURST)
    return desk


def test_store_upstream_and_file_give_the_same_alerts(busy: Desk, tmp_path: Path) -> None:
    """The store, the upstream and an exported file give the same alerts, with the ids of the service."""
    busy.call("run", "--once")
    paths = [str(busy.folder / "rules"), str(busy.folder / "burst.yml")]
    stored = busy.call("rules", "backtest", *paths, "-o", "json")
    assert stored.status == 0, stored.err
    assert [(alert["rule"]["name"], alert["count"]) for alert in stored.json] == [
        ("cluster_deleted", 1),
        ("cluster_deleted", 1),
        ("burst", 3),
    ]
    live = {alert["id"] for alert in busy.call("alerts", "list", "-o", "json").json}
    assert live == {alert["id"] for alert in stored.json if alert["rule"]["name"] == "cluster_deleted"}
    asked = busy.call("rules", "backtest", *paths, "--from", "upstream", "-o", "json")
    assert [alert["id"] for alert in asked.json] == [alert["id"] for alert in stored.json]
    file = tmp_path / "records.jsonl"
    file.write_text(busy.call("records", "export").out)
    read = busy.call("rules", "backtest", *paths, "--records", str(file), "-o", "jsonl")
    assert [alert["id"] for alert in read.jsonl] == [alert["id"] for alert in stored.json]


def test_json_has_the_format_of_the_contract(busy: Desk) -> None:
    """The JSON has exactly the keys of the contract, and records as in the webhook message."""
    alerts = busy.call("rules", "backtest", str(busy.folder / "burst.yml"), "--from", "upstream", "-o", "json").json
    (alert,) = alerts
    assert list(alert) == [
        "id",
        "rule",
        "level",
        "group",
        "count",
        "first_at",
        "last_at",
        "late",
        "first_record",
        "last_record",
    ]
    assert alert["rule"] == {"id": "burst", "name": "burst"}
    assert (alert["level"], alert["group"], alert["late"]) == ("high", {"userName": "eve"}, False)
    assert alert["first_record"]["userName"] == "eve"
    assert alert["first_record"]["timestamp"] == alert["first_at"]
    assert alert["last_record"]["timestamp"] == alert["last_at"]


def test_table_with_a_histogram_and_a_budget(busy: Desk) -> None:
    """The table has one row per rule. More alerts than allowed fail, with the name of the rule."""
    busy.call("run", "--once")
    shown = busy.call("rules", "backtest", str(busy.folder / "rules"), "--max-alerts", "1", "--since", "6h")
    assert shown.status == 1
    assert "cluster_deleted: 2 alerts, more than the allowed 1" in shown.err
    assert "█" in shown.out
    assert busy.call("rules", "backtest", "cluster_deleted", "--max-alerts", "2").status == 0


def test_table_ends_with_what_fired(busy: Desk) -> None:
    """The rules that fired are listed, most first. The others are named if they are few, else counted; `--all` lists them."""
    busy.call("run", "--once")
    names = [f"idle_{number}" for number in range(6)]
    for name in names:
        text = BURST.replace("burst", name).replace("Burst", name).replace("CHANGE_CLUSTER_FIREWALL_RULES", "RESTORE")
        (busy.folder / "rules" / f"{name}.yml").write_text(text)
    paths = [str(busy.folder / "burst.yml"), str(busy.folder / "rules")]

    def listed(*more: str) -> list[str]:
        return [
            line.split()[1]
            for line in busy.call("rules", "backtest", *more).out.splitlines()
            if "█" in line or " 0 " in line
        ]

    many = busy.call("rules", "backtest", *paths)
    assert listed(*paths) == ["cluster_deleted", "burst"]
    assert "6 rules did not fire (--all lists them)\n3 alerts from 5 records" in many.out
    assert listed(*paths, "--all") == ["cluster_deleted", "burst", *names]
    assert "did not fire" not in busy.call("rules", "backtest", *paths, "--all").out
    one = busy.call("rules", "backtest", "idle_0")
    assert (one.status, one.err) == (0, "no rule fired\n")
    assert "1 rule did not fire: idle_0\n" in one.out


def test_without_rules_all_configured_ones_run(busy: Desk) -> None:
    """Nobody has to name the configured rules one by one."""
    busy.call("run", "--once")
    assert busy.call("rules", "backtest").out == busy.call("rules", "backtest", str(busy.folder / "rules")).out != ""


def test_file_in_the_format_of_the_upstream(tmp_path: Path) -> None:
    """Objects, whole pages and blank lines are read, in any order; equal records are twins."""
    deletion = {"action": "DELETE_CLUSTER", "user": "eve", "timestamp": "2026-03-04T12:00:00Z"}
    earlier = {**deletion, "timestamp": "2026-03-01T12:00:00Z"}
    page = [{"totalResults": 1, "resources": [{**deletion, "user": "bob"}]}]
    file, rule = tmp_path / "r.jsonl", tmp_path / "d.yml"
    file.write_text("\n".join(map(json.dumps, [deletion, deletion, earlier, page])) + "\n\n")
    rule.write_text(
        "title: D\nlogsource: {product: instaclustr}\ndetection: {s: {actionKind: DELETE_CLUSTER}, condition: s}\n"
    )
    found = call("-c", "none.yaml", "rules", "backtest", str(rule), "--records", str(file), "-o", "json").json
    assert [alert["first_record"]["userName"] for alert in found] == ["eve", "bob", "eve", "eve"] or len(found) == 4
    assert len({alert["id"] for alert in found}) == 4
    assert found[0]["first_at"] == "2026-03-01T12:00:00.000Z"


def test_absence_in_a_file_is_evaluated_from_its_first_to_its_last_record(tmp_path: Path) -> None:
    """Absence is evaluated from the first to the last record of a file, whatever the requested time."""
    file, rule = tmp_path / "r.jsonl", tmp_path / "d.yml"
    days = ["2026-03-01", "2026-03-02", "2026-03-05"]
    file.write_text("\n".join(json.dumps({"action": "BACKUP", "timestamp": f"{day}T12:00:00Z"}) for day in days))
    rule.write_text(
        "title: B\nlogsource: {product: instaclustr}\ndetection: {s: {actionKind: BACKUP}, condition: s}\n"
        "correlation: {type: event_count, timespan: 26h, condition: {lt: 1}}\n"
    )
    arguments = ("-c", "none.yaml", "rules", "backtest", str(rule), "--records", str(file), "-o", "json")
    whole = call(*arguments).json
    assert [alert["first_at"] for alert in whole] == ["2026-03-03T14:00:00.000Z"]
    assert call(*arguments, "--since", "2020-01-01T00:00:00Z", "--until", "2030-01-01T00:00:00Z").json == whole
    part = call(*arguments, "--since", "2026-03-03T00:00:00Z", "--until", "2026-03-04T03:00:00Z").json
    assert [alert["first_at"] for alert in part] == ["2026-03-04T02:00:00.000Z"]
    assert call(*arguments, "--since", "2027-01-01T00:00:00Z").json == []


def test_absence_is_not_evaluated_after_the_proved_time(desk: Desk) -> None:
    """Absence is evaluated neither in the store nor in the upstream beyond the proved time."""
    (desk.folder / "silent.yml").write_text(
        "title: B\nlogsource: {product: instaclustr}\ndetection: {s: {actionKind: BACKUP}, condition: s}\n"
        "correlation: {type: event_count, timespan: 2d, condition: {lt: 1}}\n"
    )
    desk.act("BACKUP", 5)
    desk.call("run", "--once")
    for origin in ("store", "upstream"):
        arguments = ("--from", origin, "--since", "1d", "--until", "2099-01-01T00:00:00Z", "-o", "json")
        assert desk.call("rules", "backtest", str(desk.folder / "silent.yml"), *arguments).json == []
    (desk.folder / "silent.yml").write_text((desk.folder / "silent.yml").read_text().replace("2d", "3h"))
    assert len(desk.call("rules", "backtest", str(desk.folder / "silent.yml"), "-o", "json").json) == 1
    desk.change("UPDATE source SET proved_through = begins_at")
    assert desk.call("rules", "backtest", str(desk.folder / "silent.yml"), "-o", "json").json == []


@pytest.mark.parametrize("options", [("--from", "store"), ("--source", "acme")])
def test_options_that_contradict_a_file_are_refused(options: tuple[str, ...], tmp_path: Path) -> None:
    """Options that name another origin are refused together with a file."""
    (tmp_path / "r.jsonl").touch()
    (tmp_path / "d.yml").write_text(BURST)
    called = call("rules", "backtest", str(tmp_path / "d.yml"), "--records", str(tmp_path / "r.jsonl"), *options)
    assert (called.status, options[0] in called.err) == (2, True)


@pytest.mark.parametrize("line", ["{", "5", '"x"', '{"a": ' + "[" * 5000, "\x00", "null"])
def test_line_that_is_no_record_is_located(line: str, tmp_path: Path) -> None:
    """The error names file and line."""
    file, rule = tmp_path / "r.jsonl", tmp_path / "d.yml"
    file.write_text(f'{{"action": "BACKUP", "timestamp": "2026-03-04T12:00:00Z"}}\n{line}\n')
    rule.write_text("title: D\nlogsource: {product: instaclustr}\ndetection: {s: {actionKind: BACKUP}, condition: s}\n")
    called = call("-c", "none.yaml", "rules", "backtest", str(rule), "--records", str(file))
    assert called.status == 2
    assert called.err.startswith(f"{file}:2:1: not a record")


def test_broken_rules_and_unknown_names(busy: Desk) -> None:
    """A broken file is a usage error with its location; an unknown name has a suggestion."""
    (busy.folder / "burst.yml").write_text(BURST.replace("actionKind", "actionKid"))
    broken = busy.call("rules", "backtest", str(busy.folder / "burst.yml"))
    assert (broken.status, "burst.yml:5:" in broken.err) == (2, True)
    unknown = busy.call("rules", "backtest", "cluster_delted")
    assert (unknown.status, "did you mean 'cluster_deleted'?" in unknown.err) == (1, True)
    for number in range(20):
        (busy.folder / "rules" / f"{number}.yml").write_text(BURST.replace("name: burst", f"name: other{number}"))
    unlike = busy.call("rules", "backtest", "zzz")
    assert (unlike.status, "'zzz': see: actionwatch rules list" in unlike.err) == (1, True)


def test_large_file_in_any_order_is_sorted(tmp_path: Path) -> None:
    """More records than fit in memory at once are each counted once, in event order, with equal ones as twins."""
    lines = [
        json.dumps({"action": "BACKUP", "user": f"u{number % 7}", "timestamp": f"2026-03-04T{number % 24:02}:00:00Z"})
        for number in range(RUN + 5000)
    ]
    file, rule = tmp_path / "r.jsonl", tmp_path / "d.yml"
    file.write_text("\n".join(lines[::-1]))
    rule.write_text(
        "title: D\nlogsource: {product: instaclustr}\ndetection: {s: {actionKind: BACKUP}, condition: s}\n"
        "alert: {group_by: [userName], realert: 1d}\n"
    )
    found = call("-c", "none.yaml", "rules", "backtest", str(rule), "--records", str(file), "-o", "json").json
    assert sum(alert["count"] for alert in found) == RUN + 5000
    assert {alert["first_at"] for alert in found} == {"2026-03-04T00:00:00.000Z"}
    assert {alert["last_at"] for alert in found} == {"2026-03-04T23:00:00.000Z"}
    assert len(found) == 7


def test_lone_surrogate_is_accepted(tmp_path: Path) -> None:
    """A lone surrogate, which JSON allows and no encoding accepts, passes through the temporary file."""
    with Spool() as spool:
        spool.add(make_record(number, user_name="\ud800") for number in range(RUN + 1))
        assert [record.user_name for record in spool] == ["\ud800"] * (RUN + 1)
        assert spool.count == len(list(spool))
