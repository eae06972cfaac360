"""The command in processes that are forked from a warm one, which has imported everything: imports take most of a start.

    python -P warm_process.py SOCKET

Each message on the socket asks for one process: its arguments, folder and environment as JSON, with the descriptors of its
input, output, errors and of a report. The report gets a line `pid N` with the id of the process, or `error` and the cause if it
cannot start, and at its end a line `exit N` with its exit status.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import actionwatch
from actionwatch import cli
from tests.end_to_end import clocked

MESSAGE_BYTES = 200_000  # a message that is longer than the socket takes fails where it is sent
DESCRIPTORS = 4
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def import_everything() -> None:
    """Import all modules of the package, except the scripts of migrations, which nothing imports by name."""
    for module in pkgutil.walk_packages(actionwatch.__path__, "actionwatch."):
        if not module.name.endswith("__main__") and ".migrations" not in module.name:
            importlib.import_module(module.name)


def wait_for_messages(channel: socket.socket) -> Iterator[tuple[dict[str, Any], list[int]]]:
    """Fork a process for each message, and yield the message in that. In the first process, end when the socket is closed."""
    running: dict[int, tuple[int, int]] = {}  # by the file descriptor that tells the end: the process and its report
    with selectors.DefaultSelector() as waiting:
        waiting.register(channel, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                if key.fd in running:
                    waiting.unregister(key.fd)
                    _report(key.fd, *running.pop(key.fd))
                    continue
                text, descriptors, _, _ = socket.recv_fds(channel, MESSAGE_BYTES, DESCRIPTORS)
                if not text:
                    for end, (pid, report) in running.items():
                        kill(pid)
                        _report(end, pid, report)
                    return
                if not (pid := os.fork()):
                    waiting.close()
                    for end, (_, report) in running.items():
                        os.close(end)
                        os.close(report)
                    yield json.loads(text), descriptors
                    return
                for descriptor in descriptors[:-1]:
                    os.close(descriptor)
                end = os.pidfd_open(pid)
                running[end] = pid, descriptors[-1]
                waiting.register(end, selectors.EVENT_READ)


def kill(pid: int) -> None:
    """Kill a child and its group. A child that was just forked has no group of its own yet."""
    os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _report(end: int, pid: int, report: int) -> None:
    """Report the exit status of a process that has ended."""
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(BrokenPipeError):
        os.write(report, b"exit %d\n" % os.waitstatus_to_exitcode(status))
    os.close(report)
    os.close(end)


def become(message: dict[str, Any], descriptors: list[int], channel: socket.socket) -> None:
    """Be what a message asks for: a process in its own session, with its own folder, environment, streams and signals."""
    os.setsid()
    channel.close()
    *streams, report = descriptors
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    # New ones, because a stream notes of what kind its file is.
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    for each in SIGNALS:
        signal.signal(each, signal.default_int_handler if each is signal.SIGINT else signal.SIG_DFL)
    os.chdir(message["folder"])
    os.environ.clear()
    os.environ.update(message["environment"])
    time.tzset()
    sys.argv = ["actionwatch", *message["arguments"]]
    os.write(report, b"pid %d\n" % os.getpid())
    os.close(report)


def run_command(clock: str) -> NoReturn:
    """Run the command, maybe with the clock of a file. End like Python, but free no module: this costs more than the rest."""
    status = 1
    try:
        clocked.run_command(Path(clock)) if clock else cli.main()
    except SystemExit as exc:
        status = int(exc.code or 0)
    except BaseException:
        traceback.print_exc()
    for thread in set(threading.enumerate()) - {threading.main_thread()}:
        if not thread.daemon:
            thread.join()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main() -> None:
    """Import everything, then serve until the socket is closed."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    import_everything()
    gc.freeze()  # so that a forked process shares these objects
    for message, descriptors in wait_for_messages(channel):
        try:
            become(message, descriptors, channel)
        except Exception as exc:
            os.write(descriptors[-1], f"error {type(exc).__name__}: {exc}\n".encode())
            raise
        run_command(message["clock"])


if __name__ == "__main__":
    main()
