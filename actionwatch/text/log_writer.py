"""Write log lines in a thread, so that whatever reads them, and stops reading, holds no step up.

Lines wait in a queue. If too many wait, new ones are dropped and counted, and the log says so as soon as it can be written
again.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import queue
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

MAX_LINES = 10_000  # that wait; about 3 MB
_END_SECONDS = 2.0  # how long the end of the process waits for lines to be written
_FLUSH_STEP = 0.01


class LogWriter:
    """Writes lines to a file descriptor. `write` never blocks.

    It takes no lock, because destructors and signal handlers may log while the same thread is logging.
    """

    def __init__(self, on_dropped: Callable[[int], None], most: int = MAX_LINES) -> None:
        """`on_dropped` is called in the thread of the writer, with a number of lines, when lines are written again."""
        self._on_dropped = on_dropped
        self._most = most
        self._lines: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()
        self._unwritten: deque[None] = deque()
        """An entry for each line that is not written yet."""
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._reported_count = 0
        self.dropped_count = 0
        """Of all lines since the start of the process."""

    def write(self, descriptor: int, line: str) -> None:
        """Have a line, with its end, written, or drop it if too many wait."""
        if len(self._unwritten) < self._most:
            self._unwritten.append(None)
            self._lines.put((descriptor, line.encode("utf-8", "backslashreplace")))
        else:
            self.dropped_count += 1
        if self._thread is None or not self._thread.is_alive():  # also in the child of a fork
            self._start()

    def flush(self, seconds: float) -> bool:
        """Wait until all lines are written, but no longer than this. Return whether they are."""
        ends_at = time.monotonic() + seconds
        while self._unwritten and time.monotonic() < ends_at:
            time.sleep(_FLUSH_STEP)
        return not self._unwritten

    def _start(self) -> None:
        if not self._starting.acquire(blocking=False):
            return  # another call is starting it
        try:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
        finally:
            self._starting.release()

    def _run(self) -> None:
        while True:
            descriptor, line = self._lines.get()
            with contextlib.suppress(OSError):  # the reader is gone
                _write_all(descriptor, line)
            self._unwritten.pop()
            if (count := self.dropped_count - self._reported_count) and len(self._unwritten) < self._most // 2:
                self._reported_count += count
                self._on_dropped(count)


def _write_all(descriptor: int, line: bytes) -> None:
    # Not through sys.stderr: a thread that blocks there holds its lock, and the interpreter could not end.
    while line:
        try:
            line = line[os.write(descriptor, line) :]
        except BlockingIOError:  # another process that shares the file has made it non-blocking
            select.select([], [descriptor], [])


def _report(count: int) -> None:
    import structlog

    structlog.get_logger().error("log_lines_dropped", count=count, why="whatever reads standard error did not keep up")


WRITER = LogWriter(_report)
"""That of this process, which has one standard error."""
atexit.register(WRITER.flush, _END_SECONDS)


class BackgroundStream:
    """Standard error, as a stream for `logging.StreamHandler` whose `write` never blocks."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, text: str) -> None:
        """Have a text written."""
        WRITER.write(self._descriptor, text)

    def flush(self) -> None:
        """Wait for nothing."""


def background_stderr() -> TextIO | BackgroundStream:
    """Return standard error, in the background if it is a file of the system."""
    try:
        return BackgroundStream(sys.stderr.fileno())
    except OSError:  # io.UnsupportedOperation, of a stream in memory
        return sys.stderr
