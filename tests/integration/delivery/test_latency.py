"""The latency of alerts is stored and counted."""

from __future__ import annotations

from datetime import timedelta

from actionwatch.alerts.policy import ReceiverPolicy
from actionwatch.alerts.routes import Route
from actionwatch.base.model import Escalation
from actionwatch.store import delivery_latency
from tests.builders import NOON
from tests.integration.delivery.kit import Desk, Rule
from tests.integration.kit import Sender

SINGLE = Rule(realert=None)


def test_latency_is_stored_and_counted_once(desk: Desk) -> None:
    """Each alert stores when it occurred, was seen, was matched and was first delivered. Each delivery is counted once."""
    alert_id = desk.match_records(SINGLE, seen_at=NOON + timedelta(seconds=3))
    desk.later(seconds=7)
    alert = desk.alerts()[alert_id]
    assert (alert.first_at, alert.seen_at, alert.first_sent_at) == (NOON, NOON + timedelta(seconds=3), desk.clock())
    with desk.database.read() as connection:
        (found,) = delivery_latency.read_all(connection)
    assert (found.receiver, found.buckets, found.total) == ("hook", {5: 1}, timedelta(seconds=4))
    desk.later(hours=1)
    with desk.database.read() as connection:
        assert delivery_latency.read_all(connection) == [found]


def test_escalation_is_not_counted(desk: Desk) -> None:
    """An escalation waits on purpose."""
    desk.senders["oncall"], desk.policies["oncall"] = Sender(), ReceiverPolicy()
    desk.route = Route(("hook",))
    desk.match_records(Rule(realert=None, escalation=Escalation(timedelta(minutes=15), "oncall")))
    desk.later(minutes=15)
    assert desk.senders["oncall"].sent
    with desk.database.read() as connection:
        assert [histogram.receiver for histogram in delivery_latency.read_all(connection)] == ["hook"]
