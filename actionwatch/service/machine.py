"""The machine of a process: clocks, chance, threads, and the file of the store.

The composition root (`app.py`) hands it to the parts. The simulator (`tests/simulation`) is another machine: its time is
virtual, and all work is done in one thread.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from actionwatch.base.clock import machine_now
from actionwatch.base.daemon_threads import DaemonThreads, StartThread, start_daemon

if TYPE_CHECKING:
    from actionwatch.store.database import Database


def _open_store(url: str) -> Database:
    from actionwatch.store.database import Database  # only here: `actions` has a client, and no store

    return Database(url)


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine; by default, the real one."""

    now: Callable[[], datetime] = machine_now
    elapsed: Callable[[], float] = time.monotonic
    """Returns the seconds since some moment, whatever happens to the clock."""
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random
    """Returns a number in [0, 1) by which a retry varies."""
    threads: Callable[[str], Executor] = DaemonThreads
    """Makes threads, with this name, for tasks that end."""
    start_thread: StartThread = start_daemon
    """Starts a thread that lasts."""
    open_store: Callable[[str], Database] = _open_store
    """Opens the store at a URL."""
