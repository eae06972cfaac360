"""A command that is forked from a warm process behaves like the installed one."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests.children import exit_status
from tests.end_to_end import kit

CHECK = ("-c", "broken.yaml", "check")


def test_forked_command_gives_the_result_of_the_installed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have the folder, the environment, the output, the errors and the exit status of a process."""
    (tmp_path / "broken.yaml").write_text("rules: ['${WATCHED}/']\n")
    for value in ("acme", "corp"):
        monkeypatch.setenv("WATCHED", value)
        installed, forked = kit.finished(*CHECK, folder=tmp_path), kit.finished_warm(*CHECK, folder=tmp_path)
        assert (forked.returncode, forked.stdout, forked.stderr) == (2, installed.stdout, installed.stderr)
        assert value in forked.stderr + forked.stdout


def test_forked_command_gets_signals(tmp_path: Path) -> None:
    """It reacts to a signal, and at the end of the block it is killed if it still runs."""
    command = ("emulator", "--port", "0")
    with kit.started_warm(*command, folder=tmp_path, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline().startswith("base_url: ")
        assert first.poll() is None
        with kit.started_warm(*command, folder=tmp_path, stdout=subprocess.DEVNULL) as second:
            pass
        assert second.returncode == -signal.SIGKILL
        first.send_signal(signal.SIGTERM)
        assert exit_status(first) == 0
