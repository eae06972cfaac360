"""Commands that read the store: `records`, `alerts`, `deliveries`, `receivers list`, `status`, as tables and as JSON."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import gc
import io
import json
import re
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema_rs
import pytest

from actionwatch import cli
from actionwatch.cli.run import showing_backlogs
from actionwatch.queries.records import SEARCHED_ONCE
from actionwatch.service import app, configuration
from actionwatch.store import backlog_progress, receipts
from actionwatch.store.backlog_progress import Backlog
from actionwatch.store.receipts import WindowReceipt
from actionwatch.store.tables import RECEIPT
from actionwatch.text.times import spell_time
from tests.builders import NOON, make_receipt
from tests.cases import in_one_test
from tests.children import run_child
from tests.end_to_end.kit import COMMAND
from tests.integration.cli.conftest import Called, Desk, Terminal

RECORD = [
    "key", "timestamp", "actionKind", "userName", "description", "account", "cluster", "scope", "crudOperation", "source",
    "raw",
]  # fmt: skip
ALERT = [
    "id", "rule", "level", "title", "body", "runbook", "labels", "source", "group", "status", "acked_by", "resolved_by",
    "count", "first_at", "last_at", "late", "late_by_seconds", "explain", "user", "cluster", "assigned_to", "note", "noted_by",
    "reopened_by", "records", "suppressed",
]  # fmt: skip
DELIVERY = [
    "id", "alert", "receiver", "event", "status", "attempts", "created_at", "due_at", "sent_at", "last_error",
    "fallback_of", "why",
]  # fmt: skip
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,6}Z")
NEWEST_FIRST = [
    "LIST_KAFKA_ACLS", "CHANGE_CLUSTER_FIREWALL_RULES", "DELETE_CLUSTER", "DELETE_CLUSTER", "CREATE_CLUSTER",
]  # fmt: skip


def kinds(desk: Desk, *arguments: str) -> list[str]:
    """Return the kinds that `records list` prints, in its order."""
    called = desk.call("records", "list", "-o", "json", *arguments)
    assert called.status == 0, called.err
    return [record["actionKind"] for record in called.json]


def test_records_have_the_shape_of_the_message(filled: Desk) -> None:
    """A record has exactly the contract's fields, with times in RFC 3339 and the upstream's own object as `raw`."""
    newest = filled.call("records", "list", "-o", "json", "--limit", "1").json[0]
    assert list(newest) == RECORD
    assert TIME.fullmatch(newest["timestamp"])
    assert newest["account"] == {"id": filled.account.id, "name": "payments"}
    assert newest["cluster"] == {"id": filled.cluster.id, "name": "payments-prod"}
    assert (newest["scope"], newest["crudOperation"], newest["source"]) == ("account", "READ", "acme")
    assert newest["raw"]["action"] == "LIST_KAFKA_ACLS"


def test_json_and_jsonl_contain_the_same(filled: Desk) -> None:
    """`-o jsonl` prints the documents of `-o json`, one per line, for each list."""
    for command in (["records", "list"], ["alerts", "list"], ["deliveries", "list"], ["receivers", "list"]):
        as_json, as_lines = filled.call(*command, "-o", "json"), filled.call(*command, "-o", "jsonl")
        assert as_json.status == as_lines.status == 0
        assert as_json.json == as_lines.jsonl != []
        assert as_json.out.isascii()


@in_one_test(
    ("arguments", "expected"),
    [
        ([], NEWEST_FIRST),
        (["--limit", "2"], NEWEST_FIRST[:2]),
        (["--kind", "DELETE_CLUSTER"], ["DELETE_CLUSTER"] * 2),
        (["--kind", "delete cluster", "--kind", "create_cluster"], ["DELETE_CLUSTER", "DELETE_CLUSTER", "CREATE_CLUSTER"]),
        (["--user", "alice@EXAMPLE.com"], ["LIST_KAFKA_ACLS", "CHANGE_CLUSTER_FIREWALL_RULES"]),
        (["--account", "payments"], NEWEST_FIRST),
        (["--account", "elsewhere"], []),
        (["--cluster", "payments-prod", "--limit", "1"], ["LIST_KAFKA_ACLS"]),
        (["--operation", "DELETE"], ["DELETE_CLUSTER"] * 2),
        (["--operation", "create", "--operation", "READ"], ["LIST_KAFKA_ACLS", "CREATE_CLUSTER"]),
        (["--scope", "account", "--limit", "1"], ["LIST_KAFKA_ACLS"]),
        (["--scope", "organisation"], []),
        (["--keyword", "payments-PROD"], ["DELETE_CLUSTER"]),
        (["--keyword", "100%_"], []),
        (["--since", "25m"], NEWEST_FIRST[:2]),
        (["--until", "35m"], NEWEST_FIRST[3:]),
        (["--since", "45m", "--until", "25m"], ["DELETE_CLUSTER"] * 2),
    ],
)  # fmt: skip
def test_filters_select_exactly_the_matching_records(filled: Desk, arguments: list[str], expected: list[str]) -> None:
    """Each filter keeps exactly the matching records, and filters combine with AND."""
    assert kinds(filled, *arguments) == expected


def test_times_in_rfc_3339(filled: Desk) -> None:
    """A time with an offset means that instant; a time without one is UTC."""
    at = datetime.now(UTC) - timedelta(minutes=25)
    for text in (at.isoformat(), at.replace(tzinfo=None).isoformat(), at.strftime("%Y-%m-%dT%H:%M:%SZ")):
        assert kinds(filled, "--since", text) == NEWEST_FIRST[:2]


NEWER_RECORDS = """
WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)
INSERT INTO record (
  source, record_key, occurred_at, seen_at, action_kind, severity, is_time_readable, is_backlog, raw
) SELECT 'acme', printf('%016x-x', ? + n), ? + n, ? + n, 'BACKUP', 'low', 1, 1, '{}' FROM numbers
"""


def test_search_covers_the_newest_records_unless_since_is_given(desk: Desk) -> None:
    """`records list` does not read millions of records to find nothing: it searches the newest, and reports how far back."""
    desk.act("DELETE_CLUSTER", 50)
    assert desk.call("run", "--once").status == 0
    search = ["records", "list", "--operation", "DELETE", "-o", "json"]
    assert (len(desk.call(*search).json), desk.call(*search).err) == (1, "")
    micros = int(datetime.now(UTC).timestamp() * 1_000_000)
    with contextlib.closing(sqlite3.connect(desk.file)) as store, store:
        store.execute(NEWER_RECORDS, (SEARCHED_ONCE, micros, micros, micros))
    found = desk.call(*search)
    assert found.json == []
    assert "note: the newest 250,000 records were searched, back to " in found.err
    assert "use --since to search further back" in found.err
    assert (len(desk.call(*search, "--since", "1d").json), desk.call(*search, "--since", "1d").err) == (1, "")
    assert desk.call("records", "list", "--limit", "3").err == ""
    of_kind = desk.call("records", "list", "--kind", "DELETE_CLUSTER", "-o", "json")
    assert (len(of_kind.json), of_kind.err) == (1, ""), "a kind is found however old its records are"
    with_words = desk.call("records", "list", "--text", "delete cluster", "-o", "json")
    assert with_words.json == of_kind.json
    assert "note: the newest 250,000 records were searched, back to " in with_words.err
    refused = desk.call("records", "list", "--text", " ".join("abcdefghijk"))
    assert (refused.status, "a search has at most 10 words, and this one has 11" in refused.err) == (2, True)


def test_unknown_kind_has_a_suggestion(filled: Desk) -> None:
    """An undocumented kind finds nothing, and stderr suggests the similar one."""
    called = filled.call("records", "list", "--kind", "DELETE_CLUSTR", "-o", "json")
    assert (called.status, called.json) == (0, [])
    assert "did you mean 'DELETE_CLUSTER'?" in called.err


def test_export_gives_every_record_in_the_order_stored(filled: Desk) -> None:
    """`records export` writes all records, oldest first, as JSON lines."""
    exported = filled.call("records", "export").jsonl
    assert [record["actionKind"] for record in exported] == NEWEST_FIRST[::-1]
    assert exported[::-1] == filled.call("records", "list", "-o", "json").json


def test_export_as_cloudevents_and_ocsf(filled: Desk) -> None:
    """The CloudEvents and OCSF exports contain one event per record, with its key and time."""
    plain = filled.call("records", "export").jsonl
    clouded = filled.call("records", "export", "--format", "cloudevents").jsonl
    assert [event["data"] for event in clouded] == plain
    assert [(event["id"], event["time"]) for event in clouded] == [(one["key"], one["timestamp"]) for one in plain]
    assert {(event["specversion"], event["type"], event["source"]) for event in clouded} == {
        ("1.0", "actionwatch.record", "/actionwatch/acme")
    }
    events = filled.call("records", "export", "--format", "ocsf", "--kind", "DELETE_CLUSTER").jsonl
    deleted = [record for record in plain if record["actionKind"] == "DELETE_CLUSTER"]
    assert [event["metadata"]["uid"] for event in events] == [record["key"] for record in deleted]
    assert {event["activity_name"] for event in events} == {"Delete"}
    times = [datetime.fromtimestamp(event["time"] / 1000, UTC) for event in events]
    assert times == [datetime.fromisoformat(record["timestamp"]) for record in deleted]


def test_export_as_csv_is_safe_in_a_spreadsheet(filled: Desk) -> None:
    """A text that a spreadsheet would run as a formula begins with a quote; the columns have names."""
    called = filled.call("records", "export", "--format", "csv", "--user", "mallory@example.com")
    (row,) = csv.DictReader(io.StringIO(called.out))
    assert row["description"] == "'=cmd()|'\\u202e"
    assert (row["account.name"], row["crudOperation"], row["source"]) == ("payments", "DELETE", "acme")


def test_alerts_have_the_shape_of_the_message(filled: Desk) -> None:
    """An alert has the fields of the message, `suppressed` and those below it, and is valid by the message's JSON Schema."""
    alerts = filled.call("alerts", "list", "-o", "json").json
    assert [list(alert) for alert in alerts] == [[*ALERT, "folded", "folded_count"]] * 2
    assert {alert["title"] for alert in alerts} == {
        "eve@example.com deleted payments-prod",
        "mallory@example.com deleted payments-prod",
    }
    for alert in alerts:
        assert (alert["level"], alert["status"], alert["count"], alert["suppressed"]) == ("critical", "open", 1, [])
        assert alert["rule"]["name"] == "cluster_deleted"
        assert list(alert["records"][0]) == RECORD
    schema = filled.call("receivers", "schema").json
    data = {key: value for key, value in alerts[0].items() if key != "suppressed"}
    jsonschema_rs.validator_for(schema).validate(
        {"type": "alert.opened", "timestamp": alerts[0]["first_at"], "data": data}
    )


