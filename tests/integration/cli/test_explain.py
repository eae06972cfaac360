"""`explain`: nothing is cut, and records without an alert, unknown ids and records older than the store get an answer."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

import pytest

from actionwatch.store.record_keys import key_floor
from actionwatch.text.times import spell_time
from tests.integration.cli.conftest import Desk
from tests.statements import count_rows, questions

OTHERS = """\
title: By the robot
name: by_the_robot
level: low
logsource: {product: instaclustr, service: user_actions}
detection: {creation: {actionKind: CREATE_CLUSTER}, robot: {userName: svc-ci}, condition: creation and robot}
---
title: Not in payments
name: not_in_payments
level: low
logsource: {product: instaclustr, service: user_actions}
detection: {creation: {actionKind: CREATE_CLUSTER}, ours: {account.name: payments}, condition: creation and not ours}
---
title: Off
name: off
mode: off
level: low
logsource: {product: instaclustr, service: user_actions}
detection: {creation: {actionKind: CREATE_CLUSTER}, condition: creation}
---
title: Many
name: many
level: low
logsource: {product: instaclustr, service: user_actions}
detection: {creation: {actionKind: CREATE_CLUSTER}, condition: creation}
correlation: {type: event_count, group-by: [userName], timespan: 1h, condition: {gte: 5}}
"""
WHY = "planned maintenance of the payments clusters, agreed with the owners, see CHG-4711, ask sam or kim if in doubt"


def key_of(desk: Desk, kind: str) -> str:
    """Return the key of the newest record of a kind."""
    return str(desk.call("records", "list", "--kind", kind, "-o", "json").json[0]["key"])


def story(desk: Desk, subject: str) -> list[tuple[str, str]]:
    """Return stage and text of each line of an explanation."""
    explained = desk.call("explain", subject, "-o", "json")
    assert explained.status == 0, explained.err
    return [(line["stage"], line["what"]) for line in explained.json["story"]]


@pytest.mark.parametrize("width", [60, 80, 140])
def test_a_terminal_wraps_and_cuts_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """Who silenced an alert and why is complete at every width, and no line is wider than the terminal."""
    monkeypatch.setenv("COLUMNS", str(width))
    assert desk.call("run", "--once").status == 0
    assert (
        desk.call("silences", "add", "rule=cluster_deleted", "--for", "1h", "--comment", WHY, "--author", "sam").status
        == 0
    )
    desk.act("DELETE_CLUSTER", 5)
    assert desk.call("run", "--once").status == 0
    (alert,) = desk.call("alerts", "list", "-o", "json").json
    shown = desk.call("explain", alert["id"], is_terminal=True).out
    assert "…" not in shown
    words = " ".join(shown.split())
    assert "by sam until" in words
    assert WHY in words
    plain = desk.call("explain", alert["id"]).out
    assert WHY in plain
    assert alert["id"] in plain


def test_rules_that_matched_a_record_say_why_there_is_no_alert(desk: Desk) -> None:
    """A rule that is off, or that only counts the record, says so; rules that do not match are not listed."""
    (desk.folder / "rules" / "others.yml").write_text(OTHERS)
    desk.act("CREATE_CLUSTER", 5)
    assert desk.call("run", "--once").status == 0
    lines = story(desk, key_of(desk, "CREATE_CLUSTER")[:16])
    matched = [what for stage, what in lines if stage == "matched"]
    assert "rule off: actionKind: CREATE_CLUSTER <- CREATE_CLUSTER; the rule is off" in matched
    assert any(
        what.startswith("rule many: ") and "it counts for the correlation (event_count: gte 5" in what
        for what in matched
    )
    assert not any("cluster_deleted" in what for _, what in lines)  # nothing of it holds


def test_a_rule_that_is_newer_than_a_record(desk: Desk) -> None:
    """A rule that matches a record without an alert was added later, which `explain` says."""
    desk.act("CREATE_CLUSTER", 5)
    assert desk.call("run", "--once").status == 0
    assert ("matched", "no current rule matches this record by itself") in story(desk, key_of(desk, "CREATE_CLUSTER"))
    (desk.folder / "rules" / "others.yml").write_text(OTHERS.replace("mode: off\n", ""))
    (matched,) = [what for _, what in story(desk, key_of(desk, "CREATE_CLUSTER")) if what.startswith("rule off: ")]
    assert matched.endswith("; no alert holds the record: the rule was added or changed after it was stored")


def test_the_record_of_an_alert_shows_that_alert(filled: Desk) -> None:
    """A record that is in an alert shows that alert."""
    lines = story(filled, key_of(filled, "DELETE_CLUSTER"))
    assert {"matched", "grouped", "routed"} <= {stage for stage, _ in lines}


def test_an_alert_shows_its_first_and_its_newest_records(desk: Desk) -> None:
    """An alert of many records shows the first one and the newest four, and loads no others."""
    (desk.folder / "rules" / "others.yml").write_text(OTHERS)
    for minute in range(20):
        desk.act("CREATE_CLUSTER", 30 - minute)
    assert desk.call("run", "--once").status == 0
    (alert,) = (each for each in desk.call("alerts", "list", "-o", "json").json if each["rule"]["name"] == "many")
    keys = [record["key"] for record in desk.call("records", "list", "-o", "json").json]
    with questions() as asked:
        lines = story(desk, alert["id"])
    happened = [what for stage, what in lines if stage == "happened"]
    assert [what.rpartition("(")[2].rstrip(")") for what in happened] == [keys[-1], *reversed(keys[:4])]
    assert len([what for stage, what in lines if stage == "counted"]) == 5
    with contextlib.closing(desk.open_store()) as database, database.read() as connection:
        assert count_rows(connection, [each for each in asked if "alert_record" in each[0] and "raw" in each[0]]) == 6


def test_unknown_keys_and_records_older_than_the_store(filled: Desk) -> None:
    """An unknown key or id says where they are listed; one from before the store says when the store begins."""
    unknown = filled.call("explain", "zzz")
    assert (unknown.status, unknown.out) == (1, "")
    assert "'actionwatch alerts list' and 'actionwatch records list' show them" in unknown.err
    oldest = spell_time(datetime.fromisoformat(filled.call("records", "export").jsonl[0]["timestamp"]))
    old = filled.call("explain", f"{key_floor(datetime.now(UTC) - timedelta(days=500))}-0a")
    assert old.status == 1
    assert f"is not stored: the store begins at {oldest} (store.retention.records is 400d)" in old.err
    assert "actions --until TIME" in old.err
    new = filled.call("explain", f"{key_floor(datetime.now(UTC))}-0a")
    assert "show them" in new.err
    assert "start with 00: give a longer prefix" in filled.call("explain", "00").err
    assert filled.call("explain", "f" * 40).status == 1


def test_an_empty_store_begins_where_its_source_does(desk: Desk) -> None:
    """Without records, the store begins where the first source does."""
    assert desk.call("run", "--once").status == 0
    old = desk.call("explain", f"{key_floor(datetime.now(UTC) - timedelta(days=2))}-0a")
    assert "the store begins at " in old.err
