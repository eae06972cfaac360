"""Recording of attempts: the state of the delivery, the health of its receiver, references, and the fallback."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection

from actionwatch.alerts.policy import ReceiverPolicy
from actionwatch.base.delivery import Delivery, DeliveryStatus
from actionwatch.base.errors import DeliveryError, Fault, PermanentDeliveryError, TransientDeliveryError
from actionwatch.base.model import Event, Receipt
from actionwatch.delivery.attempt import Attempt, Channel
from actionwatch.delivery.compose import Job
from actionwatch.delivery.fallback import Fallbacks
from actionwatch.delivery.receiver_worker import ReceiverWorker
from actionwatch.delivery.rounds import Recorder
from actionwatch.settings import RetryPolicy
from actionwatch.store import alert_history, alerts, delivery_latency, delivery_transitions, outbox, receivers
from actionwatch.store.database import Database
from actionwatch.store.receivers import Health
from tests.builders import NOON, make_alert, make_delivery, make_message
from tests.integration.kit import DOWN, REFUSED, PlainRenderer, Sender

MINUTE = timedelta(minutes=1)
NOW = NOON + MINUTE
BUSY = TransientDeliveryError("busy", retry_after=5 * MINUTE)


def record(database: Database, *attempts: Attempt, now: datetime = NOW) -> ReceiverWorker:
    """Record how attempts at claimed rows ended. Return the worker of the receiver."""
    worker, recorder = make_recorder()
    with database.write() as connection:
        rows = [attempt.job.delivery for attempt in attempts]
        alerts.insert_new(connection, [(make_alert(row.alert_id), row.alert_id) for row in rows])
        delivery_transitions.enqueue(connection, rows)
        delivery_transitions.claim(
            connection, [replace(row, body="{}", attempts=0) for row in rows], NOON + 5 * MINUTE, "sender"
        )
        recorder.record(connection, attempts, now)
    return worker


def make_recorder() -> tuple[ReceiverWorker, Recorder]:
    """Make the worker of the receiver `hook`, whose fallback is `mail`, and what records its attempts."""
    retry = RetryPolicy(first=MINUTE, give_up_after=10 * MINUTE)
    worker = ReceiverWorker(Channel("hook", Sender(), (), retry), PlainRenderer(), lambda _: None)
    return worker, Recorder({"hook": worker}, Fallbacks({"hook": ReceiverPolicy(fallback="mail")}), lambda: 0.5)


def job(alert_id: str = "alert-1", **changes: object) -> Job:
    """Make a job at its first attempt."""
    row = replace(make_delivery(alert_id), attempts=1, body="{}", leased_by="sender", **changes)
    return Job(row, make_message(), make_alert(alert_id))


def row_of(connection: Connection, alert_id: str = "alert-1", receiver: str = "hook") -> Delivery:
    """Read the row of an alert."""
    (found,) = [row for row in outbox.read_of_alert(connection, alert_id) if row.receiver == receiver]
    return found


def history(connection: Connection, alert_id: str = "alert-1") -> list[str]:
    """Read the history of an alert."""
    return [f"{entry.stage}: {entry.what}" for entry in alert_history.read(connection, alert_id)]


def test_accepted(database: Database) -> None:
    """An accepted message is sent, with its note and reference in printable characters; its receiver works."""
    with database.write() as connection:
        receivers.note_failure(connection, "hook", NOON, "503", None)
    record(database, Attempt(job(), receipt=Receipt("ts\ud800", "bob\ud800 refused")), Attempt(job("b")))
    with database.read() as connection:
        assert (row_of(connection).status, row_of(connection).why) == (DeliveryStatus.SENT, "bob� refused")
        assert row_of(connection, "b").why is None
        assert receivers.read_references(connection, ["alert-1", "b"], "hook") == {"alert-1": "ts�"}
        assert receivers.read_all(connection) == {"hook": Health(last_sent_at=NOW)}
        assert history(connection) == ["delivery to hook: attempt 1: alert.opened accepted; bob� refused"]
        assert history(connection, "b") == ["delivery to hook: attempt 1: alert.opened accepted"]


@pytest.mark.parametrize(
    ("errors", "health"),
    [
        ([None, REFUSED], Health(NOW, NOW, None, str(REFUSED))),
        ([REFUSED, None], Health(NOW)),
        ([REFUSED, DOWN], Health(None, NOON, None, str(DOWN))),
        ([None, REFUSED, None], Health(NOW)),
        ([REFUSED, None, DOWN], Health(NOW, NOW, None, str(DOWN))),
    ],
)
def test_health_follows_the_order_of_attempts(
    database: Database, errors: list[DeliveryError | None], health: Health
) -> None:
    """A receiver fails if its last attempt failed, since its first failure after the last message that it accepted."""
    with database.write() as connection:
        receivers.note_failure(connection, "hook", NOON, "503", None)
    record(database, *(Attempt(job(f"alert-{number}"), error=error) for number, error in enumerate(errors)))
    with database.read() as connection:
        assert receivers.read_all(connection) == {"hook": health}


@pytest.mark.parametrize(("event", "is_kept"), [(Event.OPENED, True), (Event.UPDATED, True), (Event.SUMMARY, False)])
def test_references(database: Database, event: Event, is_kept: bool) -> None:
    """The reference of every message but a summary is kept, because only a summary is never updated."""
    record(database, Attempt(job(event=event), receipt=Receipt("ts-1")))
    with database.read() as connection:
        assert receivers.read_references(connection, ["alert-1"], "hook") == ({"alert-1": "ts-1"} if is_kept else {})


def test_latency_counts_accepted_openings(database: Database) -> None:
    """Only accepted openings count for the latency, and only where the store still has the alert."""
    gone = Job(job("gone").delivery, make_message(), None)
    record(
        database,
        Attempt(job("a")),
        Attempt(job("b", event=Event.UPDATED)),
        Attempt(job("c"), error=DOWN),
        Attempt(gone),
    )
    with database.read() as connection:
        assert [histogram.buckets for histogram in delivery_latency.read_all(connection)] == [{60: 1}]


def test_render_failures(database: Database) -> None:
    """Every template that failed has a line in the history, however the attempt ended."""
    record(
        database,
        Attempt(job("a"), (Fault("t.txt", 0, 0, "no\x00 field"), Fault("u.txt", 2, 1, "bad"))),
        Attempt(job("b"), (Fault("t.txt", 0, 0, "bad"),), error=DOWN),
    )
    with database.read() as connection:
        assert history(connection, "a")[:2] == [
            r"delivery to hook: template: t.txt: no\x00 field",
            "delivery to hook: template: u.txt:2:1: bad",
        ]
        assert history(connection, "b")[0] == "delivery to hook: template: t.txt: bad"


@pytest.mark.parametrize(
    ("error", "due_after", "paused"), [(DOWN, MINUTE / 2, None), (BUSY, 5 * MINUTE, 5 * MINUTE)], ids=["down", "busy"]
)
def test_temporary_error(
    database: Database, error: DeliveryError, due_after: timedelta, paused: timedelta | None
) -> None:
    """A temporary error is retried later; a Retry-After pauses the receiver, here and in the store."""
    worker = record(database, Attempt(job(), error=error))
    until = None if paused is None else NOW + paused
    assert worker.capacity.paused_until == until
    with database.read() as connection:
        row = row_of(connection)
        assert (row.status, row.due_at, row.last_error) == (DeliveryStatus.PENDING, NOW + due_after, str(error))
        assert receivers.read_all(connection)["hook"] == Health(None, NOW, until, str(error))
        assert f"attempt 1: {error}; next attempt at" in history(connection)[0]
        assert len(outbox.read_of_alert(connection, "alert-1")) == 1


@pytest.mark.parametrize("error", [REFUSED, PermanentDeliveryError("no \ud800")], ids=str)
def test_permanent_error(database: Database, error: DeliveryError) -> None:
    """A permanent error makes a dead letter, which goes to the fallback; the receiver is failing."""
    worker = record(database, Attempt(job(), error=error))
    assert worker.capacity.paused_until is None
    with database.read() as connection:
        row = row_of(connection)
        assert row.status is DeliveryStatus.DEAD
        assert row.why == "refused: " + str(error).replace("\ud800", "�")
        assert row_of(connection, receiver="mail").fallback_of == row.id
        assert history(connection)[1].startswith(f"fallback: mail replaces hook (opened): {row.why}")
        assert receivers.read_all(connection)["hook"].failing_since == NOW


@pytest.mark.parametrize("error", [REFUSED, DOWN], ids=str)
def test_outcome_of_an_attempt_that_was_overtaken(database: Database, error: DeliveryError) -> None:
    """An error does not count if another process has claimed the row since: no dead letter, no copy, no false history."""
    row = replace(job().delivery, attempts=0, leased_by=None)
    with database.write() as connection:
        alerts.insert_new(connection, [(make_alert(row.alert_id), row.alert_id)])
        delivery_transitions.enqueue(connection, [row])
        (first,) = delivery_transitions.claim(connection, [row], NOON, "sender")
        (second,) = delivery_transitions.claim(connection, [first], NOON + 5 * MINUTE, "other")
        attempt = Attempt(Job(first, make_message(), make_alert(row.alert_id)), error=error)
        make_recorder()[1].record(connection, [attempt], NOW)
        assert [each.receiver for each in outbox.read_of_alert(connection, row.alert_id)] == ["hook"]
        assert row_of(connection) == second
        assert history(connection) == [
            f"delivery to hook: attempt 1: {error}; this does not count: the delivery has gone on meanwhile"
        ]


@pytest.mark.parametrize(("started_after", "is_dead"), [(timedelta(0), True), (5 * MINUTE, False)])
def test_age_counts_from_the_stored_start(database: Database, started_after: timedelta, is_dead: bool) -> None:
    """The age at which a message is given up counts from the stored start, which follows the steps of the clock."""
    row = replace(job().delivery, started_at=NOON + started_after)
    with database.write() as connection:
        delivery_transitions.enqueue(connection, [row])
    record(database, Attempt(job(), error=DOWN), now=NOON + 10 * MINUTE)
    with database.read() as connection:
        assert (row_of(connection).status is DeliveryStatus.DEAD) is is_dead


def test_age_of_a_row_that_was_deleted(database: Database) -> None:
    """A row that retention deleted meanwhile does not stop the recording of the others."""
    gone = job("gone")
    worker = ReceiverWorker(Channel("hook", Sender(), ()), PlainRenderer(), lambda _: None)
    with database.write() as connection:
        Recorder({"hook": worker}, Fallbacks({}), lambda: 0.5).record(connection, [Attempt(gone, error=DOWN)], NOW)
        assert outbox.read_of_alert(connection, "gone") == []
        assert receivers.read_all(connection)["hook"].failing_since == NOW
