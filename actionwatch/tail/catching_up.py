"""Report how far a source is that catches up: in the store for `status`, in the log, and to `run --once`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from actionwatch.base.durations import spell_duration
from actionwatch.store import backlog_progress
from actionwatch.store.backlog_progress import Backlog
from actionwatch.tail.cursor import Window
from actionwatch.tail.state import TailState

OnBacklog = Callable[[Backlog], None]

SOON = timedelta(minutes=1)

log = structlog.get_logger()


class CatchingUp:
    """The backlog of one source, if there is one: a window with more records than are read in one go."""

    def __init__(self, state: TailState, on_backlog: OnBacklog) -> None:
        self._state = state
        self._on_backlog = on_backlog
        self._backlog: Backlog | None = None
        self._may_be_left = True
        """Whether a process that was killed may have left the progress of a backlog."""

    def begin_poll(self, connection: Connection) -> None:
        """Look whether a process that was killed has left the progress of a backlog: nearly always, none has."""
        if self._may_be_left:
            self._may_be_left = self._state.source in backlog_progress.read_all(connection)

    @property
    def is_active(self) -> bool:
        """Whether there is a backlog."""
        return self._backlog is not None

    @property
    def ends_soon(self) -> bool:
        """Whether the rest of the backlog is probably read within a minute; also if nothing is known of its speed yet."""
        if self._backlog is None:
            return False
        left = self._backlog.remaining
        return left is None or left < SOON

    def begin(self, window: Window) -> None:
        """Begin a backlog with a window that is too large, unless it is part of one. Continues what a killed process left."""
        if self._backlog is not None:
            return
        with self._state.database.read() as connection:
            left = backlog_progress.read_all(connection).get(self._state.source)
        now, begins = self._state.clock(), window.start
        is_rest = left is not None and left.starts_at <= begins <= left.ends_at
        count = left.record_count if left is not None and is_rest else 0
        self._backlog = Backlog(
            source=self._state.source,
            starts_at=left.starts_at if left is not None and is_rest else begins,
            ends_at=window.end,
            through=begins,
            record_count=count,
            began_at=now,
            began_through=begins,
            began_count=count,
            noted_at=now,
        )
        self._logged_at = self._state.elapsed()
        self.note_progress(begins, 0)

    def note_progress(self, through: datetime, new_count: int) -> None:
        """Store the progress, with the number of records since the last call."""
        if self._backlog is None:
            return
        count = self._backlog.record_count + new_count
        self._backlog = replace(self._backlog, through=through, record_count=count, noted_at=self._state.clock())
        with self._state.database.write() as connection:
            backlog_progress.write(connection, self._backlog)
        self._report(self._backlog)

    def follow_clock(self, step: timedelta) -> None:
        """Adjust the beginning to a step of our clock."""
        if self._backlog is not None:
            self._backlog = replace(self._backlog, began_at=self._backlog.began_at + step)

    def pause(self) -> None:
        """Leave the progress to the next poll, as a process that was killed does."""
        self._backlog, self._may_be_left = None, True

    def end(self) -> None:
        """Delete the progress, even that of a process that was killed: the source has caught up."""
        if self._backlog is None and not self._may_be_left:
            return  # a quiet poll waits for no other writer
        with self._state.database.write() as connection:
            backlog_progress.delete(connection, self._state.source)
        self._backlog, self._may_be_left = None, False

    def _report(self, backlog: Backlog) -> None:
        self._on_backlog(backlog)
        if self._state.elapsed() - self._logged_at < self._state.options.poll_interval.total_seconds():
            return
        self._logged_at = self._state.elapsed()
        log.info(
            "backlog_progressed",
            source=self._state.source,
            start=backlog.starts_at,
            end=backlog.ends_at,
            through=backlog.through,
            share=round(backlog.share, 3),
            records=backlog.record_count,
            records_per_second=backlog.records_per_second and round(backlog.records_per_second),
            remaining=backlog.remaining and spell_duration(backlog.remaining),
        )
