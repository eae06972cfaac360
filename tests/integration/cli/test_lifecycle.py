"""The commands for silences, acknowledgements, dead letters and explanations, with an emulated upstream and a real webhook."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import CLUSTER_DELETED
from tests.integration.cli.conftest import Desk, new_desk
from tests.integration.notifiers.http_end import Reply

GROUPED = f"""\
{CLUSTER_DELETED}\
  group_by: [userName]
  realert: 1d
  escalate: {{after: 1h, unless: acked, to: soar}}
"""


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A new desk whose rule groups by user and escalates."""
    with new_desk(tmp_path) as fresh:
        (fresh.folder / "rules" / "cluster_deleted.yml").write_text(GROUPED)
        yield fresh


def types(desk: Desk) -> list[str]:
    """Return the types of the messages that the webhook received."""
    return [json.loads(request.body)["type"] for request in desk.webhook.requests]


def run(desk: Desk, status: int = 0) -> None:
    """Run `run --once`."""
    called = desk.call("run", "--once")
    assert called.status == status, called.err


def test_silenced_alert_is_reported_at_the_end(desk: Desk) -> None:
    """Silences can be added, listed and expired. A silenced alert is suppressed with its reason, and reported at the end."""
    run(desk)
    added = desk.call(
        "silences", "add", 'rule="cluster_deleted"', "--for", "2h", "--comment", "planned", "--author", "sam"
    )
    assert added.status == 0
    silence_id = added.out.strip()
    (silence,) = desk.call("silences", "list", "-o", "json").json
    assert list(silence) == ["id", "matchers", "author", "comment", "starts_at", "ends_at", "ended_by", "status"]
    assert (silence["id"], silence["status"], silence["author"]) == (silence_id, "active", "sam")
    assert silence["matchers"] == ['rule="cluster_deleted"']
    desk.act("DELETE_CLUSTER", 5)
    run(desk)
    assert types(desk) == []
    (alert,) = desk.call("alerts", "list", "-o", "json").json
    assert alert["suppressed"] == [{"receiver": "soar", "by": "silence", "ref": silence_id}]
    (delivery,) = [row for row in desk.call("deliveries", "list", "-o", "json").json if row["status"] != "pending"]
    assert (delivery["status"], delivery["why"], delivery["fallback_of"]) == ("suppressed", "silence", None)
    assert desk.call("silences", "expire", silence_id[:8]).status == 0
    assert desk.call("silences", "list", "-o", "json").json == []
    assert [found["status"] for found in desk.call("silences", "list", "--all", "-o", "json").json] == ["expired"]
    run(desk)
    assert types(desk) == ["alerts.summary"]
    data = json.loads(desk.webhook.requests[0].body)["data"]
    assert (data["reason"], data["receiver"], data["count"]) == ("silence", "soar", 1)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["a=b", "--comment", "c"], "--for"),
        (["a=b", "--for", "2h"], "--comment"),
        (["a=b", "--for", "2h", "--comment", " "], "needs a reason"),
        (["a=b", "--for", "0", "--comment", "c"], "must end after it starts"),
        (["a", "--for", "2h", "--comment", "c"], "not a matcher"),
        (['rule=~".*"', "--for", "2h", "--comment", "c"], "would silence every alert"),
        (["--for", "2h", "--comment", "c"], "MATCHER"),
        (["a=b", "--for", "2h", "--comment", "c", "--author", " "], "needs an author"),
    ],
)
def test_incomplete_silence_is_a_usage_error(desk: Desk, arguments: list[str], reason: str) -> None:
    """A silence without a comment, an end or a matcher is a usage error."""
    called = desk.call("silences", "add", *arguments)
    assert called.status == 2
    assert reason in called.err


