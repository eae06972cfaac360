"""Sweeps over older windows: records that arrive late, vanish or reappear, and the number of requests."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import Connection
from structlog.testing import capture_logs

from actionwatch.base.errors import SourceUnavailable
from actionwatch.instaclustr.query import Query
from actionwatch.instaclustr.wire import Page
from actionwatch.matching.operator_actions import OperatorActions
from actionwatch.net.http_response import HttpResponse
from actionwatch.store import receipts, self_alerts, source_records, unproved_windows
from actionwatch.store.database import Database
from actionwatch.store.unproved_windows import UnprovedWindow
from tests.builders import NOON
from tests.calls import count_calls
from tests.integration.tail.test_tail import HOUR, Bench, bench
from tests.upstreams import SOURCE, DirectClient, World, addressing, open_troubles, self_watch, tail_of

SWEEPS = (HOUR, 6 * HOUR)
OVERLAP = timedelta(minutes=5)


def seven_hours(world: World, database: Database, *faults: str) -> Bench:
    """Make a tail on a log of seven hours, and poll until both sweeps are done."""
    for number in range(84):
        world.log("ADD_NODE" if number % 12 == 5 else "BACKUP", ago=300 * number + 20)
    on = bench(world, database, *faults, start=8 * HOUR, alert_backlog=True, overlap=OVERLAP, sweeps=SWEEPS)
    on.poll()
    on.poll()
    return on


def vanished(on: Bench) -> int:
    """Count the records that are marked as vanished."""
    with on.database.read() as connection:
        return source_records.count_vanished(connection, SOURCE, on.marks().begins_at)


@pytest.mark.parametrize(
    "faults", ["", "counts:absent", "total:absent", "total:absent counts:absent", "bounds:exclusive"]
)
@pytest.mark.parametrize("hours", [0.5, 3])
def test_late_record_is_found(world: World, database: Database, faults: str, hours: float) -> None:
    """A sweep finds a record that arrives hours late, if the sweep reaches that far."""
    on = seven_hours(world, database, *faults.split())
    world.log(ago=hours * 3600 + 7, description="late")
    for _ in range(5):
        world.log()
        on.poll(600)
    assert on.is_complete()
    assert [record.description for record in on.records() if record.late_by] == ["late"]


@pytest.mark.parametrize("faults", ["", "total:absent counts:absent", "bounds:exclusive", "bounds_truncated:1m"])
@pytest.mark.parametrize(("busy", "before"), [(2, 0.7), (40, 10.3), (58, 57.1), (400, 30.3)])
def test_late_record_just_before_the_polls_window_is_found(
    world: World, database: Database, faults: str, busy: int, before: float
) -> None:
    """A late record just before the window of the polls is found, even if no new record arrives."""
    for number in range(busy):  # a record each second, up to the start of the polls' window
        world.log(ago=OVERLAP.total_seconds() + 20 + number)
    world.log(ago=20)
    on = bench(world, database, *faults.split(), start=2 * HOUR, alert_backlog=True, overlap=OVERLAP, sweeps=SWEEPS)
    for _ in range(3):
        on.poll(400)  # no new records
    polled_from = on.marks().mark - OVERLAP
    world.organisation.append("BACKUP", at=polled_from - timedelta(seconds=before), description="late")
    for _ in range(3):
        on.poll(400)
    assert "late" in [record.description for record in on.records()]
    assert on.is_complete()


@pytest.mark.parametrize("bounds", ["", "bounds:exclusive", "bounds:exclusive_end", "bounds:exclusive_start"])
def test_record_at_a_bound_hides_no_change(world: World, database: Database, bounds: str) -> None:
    """A record at a bound of a window does not compensate in the counts for a late or vanished one."""
    middle = OVERLAP.total_seconds() + 20
    for number in range(-150, 150):  # records everywhere near the bound
        world.log(ago=middle + 0.7 * number, description="gone" if number == 90 else f"action {number}")
    world.log(ago=20)
    on = bench(world, database, *bounds.split(), start=2 * HOUR, alert_backlog=True, overlap=OVERLAP, sweeps=SWEEPS)
    for _ in range(3):
        on.poll(400)
    world.organisation.append("BACKUP", at=on.marks().mark - OVERLAP - timedelta(seconds=30.3), description="late")
    for _ in range(3):
        on.poll(400)
    assert on.is_complete()
    world.faults.add("vanish:0s,keyword=gone")
    for _ in range(3):
        on.poll(400)
    assert vanished(on) == 1


@pytest.mark.parametrize("faults", ["", "bounds_truncated:1m", "bounds_truncated:1h"])
@pytest.mark.parametrize("after", [0.3456, 1200.3456])
def test_late_record_near_the_beginning_is_found(world: World, database: Database, faults: str, after: float) -> None:
    """A window at the beginning of the source, or shorter than the upstream's unit, is checked again."""
    world.clock.advance(seconds=7517)
    on = bench(world, database, *faults.split(), start="now", overlap=OVERLAP, sweeps=(HOUR / 2, 2 * HOUR))
    on.poll()
    for _ in range(6):
        on.poll(600)
        world.log(ago=2.3456)
    begin = on.marks().begins_at
    world.log(ago=(world.clock() - begin).total_seconds() - after, description="late")
    for _ in range(9):
        world.log()
        on.poll(600)
    assert on.is_complete()
    assert [record.description for record in on.records() if record.late_by] == ["late"]


