"""A command that is forked from a warm process behaves like the installed one."""

from __future__ import annotations

import io
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests import forked, warm_process
from tests.children import exit_status
from tests.end_to_end import kit

CHECK = ("-c", "broken.yaml", "check")


def test_forked_command_gives_the_result_of_the_installed_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have the folder, the environment, the output, the errors and the exit status of a process."""
    (tmp_path / "broken.yaml").write_text("rules: ['${WATCHED}/']\n")
    for value in ("acme", "corp"):
        monkeypatch.setenv("WATCHED", value)
        installed, warm = kit.finished(*CHECK, folder=tmp_path), kit.finished_warm(*CHECK, folder=tmp_path)
        assert (warm.returncode, warm.stdout, warm.stderr) == (2, installed.stdout, installed.stderr)
        assert value in warm.stderr + warm.stdout


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
        forked.Forked(("actionwatch", "check"), io.BytesIO(line), None, None)


def test_end_kills_what_still_runs(tmp_path: Path) -> None:
    """The warm process kills those that it forked, and reports their end, before it ends itself."""
    with kit.started_warm("emulator", "--port", "0", folder=tmp_path, stdout=subprocess.DEVNULL) as process:
        forked.end()
        assert process.poll() == -signal.SIGKILL


def test_child_without_a_group_of_its_own_is_killed() -> None:
    """Between its fork and its session, a child is in the group of its parent."""
    pid = os.posix_spawnp("sleep", ["sleep", "60"], os.environ)
    assert os.getpgid(pid) == os.getpgrp()
    warm_process.kill(pid)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def test_forked_commands_inherit_nothing_of_each_other(tmp_path: Path) -> None:
    """A second process has neither the report of the first nor the descriptor that tells its end."""
    command = ("emulator", "--port", "0")
    with (
        kit.started_warm(*command, folder=tmp_path, stdout=subprocess.PIPE) as first,
        kit.started_warm(*command, folder=tmp_path, stdout=subprocess.PIPE) as second,
    ):
        for process in (first, second):
            assert process.stdout is not None
            assert process.stdout.readline().startswith("base_url: ")
        report = str(Path(f"/proc/self/fd/{first.report.fileno()}").readlink())
        assert not [file for file in _open_files(second.pid) if file == report or "pidfd" in file]


def _open_files(pid: int) -> set[str]:
    return {str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir()}
