"""Run WAL checkpoints in a thread.

By default, SQLite runs them in the commit that makes the log too long: 10 to 20 ms including disk syncs, during which an alert
waits. Here a thread does most of the work while writers continue, and blocks them only for the rest. After a complete
checkpoint, SQLite starts the log from its beginning.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from pathlib import Path

import structlog

COMMITS = 200  # a log of about 30 MB for single deliveries; twenty times as much for pages of records
LONGEST_LOG_BYTES = 128 * 1024 * 1024  # then SQLite does it by itself after all: large commits, or a thread that failed

log = structlog.get_logger()


class Checkpoints:
    """The log of one database, for the writers of one process. The thread is begun when there is first something to do."""

    def __init__(self, database: Path, turn: threading.Lock) -> None:
        """`turn` is the lock that writers hold."""
        self._database = database
        self._turn = turn
        self._commit_count = 0
        self._wanted = threading.Event()
        self._is_closing = False
        self._thread: threading.Thread | None = None

    def note_commit(self) -> None:
        """Count a commit. The caller holds the lock."""
        self._commit_count += 1
        if self._commit_count % COMMITS:
            return
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
            self._carry_over_until_closed()
        except (
            BaseException
        ) as exc:  # the writers go on, SQLite carries over by itself, and the next time starts a new thread
            log.error("checkpoint_failed", store=str(self._database), error=repr(exc), exc_info=exc)

    def _carry_over_until_closed(self) -> None:
        # A connection of its own, which waits for nobody: what a reader or another process holds is carried over next time.
        with contextlib.closing(sqlite3.connect(self._database, isolation_level=None, timeout=0)) as connection:
            while True:
                self._wanted.wait()
                self._wanted.clear()
                if self._is_closing:
                    return
                _carry_over(connection)
                with self._turn:
                    _carry_over(connection)


def _carry_over(connection: sqlite3.Connection) -> None:
    with contextlib.suppress(sqlite3.Error):  # a disk that is full or broken: the writers report it
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").close()
