"""Addressing: which rows an alert gets in the outbox when it opens, changes, is acknowledged or ends."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection

from actionwatch.alerts.policy import ReceiverPolicy
from actionwatch.alerts.routes import Route
from actionwatch.base.delivery import ESCALATION, Delivery, DeliveryStatus
from actionwatch.base.model import Alert, Escalation, Event, Level, Status
from actionwatch.matching.addressing import Addressing
from actionwatch.store import alert_history, delivery_transitions, outbox
from actionwatch.store.database import Database
from actionwatch.store.delivery_transitions import Suppression
from actionwatch.store.outbox import DeliveryFilter
from tests.builders import NOON, QUARTER, make_alert, make_delivery, make_record

NOW = NOON + timedelta(minutes=1)
SECOND = timedelta(seconds=1)
ALERT = make_alert(realert=QUARTER)
OPENED = make_delivery(mutes=("nights",))
UPDATED = make_delivery(ordinal=2, event=Event.UPDATED, due_at=NOON + 2 * QUARTER)
MAIL = ReceiverPolicy(is_updated_last=True)
CRITICAL = ReceiverPolicy(min_level=Level.CRITICAL)
HOOK = {"hook": ReceiverPolicy()}

Prepare = Callable[[Connection], object]


def frozen(connection: Connection) -> None:
    """Attempt the opening, and retry it in five minutes."""
    delivery_transitions.freeze(connection, [replace(OPENED, body="{}")])
    delivery_transitions.retry(connection, OPENED, NOW + 5 * timedelta(minutes=1), "503")


def sent_at(at: datetime) -> Prepare:
    """Send the opening at a time."""
    return lambda connection: delivery_transitions.sent(connection, "hook", "sender", {OPENED.id: None}, at)


sent = sent_at(NOON)


def dead(connection: Connection) -> None:
    """Bury the opening before its first attempt."""
    delivery_transitions.bury(connection, OPENED, "cannot be written")


def silenced(connection: Connection, row: Delivery = OPENED) -> None:
    """Suppress a row by a silence."""
    delivery_transitions.suppress(connection, [Suppression(row, "silence", "s1", "silence")])


def below_its_level(connection: Connection, row: Delivery = OPENED) -> None:
    """Suppress a row by the level of the receiver."""
    delivery_transitions.suppress(connection, [Suppression(row, "min_level", "critical")])


def collapsed(connection: Connection) -> None:
    """Collapse the opening into the summary of a storm."""
    delivery_transitions.collapse(connection, [(OPENED, NOON)])


def collapsed_and_escalated(connection: Connection) -> None:
    """Collapse the opening, and send an escalation to the same receiver."""
    collapsed(connection)
    escalation = make_delivery(ordinal=ESCALATION, event=Event.UPDATED)
    delivery_transitions.enqueue(connection, [escalation])
    delivery_transitions.sent(connection, "hook", "sender", {escalation.id: None}, NOON)


def held(connection: Connection) -> None:
    """Hold the opening for a digest."""
    delivery_transitions.hold(connection, [(OPENED, NOON)])


def reported(connection: Connection) -> None:
    """Report the opening in a digest."""
    from actionwatch.store import suppressed_deliveries

    held(connection)
    groups = suppressed_deliveries.read_groups(connection, "hook")
    delivery_transitions.summarise(connection, "hook", groups, "digest-1", NOON)


def update_pending(connection: Connection) -> None:
    """Send the opening, and let an update wait."""
    sent(connection)
    delivery_transitions.enqueue(connection, [UPDATED])


def update_silenced(connection: Connection) -> None:
    """Send the opening, and suppress the update that follows."""
    update_pending(connection)
    silenced(connection, UPDATED)


def nothing(connection: Connection) -> None:
    """Leave the opening as it is."""


def address(
    database: Database,
    prepare: Prepare,
    step: Callable[[Addressing, Connection, Alert], object],
    policies: dict[str, ReceiverPolicy] | None = None,
    **changes: object,
) -> list[str]:
    """Let an alert whose opening is in some state take a step. Return the rows that follow the opening, due from `NOW` on."""
    addressing = Addressing(Route(tuple(policies or HOOK), mutes=("days",)), HOOK if policies is None else policies)
    with database.write() as connection:
        delivery_transitions.enqueue(connection, [OPENED])
        prepare(connection)
        before = {row.id: row for row in outbox.read_of_alert(connection, ALERT.id)}
        step(addressing, connection, replace(ALERT, **changes))
        return [
            f"{row.receiver} {row.event} {(row.due_at - NOW) // SECOND} {','.join(row.mutes)}".strip()
            for row in outbox.read_of_alert(connection, ALERT.id)
            if before.get(row.id) != row
        ]


@pytest.mark.parametrize(
    ("prepare", "policies", "changes", "expected"),
    [
        (nothing, HOOK, {}, []),
        (frozen, HOOK, {}, ["hook updated 310 days"]),
        (sent, HOOK, {}, ["hook updated 0 days"]),
        (sent_at(NOW - SECOND), HOOK, {}, ["hook updated 9 days"]),
        (sent, {"hook": MAIL}, {}, ["hook updated 840 days"]),
        (sent_at(NOW), {"hook": MAIL}, {"realert": SECOND}, ["hook updated 10 days"]),
        (sent, {"hook": CRITICAL}, {}, ["hook updated 0 days"]),
        (update_pending, HOOK, {}, []),
        (update_silenced, HOOK, {}, ["hook updated 10 days"]),
        (dead, HOOK, {}, ["hook updated 10 days"]),
        (silenced, HOOK, {}, ["hook opened 0 days"]),
        (below_its_level, {"hook": CRITICAL}, {}, []),
        (below_its_level, {"hook": CRITICAL}, {"level": Level.CRITICAL}, ["hook opened 0 days"]),
        (silenced, {"hook": CRITICAL}, {}, ["hook opened 0 days"]),
        (collapsed, HOOK, {}, []),
        (collapsed_and_escalated, HOOK, {}, ["hook updated 10 days"]),
        (held, HOOK, {}, []),
        (reported, HOOK, {}, ["hook updated 10 days"]),
        (sent, {"other": ReceiverPolicy()}, {}, ["other opened 0 days"]),
        (sent, {}, {}, []),
        (sent, HOOK, {"labels": {"mode": "shadow"}}, ["hook updated 0 nights"]),
    ],
)
def test_update(
    database: Database,
    prepare: Prepare,
    policies: dict[str, ReceiverPolicy],
    changes: dict[str, object],
    expected: list[str],
) -> None:
    """A match that joins an alert enqueues what the state of its receiver needs."""
    found = address(
        database, prepare, lambda a, c, alert: a.update(c, [(alert, make_record())], NOW), policies, **changes
    )
    assert found == expected


@pytest.mark.parametrize(
    ("prepare", "policies", "expected"),
    [
        (nothing, HOOK, []),
        (frozen, HOOK, ["hook acked 310 nights"]),
        (sent, HOOK, ["hook acked 0 nights"]),
        (sent_at(NOW - SECOND), HOOK, ["hook acked 9 nights"]),
        (sent, {"hook": MAIL}, []),
        (sent, {}, []),
        (update_pending, HOOK, ["hook acked 1740"]),
        (update_silenced, HOOK, ["hook acked 10"]),
        (dead, HOOK, []),
        (silenced, HOOK, []),
        (collapsed, HOOK, []),
        (held, HOOK, []),
    ],
)
def test_acknowledge(
    database: Database, prepare: Prepare, policies: dict[str, ReceiverPolicy], expected: list[str]
) -> None:
    """An acknowledgement is enqueued for the receivers that were or will be notified, except by mail."""
    found = address(database, prepare, lambda a, c, alert: a.acknowledge(c, alert, NOW), policies, acked_by="sam")
    assert found == expected


@pytest.mark.parametrize(
    ("prepare", "policies", "expected"),
    [
        (nothing, HOOK, ["hook resolved 0 nights"]),
        (frozen, HOOK, ["hook resolved 300 nights"]),
        (sent, HOOK, ["hook resolved 0 nights"]),
        (sent, {}, ["hook resolved 0 nights"]),
        (nothing, {}, []),
        (update_pending, HOOK, ["hook resolved -60"]),
        (update_silenced, HOOK, ["hook resolved 0"]),
        (dead, HOOK, ["hook resolved 0 nights"]),
        (silenced, HOOK, []),
        (collapsed, HOOK, []),
        (collapsed_and_escalated, HOOK, ["hook resolved 0 nights"]),
        (held, HOOK, []),
        (reported, HOOK, ["hook resolved 0 nights"]),
    ],
)
def test_resolve(
    database: Database, prepare: Prepare, policies: dict[str, ReceiverPolicy], expected: list[str]
) -> None:
    """The end of an alert is enqueued for the receivers that were or will be notified."""
    found = address(
        database,
        prepare,
        lambda a, c, alert: a.resolve(c, alert, NOW),
        policies,
        status=Status.RESOLVED,
        resolved_by="sam",
    )
    assert found == expected


def history(connection: Connection, alert_id: str) -> list[str]:
    """Read the history of an alert."""
    return [f"{entry.stage}: {entry.what}" for entry in alert_history.read(connection, alert_id)]


def test_history(database: Database) -> None:
    """Each step has its line in the history of the alert; an update only if it adds receivers."""
    addressing = Addressing(Route(("hook", "other")), {"hook": ReceiverPolicy(), "other": ReceiverPolicy()})
    alert = replace(ALERT, escalation=Escalation(QUARTER, "boss"))
    with database.write() as connection:
        delivery_transitions.enqueue(connection, [OPENED])
        for _ in range(2):
            addressing.update(connection, [(ALERT, None)], NOW)
        addressing.acknowledge(connection, replace(ALERT, acked_by="sam"), NOW)
        addressing.resolve(connection, replace(ALERT, resolved_by="sam"), NOW)
        addressing.resolve(connection, replace(ALERT, resolved_by="sam"), NOW, "it is over")
        assert history(connection, ALERT.id) == [
            "routed: also other",
            "acknowledged: by sam",
            "resolved: by sam",
            "resolved: by sam: it is over",
        ]
        addressing.open(connection, [[(replace(alert, id="a"), None)]], NOW)
        addressing.open(connection, [[(replace(alert, id="b", labels={"mode": "shadow"}), None)]], NOW)
        assert history(connection, "a") == [
            "opened: Cluster deleted",
            "routed: hook, other",
            "escalation: to boss in 15m, unless acknowledged",
        ]
        assert history(connection, "b") == ["opened: Cluster deleted", "routed: nobody: the rule is in shadow mode"]
        assert outbox.read_of_alert(connection, "b") == []
        escalation = outbox.read_of_alert(connection, "a")[0]
        assert (escalation.receiver, escalation.ordinal, escalation.event) == ("boss", ESCALATION, Event.UPDATED)
        assert (escalation.created_at, escalation.due_at) == (NOW, NOW + QUARTER)
        Addressing(Route(()), {}).open(connection, [[(replace(ALERT, id="c"), None)]], NOW)
        assert history(connection, "c")[-1] == "routed: no receiver: see route"


def test_every_step_of_a_batch_is_routed(database: Database) -> None:
    """Each match of a batch adds its receivers; the first one that names a receiver decides on its mute intervals."""
    from actionwatch.text.matchers import parse_matcher

    children = (
        Route(("first",), (parse_matcher("userName=eve"),), mutes=("nights",)),
        Route(("first", "second"), (parse_matcher("userName=bob"),), mutes=("days",)),
    )
    names = ("second", "first")
    addressing = Addressing(Route(names, routes=children), dict.fromkeys(names, ReceiverPolicy()))
    with database.write() as connection:
        addressing.open(connection, [[(ALERT, make_record()), (ALERT, make_record(2, user_name="bob"))]], NOW)
        rows = outbox.read_of_alert(connection, ALERT.id)
        assert [(row.receiver, row.mutes) for row in rows] == [("first", ("nights",)), ("second", ("days",))]
        assert history(connection, ALERT.id)[1] == "routed: second, first"


def test_rows_that_ended_are_not_counted_again(database: Database) -> None:
    """A row takes no ordinal, and so no id, of a row that ended before it."""
    with database.write() as connection:
        delivery_transitions.enqueue(connection, [OPENED])
        dead(connection)
        delivery_transitions.drop(connection, DeliveryFilter(), "sam")
        Addressing(Route(("hook",)), HOOK).update(connection, [(ALERT, make_record())], NOW)
        rows = outbox.read_of_alert(connection, ALERT.id)
    assert [(row.ordinal, row.status) for row in rows] == [(1, DeliveryStatus.SUPPRESSED), (2, DeliveryStatus.PENDING)]


def _sent(connection: Connection, row: Delivery) -> None:
    delivery_transitions.sent(connection, row.receiver, "sender", {row.id: None}, NOON)


def _nothing(_: Connection, __: Delivery) -> None:
    """Leave the opening as it is: not attempted yet."""


@pytest.mark.parametrize(
    ("policy", "prepare", "acked", "resolved"),
    [
        (MAIL, _sent, ["b"], ["a", "b"]),  # a mail cannot change
        (ReceiverPolicy(), _nothing, ["b"], ["a", "b"]),  # its opening, which is not sent yet, will say so
        (ReceiverPolicy(), below_its_level, ["b"], ["b"]),  # it never learned of the alert
    ],
)
def test_a_receiver_that_needs_no_message_stops_no_other(
    database: Database, policy: ReceiverPolicy, prepare: Callable[..., object], acked: list[str], resolved: list[str]
) -> None:
    """The receivers after one that is passed over get their message, of an acknowledgement and of an end."""
    addressing = Addressing(Route(receivers=("a", "b")), {"a": policy, "b": ReceiverPolicy()})
    rows = [make_delivery(ALERT.id, name) for name in "ab"]
    for event, expected in ((Event.ACKED, acked), (Event.RESOLVED, resolved)):
        with database.write() as connection:
            delivery_transitions.enqueue(connection, rows)
            prepare(connection, rows[0])
            _sent(connection, rows[1])
            act = addressing.acknowledge if event is Event.ACKED else addressing.resolve
            act(connection, replace(ALERT, acked_by="eve", resolved_by="eve"), NOW)
            found = [
                each.receiver for each in outbox.find(connection, limit=9) if each.event is event and each.ordinal > 1
            ]
            connection.exec_driver_sql("DELETE FROM delivery")
        assert sorted(found) == expected, event