def test_alerts_show_prints_deliveries_and_history(filled: Desk) -> None:
    """`alerts show` accepts a prefix of the id and prints deliveries and history in the format of the contract."""
    alert = filled.call("alerts", "list", "-o", "json").json[0]
    shown = filled.call("alerts", "show", alert["id"][:8], "-o", "json").json
    assert list(shown) == [*ALERT, "deliveries", "history"]
    assert {**{key: shown[key] for key in ALERT}, "folded": [], "folded_count": 0} == alert
    assert [list(row) for row in shown["deliveries"]] == [DELIVERY]
    assert [line["stage"] for line in shown["history"]] == ["opened", "routed", "delivery to soar"]
    assert [list(line) for line in shown["history"]] == [["at", "stage", "what"]] * 3
    text = filled.call("alerts", "show", alert["id"]).out
    for part in (alert["id"], alert["title"], "cluster_deleted", "DELETE_CLUSTER", "alert.opened accepted"):
        assert part in text


def test_alerts_since_and_limit(filled: Desk) -> None:
    """`--since` refers to the time of opening, not of the action, and `--limit` keeps the newest alerts."""
    assert len(filled.call("alerts", "list", "--since", "5m", "-o", "json").json) == 2
    assert len(filled.call("alerts", "list", "--limit", "1", "-o", "json").json) == 1
    later = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()
    assert filled.call("alerts", "list", "--since", later, "-o", "json").json == []


