"""Commands that change something (`run --once`, `deliveries retry`, `accounts`, `init`, …), and their exit codes."""

from __future__ import annotations

import contextlib
import json
import socket
import sqlite3
from datetime import datetime
from pathlib import Path

import pytest

from actionwatch.service import app, configuration
from actionwatch.text.times import spell_time
from tests.integration.cli.conftest import BROKEN_RULE, Desk, call
from tests.integration.notifiers.http_end import Reply, dead_port

SHIPPED = sorted(path.name for path in configuration.shipped("rules").rglob("*.yml"))


def test_second_run_once_repeats_nothing(desk: Desk) -> None:
    """Two runs for cron store each record once, open each alert once, and send each message once."""
    desk.act("DELETE_CLUSTER", 5)
    assert desk.call("run", "--once").status == 0
    assert desk.call("run", "--once").status == 0
    assert len(desk.call("records", "list", "-o", "json").json) == 1
    assert len(desk.call("alerts", "list", "-o", "json").json) == 1
    assert len(desk.webhook.requests) == 1


def test_next_run_once_delivers_what_failed(desk: Desk) -> None:
    """If a receiver is down, the exit status is 1 and the message stays pending. The next round delivers it."""
    desk.act("DELETE_CLUSTER", 5)
    desk.webhook.queue.append(Reply(503, headers={"retry-after": "1"}))
    first = desk.call("run", "--once")
    assert first.status == 1
    assert "soar: 1 message failed and is retried at 2" in first.err
    assert desk.call("run", "--once", "--wait", "5s").status == 0
    failed, taken = desk.webhook.requests
    assert failed.headers["webhook-id"] == taken.headers["webhook-id"]
    assert failed.body == taken.body


def test_run_once_with_a_message_due_later_succeeds(desk: Desk) -> None:
    """If only an update waits for its receiver's interval, the exit status is 0, and the run lists what waits."""
    rule = desk.folder / "rules" / "cluster_deleted.yml"
    rule.write_text(rule.read_text() + "  group_by: [userName]\n  realert: 1d\n")
    desk.config.write_text(desk.config.read_text().replace("    retry:", "    updates: 15m\n    retry:"))
    desk.act("DELETE_CLUSTER", 5)
    assert desk.call("run", "--once").status == 0
    desk.act("DELETE_CLUSTER", 4)
    second = desk.call("run", "--once")
    assert second.status == 0, second.err
    (waiting,) = [row for row in desk.call("deliveries", "list", "-o", "json").json if row["status"] == "pending"]
    due = spell_time(datetime.fromisoformat(waiting["due_at"]))
    assert second.out == f"soar: 1 message not due yet, the next at {due}\n"
    assert desk.call("run", "--once").status == 0
    assert len(desk.webhook.requests) == 1


def test_refused_linked_accounts_are_reported(desk: Desk) -> None:
    """While the linked accounts cannot be listed, `status` shows a trouble that names the rules that match nothing."""
    shipped = configuration.shipped("rules").rglob("linked_account_vanished.yml")
    (desk.folder / "rules" / "vanished.yml").write_text(next(iter(shipped)).read_text())
    assert desk.call("run", "--once").status == 0
    desk.faults.set("forbidden:status,operation=linked_accounts")
    assert desk.call("run", "--once").status == 0
    status = desk.call("status", "-o", "json")
    assert status.status == 1
    assert [trouble["trouble"] for trouble in status.json["troubles"]] == ["accounts_refused"]
    shown = " ".join(desk.call("status").out.split())
    assert "Affected rules: linked_account_vanished" in shown
    (message,) = desk.webhook.requests
    assert json.loads(message.body)["data"]["labels"] == {"trouble": "accounts_refused"}
    desk.faults.clear()
    assert desk.call("run", "--once").status == 0
    assert desk.call("status").status == 0


def test_failed_poll_does_not_stop_matching_and_delivery(desk: Desk) -> None:
    """If a source cannot be polled, the exit status is 1, and stored records are still matched and delivered."""
    desk.act("DELETE_CLUSTER", 5)
    assert desk.call("run", "--once").status == 0
    with contextlib.closing(sqlite3.connect(desk.file)) as store:
        store.execute("UPDATE delivery SET status = 'pending', sent_at = NULL, due_at = 0")
        store.execute("INSERT OR REPLACE INTO sweep VALUES ('acme', 3600000000, 'no time')")
        store.commit()
    failed = desk.call("run", "--once")
    assert failed.status == 1
    assert "Traceback" not in failed.err
    rules = [json.loads(each.body)["data"]["rule"]["name"] for each in desk.webhook.requests]
    assert sorted(rules) == ["actionwatch_self", "cluster_deleted", "cluster_deleted"]


