"""Every message reaches its receiver or becomes a reported dead letter, and one receiver does not delay another."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection

from actionwatch.alerts.policy import ReceiverPolicy
from actionwatch.base.delivery import DeliveryStatus
from actionwatch.base.errors import DeliveryError, Fault, StoreBusy, TransientDeliveryError
from actionwatch.base.model import Event, Message, Receipt, Record, Status
from actionwatch.delivery import compose, schedule
from actionwatch.delivery.claiming import LEASE
from actionwatch.delivery.compose import freeze, thaw
from actionwatch.delivery.health import FAILING_AFTER
from actionwatch.delivery.receiver_worker import IN_HAND, MOST_IN_HAND
from actionwatch.delivery.worker import HEALTH_EVERY, DeliveryWorker
from actionwatch.settings import RetryPolicy
from actionwatch.store import alert_history, alerts, delivery_transitions, outbox, receivers
from actionwatch.store.database import Database
from actionwatch.store.outbox import DeliveryFilter
from tests.builders import NOON, QUARTER, Clock, lease_due, make_delivery, make_message, make_record, url_of
from tests.children import run_child
from tests.integration.kit import DOWN, REFUSED, KindRule, Post, Sender, settle
from tests.waiting import LIMIT, PATIENT, at_least, beside, pause, stopwatch, wait_until

GROUPED = KindRule(realert=QUARTER)
SECOND = timedelta(seconds=1)
IMPATIENT = RetryPolicy(first=SECOND, give_up_after=timedelta(minutes=1))


def hook(post: Post) -> Sender:
    """Return the sender of the receiver `hook`."""
    return post.senders["hook"]


def match_record(post: Post, number: int = 1, *, minutes: float = 0) -> None:
    """Store a record of a cluster deletion by eve, and match it."""
    post.store(make_record(number, minutes=minutes))
    post.matcher(GROUPED).run_once()


def resolve(post: Post) -> None:
    """Resolve the one alert."""
    (alert,) = post.alerts().values()
    resolved = replace(alert, status=Status.RESOLVED, resolved_by="eve", resolved_at=post.clock())
    with post.database.write() as connection:
        alerts.update(connection, resolved)
        post.addressing.resolve(connection, resolved, post.clock())


def history_of(post: Post, alert_id: str) -> list[str]:
    """Return the delivery entries of the history of an alert."""
    with post.database.read() as connection:
        return [entry.what for entry in alert_history.read(connection, alert_id) if entry.stage.startswith("delivery")]


@dataclass
class TickingClock(Clock):
    """A clock that runs by itself from the time to which it is set."""

    passed: Callable[[], float] = field(default_factory=stopwatch)

    def __call__(self) -> datetime:
        return self.now + timedelta(seconds=self.passed())


@contextmanager
def side_by_side(post: Post) -> Iterator[None]:
    """Let two processes deliver from one store, neither of which assumes that it is alone."""
    is_over = threading.Event()

    def work(worker: DeliveryWorker) -> None:
        while not is_over.is_set():
            worker.run_once(0.005)
        worker.finish()

    one, other = post.worker(), post.worker()
    with beside(lambda: work(one), is_over.set), beside(lambda: work(other), is_over.set):
        yield


# -- one message -------------------------------------------------------------------------------------------------------


def test_message_contains_the_alert_and_ends_sent(post: Post) -> None:
    """A message contains its alert with records and fields, has the id of the delivery, and ends as sent."""
    match_record(post)
    post.clock.advance(seconds=3)
    post.deliver()
    (message,) = hook(post).sent
    (row,) = post.rows()
    assert (message.id, message.type, message.timestamp) == (row.id, "alert.opened", post.clock())
    assert message.data["count"] == 1
    assert [record["userName"] for record in message.data["records"]] == ["eve"]
    assert message.fields == (
        ("timestamp", "2026-11-25T12:00:00.000Z"),
        ("userName", "eve"),
        ("actionKind", "DELETE_CLUSTER"),
    )
    assert hook(post).texts[0].texts == {"t.txt": "alert.opened"}
    assert (row.status, row.attempts, row.sent_at) == (DeliveryStatus.SENT, 1, post.clock())
    assert history_of(post, row.alert_id) == ["attempt 1: alert.opened accepted"]
    assert hook(post).is_closed


@pytest.mark.parametrize("odd", ["\ud800 \x00 ü", "\x00 ü 😀", 2**70, -1.5, {"a": [None, {}]}], ids=repr)
def test_frozen_message_is_read_back_unchanged(odd: object) -> None:
    """A frozen message is read back unchanged, including unusual characters and numbers."""
    message = make_message({"title": odd, "late": None, "n": 1.5}, fields=(("a", "b\n"),))
    assert thaw(message.id, freeze(message)) == message


def test_receiver_reference_is_passed_to_later_messages(post: Post) -> None:
    """The reference that a receiver returns is passed with each later message of the alert; its note is stored."""
    hook(post).answer = lambda message: Receipt(reference="ts-1", note="bob was refused")
    match_record(post)
    post.deliver()
    match_record(post, 2, minutes=1)
    post.clock.advance(minutes=1)
    post.deliver()
    assert hook(post).references == [None, "ts-1"]
    assert post.rows()[0].why == "bob was refused"
    assert history_of(post, post.rows()[0].alert_id)[0] == "attempt 1: alert.opened accepted; bob was refused"


def test_failed_template_does_not_stop_a_message(post: Post) -> None:
    """A message whose template fails is still sent, and the history shows the failure."""
    post.renderer.failures = (Fault("t.txt", 3, 1, "no such field"),)
    match_record(post)
    post.deliver()
    assert post.states() == ["hook opened sent"]
    assert history_of(post, post.rows()[0].alert_id)[0] == "template: t.txt:3:1: no such field"
    assert post.open_troubles() == ["template_failing t.txt"]


def test_failure_of_a_template_is_settled_when_it_is_replaced(post: Post) -> None:
    """A replica that does not lead settles its own report: the files of the leader may never change."""
    post.renderer.failures = (Fault("t.txt", 3, 1, "no such field"),)
    match_record(post)
    with post.delivering() as worker:
        settle(worker)
        assert post.open_troubles() == ["template_failing t.txt"]
        post.renderer.version += 1
        worker.run_once()
    assert post.open_troubles() == []


def test_failure_of_a_template_that_was_replaced_is_not_reported(post: Post) -> None:
    """Nobody would settle the report of a failure that is recorded after the template was repaired."""
    post.renderer.failures = (Fault("t.txt", 3, 1, "no such field"),)
    hook(post).gate.clear()
    match_record(post)
    with post.delivering() as worker:
        worker.run_once()
        wait_until(lambda: hook(post).sent, "the attempt")
        post.renderer.version += 1
        hook(post).gate.set()
        settle(worker)
    assert history_of(post, post.rows()[0].alert_id)[0] == "template: t.txt:3:1: no such field"
    assert post.open_troubles() == []


def test_alert_that_cannot_be_rendered_becomes_a_dead_letter(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """An alert that cannot become a message, or that is no longer stored, is a dead letter; the others are sent."""

    def show(record: Record, names: Sequence[str]) -> tuple[tuple[str, str], ...]:
        return (("user", {"bob": "bob"}[record.user_name or ""]),)

    monkeypatch.setattr(compose, "shown_texts", show)
    post.store(make_record(raw="no json", user_name="bob", minutes=-100), make_record(2))
    post.matcher(GROUPED).run_once()
    post.open_alerts("gone")
    with post.database.write() as connection:
        delivery_transitions.enqueue(connection, [make_delivery("unknown")])
    post.deliver()
    assert sorted((row.status.value, row.why or "") for row in post.rows()) == [
        ("dead", "cannot be written: KeyError"),
        ("dead", "its alert is no longer in the store"),
        ("sent", ""),
        ("sent", ""),
    ]


# -- what follows the first message ------------------------------------------------------------------------------------


def test_updates_are_coalesced_per_interval(post: Post) -> None:
    """After `opened`, later matches create one `updated` per `updates` interval, with the newest state."""
    match_record(post)
    with post.delivering() as worker:
        settle(worker)
        for number in range(2, 7):
            match_record(post, number, minutes=number / 10)
            settle(worker)
        assert hook(post).types == ["alert.opened"]
        post.clock.advance(seconds=10)
        settle(worker)
        assert [message.data["count"] for message in hook(post).sent] == [1, 6]
        match_record(post, 7, minutes=1)
        post.clock.advance(seconds=9)
        settle(worker)
        assert len(hook(post).sent) == 2
        post.clock.advance(seconds=1)
        settle(worker)
    assert hook(post).types == ["alert.opened", "alert.updated", "alert.updated"]
    assert len(set(hook(post).ids)) == 3


def test_update_keeps_its_interval_after_a_late_message(post: Post) -> None:
    """An `updated` keeps its interval after a message that was itself sent late."""
    match_record(post)
    post.clock.advance(minutes=5)
    post.deliver()
    match_record(post, 2)
    post.clock.advance(seconds=9)
    post.deliver()
    assert hook(post).types == ["alert.opened"]
    post.clock.advance(seconds=1)
    post.deliver()
    assert hook(post).types == ["alert.opened", "alert.updated"]


def test_receiver_with_only_the_last_update_gets_one(post: Post) -> None:
    """A receiver with `is_updated_last` gets one update when no more records can join the alert."""
    post.policies["hook"] = ReceiverPolicy(is_updated_last=True)
    match_record(post)
    post.deliver()
    for number in (2, 3):
        match_record(post, number, minutes=number)
        post.clock.advance(minutes=1)
        post.deliver()
    assert hook(post).types == ["alert.opened"]
    post.clock.now = NOON + QUARTER
    post.deliver()
    assert [message.data["count"] for message in hook(post).sent] == [1, 3]


def test_message_is_frozen_at_its_first_attempt(post: Post) -> None:
    """A message is the same on every attempt; records that join meanwhile create one `updated` after it."""
    answers = [DOWN, DOWN]
    hook(post).answer = lambda message: answers.pop() if answers else None
    match_record(post)
    post.deliver()
    for number in (2, 3):
        match_record(post, number, minutes=number)
    for _ in range(4):
        post.clock.advance(seconds=20)
        post.deliver()
    assert [message.data["count"] for message in hook(post).sent] == [1, 1, 1, 3]
    assert hook(post).sent[0] == hook(post).sent[1] == hook(post).sent[2]
    assert post.states() == ["hook opened sent", "hook updated sent"]


def test_update_becomes_opened_if_opened_is_dead(post: Post) -> None:
    """An `updated` after a dead `opened` becomes `opened`."""
    answers = [REFUSED]
    hook(post).answer = lambda message: answers.pop() if answers else None
    match_record(post)
    post.deliver()
    match_record(post, 2, minutes=1)
    post.clock.advance(minutes=1)
    post.deliver()
    assert hook(post).types == ["alert.opened", "alert.opened"]
    assert post.states() == ["hook opened dead", "hook opened sent"]


def test_resolve_reaches_only_notified_receivers(post: Post) -> None:
    """A resolve reaches the receivers that were notified, after their other messages, and no other receiver."""
    post.senders["down"] = Sender(answer=lambda message: REFUSED)
    match_record(post)
    post.deliver()
    resolve(post)
    post.deliver()
    assert hook(post).types == ["alert.opened", "alert.resolved"]
    assert hook(post).sent[1].data["status"] == "resolved"
    assert post.senders["down"].types == ["alert.opened"]
    assert "down resolved suppressed" in post.states()


def test_resolve_replaces_a_pending_update(post: Post) -> None:
    """A resolve replaces at once an update that was not attempted."""
    match_record(post)
    post.deliver()
    match_record(post, 2, minutes=1)
    resolve(post)
    post.deliver()
    assert hook(post).types == ["alert.opened", "alert.resolved"]
    assert len(post.rows()) == 2


def test_resolve_does_not_replace_a_pending_opened_message(post: Post) -> None:
    """An alert that is resolved before its first message is sent as `opened`, then as `resolved`."""
    match_record(post)
    resolve(post)
    post.deliver()
    assert hook(post).types == ["alert.opened", "alert.resolved"]


# -- failures ----------------------------------------------------------------------------------------------------------


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


# -- order, numbers, others --------------------------------------------------------------------------------------------


def test_retry_does_not_change_the_order_within_an_alert(post: Post) -> None:
    """While a message waits for a retry, later messages of its alert wait too; other alerts do not."""
    answers = [DOWN]
    hook(post).answer = lambda message: answers.pop() if message.data["title"].endswith("eve") and answers else None
    match_record(post)
    post.deliver()
    match_record(post, 2, minutes=1)
    resolve(post)
    post.open_alerts("other")
    post.deliver()
    assert [message.data["title"] for message in hook(post).sent] == ["cluster_deleted by eve", "other"]
    post.clock.advance(minutes=1)
    post.deliver()
    assert hook(post).types == ["alert.opened"] * 3 + ["alert.resolved"]


def test_hanging_receiver_does_not_delay_another(post: Post) -> None:
    """While one receiver hangs in all its threads, hundreds of messages reach another."""
    post.senders["hanging"] = Sender()
    post.senders["hanging"].gate.clear()
    with post.delivering() as worker:
        post.open_alerts(*(f"h{n}" for n in range(100)), receiver="hanging")
        post.open_alerts(*(f"f{n}" for n in range(300)))
        while len(hook(post).sent) < 300:
            worker.run_once(0.05)
        wait_until(lambda: len(post.senders["hanging"].sent) == 4, "one message in each of its threads")
    assert post.senders["hanging"].most_at_once == 4


@pytest.mark.parametrize("concurrency", [1, 3])
def test_concurrency_is_not_exceeded(post: Post, concurrency: int) -> None:
    """At most `concurrency` messages are sent at the same time. With 1, they are sent in the order of their due times."""
    post.channel = {"concurrency": concurrency}
    names = [f"a{n}" for n in range(60)]
    post.open_alerts(*names)
    post.deliver()
    assert hook(post).most_at_once <= concurrency
    assert sorted(message.data["title"] for message in hook(post).sent) == sorted(names)
    if concurrency == 1:
        assert [message.data["title"] for message in hook(post).sent] == names


def test_fast_receiver_gets_larger_batches(post: Post) -> None:
    """A fast receiver gets larger batches, within a limit. A hanging one never has more than a few per thread."""
    post.channel = {"concurrency": 2}
    post.senders["hanging"] = Sender()
    post.senders["hanging"].gate.clear()
    post.open_alerts(*(f"a{n}" for n in range(20)), receiver="hanging")
    handed: list[int] = []
    with post.delivering() as worker:
        assert worker.run_once(0.0) == worker.under_way() == 2 * IN_HAND
        post.open_alerts(*(f"b{n}" for n in range(300)))
        while len(hook(post).sent) < 300:
            wait_until(lambda: len(hook(post).sent) == sum(handed), "the first round, then the others")
            handed.append(worker.run_once(0.01))
        assert worker.under_way() >= 2 * IN_HAND
    assert handed[0] == 2 * IN_HAND < max(handed) <= 2 * MOST_IN_HAND
    assert len(post.senders["hanging"].sent) == 2 * IN_HAND


def test_rate_is_not_exceeded(post: Post) -> None:
    """Messages are sent no faster than the receiver's rate, without a burst."""
    post.clock = TickingClock(post.clock.now)
    post.channel = {"rate_per_second": 50.0}
    post.open_alerts(*(f"a{n}" for n in range(6)))
    with at_least(5 / 50):
        post.worker().drain()
    assert len(hook(post).sent) == 6


