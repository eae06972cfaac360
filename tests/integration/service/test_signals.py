"""Signals always reach the main thread."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
import threading

import pytest

from actionwatch.service.signals import Asked, asked_by_signals
from tests.children import child, printed
from tests.waiting import LIMIT, beside, stopwatch

ROUNDS = 2_000
ENDLESS = """
from actionwatch.service.signals import ENDING, asked_by_signals
with asked_by_signals(ENDING) as asked:
    print("waiting", flush=True)
    asked.wait()
print("ended")
"""


def test_signal_at_any_point_ends_the_wait() -> None:
    """A handler that runs before, during or after any point of a wait ends the wait."""
    chance = random.Random(1)
    main = threading.main_thread().ident
    assert main is not None
    turn = threading.Barrier(2)

    def send() -> None:
        for _ in range(ROUNDS):
            turn.wait(LIMIT)
            passed, moment = stopwatch(), chance.random() * 5e-5
            while passed() < moment:
                pass
            signal.pthread_kill(main, signal.SIGUSR1)

    with beside(send, stop=turn.abort):
        for _ in range(ROUNDS):
            with asked_by_signals({signal.SIGUSR1: "end"}) as asked:
                turn.wait(LIMIT)
                assert asked.wait(LIMIT) == "end"


def test_wait_ends_after_its_time() -> None:
    """A wait returns None after its time, and requests in order."""
    with contextlib.closing(Asked()) as asked:
        assert asked.wait(0.01) is None
        asked.ask("reload")
        asked.ask()
        assert [asked.wait(0), asked.wait(0), asked.wait(0)] == ["reload", "end", None]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_a_waiting_process(number: signal.Signals) -> None:
    """After a signal the block ends, and the code after it runs."""
    with child([sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(number)
        assert printed(process)[0] == "ended\n"
        assert process.returncode == 0