def test_deliveries_have_the_shape_of_the_contract(filled: Desk) -> None:
    """A delivery has exactly the fields of the contract, and `show` adds the frozen message."""
    rows = filled.call("deliveries", "list", "-o", "json").json
    assert [list(row) for row in rows] == [DELIVERY, DELIVERY]
    for row in rows:
        assert (row["receiver"], row["event"], row["status"], row["attempts"]) == ("soar", "opened", "sent", 1)
        assert (row["last_error"], row["fallback_of"], row["why"]) == (None, None, None)
        assert all(TIME.fullmatch(row[name]) for name in ("created_at", "due_at", "sent_at"))
    shown = filled.call("deliveries", "show", rows[0]["id"][:8], "-o", "json").json
    assert list(shown) == [*DELIVERY, "message"]
    assert shown["message"]["data"]["id"] == rows[0]["alert"]
    assert rows[0]["id"] in {request.headers["webhook-id"] for request in filled.webhook.requests}
    assert "alert.opened" in filled.call("deliveries", "show", rows[0]["id"]).out


def test_filters_select_exactly_the_matching_deliveries(filled: Desk) -> None:
    """`--receiver`, `--dead` and `--limit` each narrow the list."""
    assert len(filled.call("deliveries", "list", "--limit", "1", "-o", "json").json) == 1
    assert filled.call("deliveries", "list", "--receiver", "nobody", "-o", "json").json == []
    assert filled.call("deliveries", "list", "--dead", "-o", "json").json == []


