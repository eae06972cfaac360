"""tests/waiting.py and tests/children.py: every wait ends, and a failure shows what was seen last."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests import children, waiting
from tests.waiting import wait_until

FAMILY = """
import subprocess, sys
grandchild = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
print(grandchild.pid, flush=True)
input()
"""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set a limit that these tests can reach."""
    monkeypatch.setattr(waiting, "LIMIT", 0.05)
    monkeypatch.setattr(children, "LIMIT", 0.05)


def _is_running(pid: int) -> bool:
    try:
        return (
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        )  # its parent may not have reaped it
    except FileNotFoundError:
        return False


def test_value_that_ended_the_wait_is_returned() -> None:
    """The value that ended the wait is returned."""
    seen = iter([0, "", None, "here"])
    assert wait_until(lambda: next(seen), "something") == "here"


@pytest.mark.usefixtures("impatient")
def test_failed_wait_shows_what_was_seen_last() -> None:
    """The failure of a wait names the condition and shows the last state."""
    with pytest.raises(AssertionError, match=r"waited 0.05 s for rain; last seen: \[\]"):
        wait_until(list, "rain")
    with pytest.raises(AssertionError, match=r"for rain; last seen: 'sun'"):
        wait_until(lambda: False, "rain", lambda: "sun")


@pytest.mark.usefixtures("impatient")
def test_thread_that_is_left_running_fails_the_test() -> None:
    """A thread that is left running fails the test."""
    released = threading.Event()
    thread = threading.Thread(target=released.wait)
    with pytest.raises(AssertionError, match="the end of every thread"), waiting.no_thread_left():
        thread.start()
    with pytest.raises(AssertionError, match="waited"):
        waiting.join(thread)
    released.set()
    thread.join()


def test_exception_of_a_thread_is_raised() -> None:
    """An exception in a thread fails the test."""
    with pytest.raises(ZeroDivisionError), waiting.beside(lambda: 1 // 0):
        pass
    with pytest.raises(ZeroDivisionError):
        waiting.all_at_once(lambda: None, lambda: 1 // 0)


def test_failing_test_leaves_no_descendant() -> None:
    """A test that fails leaves neither a child nor a grandchild running."""
    pids: list[int] = []

    def fail() -> None:
        pipe = subprocess.PIPE
        with children.child([sys.executable, "-c", FAMILY], stdin=pipe, stdout=pipe) as process:
            assert process.stdout is not None
            pids.extend([process.pid, int(process.stdout.readline())])
            assert all(map(_is_running, pids))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    wait_until(lambda: not any(map(_is_running, pids)), "the end of both", lambda: list(map(_is_running, pids)))


@pytest.mark.usefixtures("impatient")
def test_hanging_child_is_killed() -> None:
    """A child that hangs is killed, and the failure shows its output."""
    command = [sys.executable, "-c", "import time; time.sleep(1000)"]
    with pytest.raises(AssertionError, match=r"waited 0.05 s for the end of \['.*printed: \(''"):
        children.run_child(command)
    with children.child(command) as process, pytest.raises(AssertionError, match=r"waited 0.05 s for the end"):
        children.exit_status(process)
    assert process.returncode == -signal.SIGKILL


def test_child_gets_input_and_returns_output() -> None:
    """The input, the output and the exit status of a child are passed on."""
    code = "import sys; print(input()); print('problem', file=sys.stderr); sys.exit(3)"
    ended = children.run_child([sys.executable, "-c", code], "hello\n")
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "hello\n", "problem\n")


def test_child_does_not_ignore_signals_that_are_ignored_here() -> None:
    """Children react to signals even if the suite runs under nohup or in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        code = "import signal; print('waiting', flush=True); signal.pause()"
        with children.child([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "waiting\n"
            process.send_signal(signal.SIGINT)
            assert children.exit_status(process) == -signal.SIGINT
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_terminal_shows_output_and_accepts_input() -> None:
    """A child has a terminal, and Ctrl-C interrupts its reading."""
    code = "import sys; print(sys.stdin.isatty(), input('name? ')); input('more? ')"
    with children.on_terminal([sys.executable, "-c", code]) as terminal:
        terminal.type("eve")
        terminal.wait_for("more?")
        assert "True eve" in terminal.screen
        terminal.interrupt()
        assert terminal.exit_status() != 0
        assert "KeyboardInterrupt" in terminal.screen
