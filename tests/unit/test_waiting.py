"""tests/waiting.py and tests/children.py: what they wait for ends, or is killed, or the failure says what was seen last."""

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
    """Have a limit that these tests may reach."""
    monkeypatch.setattr(waiting, "LIMIT", 0.05)
    monkeypatch.setattr(children, "LIMIT", 0.05)


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"  # nobody may bury it
    except FileNotFoundError:
        return False


def test_what_was_seen_is_returned() -> None:
    """The value that ended the wait is lost."""
    seen = iter([0, "", None, "here"])
    assert wait_until(lambda: next(seen), "something") == "here"


@pytest.mark.usefixtures("impatient")
def test_a_wait_that_ends_shows_what_was_seen_last() -> None:
    """A failure does not say what was waited for and what was there instead."""
    with pytest.raises(AssertionError, match=r"waited 0.05 s for rain; last seen: \[\]"):
        wait_until(list, "rain")
    with pytest.raises(AssertionError, match=r"for rain; last seen: 'sun'"):
        wait_until(lambda: False, "rain", lambda: "sun")


@pytest.mark.usefixtures("impatient")
def test_a_thread_that_stays_fails_the_test() -> None:
    """A thread that was left behind is not noticed."""
    released = threading.Event()
    thread = threading.Thread(target=released.wait)
    with pytest.raises(AssertionError, match="the end of every thread"), waiting.no_thread_left():
        thread.start()
    with pytest.raises(AssertionError, match="waited"):
        waiting.join(thread)
    released.set()
    thread.join()


def test_what_a_thread_raised_is_raised() -> None:
    """A test passes though what it ran beside itself failed."""
    with pytest.raises(ZeroDivisionError), waiting.beside(lambda: 1 // 0):
        pass
    with pytest.raises(ZeroDivisionError):
        waiting.all_at_once(lambda: None, lambda: 1 // 0)


def test_a_failing_test_leaves_no_descendant() -> None:
    """A test that fails leaves a child, or a child of its child, running."""
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
def test_a_child_that_does_not_end_is_killed() -> None:
    """A child that hangs holds the suite up, or its failure does not show what it printed."""
    command = [sys.executable, "-c", "import time; time.sleep(1000)"]
    with pytest.raises(AssertionError, match=r"waited 0.05 s for the end of \['.*printed: \(''"):
        children.run_child(command)
    with children.child(command) as process, pytest.raises(AssertionError, match=r"waited 0.05 s for the end"):
        children.exit_status(process)
    assert process.returncode == -signal.SIGKILL


def test_a_child_is_given_and_prints() -> None:
    """What a child reads or prints, or how it ends, is lost."""
    code = "import sys; print(input()); print('problem', file=sys.stderr); sys.exit(3)"
    ended = children.run_child([sys.executable, "-c", code], "hello\n")
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "hello\n", "problem\n")


def test_a_child_reacts_to_signals_that_are_ignored_here() -> None:
    """Run in the background of a script, or under nohup, the suite sends signals that its children ignore."""
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


def test_a_terminal_shows_what_is_printed_and_takes_what_is_typed() -> None:
    """A child finds no terminal, or Ctrl-C does not reach its reading."""
    code = "import sys; print(sys.stdin.isatty(), input('name? ')); input('more? ')"
    with children.on_terminal([sys.executable, "-c", code]) as terminal:
        terminal.type("eve")
        terminal.wait_for("more?")
        assert "True eve" in terminal.screen
        terminal.interrupt()
        assert terminal.exit_status() != 0
        assert "KeyboardInterrupt" in terminal.screen