def test_silences_are_read_from_files(desk: Desk) -> None:
    """Files contain silences. A broken file is located and does not affect the others; a removed silence ends."""
    folder = desk.folder / "silences"
    folder.mkdir()
    text = "matchers: ['rule=\"cluster_deleted\"']\nauthor: sam\ncomment: planned\nends_at: 2999-01-01T00:00:00Z\n"
    (folder / "a.yml").write_text(text.replace("2999", "2199"))
    (folder / "b.yml").write_text("- matchers: [x]\n  author: sam\n  ends_at: tomorrow\n")
    checked = desk.call("check")
    assert checked.status == 2
    assert f"{folder / 'b.yml'}:1:14: matchers: not a matcher" in checked.err
    assert f"{folder / 'b.yml'}:1:3: the key 'comment' is missing" in checked.err
    assert f"{folder / 'b.yml'}:3:3: ends_at: not a time with its zone" in checked.err
    (folder / "b.yml").unlink()
    desk.act("DELETE_CLUSTER", 5)
    run(desk)
    assert types(desk) == []
    (silence,) = desk.call("silences", "list", "-o", "json").json
    refused = desk.call("silences", "expire", silence["id"])
    assert refused.status == 1
    assert "remove it there" in refused.err
    (folder / "a.yml").unlink()
    run(desk)
    assert types(desk) == ["alerts.summary"]


def test_ack_and_resolve_record_the_author(desk: Desk) -> None:
    """Both record the author, notify the webhook, and appear in `alerts show`."""
    desk.act("DELETE_CLUSTER", 5)
    run(desk)
    (alert,) = desk.call("alerts", "list", "-o", "json").json
    assert (alert["status"], alert["acked_by"], alert["suppressed"]) == ("open", None, [])
    assert desk.call("alerts", "ack", alert["id"][:8], "--author", "sam").status == 0
    shown = desk.call("alerts", "show", alert["id"], "-o", "json").json
    assert (shown["status"], shown["acked_by"]) == ("acked", "sam")
    assert desk.call("alerts", "resolve", alert["id"]).status == 0
    assert desk.call("alerts", "ack", alert["id"]).status == 1
    assert desk.call("alerts", "ack", "nope").status == 1
    assert desk.call("run", "--once", "--wait", "11s").status == 0
    assert types(desk) == ["alert.opened", "alert.resolved"]


def test_reopen_assign_and_note_are_recorded(desk: Desk) -> None:
    """Each is recorded with its author, the webhook learns of it, and mistakes are refused before anything changes."""
    desk.act("DELETE_CLUSTER", 5)
    run(desk)
    (alert,) = desk.call("alerts", "list", "-o", "json").json
    alert_id = alert["id"][:8]
    assert desk.call("alerts", "resolve", alert_id, "--author", "sam").status == 0
    assert desk.call("run", "--once", "--wait", "11s").status == 0
    reopened = desk.call("alerts", "reopen", alert_id, "--author", "kim", "-o", "json").json[0]
    assert (reopened["status"], reopened["resolved_by"], reopened["reopened_by"]) == ("open", None, "kim")
    assigned = desk.call("alerts", "assign", alert_id, "--to", "amy", "--author", "kim")
    assert f"{alert['id']} is assigned to amy" in assigned.out
    assert desk.call("alerts", "note", alert_id, "--comment", "a load test", "--author", "amy").status == 0
    shown = desk.call("alerts", "show", alert_id, "-o", "json").json
    assert [shown[name] for name in ("assigned_to", "note", "noted_by")] == ["amy", "a load test", "amy"]
    assert desk.call("run", "--once", "--wait", "11s").status == 0
    assert types(desk)[-1] == "alert.opened"
    for wrong in (
        ["note", alert_id],
        ["note", alert_id, "--comment", " "],
        ["assign", alert_id, "--to", "actionwatch"],
        ["assign", alert_id, "--to", "amy", "--nobody"],
    ):
        assert desk.call("alerts", *wrong).status == 2
    assert desk.call("alerts", "assign", alert_id, "--nobody").status == 0
    assert desk.call("alerts", "show", alert_id, "-o", "json").json["assigned_to"] is None


