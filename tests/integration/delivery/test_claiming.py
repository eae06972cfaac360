"""Claims: which due rows of a receiver a process takes, and what it leaves for others."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from actionwatch.alerts.policy import GlobalPolicy, ReceiverPolicy
from actionwatch.alerts.silences import make_silence
from actionwatch.base.delivery import DeliveryStatus
from actionwatch.base.model import Level
from actionwatch.delivery.attempt import LEASE, Channel
from actionwatch.delivery.compose import Job
from actionwatch.delivery.fallback import Fallbacks
from actionwatch.delivery.gate_check import GateCheck
from actionwatch.delivery.receiver_worker import HELD_ELSEWHERE, IN_HAND, ReceiverWorker
from actionwatch.delivery.rounds import ROWS_AT_ONCE, Claimer
from actionwatch.store import alerts, delivery_transitions, outbox, receivers, silences
from actionwatch.store.database import Database
from tests.builders import NOON, lease_due, make_alert, make_delivery
from tests.integration.kit import PlainRenderer, Sender
from tests.statements import statements

SECOND = timedelta(seconds=1)
POLICIES = {"hook": ReceiverPolicy()}


def make_worker(**options: Any) -> ReceiverWorker:
    """Make the worker of a receiver, without threads."""
    return ReceiverWorker(Channel("hook", Sender(), (), **options), PlainRenderer(), lambda _: None)


def put(database: Database, *names: str, **changes: Any) -> None:
    """Enqueue the opening of alerts with these ids, due in this order."""
    with database.write() as connection:
        alerts.insert_new(connection, [(make_alert(name, **changes), name) for name in names])
        rows = [
            make_delivery(name, due_at=NOON + number * timedelta(microseconds=1)) for number, name in enumerate(names)
        ]
        delivery_transitions.enqueue(connection, rows)


def claim(database: Database, worker: ReceiverWorker, now: datetime = NOON + SECOND) -> list[Job]:
    """Claim what the worker can take."""
    claimer = Claimer(GateCheck(GlobalPolicy()), Fallbacks(POLICIES), "sender")
    with database.write() as connection:
        return claimer.claim(connection, worker, now)


def test_claim_fills_the_backlog(database: Database) -> None:
    """A claim takes as many rows as the backlog has room for, longest due first, under a lease."""
    worker = make_worker(concurrency=1)
    names = [f"a{number}" for number in range(IN_HAND + 2)]
    put(database, *names)
    jobs = claim(database, worker)
    assert [job.delivery.alert_id for job in jobs] == names[:IN_HAND]
    assert all(job.alert and job.delivery.attempts == 1 and job.delivery.is_frozen for job in jobs)
    with database.read() as connection:
        assert receivers.read_availability(connection, "hook", NOON + SECOND + LEASE, 99).leased_count == IN_HAND
        assert receivers.read_availability(connection, "hook", NOON + SECOND + LEASE + SECOND, 99).leased_count == 0
    for job in jobs:
        worker.send(job)
    assert claim(database, worker) == []
    assert worker.capacity.closed_until is None, "its own messages make room as soon as they are sent"


def test_claim_looks_once_for_rows_that_all_pass(database: Database) -> None:
    """A claim that has room for more rows does not look for them again, if no gate stopped one of those that it found."""
    put(database, "first", "second")
    with statements() as found:
        jobs = claim(database, make_worker())
    assert [job.delivery.alert_id for job in jobs] == ["first", "second"]
    assert sum(each.startswith("SELECT delivery.id") for each in found) == 1


def test_rows_that_gates_stop_take_no_slot(database: Database) -> None:
    """A claim goes on past rows that a gate stops, and does not check the rows that it has no room for."""
    worker = make_worker(rate_per_second=1.0, policy=ReceiverPolicy(min_level=Level.HIGH))
    put(database, *(f"low-{number}" for number in range(20)), level=Level.LOW)
    put(database, "low-again", level=Level.LOW)
    put(database, "first", "second")
    with database.write() as connection:
        for number, name in enumerate(("low-again", "first", "second")):
            row = make_delivery(name)
            delivery_transitions.retry(connection, row, NOON + (number + 1) * timedelta(milliseconds=1), "")
    (job,) = claim(database, worker)
    assert job.delivery.alert_id == "first"
    with database.read() as connection:
        rows = {row.alert_id: row.status for row in outbox.find(connection, limit=99)}
    assert {name for name, status in rows.items() if status is DeliveryStatus.PENDING} == {"first", "second"}


def test_a_claim_checks_a_bounded_number_of_rows(database: Database) -> None:
    """A transaction checks no further rows once it has checked `ROWS_AT_ONCE`; the next round continues."""
    worker = make_worker(rate_per_second=1.0)
    put(database, *(f"a{number:03}" for number in range(900)))
    silence = make_silence(["rule=cluster_deleted"], "sam", "planned", NOON, NOON + LEASE, made_at=NOON)
    with database.write() as connection:
        silences.write(connection, silence)
    counts = []
    for _ in range(2):
        assert claim(database, worker) == []
        with database.read() as connection:
            rows = outbox.find(connection, limit=1000)
        counts.append(sum(row.status is DeliveryStatus.SUPPRESSED for row in rows))
    assert counts == [1 + 4 + 16 + 64 + 256 + ROWS_AT_ONCE, 900]


def test_rate(database: Database) -> None:
    """A claim under a rate takes one row, and closes the receiver for all processes; one that takes nothing does not."""
    worker, other = make_worker(rate_per_second=0.5), make_worker(rate_per_second=0.5)
    assert claim(database, worker) == []
    assert worker.capacity.closed_until is None
    put(database, "a", "b")
    assert len(claim(database, worker)) == 1
    assert worker.capacity.closed_until == NOON + 3 * SECOND
    assert claim(database, other) == []
    assert other.capacity.wait_seconds(NOON + SECOND) == 2
    assert [job.delivery.alert_id for job in claim(database, other, NOON + 3 * SECOND)] == ["b"]
    with database.read() as connection:
        assert receivers.read_availability(connection, "hook", NOON, 9)[:2] == (None, NOON + 5 * SECOND)


def test_without_a_rate_nothing_is_stored(database: Database) -> None:
    """A claim without a rate does not write when the receiver takes the next message."""
    put(database, "a")
    assert len(claim(database, make_worker())) == 1
    with database.read() as connection:
        assert receivers.read_availability(connection, "hook", NOON, 9)[:2] == (None, None)


def test_slots_that_others_hold(database: Database) -> None:
    """While other processes hold all slots, the receiver is looked at again soon, and not in a loop."""
    worker = make_worker(concurrency=2)
    put(database, "a", "b", "c")
    with database.write() as connection:
        lease_due(connection, "hook", NOON, 1)
    assert len(claim(database, worker)) == 1
    assert worker.capacity.closed_until is None
    with database.write() as connection:
        delivery_transitions.release_left(connection, ())
        lease_due(connection, "hook", NOON + SECOND, 2)
    assert claim(database, worker) == []
    assert worker.capacity.wait_seconds(NOON + SECOND) == HELD_ELSEWHERE.total_seconds()
    assert claim(database, worker) == []
    assert worker.capacity.closed_until == NOON + SECOND + HELD_ELSEWHERE
    full = make_worker(concurrency=1)
    for number in range(IN_HAND):
        full.in_hand[str(number)] = 0.0
    assert claim(database, full) == []
    assert full.capacity.closed_until is None  # it holds the slots itself: an attempt that ends wakes it up


def test_a_pause_is_shared(database: Database) -> None:
    """A claim follows the pause that another process stored."""
    worker = make_worker()
    put(database, "a")
    with database.write() as connection:
        receivers.note_failure(connection, "hook", NOON, "429", NOON + 9 * SECOND)
    assert claim(database, worker) == []
    assert worker.capacity.paused_until == NOON + 9 * SECOND
    assert len(claim(database, worker, NOON + 9 * SECOND)) == 1


def test_references_and_sends_that_outlast_their_lease(database: Database) -> None:
    """A job carries the receiver's reference for its alert; a row that is still being sent is not sent twice."""
    worker = make_worker()
    put(database, "a", "b")
    with database.write() as connection:
        receivers.write_reference(connection, "b", "hook", "ts-1")
    assert [job.reference for job in claim(database, worker)] == [None, "ts-1"]
    worker.in_hand[make_delivery("a").id] = 0.0
    later = NOON + LEASE + 2 * SECOND
    assert [job.delivery.alert_id for job in claim(database, worker, later)] == ["b"]
    with database.read() as connection:
        assert receivers.read_availability(connection, "hook", later + LEASE, 99).leased_count == 2


