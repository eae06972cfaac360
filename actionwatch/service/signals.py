"""Wait in the main thread for signals that end a command or make the service reload."""

from __future__ import annotations

import collections
import contextlib
import select
import signal
import socket
import time
from collections.abc import Iterator, Mapping

ENDING = {signal.SIGTERM: "end", signal.SIGINT: "end"}


class Asked:
    """The requests of signals and other threads, in order. The main thread waits for them.

    It uses no `threading.Event` and no queue, because Python runs signal handlers in the main thread, between any two
    instructions. A handler that takes a lock waits forever if the main thread holds it. A signal does not end the wait for a
    lock if it arrives just before the wait, or if the kernel delivers it to another thread. A byte in a socket is not lost.
    """

    def __init__(self) -> None:
        self._words: collections.deque[str] = collections.deque()
        self._waking, self._woken = socket.socketpair()
        self._waking.setblocking(False)
        self._woken.setblocking(False)

    def ask(self, word: str = "end") -> None:
        """Request this. A signal handler may call it."""
        self._words.append(word)
        with contextlib.suppress(BlockingIOError):  # the socket is full, so the main thread wakes up anyway
            self._waking.send(b"\0")

    def wait(self, seconds: float | None = None) -> str | None:
        """Wait for the first request and return it, or None if there was none within these seconds."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while not self._words:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                return None
            select.select([self._woken], [], [], left)
            with contextlib.suppress(BlockingIOError):
                self._woken.recv(4096)
        return self._words.popleft()

    def close(self) -> None:
        """Close the sockets. No request may follow."""
        self._waking.close()
        self._woken.close()

    def waking_fd(self) -> int:
        """Return the descriptor that the interpreter writes to when a signal arrives, before its handler runs."""
        return self._waking.fileno()


@contextlib.contextmanager
def asked_by_signals(words: Mapping[signal.Signals, str]) -> Iterator[Asked]:
    """Turn each of these signals into a request for its word until the block ends. Only the main thread may call this."""
    with contextlib.closing(Asked()) as asked:
        fd = signal.set_wakeup_fd(asked.waking_fd(), warn_on_full_buffer=False)
        before = {
            number: signal.signal(number, lambda sent, _: asked.ask(words[signal.Signals(sent)])) for number in words
        }
        try:
            yield asked
        finally:
            for number, former in before.items():
                signal.signal(number, former)
            signal.set_wakeup_fd(fd)
