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
    """What was asked for, in order, by signals or by other threads; the main thread waits for it.

    No `threading.Event`, and no queue: Python runs handlers in the main thread alone, between any two instructions. One that
    takes a lock waits for ever if the main thread holds it; and the wait for a lock is not ended by a signal that comes just
    before it begins, or that the kernel hands to another thread. A byte in a socket is still there.
    """

    def __init__(self) -> None:
        self._words: collections.deque[str] = collections.deque()
        self._waking, self._woken = socket.socketpair()
        self._waking.setblocking(False)
        self._woken.setblocking(False)

    def ask(self, word: str = "end") -> None:
        """Ask for this; from a handler too."""
        self._words.append(word)
        with contextlib.suppress(BlockingIOError):  # full of bytes: it wakes anyhow
            self._waking.send(b"\0")

    def wait(self, seconds: float | None = None) -> str | None:
        """Give what was asked for first, waiting for it; None when nothing was within these seconds."""
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
        """Give the sockets back; nobody may ask any more."""
        self._waking.close()
        self._woken.close()

    def waking_fd(self) -> int:
        """Give what the interpreter is to write to when a signal comes, before its handler runs."""
        return self._waking.fileno()


@contextlib.contextmanager
def asked_by_signals(words: Mapping[signal.Signals, str]) -> Iterator[Asked]:
    """Have each of these signals ask for its word until the block ends; only the main thread may call this."""
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
