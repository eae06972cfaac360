"""The threads of the service. If one ends while the service runs, the process ends, and its supervisor restarts it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from actionwatch.base.errors import ActionwatchError, StoreReplaced

log = structlog.get_logger()


class ThreadDied(ActionwatchError):
    """A thread of the service ended while the service was running."""


class Threads:
    """The named threads of one service. `on_death` is called in a thread that ends before `stopping` is set."""

    def __init__(self, on_death: Callable[[], None]) -> None:
        self.stopping = threading.Event()
        self._on_death = on_death
        self._deaths: list[str] = []
        self._threads: dict[str, threading.Thread] = {}

    def start(self, name: str, target: Callable[[], None]) -> threading.Thread:
        """Start a thread."""
        thread = threading.Thread(target=self._run, args=(name, target), name=name, daemon=True)
        self._threads[name] = thread
        thread.start()
        return thread

    def are_alive(self) -> dict[str, bool]:
        """Return for each thread whether it is alive."""
        return {name: thread.is_alive() for name, thread in self._threads.items()}

    def check(self) -> None:
        """Check that no thread has ended.

        Raises: ThreadDied.
        """
        if self._deaths:
            raise ThreadDied(self._deaths[0])

    def join(self, name: str, seconds: float | None) -> None:
        """Wait until a thread has ended, but no longer than `seconds` (None: without a limit)."""
        self._threads[name].join(seconds)

    def _run(self, name: str, target: Callable[[], None]) -> None:
        raised: BaseException | None = None
        try:
            target()
        except BaseException as exc:
            raised = exc
        if raised is not None or not self.stopping.is_set():
            self._deaths.append(_spell_death(name, raised))
            self._on_death()  # before logging, which may fail for lack of memory
            log.critical("thread_died", thread=name, error=repr(raised), exc_info=raised)


def _spell_death(name: str, raised: BaseException | None) -> str:
    if isinstance(raised, StoreReplaced):
        return str(raised)
    ended = f"the thread {name} ended" + (f" with {raised!r}" if raised else "")
    return f"{ended}: the log has the traceback; the process ends, restart it"
