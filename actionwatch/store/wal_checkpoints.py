"""Run WAL checkpoints in a thread.

By default, SQLite runs them in the commit that makes the log too long: 10 to 20 ms including disk syncs, during which an alert
waits. Here a thread does most of the work while writers continue, and blocks them only for the rest. After a complete
checkpoint, SQLite starts the log from its beginning. The file keeps its length until the thread cuts it, when no checkpoint
has been due for a while.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

FIRST_COMMITS = 10  # start the thread: a command has fewer
LEAST_COMMITS = 200  # between two checkpoints, each of which makes an alert wait
MOST_COMMITS = 600  # a log of about 90 MB for single deliveries; twenty times as much for pages of records
_LEAST_SECONDS = 10.0  # so that a burst of deliveries has few, and a service that only polls the shortest log
# Beyond it SQLite runs a checkpoint in a commit: large commits, or a failed thread.
LONGEST_LOG_BYTES = 128 * 1024 * 1024
IDLE_SECONDS = 30.0  # without a checkpoint, until the log is cut
IDLE_LOG_BYTES = 8 * 1024 * 1024  # a shorter log is not worth it


class Checkpoints:
    """The log of one database, for the writers of one process. The thread starts after a few commits."""

    def __init__(self, database: Path, turn: threading.Lock, connect: Callable[[float], sqlite3.Connection]) -> None:
        """`turn` is the lock that writers hold. `connect` opens the database, and waits so many seconds for others."""
        self._connect = connect
        self._database = database
        self._log = database.with_name(f"{database.name}-wal")
        self._turn = turn
        self.commit_count = 0
        """Since the last checkpoint."""
        self._wanted_at = -_LEAST_SECONDS
        self._wanted = threading.Event()
        self._is_closing = False
        self._thread: threading.Thread | None = None

    def note_commit(self) -> None:
        """Count a commit. The caller holds the lock."""
        self.commit_count += 1
        if self.commit_count == FIRST_COMMITS:
            self._start()
        if self.commit_count < LEAST_COMMITS:
            return
        now = time.monotonic()
        if self.commit_count < MOST_COMMITS and now - self._wanted_at < _LEAST_SECONDS:
            return
        self.commit_count, self._wanted_at = 0, now
        self._wanted.set()
        self._start()

    def close(self) -> None:
        """End the thread."""
        self._is_closing = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        try:
            self._run_checkpoints()
        except BaseException as exc:
            import structlog  # only here: commands that only read the store import this module, and log nothing

            # The writers continue, SQLite runs checkpoints itself, and the next checkpoint starts a new thread.
            log = structlog.get_logger()
            log.error("checkpoint_failed", store=str(self._database), error=repr(exc), exc_info=exc)

    def _run_checkpoints(self) -> None:
        # This connection waits for nobody: pages that a reader or another process holds are left for the next checkpoint.
        with contextlib.closing(self._connect(0)) as connection:
            while True:
                is_wanted = self._wanted.wait(IDLE_SECONDS)
                self._wanted.clear()
                if self._is_closing:
                    return
                if not is_wanted and not self._is_long():
                    continue
                _checkpoint(connection, "PASSIVE")
                with self._turn:
                    _checkpoint(connection, "PASSIVE" if is_wanted else "TRUNCATE")

    def _is_long(self) -> bool:
        with contextlib.suppress(OSError):  # no log, after the last connection was closed
            return self._log.stat().st_size > IDLE_LOG_BYTES
        return False


def _checkpoint(connection: sqlite3.Connection, mode: Literal["PASSIVE", "TRUNCATE"]) -> None:
    with contextlib.suppress(sqlite3.Error):  # a disk that is full or broken: the writers report it
        connection.execute(f"PRAGMA wal_checkpoint({mode})").close()
