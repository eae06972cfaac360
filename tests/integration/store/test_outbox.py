"""The outbox: leases, the order within alert and receiver, ends, and questions that stay quick when it is long."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, event

from actionwatch.base.delivery import NOT_NOTIFIED, Delivery, DeliveryStatus
from actionwatch.base.model import Event
from actionwatch.store import alerts, delivery_transitions, outbox, receiver_progress, records, retention
from actionwatch.store.database import Database
from actionwatch.store.delivery_transitions import Suppression
from actionwatch.store.outbox import DeliveryFilter, Queue, Waiting
from actionwatch.store.suppressed_deliveries import SummaryGroup
from tests.builders import NOON, lease_due, make_alert, make_delivery, make_record

LEASE = timedelta(minutes=5)
SECOND = timedelta(seconds=1)


def put(database: Database, *rows: Delivery) -> int:
    """Put rows into the outbox."""
    with database.write() as connection:
        return delivery_transitions.enqueue(connection, rows)


def claim(database: Database, at: datetime = NOON, limit: int = 10, receiver: str = "hook") -> list[Delivery]:
    """Claim at a time."""
    with database.write() as connection:
        return lease_due(connection, receiver, at, limit)


def row(database: Database, delivery: Delivery) -> Delivery:
    """Read a row that is there."""
    with database.read() as connection:
        found = outbox.read(connection, delivery.id)
    assert found is not None
    return found


def test_known_rows_are_skipped(database: Database) -> None:
    """A row that is there already is not put in again, nor a second one of its place in the order."""
    first = make_delivery()
    assert put(database, first) == 1
    assert put(database, replace(first, event=Event.UPDATED), make_delivery(ordinal=2)) == 1
    assert put(database, replace(first, id="other")) == 0
    assert row(database, first) == first


def test_claim(database: Database) -> None:
    """What is due is claimed once, longest due first, so many at most, for this receiver, and counts as an attempt."""
    rows = [make_delivery(f"a{n}", due_at=NOON - n * SECOND) for n in range(4)]
    put(database, *rows, make_delivery("x", due_at=NOON + SECOND), make_delivery("a1", "other"))
    assert claim(database, limit=3) == [replace(found, attempts=1) for found in (rows[3], rows[2], rows[1])]
    assert [found.alert_id for found in claim(database)] == ["a0"]
    assert claim(database) == []
    assert row(database, rows[0]).attempts == 1


def test_lease_runs_out(database: Database) -> None:
    """A claim that nobody ended is claimable again after its lease, not before; releasing gives it back at once."""
    put(database, make_delivery())
    claim(database)
    assert claim(database, NOON + LEASE) == []
    assert [found.attempts for found in claim(database, NOON + LEASE + SECOND)] == [2]
    with database.write() as connection:
        assert delivery_transitions.release(connection) == 1
        assert delivery_transitions.release(connection) == 0
    assert [found.attempts for found in claim(database, NOON + LEASE + SECOND)] == [3]


def test_order(database: Database) -> None:
    """A row waits while an earlier one of its alert and receiver is pending; a dead or sent one frees it."""
    rows = [make_delivery(ordinal=n, due_at=NOON - n * SECOND) for n in (1, 2, 3)]
    put(database, *rows, make_delivery("other", ordinal=2))
    assert sorted(found.alert_id for found in claim(database)) == ["alert-1", "other"]
    with database.write() as connection:
        assert outbox.next_due(connection, "hook", NOON) is None
        delivery_transitions.bury(connection, rows[0].id, "gave up", "503")
    assert [found.ordinal for found in claim(database)] == [2]
    with database.write() as connection:
        delivery_transitions.sent(connection, "hook", {rows[1].id: None}, NOON)
    assert [found.ordinal for found in claim(database)] == [3]


def test_sent(database: Database) -> None:
    """A sent row says when, keeps its note, forgets earlier errors and its lease, and is never claimed again."""
    put(database, make_delivery(), make_delivery("b"))
    first, second = claim(database)
    with database.write() as connection:
        delivery_transitions.retry(connection, first, NOON, "503")
        delivery_transitions.sent(connection, "hook", {first.id: "two refused", second.id: None}, NOON + SECOND)
        delivery_transitions.sent(connection, "hook", {}, NOON)
        assert outbox.count_sent(connection) == 2
    found = row(database, first)
    assert (found.status, found.sent_at, found.why, found.last_error) == (
        DeliveryStatus.SENT,
        NOON + SECOND,
        "two refused",
        None,
    )
    assert claim(database, NOON + 2 * LEASE) == []


def test_retry_holds_back_what_follows(database: Database) -> None:
    """A row put back is due when said, and so is what waits behind it, unless that is due later still."""
    rows = [make_delivery(ordinal=n) for n in (1, 2)] + [make_delivery(ordinal=3, due_at=NOON + 9 * SECOND)]
    other = make_delivery("b")
    put(database, *rows, other)
    with database.write() as connection:
        delivery_transitions.retry(connection, rows[0], NOON + 5 * SECOND, "503")
    assert [(row(database, found).due_at - NOON) // SECOND for found in (*rows, other)] == [5, 5, 9, 0]
    assert row(database, rows[0]).last_error == "503"


def test_freeze(database: Database) -> None:
    """What a message says is fixed with what it turned out to be; frozen rows are no longer turned."""
    row_two = make_delivery(ordinal=2, event=Event.UPDATED)
    put(database, make_delivery(), row_two)
    with database.write() as connection:
        delivery_transitions.freeze(connection, [])
        delivery_transitions.freeze(connection, [replace(row_two, event=Event.OPENED, body="{}")])
        assert not delivery_transitions.change_event(connection, "alert-1", "hook", Event.RESOLVED)
    assert (row(database, row_two).event, row(database, row_two).body) == (Event.OPENED, "{}")


def test_change_event(database: Database) -> None:
    """Only an update that nobody tried becomes a resolve, at once due; an opened stays what it is."""
    update = make_delivery(ordinal=2, event=Event.UPDATED, due_at=NOON + LEASE)
    put(database, make_delivery(), update, make_delivery(receiver="other"))
    with database.write() as connection:
        assert delivery_transitions.change_event(connection, "alert-1", "hook", Event.RESOLVED)
        assert not delivery_transitions.change_event(connection, "alert-1", "hook", Event.RESOLVED)
        assert not delivery_transitions.change_event(connection, "alert-1", "other", Event.RESOLVED)
    assert (row(database, update).event, row(database, update).due_at) == (Event.RESOLVED, NOON)


def test_notified(database: Database) -> None:
    """A receiver was told of an alert when it took any message of it, and only that receiver; the alert may be gone."""
    put(
        database,
        *(make_delivery(name, ordinal=ordinal) for name in "abc" for ordinal in (1, 2)),
        make_delivery("a", "other"),
    )
    with database.write() as connection:
        alerts.insert_new(connection, [(make_alert("a"), "a")])
        delivery_transitions.sent(connection, "hook", {make_delivery("a").id: None}, NOON)
        delivery_transitions.bury(connection, make_delivery("b").id, "x")
        found = [outbox.read_due(connection, name, NOON, 9) for name in ("hook", "other")]
    assert {(each.delivery.alert_id, each.is_notified) for each in found[0]} == {
        ("a", True),
        ("b", False),
        ("c", False),
    }
    assert {each.alert for each in found[0] if each.delivery.alert_id != "a"} == {None}
    assert [(each.alert, each.is_notified) for each in found[1]] == [(make_alert("a"), False)]


def test_requeue(database: Database) -> None:
    """Dead rows are pending again under their ids, fresh but for what they say; others are left alone."""
    dead, other, alive = make_delivery("a"), make_delivery("b"), make_delivery("c")
    put(database, dead, other, alive)
    with database.write() as connection:
        delivery_transitions.freeze(connection, [replace(dead, body="{}")])
        for buried in (dead, other):
            delivery_transitions.bury(connection, buried.id, "gave up", "503")
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
    """A suppressed end is requeued although only an escalation that was never attempted is pending, or is not otherwise."""
    escalation = make_delivery(ordinal=-1, event=Event.UPDATED)
    end = make_delivery(ordinal=2, event=Event.RESOLVED)
    put(database, escalation, end)
    with database.write() as connection:
        delivery_transitions.suppress(connection, [Suppression(end, NOT_NOTIFIED)])
        delivery_transitions.freeze(connection, [replace(escalation, body=body)])
        delivery_transitions.requeue(connection, DeliveryFilter(), NOON)
    assert row(database, end).status is status


def test_unknown_receivers(database: Database) -> None:
    """Receivers that are not configured are named while something waits for them; what waits is buried with the reason."""
    sent, waiting = make_delivery("a", "gone"), make_delivery("b", "gone")
    put(database, sent, waiting, make_delivery("c"))
    with database.write() as connection:
        delivery_transitions.sent(connection, "gone", {sent.id: None}, NOON)
        assert outbox.read_unknown_receivers(connection, ["hook"]) == ["gone"]
        assert outbox.read_unknown_receivers(connection, []) == ["gone", "hook"]
        assert delivery_transitions.bury_all(connection, "gone", "no longer configured") == [("b", Event.OPENED)]
        assert delivery_transitions.bury_all(connection, "gone", "no longer configured") == []
        assert outbox.read_unknown_receivers(connection, ["hook"]) == []
        assert outbox.count_dead_letters(connection, DeliveryFilter(), besides=["hook"]) == {"gone": 1}
        assert outbox.count_dead_letters(connection, DeliveryFilter(), besides=["gone"]) == {}
    assert row(database, waiting).why == "no longer configured"
    assert row(database, sent).status is DeliveryStatus.SENT


def test_queues(database: Database) -> None:
    """Queues count what waits and what is dead, not what was sent or suppressed."""
    rows = [make_delivery(name) for name in "abcd"]
    put(database, *rows, make_delivery("a", "other"))
    with database.write() as connection:
        delivery_transitions.sent(connection, "hook", {rows[0].id: None}, NOON)
        delivery_transitions.bury(connection, rows[1].id, "x")
        delivery_transitions.suppress(connection, [Suppression(rows[2], "why")])
        assert outbox.count_queues(connection) == {"hook": Queue(1, 1), "other": Queue(1, 0)}
    assert (row(database, rows[2]).status, row(database, rows[2]).why) == (DeliveryStatus.SUPPRESSED, "why")


def test_waiting(database: Database) -> None:
    """What waits is counted with what was sent, an escalation counts, or what failed before is not shown apart."""
    rows = [make_delivery(name, due_at=NOON + n * SECOND) for n, name in enumerate("dcba")]
    put(database, *rows, make_delivery("d", ordinal=-1), make_delivery("a", "other"))
    with database.write() as connection:
        delivery_transitions.sent(connection, "hook", {rows[0].id: None}, NOON)
        delivery_transitions.retry(connection, rows[1], NOON + LEASE, "503")
        assert outbox.read_waiting(connection) == [
            Waiting("hook", has_failed=False, count=2, due_at=NOON + 2 * SECOND),
            Waiting("hook", has_failed=True, count=1, due_at=NOON + LEASE),
            Waiting("other", has_failed=False, count=1, due_at=NOON),
        ]


def test_filters(database: Database) -> None:
    """A filter finds rows that it does not name, or not those that it names."""
    old, new = make_delivery("a", created_at=NOON - SECOND), make_delivery("b", "other")
    put(database, old, new)
    with database.write() as connection:
        for each in (old, new):
            delivery_transitions.bury(connection, each.id, "gave up")
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
        assert [each.id for each in outbox.find(connection, limit=9)] == [new.id, old.id]
        assert [each.id for each in outbox.find(connection, limit=1)] == [new.id]
        assert [each.id for each in outbox.read_by_prefix(connection, old.id[:30])] == [old.id]
        assert outbox.read_by_prefix(connection, "_" + old.id[1:]) == []
        assert outbox.has_ordinal(connection, "a", "hook", 1)
        for place in (("b", "hook", 1), ("a", "other", 1), ("a", "hook", 2)):
            assert not outbox.has_ordinal(connection, *place)


def test_leaseholders(database: Database) -> None:
    """A receiver to which nothing is being sent counts as one that a dead process was sending to."""
    put(database, make_delivery(), make_delivery("b"), make_delivery("c", "other"), make_delivery("d", "sent"))
    claim(database)
    (row_sent,) = claim(database, receiver="sent")
    with database.write() as connection:
        delivery_transitions.sent(connection, "sent", {row_sent.id: None}, NOON)
        assert outbox.read_leaseholders(connection) == ["hook"]
        assert [outbox.count_leased(connection, "hook", NOON + at, most) for at, most in ((LEASE, 9), (LEASE, 1))] == [
            2,
            1,
        ]
        assert outbox.count_leased(connection, "hook", NOON + LEASE + SECOND, 9) == 0


def test_last_rows(database: Database) -> None:
    """The last row of each receiver is the one of the highest ordinal; all of an alert come by receiver and order."""
    put(database, *(make_delivery(ordinal=n) for n in (1, 3, 2)), make_delivery(receiver="a"), make_delivery("b"))
    with database.read() as connection:
        last = {name: found.last for name, found in receiver_progress.read(connection, "alert-1").items()}
        assert {name: found and found.ordinal for name, found in last.items()} == {"a": 1, "hook": 3}
        every = outbox.read_of_alert(connection, "alert-1")
        assert [(found.receiver, found.ordinal) for found in every] == [("a", 1), ("hook", 1), ("hook", 2), ("hook", 3)]
        assert outbox.read(connection, "unknown") is None


def test_retention(database: Database) -> None:
    """Only rows that ended are deleted, when they are old enough, so many at a time."""
    rows = [make_delivery(name, created_at=NOON - timedelta(days=at)) for name, at in (("a", 2), ("b", 2), ("c", 0))]
    put(database, *rows, make_delivery("d", created_at=NOON - timedelta(days=9)))
    with database.write() as connection:
        delivery_transitions.sent(connection, "hook", {found.id: None for found in rows}, NOON)
        before = NOON - timedelta(days=1)
        assert [retention.delete_deliveries(connection, before, before, NOON, 1) for _ in range(3)] == [1, 1, 0]
        assert [found.alert_id for found in outbox.find(connection, limit=9)] == ["c", "d"]


def test_latencies(database: Database) -> None:
    """The times of an alert are those of its first message that was taken."""
    put(database, make_delivery(), make_delivery(receiver="other"))
    with database.write() as connection:
        alerts.insert_new(connection, [(make_alert(opened_at=NOON + SECOND), "group")])
        delivery_transitions.sent(connection, "hook", {make_delivery().id: None}, NOON + 3 * SECOND)
        delivery_transitions.sent(connection, "other", {make_delivery(receiver="other").id: None}, NOON + 2 * SECOND)
        found = outbox.delivered_latencies(connection, 10)
    assert found == [(NOON, NOON + SECOND, NOON + 2 * SECOND)]


# -- what must stay quick ----------------------------------------------------------------------------------------------

ROWS = 500  # SQLite plans by the indexes alone: more would only take longer


@pytest.fixture
def crowded(database: Database) -> Database:
    """Fill the outbox: thousands pending and due in one instant, as many sent."""
    put(database, *(make_delivery(f"p{n}") for n in range(ROWS)))
    put(database, *(make_delivery(f"s{n}") for n in range(ROWS)))
    with database.write() as connection:
        delivery_transitions.sent(connection, "hook", {make_delivery(f"s{n}").id: None for n in range(ROWS)}, NOON)
        records.insert_new(connection, [make_record(n) for n in range(ROWS)])
        alerts.join(connection, [(f"p{n}", n + 1) for n in range(ROWS)])
    return database


def plans(database: Database, ask: Callable[[Connection], object]) -> Iterable[tuple[str, str]]:
    """Give the SQL and the plan of every statement that a question makes."""
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
    "sent": lambda c: delivery_transitions.sent(c, "hook", {make_delivery(f"p{n}").id: None for n in range(8)}, NOON),
    "freeze": lambda c: delivery_transitions.freeze(c, [make_delivery("p1", body="{}")]),
    "bury": lambda c: delivery_transitions.bury(c, make_delivery("p1").id, "x"),
    "suppress": lambda c: delivery_transitions.suppress(c, [Suppression(make_delivery("p1"), "mute", None, "mute")]),
    "summarise": lambda c: delivery_transitions.summarise(c, "hook", [SummaryGroup("mute", None, (), NOON)], "s", NOON),
    "readdress": lambda c: delivery_transitions.readdress(c, make_delivery("p1"), "new", 1, Event.OPENED, NOON),
    "progress": lambda c: receiver_progress.read(c, "p1"),
    "leased": lambda c: outbox.count_leased(c, "hook", NOON, 8),
    "release": delivery_transitions.release,
    "queues": outbox.count_queues,
    "records of alerts": lambda c: records.read_of_alerts(c, ["p1", "p2"], 50),
    "joined": lambda c: alerts.read_joined(c, {1, 2, 3}),
    "retention": lambda c: records.delete_older(c, NOON, 2000, 10),
    "settled": lambda c: alerts.delete_settled(c, NOON, NOON + timedelta(hours=1), 10),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_no_scan(crowded: Database, name: str) -> None:
    """No question of the running service reads a whole table, nor sorts what is pending."""
    for statement, plan in plans(crowded, QUESTIONS[name]):
        scans = [
            line
            for line in plan.splitlines()
            if line.startswith("SCAN") and not re.search("subquery|anon_1|CONSTANT|given|VALUES", line)
        ]
        # `young` walks records by id and stops at the first that is kept.
        if name == "retention":
            scans = [line for line in scans if not line.startswith("SCAN record")]
        assert scans == [], (statement, plan)
        if name in ("claim", "next_due"):
            assert "TEMP B-TREE" not in plan, (statement, plan)
            # Once: what is asked of the same alert's other rows is found by the alert.
            assert plan.count("delivery_by_due") == 1 or statement.startswith("UPDATE"), (statement, plan)
        if name == "leased":
            assert "delivery_leased" in plan, (statement, plan)


ONE_ROW = ["change_event", "progress", "retry", "sent", "freeze", "bury", "suppress", "summarise", "readdress"]


@pytest.mark.parametrize("name", ONE_ROW)
def test_by_alert(crowded: Database, name: str) -> None:
    """What concerns one alert is found by it, not among all that was ever sent or waits."""
    for statement, plan in plans(crowded, QUESTIONS[name]):
        assert "delivery_by_due" not in plan, (statement, plan)


def test_claim_of_rows_that_ended(database: Database) -> None:
    """A claim leaves out a row that ended before it, which would otherwise be sent twice."""
    ended, waits = make_delivery("a"), make_delivery("b")
    put(database, ended, waits)
    with database.write() as connection:
        delivery_transitions.sent(connection, "hook", {ended.id: None}, NOON)
        claimed = delivery_transitions.claim(connection, [ended, waits], NOON + LEASE)
    assert claimed == [replace(waits, attempts=1)]
    assert row(database, ended).attempts == 0


def test_retry_of_an_escalation(database: Database) -> None:
    """An escalation that failed does not delay the messages of its alert."""
    escalation, update = make_delivery(ordinal=-1), make_delivery(ordinal=2, event=Event.UPDATED)
    put(database, escalation, update)
    with database.write() as connection:
        delivery_transitions.retry(connection, escalation, NOON + LEASE, "503")
    assert row(database, escalation).due_at == NOON + LEASE
    assert row(database, update) == update


@pytest.mark.parametrize(("event", "due_at"), [(Event.ACKED, NOON + LEASE), (Event.RESOLVED, NOON)])
def test_due_time_of_a_changed_event(database: Database, event: Event, due_at: datetime) -> None:
    """An acknowledgement keeps the wait of the update that it replaces; a resolution is due at once."""
    update = make_delivery(event=Event.UPDATED, due_at=NOON + LEASE)
    put(database, update)
    with database.write() as connection:
        assert delivery_transitions.change_event(connection, update.alert_id, "hook", event)
    assert row(database, update) == replace(update, event=event, due_at=due_at)


def test_bury_keeps_the_error(database: Database) -> None:
    """A dead letter shows the error of its last attempt."""
    letter = make_delivery()
    put(database, letter)
    with database.write() as connection:
        delivery_transitions.bury(connection, letter.id, "refused", "404")
    assert row(database, letter) == replace(letter, status=DeliveryStatus.DEAD, why="refused", last_error="404")


def test_readdress_keeps_the_copy_of_a_fallback(database: Database) -> None:
    """A row that is not dead stays as it is; the copy of a fallback names the row in the old place."""
    letter = make_delivery()
    copy = make_delivery(receiver="mail", fallback_of=letter.id)
    put(database, letter, copy)
    with database.write() as connection:
        delivery_transitions.readdress(connection, letter, "pager", 1, letter.event, NOON)
        assert set(outbox.read_of_alert(connection, letter.alert_id)) == {letter, copy}
        delivery_transitions.bury(connection, letter.id, "refused")
        delivery_transitions.readdress(connection, letter, "pager", 1, letter.event, NOON)
    original = row(database, copy).fallback_of
    assert original not in (None, letter.id)
    with database.read() as connection:
        left = outbox.read(connection, str(original))
    assert left is not None
    assert (left.receiver, left.status, left.ref) == ("hook", DeliveryStatus.SUPPRESSED, "pager")


@pytest.mark.parametrize(("awaits", "reported"), [("digest", {"early"}), ("silence", {"early", "late"})])
def test_summary_reports(database: Database, awaits: str, reported: set[str]) -> None:
    """A digest reports only rows that are due; the summary of a silence reports all."""
    rows = [make_delivery("early"), make_delivery("late", due_at=NOON + LEASE)]
    put(database, *rows)
    with database.write() as connection:
        delivery_transitions.suppress(connection, [Suppression(each, awaits, None, awaits) for each in rows])
        group = SummaryGroup(awaits, None, (), NOON)
        delivery_transitions.summarise(connection, "hook", [group], "summary", NOON)
    assert {each.alert_id for each in rows if row(database, each).awaits is None} == reported
