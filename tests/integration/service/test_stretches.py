"""What of the time of sources is proved, read for many at once."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from actionwatch.base.clock import utc_now
from actionwatch.base.model import Stretch
from actionwatch.service import configuration
from actionwatch.service.stretches import read_many_stretches, read_stretches
from actionwatch.settings import Settings
from actionwatch.store import marks, polls, receipts, self_alerts, sweeps, unproved_windows
from actionwatch.store.database import Database
from actionwatch.store.unproved_windows import UnprovedWindow
from tests.builders import make_marks, make_receipt
from tests.fixtures import database
from tests.statements import statements

__all__ = ["database"]
HOUR = timedelta(hours=1)
NOW = utc_now().replace(microsecond=0)
NAMES = ["plain", "gap", "doubt", "lagging", "overdue", "renamed", "unproved"]


def settings_of(folder: Path) -> Settings:
    """Return a configuration of all these sources."""
    keys = "organisation_id: o, username: u, api_key: k"
    lines = "".join(f"  - {{name: {name}, {keys}}}\n" for name in NAMES)
    (folder / "rules").mkdir()
    (folder / "actionwatch.yaml").write_text(f"sources:\n{lines}")
    return configuration.read_settings(folder / "actionwatch.yaml", {})


def prove(database: Database, name: str, start: timedelta, end: timedelta) -> None:
    """Store the receipt of a window, which begins and ends so long ago."""
    with database.write() as connection:
        window = {"starts_at": NOW - start, "ends_at": NOW - end, "judged_at": NOW - end, "first_judged_at": NOW - end}
        receipts.write(connection, make_receipt(source=name, method=f"counts {start}", **window))


def fill(database: Database) -> None:
    """Give each source another history."""
    with database.write() as connection:
        for name in NAMES:
            former = "before" if name == "renamed" else name
            times = {"mark": NOW, "seen_through": NOW, "proved_through": NOW}
            marks.write(connection, make_marks(name=former, begins_at=NOW - 9 * HOUR, **times))
            polls.note_poll(connection, former, NOW, None)
        marks.rename(connection, make_marks(name="before", begins_at=NOW - 9 * HOUR, **times), "renamed")
        start, end = NOW - 3 * HOUR, NOW - 2 * HOUR
        failed = UnprovedWindow(
            source="doubt",
            starts_at=start,
            ends_at=end,
            reach=HOUR,
            due_at=NOW,
            failure_count=1,
            why="the counts differ",
        )
        unproved_windows.write(connection, [failed])
        lagging = self_alerts.OpenSelfAlert("proof_lagging", "lagging", NOW, "3h behind", "wait", "x")
        self_alerts.insert(connection, lagging)
        sweeps.note_sweep(connection, "overdue", HOUR, NOW - 8 * HOUR)
    for name in ("plain", "doubt", "overdue"):
        prove(database, name, 9 * HOUR, timedelta(0))
    prove(database, "gap", 9 * HOUR, 5 * HOUR)
    prove(database, "gap", 4 * HOUR, timedelta(0))
    prove(database, "lagging", 9 * HOUR, 5 * HOUR)
    prove(database, "before", 9 * HOUR, 5 * HOUR)
    prove(database, "renamed", 6 * HOUR, timedelta(0))


def spelled(stretches: list[Stretch]) -> list[tuple[float, float, str]]:
    """Return how many hours ago stretches start and end, and why they are not proved."""
    return [
        ((NOW - each.start) / HOUR, (NOW - each.end) / HOUR, "" if each.is_proved else each.why) for each in stretches
    ]


def test_many_sources_are_read_as_one(database: Database, tmp_path: Path) -> None:
    """Each source has its own stretches, the same as if it is read alone, whatever the others have."""
    settings = settings_of(tmp_path)
    fill(database)
    with database.read() as connection:
        for since in (None, NOW - 7 * HOUR, NOW - HOUR):
            alone = {name: read_stretches(connection, name, settings, since) for name in NAMES}
            assert read_many_stretches(connection, NAMES, settings, since) == alone
        found = read_many_stretches(connection, NAMES, settings, NOW - 7 * HOUR)
    assert spelled(found["plain"]) == [(7, 0, "")]
    assert spelled(found["gap"]) == [(7, 5, ""), (5, 4, "read, but not proved"), (4, 0, "")]
    assert spelled(found["doubt"]) == [(7, 3, ""), (3, 2, "the counts differ"), (2, 0, "")]
    assert spelled(found["lagging"]) == [(7, 5, ""), (5, 0, "3h behind")]
    assert spelled(found["renamed"]) == [(7, 0, "")], "also what it proved under its former name"
    assert spelled(found["unproved"]) == [(7, 0, "read, but not proved")]
    assert [why.partition(" since")[0] for *_, why in spelled(found["overdue"])] == [
        "",
        "not checked for late records",
        "",
    ]


def test_the_number_of_statements_does_not_grow_with_the_sources(database: Database, tmp_path: Path) -> None:
    """The proof of all sources of a page is read with as many statements as that of one."""
    settings = settings_of(tmp_path)
    fill(database)
    counts = []
    for names in (NAMES[:1], NAMES, []):
        with database.read() as connection, statements() as asked:
            read_many_stretches(connection, names, settings, NOW - HOUR)
        counts.append(len(asked))
    assert counts[0] == counts[1]
    assert counts[2] <= counts[0]
