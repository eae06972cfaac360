"""The overlap of a poll: what was proved is counted, what differs is read, and all of it is read from time to time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from actionwatch.base.errors import BadRequest
from actionwatch.net.http_response import HttpResponse
from actionwatch.store import receipts, source_records, unproved_windows
from actionwatch.store.database import Database
from actionwatch.store.tables import RECORD
from tests.builders import NOON
from tests.integration.tail.test_tail import HOUR, Bench
from tests.simulation.killing import Killed, MortalDatabase
from tests.upstreams import SOURCE, DirectClient, World, open_troubles, self_watch, tail_of

MINUTE = timedelta(minutes=1)
OVERLAP = 15 * MINUTE
LEARNING = 3  # polls: the unit of the bounds, and whether totals can be trusted


class Counting(DirectClient):
    """A client that counts its requests for whole pages and for counts, and whose upstream may refuse counts."""

    page_count = 0
    count_count = 0
    refuses_counts = False

    def _exchange(self, path: str, params: list[tuple[str, str]]) -> HttpResponse:
        is_count = dict(params)["pageSize"] == "1"
        self.count_count += is_count
        self.page_count += not is_count
        if is_count and self.refuses_counts:
            raise BadRequest("pageSize must be at least 10")
        return super()._exchange(path, params)


@dataclass
class Busy(Bench):
    """A tail whose overlap holds several pages, all of it proved."""

    client: Counting

    def requests(self, seconds: float = 30) -> tuple[int, int]:
        """Poll; return how many pages and how many counts it requested."""
        before = self.client.page_count, self.client.count_count
        self.poll(seconds)
        return self.client.page_count - before[0], self.client.count_count - before[1]

    def restart(self, **options: Any) -> None:
        """Start a new process on the same store."""
        self.client = Counting(self.world.emulator, self.world.clock)
        watch = self_watch(self.database, self.client, self.world.clock)
        values = {"start": HOUR, "alert_backlog": True, "overlap": OVERLAP, "page_size": 20}
        self.tail = tail_of(self.database, self.client, self.world.clock, watch, **{**values, **options})

    def vanished(self) -> list[str | None]:
        """Return the descriptions of the records that are marked as vanished."""
        with self.database.read() as connection:
            return [each.description for each in source_records.read_vanished(connection, SOURCE, NOON - HOUR, None)]


def make_busy(world: World, database: Database, *faults: str, **options: Any) -> Busy:
    """Log 160 actions in 13 minutes, the newest a minute ago, and poll until all of them are counted."""
    world.faults.set(*faults)
    for number in range(160):
        world.log("ADD_NODE" if number % 7 == 5 else "BACKUP", ago=60.3456 + 5 * number)
    on = Busy(world, database, None, None)  # type: ignore[arg-type]
    on.restart(**options)
    for _ in range(LEARNING):
        on.poll()
    return on


# -- requests


def test_few_new_records_in_a_full_overlap_take_few_pages(world: World, database: Database) -> None:
    """10 new records in 10 polls with 5,000 records in the overlap request one page and one count for each poll."""
    world.organisation.extend_synthetic(5000, NOON - 13 * MINUTE, NOON - MINUTE)
    on = Busy(world, database, None, None)  # type: ignore[arg-type]
    on.restart(page_size=1000, sweeps=(HOUR, 6 * HOUR))
    for _ in range(LEARNING):
        world.log(ago=0.3456)
        on.poll()
    asked = []
    for _ in range(10):
        world.log(ago=0.3456)
        asked.append(on.requests())
    assert [pages for pages, _ in asked] == [1] * 10
    assert sum(counts for _, counts in asked) == 10 + 1  # one for a sweep
    assert on.is_complete()
    assert on.marks().proved_through > world.clock() - timedelta(seconds=2)


def test_overlap_that_one_page_holds_is_one_request(world: World, database: Database) -> None:
    """If one page holds the overlap, a poll reads it with one request and counts nothing."""
    on = make_busy(world, database, page_size=1000)
    assert [on.requests() for _ in range(3)] == [(1, 0)] * 3


def test_small_pages_are_counted_too(world: World, database: Database) -> None:
    """If the upstream gives smaller pages than requested, an overlap that such a page does not hold is counted."""
    on = make_busy(world, database, "page_clamped:9", page_size=1000)
    assert [on.requests() for _ in range(3)] == [(1, 1)] * 3


UNUSABLE = ["counts:absent", "total:absent counts:absent", "counts:page"]


@pytest.mark.parametrize("faults", UNUSABLE)
def test_overlap_is_read_twice_without_usable_counts(world: World, database: Database, faults: str) -> None:
    """Without usable counts, two polls read the whole overlap, and find what counts would not show."""
    on = make_busy(world, database)
    world.faults.set(*faults.split())
    for number in (100, 90):
        world.log(ago=500, description=f"late {number}")
        world.faults.add(f"vanish:0s,keyword=action {number}")
        pages, counts = on.requests()
        assert pages >= 8
        assert counts <= 3  # the first one shows that they are unusable, the others are those before and after the walk
        assert f"action {number}" in on.vanished()
        assert f"late {number}" in [record.description for record in on.records()]


@pytest.mark.parametrize("faults", UNUSABLE)
def test_overlap_is_read_less_often_without_usable_counts(world: World, database: Database, faults: str) -> None:
    """Without usable counts, a poll reads what only one other has read, and all of it every tenth of the overlap."""
    on = make_busy(world, database, *faults.split())
    asked = []
    for _ in range(LEARNING + 30):
        for number in range(6):
            world.log(ago=0.3456 + 5 * number)
        asked.append(on.requests()[0])
    asked = asked[LEARNING:]
    read = [number for number, pages in enumerate(asked) if pages >= 8]
    assert len(read) == 30 / 3, "once in 90 seconds"
    assert max(pages for number, pages in enumerate(asked) if number not in read) <= 4
    assert on.is_complete()


def test_counts_that_become_usable_again_are_used(world: World, database: Database) -> None:
    """As soon as the upstream gives usable counts again, polls compare them, and find a late record at once."""
    on = make_busy(world, database, "counts:absent")
    for _ in range(3):
        on.poll()
    world.faults.clear()
    world.log(ago=0.3456)
    on.poll()
    world.log(ago=500, description="late")
    on.poll()
    assert "late" in [record.description for record in on.records()]
    assert on.requests() == (1, 1)


@pytest.mark.parametrize(
    ("faults", "number", "polls"), [(UNUSABLE[0], 99, 0), (UNUSABLE[1], 150, 1), (UNUSABLE[2], 99, 2)]
)
def test_change_in_the_overlap_without_usable_counts_is_found_within_a_tenth_of_it(
    world: World, database: Database, faults: str, number: int, polls: int
) -> None:
    """A late record, and one that vanished while one of its kind appeared, are found within a tenth and one poll."""
    on = make_busy(world, database, *faults.split())
    world.log(ago=30)  # so that it stays in the overlap
    for _ in range(3 + polls):
        on.poll()
    world.faults.add(f"vanish:0s,keyword=action {number}")
    world.organisation.append("BACKUP", at=on.marks().mark - 200 * timedelta(seconds=1), description="late")
    waited = 0
    while not on.vanished() and waited < 1000:
        on.poll(30)
        waited += 30
    assert waited <= OVERLAP.total_seconds() / 10 + 30
    assert on.vanished() == [f"action {number}"]
    assert "late" in [record.description for record in on.records()]


def test_overlap_is_read_if_an_upstream_cuts_bounds_to_days(world: World, database: Database) -> None:
    """If each request returns the whole overlap, each poll reads it."""
    on = make_busy(world, database, "bounds_truncated:1d", "counts:absent")
    for number in range(3):
        world.log(ago=500, description=f"late {number}")
        on.poll()
        assert f"late {number}" in [record.description for record in on.records()]


def test_overlap_of_nothing_is_read(world: World, database: Database) -> None:
    """Without an overlap, a poll counts nothing."""
    on = make_busy(world, database, overlap=timedelta(0))
    for _ in range(40):
        world.log(ago=0)
    on.poll()
    assert on.requests() == (2, 1)


# -- what counts show


@pytest.mark.parametrize(
    ("faults", "ago"),
    [
        ("", 90),
        ("", 899),
        ("bounds:exclusive", 899),
        ("bounds_truncated:1s", 90),
        ("page_clamped:9", 90),
        ("order:ascending", 90),
    ],
)
def test_late_record_in_the_overlap_is_found_with_the_next_poll(
    world: World, database: Database, faults: str, ago: float
) -> None:
    """A poll finds a late record in the part that it counts, and reads only where it lies."""
    on = make_busy(world, database, *faults.split())
    world.organisation.append("BACKUP", at=on.marks().mark - timedelta(seconds=ago - 60), description="late")
    pages, counts = on.requests()
    assert on.is_complete()
    assert pages <= (4 if "clamped" in faults else 2) + (ago == 899)
    assert counts <= 1 + 2 * 5
    assert on.requests() == (1, 1)


def test_vanished_record_in_the_overlap_is_found_with_the_next_poll(world: World, database: Database) -> None:
    """A poll finds a record that vanished from the part that it counts, and removes the mark when it is shown again."""
    on = make_busy(world, database)
    world.faults.add("vanish:0s,keyword=action 100")
    pages, _ = on.requests()
    assert pages == 2
    assert on.vanished() == ["action 100"]
    assert open_troubles(database) == ["window_shrunk"]
    assert on.requests() == (1, 1)
    world.faults.clear()
    at = next(record.occurred_at for record in on.records() if record.description == "action 100")
    world.organisation.append("BACKUP", at=at, description="action 100")
    on.poll()
    assert open_troubles(database) == []
    assert on.requests() == (1, 1)


def test_late_record_of_another_kind_hides_no_vanished_one(world: World, database: Database) -> None:
    """A record that vanished while one of another kind appeared is found with the next poll."""
    on = make_busy(world, database)
    world.faults.add("vanish:0s,keyword=action 100")
    world.log("RESTORE", ago=400, description="late")
    on.poll()
    assert on.vanished() == ["action 100"]
    assert "late" in [record.description for record in on.records()]


@pytest.mark.parametrize(("sweeps", "number"), [((), 99), ((HOUR,), 150)])
def test_swap_of_one_kind_in_the_overlap_is_found_within_it(
    world: World, database: Database, sweeps: tuple[timedelta, ...], number: int
) -> None:
    """A record that vanished while one of its kind appeared is found within one overlap and a tenth, and one poll."""
    on = make_busy(world, database, sweeps=sweeps)
    world.log(ago=30)  # so that it stays in the overlap
    on.poll()
    world.faults.add(f"vanish:0s,keyword=action {number}")
    world.organisation.append("BACKUP", at=on.marks().mark - 200 * timedelta(seconds=1), description="late")
    waited = 0
    while not on.vanished():
        on.poll(30)
        waited += 30
    assert waited <= 1.1 * OVERLAP.total_seconds() + 30
    assert on.vanished() == [f"action {number}"]
    assert "late" in [record.description for record in on.records()]


def test_overlap_is_read_once_in_each_overlap(world: World, database: Database) -> None:
    """All pages of the overlap are read once in each 15 minutes, and again with each sweep that is read."""
    on = make_busy(world, database)
    asked = []
    for _ in range(60):
        world.log(ago=0.3456)
        asked.append(on.requests()[0])
    assert asked.count(1) == 60 - 2, "in 30 minutes"
    assert sum(asked) - 60 <= 2 * 16


def test_reading_the_overlap_is_continued_by_the_next_polls(world: World, database: Database) -> None:
    """If one poll has no time to read the whole overlap, the next ones continue, also after a restart."""
    on = make_busy(world, database)
    on.tail._poller._sweeper.checks_per_poll = 4
    with capture_logs() as logs:
        on.poll(900 - LEARNING * 30)
    assert [entry["event"] for entry in logs if entry["event"] == "sweep_unfinished"]
    assert all(window.must_read for window in waiting(on))
    on.restart()
    on.poll()
    assert waiting(on) == []


def waiting(on: Bench) -> list[unproved_windows.UnprovedWindow]:
    """Return the windows that are still to be checked."""
    with on.database.read() as connection:
        return unproved_windows.read(connection, SOURCE)


def test_cutting_the_overlap_into_pages_takes_none_of_the_checks(world: World, database: Database) -> None:
    """A poll reads as many pages as it may make checks, however often it cuts the overlap for that."""
    on = make_busy(world, database)
    on.tail._poller._sweeper.checks_per_poll = 14
    pages, _ = on.requests(900 - LEARNING * 30)
    assert pages == 1 + 14
    assert waiting(on) == []


# -- what makes counts inconclusive or unusable


@pytest.mark.parametrize(
    "change", ["refused", "counts:absent", "counts:more", "counts:fewer", "total:more", "counts:page"]
)
def test_counts_that_become_unusable_hide_nothing(world: World, database: Database, change: str) -> None:
    """If counts are refused or wrong from some poll on, that poll reads the overlap, and finds a late record."""
    on = make_busy(world, database)
    on.client.refuses_counts = change == "refused"
    if change != "refused":
        world.faults.add(change)
    world.log(ago=500, description="late")
    report = on.poll()
    assert "late" in [record.description for record in on.records()]
    assert report.error is None or change == "refused"
    world.faults.clear()
    on.client.refuses_counts = False
    on.poll()
    on.poll()
    assert on.requests() == (1, 1)


def test_refused_counts_do_not_fail_a_poll(world: World, database: Database) -> None:
    """If the upstream refuses counts while pages come, the poll asks once and reads the overlap."""
    on = make_busy(world, database)
    on.client.refuses_counts = True
    for number in range(3):
        world.log(ago=500 + number)
        pages, counts = on.requests()
        assert counts <= 2  # the second one is that after a walk
        assert pages >= 8


@pytest.mark.parametrize(
    ("bounds", "micros"),
    [("", 400), ("bounds:exclusive", 0), ("bounds:exclusive_end", 400), ("bounds:exclusive_start", 0)],
)
def test_bound_between_records_at_one_instant_hides_nothing(
    world: World, database: Database, bounds: str, micros: int
) -> None:
    """Records at one instant, and in every millisecond around it, hide no late record and no vanished one."""
    on = make_busy(world, database, *bounds.split())
    at = world.clock() + timedelta(microseconds=micros)
    for number in range(40):
        world.organisation.append("BACKUP", at=at, description=f"same {number}")
    for number in range(-150, 150):
        world.organisation.append("BACKUP", at=at + number * timedelta(milliseconds=1), description=f"near {number}")
    on.poll(10)  # the next poll counts up to that instant
    assert on.is_complete()
    for number in range(3):
        world.organisation.append("BACKUP", at=at, description=f"late {number}")
        on.poll(1)
        assert on.is_complete()
    world.faults.add("vanish:0s,keyword=same 7")
    on.poll(1)
    assert on.vanished() == ["same 7"]


def test_many_differences_take_a_limited_number_of_counts(world: World, database: Database) -> None:
    """If much of the overlap differs, a poll makes 64 counts and reads the rest."""
    on = make_busy(world, database, page_size=4)
    while waiting(on):
        on.poll(1)
    for number in range(150):
        world.log(ago=100.3456 + 5 * number)
    _, counts = on.requests()
    assert on.is_complete()
    assert counts <= 64 + 40  # those after the walks through several pages
    assert on.requests() == (1, 1)


def test_part_of_the_overlap_without_proof_holds_the_proof_back(world: World, database: Database) -> None:
    """If a part of the overlap cannot be proved, nothing newer is, until it can."""
    on = make_busy(world, database)
    world.faults.add("total:more")
    world.log(ago=500)
    report = on.poll()
    assert report.unproved
    assert on.marks().proved_through < world.clock() - timedelta(seconds=20)
    world.faults.clear()
    on.poll()
    on.poll()
    assert on.marks().proved_through > world.clock() - timedelta(seconds=2)


# -- counts that are kept in memory


def test_what_another_process_changes_in_the_store_is_found(world: World, database: Database) -> None:
    """A poll finds that the store lost a record that it has counted before."""
    on = make_busy(world, database)
    on.poll()
    with database.write() as connection:
        connection.execute(RECORD.delete().where(RECORD.c.description == "action 100"))
    on.poll()
    assert on.is_complete()


def test_mark_of_a_record_that_is_shown_is_removed(world: World, database: Database) -> None:
    """A mark as vanished that is wrong does not stay, although the upstream counts what was counted before."""
    on = make_busy(world, database)
    on.poll()
    with database.write() as connection:
        connection.execute(update(RECORD).where(RECORD.c.description == "action 100").values(vanished_at=NOON))
    on.poll()
    assert on.vanished() == []


def test_kept_counts_follow_the_window(world: World, database: Database) -> None:
    """While the window moves on and records come, a poll counts only what entered and left the window in the store."""
    on = make_busy(world, database)
    counted: list[tuple[datetime, datetime]] = []
    count = on.tail._poller._comparison._count

    def spy(connection: Any, start: datetime, end: datetime) -> Any:
        counted.append((start, end))
        return count(connection, start, end)

    on.tail._poller._comparison._count = spy  # type: ignore[method-assign]
    for _ in range(20):
        world.log(ago=0.3456)
        world.log(ago=3.3456)
        counted.clear()
        assert on.requests()[1] == 1
        assert all(end - start < 3 * MINUTE for start, end in counted)


# -- clock, kills, receipts


@pytest.mark.parametrize(("seconds", "is_ours"), [(-3600, True), (40, True), (-40, False), (3600, False)])
def test_clock_step_between_polls_hides_nothing(
    world: World, database: Database, seconds: float, is_ours: bool
) -> None:
    """If our clock or the upstream's is set, a late record in the overlap and a new one are found."""
    on = make_busy(world, database)
    if is_ours:
        on.client._clock = lambda: world.clock() + timedelta(seconds=seconds)
        on.tail._state.clock = on.tail._state.server._clock = on.client._clock
    else:
        world.faults.add(f"clock:{seconds:.0f}s")
    world.log(ago=500, description="late")
    world.log(ago=20, description="new")
    on.poll()
    on.poll()
    assert on.is_complete()
    assert on.marks().proved_through <= world.clock() + timedelta(seconds=max(seconds, 0))
    assert on.vanished() == []


