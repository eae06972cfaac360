"""Copies for a fallback: which rows are copied, once each, and when a receiver has failed for long enough."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection

from actionwatch.alerts.policy import GlobalPolicy, ReceiverPolicy
from actionwatch.base.delivery import Delivery, DeliveryStatus
from actionwatch.base.model import Event, Level, Status
from actionwatch.delivery.compose import Job, compose_all
from actionwatch.delivery.fallback import Fallbacks
from actionwatch.delivery.gate_check import GateCheck
from actionwatch.delivery.rounds import ROWS_AT_ONCE, Claimer
from actionwatch.store import alert_history, alerts, delivery_transitions, outbox
from actionwatch.store.database import Database
from actionwatch.store.receivers import Health
from tests.builders import NOON, make_alert, make_delivery
from tests.statements import statements

MINUTE = timedelta(minutes=1)
POLICIES = {"hook": ReceiverPolicy(fallback="mail", fallback_after=10 * MINUTE), "mail": ReceiverPolicy()}
FALLBACKS = Fallbacks(POLICIES)
OPENED = make_delivery()
UPDATED = make_delivery(ordinal=2, event=Event.UPDATED)
RESOLVED = make_delivery(ordinal=3, event=Event.RESOLVED)
SUMMARY = replace(make_delivery(event=Event.SUMMARY), body="{}")
LATER = NOON + MINUTE
COPY_STATEMENTS = 5  # what was copied, what is resolved, where the fallback is; the copies, their history
FALLBACK_STATEMENTS = 3 + 1 + COPY_STATEMENTS
"""Due rows, silences, the texts; what waits; the copies."""
COMPOSE_STATEMENTS = 2  # the newest records, the receivers that the copies replace


def copies(connection: Connection) -> list[Delivery]:
    """Read what waits for the fallback."""
    return [row for row in outbox.read_of_alert(connection, OPENED.alert_id) if row.receiver == "mail"]


@pytest.mark.parametrize(
    ("health", "is_failing"),
    [
        (None, False),
        (Health(failing_since=None), False),
        (Health(failing_since=NOON - 10 * MINUTE), True),
        (Health(failing_since=NOON - 9 * MINUTE), False),
    ],
)
def test_failing(health: Health | None, is_failing: bool) -> None:
    """A receiver with a fallback counts as failing once it has failed for `fallback_after`."""
    known = {} if health is None else {"hook": health, "mail": health}
    assert FALLBACKS.failing(known, NOON) == (["hook"] if is_failing else [])


@pytest.mark.parametrize(("row", "is_copied"), [(OPENED, True), (UPDATED, False), (RESOLVED, False), (SUMMARY, True)])
def test_copied_events(database: Database, row: Delivery, is_copied: bool) -> None:
    """Openings and summaries are copied, each once, as new rows of the fallback. The text of a summary stays."""
    with database.write() as connection:
        delivery_transitions.enqueue(connection, [row, make_delivery(receiver="mail", ordinal=4)])
        for _ in range(2):
            FALLBACKS.fall_back(connection, [(row, "it refused")], LATER)
        found = copies(connection)[1:]
        history = [f"{entry.stage}: {entry.what}" for entry in alert_history.read(connection, row.alert_id)]
    assert [(each.event, each.ordinal, each.fallback_of, each.due_at, each.body) for each in found] == (
        [(row.event, 5, row.id, LATER, row.body)] if is_copied else []
    )
    assert history == ([f"fallback: mail replaces hook ({row.event}): it refused"] if is_copied else [])


@pytest.mark.parametrize("receiver", ["mail", "removed"])
def test_receiver_without_a_fallback(database: Database, receiver: str) -> None:
    """Nothing is copied for a receiver that has no fallback, or that is no longer configured."""
    row = make_delivery(receiver=receiver)
    with database.write() as connection:
        delivery_transitions.enqueue(connection, [row])
        FALLBACKS.fall_back(connection, [(row, "it refused")], LATER)
        assert outbox.read_of_alert(connection, row.alert_id) == [row]


@pytest.mark.parametrize("status", [Status.ACKED, Status.RESOLVED])
def test_end_follows_the_copy_of_a_resolved_alert(database: Database, status: Status) -> None:
    """If the alert was resolved before its opening is copied, the fallback gets the end with the copy."""
    with database.write() as connection:
        alerts.insert_new(connection, [(make_alert(OPENED.alert_id, status=status), "1")])
        delivery_transitions.enqueue(connection, [OPENED, RESOLVED])
        FALLBACKS.fall_back(connection, [(OPENED, "it refused"), (RESOLVED, "it refused")], NOON)
        ends = [Event.RESOLVED] if status is Status.RESOLVED else []
        assert [(each.event, each.fallback_of) for each in copies(connection)] == [
            (event, OPENED.id) for event in (Event.OPENED, *ends)
        ]


def test_what_waits_for_a_failing_receiver(database: Database) -> None:
    """Only what passed the gates is copied, and only for that receiver."""
    frozen = [make_delivery(name) for name in ("a", "b")]
    with database.write() as connection:
        delivery_transitions.enqueue(connection, [*frozen, make_delivery("c"), make_delivery("d", "other")])
        delivery_transitions.freeze(
            connection, [replace(row, body="{}") for row in (*frozen, make_delivery("d", "other"))]
        )
        delivery_transitions.sent(connection, "hook", "sender", {frozen[1].id: None}, NOON)
        FALLBACKS.fall_back_all(connection, "hook", LATER)
        found = [row for row in outbox.find(connection, limit=9) if row.receiver == "mail"]
    assert [(row.alert_id, row.fallback_of) for row in found] == [("a", frozen[0].id)]


def freeze_due(claimer: Claimer, connection: Connection, policy: ReceiverPolicy) -> None:
    """Prepare and freeze the due rows of the hook."""
    claimer.freeze_due(connection, "hook", policy, claimer.prepare(connection, "hook", NOON), NOON)


def test_freeze_before_copying(database: Database) -> None:
    """Due rows of a failing receiver pass the gates and are frozen."""
    claimer = Claimer(GateCheck(GlobalPolicy()), FALLBACKS, "sender")
    alert = make_alert(OPENED.alert_id)
    attempted, low = make_delivery("attempted"), make_delivery("low")
    with database.write() as connection:
        rows = [(alert, "1"), (make_alert("low", level=Level.LOW), "2"), (make_alert("attempted"), "3")]
        alerts.insert_new(connection, rows)
        delivery_transitions.enqueue(connection, [OPENED, make_delivery("later", due_at=LATER), attempted, low])
        delivery_transitions.freeze(connection, [replace(attempted, body='{"is": "unreadable"}')])
        freeze_due(claimer, connection, ReceiverPolicy(min_level=Level.HIGH))
        found = {(row.alert_id, row.ordinal): row for row in outbox.find(connection, limit=9) if row.receiver == "hook"}
        assert found[(OPENED.alert_id, 1)].is_frozen
        assert found[("low", 1)].status is DeliveryStatus.SUPPRESSED
        assert not found[("later", 1)].is_frozen
        assert found[("attempted", 1)].body == '{"is": "unreadable"}'
        delivery_transitions.enqueue(connection, [make_delivery("attempted", ordinal=2, event=Event.UPDATED)])
        delivery_transitions.sent(connection, "hook", "sender", {attempted.id: None}, NOON)
        freeze_due(claimer, connection, ReceiverPolicy())
        (update,) = [row for row in outbox.read_of_alert(connection, "attempted") if row.ordinal == 2]
        assert update.is_frozen
        assert update.attempts == 0


def test_what_waits_in_front_does_not_keep_a_new_alert_from_the_fallback(database: Database) -> None:
    """A new alert is frozen and copied, however many messages wait before it that are frozen, copied, or no opening."""
    claimer = Claimer(GateCheck(GlobalPolicy()), FALLBACKS, "sender")
    names = [f"alert-{number}" for number in range(ROWS_AT_ONCE)]
    before = [make_delivery(name, due_at=NOON - MINUTE) for name in names]
    again = [make_delivery(name, ordinal=2) for name in names]
    ends = [make_delivery(name, ordinal=3, event=Event.RESOLVED) for name in names]
    with database.write() as connection:
        alerts.insert_new(connection, [(make_alert("new"), "new")])
        delivery_transitions.enqueue(connection, [*before, *again, *ends, make_delivery("new", created_at=LATER)])
        delivery_transitions.freeze(connection, [replace(row, body="{}") for row in (*before, *again)])
        FALLBACKS.fall_back(connection, [(row, "it refused") for row in before], NOON)
        freeze_due(claimer, connection, ReceiverPolicy())
        FALLBACKS.fall_back_all(connection, "hook", LATER)
        assert [row.receiver for row in outbox.read_of_alert(connection, "new")] == ["hook", "mail"]


def test_text_of_an_alert_that_changed_meanwhile_is_not_frozen(database: Database) -> None:
    """A match that joins between the writing of a message and its freezing is not lost: the row keeps waiting."""
    claimer = Claimer(GateCheck(GlobalPolicy()), FALLBACKS, "sender")
    with database.write() as connection:
        alerts.insert_new(connection, [(make_alert(name), name) for name in ("same", "changed", "gone")])
        delivery_transitions.enqueue(connection, [make_delivery(name) for name in ("same", "changed", "gone")])
    with database.read() as connection:
        prepared = claimer.prepare(connection, "hook", NOON)
    with database.write() as connection:
        alerts.update(connection, replace(make_alert("changed"), count=2))
        delivery_transitions.sent(connection, "hook", "sender", {make_delivery("gone").id: None}, NOON)
        claimer.freeze_due(connection, "hook", ReceiverPolicy(), prepared, NOON)
        found = {row.alert_id: row.is_frozen for row in outbox.find(connection, limit=9)}
        assert found == {"same": True, "changed": False, "gone": False}
        freeze_due(claimer, connection, ReceiverPolicy())
        frozen = {row.alert_id: row.body for row in outbox.find(connection, limit=9) if row.body is not None}
    assert '"count":2' in frozen["changed"]


@pytest.mark.parametrize("count", [1, 250])
def test_copying_takes_few_statements(database: Database, count: int) -> None:
    """The writes of a fallback take as many statements for 250 rows as for one, and write no message."""
    claimer = Claimer(GateCheck(GlobalPolicy()), FALLBACKS, "sender")
    names = [f"alert-{number}" for number in range(count)]
    with database.write() as connection:
        alerts.insert_new(connection, [(make_alert(name), name) for name in names])
        delivery_transitions.enqueue(connection, [make_delivery(name) for name in names])
    with database.read() as connection:
        prepared = claimer.prepare(connection, "hook", NOON)
    with database.write() as connection, statements() as found:
        claimer.freeze_due(connection, "hook", ReceiverPolicy(), prepared, NOON)
        FALLBACKS.fall_back_all(connection, "hook", NOON)
    with database.read() as connection:
        assert len([row for row in outbox.find(connection, limit=999) if row.receiver == "mail"]) == count
    assert not [each for each in found if "alert_record" in each]
    assert len(found) == FALLBACK_STATEMENTS


@pytest.mark.parametrize("count", [1, 100])
def test_dead_letters_of_resolved_alerts_are_copied_in_few_statements(database: Database, count: int) -> None:
    """Dead letters, the ends that follow them, and the names that copies replace are read and written together."""
    names = [f"alert-{number}" for number in range(count)]
    opened = [make_delivery(name) for name in names]
    with database.write() as connection:
        alerts.insert_new(connection, [(make_alert(name, status=Status.RESOLVED), name) for name in names])
        delivery_transitions.enqueue(connection, opened)
        with statements() as found:
            FALLBACKS.fall_back(connection, [(row, "it refused") for row in opened], LATER)
        assert len(found) == COPY_STATEMENTS
        assert len([row for row in outbox.find(connection, limit=999) if row.event is Event.RESOLVED]) == count
        due = outbox.read_due(connection, "mail", LATER, 999)
        with statements() as found:
            jobs = [each for each in compose_all(connection, due, LATER, GlobalPolicy()) if isinstance(each, Job)]
        assert len(jobs) == count
        assert {job.message.fields for job in jobs} == {(("in place of", "hook"),)}
        assert len(found) == COMPOSE_STATEMENTS