@pytest.mark.parametrize("concurrency", [1, 3])
def test_processes_share_the_concurrency(post: Post, concurrency: int) -> None:
    """Two processes on one store together do not exceed the concurrency, and send nothing twice."""
    post.clock = TickingClock(post.clock.now)
    post.channel = {"concurrency": concurrency}
    hook(post).answer = lambda message: pause(0.005)
    post.open_alerts(*(f"a{n}" for n in range(60)))
    with side_by_side(post):
        wait_until(lambda: len(hook(post).sent) == 60, "every message", lambda: len(hook(post).sent))
    assert hook(post).most_at_once <= concurrency
    assert len(set(hook(post).ids)) == 60
    assert post.states() == ["hook opened sent"] * 60


def test_leases_of_another_process_count_towards_the_concurrency(post: Post) -> None:
    """A lease of another process reduces what this one claims; only a process that is alone claims larger batches."""
    post.clock = TickingClock(post.clock.now)
    post.channel = {"concurrency": 3}
    post.open_alerts(*(f"a{n}" for n in range(9)))
    with post.database.write() as connection:
        assert len(lease_due(connection, "hook", post.clock(), 1)) == 1
    hook(post).gate.clear()
    worker = post.worker()
    assert worker.run_once() == 2
    assert worker.run_once() == 0
    with post.database.write() as connection:
        delivery_transitions.release(connection, ())
    post.clock.advance(seconds=1)
    assert worker.run_once() > 3
    hook(post).gate.set()
    settle(worker)
    worker.finish()
    assert len(set(hook(post).ids)) == 9


