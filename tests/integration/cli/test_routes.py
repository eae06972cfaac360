"""`routes show` and `routes test`: the tree, the receivers of an alert, why, and what would hold its messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.cli.conftest import Desk
from tests.integration.notifiers.http_end import Reply

MORE = """\
  - {name: screen, console: {}, min_level: high}
  - {name: spare, console: {}}
time_intervals:
  - {name: always, time_intervals: [{times: [{start_time: "00:00", end_time: "24:00"}]}]}
route:
  receiver: soar
  routes:
    - {matchers: ['level="critical"', 'cluster=~"orders-.*"'], receiver: screen, continue: true, mute_time_intervals: [always]}
    - {matchers: ['level=~"critical|high"'], receivers: [soar, screen]}
    - {matchers: ['team="kafka"'], receiver: soar}
"""
SHADOW = """\
title: Shadowed
name: shadowed
mode: shadow
level: low
logsource: {product: instaclustr, service: user_actions}
detection: {selection: {actionKind: DELETE_CLUSTER}, condition: selection}
alert: {labels: {team: kafka}, escalate: {after: 15m, to: screen}}
"""


@pytest.fixture
def routed(desk: Desk) -> Desk:
    """A desk with a routing tree."""
    text = desk.config.read_text()
    desk.config.write_text(text.replace("web: {", MORE + "web: {", 1))
    (desk.folder / "rules" / "shadowed.yml").write_text(SHADOW)
    return desk


def test_the_tree_is_shown(routed: Desk) -> None:
    """`routes show` prints each route with its matchers, receivers and mute intervals, and receivers that no route names."""
    shown = routed.call("routes", "show")
    assert (shown.status, shown.err) == (0, "")
    assert shown.out.splitlines() == [
        "route: every alert -> soar",
        '  routes[0]: level="critical" cluster=~"orders-.*" (continue) -> screen; muted in always (now)',
        '  routes[1]: level=~"critical|high" -> soar, screen',
        '  routes[2]: team="kafka" -> soar',
        "no route names: spare",
    ]
    document = routed.call("routes", "show", "-o", "json").json
    assert (document["unused_receivers"], document["muted_now"]) == (["spare"], ["always"])
    assert [route["matchers"] for route in document["route"]["routes"]][2] == ['team="kafka"']


def test_an_alert_is_routed_before_the_first_start(routed: Desk) -> None:
    """Without a store, the tree is searched with the level and labels of a rule, and the store is not created."""
    found = routed.call("routes", "test", "--rule", "cluster_deleted", "--label", "cluster=orders-prod")
    assert found.status == 0
    assert "there is no store yet" in found.err
    lines = found.out.splitlines()
    assert lines[0] == "labels: cluster=orders-prod  rule=cluster_deleted  level=critical  source=acme"
    assert lines[2:6] == [
        "+ route: every alert",
        '  + routes[0]: level="critical" cluster=~"orders-.*" (continue) -> screen',
        '  + routes[1]: level=~"critical|high" -> soar, screen',
        '  ~ routes[2]: team="kafka": passed over, because routes[1] took the alert',
    ]
    assert [line.split(maxsplit=1)[0] for line in lines[8:]] == ["soar", "screen"]
    assert lines[8].endswith("sent")
    assert "muted: the time interval always is active; a summary reports it at the end" in lines[9]
    assert not (routed.folder / "actionwatch.db").exists()


def test_the_matcher_that_decided_is_named(routed: Desk) -> None:
    """A route that does not match shows its first failing matcher and the value of the alert."""
    found = routed.call("routes", "test", "--level", "critical", "-o", "json").json
    first, second, _ = found["route"]["routes"]
    assert (first["result"], first["failed"], first["value"]) == ("failed", 'cluster=~"orders-.*"', "absent")
    assert (second["result"], found["route"]["result"]) == ("taken", "descended")
    text = routed.call("routes", "test", "--level", "low").out
    assert '- routes[0]: level="critical" cluster=~"orders-.*" (continue)   level="critical" <- low' in text
    assert "+ route: every alert -> soar" in text


def test_a_stored_alert_is_routed_with_what_would_hold_it(routed: Desk) -> None:
    """`--alert` accepts a prefix, uses the newest record, and names the silence, the level and the pause that hold it."""
    routed.act("DELETE_CLUSTER", 5, "eve")
    assert routed.call("run", "--once").status == 0
    (alert,) = routed.call("alerts", "list", "--rule", "cluster_deleted", "-o", "json").json
    silence = routed.call(
        "silences", "add", "userName=eve", "--for", "1h", "--comment", "planned work", "--author", "sam"
    )
    found = routed.call("routes", "test", "--alert", alert["id"][:8], "-o", "json")
    assert found.status == 0, found.err
    assert found.json["labels"]["cluster"] == [routed.cluster.id, "payments-prod"]
    soar, screen = found.json["receivers"]
    assert (soar["name"], soar["routes"], screen["name"]) == ("soar", ["route.routes[1]"], "screen")
    (held,) = soar["held_by"]
    assert (held["by"], held["ref"]) == ("silence", silence.out.strip())
    assert "planned work" in held["what"]
    assert len(routed.call("deliveries", "list", "-o", "json").json) == 2  # nothing was added


def test_levels_below_those_of_a_receiver_are_named(routed: Desk) -> None:
    """A receiver whose `min_level` is above the alert is listed with that reason."""
    routed.config.write_text(
        routed.config.read_text().replace("'team=\"kafka\"'], receiver: soar", "team=kafka], receiver: screen")
    )
    (screen,) = routed.call("routes", "test", "--level", "low", "--label", "team=kafka", "-o", "json").json["receivers"]
    assert [each["by"] for each in screen["held_by"]] == ["min_level"]


def test_shadow_rules_and_escalations_are_noted(routed: Desk) -> None:
    """The alert of a rule in shadow mode reaches nobody: exit status 1, with the reason and the escalation."""
    found = routed.call("routes", "test", "--rule", "shadowed")
    assert found.status == 1
    assert "nobody gets it: the rule is in shadow mode" in found.err
    assert "escalates to screen after 15m, unless acknowledged" in found.err
    assert "team=kafka" in found.out


def test_expected_receivers(routed: Desk) -> None:
    """With `--expect`, the exit status shows whether exactly these receivers get the alert, for tests in CI."""
    critical = ["routes", "test", "--level", "critical"]
    assert routed.call(*critical, "--expect", "screen", "--expect", "soar").status == 0
    wrong = routed.call(*critical, "--expect", "soar")
    assert wrong.status == 1
    assert "expected soar; got screen, soar" in wrong.err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "an alert has a level: give --level"),
        (["--label", "level=severe"], "no level is named severe"),
        (["--level", "severe"], "'severe' is not one of"),
        (["--rule", "cluster_deletd"], "did you mean 'cluster_deleted'?"),
        (["--level", "low", "--label", "cluster"], "write NAME=VALUE"),
        (["--level", "low", "--expect", "sore"], "did you mean 'soar'?"),
        (["--alert", "1", "--level", "low"], "use it alone"),
    ],
)
def test_wrong_questions_exit_with_2(routed: Desk, arguments: list[str], reason: str) -> None:
    """A missing or unknown level, rule, label or receiver is a usage error with a remedy."""
    found = routed.call("routes", "test", *arguments)
    assert (found.status, found.out) == (2, "")
    assert reason in found.err


def test_nothing_but_files_is_read_to_show_the_tree(routed: Desk, tmp_path: Path) -> None:
    """`routes show` needs no store, and a stored alert needs one."""
    assert routed.call("routes", "show").status == 0
    missing = routed.call("routes", "test", "--alert", "1")
    assert missing.status == 1
    assert "actionwatch run" in missing.err
    assert not (tmp_path / "actionwatch.db").exists()


def test_what_delays_or_collects_messages_is_named(desk: Desk) -> None:
    """A digest, a storm, a rate, a pause and a receiver that fails are named; what only delays is no obstacle."""
    mail = "{host: mail.example.com, from: a@example.com, to: [b@example.com], digest: {at: '0 8 * * *'}}"
    more = (
        f"  - {{name: mail, email: {mail}}}\n"
        "  - {name: screen, console: {}, rate: 6/m, storm: {above: 1, per: 1h}}\n  - {name: spare, console: {}, rate: 2/s}\n"
    )
    text = desk.config.read_text().replace("name: soar\n", "name: soar\n    fallback: spare\n    fallback_after: 2h\n")
    desk.config.write_text(text.replace("web: {", more + "web: {", 1))
    desk.act("DELETE_CLUSTER", 5)
    desk.webhook.queue.append(Reply(503, b"not now", headers={"retry-after": "3600"}))
    assert desk.call("run", "--once").status == 1
    found = desk.call("routes", "test", "--rule", "cluster_deleted", "-o", "json")
    assert found.status == 0, found.err
    soar, mail, screen, spare = found.json["receivers"]
    assert [[each["by"] for each in one["held_by"]] for one in (soar, mail, screen, spare)] == [
        [],
        ["digest"],
        ["storm"],
        [],
    ]
    assert mail["held_by"][0]["what"].startswith("held for the digest of ")
    assert screen["notes"] == ["rate: one in 10 s"]
    assert spare["notes"] == ["rate: at most 2 per second"]
    paused, failing = soar["notes"]
    assert paused.startswith("paused until ")
    assert failing.startswith("failing since ")
    assert "not now" in failing
    assert failing.endswith("; spare gets a copy after 2h")


def test_self_alerts_can_be_tested(routed: Desk) -> None:
    """The rule of self-alerts is in no file; its level and labels are given. A label is not a note if an alert can have it."""
    found = routed.call(
        "routes",
        "test",
        "--rule",
        "actionwatch_self",
        "--level",
        "high",
        "--label",
        "trouble=dead_letters",
        "-o",
        "json",
    )
    assert found.status == 0, found.err
    assert found.json["labels"] == {
        "trouble": "dead_letters", "rule": "actionwatch_self", "level": "high", "source": "acme",
    }  # fmt: skip
    assert found.json["notes"] == []
    assert [each["name"] for each in found.json["receivers"]] == ["soar", "screen"]


def test_labels_of_a_source_route(desk: Desk) -> None:
    """An alert is routed by the labels of its source, which matchers may name; `check` knows their values."""
    text = desk.config.read_text()
    route = """\
  - {name: gold, console: {}}
