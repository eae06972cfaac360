"""The step that seals: what waits is sealed in portions, and the head is in the log at the start, each day, and at the end."""

from __future__ import annotations

from datetime import timedelta

from structlog.testing import capture_logs

from actionwatch.service import sealing
from actionwatch.service.sealing import Sealing
from actionwatch.store import receipts
from actionwatch.store.database import Database
from tests.builders import NOON, Clock, make_receipt, make_record
from tests.integration.kit import Post
from tests.integration.store.sealed import checked, fill
from tests.waiting import PATIENT


def test_everything_is_sealed_and_then_nothing_is_written(database: Database) -> None:
    """A run seals what waits. The next one writes nothing."""
    fill(database)
    step = Sealing(database, Clock(), PATIENT)
    step.seal_all()
    found = checked(database)
    assert found.difference_count == 0
    assert not any(table.unsealed for table in found.tables)
    version = database.version()
    step.run_once()
    assert database.version() == version


def test_a_run_does_no_more_than_its_share(database: Database) -> None:
    """Of a backlog, a run seals whole seals until its time is over. The next runs do the rest."""
    Post(database).store(*(make_record(number, minutes=number) for number in range(30)))
    step = Sealing(database, Clock(), PATIENT)
    step._seal(0)
    assert checked(database).seal_count == 0
    step.run_once()
    assert checked(database).tables[0].sealed == 30


def test_receipts_of_quiet_polls_share_a_seal(database: Database) -> None:
    """Each quiet poll replaces the receipt before it. One of them is sealed each 5 minutes, and the last one at the end.

    The poll that replaces a sealed one leaves a cut.
    """
    clock = Clock()
    step = Sealing(database, clock, PATIENT)
    for poll in range(1, 60):
        at = NOON + timedelta(seconds=10 * poll)
        with database.write() as connection:
            receipts.write(connection, make_receipt(starts_at=NOON, ends_at=at, judged_at=at))
        step.run_once()
        assert checked(database).difference_count == 0
        clock.advance(seconds=10)
    assert checked(database).seal_count == 2 * 2
    Post(database).store(make_record(1))
    step.run_once()
    waiting = {table.name: table.unsealed for table in checked(database).tables}
    assert waiting["record"] == 0 < waiting["receipt"]
    step.finish()
    assert not any(table.unsealed for table in checked(database).tables)


def test_head_is_logged_each_day(database: Database) -> None:
    """The log has the head at the first run, after each day, after the clock was set back, and at the end."""
    clock = Clock()
    step = Sealing(database, clock, PATIENT)
    with capture_logs() as logs:
        step.run_once()
        assert logs == []  # there is none yet
        fill(database)
        for hours in (1, 23, 2, 1, -5):
            clock.advance(hours=hours)
            step.run_once()
        step.finish()
    heads = [each["head"] for each in logs if each["event"] == "store_sealed"]
    assert heads == [str(checked(database).head)] * 4


def test_share_is_a_twentieth() -> None:
    """A source that catches up loses at most a twentieth of the interpreter to sealing."""
    assert timedelta(seconds=5) <= sealing.SEAL_EVERY
    assert sealing.MAX_WORK * 20 <= sealing.SEAL_EVERY
