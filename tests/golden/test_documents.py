"""The documents of every operation of the API and of every `-o json` command are those of the golden file.

A real service reads an emulated upstream, alerts, sends, fails to send and streams; then each question is asked once. What
differs from run to run (ids, times, ports, folders, digests) is replaced, and lists are sorted, because items of the same time
come in the order of their ids. Other tests judge the order of lists.
"""

from __future__ import annotations

import difflib
import json
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import httpx
import pytest

from actionwatch import cli
from tests import http_client
from tests.end_to_end import kit
from tests.fixtures import logs_left_alone
from tests.golden.kit import FOLDER, is_rewriting
from tests.integration.cli.conftest import Desk, call, new_desk
from tests.integration.notifiers.http_end import HttpEnd, Reply, Request

__all__ = ["logs_left_alone"]

GOLDEN = FOLDER / "documents.json"
# Its time is never one of the days around now, which are replaced.
RECORD = {"action": "DELETE_CLUSTER", "timestamp": "2020-01-15T12:00:00Z", "userName": "eve", "clusterId": "c-1"}
OTHER_RULE = """\
title: User removed
id: 22222222-2222-4222-8222-222222222222
name: user_deleted
logsource: {product: instaclustr, service: user_actions}
detection: {selection: {actionKind: DELETE_SERVICE_USER}, condition: selection}
level: medium
tests:
  - {name: a removal, event: {actionKind: DELETE_SERVICE_USER, userName: eve}, expect: alert}
  - {name: another action, event: {actionKind: BACKUP, userName: eve}, expect: nothing}
"""
COUNTING_RULE = """\
title: Many reads
id: 33333333-3333-4333-8333-333333333333
name: many_reads
logsource: {product: instaclustr, service: user_actions}
detection: {selection: {actionKind: LIST_KAFKA_ACLS}, condition: selection}
correlation: {type: event_count, group-by: [userName], timespan: 1h, condition: {gte: 3}}
level: low
tests:
  - name: three
    events: [{repeat: 3, every: 1m, actionKind: LIST_KAFKA_ACLS, userName: eve}]
    expect: {alerts: 1, events: 3}
  - {name: one, event: {actionKind: LIST_KAFKA_ACLS, userName: eve}, expect: nothing}
"""
COMMANDS: dict[str, list[str]] = {
    "check": ["check", "check --live"],
    "status": ["status"],
    "actions": ["actions --since 1d"],
    "accounts create": ["accounts create new --yes"],
    "accounts list": ["accounts list"],
    "accounts unlink": ["accounts unlink new --yes"],
    "records export": ["records export", "records export --user eve@example.com"],
    "records list": ["records list", "records list --kind DELETE_CLUSTER --limit 1"],
    "records proof": ["records proof"],
    "records receipts": ["records receipts"],
    "rules backtest": ["rules backtest rules", "rules backtest rules --records {folder}/records.jsonl"],
    "rules check": ["rules check"],
    "rules explain": [
        "rules explain {folder}/record.json cluster_deleted",
        "rules explain {read} many_reads",
        "rules explain {read} cluster_deleted",
    ],
    "rules list": ["rules list"],
    "rules test": ["rules test"],
    "alerts ack": ["alerts ack {alert} --author kim --comment seen"],
    "alerts assign": ["alerts assign {alert} --author kim --to sam"],
    "alerts list": ["alerts list", "alerts list --status any --level medium"],
    "alerts note": ["alerts note {alert} --author kim --comment checked"],
    "alerts reopen": ["alerts reopen {alert} --author kim --comment again"],
    "alerts resolve": ["alerts resolve {alert} --author kim --comment done"],
    "alerts show": ["alerts show {alert}", "alerts show {count}"],
    "deliveries list": ["deliveries list", "deliveries list --dead"],
    "deliveries retry": ["deliveries retry {dead} --author kim"],
    "deliveries drop": ["deliveries drop {dropped} --author kim"],
    "deliveries show": ["deliveries show {dead}"],
    "silences add": ["silences add rule=cluster_deleted --for 2h --comment test --author kim"],
    "silences expire": ["silences expire {silence} --author kim"],
    "silences list": ["silences list --all"],
    "routes show": ["routes show"],
    "routes test": ["routes test --rule cluster_deleted"],
    "explain": ["explain {alert}", "explain {key}"],
    "receivers list": ["receivers list"],
    "receivers preview": ["receivers preview cluster_deleted soar"],
    "receivers test": ["receivers test soar"],
    "streams drop": ["streams drop lake 1"],
    "streams list": ["streams list"],
    "streams refused": ["streams refused lake"],
    "streams retry": ["streams retry lake 1"],
    "streams rewind": ["streams rewind lake --to 7d"],
    "templates check": ["templates check"],
    "tokens create": ["tokens create robot --role operator"],
    "tokens list": ["tokens list"],
    "tokens revoke": ["tokens revoke robot"],
    "store backup": ["store backup {folder}/backup.db"],
    "store copy": ["store copy sqlite:///{folder}/backup.db sqlite:///{folder}/copy.db"],
    "store prune": ["store prune --dry-run"],
    "store restore": ["store restore {folder}/backup.db --replace"],
    "store upgrade": ["store upgrade"],
    "store verify": ["store verify --against {folder}"],
}
"""How each command that answers in JSON is asked, in this order of the groups."""
READING = {"status", "list", "show", "explain", "proof", "receipts"}
NOT_ASKED = {"emulator"}
"""It serves until it is stopped."""
BODIES: dict[str, dict[str, Any]] = {
    "put /silences/{id}": {
        "matchers": ["rule=nothing"],
        "comment": "a test",
        "ends_at": "2099-01-01T00:00:00Z",
        "force": True,
    },
    "post /silences/preview": {
        "matchers": ["rule=cluster_deleted"],
        "comment": "a test",
        "ends_at": "2099-01-01T00:00:00Z",
    },
    "post /alerts/{id}/assign": {"to": "sam"},
    "post /alerts/{id}/note": {"comment": "a test"},
    "post /alerts/decisions": {"action": "note", "ids": ["{alert}"], "comment": "a test"},
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What was answered to each question."""
    folder, slowly = tmp_path_factory.mktemp("golden"), threading.Event()

    def refuse(_: Request) -> Reply:
        slowly.wait(0.5)  # a message that is sent again is still waiting when the answer about it is written
        return Reply(422, b"no such field")

    with new_desk(folder) as desk, HttpEnd(refuse) as refusing:
        _fill(desk, refusing)
        replaced = Replaced(folder, desk)
        replaced.learn(desk)
        found = _of_commands(desk)
        desk.call("run", "--once")  # sends what the commands left, so that nothing changes while the API is asked
        found |= _of_api(desk)
        replaced.learn(desk)
        return {question: replaced.within(answer) for question, answer in found.items()}


def test_every_document_is_the_same(answers: dict[str, Any]) -> None:
    """Each document has the same keys and the same values."""
    text = json.dumps(answers, indent=1, ensure_ascii=False) + "\n"
    if is_rewriting():
        GOLDEN.write_text(text)
    changed = difflib.unified_diff(GOLDEN.read_text().splitlines(), text.splitlines(), "golden", "now", lineterm="")
    assert not (lines := list(changed)), "\n".join(lines[:200])


def test_every_command_that_answers_in_json_is_asked() -> None:
    """A new command is in the table above."""
    assert {*_json_commands()} - NOT_ASKED == COMMANDS.keys()


def _json_commands() -> Iterator[str]:
    def within(group: click.Group, path: tuple[str, ...]) -> Iterator[str]:
        for name in group.list_commands(click.Context(group)):
            each = group.get_command(click.Context(group), name)
            if isinstance(each, click.Group):
                yield from within(each, (*path, name))
            elif each is not None and any("json" in getattr(its.type, "choices", ()) for its in each.params):
                yield " ".join((*path, name))

    return within(cli.group, ())


def _fill(desk: Desk, refusing: HttpEnd) -> None:
    """Write the configuration; let the upstream log actions, and the service read, alert, send and stream them."""
    desk.more = (
        "route: {receivers: [soar, refused]}\n"
        "streams:\n  - name: lake\n    start: beginning\n    wait: 0s\n"
        f"    files: {{url: 'file://{desk.folder}/lake'}}\n"
    )
    desk.write(poll_interval="1h")
    text = desk.config.read_text()
    receiver = f"  - {{name: refused, webhook: {{url: '{refusing.url}/hook'}}}}\n"
    desk.config.write_text(text.replace("receivers:\n", f"receivers:\n{receiver}"))
    (desk.folder / "lake").mkdir()
    (desk.folder / "rules" / "user_deleted.yml").write_text(OTHER_RULE)
    (desk.folder / "rules" / "many_reads.yml").write_text(COUNTING_RULE)
    (desk.folder / "record.json").write_text(json.dumps(RECORD))
    (desk.folder / "records.jsonl").write_text(f"{json.dumps(RECORD)}\n")
    desk.act("CREATE_CLUSTER", 50, "bob@example.com")
    desk.act("DELETE_CLUSTER", 40, "eve@example.com", "Deleted cluster payments-prod")
    desk.act("DELETE_SERVICE_USER", 30, "mallory@example.com")
    for minutes in (25, 24, 23):
        desk.act("LIST_KAFKA_ACLS", minutes, "svc-reader")
    called = desk.call("run", "--once")
    assert called.status in {0, 1}, called.err


def _subjects(desk: Desk) -> dict[str, str]:
    alerts = {
        each["rule"]["name"]: each["id"] for each in desk.call("alerts", "list", "--status", "any", "-o", "json").json
    }
    records = {each["actionKind"]: each["key"] for each in desk.call("records", "list", "-o", "json").json}
    letters = desk.call("deliveries", "list", "--dead", "-o", "json").json
    dead = {each["alert"]: each["id"] for each in letters if each["event"] == "opened"}
    silences = desk.call("silences", "list", "--all", "-o", "json").json
    return {
        "alert": alerts["cluster_deleted"],
        "count": alerts["many_reads"],
        "key": records["DELETE_CLUSTER"],
        "read": records["LIST_KAFKA_ACLS"],
        "dead": dead.get(alerts["user_deleted"], "none"),
        "retried": dead.get(alerts["many_reads"], "none"),
        "dropped": dead.get(alerts["cluster_deleted"], dead.get(alerts["actionwatch_self"], "none")),
        "silence": silences[0]["id"] if silences else "none",
        "folder": str(desk.folder),
    }


def _of_commands(desk: Desk) -> dict[str, Any]:
    """Ask each command, first those that change nothing."""
    lines = [line for each in COMMANDS.values() for line in each]
    first = [line for line in lines if READING & {*line.split()[:2]}]
    found: dict[str, Any] = {}
    subjects = _subjects(desk)
    for line in [*first, *(each for each in lines if each not in first)]:
        if line.startswith("silences expire"):
            subjects = _subjects(desk)
        words = [word.format(**subjects) for word in line.split()]
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(desk.folder)
            called = call("-c", str(desk.config), *words, "-o", "json")
        try:
            found[line] = [called.status, json.loads(called.out)]
        except ValueError:
            found[line] = [called.status, called.out.splitlines(), called.err.splitlines()]
    return found


def _of_api(desk: Desk) -> dict[str, Any]:
    """Ask each operation of a running service, first those that change nothing."""
    found: dict[str, Any] = {}
    secret = call("-c", str(desk.config), "tokens", "create", "golden", "--role", "operator").out.strip()
    log = desk.folder / "service.log"
    desk.config.write_text(desk.config.read_text().replace("log: {level: warning}", "log: {format: json}"))
    with log.open("w") as out, kit.started_warm("run", folder=desk.folder, stderr=out, stdout=out) as process:
        service = kit.Service(process, log)
        url = service.wait_until_up()
        with http_client.client(base_url=f"{url}/api/v1", headers={"authorization": f"Bearer {secret}"}) as client:
            paths = client.get("/openapi.json").json()["paths"]
            asked = [(method, path) for path, methods in paths.items() for method in methods]
            for method, path in sorted(asked, key=lambda each: each[0] != "get"):
                found[f"{method} {path}"] = _asked(client, desk, method, path)
        service.end()
    return found


def _asked(client: httpx.Client, desk: Desk, method: str, path: str) -> list[Any]:
    subjects = _subjects(desk)
    nouns = {"alerts": "alert", "deliveries": "dropped" if path.endswith("drop") else "retried", "silences": "silence"}
    noun = nouns.get(path.split("/")[1], "")
    named = path.replace("{id}", subjects.get(noun, "cluster_deleted")).replace("{key}", subjects["key"])
    if method == "put":
        named = path.replace("{id}", "0f0f0f0f-0000-4000-8000-000000000001")
    body = json.dumps(BODIES.get(f"{method} {path}", {})).replace("{alert}", subjects["alert"])
    params = {"state": "dead"} if path == "/deliveries" else None
    answer = client.request(method, named, params=params, json=None if method == "get" else json.loads(body))
    document: Any = answer.json() if answer.content else None
    if path == "/deliveries/{id}/retry":
        del document["attempts"]  # the service may have begun the next one
    return [answer.status_code, document]


class Replaced:
    """Replaces what differs from run to run. Alerts, records and deliveries have names that say what they are."""

    def __init__(self, folder: Path, desk: Desk) -> None:
        self._texts = {str(folder): "FOLDER", desk.organisation.id: "ORGANISATION"}
        now = datetime.now(UTC)
        days = "|".join(f"{now + timedelta(days=each):%Y-%m-%d}" for each in range(-9, 3))
        self._patterns = [
            (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "ID"),
            (re.compile(r"\b[0-9a-f]{16}-[0-9a-f]{20}\b"), "KEY"),
            (re.compile(r"\b[0-9a-f]{64}\b"), "DIGEST"),
            (re.compile(rf"(?:{days})[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z| UTC)?"), "TIME"),
            (re.compile(r"(127\.0\.0\.1|localhost):\d+"), r"\1:PORT"),
            (re.compile(days), "DAY"),
            (re.compile(rf"(?:{days.replace('-', '')})T\d{{6}}\.\d+Z"), "TIME"),
            (re.compile(r"\b\d+(?:\.\d+)? (s|ms)\b"), r"N \1"),
            (re.compile(r"\b\d{4,}d(?:\d+h)?\b"), "LONG"),  # until the last day that an answer may name
            (re.compile(r"actionwatch_[\w-]{43}"), "SECRET"),
        ]

    def learn(self, desk: Desk) -> None:
        """Learn the names of what is in the store now."""

        def listed(*command: str) -> Any:
            return desk.call(*command, "--limit", "1000", "-o", "json").json

        for each in listed("alerts", "list", "--status", "any"):
            self._texts[each["id"]] = name = f"ALERT {each['rule']['name']} {each['labels'].get('trouble', '')}".strip()
            self._texts[each["id"][:8]] = name
        for each in listed("deliveries", "list"):
            alert = self._texts.get(each["alert"], "-").removeprefix("ALERT ")
            self._texts[each["id"]] = f"DELIVERY {each['event']} {each['receiver']} {alert}"
        for each in listed("records", "list"):
            self._texts[each["key"]] = f"RECORD {each['actionKind']} {each['userName']}"

    def within(self, value: Any) -> Any:
        """Return a document with its values replaced."""
        if isinstance(value, dict):
            # The size of a backup changes with each change of the schema.
            return {self.within(name): "SIZE" if name == "bytes" else self.within(each) for name, each in value.items()}
        if isinstance(value, list):
            within = [self.within(each) for each in value]
            return sorted(within, key=json.dumps) if all(isinstance(each, dict) for each in within) else within
        if isinstance(value, float):
            return "FLOAT"
        return self._text(value) if isinstance(value, str) else value

    def _text(self, text: str) -> str:
        for old, new in self._texts.items():
            text = text.replace(old, new)
        for pattern, new in self._patterns:
            text = pattern.sub(new, text)
        return text