@pytest.mark.parametrize("faults", ["", "counts:absent", "counts:more"])
def test_sweep_is_checked_every_tenth_of_its_reach(world: World, database: Database, faults: str) -> None:
    """A sweep is checked once in each tenth of its reach, with one request: the counts, or the page if they are unusable."""
    on = seven_hours(world, database, *faults.split())
    asked = [on.poll(60).request_count for _ in range(72)]
    # In 72 minutes, the sweep of an hour is checked every 6 minutes, that of six hours every 36.
    assert sum(asked) - len(asked) == 72 // 6 + 72 // 36
    assert max(asked) <= 3


def test_windows_with_equal_counts_are_not_read(world: World, database: Database) -> None:
    """A sweep does not read a window whose counts agree with the store."""
    on = seven_hours(world, database)
    world.clock.advance(minutes=10)
    with database.read() as connection:
        before = count_proofs(connection)
    swept = [on.poll(60).request_count for _ in range(40)]
    with database.read() as connection:
        assert count_proofs(connection) - before == len(swept)  # those of the polls
    assert sum(swept) < 2 * len(swept)


def test_window_with_inconclusive_counts_is_read(world: World, database: Database) -> None:
    """A window with a record in every millisecond near its bound, so that counts are inconclusive, is read."""
    middle = OVERLAP.total_seconds() + 20
    for number in range(-150, 150):
        world.log(ago=middle + 0.7 * number)
    for number in range(-10, 300):  # as far as a bound is moved in milliseconds
        world.log(ago=middle - number / 1000)
    world.log(ago=20)
    on = bench(world, database, start=2 * HOUR, alert_backlog=True, overlap=OVERLAP, sweeps=(HOUR,))
    on.poll()
    with database.read() as connection:
        before = count_proofs(connection)
    on.poll(400)
    with database.read() as connection:
        assert count_proofs(connection) - before == 2


def count_proofs(connection: Connection) -> int:
    """Count the proofs of the source in all receipts."""
    return sum(receipt.proof_count for receipt in receipts.stream(connection, SOURCE))


def test_resolved_alert_about_vanished_records_stays_resolved(world: World, database: Database) -> None:
    """After an operator resolves the alert about vanished records, they are not reported again."""
    on = seven_hours(world, database)
    world.faults.add("vanish:0s,kind=ADD_NODE")
    for _ in range(8):
        on.poll(400)
    with database.read() as connection:
        (opened,) = self_alerts.read_all(connection)
    OperatorActions(database, addressing(), on.world.clock).resolve(opened.alert_id, "sam")
    for _ in range(3):
        on.poll(400)
    assert open_troubles(database) == []