@pytest.mark.parametrize("noun", ["alerts", "deliveries"])
def test_unknown_id_is_an_error_with_a_remedy(filled: Desk, noun: str) -> None:
    """An unknown id or an ambiguous prefix is an error with a remedy, without a traceback."""
    unknown = filled.call(noun, "show", "zzzz")
    assert unknown.status == 1
    assert f"actionwatch {noun} list" in unknown.err
    several = filled.call(noun, "show", "")
    assert several.status == 1
    assert "give a longer prefix" in several.err


def test_status_has_the_format_of_the_contract(filled: Desk) -> None:
    """`status -o json` has exactly the keys of the contract and correct numbers. Without troubles, the exit status is 0."""
    called = filled.call("status", "-o", "json")
    assert called.status == 0
    status = called.json
    more = ["replicas"] if filled.store.startswith("postgresql") else []
    assert list(status) == [
        "sight",
        "seeing",
        "sources",
        "receivers",
        "rules",
        "troubles",
        "silences",
        "last_reload",
        *more,
    ]
    (source,), (receiver,) = status["sources"], status["receivers"]
    assert list(source) == ["name", "mark", "seen_through", "proved_through", "last_poll", "records"]
    assert (source["name"], source["records"]) == ("acme", 5)
    assert all(TIME.fullmatch(source[name]) for name in ("mark", "seen_through", "proved_through", "last_poll"))
    assert source["mark"] <= source["seen_through"]
    assert {**receiver, "last_sent": None} == {"name": "soar", "pending": 0, "dead": 0, "last_sent": None}
    assert TIME.fullmatch(receiver["last_sent"])
    assert status["rules"] == {"live": 1, "shadow": 0, "off": 0, "broken": 0}
    assert status["troubles"] == status["silences"] == []