route:
  receiver: soar
  routes:
    - {matchers: ['tier="gold"'], receiver: gold}
    - {matchers: ['tier="golden"'], receiver: soar}
"""
    text = text.replace("web: {", route + "web: {", 1)
    desk.config.write_text(
        text.replace("  - name: acme\n", "  - name: acme\n    labels: {customer: c1, tier: gold}\n", 1)
    )
    routed = desk.call("routes", "test", "--level", "high")
    assert routed.status == 0, routed.err
    assert "tier=gold" in routed.out
    assert desk.call("routes", "test", "--level", "high", "--expect", "gold").status == 0
    assert "'golden' is no tier: did you mean 'gold'?" in desk.call("check").err


def test_an_alert_has_the_labels_of_its_source(desk: Desk) -> None:
    """Alerts of a source have its labels in commands and messages; a changed label is that of later alerts."""
    text = desk.config.read_text()
    desk.config.write_text(text.replace("  - name: acme\n", "  - name: acme\n    labels: {tier: gold}\n", 1))
    desk.act("DELETE_CLUSTER", 3)
    assert desk.call("run", "--once").status == 0
    desk.config.write_text(text.replace("  - name: acme\n", "  - name: acme\n    labels: {tier: basic}\n", 1))
    desk.act("DELETE_CLUSTER", 1)
    assert desk.call("run", "--once").status == 0
    sent = [each.json["data"]["labels"] for each in desk.webhook.requests]
    assert sent == [{"tier": "gold"}, {"tier": "basic"}]
    stored = [each["labels"] for each in desk.call("alerts", "list", "-o", "json").json]
    assert sorted(each["tier"] for each in stored) == ["basic", "gold"]