def test_vanished_records_are_reported_until_they_reappear(world: World, database: Database) -> None:
    """Records that vanish upstream are kept and reported once, until they reappear."""
    on = seven_hours(world, database)
    held = len(on.records())
    stages = world.emulator.stages
    world.faults.add("vanish:0s,kind=ADD_NODE")
    for _ in range(8):
        on.poll(400)
    assert vanished(on) == 7
    assert open_troubles(database) == ["window_shrunk"]
    assert len(on.records()) == held
    assert world.emulator.stages is stages
    world.faults.clear()
    for number in range(84):
        if number % 12 == 5:
            world.organisation.append(
                "ADD_NODE",
                at=on.world.clock() - timedelta(seconds=300 * number + 20 + 60 + 3200),
                description=f"action {number + 1}",
            )
    for _ in range(8):
        on.poll(400)
    assert vanished(on) == 0
    assert open_troubles(database) == []


def test_record_that_vanishes_as_another_reappears_is_found(world: World, database: Database) -> None:
    """A record that vanishes while another reappears is found, although the counts agree."""
    on = seven_hours(world, database)
    world.log("RESTORE", ago=1000, description="first")
    first_at = world.clock() - timedelta(seconds=1000)
    world.log("BACKUP", ago=1010, description="second")
    for _ in range(3):
        on.poll(400)
    world.faults.add("vanish:0s,kind=RESTORE")
    for _ in range(3):
        on.poll(400)
    assert vanished(on) == 1
    world.faults.clear()
    world.organisation.append("RESTORE", at=first_at, description="first")
    world.faults.add("vanish:0s,keyword=second")
    for _ in range(3):
        on.poll(400)
    with database.read() as connection:
        rows = connection.exec_driver_sql("SELECT description FROM record WHERE vanished_at IS NOT NULL").all()
    assert [row[0] for row in rows] == ["second"]


# -- changes that counts do not show


@pytest.mark.parametrize("order", ["ascending", "descending"])
def test_change_in_pages_already_read_is_found_by_a_second_read(world: World, database: Database, order: str) -> None:
    """If a record vanishes and one of its kind arrives in pages that were already read, a second read finds both.

    All counts agree, so only reading again shows the change.

    """
    for number in range(
        60
    ):  # times that show the unit of the bounds; otherwise everything is read again because of the bounds
        world.log(ago=3 * 3600 + 60 * number + 0.3456, description=f"action {number:02}")
    on = bench(world, database, f"order:{order}", start=6 * HOUR, alert_backlog=True, page_size=8)
    first, edge = ("action 20", 3 * 3600 + 20 * 60) if order == "descending" else ("action 59", 3 * 3600 + 59 * 60 - 10)

    def swap() -> None:
        if on.client.request_count == 10:  # the clock, bounds, and some pages
            world.faults.add(f"vanish:0s,keyword={first}")
            world.log(ago=edge + 7, description="came")

    on.client.before_request = swap
    on.poll()
    assert "came" not in [record.description for record in on.records()]
    assert on.marks().proved_through == on.marks().seen_through
    with database.read() as connection:
        known = list(receipts.stream(connection, SOURCE))
    for _ in range(20):
        on.poll(60)
    assert "came" in [record.description for record in on.records()]
    assert vanished(on) == 1
    with database.read() as connection:
        assert unproved_windows.read(connection, SOURCE) == []
        found = [receipt for receipt in receipts.stream(connection, SOURCE) if receipt not in known]
    found = [receipt for receipt in found if receipt.ends_at < NOON - 3 * HOUR - 20 * timedelta(minutes=1)]
    assert max(receipt.record_count for receipt in found) <= 8, "a second read takes one page at a time"


@pytest.mark.parametrize(("after", "is_kept"), [(-2, False), (-1, False), (0, True)])
def test_only_windows_before_the_overlap_are_read_a_second_time(
    world: World, database: Database, after: int, is_kept: bool
) -> None:
    """A window that later polls read anyway is not scheduled for a second read; an earlier one is."""
    world.log()
    on = bench(world, database, start=HOUR, alert_backlog=True, page_size=3, overlap=OVERLAP)
    on.poll()
    on.poll()
    gap = OVERLAP + after * timedelta(milliseconds=1)  # a window begins a millisecond before the overlap
    for number in range(8):
        world.organisation.append(
            "BACKUP", at=NOON + gap - number * timedelta(seconds=20.3456), description=f"{number}"
        )
    on.poll(OVERLAP.total_seconds())
    assert on.marks().mark == NOON + gap
    with database.read() as connection:
        assert bool(unproved_windows.read(connection, SOURCE)) == is_kept