@pytest.mark.parametrize("deaths", range(1, 15, 3))  # before a commit and after one in turn
def test_kill_between_a_part_and_the_marks_loses_nothing(world: World, tmp_path: Any, deaths: int) -> None:
    """A process that is killed at any commit of a poll that counts, reads a part, and reads what is new leaves no gap."""
    database = MortalDatabase(tmp_path)
    database.renew()
    on = make_busy(world, database)
    proved_through = on.marks().proved_through
    world.log(ago=500, description="late")
    world.log(ago=5, description="new")
    left = deaths

    def dies() -> bool:
        nonlocal left
        left -= 1
        return left == 0

    database.dies = dies
    try:
        on.poll()
    except Killed:
        marks = on.marks()
        assert marks.proved_through == proved_through or on.is_complete()
    database.dies = lambda: False
    on.restart()
    on.poll()
    assert on.is_complete()
    with database.read() as connection:
        found = list(receipts.stream(connection, SOURCE))
        assert [receipts.recompute(connection, receipt) for receipt in found] == found
    database.close()


def test_receipts_prove_everything_without_a_gap(world: World, database: Database) -> None:
    """Polls that count leave receipts that hold for the stored records and prove everything; quiet ones leave one receipt."""
    on = make_busy(world, database, sweeps=(HOUR,))
    on.poll()
    for number in range(40):
        if number % 4 == 1:
            world.log(ago=0.3456)
        if number % 10 == 7:
            world.log(ago=400.3456)
        on.poll()
    with database.read() as connection:
        found = list(receipts.stream(connection, SOURCE))
        assert [receipts.recompute(connection, receipt) for receipt in found] == found
        ((start, end),) = receipts.spans(connection, [SOURCE])
    assert start <= on.marks().begins_at
    assert end == on.marks().proved_through


def test_quiet_polls_that_count_leave_one_receipt(world: World, database: Database) -> None:
    """Polls that count the overlap and find nothing new leave one receipt, until the overlap is read."""
    on = make_busy(world, database)
    on.poll()
    with database.read() as connection:
        before = len(list(receipts.stream(connection, SOURCE)))
    for _ in range(20):
        assert on.requests() == (1, 1)
    with database.read() as connection:
        found = list(receipts.stream(connection, SOURCE))
    assert len(found) <= before + 1
    assert max(receipt.proof_count for receipt in found) >= 20