def test_run_once_waits_for_retries(desk: Desk) -> None:
    """With --wait, a message that fails at first is delivered in the same run."""
    desk.act("DELETE_CLUSTER", 5)
    desk.webhook.queue += [Reply(503), Reply(503)]
    assert desk.call("run", "--once", "--wait", "5m").status == 0
    assert len(desk.webhook.requests) == 3


def test_a_wrong_key_is_a_trouble(desk: Desk) -> None:
    """A refused key leads to exit status 1, a self-alert and a trouble in `status`. The next successful run resolves it."""
    desk.write(api_key="wrong-key-123")
    refused = desk.call("run", "--once")
    assert refused.status == 1
    assert "rejected the API key" in refused.err
    assert "wrong-key-123" not in refused.err + refused.out
    status = desk.call("status", "-o", "json")
    assert status.status == 1
    (trouble,) = status.json["troubles"]
    assert list(trouble) == ["trouble", "subject", "since", "what", "remedy"]
    assert trouble["trouble"] == "key_refused"
    assert "key_refused" in desk.call("status").out
    (alert,) = desk.call("alerts", "list", "-o", "json").json
    assert (alert["rule"]["name"], alert["labels"]) == ("actionwatch_self", {"trouble": "key_refused"})
    desk.write()
    assert desk.call("run", "--once").status == 0
    assert desk.call("status", "-o", "json").json["troubles"] == []
    assert [request.json["type"] for request in desk.webhook.requests] == ["alert.opened", "alert.resolved"]


def test_upstream_that_is_down(desk: Desk) -> None:
    """If the upstream is down, every command that queries it exits with 1 and prints one line with a remedy."""
    with dead_port() as port:
        desk.write(base_url=f"http://127.0.0.1:{port}")
        for command in (["actions"], ["accounts", "list"]):
            called = desk.call(*command)
            assert called.status == 1
            assert called.err.startswith("actionwatch: no response from")
            assert "Traceback" not in called.err
            assert len(called.err.splitlines()) == 1


def test_broken_rule_disables_only_itself(desk: Desk) -> None:
    """A broken file raises one alert and one trouble, regardless of the number of faults, and the other rules keep running."""
    (desk.folder / "rules" / "broken.yml").write_text(BROKEN_RULE + "colour: red\n")
    desk.act("DELETE_CLUSTER", 5)
    assert desk.call("run", "--once").status == 0
    titles = sorted(request.json["data"]["rule"]["name"] for request in desk.webhook.requests)
    assert titles == ["actionwatch_self", "cluster_deleted"]
    status = desk.call("status", "-o", "json")
    assert status.status == 1
    assert status.json["rules"] == {"live": 1, "shadow": 0, "off": 0, "broken": 1}
    assert [trouble["trouble"] for trouble in status.json["troubles"]] == ["rule_broken"]
    assert desk.call("rules", "list").status == 1
    checked = desk.call("check")
    assert checked.status == 2
    assert "broken.yml:6:5: unknown field 'actionKin'" in checked.err
    faults = desk.call("check", "-o", "json")
    assert faults.status == 2
    assert list(faults.json[0]) == ["kind", "file", "line", "column", "what", "remedy"]


BAD = """\
sources:
  - name: acme
    organisation_id: ${ACTIONWATCH_TEST_UNSET}
    username: demo
    api_key_file: nowhere/key
    poll_intervall: 1s
    timeout: 5x
receivers:
  - name: soar
    webhook: {url: "http://127.0.0.1:9/x"}
rules: []
route:
  receiver: saor
"""
FAULTS = [
    "3:5: the environment variable ACTIONWATCH_TEST_UNSET is not set",
    "5:5: api_key_file: cannot read the secret file",
    "6:5: unknown key 'poll_intervall': did you mean 'poll_interval'?",
    "7:5: timeout: not a duration",
    "13:3: receiver: no receiver has the name 'saor': did you mean 'soar'?",
]
EVERY_READER = [
    ["check"], ["run"], ["run", "--once"], ["status"], ["actions"], ["accounts", "list"], ["records", "list"],
    ["records", "export"], ["rules", "list"], ["rules", "check"], ["alerts", "list"], ["alerts", "show", "x"],
    ["deliveries", "list"], ["deliveries", "show", "x"], ["deliveries", "retry", "--dead"], ["receivers", "list"],
    ["receivers", "test", "soar"],
]  # fmt: skip


