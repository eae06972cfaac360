"""Child processes of tests. They have the limit of tests/waiting.py, and are killed with all their descendants."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.waiting import LIMIT, wait_until

Command = Sequence[str | Path]
Process = subprocess.Popen[str]


class Started(Protocol):
    """A process in its own session, as `child` or `tests.forked` starts it."""

    pid: int

    def poll(self) -> int | None:
        """Return the exit status, or None while the process runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the process ends. Raises: subprocess.TimeoutExpired."""

    def send_signal(self, number: int, /) -> None:
        """Send a signal, unless the process has ended."""


REACTED_TO = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def child(command: Command, **options: Any) -> Iterator[Process]:
    """Start a process in its own session. At the end of the block, also after a failure, kill it and its descendants."""
    with _signals_not_ignored():
        started = subprocess.Popen(command, text=True, start_new_session=True, **options)
    with started as process:
        try:
            yield process
        finally:
            kill(process)


@contextmanager
def _signals_not_ignored() -> Iterator[None]:
    """Make children that start in the block react to signals, like children of a terminal.

    A shell script starts its background processes with SIGINT ignored, and nohup ignores SIGHUP. Children inherit that, so
    that Ctrl-C would have no effect in a suite that runs there.

    """
    ignored = [number for number in REACTED_TO if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)


def run_child(
    command: Command, given: str = "", limit: float | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a process to its end, with `given` as its standard input. Return its exit status and output."""
    pipe = subprocess.PIPE
    with child(command, stdin=pipe, stdout=pipe, stderr=pipe, **options) as process:
        out, err = printed(process, given, limit)
        return subprocess.CompletedProcess(command, process.returncode, out, err)


def printed(process: Process, given: str | None = None, limit: float | None = None) -> tuple[str, str]:
    """Wait until a process ends, usually for `LIMIT` seconds. Return the rest of its output from the pipes."""
    limit = LIMIT if limit is None else limit
    try:
        return process.communicate(given, timeout=limit)
    except subprocess.TimeoutExpired as exc:
        kill(process)
        raise AssertionError(f"waited {limit:g} s for the end of {exc.cmd}; printed: {process.communicate()}") from exc


def exit_status(process: Started) -> int:
    """Wait until a process ends that prints to files, or little."""
    try:
        return process.wait(LIMIT)
    except subprocess.TimeoutExpired as exc:
        raise AssertionError(f"waited {LIMIT:g} s for the end of {exc.cmd}") from exc


def kill(process: Started) -> None:
    """Kill a process, and every descendant that did not leave its session."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@dataclass
class Terminal:
    """A process on a pseudo terminal, and the content of its screen."""

    process: Process
    _end: int
    _shown: bytes = b""

    @property
    def screen(self) -> str:
        return self._shown.decode(errors="replace").replace("\r\n", "\n")

    def type(self, *lines: str) -> None:
        """Type lines. Lines that the process does not read yet wait for it."""
        os.write(self._end, "".join(f"{line}\n" for line in lines).encode())

    def wait_for(self, text: str) -> None:
        """Wait until the screen shows a text."""
        wait_until(lambda: text in self.screen or not self._read(), f"{text!r} on the screen", lambda: self.screen)
        assert text in self.screen, self.screen

    def interrupt(self) -> None:
        """Press Ctrl-C while the process waits for input, because a Ctrl-C just before it waits would not end the wait."""
        wait_until(self._is_asleep, "the process to wait for input", lambda: self.screen)
        self.process.send_signal(signal.SIGINT)

    def exit_status(self) -> int:
        """Wait until the process ends. The screen then shows its whole output."""
        wait_until(lambda: not self._read(), "the end of the process", lambda: self.screen)
        return exit_status(self.process)

    def _read(self) -> bool:
        """Read what is available. Return whether more may follow."""
        if select.select([self._end], [], [], 0)[0]:
            try:
                self._shown += os.read(self._end, 65_536)
            except OSError:  # the error of Linux if the other end is closed
                return False
        return True

    def _is_asleep(self) -> bool:
        self._read()
        return Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"


@contextmanager
def on_terminal(command: Command, **options: Any) -> Iterator[Terminal]:
    """Start a process on its own pseudo terminal. Kill it at the end of the block."""
    ours, its = pty.openpty()
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, ours)
        with os.fdopen(its):
            process = stack.enter_context(child(command, stdin=its, stdout=its, stderr=its, **options))
        yield Terminal(process, ours)
