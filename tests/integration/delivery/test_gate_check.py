"""The check of due rows: which rows the gates judge, what they are for their receiver, and what the gates read."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection

from actionwatch.alerts.inhibition import InhibitRule
from actionwatch.alerts.policy import GlobalPolicy, ReceiverPolicy, Storm
from actionwatch.alerts.silences import make_silence
from actionwatch.base.delivery import ESCALATION, Delivery
from actionwatch.base.model import Entity, Event, Level, Status
from actionwatch.delivery import lifecycle
from actionwatch.delivery.attempt import Claim, claim_due, gate
from actionwatch.delivery.compose import Job, compose_all
from actionwatch.delivery.gate_check import GateCheck
from actionwatch.store import alerts, delivery_transitions, outbox, records, silences
from actionwatch.store.database import Database
from actionwatch.store.outbox import DueDelivery
from actionwatch.store.tables import DELIVERY
from actionwatch.text.matchers import parse_matcher
from actionwatch.text.timeintervals import Period, TimeInterval
from tests.builders import NOON, QUARTER, make_alert, make_delivery, make_record, only_sqlite
from tests.statements import GRAIN, steps

MINUTE = timedelta(minutes=1)
ANY = ReceiverPolicy()
LOW = {"level": Level.LOW}
ONLY_HIGH = ReceiverPolicy(min_level=Level.HIGH)


def put(database: Database, *rows: Delivery, **changes: Any) -> None:
    """Store rows, and an alert with one record for each."""
    with database.write() as connection:
        for row in rows:
            records.insert_new(connection, [make_record(records.newest_id(connection) + 1)])
            alerts.insert_new(connection, [(make_alert(row.alert_id, **changes), row.alert_id)])
            alerts.join(connection, [(row.alert_id, records.newest_id(connection), NOON)])
        delivery_transitions.enqueue(connection, rows)


def check(
    connection: Connection, policy: ReceiverPolicy, most: int = 9, global_policy: GlobalPolicy | None = None
) -> list[DueDelivery]:
    """Check what is due."""
    due = outbox.read_due(connection, "hook", NOON, 99)
    claim = Claim(connection, GateCheck(global_policy or GlobalPolicy()), policy, NOON, most)
    passed, ended = claim_due((gate,), claim, due)
    lifecycle.apply(connection, ended, NOON)
    return passed


def states(connection: Connection) -> dict[str, str]:
    """Read what became of the row of each alert."""
    return {row.alert_id: f"{row.status} {row.why or ''}".strip() for row in outbox.find(connection, limit=99)}


def names(passed: list[DueDelivery]) -> set[str]:
    """Name the alerts whose rows passed."""
    return {each.delivery.alert_id for each in passed}


def test_rows_that_no_gate_judges(database: Database) -> None:
    """Frozen rows, tests, summaries and rows without an alert pass every gate."""
    test, summary = make_delivery("test", event=Event.TEST), make_delivery("summary", event=Event.SUMMARY)
    put(database, make_delivery("frozen"), make_delivery("judged"), test, summary, **LOW)
    with database.write() as connection:
        delivery_transitions.enqueue(connection, [make_delivery("without an alert")])
        delivery_transitions.freeze(connection, [replace(make_delivery("frozen"), body="{}")])
        assert names(check(connection, ONLY_HIGH)) == {"frozen", "test", "summary", "without an alert"}
        assert {name for name, state in states(connection).items() if state != "pending"} == {"judged"}
        assert check(connection, ONLY_HIGH, most=0) == []


def test_rows_beyond_the_limit_are_left_alone(database: Database) -> None:
    """Once enough rows have passed, no gate judges the others."""
    put(database, *(make_delivery(f"a{number}", due_at=NOON - (9 - number) * MINUTE) for number in range(4)))
    put(database, make_delivery("low", due_at=NOON - MINUTE), **LOW)
    with database.write() as connection:
        assert names(check(connection, ONLY_HIGH, most=4)) == {"a0", "a1", "a2", "a3"}
        assert states(connection)["low"] == "pending"
        assert names(check(connection, ONLY_HIGH, most=5)) == {"a0", "a1", "a2", "a3"}
        assert states(connection)["low"] == "suppressed min_level"


@pytest.mark.parametrize("is_notified", [True, False])
@pytest.mark.parametrize("event", [Event.OPENED, Event.UPDATED, Event.ACKED, Event.RESOLVED])
def test_event_for_the_receiver(database: Database, event: Event, is_notified: bool) -> None:
    """News for a receiver that got no opening is an opening; an end is stopped."""
    row = make_delivery("a", ordinal=2, event=event)
    put(database, make_delivery("a", due_at=NOON + MINUTE), row)
    with database.write() as connection:
        if is_notified:
            delivery_transitions.sent(connection, "hook", "sender", {make_delivery("a").id: None}, NOON)
        else:
            delivery_transitions.bury(connection, make_delivery("a"), "refused")
        passed = check(connection, ANY)
    expected = Event.OPENED if not is_notified and event is not Event.RESOLVED else event
    is_stopped = event is Event.RESOLVED and not is_notified
    assert [each.delivery.event for each in passed] == ([] if is_stopped else [expected])
    assert all(each.alert and each.is_notified is is_notified for each in passed)


def test_storm_counts_what_went_through(database: Database) -> None:
    """A storm counts the openings of the last `per` and those of this batch; updates do not count."""
    policy = ReceiverPolicy(storm=Storm(3, MINUTE))
    before = [make_delivery(f"before-{number}") for number in range(2)]
    put(database, *before)
    with database.write() as connection:
        delivery_transitions.freeze(connection, [replace(row, body="{}") for row in before])
        delivery_transitions.sent(connection, "hook", "sender", {before[0].id: None}, NOON - MINUTE)
        delivery_transitions.sent(connection, "hook", "sender", {before[1].id: None}, NOON - MINUTE / 2)
    put(
        database, make_delivery("update", due_at=NOON - MINUTE), make_delivery("update", ordinal=2, event=Event.UPDATED)
    )
    put(database, *(make_delivery(f"now-{number}", due_at=NOON - (9 - number) * MINUTE / 60) for number in range(4)))
    with database.write() as connection:
        delivery_transitions.sent(connection, "hook", "sender", {make_delivery("update").id: None}, NOON - 5 * MINUTE)
        passed = check(connection, policy)
        assert [each.delivery.alert_id for each in passed] == ["now-0", "now-1", "update"]
        assert {name for name, state in states(connection).items() if state == "collapsed storm"} == {"now-2", "now-3"}


def test_gates_look_at_the_newest_record(database: Database) -> None:
    """A silence that names a user suppresses the alerts whose newest record is this user's."""
    put(database, make_delivery("eve"), make_delivery("bob"))
    silence = make_silence(["userName=bob"], "sam", "planned", NOON, NOON + MINUTE, made_at=NOON)
    with database.write() as connection:
        records.insert_new(connection, [make_record(9, minutes=1, user_name="bob")])
        alerts.join(connection, [("bob", records.newest_id(connection), NOON)])
        silences.write(connection, silence)
        assert names(check(connection, ANY)) == {"eve"}


