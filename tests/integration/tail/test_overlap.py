"""The overlap of a poll: what was proved is counted, what differs is read, and all of it is read from time to time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest

from actionwatch.base.errors import BadRequest
from actionwatch.net.http_response import HttpResponse
from actionwatch.store import source_records
from actionwatch.store.database import Database
from actionwatch.store.tables import RECORD
from tests.builders import NOON
from tests.integration.tail.test_tail import HOUR, Bench
from tests.upstreams import SOURCE, DirectClient, World, self_watch, tail_of

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


def test_overlap_is_read_less_often_without_usable_counts(world: World, database: Database) -> None:
    """Without usable counts, a poll reads what only one other has read, and all of it every tenth of the overlap."""
    on = make_busy(world, database, "counts:absent")
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


def test_change_in_the_overlap_without_usable_counts_is_found_within_a_tenth_of_it(
    world: World, database: Database
) -> None:
    """A late record, and one that vanished while one of its kind appeared, are found within a tenth and one poll."""
    on = make_busy(world, database, "counts:absent")
    world.log(ago=30)  # so that it stays in the overlap
    for _ in range(3):
        on.poll()
    world.faults.add("vanish:0s,keyword=action 99")
    world.organisation.append("BACKUP", at=on.marks().mark - 200 * timedelta(seconds=1), description="late")
    waited = 0
    while not on.vanished() and waited < 1000:
        on.poll(30)
        waited += 30
    assert waited <= OVERLAP.total_seconds() / 10 + 30
    assert on.vanished() == ["action 99"]
    assert "late" in [record.description for record in on.records()]


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


# -- counts that are kept in memory


def test_what_another_process_changes_in_the_store_is_found(world: World, database: Database) -> None:
    """A poll finds that the store lost a record that it has counted before."""
    on = make_busy(world, database)
    on.poll()
    with database.write() as connection:
        connection.execute(RECORD.delete().where(RECORD.c.description == "action 100"))
    on.poll()
    assert on.is_complete()


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
