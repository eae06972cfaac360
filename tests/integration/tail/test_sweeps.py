"""Sweeps over older windows: records that arrive late, vanish or reappear, and the number of requests."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

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
    ("faults", "busy", "before"),
    [
        ("", 2, 0.7),
        ("total:absent counts:absent", 40, 10.3),
        ("bounds:exclusive", 58, 57.1),
        ("bounds_truncated:1m", 400, 30.3),
    ],
)
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


@pytest.mark.parametrize(
    ("faults", "after"), [("", 1200.3456), ("bounds_truncated:1m", 0.3456), ("bounds_truncated:1h", 1200.3456)]
)
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


# -- changes that counts do not show


def test_change_in_pages_already_read_is_found_by_a_second_read(world: World, database: Database) -> None:
    """If a record vanishes and one of its kind arrives in pages that were already read, a second read finds both.

    All counts agree, so only reading again shows the change.

    """
    for number in range(
        60
    ):  # times that show the unit of the bounds; otherwise everything is read again because of the bounds
        world.log(ago=3 * 3600 + 60 * number + 0.3456, description=f"action {number:02}")
    on = bench(world, database, "order:descending", start=6 * HOUR, alert_backlog=True, page_size=8)

    def swap() -> None:
        if on.client.request_count == 10:  # the clock, bounds, and some pages
            world.faults.add("vanish:0s,keyword=action 20")
            world.log(ago=3 * 3600 + 20 * 60 + 7, description="came")

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


# -- windows without proof, and windows that a poll has no time for


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


class Untiming(DirectClient):
    """A client whose upstream returns some records without a readable time."""

    def _exchange(self, path: str, params: list[tuple[str, str]]) -> HttpResponse:
        answer = super()._exchange(path, params)
        body = re.sub(rb'("description":"untimed[^}]*?"timestamp":)"[^"]*"', rb'\1"never"', answer.body)
        body = re.sub(rb'"timestamp":"[^"]*"([^}]*?"description":"untimed)', rb'"timestamp":"never"\1', body)
        return dataclasses.replace(answer, body=body)


def test_records_without_a_time_cause_few_requests(world: World, database: Database) -> None:
    """Records without a readable time do not make sweeps read their windows again and again, and hide no late record.

    A check takes two requests: the counts of its window, which differ, and the page.
    """
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
    assert sum(asked) - len(asked) <= 3 * (72 // 6 + 72 // 36)
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
    on.poll(60)
    assert open_troubles(database) == ["window_unproved"]
    with database.read() as connection:
        (found,) = self_alerts.read_all(connection)
    assert found.what.startswith("300 older windows not proved: 2026-10-14T01:00:00.000Z to 2026-10-14T01:05:00.000Z")
    # A window is made when it is read from the store, too.
    handled = count_calls(lambda: [on.poll(60) for _ in range(12)], UnprovedWindow.__init__, UnprovedWindow.__eq__)
    assert handled < 50, "each sweep that is due makes a window"
    assert len(waiting(on)) == 300
    assert open_troubles(database) == ["window_unproved"]