def test_dense_backlog_is_read_a_second_time(world: World, database: Database) -> None:
    """A backlog with windows shorter than the overlap is scheduled for a second read without gaps."""
    world.organisation.extend_synthetic(45_000, NOON - timedelta(minutes=50), NOON)
    on = bench(world, database, start=HOUR, alert_backlog=True, overlap=15 * timedelta(minutes=1), sweeps=())
    on.poll(0)
    with database.read() as connection:
        kept = sorted(unproved_windows.read(connection, SOURCE), key=lambda doubt: doubt.starts_at)
    assert kept[0].starts_at < NOON - timedelta(minutes=50)
    assert all(later.starts_at <= earlier.ends_at for earlier, later in pairwise(kept))
    assert kept[-1].ends_at >= on.marks().mark - timedelta(minutes=15)
    assert {doubt.reach for doubt in kept} == {unproved_windows.SECOND_LOOK}


def swap(on: Bench, ago: float) -> None:
    """Let a record vanish and another of the same kind appear late, one minute away."""
    on.world.log(ago=ago + 60, description="late")
    on.world.faults.add("vanish:0s,keyword=goes")


def seven_hours_with(world: World, database: Database, ago: float, *faults: str) -> Bench:
    """Make a tail on a log of seven hours with a record that can vanish."""
    world.log(ago=ago, description="goes")
    return seven_hours(world, database, *faults)


def is_swap_known(on: Bench) -> bool:
    """Return whether the late record is stored and the one that vanished is reported."""
    is_reported = open_troubles(on.database) == ["window_shrunk"]
    return is_reported and vanished(on) == 1 and "late" in [record.description for record in on.records()]


@pytest.mark.parametrize("faults", ["counts:absent", "counts:page", "counts:more"])
@pytest.mark.parametrize(("hours", "minutes"), [(0.5, 6), (3, 36)])
def test_swap_with_equal_totals_is_found_in_time(
    world: World, database: Database, faults: str, hours: float, minutes: int
) -> None:
    """Without usable counts per kind, a late record that replaces a vanished one is found within the promised delay."""
    on = seven_hours_with(world, database, hours * 3600, faults)
    swap(on, hours * 3600)
    for _ in range(minutes):
        on.poll(60)
    assert is_swap_known(on)


@pytest.mark.parametrize(("hours", "reach"), [(0.5, HOUR), (3, 6 * HOUR)])
def test_swap_within_one_kind_is_found_within_a_reach(
    world: World, database: Database, hours: float, reach: timedelta
) -> None:
    """A late record that replaces a vanished one of its kind, with all counts equal, is found within one reach."""
    on = seven_hours_with(world, database, hours * 3600)
    swap(on, hours * 3600)
    for _ in range(11):
        on.poll(reach.total_seconds() / 10)
    assert is_swap_known(on)


def test_pending_read_survives_a_restart(world: World, database: Database) -> None:
    """A window that must be read, and for which a poll had no time, is read by the next process."""
    on = seven_hours_with(world, database, 3 * 3600)
    swap(on, 3 * 3600)
    while not any(window.must_read for window in waiting(on)):
        on = bench(world, database, start=8 * HOUR, alert_backlog=True, overlap=OVERLAP, sweeps=SWEEPS)
        on.tail._poller._sweeper.checks_per_poll = 1
        on.poll(360)
    on = bench(world, database, start=8 * HOUR, alert_backlog=True, overlap=OVERLAP, sweeps=SWEEPS)
    on.poll(1)
    assert is_swap_known(on)


# -- what it costs