def test_processes_share_the_rate(post: Post) -> None:
    """Two processes on one store together do not exceed the rate."""
    post.clock = TickingClock(post.clock.now)
    post.channel = {"rate_per_second": 50.0}
    post.open_alerts(*(f"a{n}" for n in range(11)))
    with side_by_side(post), at_least(10 / 50):
        wait_until(lambda: len(hook(post).sent) == 11, "every message", lambda: len(hook(post).sent))
    assert len(set(hook(post).ids)) == 11


def test_processes_share_a_pause(post: Post) -> None:
    """The Retry-After that one process received also pauses the other, and a failure without one does not end the pause."""
    hook(post).answer = lambda message: TransientDeliveryError("busy", retry_after=timedelta(minutes=5))
    post.open_alerts("one")
    one, other = post.worker(), post.worker()
    settle(one)
    with post.database.write() as connection:
        receivers.note_failure(connection, "hook", post.clock(), "another error", None)
    post.open_alerts("two")
    settle(other)
    assert len(hook(post).sent) == 1
    hook(post).answer = lambda message: None
    post.clock.advance(minutes=6)
    settle(other)
    assert len(hook(post).sent) == 3
    one.finish()
    other.finish()


def test_clock_set_back_does_not_pause_a_receiver(post: Post) -> None:
    """If the next send time of a rate is hours ahead, because the clock was set back, the receiver is not paused."""
    post.channel = {"rate_per_second": 50.0}
    with post.database.write() as connection:
        receivers.note_next(connection, "hook", post.clock() + timedelta(hours=1))
    post.open_alerts("one")
    with post.delivering() as worker:
        settle(worker)
        post.clock.advance(hours=-2)
        post.open_alerts("two")
        settle(worker)
    assert post.states() == ["hook opened sent"] * 2


