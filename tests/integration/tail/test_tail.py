"""The tail, poll by poll, on the emulator's handlers: where it begins, what it requests and proves, and what it defers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from actionwatch.base.model import Record
from actionwatch.net.http_response import HttpResponse
from actionwatch.store import marks, receipts, records
from actionwatch.store.database import Database
from actionwatch.tail.source import SourceTail
from actionwatch.tail.state import PollReport
from tests.builders import NOON
from tests.upstreams import SOURCE, DirectClient, World, logged_actions, open_troubles, self_watch, stored, tail_of

HOUR = timedelta(hours=1)


@dataclass
class Bench:
    """A tail on a world."""

    world: World
    database: Database
    client: DirectClient
    tail: SourceTail

    def poll(self, seconds: float = 30) -> PollReport:
        """Let time pass, then poll."""
        self.world.clock.advance(seconds=seconds)
        return self.tail.run_once()

    def marks(self) -> marks.Marks:
        """Read the marks."""
        with self.database.read() as connection:
            found = marks.read(connection, SOURCE)
        assert found is not None
        return found

    def records(self) -> list[Record]:
        """Read the records in the order in which they were stored."""
        with self.database.read() as connection:
            return records.read_after(connection, 0, 100_000)

    def is_complete(self) -> bool:
        """Return whether the store contains exactly the logged actions."""
        return stored(self.database) == logged_actions(self.world.organisation.truth())


def bench(world: World, database: Database, *faults: str, **options: Any) -> Bench:
    """Make a tail on a world with these faults."""
    world.faults.set(*faults)
    client = DirectClient(world.emulator, world.clock)
    options.setdefault("page_size", 1000)
    return Bench(
        world,
        database,
        client,
        tail_of(database, client, world.clock, self_watch(database, client, world.clock), **options),
    )


# -- where it begins


@pytest.mark.parametrize(
    ("start", "kept", "backlog"),
    [
        ("now", 1, 0),
        (timedelta(minutes=10), 2, 1),
        (NOON - timedelta(minutes=30), 3, 2),
        (NOON + timedelta(days=1), 1, 0),
    ],
)
@pytest.mark.parametrize("is_alerted", [False, True])
def test_first_poll_begins_as_configured(
    world: World, database: Database, start: Any, kept: int, backlog: int, is_alerted: bool
) -> None:
    """The first poll begins as configured, and older records alert only with `alert_backlog`."""
    world.log(ago=1500)
    world.log(ago=300)
    on = bench(world, database, start=start, alert_backlog=is_alerted)
    on.poll(0)
    world.log(ago=-10)
    on.poll(30)
    found = on.records()
    assert len(found) == kept
    assert sum(record.is_backlog for record in found) == (0 if is_alerted else backlog)


def test_start_now_is_the_time_of_the_server(world: World, database: Database) -> None:
    """The start `now` is the upstream's time, although this machine's clock is minutes ahead."""
    on = bench(world, database, "clock:-10m")
    on.poll(0)
    assert on.marks().begins_at < NOON - timedelta(minutes=9)


@pytest.mark.parametrize("bounds", ["inclusive", "exclusive_start", "exclusive"])
def test_record_at_the_exact_start_is_read(world: World, database: Database, bounds: str) -> None:
    """A record in the exact millisecond of the start is read, also with an exclusive bound."""
    world.log()
    on = bench(world, database, f"bounds:{bounds}", start=NOON)
    on.poll()
    assert on.is_complete()


# -- requests


STEADY = {
    "": 1,
    "total:string": 1,
    "total:absent": 2,  # counts prove the window, but only an empty page ends the listing
    "total:zero": 3,
    "counts:absent": 1,
    "order:shuffled": 1,
    "bounds:exclusive": 1,
    "times_ignored:both": 1,
    "page_clamped:3": 3,  # two pages of a window of five records, and the counts
    "total:absent counts:absent": 3,
    "total:page counts:page": 3,
    "total:fewer": 3,
    "envelope:records": 3,
    "time_name:absent": 1,
}


@pytest.mark.parametrize(("faults", "most"), STEADY.items())
def test_requests_in_the_steady_state(world: World, database: Database, faults: str, most: int) -> None:
    """A poll makes only as many requests as the proof needs."""
    on = bench(world, database, *faults.split(), start=HOUR)
    for _ in range(5):
        world.log()
        on.poll()
    asked = [on.poll().request_count for _ in range(4)]
    assert max(asked) <= most
    assert on.marks().proved_through > world.clock() - timedelta(seconds=2)
    assert on.is_complete()


def test_requests_after_a_restart(world: World, database: Database) -> None:
    """What was learned about the upstream's totals survives a restart, so `run --once` does not request twice."""
    on = bench(world, database, start=HOUR)
    world.log()
    on.poll()
    again = bench(world, database, start=HOUR)
    assert again.poll().request_count == 1


# -- twins and shifted pages


@pytest.mark.parametrize("faults", ["total:absent counts:absent", "page_clamped:2", "id_repeated:3"])
def test_equal_actions_are_stored_as_often_as_they_occurred(world: World, database: Database, faults: str) -> None:
    """Equal actions with the same time are stored as often as they occurred, also one that arrives later."""
    on = bench(world, database, *faults.split(), start=HOUR, page_size=4)
    world.log(times=5, description="same")
    world.log(ago=60)
    on.poll()
    assert on.is_complete()
    world.log(ago=30, description="same")
    on.poll()
    on.poll()
    assert on.is_complete()
    assert stored(database)["BACKUP", "same"] == 6


