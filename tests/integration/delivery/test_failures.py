"""Failures: a message is retried or becomes a reported dead letter, whatever its notifier does."""

from __future__ import annotations

import threading

import pytest
from msgspec.structs import replace

from actionwatch.base.delivery import DeliveryStatus
from actionwatch.base.errors import DeliveryError
from actionwatch.base.model import Event, Message
from actionwatch.delivery.attempt import LEASE
from actionwatch.delivery.dead_letters import DeadLetters
from actionwatch.store import delivery_transitions, outbox
from actionwatch.store.outbox import DeliveryFilter
from tests.integration.delivery.delivering import hook
from tests.integration.delivery.kit import Desk
from tests.integration.kit import REFUSED, Post, Sender, settle


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
