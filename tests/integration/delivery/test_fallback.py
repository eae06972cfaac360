"""Fallbacks: what one receiver does not take another gets, each alert's beginning and end once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from actionwatch.alerts.policy import ReceiverPolicy
from actionwatch.alerts.routes import Route
from actionwatch.base.delivery import DeliveryStatus
from actionwatch.base.errors import TransientDeliveryError
from actionwatch.settings import RetryPolicy
from actionwatch.store import delivery_transitions, outbox
from actionwatch.store.outbox import DeliveryFilter
from tests.integration.delivery.kit import Desk, is_self_alert
from tests.integration.kit import DOWN, REFUSED, Sender

BUSY = TransientDeliveryError("the receiver answered 429", retry_after=timedelta(hours=1))


@pytest.fixture
def backed(desk: Desk) -> Desk:
    """Let mail stand in for the hook."""
    desk.senders["mail"] = Sender()
    desk.policies["hook"] = ReceiverPolicy(fallback="mail")
    desk.route = Route(("hook",))
    return desk


def test_a_dead_letter_goes_to_the_fallback(backed: Desk) -> None:
    """The copy has an id of its own, says what it stands for, and is sent once; the original stays dead."""
    backed.hook.answer = lambda message: REFUSED
    alert_id = backed.match_records()
    backed.deliver()
    assert backed.received("mail") == ["opened x1"]
    original, copy = backed.rows(alert_id)
    assert (original.status, copy.status) == (DeliveryStatus.DEAD, DeliveryStatus.SENT)
    assert copy.fallback_of == original.id != copy.id
    assert any("mail replaces hook" in line for line in backed.history(alert_id))
    assert backed.senders["mail"].sent[0].fields[0] == ("in place of", "hook")
    backed.later(hours=1)
    assert backed.received("mail") == ["opened x1"]


def test_the_end_follows(backed: Desk) -> None:
    """Who was told in its place is told the end; updates are not copied."""
    backed.hook.answer = lambda message: REFUSED
    alert_id = backed.match_records()
    backed.deliver()
    backed.match_records()
    backed.later(seconds=11)
    backed.operator.resolve(alert_id, "sam")
    backed.later(seconds=11)
    assert backed.received("mail") == ["opened x1", "resolved x2"]


@pytest.mark.parametrize("is_replayed", [True, False])
def test_the_end_follows_where_both_were_told(backed: Desk, is_replayed: bool) -> None:
    """Who stood in is told the end though the receiver took the opening after all: its incident would stay open for ever."""
    backed.hook.answer = lambda message: REFUSED if is_replayed else DOWN
    alert_id = backed.match_records()
    for _ in range(3):
        backed.later(minutes=5)
    assert backed.received("mail") == ["opened x1"]
    backed.hook.answer = lambda message: None
    backed.hook.sent.clear()
    with backed.database.write() as connection:
        delivery_transitions.requeue(connection, DeliveryFilter(), backed.clock())
    backed.later(minutes=11)
    backed.operator.resolve(alert_id, "sam")
    backed.later(seconds=11)
    backed.later(seconds=11)
    assert backed.received() == ["opened x1", "resolved x1"]
    assert backed.received("mail") == ["opened x1", "resolved x1"]


def test_a_receiver_that_keeps_failing(backed: Desk) -> None:
    """After `fallback_after` what waits is copied; the original still arrives late."""
    backed.hook.answer = lambda message: DOWN
    first = backed.match_records()
    backed.deliver()
    backed.later(minutes=9)
    assert backed.received("mail") == []
    backed.later(minutes=1)
    backed.deliver()
    assert backed.received("mail") == ["opened x1"]
    backed.match_records(user_name="bob")
    backed.deliver()
    backed.later(seconds=6)
    assert backed.received("mail") == ["opened x1"] * 2
    backed.operator.resolve(first, "sam")
    backed.later(seconds=6)
    backed.deliver()
    assert backed.received("mail") == ["opened x1"] * 2 + ["resolved x1"]
    backed.hook.answer = lambda message: None
    backed.hook.sent.clear()
    backed.later(minutes=11)
    backed.later(minutes=11)
    assert sorted(backed.received()) == ["opened x1", "opened x1", "resolved x1"]
    assert backed.received("mail") == ["opened x1"] * 2 + ["resolved x1"]


def test_one_that_asks_for_an_hour(backed: Desk) -> None:
    """Messages that were never tried, because the receiver asked to be left alone, are copied all the same, gates first."""
    backed.hook.answer = lambda message: BUSY
    backed.match_records()
    backed.deliver()
    backed.silence("userName=amy", hours=3)
    backed.match_records(user_name="bob")
    backed.match_records(user_name="amy")
    backed.later(minutes=10)
    backed.deliver()
    assert backed.received("mail") == ["opened x1"] * 2
    assert len([message for message in backed.hook.sent if not is_self_alert(message)]) == 1
    assert backed.gated() == ["hook opened suppressed by silence"]


def test_a_chain(backed: Desk) -> None:
    """A fallback may have one of its own."""
    backed.senders["pager"] = Sender()
    backed.policies["mail"] = ReceiverPolicy(fallback="pager")
    backed.hook.answer = backed.senders["mail"].answer = lambda message: REFUSED
    backed.match_records()
    backed.deliver()
    assert backed.received("pager") == ["opened x1"]


def test_giving_up_and_replay(backed: Desk) -> None:
    """Giving up counts from the creation; a replay begins anew, under the same id, and is copied no second time."""
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


@pytest.mark.parametrize("is_backed", [True, False])
def test_a_replay_of_what_is_over(backed: Desk, is_backed: bool) -> None:
    """Who is told by a replay that an alert opened is told its end too: an incident would stay open for ever."""
    if not is_backed:
        backed.policies.clear()
    backed.hook.answer = lambda message: REFUSED
    alert_id = backed.match_records()
    backed.deliver()
    backed.operator.resolve(alert_id, "sam")
    backed.later(seconds=11)
    assert "hook resolved suppressed by untold" in backed.gated()
    backed.hook.answer = lambda message: None
    backed.hook.sent.clear()
    with backed.database.write() as connection:
        delivery_transitions.requeue(connection, DeliveryFilter(receiver="hook"), backed.clock())
    backed.later(seconds=1)
    assert backed.received() == ["opened x1", "resolved x1"]
    assert len(set(backed.hook.ids)) == len(backed.hook.ids)
    assert backed.received("mail") == (["opened x1", "resolved x1"] if is_backed else [])


def test_dead_letters_end_when_none_is_left(backed: Desk) -> None:
    """The trouble is over when they were replayed, or dropped."""
    backed.hook.answer = lambda message: REFUSED
    backed.match_records()
    backed.deliver()
    assert "dead_letters hook" in backed.open_troubles()
    backed.hook.answer = lambda message: None
    with backed.database.write() as connection:
        delivery_transitions.drop(connection, outbox.DeliveryFilter(receiver="hook"), "sam")
    backed.later(minutes=1)
    assert backed.open_troubles() == []
    dropped = [row for row in backed.all_rows() if row.why == "dropped"]
    assert {(row.status, row.ref) for row in dropped} == {(DeliveryStatus.SUPPRESSED, "sam")}
