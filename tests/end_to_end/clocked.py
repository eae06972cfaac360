"""Run the command with a clock that a file sets, in seconds from the real time.

Only the wall clock follows the file, which is read continuously; the monotonic clock, timeouts and sockets are real.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import time_machine

from actionwatch import cli

LOOK_SECONDS = 0.02


def run_command(file: Path) -> None:
    """Run the command that this process was started with."""
    off = float(file.read_text())
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=off), tick=True) as clock:
        never = threading.Event()

        def follow() -> None:
            known = off
            while not never.wait(LOOK_SECONDS):
                wanted = float(file.read_text() or known)
                if wanted != known:
                    clock.shift(wanted - known)
                    known = wanted

        threading.Thread(target=follow, daemon=True).start()
        cli.main()
