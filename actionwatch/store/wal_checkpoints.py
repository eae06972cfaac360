"""Run WAL checkpoints in a thread.

By default, SQLite runs them in the commit that makes the log too long: 10 to 20 ms including disk syncs, during which an alert
waits. Here a thread does most of the work while writers continue, and blocks them only for the rest. After a complete
checkpoint, SQLite starts the log from its beginning.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from pathlib import Path

LEAST_COMMITS = 200  # between two checkpoints, each of which makes an alert wait
MOST_COMMITS = 600  # a log of about 90 MB for single deliveries; twenty times as much for pages of records
_LEAST_SECONDS = 10.0  # so that a burst of deliveries has few, and a service that only polls the shortest log
# Beyond it SQLite runs a checkpoint in a commit: large commits, or a failed thread.
LONGEST_LOG_BYTES = 128 * 1024 * 1024


class Checkpoints:
    """The log of one database, for the writers of one process. The thread starts with the first checkpoint."""

    def __init__(self, database: Path, turn: threading.Lock) -> None:
        """`turn` is the lock that writers hold."""
        self._database = database
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
        if self.commit_count < LEAST_COMMITS:
            return
        now = time.monotonic()
        if self.commit_count < MOST_COMMITS and now - self._wanted_at < _LEAST_SECONDS:
            return
        self.commit_count, self._wanted_at = 0, now
        self._wanted.set()
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._is_closing = True
        self._wanted.set()
        if self._thread is not None:
            self._thread.join()

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
        with contextlib.closing(sqlite3.connect(self._database, isolation_level=None, timeout=0)) as connection:
            while True:
                self._wanted.wait()
                self._wanted.clear()
                if self._is_closing:
                    return
                _checkpoint(connection)
                with self._turn:
                    _checkpoint(connection)


def _checkpoint(connection: sqlite3.Connection) -> None:
    with contextlib.suppress(sqlite3.Error):  # a disk that is full or broken: the writers report it
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").close()