@pytest.mark.parametrize(("beyond", "is_late"), [(0, False), (1, True)])
def test_record_is_late_beyond_the_overlap(world: World, database: Database, beyond: int, is_late: bool) -> None:
    """A record that is exactly as late as the overlap is not late; one millisecond more is."""
    overlap = timedelta(minutes=5)
    on = bench(world, database, start=HOUR, alert_backlog=True, overlap=overlap)
    world.log()
    on.poll()
    at = on.marks().seen_through - overlap - timedelta(milliseconds=beyond)
    world.organisation.append("BACKUP", at=at, description="late")
    on.poll()
    assert [record.late_by is not None for record in on.records() if record.description == "late"] == [is_late]


@pytest.mark.parametrize("form", ["unreadable", "null", "empty"])
def test_record_without_a_readable_time_is_stored_once(world: World, database: Database, form: str) -> None:
    """A record without a readable time is stored once, and does not move the mark."""
    on = bench(world, database, f"time_form:{form}", start=HOUR, page_size=7)
    for _ in range(20):
        world.log(ago=60)
    world.log(times=3)
    for _ in range(3):
        on.poll()
    assert on.is_complete()
    assert not any(record.is_time_readable for record in on.records())
    assert on.marks().mark == on.marks().begins_at


# -- windows without proof


def test_unproved_window_is_reported_and_retried_less_often(world: World, database: Database) -> None:
    """A window that never agrees is reported, is retried less often, and does not delay new records."""
    on = bench(world, database, "total:more", start=HOUR)
    for _ in range(6):
        world.log(ago=0.3456)  # shows the unit of bounds
    reports = [on.poll() for _ in range(7)]
    world.log()
    reports.append(on.poll())
    assert all(report.unproved for report in reports)
    asked = [report.request_count for report in reports]
    assert asked[-1] <= 9
    assert asked[0] > 3 * asked[-1]
    assert on.is_complete()
    assert on.marks().proved_through == on.marks().begins_at
    assert on.marks().seen_through > world.clock() - timedelta(seconds=2)
    on.poll(900)
    assert open_troubles(database) == ["proof_lagging"]
    world.faults.clear()
    on.poll()
    assert open_troubles(database) == []
    assert on.marks().proved_through > world.clock() - timedelta(seconds=2)


# -- catching up


def test_stopped_tail_is_continued(world: World, database: Database) -> None:
    """A tail that is stopped reads nothing more, and the next one continues."""
    for number in range(50):
        world.log(ago=600 - number)
    on = bench(world, database, start=HOUR, page_size=7)
    on.client.before_request = lambda: on.tail.stop() if on.client.request_count == 4 else None
    on.poll()
    assert 0 < len(on.records()) < 50
    again = bench(world, database, start=HOUR, page_size=7)
    again.poll()
    assert again.is_complete()


class Spy(DirectClient):
    """A client that notes where the pages of its requests begin."""

    begins: list[int]

    def _exchange(self, path: str, params: list[tuple[str, str]]) -> HttpResponse:
        self.begins.append(int(dict(params)["recordIndex"]))
        return super()._exchange(path, params)


def test_second_walk_has_other_page_boundaries_though_pages_are_smaller(world: World, database: Database) -> None:
    """If the upstream gives fewer records on a page than requested, two walks still have different page boundaries."""
    world.faults.set("page_clamped:3", "total:absent", "counts:absent")
    for _ in range(7):
        world.log(ago=60)
    client = Spy(world.emulator, world.clock)
    client.begins = []
    watch = self_watch(database, client, world.clock)
    tail_of(database, client, world.clock, watch, page_size=1000, start=timedelta(hours=1)).run_once()
    walks: list[list[int]] = []
    for begin in client.begins:
        if not begin:
            walks.append([])
        walks[-1].append(begin)
    assert [0, 3, 6, 7] in walks
    assert [0, 2, 4, 6, 7] in walks


# -- clock skew


@pytest.mark.parametrize("skew", ["-1h", "-3m", "3m", "1h"])
def test_clock_skew_is_reported_and_loses_nothing(world: World, database: Database, skew: str) -> None:
    """If the upstream's clock differs from ours, no record is lost, and the skew is reported while it lasts."""
    on = bench(world, database, f"clock:{skew}", start=timedelta(hours=2))
    for _ in range(4):
        world.log()
        on.poll()
    assert on.is_complete() or skew == "-3m"  # so close to our clock, the upstream's is trusted
    assert open_troubles(database) == ["clock_skew", *(["proof_lagging"] if skew == "1h" else [])]
    world.faults.clear()
    on.poll()
    on.poll()
    assert open_troubles(database) == []
    assert on.is_complete()


# -- receipts


def test_receipt_shows_what_was_proved(world: World, database: Database) -> None:
    """A receipt shows what was proved, how, and with how many requests."""
    on = bench(world, database, start=HOUR)
    world.log("BACKUP", times=2)
    world.log("ADD_NODE")
    on.poll()
    on.poll()
    with database.read() as connection:
        newest, first = receipts.stream(connection, SOURCE)
    assert (first.method, first.record_count, dict(first.kind_counts)) == ("counts", 3, {"ADD_NODE": 1, "BACKUP": 2})
    assert (newest.digest, newest.request_count) == (first.digest, 1)
    assert newest.ends_at <= world.clock()


def test_polls_without_new_records_leave_one_receipt(world: World, database: Database) -> None:
    """Polls that prove the same again leave one receipt, which names all of them and holds for the stored records."""
    on = bench(world, database, start=HOUR)
    world.log("BACKUP")
    for _ in range(20):
        on.poll(60)
    with database.read() as connection:
        found = list(receipts.stream(connection, SOURCE))
        again = [receipts.recompute(connection, receipt) for receipt in found]
    assert [receipt.proof_count for receipt in found] == [19, 1], "the second poll begins one overlap before the record"
    assert found[0].request_count >= 19
    assert found[0].ends_at > found[0].first_judged_at + 15 * timedelta(minutes=1)
    assert again == found