def test_dead_letters_can_be_dropped(desk: Desk) -> None:
    """They can be dropped by id and by filter. Then there is no trouble left."""
    desk.act("DELETE_CLUSTER", 5)
    desk.webhook.queue.append(Reply(400))
    run(desk, 1)
    (dead,) = desk.call("deliveries", "list", "--dead", "-o", "json").json
    assert desk.call("deliveries", "drop").status == 2
    assert desk.call("deliveries", "drop", dead["id"], "--dead").status == 2
    assert desk.call("deliveries", "drop", "--receiver", "other").err == "no dead letters\n"
    assert desk.call("deliveries", "retry", "--since", "2999-01-01T00:00:00Z").err == "no dead letters\n"
    assert desk.call("deliveries", "drop", dead["id"][:8], "--author", "sam").out == "1 dead letter dropped\n"
    history = desk.call("alerts", "show", dead["alert"], "-o", "json").json["history"]
    assert ("dropped", "opened for soar is not sent, by sam") in [(line["stage"], line["what"]) for line in history]
    run(desk)
    assert desk.call("status", "-o", "json").json["troubles"] == []


def test_explain_prints_the_history(desk: Desk) -> None:
    """`explain` prints the history of an alert and of a record in order, from the poll to the receipt."""
    desk.act("DELETE_CLUSTER", 6)
    desk.act("DELETE_CLUSTER", 5)
    run(desk)
    (alert,) = desk.call("alerts", "list", "-o", "json").json
    explained = desk.call("explain", alert["id"], "-o", "json").json
    assert list(explained) == ["subject", "story"]
    assert explained["subject"] == alert["id"]
    stages = [line["stage"] for line in explained["story"]]
    for stage in (
        "happened",
        "seen",
        "proved",
        "matched",
        "grouped",
        "opened",
        "routed",
        "delivery to soar",
        "notified",
    ):
        assert stage in stages, (stage, stages)
    assert all(list(line) == ["at", "alert", "stage", "what"] for line in explained["story"])
    assert [line["at"] for line in explained["story"]] == sorted(line["at"] for line in explained["story"])
    (matched, *_) = [line["what"] for line in explained["story"] if line["stage"] == "matched"]
    assert "cluster_deleted" in matched
    assert "DELETE_CLUSTER" in matched
    key = alert["records"][0]["key"]
    story = desk.call("explain", key, "-o", "json").json
    assert story["subject"] == key
    assert {line["alert"] for line in story["story"]} == {None, alert["id"]}
    assert "cluster_deleted" in desk.call("explain", key).out
    assert desk.call("explain", "nothing").status == 1


def test_explain_reports_that_no_rule_matches(desk: Desk) -> None:
    """`explain` reports that no rule matches a record."""
    desk.act("CREATE_CLUSTER", 5)
    run(desk)
    (record,) = desk.call("records", "list", "-o", "json").json
    story = desk.call("explain", record["key"], "-o", "json").json["story"]
    assert any("no current rule" in line["what"] for line in story)


def test_receiver_options_reach_the_gates(desk: Desk) -> None:
    """The options of a receiver in the configuration reach the gates."""
    desk.more = (
        "time_intervals: [{name: always, time_intervals: [{}]}]\n"
        "route: {receiver: soar, mute_time_intervals: [always]}\n"
        "inhibit_rules: [{source_matchers: ['rule=x'], target_matchers: ['rule=y'], equal: [cluster]}]\n"
    )
    desk.write()
    desk.act("DELETE_CLUSTER", 5)
    run(desk)
    (alert,) = desk.call("alerts", "list", "-o", "json").json
    assert alert["suppressed"] == [{"receiver": "soar", "by": "mute", "ref": "always"}]


def test_escalation_to_an_unknown_receiver_is_a_fault(desk: Desk) -> None:
    """`check` reports a rule that escalates to an unknown receiver."""
    assert desk.call("check").status == 0
    (desk.folder / "rules" / "cluster_deleted.yml").write_text(GROUPED.replace("to: soar", "to: nobody"))
    checked = desk.call("check")
    assert checked.status == 2
    assert (
        "cluster_deleted.yml:1:1: 'cluster_deleted' escalates to 'nobody', which is not a receiver: name one of"
        in checked.err
    )
