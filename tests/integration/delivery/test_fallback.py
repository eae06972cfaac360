"""Fallbacks: a fallback receiver gets what its receiver does not accept, each opened and resolved message once."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from actionwatch.alerts.policy import ReceiverPolicy
from actionwatch.alerts.routes import Route
from actionwatch.base.delivery import DeliveryStatus
from actionwatch.settings import RetryPolicy
from actionwatch.store import delivery_transitions
from actionwatch.store.outbox import DeliveryFilter
from tests.integration.delivery.kit import Desk, Rule
from tests.integration.kit import DOWN, REFUSED, Sender
from tests.waiting import beside, wait_until


@pytest.fixture
def backed(desk: Desk) -> Desk:
    """Make mail the fallback of the hook."""
    desk.senders["mail"] = Sender()
    desk.policies["hook"] = ReceiverPolicy(fallback="mail")
    desk.route = Route(("hook",))
    return desk


def test_message_that_cannot_be_composed_is_copied_to_the_fallback(backed: Desk) -> None:
    """A dead letter that was not attempted, because its stored text is damaged, is copied like one that was refused."""
    alert_id = backed.match_records()
    (row,) = backed.rows(alert_id)
    with backed.database.write() as connection:
        delivery_transitions.freeze(connection, [replace(row, body="{")])
    backed.deliver()
    assert (backed.received(), backed.received("mail")) == ([], ["opened x1"])
    assert [each.status for each in backed.rows(alert_id)] == [DeliveryStatus.DEAD, DeliveryStatus.SENT]


def test_next_start_tries_a_failing_receiver_before_it_copies(backed: Desk) -> None:
    """A service that starts does not copy the first messages to the fallback of a receiver that works again."""
    backed.hook.answer = lambda message: REFUSED
    backed.match_records(Rule(realert=None))
    backed.deliver()
    backed.hook.answer = lambda message: None
    alert_id = backed.match_records(Rule(realert=None))
    backed.clock.advance(hours=1)
    worker = backed.worker()
    with beside(worker.run, stop=worker.stop):
        wait_until(lambda: backed.rows(alert_id)[0].status is DeliveryStatus.SENT, "the message")
    assert [row.receiver for row in backed.rows(alert_id)] == ["hook"]


def test_replay_restarts_the_time_and_is_not_copied_again(backed: Desk) -> None:
    """The time until giving up counts from creation. A replay restarts it under the same id, and is not copied again."""
    backed.channel = {"retry": RetryPolicy(give_up_after=timedelta(minutes=5))}
    backed.hook.answer = lambda message: DOWN
    alert_id = backed.match_records()
    for _ in range(12):
        backed.later(minutes=1)
    assert backed.received("mail") == ["opened x1"]
    (dead,) = [row for row in backed.rows(alert_id) if row.status is DeliveryStatus.DEAD]
    backed.hook.answer = lambda message: None
    backed.hook.sent.clear()
    with backed.database.write() as connection:
        assert delivery_transitions.requeue(connection, DeliveryFilter(receiver="hook"), backed.clock()) >= 1
        assert delivery_transitions.requeue(connection, DeliveryFilter(receiver="mail"), backed.clock()) == 0
    backed.deliver()
    assert dead.id in backed.hook.ids
    assert backed.received("mail") == ["opened x1"]