@pytest.mark.parametrize("sources", ["rule=cluster_deleted", "rule=~cluster_.*", "level=critical"])
def test_inhibition_reads_the_alerts_at_work(database: Database, sources: str) -> None:
    """An alert that is at work when the target happens inhibits it, by its own newest record; one that is over does not."""
    rule = InhibitRule(
        tuple(map(parse_matcher, (sources, "level=critical"))), (parse_matcher("level=low"),), ("userName",)
    )
    put(database, make_delivery("source"), level=Level.CRITICAL, realert=QUARTER)
    put(database, make_delivery("target"), make_delivery("also"), last_at=NOON + 10 * MINUTE, **LOW)
    put(database, make_delivery("too late"), last_at=NOON + 16 * MINUTE, **LOW)
    with database.write() as connection:
        passed = check(connection, ANY, global_policy=GlobalPolicy((rule,)))
        assert names(passed) == {"source", "too late"}
        assert states(connection)["target"] == "suppressed inhibition"
    put(database, make_delivery("another"), last_at=NOON + 10 * MINUTE, **LOW)
    with database.write() as connection:
        source = alerts.read(connection, "source")
        assert source is not None
        alerts.update(connection, replace(source, status=Status.RESOLVED, resolved_by="sam", resolved_at=NOON))
        assert names(check(connection, ANY, global_policy=GlobalPolicy((rule,)))) == {"source", "too late", "another"}


def test_inhibition_reads_the_alerts_of_every_rule_and_target(database: Database) -> None:
    """A rule that names its source does not hide the sources of one that names none, nor an early target a later source."""
    named = InhibitRule((parse_matcher("rule=other"),), (parse_matcher("level=medium"),))
    unnamed = InhibitRule((parse_matcher("level=critical"),), (parse_matcher("level=low"),))
    begun = {"first_at": NOON + 12 * MINUTE, "last_at": NOON + 12 * MINUTE}
    put(database, make_delivery("source"), level=Level.CRITICAL, realert=QUARTER, **begun)
    put(database, make_delivery("early"), last_at=NOON + 10 * MINUTE, **LOW)
    put(database, make_delivery("later"), last_at=NOON + 16 * MINUTE, **LOW)
    with database.write() as connection:
        assert names(check(connection, ANY, global_policy=GlobalPolicy((named, unnamed)))) == {"source", "early"}


INHIBIT = GlobalPolicy((InhibitRule((parse_matcher("level=critical"),), (parse_matcher("level=low"),), ("cluster",)),))
SOURCE = {"level": Level.CRITICAL, "realert": QUARTER}
NIGHTS = GlobalPolicy(INHIBIT.inhibit_rules, {"nights": TimeInterval("nights", (Period(times=((0, 24 * 60),)),))})