def test_only_the_part_that_differs_is_read(world: World, database: Database) -> None:
    """Of a window of several pages, only the part of at most a page that holds a late record is read again."""
    world.organisation.extend_synthetic(5000, NOON - 7 * HOUR, NOON)
    on = bench(world, database, start=8 * HOUR, alert_backlog=True, overlap=OVERLAP, sweeps=SWEEPS)
    on.poll()
    for _ in range(12):
        on.poll(180)
    with database.read() as connection:
        known = list(receipts.stream(connection, SOURCE))
    world.log(ago=4.5 * 3600 + 0.3456, description="late")
    asked = []
    while not on.is_complete():
        asked.append(on.poll(400).request_count)
    with database.read() as connection:
        read_again = [
            receipt.record_count
            for receipt in receipts.stream(connection, SOURCE)
            if receipt not in known and receipt.ends_at < NOON - HOUR
        ]
    assert len(read_again) == 1
    assert 0 < read_again[0] <= 1000
    assert max(asked) <= 1 + 2 + 2 * 3 + 1  # the poll, both sweeps, three cuts, and the part that differs


def test_what_a_poll_has_no_time_for_is_logged(world: World, database: Database) -> None:
    """The log shows how many windows a poll has no time for, and nothing if there are none."""
    on = seven_hours(world, database)
    for checks, left in ((1, [1]), (1, []), (64, [])):
        on.tail._poller._sweeper.checks_per_poll = checks
        with capture_logs() as logs:
            on.poll(2400 if left else 60)
        assert [entry["windows_left"] for entry in logs if entry["event"] == "sweep_unfinished"] == left


# -- windows without proof, and windows that a poll has no time for


class Contradicting(DirectClient):
    """A client whose upstream reports one record too many for windows that contain a certain time, or begin before it."""

    contradicted_at: datetime | None = None
    is_all_before_contradicted = False

    def user_actions(self, query: Query, **options: Any) -> Iterator[Page]:
        """Return the pages."""
        at = self.contradicted_at
        end = None if self.is_all_before_contradicted else query.end
        is_wrong = at is not None and (query.start or NOON) <= at <= (end or at)
        for page in super().user_actions(query, **options):
            yield dataclasses.replace(page, total=(page.total or 0) + 1) if is_wrong else page


def contradicted_hours(world: World, database: Database) -> tuple[Contradicting, Bench]:
    """Make a tail on a log of seven hours whose upstream can contradict itself, and poll until both sweeps are done."""
    for number in range(84):
        world.log(ago=300 * number + 20.5)
    client = Contradicting(world.emulator, world.clock)
    watch = self_watch(database, client, world.clock)
    options: dict[str, Any] = {"start": 8 * HOUR, "overlap": OVERLAP, "sweeps": SWEEPS, "page_size": 1000}
    on = Bench(world, database, client, tail_of(database, client, world.clock, watch, **options))
    on.poll()
    on.poll()
    return client, on


def test_unproved_window_is_narrowed_down(world: World, database: Database) -> None:
    """A contradiction leaves only a short window without proof, with a limited number of requests per poll."""
    client, on = contradicted_hours(world, database)
    client.contradicted_at = world.clock() - 3 * HOUR
    world.organisation.append("BACKUP", at=client.contradicted_at, description="late")
    asked = [on.poll(360).request_count for _ in range(7)]
    assert max(asked) < 120
    failing = [window for window in waiting(on) if window.failure_count]
    assert sum((window.ends_at - window.starts_at for window in failing), timedelta(0)) < HOUR / 6
    assert all(window.starts_at <= client.contradicted_at <= window.ends_at for window in failing)
    assert on.is_complete()


@pytest.mark.parametrize(("faults", "cut_count"), [("", 12), ("times_ignored:both", 0)])
def test_one_poll_cuts_few_windows(world: World, database: Database, faults: str, cut_count: int) -> None:
    """If no older window can be proved, one poll makes 12 cuts, and none if the upstream ignores the bounds."""
    client, on = contradicted_hours(world, database)
    world.faults.set(*faults.split())
    client.contradicted_at = on.marks().mark - OVERLAP - timedelta(minutes=2)
    client.is_all_before_contradicted = True
    on.poll(3600)
    failing = waiting(on)
    assert len(failing) == len(SWEEPS) + cut_count
    assert {window.failure_count for window in failing} == {1}
    on.poll(90)
    assert len(waiting(on)) == len(SWEEPS) + 2 * cut_count


