"""A command that is forked from a warm process behaves like the installed one."""

from __future__ import annotations

import io
import signal
import subprocess
from pathlib import Path

import pytest

from tests.children import exit_status
from tests.end_to_end import kit
from tests.forked import Forked

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


def test_forked_command_that_cannot_start_fails_with_the_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is killed then: an exit status that were taken for the id of a process would hit the processes of others."""
    killed: list[int] = []
    monkeypatch.setattr("tests.forked.kill", lambda process: killed.append(process.pid))
    with (
        pytest.raises(AssertionError, match=r"FileNotFoundError.*absent"),
        kit.started_warm("check", folder=tmp_path / "absent", stderr=subprocess.DEVNULL),
    ):
        pass
    assert not killed


@pytest.mark.parametrize("line", [b"exit 1\n", b"pid 1\n", b"pid 0\n", b""])
def test_report_without_the_id_of_a_process_is_refused(line: bytes) -> None:
    """The process may have ended before it could tell its id, and the groups 0 and 1 belong to others."""
    with pytest.raises(AssertionError, match="actionwatch check"):
        Forked(("actionwatch", "check"), io.BytesIO(line), None, None)
