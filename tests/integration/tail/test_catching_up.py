"""The progress of a source that catches up: what is stored, what a later process continues, and how often it is logged."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from structlog.testing import capture_logs

from actionwatch.store import backlog_progress
from actionwatch.store.backlog_progress import Backlog
from actionwatch.store.database import Database
from actionwatch.tail.catching_up import CatchingUp
from actionwatch.tail.cursor import Window
from actionwatch.tail.state import TailOptions, TailState
from tests.builders import NOON, Clock

SOURCE = "acme"
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
WHOLE = Window(NOON - 10 * HOUR, NOON)


class Bench:
    """A process that catches up, and the progress that it reports."""

    def __init__(self, database: Database, poll_interval: timedelta = HOUR) -> None:
        self.clock = Clock()
        self.reported: list[Backlog] = []
        state = TailState(TailOptions(SOURCE, "org", poll_interval=poll_interval), database, self.clock)
        self.catching_up = CatchingUp(state, self.reported.append)
        self._database = database

    def stored(self) -> Backlog | None:
        """Read the stored progress."""
        with self._database.read() as connection:
            return backlog_progress.read_all(connection).get(SOURCE)


def test_progress(database: Database) -> None:
    """The progress counts from the beginning of the whole window, and is deleted at the end."""
    on = Bench(database)
    on.catching_up.note_progress(NOON, 5)
    on.catching_up.follow_clock(HOUR)
    assert on.stored() is None
    is_active = [on.catching_up.is_active]
    on.catching_up.begin(WHOLE)
    is_active.append(on.catching_up.is_active)
    begun = Backlog(
        source=SOURCE,
        starts_at=WHOLE.start,
        ends_at=NOON,
        through=WHOLE.start,
        record_count=0,
        began_at=NOON,
        began_through=WHOLE.start,
        began_count=0,
        noted_at=NOON,
    )
    assert on.reported == [begun]
    on.catching_up.begin(Window(NOON - HOUR, NOON))
    on.clock.advance(minutes=1)
    on.catching_up.note_progress(NOON - 5 * HOUR, 300)
    on.catching_up.follow_clock(HOUR)
    on.clock.advance(hours=1, minutes=1)
    on.catching_up.note_progress(NOON - 4 * HOUR, 20)
    assert on.stored() == on.reported[-1]
    found = on.reported[-1]
    assert (found.share, found.record_count, found.began_at) == (0.6, 320, NOON + HOUR)
    assert found.noted_at == NOON + HOUR + 2 * MINUTE
    assert len(on.reported) == 3
    on.catching_up.end()
    assert on.stored() is None
    assert [*is_active, on.catching_up.is_active] == [False, True, False]


@pytest.mark.parametrize(
    ("start", "is_continued"),
    [
        (WHOLE.start - timedelta(milliseconds=1), False),
        (WHOLE.start, True),
        (NOON - 3 * HOUR, True),
        (NOON, True),
        (NOON + timedelta(milliseconds=1), False),
    ],
)
def test_a_killed_process_leaves_its_progress(database: Database, start: datetime, is_continued: bool) -> None:
    """A process continues the progress that a killed one left if its window begins within that."""
    killed = Bench(database)
    killed.catching_up.begin(WHOLE)
    killed.catching_up.note_progress(NOON - 5 * HOUR, 300)
    on = Bench(database)
    on.catching_up.begin(Window(start, NOON + HOUR))
    found = on.stored()
    assert found is not None
    assert (found.starts_at, found.record_count) == ((WHOLE.start, 300) if is_continued else (start, 0))
    assert (found.ends_at, found.through, found.began_through) == (NOON + HOUR, start, start)
    assert found.began_count == found.record_count


def test_progress_of_a_killed_process_ends_with_the_first_poll(database: Database) -> None:
    """A source that has nothing to catch up with is not shown as catching up after a restart."""
    Bench(database).catching_up.begin(WHOLE)
    on = Bench(database)
    on.catching_up.end()
    assert on.stored() is None


@pytest.mark.parametrize(("interval", "log_count"), [(timedelta(0), 3), (HOUR, 0)])
def test_progress_is_logged_once_in_each_poll_interval(database: Database, interval: timedelta, log_count: int) -> None:
    """The progress is logged once in each poll interval, with the rate and what remains."""
    on = Bench(database, interval)
    with capture_logs() as logs:
        on.catching_up.begin(WHOLE)
        on.clock.advance(minutes=10)
        on.catching_up.note_progress(NOON - 9 * HOUR, 6000)
        on.catching_up.note_progress(NOON - 8 * HOUR, 6030)
    assert len(logs) == log_count
    assert log_count == 0 or logs[-1] == {
        "event": "backlog_progressed",
        "log_level": "info",
        "source": SOURCE,
        "start": WHOLE.start,
        "end": NOON,
        "through": NOON - 8 * HOUR,
        "share": 0.2,
        "records": 12_030,
        "records_per_second": 20,
        "remaining": "40m",
    }
    assert log_count == 0 or (logs[0]["records_per_second"], logs[0]["remaining"]) == (None, None)