class Refusing(DirectClient):
    """A client whose upstream returns no pages of windows that contain a certain time, but counts them."""

    refused_at: datetime | None = None

    def user_actions(self, query: Query, **options: Any) -> Iterator[Page]:
        """Return the pages, or fail."""
        if self.refused_at is not None and (query.start or NOON) <= self.refused_at <= (query.end or NOON):
            raise SourceUnavailable("500: this page cannot be shown")
        return super().user_actions(query, **options)


def refusing(world: World, database: Database) -> tuple[Bench, Refusing]:
    """Make a tail on a log of seven hours whose sweeps are done."""
    for number in range(84):
        world.log(ago=300 * number + 20.5)
    client = Refusing(world.emulator, world.clock)
    watch = self_watch(database, client, world.clock)
    options: dict[str, Any] = {"start": 8 * HOUR, "overlap": OVERLAP, "sweeps": SWEEPS, "page_size": 1000}
    on = Bench(world, database, client, tail_of(database, client, world.clock, watch, **options))
    on.poll()
    on.poll()
    return on, client


def waiting(on: Bench) -> list[UnprovedWindow]:
    """Return the windows that the sweeps have yet to check."""
    with on.database.read() as connection:
        return unproved_windows.read(connection, SOURCE)


def doubts(on: Bench) -> list[tuple[int, str]]:
    """Return the unproved windows: how often they failed, and why."""
    with on.database.read() as connection:
        return [(doubt.failure_count, doubt.why) for doubt in unproved_windows.read(connection, SOURCE)]


def test_older_window_without_proof_is_reported_once(world: World, database: Database) -> None:
    """An older window that cannot be read does not fail the polls, and is reported once, until it is read."""
    on, client = refusing(world, database)
    client.refused_at = world.clock() - 3 * HOUR
    world.organisation.append("BACKUP", at=client.refused_at, description="late")
    reported: list[list[str]] = []
    for _ in range(90):
        report = on.poll(60)
        assert report.error is None
        assert not report.unproved
        reported.append(open_troubles(database))
    assert reported[:37] == [[]] * 37  # the sweep of six hours is checked every 36 minutes
    assert reported[-1] == ["window_unproved"]
    assert sum(now != before for before, now in pairwise(reported)) == 1
    ((failure_count, why),) = doubts(on)
    assert failure_count >= 3
    assert "cannot be shown" in why
    assert not on.is_complete()
    client.refused_at = None
    for _ in range(61):  # it is retried every hour
        on.poll(60)
    assert on.is_complete()
    assert doubts(on) == []
    assert open_troubles(database) == []


def test_unproved_window_survives_a_restart(world: World, database: Database) -> None:
    """A restart keeps an unproved window, and adds it only once."""
    on, client = refusing(world, database)
    client.refused_at = world.clock() - 3 * HOUR
    world.organisation.append("BACKUP", at=client.refused_at, description="late")
    for _ in range(150):
        on.poll(60)
        on.tail = tail_of(
            database,
            client,
            world.clock,
            self_watch(database, client, world.clock),
            start=8 * HOUR,
            overlap=OVERLAP,
            sweeps=SWEEPS,
            page_size=1000,
        )
        assert len(doubts(on)) <= 1
    assert open_troubles(database) == ["window_unproved"]


def test_older_window_is_checked_although_recent_ones_change(world: World, database: Database) -> None:
    """If a poll has time for one check only, windows that keep changing do not prevent the check of older ones."""
    on = seven_hours(world, database)
    world.log(ago=5 * 3600 + 7, description="old")
    polls = 0
    while not on.is_complete() or polls < 40:
        on = bench(world, database, start=8 * HOUR, alert_backlog=True, overlap=OVERLAP, sweeps=SWEEPS)
        on.tail._poller._sweeper.checks_per_poll = 1
        if polls % 2:
            world.log(ago=1000 + polls, description=f"late {polls}")
        on.poll(400)
        polls += 1
        assert polls < 60


