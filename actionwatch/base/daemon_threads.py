"""Run tasks in threads that do not keep the process from ending.

The threads of `concurrent.futures.ThreadPoolExecutor` do: a request that hangs would delay the end of the process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import ParamSpec, Protocol, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Joinable(Protocol):
    """A thread that somebody waits for."""

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, but no longer than `timeout` seconds."""
        ...


StartThread = Callable[[str, Callable[[], None]], Joinable]
"""Starts a thread with this name, which runs this."""


def start_daemon(name: str, run: Callable[[], None]) -> Joinable:
    """Start a thread that does not keep the process from ending."""
    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread


class DaemonThreads(Executor):
    """Runs each task in its own thread. One thread at a time submits tasks."""

    def __init__(self, name: str) -> None:
        """`name` is the name of the threads."""
        self._name = name
        self._threads: list[threading.Thread] = []

    def submit(self, run: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Start a task; its future holds the outcome."""
        future: Future[_T] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(run(*args, **kwargs))
            except BaseException as exc:
                future.set_exception(exc)

        thread = threading.Thread(target=work, name=self._name, daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()]
        thread.start()
        self._threads.append(thread)
        return future

    def join(self, seconds: float) -> int:
        """Wait until all tasks have ended, but no longer than `seconds`. Return how many have not."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))
        return sum(thread.is_alive() for thread in self._threads)
