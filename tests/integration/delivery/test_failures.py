"""Failures: a message is retried or becomes a reported dead letter, whatever its notifier does."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from msgspec.structs import replace

from actionwatch.base.delivery import DeliveryStatus
from actionwatch.base.errors import DeliveryError, TransientDeliveryError
from actionwatch.base.model import Event, Message, Receipt
from actionwatch.delivery.attempt import LEASE
from actionwatch.delivery.dead_letters import DeadLetters
from actionwatch.delivery.health import FAILING_AFTER
from actionwatch.delivery.leader import HEALTH_EVERY
from actionwatch.store import delivery_transitions, outbox, receivers
from actionwatch.store.outbox import DeliveryFilter
from tests.builders import NOON
from tests.integration.delivery.delivering import IMPATIENT, SECOND, history_of, hook
from tests.integration.delivery.kit import Desk
from tests.integration.kit import DOWN, REFUSED, Post, Sender, settle


def test_failed_message_is_retried_with_growing_delays(post: Post) -> None:
    """A failed message is retried with growing delays, under the same id, until the receiver accepts it."""
    answers = [DOWN, DOWN, DOWN]
    hook(post).answer = lambda message: answers.pop() if answers else None
    post.open_alerts("one")
    waits = []
    with post.delivering() as worker:
        for _ in range(4):
            settle(worker)
            (row,) = post.rows()
            if row.status is DeliveryStatus.PENDING:
                waits.append(round((row.due_at - post.clock()).total_seconds()))
                post.clock.now = row.due_at - timedelta(microseconds=1)
                settle(worker)
                post.clock.now = row.due_at
    assert waits == [1, 2, 4]
    assert len(hook(post).sent) == 4
    assert len(set(hook(post).ids)) == 1
    assert row.attempts == 4
    assert [line.split(";")[0] for line in history_of(post, "one")] == [
        *(f"attempt {n}: the receiver answered 503" for n in (1, 2, 3)),
        "attempt 4: alert.opened accepted",
    ]


def test_retry_after_pauses_the_receiver(post: Post) -> None:
    """A Retry-After pauses all messages to the receiver, also in the next process, but to no other receiver."""
    busy = TransientDeliveryError("busy", retry_after=timedelta(minutes=2))
    answers = [DOWN, TransientDeliveryError("busy", retry_after=SECOND), busy]
    post.channel = {"concurrency": 1}
    post.senders["other"] = Sender()
    hook(post).answer = lambda message: answers.pop() if answers else None
    with post.delivering() as worker:
        post.open_alerts("one", "two", "three")
        settle(worker)
        post.open_alerts("four")
        post.open_alerts("five", receiver="other")
        settle(worker)
    assert len(hook(post).sent) == 3  # messages in hand when it responded with Retry-After
    assert len(post.senders["other"].sent) == 1
    post.clock.advance(seconds=100)
    post.deliver()
    assert len(hook(post).sent) == 3
    post.clock.advance(seconds=20)
    post.deliver()
    assert len(hook(post).sent) == 7


def test_dead_letters_raise_one_self_alert_that_resolves_after_a_replay(post: Post) -> None:
    """Messages that are given up raise one self-alert. After a replay under the same id succeeds, it resolves."""
    post.channel = {"retry": IMPATIENT}
    post.senders["ops"] = Sender()
    hook(post).answer = lambda message: DOWN
    post.open_alerts("one", "two")
    for _ in range(40):
        post.deliver()
        post.clock.advance(seconds=5)
    assert post.states() == ["hook opened dead"] * 2
    assert all((row.why or "").startswith("gave up after") for row in post.rows())
    assert post.open_troubles() == ["dead_letters hook"]
    assert [message.data["title"] for message in post.senders["ops"].sent] == ["Alerts did not reach hook"]
    before = hook(post).ids
    hook(post).answer = lambda message: None
    with post.database.write() as connection:
        delivery_transitions.requeue(connection, DeliveryFilter(), post.clock())
    post.deliver()
    post.clock.advance(seconds=5)
    post.deliver()
    assert post.states() == ["hook opened sent"] * 2
    assert {row.id for row in post.rows()} <= set(before)
    assert post.open_troubles() == []
    assert [message.type for message in post.senders["ops"].sent] == ["alert.opened", "alert.resolved"]


@pytest.mark.parametrize(("receiver", "why"), [("hook", ""), ("gone", ": the receiver is no longer configured")])
def test_more_dead_letters_are_reported_in_one_update(post: Post, receiver: str, why: str) -> None:
    """While a dead letter is left, people get one update when there are more, also of a receiver that is not configured."""
    post.senders["ops"] = Sender()
    hook(post).answer = lambda message: REFUSED
    for names in (["one"], ["two", "three"]):
        post.open_alerts(*names, receiver=receiver)
        for _ in range(3):
            post.deliver()
            post.clock.advance(minutes=1)
    sent = [each for each in post.senders["ops"].sent if each.data["labels"]["trouble"] == "dead_letters"]
    about = [(each.type, each.data["body"]) for each in sent if each.data["group"] == {"subject": receiver}]
    assert about == [
        ("alert.opened", f"1 of its messages was given up{why}"),
        ("alert.updated", f"3 of its messages were given up{why}"),
    ]
    assert post.open_troubles().count(f"dead_letters {receiver}") == 1


def test_dead_reports_of_dead_letters_make_no_further_ones(post: Post) -> None:
    """If no receiver accepts the report of dead letters, it does not become a dead letter again and again."""
    post.senders["ops"] = Sender(answer=lambda message: REFUSED)
    hook(post).answer = lambda message: REFUSED
    post.open_alerts("one")
    counts = []
    for _ in range(20):
        post.deliver()
        post.clock.advance(minutes=2)
        with post.database.read() as connection:
            counts.append(len(outbox.find(connection, limit=1000)))
    assert counts[-10:] == counts[-1:] * 10


@pytest.mark.parametrize("to", ["hook", "other"])
@pytest.mark.parametrize("dead", [Event.OPENED, Event.UPDATED])
def test_end_follows_a_dead_letter_that_is_retried_after_the_end(desk: Desk, dead: Event, to: str) -> None:
    """A dead letter that is sent after its receiver got the end opens the alert there again: one more end follows it."""
    desk.senders["other"] = Sender()
    for is_refused in (dead is Event.OPENED, dead is Event.UPDATED):
        desk.hook.answer = (lambda message: REFUSED) if is_refused else (lambda message: None)
        alert_id = desk.match_records()
        desk.later(seconds=20)
    desk.hook.answer = lambda message: None
    desk.operator.resolve(alert_id, "sam")
    desk.later(seconds=20)
    assert [row.event for row in desk.rows() if row.status is DeliveryStatus.DEAD] == [dead]
    got = desk.senders[to]
    assert got.types[-1] == "alert.resolved"
    got.sent.clear()
    letters = DeadLetters(desk.database, desk.senders, desk.clock)
    for _ in range(2):  # the second retry finds nothing
        letters.retry(DeliveryFilter(), "sam", to)
        desk.later(minutes=1)
    assert got.types == [f"alert.{dead.word}", "alert.resolved"]
    assert len(set(got.ids)) == len(got.ids)


def test_failing_receiver_raises_one_self_alert(post: Post) -> None:
    """A receiver that fails for long raises one self-alert, which resolves with the first success."""
    hook(post).answer = lambda message: DOWN
    post.open_alerts("one")
    with post.delivering() as worker:
        settle(worker)
        post.clock.advance(seconds=FAILING_AFTER.total_seconds() - 1)
        settle(worker)
        assert post.open_troubles() == []
        for _ in range(3):
            post.clock.advance(seconds=HEALTH_EVERY.total_seconds())
            settle(worker)
        assert post.open_troubles() == ["receiver_failing hook"]
        hook(post).answer = lambda message: None
        post.clock.advance(minutes=10)
        settle(worker)
        post.clock.advance(seconds=HEALTH_EVERY.total_seconds())
        settle(worker)
        assert post.open_troubles() == []


def test_unexpected_exception_of_a_notifier_is_retried(post: Post) -> None:
    """An unexpected exception costs one attempt. The error names its type, without its text."""
    answers = [ValueError("a secret")]
    hook(post).answer = lambda message: answers.pop() if answers else None
    post.open_alerts("one", "two")
    post.deliver()
    assert sorted(post.states()) == ["hook opened pending", "hook opened sent"]
    failed = next(row for row in post.rows() if row.status is DeliveryStatus.PENDING)
    assert failed.last_error == "unexpected ValueError"
    post.clock.advance(seconds=2)
    post.deliver()
    assert post.states() == ["hook opened sent"] * 2


def test_messages_of_a_removed_receiver_are_dead_at_the_next_start(post: Post) -> None:
    """Pending messages of a removed receiver are dead at the next start, and dead again after a replay."""
    post.open_alerts("one", receiver="gone")
    post.deliver()
    (row,) = post.rows()
    assert (row.status, row.why) == (DeliveryStatus.DEAD, "no longer configured")
    with post.delivering() as worker:
        settle(worker)
        with post.database.write() as connection:
            assert delivery_transitions.requeue(connection, DeliveryFilter(), post.clock()) == 1
        post.clock.advance(seconds=HEALTH_EVERY.total_seconds())
        settle(worker)
    assert post.rows()[0].status is DeliveryStatus.DEAD


def test_self_alert_of_a_removed_receiver_resolves(post: Post) -> None:
    """The self-alert about a failing receiver resolves when the receiver is removed from the configuration."""
    with post.database.write() as connection:
        receivers.note_failure(connection, "gone", NOON - timedelta(hours=1), "503", None)
    post.troubles.report("receiver_failing", "gone", "x", "")
    post.deliver()
    assert post.open_troubles() == []


class Odd(BaseException):
    """An exception that no `except Exception` catches."""


@pytest.mark.parametrize("error", [SystemExit(1), MemoryError(), Odd(), KeyboardInterrupt()], ids=repr)
def test_any_exception_of_a_notifier_leads_to_a_retry(post: Post, error: BaseException) -> None:
    """Whatever exception a notifier raises, its thread survives and the message is retried."""
    answers: list[BaseException | None] = [error, None]

    def answer(message: Message) -> None:
        if (raised := answers.pop(0)) is not None:
            raise raised

    post.senders["hook"].answer = answer
    post.open_alerts("a")
    with post.delivering() as worker:
        settle(worker)
        assert post.states() == ["hook opened pending"]
        post.clock.advance(hours=1)
        settle(worker)
    assert post.states() == ["hook opened sent"]


@pytest.mark.parametrize("receipt", [Receipt(reference="C1:\ud800"), Receipt(note="refused \ud800")], ids=repr)
def test_receipt_with_invalid_characters_is_recorded(post: Post, receipt: Receipt) -> None:
    """A receipt with a character that the store refuses is recorded, and delivery continues."""
    post.senders["hook"].answer = lambda message: receipt
    post.open_alerts("a", "b")
    post.deliver()
    assert post.states() == ["hook opened sent"] * 2


def test_frozen_body_that_cannot_be_read_becomes_a_dead_letter(post: Post) -> None:
    """A body that is nested too deeply to be read becomes a dead letter, and the other messages are sent."""
    post.open_alerts("a", "b")
    depth = 100_000  # too much for each version of Python
    body = '{"data":' + '{"x":' * depth + "0" + "}" * depth + "}"
    with post.database.write() as connection:
        first = replace(post.rows("a")[0], body=body)
        delivery_transitions.freeze(connection, [first])
    post.deliver()
    assert [(row.status.value, row.why) for row in post.rows()] == [
        ("dead", "cannot be read: RecursionError"),
        ("sent", None),
    ]


def test_messages_are_sent_after_a_thread_could_not_start(post: Post) -> None:
    """If the system refuses a thread, the claimed messages are sent in a later round."""
    post.open_alerts("a", "b")
    with post.delivering() as worker:
        before = threading.stack_size(1 << 46)  # more than the address space
        try:
            with pytest.raises(RuntimeError, match="can't start new thread"):
                worker.run_once(0.0)
        finally:
            threading.stack_size(before)
        settle(worker)
    assert post.states() == ["hook opened sent"] * 2


def test_hanging_send_is_reported(post: Post) -> None:
    """A send that takes longer than its lease is reported; a send that has just started is not."""
    post.senders["hook"].gate.clear()
    post.open_alerts("a")
    with post.delivering() as worker:
        worker.run_once()
        worker.receivers.check_sends()
        line = worker.receivers.by_name["hook"]
        line.in_hand = {name: began - LEASE.total_seconds() - 1 for name, began in line.in_hand.items()}
        with pytest.raises(DeliveryError, match="hook have been running for more than 5m"):
            worker.receivers.check_sends()
    worker.receivers.check_sends()