def test_receivers_are_listed_with_their_queues(filled: Desk) -> None:
    """`receivers list` prints type, level and queue of each receiver."""
    assert filled.call("receivers", "list", "-o", "json").json == [
        {"name": "soar", "type": "webhook", "min_level": "informational", "pending": 0, "dead": 0, "last_error": None}
    ]


def test_rules_are_listed(filled: Desk) -> None:
    """`rules list` prints each rule with its file and line, and `rules check` accepts them."""
    (rule,) = filled.call("rules", "list", "-o", "json").json
    assert (rule["name"], rule["level"]) == ("cluster_deleted", "critical")
    assert rule["file"].endswith("cluster_deleted.yml")
    assert filled.call("rules", "list").status == 0
    assert filled.call("rules", "check").status == 0
    assert filled.call("check").status == 0
    assert filled.call("check", "-o", "json").json == []


def test_misspelt_format_is_reported_with_its_location(filled: Desk) -> None:
    """An unknown format is a fault of the configuration file, with a suggestion."""
    text = filled.config.read_text()
    filled.config.write_text(text.replace("webhook: {", "webhook: {format: ocfs, ", 1))
    assert filled.config.read_text() != text
    for command in ("check", "templates check"):
        called = filled.call(*command.split())
        assert called.status == 2
        assert re.search(r"actionwatch\.yaml:\d+:\d+: format: .*ocfs\.json\.j2.*: did you mean 'ocsf'\?", called.err)


TABLES = [
    ["records", "list"], ["alerts", "list"], ["deliveries", "list"], ["receivers", "list"], ["rules", "list"], ["status"],
]  # fmt: skip


@pytest.mark.parametrize("command", TABLES, ids=" ".join)
def test_table_in_a_pipe_is_not_truncated(filled: Desk, command: list[str]) -> None:
    """In a pipe, lines contain complete ids and texts, no colour, and no trailing spaces."""
    called = filled.call(*command)
    assert called.status == 0
    assert "…" not in called.out
    assert "\x1b" not in called.out
    assert all(line == line.rstrip() for line in called.out.splitlines())
    for row in filled.call(*command, "-o", "json").json if command[0] in ("alerts", "deliveries") else []:
        assert row["id"] in called.out


@in_one_test("width", [60, 80, 100, 140])
@in_one_test("command", TABLES)
def test_a_table_fits_its_terminal(
    filled: Desk, command: list[str], width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal, each row is one line that fits the width."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    called = filled.call(*command, is_terminal=True)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", called.out).splitlines()
    assert max(map(len, lines)) <= width
    if command != ["status"]:
        assert len(lines) == 1 + len(filled.call(*command, "-o", "json").json)


def test_hostile_text_is_shown_escaped(filled: Desk) -> None:
    """Control characters and spreadsheet formulas in audit text are escaped."""
    for command in (["records", "list"], ["alerts", "list"]):
        assert "\u202e" not in filled.call(*command).out
    assert "\\u202e" in filled.call("records", "list").out


def test_empty_store_gives_empty_lists(desk: Desk) -> None:
    """Before the first poll every list is empty: a message in the table format, valid JSON otherwise."""
    app.open_store(configuration.read_settings(desk.config)).close()
    for command in (["records", "list"], ["alerts", "list"], ["deliveries", "list"]):
        called = desk.call(*command)
        assert (called.status, called.out) == (0, "")
        assert called.err.startswith("no ")
        assert desk.call(*command, "-o", "json").json == []
        assert desk.call(*command, "-o", "jsonl").out == ""
    assert desk.call("records", "export").out == ""
    source = desk.call("status", "-o", "json").json["sources"][0]
    assert source == {
        "name": "acme",
        "mark": None,
        "seen_through": None,
        "proved_through": None,
        "last_poll": None,
        "records": 0,
        "state": "silent",
    }
    assert "never" in desk.call("status").out


