"""Signals reach the main thread whenever they come."""

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


def test_no_signal_is_lost_and_none_locks_the_waiting_thread() -> None:
    """A handler that runs at any point of a wait, or before or after it, has the wait end."""
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


def test_a_wait_has_an_end() -> None:
    """Nothing asked: None after the time; what was asked comes in order."""
    with contextlib.closing(Asked()) as asked:
        assert asked.wait(0.01) is None
        asked.ask("reload")
        asked.ask()
        assert [asked.wait(0), asked.wait(0), asked.wait(0)] == ["reload", "end", None]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_process_that_waits(number: signal.Signals) -> None:
    """The block ends, and what comes after it is done."""
    with child([sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(number)
        assert printed(process)[0] == "ended\n"
        assert process.returncode == 0
