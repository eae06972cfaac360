"""Signals that end a command cleanly, or have the service reload."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

ENDING = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def ended_by_signal() -> Iterator[threading.Event]:
    """Turn SIGTERM and SIGINT into an event until the block ends; only the main thread may call this."""
    ended = threading.Event()
    with on_signals(dict.fromkeys(ENDING, ended.set)):
        yield ended


@contextmanager
def on_signals(actions: Mapping[signal.Signals, Callable[[], object]]) -> Iterator[None]:
    """Do this on these signals until the block ends; only the main thread may call this.

    An action runs between any two instructions: it may set an event or fill a `SimpleQueue`, and nothing that takes a lock.
    """

    def handle(number: int, _: object) -> None:
        actions[signal.Signals(number)]()

    before = {number: signal.signal(number, handle) for number in actions}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