def test_the_schema_is_json_schema(filled: Desk) -> None:
    """`receivers schema` prints a JSON Schema that accepts every message of the webhook. It needs no configuration."""
    schema: Any = filled.call("receivers", "schema").json
    validator = jsonschema_rs.validator_for(schema)
    assert len(filled.webhook.requests) == 2
    for request in filled.webhook.requests:
        validator.validate(json.loads(request.body))


# -- the proof


def test_receipts_can_be_read_and_checked(desk: Desk) -> None:
    """A receipt shows what it attests, and `--verify` finds one that the stored records contradict."""
    desk.act("CREATE_CLUSTER", 50)
    desk.act("DELETE_CLUSTER", 40)
    assert desk.call("run", "--once").status == 0
    listed = desk.call("records", "receipts", "-o", "json")
    receipt = listed.json[-1]  # the first receipt is that of the poll; that of a sweep follows
    assert list(receipt) == [
        "source", "from", "to", "first_judged_at", "judged_at", "proofs", "method", "records", "kinds", "requests", "digest",
    ]  # fmt: skip
    assert (receipt["method"], receipt["records"], receipt["proofs"]) == ("counts", 2, 1)
    assert receipt["kinds"] == {"CREATE_CLUSTER": 1, "DELETE_CLUSTER": 1}
    assert TIME.fullmatch(receipt["from"])
    assert desk.call("records", "receipts", "-o", "jsonl").jsonl == listed.json
    assert desk.call("records", "receipts", "--since", "1m", "--until", "2d", "-o", "json").json == []
    assert desk.call("records", "receipts", "--source", "other", "-o", "json").json == []
    for vouching in (["receipts", "--verify"], ["proof"]):
        refused = desk.call("records", *vouching, "--source", "other")
        assert (refused.status, "no source is named other: the sources are: acme" in refused.err) == (2, True)
    verified = desk.call("records", "receipts", "--verify", "-o", "json")
    assert verified.status == 0
    assert {found["check"] for found in verified.json} == {"same"}
    begins = min(datetime.fromisoformat(each["from"]) for each in verified.json)
    ends = max(datetime.fromisoformat(each["to"]) for each in verified.json)
    count, span = len(verified.json), f"{spell_time(begins)} to {spell_time(ends)}"
    summary = f"verified {count} receipts, {span}: {count} match the stored records, 0 differ\n"
    assert desk.call("records", "receipts", "--verify").out == summary
    desk.change("DELETE FROM record WHERE action_kind = 'DELETE_CLUSTER'")
    tampered = desk.call("records", "receipts", "--verify")
    assert tampered.status == 1
    assert "DIFFERS" in tampered.out
    assert spell_time(datetime.fromisoformat(receipt["from"])) in tampered.err
    assert "attests 2 records, the store has 1" in tampered.err
    assert tampered.out.splitlines()[-1].endswith(" 1 differs")


def test_what_retention_deleted_is_no_difference(desk: Desk) -> None:
    """A receipt from before the retention of records, whose records are gone, cannot be verified: that is no difference."""
    desk.retention = "30d"
    desk.write()
    old, recent = datetime.now(UTC) - timedelta(days=31), datetime.now(UTC) - timedelta(days=29)
    with contextlib.closing(desk.open_store()) as database:
        database.upgrade()
        with database.write() as connection:
            receipts.write(connection, make_receipt(starts_at=old, ends_at=old, record_count=2, digest="d"))
    verified = desk.call("records", "receipts", "--verify")
    assert (verified.status, verified.err) == (0, "")
    assert "0 differ, 1 cannot be verified, because retention deleted records" in verified.out
    assert "records deleted by retention" in verified.out
    with contextlib.closing(desk.open_store()) as database, database.write() as connection:
        receipts.write(connection, make_receipt(starts_at=recent, ends_at=recent, record_count=2, digest="d"))
    verified = desk.call("records", "receipts", "--verify", "-o", "json")
    assert (verified.status, [each["check"] for each in verified.json]) == (1, ["differs", "expired"])