def test_window_before_the_reach_of_its_sweep_is_checked(world: World, database: Database) -> None:
    """A window that no poll had time for is still checked after the sweep has moved past it."""
    on = seven_hours(world, database)
    old = world.clock() - 30 * HOUR
    question = UnprovedWindow(source=SOURCE, starts_at=old, ends_at=old + HOUR, reach=6 * HOUR, due_at=old)
    with database.write() as connection:
        unproved_windows.write(connection, [question])
    world.log(ago=4 * 3600 + 7, description="late")
    for _ in range(7):
        on.poll(400)
    assert doubts(on) == []
    assert on.is_complete()


def test_unproved_window_before_the_reach_of_its_sweep_is_reported(world: World, database: Database) -> None:
    """A window that failed once, and that no sweep reaches, is reported."""
    on = seven_hours(world, database)
    old = world.clock() - 30 * HOUR
    doubt = UnprovedWindow(
        source=SOURCE, starts_at=old, ends_at=old + HOUR, reach=6 * HOUR, due_at=old, failure_count=1, why="it changes"
    )
    with database.write() as connection:
        unproved_windows.write(connection, [doubt])
    on.poll(60)
    assert open_troubles(database) == ["window_unproved"]
    assert [why for _, why in doubts(on)] == ["it changes"]


def test_window_that_failed_is_read_although_its_counts_are_equal(world: World, database: Database) -> None:
    """A window that could not be proved is read again, not only counted."""
    on = seven_hours(world, database)
    begin = world.clock() - 3 * HOUR
    failed = UnprovedWindow(
        source=SOURCE, starts_at=begin, ends_at=begin + HOUR, reach=6 * HOUR, due_at=world.clock(), failure_count=1
    )
    with database.write() as connection:
        unproved_windows.write(connection, [failed])
    on.poll(60)
    assert doubts(on) == []
    with database.read() as connection:
        (read,) = [found for found in receipts.stream(connection, SOURCE) if found.starts_at == begin]
    assert (read.ends_at, read.record_count) == (begin + HOUR, 12)


def test_sweep_goes_on_beside_a_window_that_failed(world: World, database: Database) -> None:
    """A sweep checks the rest of its window while a part of it waits to be read again."""
    on = seven_hours(world, database)
    begin = world.clock() - 6 * HOUR
    failed = UnprovedWindow(
        source=SOURCE,
        starts_at=begin,
        ends_at=begin + HOUR,
        reach=6 * HOUR,
        due_at=world.clock() + HOUR,
        failure_count=1,
    )
    with database.write() as connection:
        unproved_windows.write(connection, [failed])
    world.log(ago=3 * 3600 + 7, description="late")
    for _ in range(7):
        on.poll(400)
    assert on.is_complete()
    assert waiting(on) == [failed]


def test_waits_before_a_window_is_read_again_double(world: World, database: Database) -> None:
    """A window of a backlog that cannot be read is read again after 1 minute, 2, 4, and so on up to an hour, for ever."""
    world.log()
    client = Refusing(world.emulator, world.clock)
    watch = self_watch(database, client, world.clock)
    tail = tail_of(database, client, world.clock, watch, start=8 * HOUR, overlap=OVERLAP)
    on = Bench(world, database, client, tail)
    on.poll(0)
    client.refused_at = NOON - 2 * HOUR
    failing = UnprovedWindow(
        source=SOURCE,
        starts_at=NOON - 3 * HOUR,
        ends_at=NOON - HOUR,
        reach=unproved_windows.SECOND_LOOK,
        due_at=NOON,
        must_read=True,
    )
    with database.write() as connection:
        unproved_windows.write(connection, [failing])
    for minutes in (1, 2, 4, 8, 16, 32, 60, 60):
        on.poll((failing.due_at - world.clock()).total_seconds() - 1)
        assert waiting(on) == [failing]
        on.poll(1)
        failure_count = failing.failure_count + 1
        (failing,) = waiting(on)
        assert failing.due_at == world.clock() + timedelta(minutes=minutes)
        assert failing.failure_count == failure_count


