"""When the delivery worker has something to do: due rows, closed receivers, and the summaries of storms."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from actionwatch.alerts.policy import GlobalPolicy, ReceiverPolicy, Storm
from actionwatch.base.model import Event
from actionwatch.delivery.attempt import Channel
from actionwatch.delivery.receiver_worker import ReceiverWorker
from actionwatch.delivery.receiver_workers import IDLE_SECONDS, Schedule
from actionwatch.delivery.summary import Summaries
from actionwatch.store import delivery_transitions, suppressed_deliveries
from actionwatch.store.database import Database
from tests.builders import NOON, Clock, make_delivery
from tests.integration.kit import PlainRenderer, Sender

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
STORM = ReceiverPolicy(storm=Storm(1, MINUTE))


def make_schedule(
    database: Database, *names: str, clock: Clock | None = None, **options: Any
) -> tuple[Schedule, dict[str, ReceiverWorker]]:
    """Make the schedule of these receivers."""
    workers = {
        name: ReceiverWorker(Channel(name, Sender(), (), **options), PlainRenderer(), lambda _: None) for name in names
    }
    policies = {name: worker.channel.policy for name, worker in workers.items()}
    summaries = Summaries(database, GlobalPolicy(), policies)
    return Schedule(database, workers.values(), summaries, clock or Clock()), workers


def put(database: Database, seconds: float, receiver: str = "hook") -> None:
    """Enqueue a row that is due in so many seconds."""
    with database.write() as connection:
        due_at = NOON + timedelta(seconds=seconds)
        delivery_transitions.enqueue(connection, [make_delivery(f"due-{seconds}", receiver, due_at=due_at)])


def look(schedule: Schedule) -> float:
    """Look at the outbox, and return how long the worker waits after that."""
    schedule.due_workers()
    return schedule.seconds_until_next()


def collapse(database: Database, until: timedelta) -> None:
    """Collapse a row into the summary of a storm."""
    row = make_delivery(f"collapsed-{until}")
    with database.write() as connection:
        delivery_transitions.enqueue(connection, [row])
        delivery_transitions.collapse(connection, [(row, NOON + until)])


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [((), IDLE_SECONDS), ((2,), 2), ((3, 1, 2), 1), ((0,), 0), ((-9,), 0), ((60,), IDLE_SECONDS)],
)
def test_wait_until_the_next_row(database: Database, seconds: tuple[float, ...], expected: float) -> None:
    """The worker waits until the next row is due, but not longer than `IDLE_SECONDS`."""
    schedule, _ = make_schedule(database, "hook", "other")
    for each in seconds:
        put(database, each)
    assert look(schedule) == expected


def test_closed_receiver(database: Database) -> None:
    """A receiver that is closed is looked at again when it opens; its rows are not due before."""
    schedule, workers = make_schedule(database, "hook", "other")
    put(database, -1)
    put(database, 4, "other")
    assert schedule.due_workers() == [workers["hook"]]
    workers["hook"].capacity.pause(NOON + 3 * SECOND)
    assert (schedule.free_workers(), schedule.due_workers()) == ([workers["other"]], [])
    assert schedule.seconds_until_next() == 3
    workers["hook"].capacity.pause(NOON + MINUTE)
    assert schedule.seconds_until_next() == 4  # without another look
    put(database, 0, "other")
    assert schedule.due_workers() == [workers["other"]]


def test_receiver_that_opens_after_the_look(database: Database) -> None:
    """A receiver that was closed during a look at the outbox is looked at again at once if it opens before the wait begins."""
    clock = Clock()
    schedule, workers = make_schedule(database, "hook", clock=clock, rate_per_second=1.0)
    assert look(schedule) == IDLE_SECONDS
    workers["hook"].capacity.closed_until = NOON + SECOND
    put(database, 0)
    assert (schedule.due_workers(), schedule.seconds_until_next()) == ([], 1)
    clock.advance(seconds=1)
    assert schedule.seconds_until_next() == 0
    assert schedule.due_workers() == [workers["hook"]]


def test_work_by_a_deadline(database: Database) -> None:
    """Work counts that is due by the deadline, at a receiver that is not paused until then."""
    schedule, workers = make_schedule(database, "hook")
    assert not schedule.has_work_by(NOON + MINUTE)
    put(database, 60)
    assert schedule.has_work_by(NOON + MINUTE)
    assert not schedule.has_work_by(NOON + MINUTE - SECOND)
    assert not schedule.has_work_by(NOON - MINUTE)
    put(database, -60)
    assert schedule.has_work_by(NOON - 2 * MINUTE)  # what is due now counts, though the deadline has passed
    workers["hook"].capacity.pause(NOON + 2 * MINUTE)
    assert not schedule.has_work_by(NOON + MINUTE)
    assert schedule.has_work_by(NOON + 2 * MINUTE)


def test_wait_until_the_summary_of_a_storm(database: Database) -> None:
    """The summary of a storm is due when the first of its rows may be reported; a summary that is due is made every second."""
    schedule, _ = make_schedule(database, "hook", policy=STORM)
    collapse(database, 9 * SECOND)
    assert look(schedule) == IDLE_SECONDS
    collapse(database, 3 * SECOND)
    assert look(schedule) == 3
    assert schedule.has_work_by(NOON + 3 * SECOND)
    assert not schedule.has_work_by(NOON + 2 * SECOND)
    collapse(database, -MINUTE)
    assert look(schedule) == 1
    assert schedule.has_work_by(NOON)


@pytest.mark.parametrize(
    ("made_after", "due_after", "policy", "expected"),
    [
        (timedelta(0), None, STORM, MINUTE),  # at most one in `per`
        (-MINUTE / 2, None, STORM, MINUTE / 2),
        (-MINUTE / 2, None, ReceiverPolicy(), MINUTE / 2),  # the storm was switched off since
        (-2 * MINUTE, None, STORM, -SECOND),
        (MINUTE, None, STORM, timedelta(0)),  # the clock was set back
        (-MINUTE, 5 * SECOND, STORM, 5 * SECOND),  # one that is pending reports no more rows
        (-MINUTE, -SECOND, STORM, SECOND),
    ],
)
def test_next_summary_of_a_storm(
    database: Database, made_after: timedelta, due_after: timedelta | None, policy: ReceiverPolicy, expected: timedelta
) -> None:
    """A receiver gets one summary of a storm in `per`, and none while the last one is pending."""
    summary = replace(make_delivery("storm", event=Event.SUMMARY), created_at=NOON + made_after, due_at=NOON)
    with database.write() as connection:
        suppressed_deliveries.note_storm(connection, "hook", summary.id)
        delivery_transitions.enqueue(connection, [replace(summary, due_at=NOON + (due_after or timedelta(0)))])
        if due_after is None:
            delivery_transitions.sent(connection, "hook", "sender", {summary.id: None}, NOON)
    collapse(database, -SECOND)
    with database.read() as connection:
        due_at = Summaries(database, GlobalPolicy(), {"hook": policy}).next_due(connection, NOON)
    assert due_at == NOON + expected