def held_receipts() -> int:
    """Count the receipts in memory."""
    return sum(isinstance(each, WindowReceipt) for each in gc.get_objects())


class Sampling(io.StringIO):
    """An output that notes how many receipts are in memory at every hundredth write, besides those of other tests."""

    def __init__(self) -> None:
        super().__init__()
        self.write_count = self.most_held = 0
        self.held_before = held_receipts()

    def write(self, text: str, /) -> int:
        """Write a text."""
        if self.write_count % 100 == 0:
            self.most_held = max(self.most_held, held_receipts() - self.held_before)
        self.write_count += 1
        return super().write(text)


def store_receipts(desk: Desk, count: int) -> None:
    """Store receipts of empty windows, one of each day."""
    times = [NOON + timedelta(days=number) for number in range(count)]
    rows = [dataclasses.asdict(make_receipt(starts_at=at, ends_at=at)) for at in times]
    with contextlib.closing(desk.open_store()) as database:
        database.upgrade()
        with database.write() as connection:
            connection.execute(RECEIPT.insert(), rows)


@pytest.mark.parametrize("form", ["table", "json", "jsonl"])
def test_receipts_are_verified_one_after_the_other(desk: Desk, form: str) -> None:
    """However many receipts are verified, only a few are in memory at a time; JSON is a document as before."""
    store_receipts(desk, 300)
    out = Sampling()
    with contextlib.redirect_stdout(out):
        assert cli.call(["-c", str(desk.config), "records", "receipts", "--verify", "-o", form]) == 0
    shown = Called(0, out.getvalue(), "")
    if form == "table":
        assert shown.out.startswith("verified 300 receipts, ")
    else:
        assert [found["check"] for found in (shown.json if form == "json" else shown.jsonl)] == ["same"] * 300
    assert out.write_count > 0
    assert out.most_held < 10


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_receipts_whose_reader_is_gone_end_without_a_traceback(desk: Desk, form: str) -> None:
    """`records receipts -o json | head` prints no error: the store is not closed while its rows are still read."""
    store_receipts(desk, 300)
    command = f"{COMMAND} -c {desk.config} records receipts --verify -o {form} | true"
    assert run_child(["sh", "-c", command]).stderr == ""


def test_an_empty_list_is_an_empty_json_array(desk: Desk) -> None:
    """JSON without any item is `[]`, and lists are indented like other JSON."""
    assert desk.call("run", "--once").status == 0
    assert desk.call("records", "list", "-o", "json").out == "[]\n"
    receipts = desk.call("records", "receipts", "-o", "json")
    assert receipts.out == json.dumps(receipts.json, indent=2) + "\n"


def test_proof_shows_unproved_time(desk: Desk) -> None:
    """`records proof` distinguishes proved time from time that was only read."""
    desk.act("CREATE_CLUSTER", 50)
    assert desk.call("run", "--once").status == 0
    whole = desk.call("records", "proof", "-o", "json")
    assert whole.status == 0
    (stretch,) = whole.json
    assert (stretch["source"], stretch["is_proved"], stretch["why"]) == ("acme", True, None)
    desk.change("UPDATE source SET seen_through = seen_through + 60000000")
    gap = desk.call("records", "proof", "-o", "json")
    assert gap.status == 1
    assert [found["is_proved"] for found in gap.json] == [True, False]
    assert gap.json[1]["from"] == stretch["to"]
    assert desk.call("records", "proof", "--until", stretch["to"]).status == 0
    assert "NO" in desk.call("records", "proof").out


