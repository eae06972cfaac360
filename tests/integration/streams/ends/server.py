"""A server in a child process, which tests stop, start, and let hang."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.children import Command, Process, child, exit_status
from tests.integration.streams.end import End
from tests.waiting import wait_until

_PORTS = (10_000, 32_000)
_CHOICE = random.SystemRandom()  # workers have the same seed


def free_port() -> int:
    """Return a port that nobody uses, for a server that must return to the same one.

    It is below those that the system gives to outgoing connections: one of these could take it while the server is stopped.
    """
    while True:
        port = _CHOICE.randrange(*_PORTS)
        with socket.socket() as held, contextlib.suppress(OSError):
            held.bind(("127.0.0.1", port))
            return port


def answers(port: int) -> bool:
    """Return whether a server listens on a port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class ServerProcess:
    """A server that listens on one port, and writes its log to `folder/log`."""

    def __init__(self, command: Command, port: int, folder: Path, env: Mapping[str, str] | None = None) -> None:
        self.port = port
        self._command = command
        self._folder = folder
        self._env = {**os.environ, **(env or {})}
        self._running = contextlib.ExitStack()
        self._process: Process | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        log = self._running.enter_context((self._folder / "log").open("a"))
        started = child(
            self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder, env=self._env
        )
        self._process = self._running.enter_context(started)
        wait_until(lambda: answers(self.port) or self._has_ended(), "the server to listen", self.log)
        assert not self._has_ended(), self.log()

    def stop(self) -> None:
        """Kill it."""
        process = self._process
        self._running.close()
        if process is not None:
            exit_status(process)
            wait_until(lambda: not answers(self.port), "the end of a server whose script started it", self.log)
        self._process = None

    def hang(self) -> None:
        """Stop its execution. The system still accepts connections for it."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue its execution."""
        self._signal(signal.SIGCONT)

    def log(self) -> str:
        """Return the end of its log."""
        return (self._folder / "log").read_text(errors="replace")[-2000:]

    def _has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, number)


class ServerEnd(End):
    """A far end that is one server, which an end sets as `_server`."""

    _server: ServerProcess

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server.start()

    def hang(self) -> None:
        self._server.hang()

    def resume(self) -> None:
        self._server.resume()
