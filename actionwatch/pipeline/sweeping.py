"""Sweep older windows: counts alone tell whether a record came late, or is gone; only what changed is read again.

`sweeps: [1h, 6h, …]`: each reaches back that far from where the one before ends, the first from where the polls' own window
begins, and is asked at least every tenth of its reach: one small request each.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from actionwatch.cursor import EDGE_SECOND, Claim, Window, whole_milliseconds
from actionwatch.pipeline.reading import PollReport, Reading
from actionwatch.pipeline.windows import WindowReader
from actionwatch.store import marks, records, sweeps
from actionwatch.store.database import Database

ASKED_PER_REACH = 10
MAX_STEPS = 60  # seconds a bound is moved back to where no record is near it
MAX_QUESTIONS = 64  # about one sweep; the next round goes on
PAGE_RECORDS = 1000  # what one page holds is read sooner than it is halved

log = structlog.get_logger()


class Sweeper:
    """The sweeps of one source."""

    def __init__(self, source: str, reaches: Sequence[timedelta], reader: WindowReader, database: Database) -> None:
        self._source = source
        self._reaches = reaches
        self._reader = reader
        self._database = database

    def run_once(self, newest_end: datetime, report: PollReport) -> None:
        """Ask every sweep that is due; `newest_end` is where the polls' own window began."""
        now = self._reader.server.now()
        with self._database.read() as connection:
            asked = sweeps.read(connection, self._source)
        end = newest_end
        for reach in self._reaches:
            start = max(end - reach, self._reader.marks.begins_at)
            if end - start < 4 * EDGE_SECOND:
                return  # the stream is no older than that
            asked_at = asked.get(reach)
            if asked_at is None or now - asked_at >= reach / ASKED_PER_REACH:
                self._sweep(Window(self._quiet(start), self._quiet(end)), report)
                with self._database.write() as connection:
                    sweeps.note(connection, self._source, reach, now)
            end = start

    def _sweep(self, window: Window, report: PollReport) -> None:
        """Compare counts; where they differ, halve down to the parts that do, and read those again."""
        pending = [window]
        for _ in range(MAX_QUESTIONS):
            if not pending:
                return
            part = pending.pop()
            if not self._has_changed(part, report):
                continue
            halves = self._halves(part)
            if halves:
                pending += halves
                continue
            reading = self._reader.read(part, report, advance=self._stay)
            log.info("window_swept", source=self._source, start=part.start, end=part.end, method=reading.method)
            pending += reading.parts
        if pending:
            log.warning("sweep_unfinished", source=self._source, windows_left=len(pending))

    def _halves(self, window: Window) -> list[Window]:
        """Cut a window that holds more than a page, at an instant that no record is near; none where there is no such place."""
        with self._database.read() as connection:
            size = sum(records.count_kinds(connection, self._source, window.start, window.end).values())
        middle = self._quiet(window.start + (window.end - window.start) / 2)
        is_cut = window.start + EDGE_SECOND < middle < window.end - EDGE_SECOND
        if size <= PAGE_RECORDS or not is_cut or not self._reader.marks.totals_cover_pages:
            return []
        return [Window(window.start, middle), Window(middle, window.end)]

    def _has_changed(self, window: Window, report: PollReport) -> bool:
        if window.end <= window.start:
            return False
        claim = self._reader.count(window, report)
        with self._database.read() as connection:
            sure = records.count_kinds(connection, self._source, window.start + EDGE_SECOND, window.end - EDGE_SECOND)
            near = records.count_kinds(connection, self._source, window.start - EDGE_SECOND, window.end + EDGE_SECOND)
        return not _agrees(claim, sure, near, is_total_trusted=self._reader.marks.totals_cover_pages)

    def _quiet(self, at: datetime) -> datetime:
        """Move a bound back to where no record is near, so that it does not matter whether bounds are inclusive."""
        at = whole_milliseconds(at)
        with self._database.read() as connection:
            for step in range(MAX_STEPS):
                moved = at - step * EDGE_SECOND
                if records.is_quiet(connection, self._source, moved - EDGE_SECOND, moved + EDGE_SECOND):
                    return moved
        return at

    def _stay(self, _: Reading) -> marks.Marks:
        return self._reader.marks


def _agrees(claim: Claim, sure: dict[str, int], near: dict[str, int], *, is_total_trusted: bool) -> bool:
    """Say whether what the upstream counts can be what is stored: at least the sure ones, at most those near the bounds too."""
    if claim.counts is not None and is_total_trusted and sum(claim.counts.values()) == claim.size:
        kinds = claim.counts.keys() | sure.keys() | near.keys()
        return all(sure.get(kind, 0) <= claim.counts.get(kind, 0) <= near.get(kind, 0) for kind in kinds)
    if claim.size is not None and is_total_trusted:
        return sum(sure.values()) <= claim.size <= sum(near.values())
    return False  # nothing that counts is told: only reading again shows