def test_proof_shows_what_the_last_poll_could_not_read(desk: Desk) -> None:
    """`records proof` does not end with proved time while records after it cannot be read."""
    desk.act("CREATE_CLUSTER", 50)
    assert desk.call("run", "--once").status == 0
    (proved,) = desk.call("records", "proof", "-o", "json").json
    desk.change(
        "UPDATE poll SET last_error = 'it cannot be read', failures = 3, last_poll_at = last_poll_at + 60000000"
    )
    found = desk.call("records", "proof", "-o", "json")
    assert found.status == 1
    assert [each["is_proved"] for each in found.json] == [True, False]
    assert found.json[0] == proved
    assert (found.json[1]["from"], found.json[1]["why"]) == (proved["to"], "not read: it cannot be read")
    assert desk.call("records", "proof", "--until", proved["to"]).status == 0
    after = desk.call("records", "proof", "--since", proved["to"], "-o", "json")
    assert (after.status, [each["is_proved"] for each in after.json]) == (1, [False])


def test_proof_does_not_include_time_of_an_overdue_sweep(desk: Desk) -> None:
    """`records proof` does not show time as proved if its sweep is overdue."""
    desk.act("CREATE_CLUSTER", 600)
    desk.act("CREATE_CLUSTER", 50)
    for _ in range(2):
        assert desk.call("run", "--once").status == 0
    (whole,) = desk.call("records", "proof", "-o", "json").json
    desk.change("UPDATE sweep SET asked_at = asked_at - 7200000000 WHERE reach = 3600000000")
    found = desk.call("records", "proof", "-o", "json")
    assert found.status == 1
    assert [stretch["is_proved"] for stretch in found.json] == [True, False, True]
    assert "not checked for late records since" in found.json[1]["why"]
    assert (found.json[0]["from"], found.json[-1]["to"]) == (whole["from"], whole["to"])
    assert [one["to"] for one in found.json[:2]] == [one["from"] for one in found.json[1:]]


def test_status_shows_a_backlog(desk: Desk) -> None:
    """`status` shows the progress of a source only while it catches up."""
    desk.act("CREATE_CLUSTER", 50)
    assert desk.call("run", "--once").status == 0
    assert "backlog" not in desk.call("status", "-o", "json").json["sources"][0]
    began = datetime.now(UTC) - timedelta(days=2)
    backlog = Backlog(
        source="acme",
        starts_at=began,
        ends_at=began + timedelta(hours=10),
        through=began + timedelta(hours=4),
        record_count=5000,
        began_at=began,
        began_through=began,
        began_count=0,
        noted_at=began + timedelta(seconds=40),
    )
    database = desk.open_store()
    with database.write() as connection:
        backlog_progress.write(connection, backlog)
    database.close()
    shown = desk.call("status", "-o", "json").json["sources"][0]["backlog"]
    assert {name: shown[name] for name in ("share", "records", "records_per_second", "remaining_seconds")} == {
        "share": 0.4, "records": 5000, "records_per_second": 125.0, "remaining_seconds": 60,
    }  # fmt: skip
    assert "40% done" in desk.call("status").out


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()])
def test_progress_is_shown_only_on_a_terminal(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run --once` shows the progress of a backlog on a terminal, but not in a pipe."""
    monkeypatch.setenv("TERM", "xterm")
    at = datetime.now(UTC)
    backlog = Backlog(
        source="acme",
        starts_at=at,
        ends_at=at + timedelta(hours=1),
        through=at,
        record_count=1234,
        began_at=at,
        began_through=at,
        began_count=0,
        noted_at=at,
    )
    with contextlib.redirect_stderr(stream), showing_backlogs() as show:
        show(backlog)
        show(dataclasses.replace(backlog, through=at + timedelta(minutes=30)))
    assert ("acme: 1,234 records" in stream.getvalue()) is stream.isatty()
    assert ("50%" in stream.getvalue()) is stream.isatty()
