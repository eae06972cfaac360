"""Audit text, answers of servers and files that would move the cursor of a terminal, or reorder or forge a line of a log."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import structlog

import actionwatch
from actionwatch.text.logs import set_up
from tests.cases import in_one_test
from tests.integration.cli.conftest import Called, Desk, new_desk
from tests.integration.notifiers.http_end import Reply
from tests.integration.notifiers.smtp_end import SmtpEnd

HOSTILE = "eve\x1b[8m\x1b]0;owned\x07\x9b8m\r\x08\u202egnp\u2066\x85\u2028\x0b[bold]:skull:\U000e0041"
# The own colours of the commands are not among these.
FORBIDDEN = (
    "\x1b[8m",
    "\x1b]",
    "\x07",
    "\x9b",
    "\r",
    "\x08",
    "\u202e",
    "\u2066",
    "\x85",
    "\u2028",
    "\x0b",
    "\U000e0041",
)
RULE = """\
title: "Deleted \\x1b[8m\\u202e"
id: 11111111-1111-4111-8111-11111111111{number}
logsource: {{product: instaclustr, service: user_actions}}
detection:
  selection: {{actionKind: DELETE_CLUSTER}}
  condition: selection
level: high
alert: {{title: "{{{{ userName }}}} {{{{ cluster }}}}", body: "{{{{ description }}}}", group_by: [userName]}}
"""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A desk with hostile text in every name, and in the answers of its receivers."""
    with new_desk(tmp_path_factory.mktemp("hostile")) as desk, SmtpEnd() as mail:
        desk.account = desk.organisation.inventory.add_account(HOSTILE)
        desk.cluster = desk.organisation.inventory.add_cluster(HOSTILE, account=desk.account)
        desk.more = f"templates: {desk.folder / 'templates'}\n"
        desk.write(poll_interval="1h")
        (desk.folder / "templates").mkdir()
        (desk.folder / "rules" / "hostile.yml").write_text(RULE.format(number=2))
        mail_options = f"host: 127.0.0.1, port: {mail.port}, tls: none, from: a@b.c, to: [d@e.f]"
        more = f"  - name: mail\n    email: {{{mail_options}}}\n  - name: screen\n    console: {{}}\n"
        desk.config.write_text(desk.config.read_text().replace("receivers:\n", f"receivers:\n{more}", 1))
        desk.webhook.reply = lambda _: Reply(400, HOSTILE.encode())
        desk.act("DELETE_CLUSTER", 40, HOSTILE, HOSTILE)
        desk.act("DELETE_CLUSTER", 30, f"other {HOSTILE}", HOSTILE)
        desk.act(HOSTILE, 20, HOSTILE, HOSTILE)
        assert_harmless(desk.call("run", "--once"))
        yield desk


def assert_harmless(called: Called) -> None:
    """Fail if what a command printed contains a control character of the hostile text."""
    assert "Traceback" not in called.err
    for stream in (called.out, called.err):
        assert [char for char in FORBIDDEN if char in stream] == []


COMMANDS = [
    "actions", "actions --counts", "actions -o jsonl", "accounts list", "records list", "records list -o json",
    "records export", "records export --format csv", "records receipts", "records proof", "alerts list", "alerts show ALERT",
    "alerts show ALERT -o json", "explain ALERT", "explain RECORD", "deliveries list", "deliveries show DELIVERY",
    "receivers list", "receivers preview hostile mail", "receivers preview hostile screen", "receivers preview hostile soar",
    "receivers test soar", "receivers test screen", "rules list", "rules check", "rules explain RECORD hostile",
    "rules backtest hostile --since 1d", "rules test",
    "silences add MATCHER --for 1h --comment SAM --author SAM", "silences add NOTHING --for 1h --comment SAM --force",
    "silences list", "status", "alerts list --user SAM", "alerts list --rule SAM", "records list --around RECORD 1h",
    "actions --cluster SAM", "routes test --level low --label LABEL",
    "check", "templates check", "routes show", "routes test --alert ALERT", "routes test --alert ALERT -o json",
    "alerts show nothing\x1b[8m\u202e", "rules test no/such\x1b[8mfile", "explain nothing\x1b[8m",
    "alerts ack ALERT --author SAM --comment SAM", "alerts show ALERT", "explain ALERT",
    "deliveries retry DELIVERY", "alerts resolve ALERT --author SAM", "run --once",
]  # fmt: skip


