"""Lines of the log are written by a thread, and nobody waits for whatever reads them."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from actionwatch.text import log_writer, logs
from actionwatch.text.log_writer import LogWriter
from tests.unit.text.test_logs import restored_logging
from tests.waiting import LIMIT, pause, wait_until

__all__ = ["restored_logging"]
PIPE_BYTES = 4096


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A small pipe."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    yield reading, writing
    os.close(reading)
    os.close(writing)


def read_all(reading: int, writer: LogWriter) -> bytes:
    """Read until all lines are written."""
    os.set_blocking(reading, False)
    found = bytearray()

    def is_over() -> bool:
        is_written = writer.flush(0)  # before reading: what is written later is read the next time
        try:
            while True:
                found.extend(os.read(reading, 65_536))
                pause(0.0001)  # gives the writer its turn
        except BlockingIOError:
            return is_written

    wait_until(is_over, "all lines are written")
    return bytes(found)


def test_nobody_waits_for_a_reader_that_stops(pipe: tuple[int, int]) -> None:
    """Lines that nobody reads wait, up to a limit; others are dropped, counted, and reported when somebody reads again."""
    reported: list[int] = []
    writer = LogWriter(reported.append, most=100)
    for number in range(1000):
        writer.write(pipe[1], f"line {number} {'x' * 100}\n")
    assert writer.dropped_count > 0
    assert not reported
    lines = read_all(pipe[0], writer).splitlines()
    assert len(lines) == 1000 - writer.dropped_count
    assert lines[0].startswith(b"line 0 ")
    wait_until(lambda: reported == [writer.dropped_count], "what was dropped is reported")
    writer.write(pipe[1], "the next\n")
    assert read_all(pipe[0], writer) == b"the next\n"


def test_full_pipe_that_is_not_blocking_loses_nothing(pipe: tuple[int, int]) -> None:
    """Lines wait for their reader also if a process that shares standard error has made it non-blocking."""
    os.set_blocking(pipe[1], False)
    writer = LogWriter(lambda _: None)
    for number in range(200):
        writer.write(pipe[1], f"line {number} {'x' * 100}\n")
    lines = read_all(pipe[0], writer).splitlines()
    assert [line.split()[1] for line in lines] == [b"%d" % number for number in range(200)]


def test_line_within_a_line_blocks_nobody() -> None:
    """A destructor or a signal handler that logs, while the same thread is logging, waits for nothing."""
    with Path(os.devnull).open("wb") as target:
        writer, written = LogWriter(lambda _: None, most=1_000_000), target.fileno()
        before = signal.signal(signal.SIGALRM, lambda _number, _frame: writer.write(written, "within\n"))
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
            for _ in range(100_000):
                writer.write(written, "a line\n")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert writer.flush(LIMIT)


def test_service_logs_in_the_background(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """The log of a service blocks nobody, keeps the order, and says how many lines are missing."""
    stream = os.fdopen(pipe[1], "w", closefd=False)
    monkeypatch.setattr("sys.stderr", stream)
    writer = LogWriter(lambda count: structlog.get_logger().error("log_lines_dropped", count=count))
    monkeypatch.setattr(log_writer, "WRITER", writer)  # that of the process counts for its metrics
    logs.set_up("info", "json", ["s3cret-word"], is_background=True)
    for number in range(log_writer.MAX_LINES + 200):
        structlog.get_logger().info("step_done", number=number, token="s3cret-word")
    logging.getLogger("other").warning("last of s3cret-word")
    assert writer.dropped_count > 0
    found = read_all(pipe[0], writer)
    wait_until(lambda: b"log_lines_dropped" in found + read_all(pipe[0], writer), "the log says it")
    assert b"s3cret-word" not in found
    assert found.index(b'"number": 1,') < found.index(b'"number": 2,') < found.index(b'"number": 500,')
    assert writer.flush(LIMIT)


def test_reader_that_is_gone_is_no_error() -> None:
    """Lines for a reader that has closed its end are given up, and the next ones are written."""
    reading, writing = os.pipe()
    os.close(reading)
    writer = LogWriter(lambda _: None)
    writer.write(writing, "for nobody\n")
    assert writer.flush(LIMIT)
    os.close(writing)
    reading, writing = os.pipe()
    writer.write(writing, "for somebody\n")
    assert writer.flush(LIMIT)
    assert os.read(reading, 100) == b"for somebody\n"
    os.close(reading)
    os.close(writing)


def test_child_of_a_fork_logs() -> None:
    """A child that was forked after its parent has logged writes its lines too."""
    reading, writing = os.pipe()
    writer = LogWriter(lambda _: None)
    writer.write(writing, "of the parent\n")
    assert writer.flush(LIMIT)
    child = os.fork()
    if not child:
        writer.write(writing, "of the child\n")
        os._exit(0 if writer.flush(LIMIT) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(reading, 100) == b"of the parent\nof the child\n"
    os.close(reading)
    os.close(writing)
