"""The command in child processes that start warm: `tests/warm_process.py` has imported everything, and forks them.

The start of the installed command takes more than a second of CPU, a forked one about a tenth. Tests about the start itself,
and those that need another loader, start the command with `tests.children`.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tests import warm_process
from tests.children import child, exit_status, kill

Stream = IO[str] | int | None
"""As the streams of `subprocess.Popen`: a file, `PIPE` or `DEVNULL`; None is that of this process."""

_at_end = contextlib.ExitStack()
atexit.register(_at_end.close)


def end() -> None:
    """End the warm process, and what still runs of those that it forked."""
    _at_end.close()
    warm_channel.cache_clear()


@functools.cache
def warm_channel() -> socket.socket:
    """Start the warm process of this one, and return the socket that it serves."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        command = [sys.executable, "-P", warm_process.__file__, str(its.fileno())]
        process = _at_end.enter_context(child(command, pass_fds=[its.fileno()]))
    _at_end.callback(exit_status, process)  # once the socket is closed, it first kills what it forked
    return _at_end.enter_context(ours)


@dataclass
class Forked:
    """A forked process, with what tests use of `subprocess.Popen`."""

    command: tuple[str, ...]
    report: IO[bytes]
    """Gives the id of the process, or why it did not start, and at its end its exit status."""
    stdout: IO[str] | None
    stderr: IO[str] | None
    pid: int = field(init=False)
    returncode: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Wait until the process has its own session. Raises: AssertionError, with the cause, if it did not start."""
        self.pid = self._reported("pid")
        assert self.pid > 1, f"{' '.join(self.command)} cannot be the process {self.pid}"

    def poll(self) -> int | None:
        """Return the exit status, or None while the process runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the process ends. Raises: subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self.report], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.command, timeout or 0)
            self.returncode = self._reported("exit")
        return self.returncode

    def send_signal(self, number: int, /) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _reported(self, wanted: str) -> int:
        """Return the number in the next line of the report."""
        line = self.report.readline().decode().strip()
        name, _, number = line.partition(" ")
        assert name == wanted, f"{' '.join(self.command)} reported no {wanted}: {line or 'the warm process has ended'}"
        return int(number)


@contextlib.contextmanager
def forked(
    *arguments: str,
    folder: Path,
    environment: Mapping[str, str],
    stdout: Stream = None,
    stderr: Stream = None,
    clock: Path | None = None,
) -> Iterator[Forked]:
    """Start the command in its own session. At the end of the block, also after a failure, kill it and its descendants.

    Its clock can follow a file: see `tests/end_to_end/clocked.py`.
    """
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as its:
        given = _nothing(its)
        printed, out = _stream(stdout, 1, ours, its)
        complained, err = _stream(stderr, 2, ours, its)
        reader, reported = _pipe(ours, its)
        report = ours.enter_context(os.fdopen(reader, "rb", buffering=0, closefd=False))  # `select` sees no buffer
        message = {
            "arguments": arguments,
            "folder": str(folder),
            "environment": {**environment},
            "clock": str(clock or ""),
        }
        socket.send_fds(warm_channel(), [json.dumps(message).encode()], [given, out, err, reported])
        its.close()
        process = Forked(("actionwatch", *arguments), report, printed, complained)
        ours.callback(exit_status, process)
        ours.callback(kill, process)
        yield process


def _stream(
    stream: Stream, number: int, ours: contextlib.ExitStack, its: contextlib.ExitStack
) -> tuple[IO[str] | None, int]:
    """Return what reads a stream of the process, if it is a pipe, and the descriptor that the process gets."""
    match stream:
        case None:
            return None, number
        case subprocess.PIPE:
            reader, writer = _pipe(ours, its)
            return ours.enter_context(os.fdopen(reader, closefd=False)), writer
        case int():
            return None, _nothing(its)
    return None, stream.fileno()


def _nothing(its: contextlib.ExitStack) -> int:
    return its.enter_context(Path(os.devnull).open("r+b")).fileno()


def _pipe(ours: contextlib.ExitStack, its: contextlib.ExitStack) -> tuple[int, int]:
    """Open a pipe whose ends are closed by us and, as soon as the process has it, by its own."""
    reader, writer = os.pipe()
    ours.callback(os.close, reader)
    its.callback(os.close, writer)
    return reader, writer


def run_forked(
    *arguments: str, folder: Path, environment: Mapping[str, str], clock: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end. Return its exit status and output."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        with forked(*arguments, folder=folder, environment=environment, stdout=out, stderr=err, clock=clock) as process:
            status = exit_status(process)
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(arguments, status, out.read(), err.read())