def test_idle_loop_runs_about_once_a_second(post: Post) -> None:
    """If nothing is due, the loop runs about once a second, also with a hanging or a paused receiver."""
    post.channel = {"concurrency": 1}
    busy = TransientDeliveryError("busy", retry_after=timedelta(hours=1))
    post.senders |= {"hanging": Sender(), "paused": Sender(answer=lambda message: busy)}
    post.senders["hanging"].gate.clear()
    post.open_alerts(*(f"h{n}" for n in range(9)), receiver="hanging")
    post.open_alerts(*(f"p{n}" for n in range(9)), receiver="paused")
    post.open_alerts("one")
    readings = 0
    clock = post.clock

    class CountingClock(Clock):
        def __call__(self) -> object:  # type: ignore[override]
            nonlocal readings
            readings += 1
            return self.now

    post.clock = CountingClock(clock.now)
    worker = post.worker(stop_seconds=0.05)
    with beside(worker.run, stop=worker.stop):
        wait_until(lambda: post.states().count("hook opened sent") == 1, "the message to the healthy receiver")
        wait_until(
            lambda: post.senders["paused"].sent and post.senders["hanging"].sent, "the messages to the other receivers"
        )
        before, passed = readings, stopwatch()
        pause(0.7)
        rate = (readings - before) / passed()
    post.senders["hanging"].gate.set()
    assert len(hook(post).sent) == 1
    assert rate < 90