@pytest.mark.parametrize("command", EVERY_READER, ids=" ".join)
def test_broken_configuration_stops_every_command(command: list[str], tmp_path: Path) -> None:
    """Every command that reads a broken configuration prints all faults with their locations, exits with 2, writes nothing."""
    config = tmp_path / "actionwatch.yaml"
    config.write_text(BAD)
    called = call("-c", str(config), *command)
    assert called.status == 2
    lines = called.err.splitlines()
    assert len(lines) == len(FAULTS)
    for line, fault in zip(lines, FAULTS, strict=True):
        assert line.startswith(f"{config}:{fault}")
    assert list(tmp_path.iterdir()) == [config]


@pytest.mark.parametrize("command", EVERY_READER, ids=" ".join)
def test_missing_configuration_is_explained(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a configuration, one line explains how to name or create one, and the exit status is 2."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ACTIONWATCH_CONFIG", raising=False)
    called = call(*command)
    assert called.status == 2
    assert "actionwatch init" in called.err
    assert len(called.err.splitlines()) == 1


def test_configuration_from_the_environment(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """ACTIONWATCH_CONFIG names the file unless -c does."""
    monkeypatch.setenv("ACTIONWATCH_CONFIG", str(desk.config))
    assert call("status", "-o", "json").json["sources"][0]["name"] == "acme"
    assert call("-c", "nowhere.yaml", "status").status == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["records", "list", "--since", "yesterday"],
        ["records", "list", "--limit", "0"],
        ["records", "list", "--operation", "DESTROY"],
        ["records", "list", "-o", "yaml"],
        ["run", "--once", "--wait", "5"],
        ["run", "--wait", "5s"],
        ["run", "--twice"],
        ["alerts", "show"],
        ["deliveries", "retry"],
        ["deliveries", "retry", "x", "--dead"],
        ["receivers", "test", "nobody"],
        ["actions", "--source", "nobody"],
        ["demo", "--for", "soon"],
        ["demo", "--port", "99999"],
        ["emulator", "--scenario", "nowhere.yml"],
        ["emulator", "--fault", "nope"],
        ["emulator", "--rate", "1/m"],
        ["emulator", "--write-sources", "sources.yml"],
        ["emulator", "--organisations", "2", "--rate", "often"],
        ["emulator", "--organisations", "2", "--fault", "nope"],
        ["emulator", "--organisations", "0"],
        ["rules", "check", "nowhere"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(desk: Desk, arguments: list[str]) -> None:
    """A wrong option or argument leads to exit status 2, without a traceback."""
    called = desk.call(*arguments)
    assert called.status == 2
    assert "Error: " in called.err
    assert called.out == ""


def test_dead_letter_is_retried(desk: Desk) -> None:
    """A refused message becomes a dead letter, which is listed and raises an alert. `retry` sends it under the same id."""
    desk.act("DELETE_CLUSTER", 5)
    desk.webhook.queue.append(Reply(400, b"no such field"))
    assert desk.call("run", "--once").status == 1
    (dead,) = desk.call("deliveries", "list", "--dead", "-o", "json").json
    assert dead["status"] == "dead"
    assert "no such field" in dead["last_error"]
    assert "no such field" in desk.call("deliveries", "list", "--dead").out
    retried = desk.call("deliveries", "retry", dead["id"][:8], "--author", "sam")
    assert (retried.status, retried.out) == (0, "1 dead letter will be tried again\n")
    history = desk.call("alerts", "show", dead["alert"], "-o", "json").json["history"]
    assert ("retried", "opened goes to soar again, by sam") in [(line["stage"], line["what"]) for line in history]
    again = desk.call("deliveries", "retry", dead["id"])
    assert again.status == 1
    assert "is pending, not a dead letter" in again.err
    assert desk.call("deliveries", "retry", "zzzz").status == 1
    assert desk.call("run", "--once", "--wait", "5s").status == 0
    sent = [request for request in desk.webhook.requests if request.headers["webhook-id"] == dead["id"]]
    assert len(sent) == 2
    assert desk.call("status").status == 0
    none_left = desk.call("deliveries", "retry", "--dead")
    assert (none_left.status, none_left.err) == (0, "no dead letters\n")


def test_every_dead_letter_at_once(desk: Desk) -> None:
    """`retry --dead` sends all dead letters again."""
    desk.act("DELETE_CLUSTER", 5, "eve")
    desk.act("DELETE_CLUSTER", 4, "bob")
    desk.webhook.queue += [Reply(410), Reply(410)]
    desk.call("run", "--once")
    assert desk.call("deliveries", "retry", "--dead").out == "2 dead letters will be tried again\n"


def test_a_receiver_is_tested_through_the_real_path(desk: Desk) -> None:
    """A marked test message arrives. If it is refused, the exit status is 1 and the receiver's response is shown."""
    called = desk.call("receivers", "test", "soar")
    assert called.status == 0, called.err
    (request,) = desk.webhook.requests
    assert request.json["type"] == "receiver.test"
    assert request.headers["webhook-id"] in called.out
    desk.webhook.queue.append(Reply(403, b"who are you"))
    refused = desk.call("receivers", "test", "soar")
    assert refused.status == 1
    assert "who are you" in refused.err


def test_receivers_preview_shows_the_message_of_a_rule(desk: Desk) -> None:
    """`receivers preview` uses a rule's own tests, for plain rules, correlations and absence. It sends nothing."""
    shipped = configuration.shipped("rules")
    for name in ("cluster_deleted", "clusters_deleted_in_bulk", "backups_stopped"):
        (desk.folder / "rules" / f"{name}.yml").write_text((shipped / f"{name}.yml").read_text())
        called = desk.call("receivers", "preview", name, "soar")
        assert called.status == 0, called.err
        shown = json.loads(called.out.partition("\n")[2])
        assert (shown["type"], shown["data"]["rule"]["name"]) == ("alert.opened", name)
        assert shown["data"]["runbook"]
    assert not desk.webhook.requests


def test_a_second_service_on_one_store_is_refused(desk: Desk) -> None:
    """While a service owns the store, another run exits with 1 and the reason; commands that read still work."""
    settings = configuration.read_settings(desk.config)
    database = app.open_store(settings)
    try:
        assert desk.call("run", "--once").status == 0
        with database.joined():
            called = desk.call("run", "--once")
            assert called.status == 1
            assert "another actionwatch runs" in called.err
            assert desk.call("status").status == 0
    finally:
        database.close()


def test_the_web_port_is_taken(desk: Desk) -> None:
    """The service does not start on a port in use: it exits with 1 and prints the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        desk.config.write_text(desk.config.read_text().replace("127.0.0.1:0", f"127.0.0.1:{port}"))
        called = desk.call("run")
    assert called.status == 1
    assert f"cannot listen on 127.0.0.1:{port}" in called.err


def test_unwritable_store_is_reported(desk: Desk) -> None:
    """If the store cannot be created, the exit status is 1 and one line names it."""
    (desk.folder / "file").write_text("")
    assert not desk.file.exists()
    desk.config.write_text(desk.config.read_text() + "store: {url: 'sqlite:///file/actionwatch.db'}\n")
    called = desk.call("run", "--once")
    assert called.status == 1
    assert called.err.startswith("actionwatch: cannot open the store")


def test_actions_come_from_the_upstream(desk: Desk) -> None:
    """`actions` queries the upstream with each filter, limit and counts, and prints the records in the message's format."""
    desk.act("CREATE_CLUSTER", 50, "bob@example.com")
    desk.act("DELETE_CLUSTER", 40, "eve@example.com")
    desk.act("DELETE_CLUSTER", 30, "eve@example.com", "for good")

    def found(*arguments: str) -> list[str]:
        called = desk.call("actions", "-o", "jsonl", *arguments)
        assert called.status == 0, called.err
        return [record["actionKind"] for record in called.jsonl]

    assert sorted(found()) == ["CREATE_CLUSTER", "DELETE_CLUSTER", "DELETE_CLUSTER"]
    assert found("--kind", "create_cluster") == ["CREATE_CLUSTER"]
    assert found("--user", "bob@example.com") == ["CREATE_CLUSTER"]
    assert found("--keyword", "for good") == ["DELETE_CLUSTER"]
    assert found("--operation", "CREATE") == ["CREATE_CLUSTER"]
    assert found("--scope", "organisation") == []
    assert found("--account", "payments", "--since", "35m") == ["DELETE_CLUSTER"]
    assert found("--cluster", desk.cluster.id, "--until", "45m") == ["CREATE_CLUSTER"]
    assert len(found("--limit", "2")) == 2
    assert desk.call("actions", "--counts", "-o", "json").json == {"CREATE_CLUSTER": 1, "DELETE_CLUSTER": 2}
    assert desk.call("actions", "--counts", "--kind", "DELETE_CLUSTR", "-o", "json").json == {}
    assert desk.call("actions", "--counts").out.splitlines()[1].split() == ["DELETE_CLUSTER", "2"]
    assert not (desk.folder / "actionwatch.db").exists()


def test_linked_accounts_are_listed_created_and_unlinked(desk: Desk) -> None:
    """Accounts can be listed, created and unlinked. Commands that write ask first and do nothing without confirmation."""
    (listed,) = desk.call("accounts", "list", "-o", "json").json
    assert (listed["accountId"], listed["accountName"]) == (desk.account.id, "payments")
    assert desk.account.id in desk.call("accounts", "list").out
    refused = desk.call("accounts", "create", "billing", stdin="n\n", is_terminal=True)
    assert (refused.status, "nothing was changed" in refused.err) == (1, True)
    for command in (["create", "billing"], ["unlink", desk.account.id]):
        for stdin in ("", "y\n"):
            unasked = desk.call("accounts", *command, stdin=stdin)
            assert (unasked.status, unasked.out) == (2, "")
            assert "pass --yes" in unasked.err
    assert len(desk.organisation.inventory.accounts) == 1
    created = desk.call("accounts", "create", "billing", stdin="y\n", is_terminal=True)
    assert created.status == 0
    new = created.out.split()[-1]
    assert [account.id for account in desk.organisation.inventory.accounts] == [desk.account.id, new]
    refused = desk.call("accounts", "create", "billing", "--yes")
    assert refused.status == 1
    assert "taken" in refused.err
    assert desk.call("accounts", "unlink", new, "--yes").status == 0
    assert desk.call("accounts", "unlink", new, "--yes").status == 1
    assert [account.id for account in desk.organisation.inventory.accounts] == [desk.account.id]


def test_init_writes_and_never_overwrites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`init` writes a folder that passes `check`, and keeps existing files."""
    folder = tmp_path / "new"
    called = call("init", str(folder))
    assert called.status == 0
    written = [
        path for path in folder.rglob("*") if path.is_file() and path.parent.name not in ("schemas", "rule-examples")
    ]
    names = {str(path.relative_to(folder)) for path in written}
    others = {"actionwatch.yaml", "actionwatch.service", "compose.yaml", "rules/lists/production-clusters.txt"}
    assert names == {*others, *(f"rules/{name}" for name in SHIPPED)}
    (folder / "actionwatch.yaml").write_text("mine")
    (folder / "rules" / SHIPPED[0]).unlink()
    again = call("init", str(folder))
    assert again.status == 0
    assert (folder / "actionwatch.yaml").read_text() == "mine"
    assert (folder / "rules" / SHIPPED[0]).exists()
    assert "kept" in again.out
    (folder / "actionwatch.yaml").unlink()
    call("init", str(folder))
    for name in ("ORGANISATION_ID", "USERNAME", "API_KEY"):
        assert call("-c", str(folder / "actionwatch.yaml"), "check").status == 2
        monkeypatch.setenv(f"ACTIONWATCH_{name}", "a-value-of-mine")
    checked = call("-c", str(folder / "actionwatch.yaml"), "check")
    assert checked.status == 0, checked.err
    assert "no errors, " in checked.out


def test_init_without_permission_to_write(tmp_path: Path) -> None:
    """If the folder cannot be created, the exit status is 1; if it is a file, 2. Neither prints a traceback."""
    (tmp_path / "file").write_text("")
    assert call("init", str(tmp_path / "file")).status == 2
    called = call("init", str(tmp_path / "file" / "below"))
    assert called.status in (1, 2)
    assert "Traceback" not in called.err


def test_check_reports_rules_although_the_configuration_is_broken(desk: Desk) -> None:
    """`check` reports the faults of rules even if the configuration is broken."""
    (desk.folder / "rules" / "broken.yml").write_text("title: x\nname: broken\n")
    configuration = desk.folder / "actionwatch.yaml"
    configuration.write_text(configuration.read_text() + "\nnonsense: 1\n")
    checked = desk.call("check")
    assert checked.status == 2
    assert "unknown key 'nonsense'" in checked.err
    assert "broken.yml:1:1: " in checked.err


def _rename(desk: Desk, new: str) -> None:
    desk.config.write_text(desk.config.read_text().replace("name: soar", f"name: {new}"))


def test_dead_letters_of_a_renamed_receiver(desk: Desk) -> None:
    """They are listed and raise an alert. `retry` reports that it cannot send them; `--to` sends them under the same ids."""
    desk.config.write_text(desk.config.read_text().replace("0.05s, max: 0.1s,", "1h, max: 1h,"))
    desk.act("DELETE_CLUSTER", 5, "eve")
    desk.act("DELETE_CLUSTER", 4, "bob")
    desk.webhook.queue += [Reply(503), Reply(503)]
    desk.call("run", "--once")
    _rename(desk, "soar-eu")
    assert desk.call("run", "--once").status == 1
    letters = desk.call("deliveries", "list", "--dead", "-o", "json").json
    assert [(row["receiver"], row["why"]) for row in letters] == [("soar", "no longer configured")] * 2
    status = desk.call("status", "-o", "json")
    assert status.status == 1
    assert [(row["name"], row["dead"]) for row in status.json["receivers"]] == [("soar-eu", 0), ("soar", 2)]
    (trouble,) = status.json["troubles"]
    assert trouble["trouble"] == "dead_letters"
    assert "deliveries retry --dead --receiver soar --to NAME" in trouble["remedy"]

    for arguments in (["--dead"], [letters[0]["id"]], ["--receiver", "soar"]):
        refused = desk.call("deliveries", "retry", *arguments)
        assert (refused.status, refused.out) == (1, "")
        assert "no longer configured (" in refused.err
        assert "--to NAME" in refused.err
    misspelt = desk.call("deliveries", "retry", "--dead", "--to", "soar-eo")
    assert misspelt.status == 2
    assert "no receiver is named soar-eo: did you mean 'soar-eu'?" in misspelt.err
    assert len(desk.call("deliveries", "list", "--dead", "-o", "json").json) == 2

    one = desk.call("deliveries", "retry", letters[0]["id"][:8], "--to", "soar-eu")
    assert (one.status, one.out) == (0, "1 dead letter will be sent to soar-eu\n")
    assert (
        desk.call("deliveries", "retry", "--dead", "--to", "soar-eu").out == "1 dead letter will be sent to soar-eu\n"
    )
    assert desk.call("run", "--once", "--wait", "1s").status == 0
    sent = {request.headers["webhook-id"]: request.json for request in desk.webhook.requests[2:]}
    assert {row["id"] for row in letters} <= sent.keys()
    assert desk.call("status", "-o", "json").json["troubles"] == []


def test_retry_sends_what_can_be_sent(desk: Desk) -> None:
    """Dead letters of a removed receiver do not hold back the others. The exit status shows that some were not sent."""
    desk.act("DELETE_CLUSTER", 5, "eve")
    desk.webhook.queue += [Reply(410)]
    desk.call("run", "--once")
    _rename(desk, "other")
    desk.act("DELETE_CLUSTER", 4, "bob")
    desk.webhook.queue += [Reply(410)]
    desk.call("run", "--once")
    dead = desk.call("deliveries", "list", "--dead", "-o", "json").json
    mine = [row for row in dead if row["receiver"] == "other"]
    assert 0 < len(mine) < len(dead)
    retried = desk.call("deliveries", "retry", "--dead")
    assert retried.status == 1
    assert f"{len(mine)} dead letter" in retried.out
    assert "for soar" in retried.err