def test_the_outcome_of_a_send_that_outlasts_its_lease_counts(database: Database) -> None:
    """Claiming a row that is still being sent only renews its lease: it is no other attempt."""
    worker = make_worker()
    put(database, "a")
    (job,) = claim(database, worker)
    worker.in_hand[job.delivery.id] = 0.0
    assert claim(database, worker, NOON + LEASE + 2 * SECOND) == []
    with database.write() as connection:
        delivery_transitions.bury(connection, job.delivery, "refused: 403")
        (row,) = outbox.read_of_alert(connection, "a")
    assert (row.status, row.attempts) == (DeliveryStatus.DEAD, 1)


def test_a_text_that_was_attempted_is_not_written_again(database: Database) -> None:
    """Before a fallback copies the due rows, those without a text get one; the others keep theirs."""
    put(database, "a", "b")
    (job,) = claim(database, make_worker(rate_per_second=1.0))
    with database.write() as connection:
        delivery_transitions.retry(connection, job.delivery, NOON + 2 * SECOND, "503")
        alerts.update(connection, replace(make_alert("a"), title="another title"))
        claimer = Claimer(GateCheck(GlobalPolicy()), Fallbacks(POLICIES), "sender")
        prepared = claimer.prepare(connection, "hook", NOON + 3 * SECOND)
        claimer.freeze_due(connection, "hook", ReceiverPolicy(), prepared, NOON + 3 * SECOND)
        bodies = {row.alert_id: row.body for row in outbox.find(connection, limit=9)}
    assert bodies["a"] == job.delivery.body
    assert bodies["b"] is not None
