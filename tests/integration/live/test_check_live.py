"""`check --live`, called like from a shell."""

from __future__ import annotations

import re
import signal
import socket
import ssl
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from actionwatch.emulator.app import DEMO_KEY, DEMO_USER
from tests.children import child, exit_status
from tests.integration.cli.conftest import Called, call
from tests.integration.live.world import SECRETS, World, serve_world
from tests.integration.notifiers.http_end import HttpEnd, Reply, dead_port
from tests.integration.notifiers.smtp_end import PASSWORD, SmtpEnd
from tests.waiting import LIMIT

TOKEN = "xoxb-1-wallaby"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Serve one organisation to all tests."""
    with serve_world(40) as served:
        yield served


def configure(folder: Path, world: World, receivers: str = "[]", **source: str) -> Path:
    """Write a configuration without rules."""
    (folder / "rules").mkdir()
    keys = {
        "name": "acme",
        "organisation_id": world.organisation.id,
        "username": DEMO_USER,
        "api_key": DEMO_KEY,
        "base_url": world.url,
        **source,
    }
    config = folder / "actionwatch.yaml"
    config.write_text(f"sources: [{yaml.safe_dump(keys, default_flow_style=True).strip()}]\nreceivers: {receivers}\n")
    return config


def run(config: Path, *arguments: str) -> Called:
    """Call a command."""
    return call("-c", str(config), *arguments)


def test_shape_is_printed_without_values(tmp_path: Path, world: World) -> None:
    """`--shape` prints the fields of the records with their types, and no value; without `--live`, it is a usage error."""
    config = configure(tmp_path, world)
    called = run(config, "check", "--live", "--shape")
    assert called.status == 0, called.err
    table = called.out.partition("source acme: records:\n")[2] or called.out.rpartition("source acme: records:")[2]
    assert re.search(r"userName +text +all +user\n", table)
    shown = "\n".join(line for line in called.out.splitlines() if ": key: " not in line)
    assert not [secret for secret in (*SECRETS, world.organisation.id) if secret in shown + called.err]
    (records,) = (each for each in run(config, "check", "--live", "-o", "json").json if each.get("fields"))
    assert {"name": "userName", "types": "text", "share": "all", "read_as": "user"} in records["fields"]
    assert run(config, "check", "--shape").status == 2


def test_what_prevents_the_proof_fails(tmp_path: Path, world: World) -> None:
    """A shape that makes the proof impossible results in exit status 1, and says what to do."""
    config = configure(tmp_path, world)
    world.faults.set("index_ignored")
    try:
        called = run(config, "check", "--live")
    finally:
        world.faults.clear()
    assert called.status == 1
    assert "source acme: pages: " in called.err
    assert "no window can be proved: report it" in called.err


def test_live_checks_pass(tmp_path: Path, world: World, server_context: ssl.SSLContext, ca_file: Path) -> None:
    """The source and every receiver are checked without a message, and all checks pass."""
    with (
        HttpEnd(lambda _: Reply(200, b'{"ok": true}')) as web,
        HttpEnd(lambda _: Reply(204), server_context) as hook,
        SmtpEnd(server_context, is_auth_required=True) as mail,
    ):
        called = run(configure(tmp_path, world, receivers(web.url, hook.url, mail.port, ca_file)), "check", "--live")
        assert called.status == 0, called.err
        assert not mail.inbox.mails
        assert not hook.requests
        assert [request.path for request in web.requests] == ["/api/auth.test"]
    lines = called.out.splitlines()
    assert lines[1] == f"source acme: key: reads the log of organisation Acme ({world.organisation.id})"
    assert [line.rpartition(": ")[2] for line in lines[11:-1]] == ["can be reached"] * 5
    assert "receivers test screen" in lines[-1]


def test_live_checks_of_many_sources_are_counted(tmp_path: Path, world: World) -> None:
    """With more than twenty sources, what they passed is one line; each failed check and each receiver is listed."""
    keys = {"organisation_id": world.organisation.id, "username": DEMO_USER, "base_url": world.url}
    sources = [{"name": f"org-{number}", "api_key": DEMO_KEY, **keys} for number in range(25)]
    sources[7]["api_key"] = "wrong"
    config = tmp_path / "actionwatch.yaml"
    config.write_text(yaml.safe_dump({"sources": sources, "receivers": [{"name": "screen", "console": {}}]}))
    (tmp_path / "rules").mkdir()
    called = run(config, "check", "--live")
    assert called.status == 1
    assert "sources: 79 of 80 checks passed; -o json has each" in called.out
    assert "receiver screen: " in called.out
    assert "source org-" not in called.out
    assert [line for line in called.err.splitlines() if "source org-7: key: the upstream rejected" in line]
    assert len([item for item in run(config, "check", "--live", "-o", "json").json if "live" in item["kind"]]) == 81


def receivers(
    web: str,
    hook: str,
    smtp_port: int,
    ca_file: Path,
    *,
    password: str = PASSWORD,
    incoming: str | None = None,
    hook_ca_file: Path | None = None,
) -> str:
    """Write one receiver of each type."""
    mail = {
        "host": "127.0.0.1", "port": smtp_port, "tls": "starttls", "ca_file": str(ca_file), "username": "watcher",
        "password": password, "from": "a@example.com", "to": ["b@example.com"],
    }  # fmt: skip
    made: list[dict[str, Any]] = [
        {"name": "slack", "slack": {"token": TOKEN, "channel": "C1", "base_url": f"{web}/api/"}},
        {"name": "incoming", "slack": {"webhook_url": f"{incoming or web}/services/T0/B0/xyzzy1234"}},
        {"name": "hook", "webhook": {"url": f"{hook}/x", "ca_file": str(hook_ca_file or ca_file)}},
        {"name": "pager", "pagerduty": {"routing_key": "k" * 32, "base_url": web}},
        {"name": "mail", "email": mail},
        {"name": "screen", "console": {}},
    ]
    for receiver in made[:-1]:
        (options,) = (value for key, value in receiver.items() if key != "name")
        options["timeout"] = f"{LIMIT:g}s"
    return yaml.safe_dump(made, default_flow_style=True, width=10_000).strip()


def test_failed_live_check_has_cause_and_remedy(
    tmp_path: Path, world: World, server_context: ssl.SSLContext, ca_file: Path, other_ca_file: Path
) -> None:
    """Each failed check has its cause and remedy, and no secret is shown."""
    refusal = Reply(200, b'{"ok": false, "error": "token_revoked"}')
    with (
        HttpEnd(lambda _: refusal) as web,
        HttpEnd(lambda _: Reply(204), server_context) as hook,
        SmtpEnd(server_context, is_auth_required=True) as mail,
        dead_port() as port,
    ):
        given = receivers(
            web.url,
            hook.url,
            mail.port,
            ca_file,
            password="wrong-wombat",
            incoming=f"http://127.0.0.1:{port}",
            hook_ca_file=other_ca_file,
        )
        config = configure(tmp_path, world, given, api_key="wrong-quoll")
        called = run(config, "check", "--live")
        as_json = run(config, "check", "--live", "-o", "json")
    assert called.status == as_json.status == 1
    assert "source acme: key: the upstream rejected the API key" in called.err
    assert "receiver slack: Slack answered token_revoked: the token was revoked: install the app again" in called.err
    assert "receiver incoming: cannot reach Slack: cannot connect" in called.err
    assert "receiver hook: cannot connect" in called.err
    assert "receiver mail: the mail server refused the login: check username and password" in called.err
    assert "receiver pager: can be reached" in called.out
    assert "'actionwatch receivers test mail' sends a marked alert" in called.err
    assert not [secret for secret in (TOKEN, "wrong-wombat", "wrong-quoll", "xyzzy1234") if secret in called.err]
    assert {item["subject"] for item in as_json.json if item["kind"] == "live fault"} == {
        "source acme: key", "receiver slack", "receiver incoming", "receiver hook", "receiver mail",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        ("clock:-10m", "source acme: clock: the upstream's clock is 10m behind ours: set this machine's clock"),
        (
            "error:404,operation=linked_accounts",
            "source acme: linked accounts: the upstream does not know the organisation",
        ),
        ("error:500", "source acme: key: the upstream failed: HTTP 500"),
    ],
)
def test_errors_of_the_upstream_have_different_texts(tmp_path: Path, world: World, fault: str, what: str) -> None:
    """Different errors of the upstream have different texts."""
    world.faults.set(fault)
    try:
        called = run(configure(tmp_path, world), "check", "--live")
    finally:
        world.faults.clear()
    assert called.status == 1
    assert what in called.err


def test_clock_within_the_resolution_of_the_header_agrees(tmp_path: Path, world: World) -> None:
    """A clock that differs by less than the header can show is not reported as different."""
    world.faults.set("clock:-3s")
    try:
        called = run(configure(tmp_path, world), "check", "--live")
    finally:
        world.faults.clear()
    assert "source acme: clock: the upstream's clock agrees with ours" in called.out


def test_ctrl_c_does_not_wait_for_a_hanging_receiver(tmp_path: Path, world: World) -> None:
    """Ctrl-C does not wait for a receiver that hangs."""
    with socket.create_server(("127.0.0.1", 0)) as end:
        base_url = f"http://127.0.0.1:{end.getsockname()[1]}/"
        slack = {"token": TOKEN, "channel": "C1", "base_url": base_url, "timeout": "1h"}
        given = yaml.safe_dump([{"name": "slack", "slack": slack}], default_flow_style=True, width=10_000).strip()
        config = str(configure(tmp_path, world, given))
        command = [sys.executable, "-m", "actionwatch", "-c", config, "check", "--live"]
        with child(command) as process:
            end.settimeout(LIMIT)
            with end.accept()[0] as hanging:
                assert hanging.recv(1)
                process.send_signal(signal.SIGINT)
                assert exit_status(process) == 130


def test_live_needs_a_configuration(tmp_path: Path, world: World) -> None:
    """A broken configuration exits with status 2, with and without `--live`."""
    config = configure(tmp_path, world, timeout="soon")
    called = run(config, "check", "--live")
    assert called.status == 2
    assert "timeout: not a duration" in called.err
