"""Fallbacks: a fallback receiver gets what its receiver does not accept, each opened and resolved message once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from msgspec.structs import replace

from actionwatch.alerts.policy import ReceiverPolicy, Storm
from actionwatch.alerts.routes import Route
from actionwatch.base.delivery import DeliveryStatus
from actionwatch.base.errors import TransientDeliveryError
from actionwatch.delivery.dead_letters import DeadLetters
from actionwatch.settings import RetryPolicy
from actionwatch.store import delivery_transitions, outbox
from actionwatch.store.outbox import DeliveryFilter
from tests.integration.delivery.kit import Desk, Rule, is_self_alert
from tests.integration.kit import DOWN, REFUSED, Sender
from tests.waiting import beside, wait_until

BUSY = TransientDeliveryError("the receiver answered 429", retry_after=timedelta(hours=1))


@pytest.fixture
def backed(desk: Desk) -> Desk:
    """Make mail the fallback of the hook."""
    desk.senders["mail"] = Sender()
    desk.policies["hook"] = ReceiverPolicy(fallback="mail")
    desk.route = Route(("hook",))
    return desk


def test_dead_letter_is_copied_to_the_fallback(backed: Desk) -> None:
    """The copy has its own id, names the receiver that it replaces, and is sent once. The original stays dead."""
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


def test_message_that_cannot_be_composed_is_copied_to_the_fallback(backed: Desk) -> None:
    """A dead letter that was not attempted, because its stored text is damaged, is copied like one that was refused."""
    alert_id = backed.match_records()
    (row,) = backed.rows(alert_id)
    with backed.database.write() as connection:
        delivery_transitions.freeze(connection, [replace(row, body="{")])
    backed.deliver()
    assert (backed.received(), backed.received("mail")) == ([], ["opened x1"])
    assert [each.status for each in backed.rows(alert_id)] == [DeliveryStatus.DEAD, DeliveryStatus.SENT]


def test_resolve_reaches_the_fallback_and_updates_do_not(backed: Desk) -> None:
    """A fallback that was notified gets the resolve; updates are not copied."""
    backed.hook.answer = lambda message: REFUSED
    alert_id = backed.match_records()
    backed.deliver()
    backed.match_records()
    backed.later(seconds=11)
    backed.operator.resolve(alert_id, "sam")
    backed.later(seconds=11)
    assert backed.received("mail") == ["opened x1", "resolved x2"]


@pytest.mark.parametrize("is_replayed", [True, False])
def test_resolve_reaches_receiver_and_fallback_if_both_were_notified(backed: Desk, is_replayed: bool) -> None:
    """The fallback gets the resolve even if the receiver accepted `opened` later; otherwise its incident would stay open."""
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


def dropped(desk: Desk) -> None:
    """Give the dead letter up."""
    DeadLetters(desk.database, list(desk.senders), desk.clock).drop(DeliveryFilter(receiver="hook"), "sam")


def sent_elsewhere(desk: Desk) -> None:
    """Send the dead letter to another receiver."""
    desk.senders["other"] = Sender()
    DeadLetters(desk.database, list(desk.senders), desk.clock).retry(DeliveryFilter(receiver="hook"), "sam", "other")


def silenced(desk: Desk) -> None:
    """Silence a later match."""
    desk.silence("userName=eve", hours=48)
    desk.match_records()


def collapsed(desk: Desk) -> None:
    """Let a later match come in a storm."""
    desk.policies["hook"] = ReceiverPolicy(fallback="mail", storm=Storm(1))
    desk.match_records(user_name="bob")
    desk.deliver()
    desk.match_records()


def removed(desk: Desk) -> None:
    """Remove the receiver from the configuration."""
    del desk.senders["hook"], desk.policies["hook"]
    desk.route = Route(("mail",))


def with_another_fallback(desk: Desk) -> None:
    """Configure another fallback."""
    desk.senders["pager"] = Sender()
    desk.policies["hook"] = ReceiverPolicy(fallback="pager")


@pytest.mark.parametrize(
    "what_follows",
    [dropped, sent_elsewhere, silenced, collapsed, removed, with_another_fallback],
    ids=lambda it: it.__name__,
)
def test_resolve_reaches_the_fallback_whatever_becomes_of_the_original(
    backed: Desk, what_follows: Callable[[Desk], None]
) -> None:
    """A fallback that got the opening gets the resolve, once, and it names the receiver that it replaces."""
    backed.hook.answer = lambda message: REFUSED
    alert_id = backed.match_records()
    backed.deliver()
    backed.hook.answer = lambda message: None
    what_follows(backed)
    backed.later(seconds=11)
    backed.operator.resolve(alert_id, "sam")
    backed.later(seconds=11)
    got = [message for message in backed.senders["mail"].sent if message.data["id"] == alert_id]
    assert [message.type for message in got] == ["alert.opened", "alert.resolved"]
    assert {message.fields[0] for message in got} == {("in place of", "hook")}


def test_fallback_that_has_the_alert_itself_gets_one_resolve(backed: Desk) -> None:
    """A route to the fallback and a copy for it are two openings, but one resolve."""
    backed.route = Route(("hook", "mail"))
    backed.hook.answer = lambda message: REFUSED
    alert_id = backed.match_records()
    backed.deliver()
    backed.operator.resolve(alert_id, "sam")
    backed.later(seconds=11)
    assert backed.received("mail") == ["opened x1", "opened x1", "resolved x1"]


@pytest.mark.parametrize("is_over", [True, False])
def test_next_run_tries_a_failing_receiver_before_it_copies(backed: Desk, is_over: bool) -> None:
    """`run --once` tries a receiver that failed an hour ago. Only if it still fails, the fallback gets a copy, in that run."""
    backed.hook.answer = lambda message: REFUSED
    backed.match_records(Rule(realert=None))
    backed.deliver()
    backed.hook.answer = lambda message: None if is_over else DOWN
    backed.match_records(Rule(realert=None))
    backed.later(hours=1)
    assert backed.received("mail") == ["opened x1"] * (1 if is_over else 2)
    assert ("receiver_failing hook" in backed.open_troubles()) is not is_over


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


def test_pending_messages_are_copied_after_fallback_after(backed: Desk) -> None:
    """After `fallback_after` the pending messages are copied; the originals still arrive late."""
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


def test_messages_paused_by_retry_after_are_copied(backed: Desk) -> None:
    """Messages that were not attempted because of Retry-After are copied too, after the gates."""
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


def test_fallback_can_have_a_fallback(backed: Desk) -> None:
    """The dead letter of a fallback goes to the next fallback."""
    backed.senders["pager"] = Sender()
    backed.policies["mail"] = ReceiverPolicy(fallback="pager")
    backed.hook.answer = backed.senders["mail"].answer = lambda message: REFUSED
    backed.match_records()
    backed.deliver()
    assert backed.received("pager") == ["opened x1"]


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


@pytest.mark.parametrize("is_backed", [True, False])
def test_replay_of_a_resolved_alert_is_followed_by_its_resolve(backed: Desk, is_backed: bool) -> None:
    """A receiver that gets `opened` by a replay also gets the resolve; otherwise its incident would stay open."""
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


def test_dead_letters_self_alert_resolves_when_none_is_left(backed: Desk) -> None:
    """The self-alert resolves after the dead letters are replayed or dropped."""
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
