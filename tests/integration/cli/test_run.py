"""What `run` shows on a terminal: six lines about the service, then alerts, and only warnings of the log."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from actionwatch import __version__
from tests.children import child, exit_status, on_terminal
from tests.integration.cli.conftest import BROKEN_RULE, Desk

COMMAND = Path(sys.executable).with_name("actionwatch")


def test_the_first_screen_of_run(desk: Desk) -> None:
    """On a terminal, `run` begins with six lines, prints alerts as cards, and logs no information between them."""
    config = desk.write(poll_interval="1s").config.read_text()
    screen = "receivers:\n  - name: screen\n    console: {}\n"
    desk.config.write_text(config.replace("log: {level: warning}\n", "").replace("receivers:\n", screen))
    desk.act("DELETE_CLUSTER", 5, "eve@example.com")
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"}
    with on_terminal([COMMAND, "run", "-c", desk.config], cwd=desk.folder, env=environment) as terminal:
        terminal.wait_for("eve@example.com · DELETE_CLUSTER")
        os.kill(terminal.process.pid, signal.SIGTERM)
        assert terminal.exit_status() == 0
    first = terminal.screen.splitlines()[:7]
    assert first[0] == f"actionwatch {__version__} watches acme every 1s"
    assert first[1] == "rules:  1 live"
    assert first[2] == "alerts: screen (console), soar (webhook)"
    assert first[3].startswith("page:   http://127.0.0.1:")
    assert first[4].startswith("health: http://127.0.0.1:")
    assert first[4].endswith("/readyz; 'actionwatch status' shows progress")
    assert first[5] == "stop:   Ctrl-C; the log shows only warnings here: log.level changes that"
    assert first[6] == ""
    assert "service_started" not in terminal.screen
    assert "delivery_sent" not in terminal.screen


def test_a_broken_rule_is_on_the_first_screen_and_log_level_is_kept(desk: Desk) -> None:
    """The first screen counts broken files and says where to look. A level in the configuration counts on a terminal too."""
    (desk.folder / "rules" / "broken.yml").write_text(BROKEN_RULE)
    desk.config.write_text(desk.config.read_text().replace("level: warning", "level: info"))
    with on_terminal([COMMAND, "-c", desk.config, "run"], cwd=desk.folder) as terminal:
        terminal.wait_for("service_started")
        terminal.wait_for("stop:   Ctrl-C\n")
        assert "rules:  1 live, 1 broken file: 'actionwatch rules check' shows why" in terminal.screen
        os.kill(terminal.process.pid, signal.SIGTERM)
        assert terminal.exit_status() == 0


def test_ctrl_c_while_the_command_imports_its_modules_is_silent(tmp_path: Path) -> None:
    """An early Ctrl-C ends the command with 130, without a traceback, at whichever module it arrives."""
    imports = [sys.executable, "-X", "importtime", "-m", "actionwatch", "check"]
    for module in (
        "actionwatch.base.errors",
        "click.core",
        "actionwatch.cli.output",
        "pydantic",
        "actionwatch.settings.validators",
    ):
        with child(imports, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stderr is not None
            while (line := process.stderr.readline()) and line.split("|")[-1].strip() != module:
                pass
            assert line, f"{module} is not imported"
            process.send_signal(signal.SIGINT)
            rest = process.stderr.read()
            exit_status(process)
        assert process.returncode == 130, module
        assert [line for line in rest.splitlines() if not line.startswith("import time:")] == [], module


def test_ctrl_c_says_what_the_end_waits_for(desk: Desk) -> None:
    """On a terminal, `run` says at once that it stops."""
    with on_terminal([COMMAND, "-c", desk.config, "run"], cwd=desk.folder) as terminal:
        terminal.wait_for("stop:   Ctrl-C")
        terminal.interrupt()
        assert terminal.exit_status() == 0
    assert "stopping: polls and messages that have begun end first, within 10 seconds" in terminal.screen