@pytest.fixture(scope="module")
def words(hostile: Desk) -> dict[str, str]:
    """Return what replaces some words of the commands."""
    return {
        "ALERT": hostile.call("alerts", "list", "-o", "json").json[0]["id"],
        "RECORD": hostile.call("records", "list", "--kind", "DELETE_CLUSTER", "-o", "json").json[0]["key"],
        "DELIVERY": hostile.call("deliveries", "list", "-o", "json").json[0]["id"],
        "SAM": HOSTILE,
        "MATCHER": f"userName={HOSTILE}",
        "NOTHING": f"rule={HOSTILE}",
        "LABEL": f"{HOSTILE}={HOSTILE}",
    }


@in_one_test("is_terminal", [True, False])
@in_one_test("command", COMMANDS)
def test_command_prints_no_control_characters(
    hostile: Desk, words: dict[str, str], command: str, is_terminal: bool
) -> None:
    """No command prints a control or bidirectional character of audit text, to a terminal or into a pipe."""
    called = hostile.call(*(words.get(word, word) for word in command.split(" ")), is_terminal=is_terminal)
    assert "Usage:" not in called.err or "no/such" in command
    if command.startswith("records export --format csv"):
        called = replace(called, out=called.out.replace("\r\n", "\n"))  # the ends of its lines (RFC 4180)
    assert_harmless(called)


def test_broken_files_are_reported_without_control_characters(hostile: Desk, tmp_path: Path) -> None:
    """Errors that quote a rule file contain none of its control characters."""
    for number, text in enumerate(
        (RULE.format(number=3).replace("level: high", "level: 'h\x1b[8m'"), "\x1b[8m: [", HOSTILE)
    ):
        path = tmp_path / f"rule{number}.yml"
        path.write_text(text)
        for is_terminal in (True, False):
            assert_harmless(hostile.call("rules", "check", str(path), is_terminal=is_terminal))


@pytest.mark.parametrize("form", ["text", "json"])
def test_value_forges_no_line_of_the_log(form: str) -> None:
    """A value with line ends or control characters is one line of the log, also in logs of libraries."""
    with contextlib.redirect_stderr(io.StringIO()) as err:
        set_up("info", form, [])  # type: ignore[arg-type]
        structlog.get_logger().warning("record_read", user=f"eve\n2026-01-01 forged {HOSTILE}", nested={"a": [HOSTILE]})
        logging.getLogger("library").warning("one\n2026-01-01 forged %s", HOSTILE)
        try:
            raise ValueError(f"one\n2026-01-01 forged {HOSTILE}")
        except ValueError:
            structlog.get_logger().exception("step_failed")
    written = err.getvalue()
    assert [char for char in FORBIDDEN if char in written] == []
    assert not [line for line in written.splitlines() if line.startswith("2026-01-01 forged")]
    assert form == "text" or all(json.loads(line) for line in written.splitlines())


ALLOWED = {"cli/output.py", "text/terminal.py", "text/logs.py"}


def test_only_one_module_prints() -> None:
    """No other module of the commands writes to a terminal by itself, so that none can forget to escape."""
    package = Path(actionwatch.__file__).parent
    found = [
        f"{path}:{getattr(node, 'lineno', 0)}"
        for path in package.rglob("*.py")
        if path.relative_to(package).as_posix() not in ALLOWED
        for node in ast.walk(ast.parse(path.read_text()))
        if _prints(node)
    ]
    assert found == []


def _prints(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return (node.value.id, node.attr) in {("click", name) for name in ("echo", "secho", "confirm")}
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "Console")
