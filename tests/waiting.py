"""Waiting in tests: for conditions and threads, with one limit, so that no test depends on the speed of the machine.

No test asserts that something is fast. `LIMIT` only decides how long a failing test takes to report its failure.
tests/children.py waits for processes with the same limit.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

T = TypeVar("T")

LIMIT = (
    120.0  # seconds: a hundred times what the slowest condition needs on an idle machine; pytest's timeout is longer
)
PATIENT = timedelta(seconds=LIMIT)  # for a timeout of the product, if the far end must respond in time
LOOK_EVERY = 0.01  # at first, to notice quickly what comes quickly
LOOK_AT_LEAST_EVERY = 0.1  # later: many looks open a connection or read a file, on a machine that others need


def wait_until(
    look: Callable[[], T | None], what: str, state: Callable[[], object] | None = None, pause: float = LOOK_EVERY
) -> T:
    """Poll `look` until it returns a true value, and return that; if it fails, the error shows `state`.

    The pause between two looks grows, from `pause` to a tenth of a second.
    """
    deadline = time.monotonic() + LIMIT
    longest = max(pause, LOOK_AT_LEAST_EVERY)
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {LIMIT:g} s for {what}; last seen: {state() if state else seen!r}")
        time.sleep(pause)
        pause = min(pause * 1.2, longest)
    return seen


@contextmanager
def beside(work: Callable[[], object], stop: Callable[[], object] = lambda: None) -> Iterator[threading.Thread]:
    """Run `work` in a thread during the block. Then call `stop`, wait until the thread ends, and raise its exception."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as exc:
            raised.append(exc)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        stop()
        join(thread)
    if raised:
        raise raised[0]


def all_at_once(*works: Callable[[], object]) -> None:
    """Run each function in its own thread, all started at the same moment. Wait for all, and raise the exception of one."""
    ready = threading.Barrier(len(works))
    raised: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            ready.wait(LIMIT)
            work()
        except BaseException as exc:
            raised.append(exc)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread)
    if raised:
        raise raised[0]


def join(thread: threading.Thread) -> None:
    """Wait until a thread ends."""
    thread.join(LIMIT)
    assert not thread.is_alive(), f"waited {LIMIT:g} s for the end of {thread}"


def wait_for_event(event: threading.Event, what: str) -> None:
    """Wait for an event."""
    assert event.wait(LIMIT), f"waited {LIMIT:g} s for {what}"


def pause(seconds: float) -> None:
    """Let time pass, for a far end that is slow on purpose, or to give an unwanted event a chance.

    Nothing may need the time.
    """
    time.sleep(seconds)


def stopwatch() -> Callable[[], float]:
    """Start a stopwatch, and return a function that reads its seconds.

    A test may print the seconds or divide by them, but must not assert a bound.
    """
    started = time.monotonic()
    return lambda: time.monotonic() - started


@contextmanager
def at_least(seconds: float) -> Iterator[None]:
    """Fail if the block ends sooner than it may on any machine."""
    passed = stopwatch()
    yield
    assert passed() >= seconds


@contextmanager
def no_thread_left() -> Iterator[None]:
    """Fail a test that leaves a thread running."""
    before = set(threading.enumerate())
    yield

    def left() -> set[threading.Thread]:
        return {
            each for each in threading.enumerate() if each.name != "log"
        } - before  # it writes until the process ends

    wait_until(lambda: not left(), "the end of every thread", left)