@pytest.mark.parametrize(
    ("row", "is_inhibited"),
    [
        ({}, True),
        ({"receiver": "other"}, False),
        ({"mutes": ("nights",)}, False),
        ({"mutes": ("nights",), "body": "{}"}, True),  # it was attempted: gates no longer apply
        ({"status": "suppressed", "why": "silence"}, False),
        ({"ordinal": ESCALATION}, False),  # people may handle the alert before it is due
        ({"status": "suppressed", "why": "acked", "ordinal": ESCALATION}, False),
        ({"ordinal": ESCALATION, "body": "{}"}, True),  # it is being sent
        ({"status": "sent", "sent_at": NOON, "body": "{}"}, True),
        ({"status": "dead", "last_error": "gone"}, True),  # a dead letter is reported
        ({"status": "collapsed", "awaits": "storm"}, True),  # so is it in a summary
    ],
    ids=str,
)
def test_source_inhibits_only_where_it_is_received(database: Database, row: dict[str, Any], is_inhibited: bool) -> None:
    """A source that a receiver does not get hides no other alert from it: it would learn of neither."""
    put(database, make_delivery("source"), **SOURCE)
    put(database, make_delivery("target"), **LOW)
    with database.write() as connection:
        if row:
            connection.execute(DELIVERY.update().where(DELIVERY.c.alert_id == "source").values(row))
        assert ("target" not in names(check(connection, ANY, global_policy=NIGHTS))) is is_inhibited


def test_updates_of_a_source_are_not_read(database: Database) -> None:
    """Whether a source reached the receiver takes as many steps after hundreds of updates as after one."""
    only_sqlite(database)
    opened, target = make_delivery("source"), make_delivery("target")
    put(database, opened, **SOURCE)
    put(database, target, **LOW)
    last, found = 1, []
    for count in (2, 400):
        updates = [make_delivery("source", ordinal=number) for number in range(last + 1, count + 1)]
        with database.write() as connection:
            delivery_transitions.enqueue(connection, updates)
            connection.execute(DELIVERY.update().where(DELIVERY.c.alert_id == "source").values(body="{}"))
            delivery_transitions.sent(connection, "hook", None, {each.id: None for each in (opened, *updates)}, NOON)
            assert names(check(connection, ANY, global_policy=INHIBIT)) == set()
            connection.execute(DELIVERY.update().where(DELIVERY.c.id == target.id).values(status="pending"))
        last = count
        found.append(steps(database, lambda c: check(c, ANY, global_policy=INHIBIT)))
    assert found[1] <= found[0] + 20 * GRAIN, found


def test_silenced_source_does_not_inhibit(database: Database) -> None:
    """A silence that hides the source, and a `min_level` above it, do not hide the target, which they do not name."""
    put(database, make_delivery("target"), **LOW)
    put(database, make_delivery("source"), **SOURCE)
    silence = make_silence(["level=critical"], "sam", "planned", NOON, NOON + MINUTE, made_at=NOON)
    with database.write() as connection:
        silences.write(connection, silence)
        assert names(check(connection, ANY, global_policy=INHIBIT)) == {"target"}


def test_message_names_what_its_alert_inhibits(database: Database) -> None:
    """The message of a source names the alerts of its cluster that it inhibits, and no others."""
    with database.write() as connection:
        made = [make_record(number, cluster=Entity(name=name)) for number, name in enumerate("ab", 1)]
        records.insert_new(connection, made)
        alerts.insert_new(connection, [(make_alert("source", **SOURCE), "s")])
        alerts.insert_new(connection, [(make_alert(name, **LOW), name) for name in "ab"])
        alerts.join(connection, [("source", 1, NOON), ("a", 1, NOON), ("b", 2, NOON)])
        delivery_transitions.enqueue(connection, [make_delivery(name) for name in ("source", "a", "b")])
        passed = check(connection, ANY, global_policy=INHIBIT)
        assert names(passed) == {"source", "b"}
        jobs = [each for each in compose_all(connection, passed, NOON, INHIBIT) if isinstance(each, Job)]
        named = {job.delivery.alert_id: job.message.inhibited for job in jobs}
        assert named == {"source": "cluster_deleted a", "b": ""}


def test_gates_are_foreseen_without_a_change(database: Database) -> None:
    """`foresee` returns the decision of every gate that would stop a row, the one that counts first, and changes nothing."""
    put(database, make_delivery("a"), **LOW)
    silence = make_silence(["userName=eve"], "sam", "planned", NOON, NOON + MINUTE, made_at=NOON)
    with database.write() as connection:
        silences.write(connection, silence)
        (due,) = outbox.read_due(connection, "hook", NOON, 9)
        policy = ReceiverPolicy(min_level=Level.HIGH, storm=Storm(0, MINUTE))
        gates = GateCheck(GlobalPolicy())
        assert [type(each).__name__ for each in gates.foresee(connection, policy, due, NOON)] == [
            "Suppress", "Suppress", "Collapse",
        ]  # fmt: skip
        assert gates.foresee(connection, ANY, due, NOON + MINUTE) == []
        assert states(connection) == {"a": "pending"}