# -- ends and beginnings of processes ----------------------------------------------------------------------------------


def test_wake_delivers_at_once(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that is added while the loop sleeps is sent when the loop is woken, not at its next poll."""
    monkeypatch.setattr(type(post.database._backend), "look_seconds", 2 * LIMIT)
    monkeypatch.setattr(schedule, "IDLE_SECONDS", 2 * LIMIT)
    worker = post.worker()
    with beside(worker.run, stop=worker.stop):
        for number in range(20):
            post.open_alerts(f"a{number}")
            worker.wake()
            wait_until(lambda number=number: len(hook(post).sent) > number, "the new message")  # type: ignore[misc]
    assert post.states() == ["hook opened sent"] * 20


def test_stop_finishes_and_records_messages_in_progress(post: Post) -> None:
    """After a stop, a message in progress is finished and recorded, and no new one is started."""
    post.channel = {"concurrency": 1}
    hook(post).gate.clear()
    post.open_alerts("one")
    worker = post.worker()
    with beside(worker.run, stop=worker.stop):
        wait_until(lambda: hook(post).sent, "a message to hold")
        worker.stop()
        post.open_alerts("two")
        pause(0.02)
        hook(post).gate.set()
    assert post.states() == ["hook opened sent", "hook opened pending"]
    assert hook(post).is_closed


def test_hanging_send_does_not_block_a_stop(post: Post) -> None:
    """A hanging send does not block the stop. It is repeated later under the same id, and so is what waited behind it."""
    post.channel = {"concurrency": 1}
    hook(post).gate.clear()
    post.open_alerts("one", "two")
    worker = post.worker(stop_seconds=0.1)
    with beside(worker.run, stop=worker.stop):
        wait_until(lambda: hook(post).sent, "a message to hold")
    assert not hook(post).is_closed
    hook(post).gate.set()
    post.deliver()
    assert post.states() == ["hook opened sent"] * 2
    assert hook(post).ids.count(hook(post).ids[0]) == 2
    assert len(hook(post).ids) == 3


def test_lease_of_a_dead_process_expires(post: Post) -> None:
    """A message that a dead process leased is delivered after the lease, without a start that releases it."""
    post.open_alerts("one")
    with post.database.write() as connection:
        assert lease_due(connection, "hook", post.clock())
    with post.delivering(stop_seconds=0.1) as worker:
        pass
    assert hook(post).sent == []
    post.clock.advance(minutes=6)
    worker = post.worker()
    settle(worker)
    worker.finish()
    assert post.states() == ["hook opened sent"]


def test_send_longer_than_its_lease_is_not_started_again(post: Post) -> None:
    """A send that takes longer than its lease is not started a second time."""
    hook(post).gate.clear()
    post.open_alerts("one")
    with post.delivering() as worker:
        worker.run_once(0.0)
        for _ in range(3):
            post.clock.advance(minutes=6)
            worker.run_once(0.0)
        hook(post).gate.set()
        settle(worker)
        assert len(hook(post).sent) == 1
        assert post.states() == ["hook opened sent"]


CRASH = """
import os, sys
from datetime import timedelta
from actionwatch.store.database import Database
from tests.integration.kit import Post, Sender, settle

class Fatal(Sender):
    def send(self, message, rendered, reference):
        print(message.id, flush=True)
        os._exit(9)

post = Post(Database(sys.argv[1]))
post.senders["hook"] = Fatal()
worker = post.worker()
worker.recover()
settle(worker)
"""


def test_process_killed_before_recording_sends_again_under_the_same_id(post: Post) -> None:
    """A process killed after the receiver accepted a message, but before recording it, sends it again under the same id."""
    post.open_alerts("one")
    ended = run_child([sys.executable, "-c", CRASH, url_of(post.database)])
    assert ended.returncode == 9, ended.stderr
    with post.database.read() as connection:
        (waiting,) = outbox.find(connection, limit=9)
    assert waiting.status is DeliveryStatus.PENDING
    post.deliver()
    assert ended.stdout.splitlines()[-1] == waiting.id
    assert hook(post).ids == [waiting.id]
    assert post.states() == ["hook opened sent"]


class BusyDatabase(Database):
    """A database that refuses a number of writes."""

    refusals = 0

    @contextmanager
    def write(self, on_commit: Callable[[], None] = lambda: None, *, is_durable: bool = False) -> Iterator[Connection]:
        """Write, unless the write is refused."""
        if self.refusals:
            self.refusals -= 1
            raise StoreBusy("the store is busy")
        with super().write(on_commit, is_durable=is_durable) as connection:
            yield connection


def test_outcome_is_recorded_after_the_store_was_busy(post: Post) -> None:
    """A message that was sent while the store was busy is recorded later, and not sent again."""
    database = BusyDatabase(url_of(post.database))
    busy = Post(database, post.clock, post.senders)
    post.open_alerts("one")
    with busy.delivering() as worker:
        worker.run_once(0.0)
        database.refusals = 2
        for _ in range(2):
            with pytest.raises(StoreBusy):
                worker.run_once(LIMIT)
        assert worker.under_way() == 1
        settle(worker)
    assert len(hook(post).sent) == 1
    assert post.states() == ["hook opened sent"]
    database.close()


def test_busy_store_at_the_start_does_not_end_the_loop(post: Post) -> None:
    """If the store is busy when the loop starts, the loop continues."""
    database = BusyDatabase(url_of(post.database))
    database.refusals = 1
    busy = Post(database, post.clock, post.senders)
    post.open_alerts("one")
    worker = busy.worker()
    with beside(worker.run, stop=worker.stop):
        wait_until(lambda: hook(post).sent, "the message")
    database.close()
    assert post.states() == ["hook opened sent"]


# -- one round from cron -----------------------------------------------------------------------------------------------


def test_drain_delivers_everything_due(post: Post) -> None:
    """Everything that is due is delivered; a failed message is left for later."""
    post.open_alerts(*(f"a{n}" for n in range(30)))
    answers = [DOWN]
    hook(post).answer = lambda message: answers.pop() if answers else None
    post.worker().drain()
    assert sorted(post.states()) == ["hook opened pending"] + ["hook opened sent"] * 29
    assert hook(post).is_closed


def test_drain_waits_for_retries(database: Database) -> None:
    """Retries that are due within the wait are made in the same run."""
    from datetime import UTC, datetime

    class RealClock(Clock):
        def __call__(self) -> datetime:
            return datetime.now(UTC)

    post = Post(database, RealClock())
    post.channel = {"retry": RetryPolicy(first=timedelta(milliseconds=20))}
    answers = [DOWN, DOWN]
    hook(post).answer = lambda message: answers.pop() if answers else None
    post.open_alerts("one")
    post.worker().drain(PATIENT)
    assert post.states() == ["hook opened sent"]
    assert post.rows()[0].attempts == 3


def test_drain_does_not_wait_for_a_paused_receiver(post: Post) -> None:
    """A Retry-After longer than the wait ends the run, whatever else is due, and the next run respects it too."""
    busy = TransientDeliveryError("busy", retry_after=timedelta(hours=1))
    post.channel = {"concurrency": 1}
    hook(post).answer = lambda message: busy
    post.open_alerts(*(f"a{n}" for n in range(20)))
    for _ in range(2):
        post.worker().drain(timedelta(minutes=1))
    assert len(hook(post).sent) == 4


def test_row_that_is_forgotten_is_sent(post: Post) -> None:
    """A row that this process claimed without learning that the commit succeeded is sent at once, not after its lease."""
    post.open_alerts("one")
    worker = post.worker()
    with post.database.write() as connection:
        due = outbox.read_due(connection, "hook", post.clock(), 1)
        until = post.clock() + timedelta(minutes=5)
        written = replace(due[0].delivery, body=freeze(make_message()))
        (row,) = delivery_transitions.claim(connection, [written], until, worker._sender)
    assert worker.run_once() == 0
    worker.recover_soon()
    with beside(worker.run, stop=worker.stop):
        wait_until(lambda: post.states() == ["hook opened sent"], "the message")
    assert [found.attempts for found in post.rows()] == [row.attempts + 1]


def test_recovery_leaves_what_is_being_sent(post: Post) -> None:
    """A recovery does not end the lease of a message that this process is sending."""
    post.open_alerts("one")
    hook(post).gate.clear()
    worker = post.worker()
    worker.run_once()
    wait_until(lambda: hook(post).sent, "a message to hold")
    worker.recover()
    assert worker.run_once() == 0
    hook(post).gate.set()
    settle(worker)
    worker.finish()
    assert len(hook(post).sent) == 1
    assert post.states() == ["hook opened sent"]


def test_drain_reports_dead_letters(post: Post) -> None:
    """A message that becomes dead during a run is reported in the same run."""
    post.senders["ops"] = Sender()
    hook(post).answer = lambda message: REFUSED
    post.open_alerts("one")
    post.worker().drain()
    assert [message.data["title"] for message in post.senders["ops"].sent] == ["Alerts did not reach hook"]


def test_worker_leaves_rows_of_other_receivers_alone(post: Post) -> None:
    """A process that does not lead gives up nothing for receivers that it does not know: the leader may know them."""
    post.open_alerts("one", receiver="elsewhere")
    post.open_alerts("two")
    worker = post.worker(leads=lambda: False)
    worker.recover()
    settle(worker)
    post.clock.advance(minutes=1)
    settle(worker)
    worker.stop()
    worker.finish()
    assert post.states() == ["elsewhere opened pending", "hook opened sent"]
    assert all(row.event is Event.OPENED for row in post.rows())


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
        worker.check_sends()
        line = worker._workers["hook"]
        line.in_hand = {name: began - LEASE.total_seconds() - 1 for name, began in line.in_hand.items()}
        with pytest.raises(DeliveryError, match="hook have been running for more than 5m"):
            worker.check_sends()
    worker.check_sends()
