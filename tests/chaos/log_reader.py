"""A reader of the log that stalls: the real set-up of the log of a service, on a small pipe that is read only now and then."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from actionwatch.text import logs
from actionwatch.text.log_writer import MAX_LINES, WRITER, BackgroundStream, background_stderr
from tests.waiting import wait_until

_PIPE_BYTES = 4096  # a page, the least there is
_QUIET_SECONDS = 0.001  # without a line, before the reader looks whether that was all


class StalledReader:
    """Reads the log of a process only when it is asked to. Until then the pipe is full, and lines wait or are dropped."""

    def __init__(self, descriptor: int, stream: TextIO | BackgroundStream) -> None:
        self._descriptor = descriptor
        self._stream = stream
        self._begins_at = WRITER.dropped_count
        self._rest = b""
        self.reported_count = 0
        """How many lines are missing, according to the log."""

    @property
    def dropped_count(self) -> int:
        """How many lines found no room."""
        return WRITER.dropped_count - self._begins_at

    def fill(self) -> None:
        """Log more lines than can wait, as a library may do."""
        for _ in range(MAX_LINES + _PIPE_BYTES):
            self._stream.write("a line\n")

    def read_all(self) -> None:
        """Read until nothing waits, and until the log says of every dropped line that it is missing."""

        def is_over() -> bool:
            self._read()
            return WRITER.flush(0) and self.reported_count >= self.dropped_count

        wait_until(
            is_over, "the log reports what it dropped", lambda: (self.reported_count, self.dropped_count), 0.0005
        )
        self._read()

    def _read(self) -> None:
        while select.select([self._descriptor], [], [], _QUIET_SECONDS)[0]:
            *lines, self._rest = (self._rest + os.read(self._descriptor, _PIPE_BYTES)).split(b"\n")
            for line in lines:
                self.reported_count += json.loads(line)["count"] if b"log_lines_dropped" in line else 0


@contextmanager
def stalled_reader() -> Iterator[StalledReader]:
    """Log like a service, to a pipe with such a reader."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    with os.fdopen(writing, "w") as stream:
        with contextlib.redirect_stderr(stream):
            logs.set_up("info", "json", [], is_background=True)
            reader = StalledReader(reading, background_stderr())
        try:
            yield reader
        finally:
            os.close(reading)  # what still waits fails
            wait_until(lambda: WRITER.flush(0.01), "the end of the lines that wait")
