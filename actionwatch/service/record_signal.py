"""Let the matching step wait for records, which this process stores, or another replica."""

from __future__ import annotations

import contextlib
import threading
import time

from actionwatch.base.errors import StoreError
from actionwatch.store.database import Database


class RecordSignal:
    """Says that records were stored, to the one thread that waits for them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._is_set = threading.Event()
        self._seen_version: int | None = None

    def set(self) -> None:
        """End a running `wait_for_records`, or else the next one."""
        self._is_set.set()

    def wait_for_records(self, seconds: float) -> None:
        """Wait until records were stored, but no longer than `seconds`."""
        if not self._database.is_shared:
            self._is_set.wait(seconds)
        else:  # another replica may store them
            deadline = time.monotonic() + seconds
            while (left := deadline - time.monotonic()) > 0:
                is_woken = self._is_set.wait(min(left, self._database.peers.look_seconds))
                if self._has_new_version() or is_woken:
                    break
        self._is_set.clear()

    def _has_new_version(self) -> bool:
        before = self._seen_version
        with contextlib.suppress(StoreError):  # the step that follows reports it
            self._seen_version = self._database.version()
        return before != self._seen_version