def test_part_of_a_window_that_failed_has_failed_as_often(world: World, database: Database) -> None:
    """A window that failed twice and is cut is reported when one of its parts fails: the parts do not begin at 0."""
    on, client = refusing(world, database)
    on.tail = tail_of(
        database,
        client,
        world.clock,
        self_watch(database, client, world.clock),
        start=8 * HOUR,
        overlap=OVERLAP,
        page_size=10,
    )
    client.refused_at = NOON - 2 * HOUR
    begin = client.refused_at - HOUR
    failed = UnprovedWindow(
        source=SOURCE,
        starts_at=begin,
        ends_at=begin + 2 * HOUR,
        reach=unproved_windows.SECOND_LOOK,
        due_at=world.clock(),
        must_read=True,
        failure_count=2,
    )
    with database.write() as connection:
        unproved_windows.write(connection, [failed])
    on.poll()
    left = waiting(on)
    assert len(left) > 1
    assert {each.ends_at - each.starts_at < 2 * HOUR for each in left} == {True}
    counts = {each.starts_at <= client.refused_at <= each.ends_at: each.failure_count for each in left}
    assert counts == {True: 3, False: 2}
    assert open_troubles(database) == ["window_unproved"]


class Untiming(DirectClient):
    """A client whose upstream returns some records without a readable time."""

    def _exchange(self, path: str, params: list[tuple[str, str]]) -> HttpResponse:
        answer = super()._exchange(path, params)
        body = re.sub(rb'("description":"untimed[^}]*?"timestamp":)"[^"]*"', rb'\1"never"', answer.body)
        body = re.sub(rb'"timestamp":"[^"]*"([^}]*?"description":"untimed)', rb'"timestamp":"never"\1', body)
        return dataclasses.replace(answer, body=body)


@pytest.mark.parametrize(("busy", "most"), [(0, 14 * 3), (2500, 12 * 5 + 2 * 11)])
def test_records_without_a_time_cause_few_requests(world: World, database: Database, busy: int, most: int) -> None:
    """Records without a readable time do not make sweeps read their windows again and again, and hide no late record.

    A check of a window that one page holds takes two requests: its counts, which differ, and the page. A larger window is
    halved: each half is counted, and read if one page holds it.
    """
    if busy:
        world.organisation.extend_synthetic(busy, NOON - 7 * HOUR, NOON - HOUR / 60)
    for number in range(84):
        world.log(ago=300 * number + 20.5, description=f"untimed {number}" if number % 9 == 7 else f"timed {number}")
    client = Untiming(world.emulator, world.clock)
    watch = self_watch(database, client, world.clock)
    options: dict[str, Any] = {"start": 8 * HOUR, "overlap": OVERLAP, "sweeps": SWEEPS, "page_size": 1000}
    on = Bench(world, database, client, tail_of(database, client, world.clock, watch, **options))
    for _ in range(10):
        on.poll(60)
    assert sum(not record.is_time_readable for record in on.records()) == 9
    asked = [on.poll(60).request_count for _ in range(72)]
    assert sum(asked) - len(asked) <= most  # in 72 / 6 + 72 / 36 checks
    world.log(ago=3 * 3600.0, description="late")
    for _ in range(40):
        on.poll(60)
    assert on.is_complete()


def test_polls_handle_no_window_that_was_given_up(world: World, database: Database) -> None:
    """A window that the sweeps have passed and that is reported stays listed, and no poll reads or compares it."""
    on = seven_hours(world, database)
    given_up = [
        UnprovedWindow(
            source=SOURCE,
            starts_at=NOON - timedelta(days=30, hours=number),
            ends_at=NOON - timedelta(days=30, hours=number, minutes=-5),
            reach=6 * HOUR,
            due_at=NOON - timedelta(days=10),
            failure_count=3,
            why="it changes",
        )
        for number in range(300)
    ]
    with database.write() as connection:
        unproved_windows.write(connection, given_up)
    on.poll()
    assert open_troubles(database) == ["window_unproved"]
    with database.read() as connection:
        (found,) = self_alerts.read_all(connection)
    assert found.what.startswith("300 older windows not proved: 2026-10-14T01:00:00.000Z to 2026-10-14T01:05:00.000Z")
    # A window is made when it is read from the store, too.
    handled = count_calls(lambda: [on.poll(60) for _ in range(12)], UnprovedWindow.__init__, UnprovedWindow.__eq__)
    assert handled < 50, "each sweep that is due makes a window"
    assert len(waiting(on)) == 300
    assert open_troubles(database) == ["window_unproved"]
