"""The outbox: leases, the order within alert and receiver, final states, and queries that stay fast in a large table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, event

from actionwatch.base.delivery import NOT_NOTIFIED, Delivery, DeliveryStatus
from actionwatch.base.model import Event
from actionwatch.store import alerts, delivery_transitions, outbox, receiver_progress, receivers, records, retention
from actionwatch.store.database import Database
from actionwatch.store.delivery_transitions import Suppression
from actionwatch.store.outbox import DeliveryFilter, Queue, Waiting
from actionwatch.store.suppressed_deliveries import SummaryGroup
from tests.builders import NOON, lease_due, make_alert, make_delivery, make_record, only_sqlite
from tests.cases import in_one_test

LEASE = timedelta(minutes=5)
SECOND = timedelta(seconds=1)


def put(database: Database, *rows: Delivery) -> int:
    """Add rows to the outbox."""
    with database.write() as connection:
        return delivery_transitions.enqueue(connection, rows)


def claim(database: Database, at: datetime = NOON, limit: int = 10, receiver: str = "hook") -> list[Delivery]:
    """Claim at a given time."""
    with database.write() as connection:
        return lease_due(connection, receiver, at, limit)


def row(database: Database, delivery: Delivery) -> Delivery:
    """Read an existing row."""
    with database.read() as connection:
        found = outbox.read(connection, delivery.id)
    assert found is not None
    return found


def test_known_row_is_not_added_again(database: Database) -> None:
    """An existing row is not added again, nor is a second row with its ordinal."""
    first = make_delivery()
    assert put(database, first) == 1
    assert put(database, replace(first, event=Event.UPDATED), make_delivery(ordinal=2)) == 1
    assert put(database, replace(first, id="other")) == 0
    assert row(database, first) == first


def test_claim_takes_due_rows_once(database: Database) -> None:
    """Due rows of a receiver are claimed once, those due first, up to a limit, and each claim counts as an attempt."""
    rows = [make_delivery(f"a{n}", due_at=NOON - n * SECOND) for n in range(4)]
    put(database, *rows, make_delivery("x", due_at=NOON + SECOND), make_delivery("a1", "other"))
    assert claim(database, limit=3) == [
        replace(found, attempts=1, leased_by="sender") for found in (rows[3], rows[2], rows[1])
    ]
    assert [found.alert_id for found in claim(database)] == ["a0"]
    assert claim(database) == []
    assert row(database, rows[0]).attempts == 1


def test_lease_expires(database: Database) -> None:
    """A claimed row can be claimed again after its lease, and not before; a release makes it available at once."""
    put(database, make_delivery())
    claim(database)
    assert claim(database, NOON + LEASE) == []
    assert [found.attempts for found in claim(database, NOON + LEASE + SECOND)] == [2]
    with database.write() as connection:
        assert delivery_transitions.release_left(connection, ()) == {"hook": 1}
        assert delivery_transitions.release_left(connection, ()) == {}
    assert [found.attempts for found in claim(database, NOON + LEASE + SECOND)] == [3]


def test_row_waits_for_earlier_rows_of_its_alert(database: Database) -> None:
    """A row waits while an earlier row of its alert and receiver is pending; a dead or sent one does not block it."""
    rows = [make_delivery(ordinal=n, due_at=NOON - n * SECOND) for n in (1, 2, 3)]
    put(database, *rows, make_delivery("other", ordinal=2))
    claimed = sorted(claim(database), key=lambda found: found.alert_id)
    assert [found.alert_id for found in claimed] == ["alert-1", "other"]
    with database.write() as connection:
        assert outbox.next_due(connection, "hook", NOON) is None
        delivery_transitions.bury(connection, claimed[0], "gave up", "503")
    assert [found.ordinal for found in claim(database)] == [2]
    with database.write() as connection:
        delivery_transitions.sent(connection, "hook", "sender", {rows[1].id: None}, NOON)
    assert [found.ordinal for found in claim(database)] == [3]


def test_sent_row_is_final(database: Database) -> None:
    """A sent row has its time and note, no error and no lease, and is never claimed again."""
    put(database, make_delivery(), make_delivery("b"))
    first, second = claim(database)
    with database.write() as connection:
        delivery_transitions.retry(connection, first, NOON, "503")
        delivery_transitions.sent(
            connection, "hook", "sender", {first.id: "two refused", second.id: None}, NOON + SECOND
        )
        delivery_transitions.sent(connection, "hook", "sender", {}, NOON)
        assert outbox.count_sent(connection) == 2
    found = row(database, first)
    assert (found.status, found.sent_at, found.why, found.last_error) == (
        DeliveryStatus.SENT,
        NOON + SECOND,
        "two refused",
        None,
    )
    assert claim(database, NOON + 2 * LEASE) == []


def test_retry_delays_the_following_rows(database: Database) -> None:
    """A row that is retried is due at the given time, and so are the rows behind it, unless they are due later."""
    rows = [make_delivery(ordinal=n) for n in (1, 2)] + [make_delivery(ordinal=3, due_at=NOON + 9 * SECOND)]
    other = make_delivery("b")
    put(database, *rows, other)
    with database.write() as connection:
        delivery_transitions.retry(connection, rows[0], NOON + 5 * SECOND, "503")
    assert [(row(database, found).due_at - NOON) // SECOND for found in (*rows, other)] == [5, 5, 9, 0]
    assert row(database, rows[0]).last_error == "503"


def test_frozen_row_keeps_its_event(database: Database) -> None:
    """Freezing stores the body and the event; the event of a frozen row no longer changes."""
    row_two = make_delivery(ordinal=2, event=Event.UPDATED)
    put(database, make_delivery(), row_two)
    with database.write() as connection:
        delivery_transitions.freeze(connection, [])
        delivery_transitions.freeze(connection, [replace(row_two, event=Event.OPENED, body="{}")])
        assert not delivery_transitions.change_event(connection, "alert-1", "hook", Event.RESOLVED)
    assert (row(database, row_two).event, row(database, row_two).body) == (Event.OPENED, "{}")


def test_only_an_unattempted_update_becomes_a_resolve(database: Database) -> None:
    """Only an update that was not attempted becomes a resolve, and is due at once; an opened message stays."""
    update = make_delivery(ordinal=2, event=Event.UPDATED, due_at=NOON + LEASE)
    put(database, make_delivery(), update, make_delivery(receiver="other"))
    with database.write() as connection:
        assert delivery_transitions.change_event(connection, "alert-1", "hook", Event.RESOLVED)
        assert not delivery_transitions.change_event(connection, "alert-1", "hook", Event.RESOLVED)
        assert not delivery_transitions.change_event(connection, "alert-1", "other", Event.RESOLVED)
    assert (row(database, update).event, row(database, update).due_at) == (Event.RESOLVED, NOON)


def test_receiver_is_notified_after_any_sent_message(database: Database) -> None:
    """A receiver counts as notified of an alert after any sent message, even if the alert was deleted."""
    put(
        database,
        *(make_delivery(name, ordinal=ordinal) for name in "abc" for ordinal in (1, 2)),
        make_delivery("a", "other"),
    )
    with database.write() as connection:
        alerts.insert_new(connection, [(make_alert("a"), "a")])
        delivery_transitions.sent(connection, "hook", "sender", {make_delivery("a").id: None}, NOON)
        delivery_transitions.bury(connection, make_delivery("b"), "x")
        found = [outbox.read_due(connection, name, NOON, 9) for name in ("hook", "other")]
    assert {(each.delivery.alert_id, each.is_notified) for each in found[0]} == {
        ("a", True),
        ("b", False),
        ("c", False),
    }
    assert {each.alert for each in found[0] if each.delivery.alert_id != "a"} == {None}
    assert [(each.alert, each.is_notified) for each in found[1]] == [(make_alert("a"), False)]


def test_requeue_resets_dead_rows(database: Database) -> None:
    """Dead rows are pending again under their ids, reset except for their body; other rows do not change."""
    dead, other, alive = make_delivery("a"), make_delivery("b"), make_delivery("c")
    put(database, dead, other, alive)
    with database.write() as connection:
        delivery_transitions.freeze(connection, [replace(dead, body="{}")])
        for buried in (dead, other):
            delivery_transitions.bury(connection, buried, "gave up", "503")
        assert outbox.find(connection, limit=9, is_dead=True, receiver="none") == []
        assert len(outbox.find(connection, limit=9, is_dead=True)) == 2
        assert (
            delivery_transitions.requeue(connection, DeliveryFilter([dead.id, alive.id, "unknown"]), NOON + LEASE) == 1
        )
        assert outbox.count_queues(connection) == {"hook": Queue(pending=2, dead=1)}
        assert delivery_transitions.requeue(connection, DeliveryFilter(), NOON + LEASE) == 1
    found = row(database, dead)
    assert (found.status, found.attempts, found.body, found.why) == (DeliveryStatus.PENDING, 0, "{}", None)
    assert (found.due_at, found.started_at, found.created_at) == (NOON + LEASE, NOON + LEASE, NOON)


@pytest.mark.parametrize(("body", "status"), [(None, DeliveryStatus.SUPPRESSED), ("{}", DeliveryStatus.PENDING)])
def test_requeued_end_behind_an_escalation(database: Database, body: str | None, status: DeliveryStatus) -> None:
    """A suppressed end is requeued with the escalation before it only if that was attempted."""
    escalation = make_delivery(ordinal=-1, event=Event.UPDATED)
    end = make_delivery(ordinal=2, event=Event.RESOLVED)
    put(database, escalation, end)
    with database.write() as connection:
        delivery_transitions.suppress(connection, [Suppression(end, NOT_NOTIFIED)])
        delivery_transitions.freeze(connection, [replace(escalation, body=body)])
        delivery_transitions.bury(connection, escalation, "gave up")
        delivery_transitions.requeue(connection, DeliveryFilter(), NOON)
    assert row(database, end).status is status


def test_rows_of_unknown_receivers_are_made_dead(database: Database) -> None:
    """Receivers that are not configured are listed while rows wait for them; these rows become dead with the reason."""
    sent, waiting = make_delivery("a", "gone"), make_delivery("b", "gone")
    put(database, sent, waiting, make_delivery("c"))
    with database.write() as connection:
        delivery_transitions.sent(connection, "gone", "sender", {sent.id: None}, NOON)
        assert outbox.read_unknown_receivers(connection, ["hook"]) == ["gone"]
        assert outbox.read_unknown_receivers(connection, []) == ["gone", "hook"]
        assert delivery_transitions.bury_all(connection, "gone", "no longer configured") == [("b", Event.OPENED)]
        assert delivery_transitions.bury_all(connection, "gone", "no longer configured") == []
        assert outbox.read_unknown_receivers(connection, ["hook"]) == []
        assert outbox.count_dead_letters(connection, DeliveryFilter(), excluding=["hook"]) == {"gone": 1}
        assert outbox.count_dead_letters(connection, DeliveryFilter(), excluding=["gone"]) == {}
    assert row(database, waiting).why == "no longer configured"
    assert row(database, sent).status is DeliveryStatus.SENT


def test_queues_count_pending_and_dead_rows(database: Database) -> None:
    """Queues count pending and dead rows, not sent or suppressed ones."""
    rows = [make_delivery(name) for name in "abcd"]
    put(database, *rows, make_delivery("a", "other"))
    with database.write() as connection:
        delivery_transitions.sent(connection, "hook", "sender", {rows[0].id: None}, NOON)
        delivery_transitions.bury(connection, rows[1], "x")
        delivery_transitions.suppress(connection, [Suppression(rows[2], "why")])
        assert outbox.count_queues(connection) == {"hook": Queue(1, 1), "other": Queue(1, 0)}
    assert (row(database, rows[2]).status, row(database, rows[2]).why) == (DeliveryStatus.SUPPRESSED, "why")


def test_escalations_count_once_they_are_dead(database: Database) -> None:
    """A pending escalation may never be needed, so that only a dead one counts in its queue."""
    pending, dead = make_delivery(ordinal=-1, event=Event.UPDATED), make_delivery("b", ordinal=-1, event=Event.UPDATED)
    put(database, pending, dead)
    with database.write() as connection:
        delivery_transitions.bury(connection, dead, "x")
        assert outbox.count_queues(connection) == {"hook": Queue(0, 1)}


def test_waiting(database: Database) -> None:
    """Pending rows are counted by receiver, those that failed before separately; escalations are left out."""
    rows = [make_delivery(name, due_at=NOON + n * SECOND) for n, name in enumerate("dcba")]
    put(database, *rows, make_delivery("d", ordinal=-1), make_delivery("a", "other"))
    with database.write() as connection:
        delivery_transitions.sent(connection, "hook", "sender", {rows[0].id: None}, NOON)
        delivery_transitions.retry(connection, rows[1], NOON + LEASE, "503")
        assert outbox.read_waiting(connection) == [
            Waiting("hook", has_failed=False, count=2, due_at=NOON + 2 * SECOND),
            Waiting("hook", has_failed=True, count=1, due_at=NOON + LEASE),
            Waiting("other", has_failed=False, count=1, due_at=NOON),
        ]


def test_filters(database: Database) -> None:
    """Each key of a filter selects exactly the rows that it names."""
    old, new = make_delivery("a", created_at=NOON - SECOND), make_delivery("b", "other")
    put(database, old, new)
    with database.write() as connection:
        for each in (old, new):
            delivery_transitions.bury(connection, each, "gave up")
        for wanted, found in (
            (DeliveryFilter(), [old, new]),
            (DeliveryFilter(since=NOON), [new]),
            (DeliveryFilter(since=NOON - SECOND), [old, new]),
            (DeliveryFilter(receiver="hook"), [old]),
            (DeliveryFilter([new.id]), [new]),
            (DeliveryFilter([]), []),
            (DeliveryFilter(status=DeliveryStatus.SENT), [old, new]),  # it asks for dead letters alone
        ):
            assert [each.id for each in outbox.read_dead_letters(connection, wanted)] == [each.id for each in found]
            assert outbox.read_dead_ids(connection, wanted) == [each.id for each in found]
        assert [each.id for each in outbox.find(connection, limit=9)] == [new.id, old.id]
        assert [each.id for each in outbox.find(connection, limit=1)] == [new.id]
        assert [each.id for each in outbox.read_by_prefix(connection, old.id[:30])] == [old.id]
        assert outbox.read_by_prefix(connection, "_" + old.id[1:]) == []
        assert outbox.has_ordinal(connection, "a", "hook", 1)
        for place in (("b", "hook", 1), ("a", "other", 1), ("a", "hook", 2)):
            assert not outbox.has_ordinal(connection, *place)


def test_leased_rows(database: Database) -> None:
    """Rows under a lease are counted for each receiver. Those of processes that live are not released."""
    put(database, make_delivery(), make_delivery("b"), make_delivery("c", "other"), make_delivery("d", "sent"))
    claim(database)
    (row_sent,) = claim(database, receiver="sent")
    with database.write() as connection:
        delivery_transitions.sent(connection, "sent", "sender", {row_sent.id: None}, NOON)
        assert [
            receivers.read_availability(connection, "hook", NOON + at, most).leased_count
            for at, most in ((LEASE, 9), (LEASE, 1))
        ] == [
            2,
            1,
        ]
        assert receivers.read_availability(connection, "hook", NOON + LEASE + SECOND, 9).leased_count == 0
        assert delivery_transitions.release_left(connection, ("sender",)) == {}
        assert delivery_transitions.release_left(connection, ("another",)) == {"hook": 2}


def test_last_row_of_each_receiver(database: Database) -> None:
    """The last row of each receiver has the highest ordinal; the rows of an alert are sorted by receiver and ordinal."""
    put(database, *(make_delivery(ordinal=n) for n in (1, 3, 2)), make_delivery(receiver="a"), make_delivery("b"))
    with database.read() as connection:
        last = {name: found.last for name, found in receiver_progress.read(connection, "alert-1").items()}
        assert {name: found and found.ordinal for name, found in last.items()} == {"a": 1, "hook": 3}
        every = outbox.read_of_alert(connection, "alert-1")
        assert [(found.receiver, found.ordinal) for found in every] == [("a", 1), ("hook", 1), ("hook", 2), ("hook", 3)]
        assert outbox.read(connection, "unknown") is None


def test_retention_deletes_only_old_final_rows(database: Database) -> None:
    """Only final rows that are old enough are deleted, up to a limit."""
    rows = [make_delivery(name, created_at=NOON - timedelta(days=at)) for name, at in (("a", 2), ("b", 2), ("c", 0))]
    put(database, *rows, make_delivery("d", created_at=NOON - timedelta(days=9)))
    with database.write() as connection:
        delivery_transitions.sent(connection, "hook", "sender", {found.id: None for found in rows}, NOON)
        before = NOON - timedelta(days=1)
        assert [retention.delete_deliveries(connection, before, before, NOON, 1) for _ in range(3)] == [1, 1, 0]
        assert [found.alert_id for found in outbox.find(connection, limit=9)] == ["c", "d"]


def test_latency_is_that_of_the_first_accepted_message(database: Database) -> None:
    """The times of an alert are those of its first accepted message."""
    put(database, make_delivery(), make_delivery(receiver="other"))
    with database.write() as connection:
        alerts.insert_new(connection, [(make_alert(opened_at=NOON + SECOND), "group")])
        delivery_transitions.sent(connection, "hook", "sender", {make_delivery().id: None}, NOON + 3 * SECOND)
        delivery_transitions.sent(
            connection, "other", None, {make_delivery(receiver="other").id: None}, NOON + 2 * SECOND
        )
        found = outbox.delivered_latencies(connection, 10)
    assert found == [(NOON, NOON + SECOND, NOON + 2 * SECOND)]


# -- speed -------------------------------------------------------------------------------------------------------------

ROWS = 500  # SQLite plans with the indexes alone, so more rows would only take longer


@pytest.fixture
def crowded(database: Database) -> Database:
    """Fill the outbox with thousands of rows that are due at the same time, and as many sent ones."""
    put(database, *(make_delivery(f"p{n}") for n in range(ROWS)))
    put(database, *(make_delivery(f"s{n}") for n in range(ROWS)))
    with database.write() as connection:
        delivery_transitions.sent(
            connection, "hook", None, {make_delivery(f"s{n}").id: None for n in range(ROWS)}, NOON
        )
        records.insert_new(connection, [make_record(n) for n in range(ROWS)])
        alerts.join(connection, [(f"p{n}", n + 1, NOON) for n in range(ROWS)])
    return database


def plans(database: Database, ask: Callable[[Connection], object]) -> Iterable[tuple[str, str]]:
    """Return the SQL and the plan of each statement that a query runs."""
    only_sqlite(database)
    statements: list[tuple[str, object]] = []
    with database.write() as connection:

        def note(_: object, __: object, statement: str, parameters: object, ___: object, ____: object) -> None:
            statements.append((statement, parameters))

        event.listen(connection, "before_cursor_execute", note)
        ask(connection)
        event.remove(connection, "before_cursor_execute", note)
        for statement, parameters in statements:
            given = parameters[0] if isinstance(parameters, list) else parameters
            steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given)  # type: ignore[arg-type]
            yield statement, "\n".join(step[3] for step in steps)


QUESTIONS: dict[str, Callable[[Connection], object]] = {
    "claim": lambda c: lease_due(c, "hook", NOON, 8),
    "next_due": lambda c: outbox.next_due(c, "hook", NOON),
    "change_event": lambda c: delivery_transitions.change_event(c, "p1", "hook", Event.RESOLVED),
    "retry": lambda c: delivery_transitions.retry(c, make_delivery("p1"), NOON, "x"),
    "sent": lambda c: delivery_transitions.sent(
        c, "hook", None, {make_delivery(f"p{n}").id: None for n in range(8)}, NOON
    ),
    "freeze": lambda c: delivery_transitions.freeze(c, [make_delivery("p1", body="{}")]),
    "bury": lambda c: delivery_transitions.bury(c, make_delivery("p1"), "x"),
    "suppress": lambda c: delivery_transitions.suppress(c, [Suppression(make_delivery("p1"), "mute", None, "mute")]),
    "summarise": lambda c: delivery_transitions.summarise(c, "hook", [SummaryGroup("mute", None, (), NOON)], "s", NOON),
    "readdress": lambda c: delivery_transitions.readdress(c, make_delivery("p1"), "new", 1, Event.OPENED, NOON),
    "progress": lambda c: receiver_progress.read(c, "p1"),
    "leased": lambda c: receivers.read_availability(c, "hook", NOON, 8).leased_count,
    "release": lambda c: delivery_transitions.release_left(c, ()),
    "queues": outbox.count_queues,
    "records of alerts": lambda c: records.read_of_alerts(c, ["p1", "p2"], 50),
    "joined": lambda c: alerts.read_joined(c, {1, 2, 3}),
    "retention": lambda c: records.delete_older(c, NOON, 2000, 10),
    "settled": lambda c: alerts.delete_settled(c, NOON, NOON + timedelta(hours=1), 10),
}


@in_one_test("name", QUESTIONS)
def test_no_query_scans_the_table(crowded: Database, name: str) -> None:
    """No query of the running service reads a whole table or sorts the pending rows."""
    for statement, plan in plans(crowded, QUESTIONS[name]):
        scans = [
            line
            for line in plan.splitlines()
            if line.startswith("SCAN") and not re.search(r"subquery|anon_\d|CONSTANT|given|VALUES", line)
        ]
        # `young` reads records by id and stops at the first that is kept.
        if name == "retention":
            scans = [line for line in scans if not line.startswith("SCAN record")]
        assert scans == [], (statement, plan)
        if name in ("claim", "next_due"):
            assert "TEMP B-TREE" not in plan, (statement, plan)
            # Once: other rows of the same alert are found by the alert.
            by_id = ("UPDATE", "SELECT id, alert_id, ", "INSERT")  # the rows that were claimed, and their versions
            assert plan.count("delivery_by_due") == 1 or statement.startswith(by_id), (statement, plan)
        if name == "leased":
            assert "delivery_leased" in plan, (statement, plan)


ONE_ROW = ["change_event", "progress", "retry", "sent", "freeze", "bury", "suppress", "summarise", "readdress"]


@in_one_test("name", ONE_ROW)
def test_rows_of_an_alert_are_found_by_its_index(crowded: Database, name: str) -> None:
    """Queries about one alert use its index, not all sent or pending rows."""
    for statement, plan in plans(crowded, QUESTIONS[name]):
        assert "delivery_by_due" not in plan, (statement, plan)


def test_claim_skips_rows_that_ended(database: Database) -> None:
    """A claim skips a row that ended before it, which would otherwise be sent twice."""
    ended, waits = make_delivery("a"), make_delivery("b")
    put(database, ended, waits)
    with database.write() as connection:
        delivery_transitions.sent(connection, "hook", "sender", {ended.id: None}, NOON)
        claimed = delivery_transitions.claim(connection, [ended, waits], NOON + LEASE, "sender")
    assert claimed == [replace(waits, attempts=1, leased_by="sender")]
    assert row(database, ended).attempts == 0


def test_retried_escalation_does_not_delay_its_alert(database: Database) -> None:
    """An escalation that failed does not delay the messages of its alert."""
    escalation, update = make_delivery(ordinal=-1), make_delivery(ordinal=2, event=Event.UPDATED)
    put(database, escalation, update)
    with database.write() as connection:
        delivery_transitions.retry(connection, escalation, NOON + LEASE, "503")
    assert row(database, escalation).due_at == NOON + LEASE
    assert row(database, update) == update


@pytest.mark.parametrize(("event", "due_at"), [(Event.ACKED, NOON + LEASE), (Event.RESOLVED, NOON)])
def test_changed_event_keeps_or_moves_the_due_time(database: Database, event: Event, due_at: datetime) -> None:
    """An acknowledgement keeps the due time of the update that it replaces; a resolve is due at once."""
    update = make_delivery(event=Event.UPDATED, due_at=NOON + LEASE)
    put(database, update)
    with database.write() as connection:
        assert delivery_transitions.change_event(connection, update.alert_id, "hook", event)
    assert row(database, update) == replace(update, event=event, due_at=due_at)


def test_dead_letter_keeps_its_last_error(database: Database) -> None:
    """A dead letter shows the error of its last attempt."""
    letter = make_delivery()
    put(database, letter)
    with database.write() as connection:
        delivery_transitions.bury(connection, letter, "refused", "404")
    assert row(database, letter) == replace(letter, status=DeliveryStatus.DEAD, why="refused", last_error="404")


def test_readdressing_keeps_the_link_to_the_fallback(database: Database) -> None:
    """A row that is not dead does not change; a fallback delivery refers to the row that stays."""
    letter = make_delivery()
    copy = make_delivery(receiver="mail", fallback_of=letter.id)
    put(database, letter, copy)
    with database.write() as connection:
        delivery_transitions.readdress(connection, letter, "pager", 1, letter.event, NOON)
        assert set(outbox.read_of_alert(connection, letter.alert_id)) == {letter, copy}
        delivery_transitions.bury(connection, letter, "refused")
        delivery_transitions.readdress(connection, letter, "pager", 1, letter.event, NOON)
    original = row(database, copy).fallback_of
    assert original not in (None, letter.id)
    with database.read() as connection:
        left = outbox.read(connection, str(original))
    assert left is not None
    assert (left.receiver, left.status, left.ref) == ("hook", DeliveryStatus.SUPPRESSED, "pager")


@pytest.mark.parametrize(("awaits", "reported"), [("digest", {"early"}), ("silence", {"early", "late"})])
def test_summary_contains_the_right_rows(database: Database, awaits: str, reported: set[str]) -> None:
    """A digest contains only rows that are due; the summary of a silence contains all."""
    rows = [make_delivery("early"), make_delivery("late", due_at=NOON + LEASE)]
    put(database, *rows)
    with database.write() as connection:
        delivery_transitions.suppress(connection, [Suppression(each, awaits, None, awaits) for each in rows])
        group = SummaryGroup(awaits, None, (), NOON)
        delivery_transitions.summarise(connection, "hook", [group], "summary", NOON)
    assert {each.alert_id for each in rows if row(database, each).awaits is None} == reported
