"""What people change about an alert besides its end: they reopen it, assign it to somebody, and write notes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from actionwatch.alerts.routes import Route
from actionwatch.base.model import Escalation, Status
from actionwatch.store import alerts, retention, self_alerts
from tests.integration.delivery.kit import Desk, Rule
from tests.integration.kit import Sender

ESCALATING = Rule(escalation=Escalation(timedelta(minutes=15), "boss"))


@pytest.fixture
def escalating(desk: Desk) -> Desk:
    """Add a receiver that only escalations reach."""
    desk.senders["boss"] = Sender()
    desk.route = Route(("hook",))
    return desk


def escalations(desk: Desk) -> list[str]:
    """Describe the escalations, those of the first opening first."""
    rows = [row for row in desk.all_rows() if row.is_escalation]
    return [f"{row.ordinal} {row.status} {row.why or ''}".strip() for row in sorted(rows, key=lambda row: -row.ordinal)]


def test_a_reopened_self_alert_ends_with_its_trouble(desk: Desk) -> None:
    """A self-alert that a person resolved and reopened is that of its trouble again, unless another one opened."""
    trouble, subject = "dead_letters", "hook"
    reporter = desk.troubles
    reporter.report(trouble, subject, "1 dead letter", "retry it")
    with desk.database.read() as connection:
        (opened,) = self_alerts.read_all(connection)
    desk.operator.resolve(opened.alert_id, "sam")
    desk.operator.reopen(opened.alert_id, "sam")
    reporter.report(trouble, subject, "1 dead letter", "retry it")
    with desk.database.read() as connection:
        assert [each.alert_id for each in self_alerts.read_all(connection)] == [opened.alert_id]
    reporter.settle_trouble(trouble, subject)
    with desk.database.read() as connection:
        alert = alerts.read(connection, opened.alert_id)
    assert alert is not None
    assert alert.status is Status.RESOLVED


def test_a_reopening_is_no_late_message(desk: Desk) -> None:
    """The time from an action to its message does not count a message about an alert that a person reopened hours later."""
    from actionwatch.store import delivery_latency

    alert_id = desk.match_records()
    desk.deliver()
    desk.operator.resolve(alert_id, "sam")
    desk.later(hours=5)
    with desk.database.read() as connection:
        before = delivery_latency.read_all(connection)
    desk.operator.reopen(alert_id, "sam")
    desk.later(seconds=11)
    assert desk.received()[-1] == "opened x1"
    with desk.database.read() as connection:
        assert delivery_latency.read_all(connection) == before


def test_a_message_of_a_reopened_alert_has_an_id_of_its_own(escalating: Desk) -> None:
    """Retention deletes the messages of a resolved alert, with their numbers: no later message has the id of one of them."""
    alert_id = escalating.match_records(ESCALATING)
    escalating.later(minutes=15)
    escalating.operator.resolve(alert_id, "sam")
    escalating.later(seconds=11)
    before = {row.id for row in escalating.all_rows()}
    escalating.clock.advance(days=40)
    now = escalating.clock()
    with escalating.database.write() as connection:
        retention.delete_deliveries(connection, now, now, now, 1000)
    assert escalating.all_rows() == []
    escalating.operator.reopen(alert_id, "sam")
    escalating.later(minutes=15)
    escalating.operator.resolve(alert_id, "sam")
    escalating.later(seconds=11)
    after = {row.id for row in escalating.all_rows()}
    assert (len(before), len(after), before & after) == (4, 4, set())
