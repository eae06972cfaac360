"""Every message reaches its receiver, or ends as a dead letter that people hear of; one receiver's trouble delays no other."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection

from actionwatch.alerts.policy import ReceiverPolicy
from actionwatch.base.delivery import DeliveryStatus
from actionwatch.base.errors import DeliveryError, StoreBusy, TransientDeliveryError
from actionwatch.base.model import Event, Message, Receipt, Status
from actionwatch.delivery import inbox, schedule
from actionwatch.delivery.claiming import LEASE
from actionwatch.delivery.compose import freeze, thaw
from actionwatch.delivery.health import FAILING_AFTER
from actionwatch.delivery.receiver_worker import IN_HAND, MOST_IN_HAND
from actionwatch.delivery.worker import HEALTH_EVERY, DeliveryWorker
from actionwatch.settings import RetryPolicy
from actionwatch.store import alert_history, alerts, delivery_transitions, outbox, receivers
from actionwatch.store.database import Database
from actionwatch.store.outbox import DeliveryFilter
from tests.builders import NOON, QUARTER, Clock, lease_due, make_delivery, make_message, make_record
from tests.children import run_child
from tests.integration.kit import DOWN, REFUSED, KindRule, Post, Sender, settle
from tests.waiting import LIMIT, PATIENT, at_least, beside, pause, stopwatch, wait_until

GROUPED = KindRule(realert=QUARTER)
SECOND = timedelta(seconds=1)
IMPATIENT = RetryPolicy(first=SECOND, give_up_after=timedelta(minutes=1))


def hook(post: Post) -> Sender:
    """The one receiver's far end."""
    return post.senders["hook"]


def match_record(post: Post, number: int = 1, *, minutes: float = 0) -> None:
    """Let eve delete a cluster, and match it."""
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
    """Tell an alert's deliveries."""
    with post.database.read() as connection:
        return [entry.what for entry in alert_history.read(connection, alert_id) if entry.stage.startswith("delivery")]


@dataclass
class TickingClock(Clock):
    """A clock that goes on by itself, from where it was set."""

    passed: Callable[[], float] = field(default_factory=stopwatch)

    def __call__(self) -> datetime:
        return self.now + timedelta(seconds=self.passed())


@contextmanager
def side_by_side(post: Post) -> Iterator[None]:
    """Have two processes deliver from the store, none of which takes it for its own."""
    is_over = threading.Event()

    def work(worker: DeliveryWorker) -> None:
        while not is_over.is_set():
            worker.run_once(0.005)
        worker.finish()

    one, other = post.worker(), post.worker()
    with beside(lambda: work(one), is_over.set), beside(lambda: work(other), is_over.set):
        yield


# -- one message -------------------------------------------------------------------------------------------------------


def test_message(post: Post) -> None:
    """A message says what its alert is, with its records and fields, under the delivery's id, and ends as sent."""
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
def test_frozen_as_sent(odd: object) -> None:
    """A frozen message is read back as it was, odd characters and numbers and all."""
    message = make_message({"title": odd, "late": None, "n": 1.5}, fields=(("a", "b\n"),))
    assert thaw(message.id, freeze(message)) == message


def test_reference(post: Post) -> None:
    """What a receiver calls its message comes with every later one of that alert; its note is kept."""
    hook(post).answer = lambda message: Receipt(reference="ts-1", note="bob was refused")
    match_record(post)
    post.deliver()
    match_record(post, 2, minutes=1)
    post.clock.advance(minutes=1)
    post.deliver()
    assert hook(post).references == [None, "ts-1"]
    assert post.rows()[0].why == "bob was refused"
    assert history_of(post, post.rows()[0].alert_id)[0] == "attempt 1: alert.opened accepted; bob was refused"


def test_template_failure(post: Post) -> None:
    """A template that failed does not keep a message back, and its failure is in the story."""
    post.renderer.failures = ("t.txt: no such field",)
    match_record(post)
    post.deliver()
    assert post.states() == ["hook opened sent"]
    assert history_of(post, post.rows()[0].alert_id)[0] == "template: t.txt: no such field"


def test_alert_that_cannot_be_written(post: Post) -> None:
    """An alert that cannot be made a message, or is gone, is a dead letter, and the others go on."""
    post.store(make_record(raw="no json"), make_record(2, user_name="bob"))
    post.matcher(GROUPED).run_once()
    post.open_alerts("gone")
    with post.database.write() as connection:
        delivery_transitions.enqueue(connection, [make_delivery("unknown")])
    post.deliver()
    assert sorted((row.status.value, row.why or "") for row in post.rows()) == [
        ("dead", "cannot be written: JSONDecodeError"),
        ("dead", "its alert is no longer in the store"),
        ("sent", ""),
        ("sent", ""),
    ]


# -- what follows the first message ------------------------------------------------------------------------------------


def test_updates_are_coalesced(post: Post) -> None:
    """After `opened`, later matches make one `updated` per `updates` span, with the newest state."""
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


def test_updates_are_spaced_from_what_was_sent(post: Post) -> None:
    """An `updated` keeps its distance from a message that itself went out late."""
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


def test_updated_last(post: Post) -> None:
    """A receiver that takes only the last update gets one, when nothing more can join."""
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


def test_frozen_at_the_first_attempt(post: Post) -> None:
    """A message that was tried says the same on every attempt; what joined meanwhile makes one `updated` after it."""
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


def test_update_to_one_told_nothing(post: Post) -> None:
    """An `updated` whose `opened` was given up says `opened` itself."""
    answers = [REFUSED]
    hook(post).answer = lambda message: answers.pop() if answers else None
    match_record(post)
    post.deliver()
    match_record(post, 2, minutes=1)
    post.clock.advance(minutes=1)
    post.deliver()
    assert hook(post).types == ["alert.opened", "alert.opened"]
    assert post.states() == ["hook opened dead", "hook opened sent"]


def test_resolved_goes_to_those_told(post: Post) -> None:
    """A resolve reaches who was told, after what they were told; who was told nothing hears nothing."""
    post.senders["down"] = Sender(answer=lambda message: REFUSED)
    match_record(post)
    post.deliver()
    resolve(post)
    post.deliver()
    assert hook(post).types == ["alert.opened", "alert.resolved"]
    assert hook(post).sent[1].data["status"] == "resolved"
    assert post.senders["down"].types == ["alert.opened"]
    assert "down resolved suppressed" in post.states()


def test_resolve_discards_an_untried_update(post: Post) -> None:
    """A resolve takes the place of an update that was not tried yet, at once; of an `opened` never."""
    match_record(post)
    post.deliver()
    match_record(post, 2, minutes=1)
    resolve(post)
    post.deliver()
    assert hook(post).types == ["alert.opened", "alert.resolved"]
    assert len(post.rows()) == 2


def test_resolve_does_not_discard_opened(post: Post) -> None:
    """An alert that was resolved before anybody was told is still told, then resolved."""
    match_record(post)
    resolve(post)
    post.deliver()
    assert hook(post).types == ["alert.opened", "alert.resolved"]


# -- failures ----------------------------------------------------------------------------------------------------------


def test_backoff(post: Post) -> None:
    """A failure is tried again after growing waits, under the same id, until it is taken."""
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
    """A receiver that asks for time is left alone with everything, by the next process too; no other waits."""
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
    assert len(hook(post).sent) == 3  # what was in hand when it asked
    assert len(post.senders["other"].sent) == 1
    post.clock.advance(seconds=100)
    post.deliver()
    assert len(hook(post).sent) == 3
    post.clock.advance(seconds=20)
    post.deliver()
    assert len(hook(post).sent) == 7


def test_give_up_replay_and_resolve(post: Post) -> None:
    """What is given up is a dead letter, alerted on once; replayed under the same id and taken, the trouble is over."""
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


def test_failing_receiver(post: Post) -> None:
    """A receiver that takes nothing for long is a trouble, once, and over with its first success."""
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


def test_bug_in_a_notifier(post: Post) -> None:
    """An exception that no notifier should raise costs nothing but another attempt, and names itself without its text."""
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


def test_receiver_that_is_gone(post: Post) -> None:
    """What waits for a receiver no longer configured is dead at the next start, and stays so when replayed."""
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


def test_failing_receiver_that_is_gone(post: Post) -> None:
    """The trouble with a receiver ends when the receiver is taken out of the configuration."""
    with post.database.write() as connection:
        receivers.note_failure(connection, "gone", NOON - timedelta(hours=1), "503", None)
    post.troubles.report("receiver_failing", "gone", "x", "")
    post.deliver()
    assert post.open_troubles() == []


# -- order, numbers, others --------------------------------------------------------------------------------------------


def test_order_is_kept(post: Post) -> None:
    """While a message waits for another attempt, no later one of its alert overtakes it; other alerts do."""
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


def test_hanging_receiver_delays_no_other(post: Post) -> None:
    """While one receiver hangs in all its threads, hundreds of messages reach another."""
    post.senders["hanging"] = Sender()
    post.senders["hanging"].gate.clear()
    with post.delivering() as worker:
        post.open_alerts(*(f"h{n}" for n in range(100)), receiver="hanging")
        post.open_alerts(*(f"f{n}" for n in range(300)))
        while len(hook(post).sent) < 300:
            worker.run_once(0.05)
        wait_until(lambda: len(post.senders["hanging"].sent) == 4, "what each of its threads hangs in")
    assert post.senders["hanging"].most_at_once == 4


@pytest.mark.parametrize("concurrency", [1, 3])
def test_concurrency(post: Post, concurrency: int) -> None:
    """Never more messages at once than the receiver's concurrency; one at a time keeps the order they were due in."""
    post.channel = {"concurrency": concurrency}
    names = [f"a{n}" for n in range(60)]
    post.open_alerts(*names)
    post.deliver()
    assert hook(post).most_at_once <= concurrency
    assert sorted(message.data["title"] for message in hook(post).sent) == sorted(names)
    if concurrency == 1:
        assert [message.data["title"] for message in hook(post).sent] == names


def test_stock(post: Post) -> None:
    """A quick receiver is handed more at a time, within bounds; one that hangs never has more than a few for each sender."""
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


def test_rate(post: Post) -> None:
    """Messages leave no faster than the receiver's rate, none at once beyond it."""
    post.clock = TickingClock(post.clock.now)
    post.channel = {"rate_per_second": 50.0}
    post.open_alerts(*(f"a{n}" for n in range(6)))
    with at_least(5 / 50):
        post.worker().drain()
    assert len(hook(post).sent) == 6


@pytest.mark.parametrize("concurrency", [1, 3])
def test_processes_share_the_concurrency(post: Post, concurrency: int) -> None:
    """Two processes on one store send together no more at once than the receiver takes, and nothing twice."""
    post.clock = TickingClock(post.clock.now)
    post.channel = {"concurrency": concurrency}
    hook(post).answer = lambda message: pause(0.005)
    post.open_alerts(*(f"a{n}" for n in range(60)))
    with side_by_side(post):
        wait_until(lambda: len(hook(post).sent) == 60, "every message", lambda: len(hook(post).sent))
    assert hook(post).most_at_once <= concurrency
    assert len(set(hook(post).ids)) == 60
    assert post.states() == ["hook opened sent"] * 60


def test_places_held_elsewhere(post: Post) -> None:
    """While another process holds one of a receiver's places, only the others are taken; a stock is for who is alone."""
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
        delivery_transitions.release(connection)
    post.clock.advance(seconds=1)
    assert worker.run_once() > 3
    hook(post).gate.set()
    settle(worker)
    worker.finish()
    assert len(set(hook(post).ids)) == 9


def test_processes_share_the_rate(post: Post) -> None:
    """Two processes on one store send together no faster than the receiver's rate."""
    post.clock = TickingClock(post.clock.now)
    post.channel = {"rate_per_second": 50.0}
    post.open_alerts(*(f"a{n}" for n in range(11)))
    with side_by_side(post), at_least(10 / 50):
        wait_until(lambda: len(hook(post).sent) == 11, "every message", lambda: len(hook(post).sent))
    assert len(set(hook(post).ids)) == 11


def test_processes_share_a_pause(post: Post) -> None:
    """What one process was told (Retry-After) keeps the other from trying, and a failure without a wish does not undo it."""
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


def test_clock_set_back_keeps_no_receiver_closed(post: Post) -> None:
    """A rate's next turn that lies hours ahead, as it does when the clock is set back, is no reason to wait for hours."""
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


def test_idle_is_quiet(post: Post) -> None:
    """With nothing due, the loop turns about once a second, not in a circle: also with a receiver that hangs or waits."""
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
        wait_until(lambda: post.states().count("hook opened sent") == 1, "the message to the receiver that is well")
        wait_until(lambda: post.senders["paused"].sent and post.senders["hanging"].sent, "what the others are sent")
        before, passed = readings, stopwatch()
        pause(0.7)
        rate = (readings - before) / passed()
    post.senders["hanging"].gate.set()
    assert len(hook(post).sent) == 1
    assert rate < 90


# -- ends and beginnings of processes ----------------------------------------------------------------------------------


def test_wake(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that was owed while the loop waits goes out when the loop is woken, not when it looks by itself."""
    monkeypatch.setattr(inbox, "POLL_SECONDS", 2 * LIMIT)
    monkeypatch.setattr(schedule, "IDLE_SECONDS", 2 * LIMIT)
    worker = post.worker()
    with beside(worker.run, stop=worker.stop):
        for number in range(20):
            post.open_alerts(f"a{number}")
            worker.wake()
            wait_until(lambda number=number: len(hook(post).sent) > number, "what was owed")  # type: ignore[misc]
    assert post.states() == ["hook opened sent"] * 20


def test_stop_records_what_ends(post: Post) -> None:
    """What is being sent when the end comes is finished and recorded; nothing new is begun."""
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


def test_stop_is_bounded(post: Post) -> None:
    """A send that hangs does not hold up the end; it goes out again later, under the same id, and so does what it held up."""
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


def test_lease_of_a_dead_process(post: Post) -> None:
    """What a process held that did not come back is delivered after its lease, with no start to release it."""
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


def test_slow_send_is_not_begun_twice(post: Post) -> None:
    """A send that outlasts its lease is not begun again beside itself."""
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
from pathlib import Path
from actionwatch.base.model import Receipt
from tests.builders import open_database
from tests.integration.kit import Post, Sender, settle

class Fatal(Sender):
    def send(self, message, rendered, reference):
        print(message.id, flush=True)
        os._exit(9)

post = Post(open_database(Path(sys.argv[1])))
post.senders["hook"] = Fatal()
worker = post.worker()
worker.recover()
settle(worker)
"""


def test_killed_between_send_and_record(post: Post, tmp_path: Path) -> None:
    """A process killed after the receiver took a message and before that was recorded sends it again under the same id."""
    post.open_alerts("one")
    ended = run_child([sys.executable, "-c", CRASH, str(tmp_path)])
    assert ended.returncode == 9, ended.stderr
    with post.database.read() as connection:
        (waiting,) = outbox.find(connection, limit=9)
    assert waiting.status is DeliveryStatus.PENDING
    post.deliver()
    assert ended.stdout.splitlines()[-1] == waiting.id
    assert hook(post).ids == [waiting.id]
    assert post.states() == ["hook opened sent"]


class BusyDatabase(Database):
    """Refuses to write a number of times."""

    refusals = 0

    @contextmanager
    def write(self, on_commit: Callable[[], None] = lambda: None) -> Iterator[Connection]:
        """Write, unless refused."""
        if self.refusals:
            self.refusals -= 1
            raise StoreBusy("the store is busy")
        with super().write(on_commit) as connection:
            yield connection


def test_busy_store_forgets_no_outcome(post: Post, tmp_path: Path) -> None:
    """What was sent while the store was busy is recorded once it is free, and not sent again."""
    database = BusyDatabase(f"sqlite:///{tmp_path / 'store.db'}")
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


def test_busy_store_at_the_start(post: Post, tmp_path: Path) -> None:
    """A store that is busy when the loop starts does not end it."""
    database = BusyDatabase(f"sqlite:///{tmp_path / 'store.db'}")
    database.refusals = 1
    busy = Post(database, post.clock, post.senders)
    post.open_alerts("one")
    worker = busy.worker()
    with beside(worker.run, stop=worker.stop):
        wait_until(lambda: hook(post).sent, "the message")
    database.close()
    assert post.states() == ["hook opened sent"]


# -- one round from cron -----------------------------------------------------------------------------------------------


def test_drain(post: Post) -> None:
    """Everything due is delivered, and what failed is left for later."""
    post.open_alerts(*(f"a{n}" for n in range(30)))
    answers = [DOWN]
    hook(post).answer = lambda message: answers.pop() if answers else None
    post.worker().drain()
    assert sorted(post.states()) == ["hook opened pending"] + ["hook opened sent"] * 29
    assert hook(post).is_closed


def test_drain_waits_for_retries(database: Database) -> None:
    """Retries within the wait are made in the same run."""
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
    """A receiver that asks for an hour ends the round, however much is due for it; the next round respects it too."""
    busy = TransientDeliveryError("busy", retry_after=timedelta(hours=1))
    post.channel = {"concurrency": 1}
    hook(post).answer = lambda message: busy
    post.open_alerts(*(f"a{n}" for n in range(20)))
    for _ in range(2):
        post.worker().drain(timedelta(minutes=1))
    assert len(hook(post).sent) == 4


def test_drain_tells_of_dead_letters(post: Post) -> None:
    """A dead letter made in a round is alerted on in that round."""
    post.senders["ops"] = Sender()
    hook(post).answer = lambda message: REFUSED
    post.open_alerts("one")
    post.worker().drain()
    assert [message.data["title"] for message in post.senders["ops"].sent] == ["Alerts did not reach hook"]


def test_sent_while_another_process_looks(post: Post) -> None:
    """A worker for one receiver alone leaves the others' rows and leases as they are."""
    post.open_alerts("one", receiver="elsewhere")
    post.open_alerts("two")
    worker = post.worker()
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
def test_a_notifier_that_raises_anything_loses_no_message(post: Post, error: BaseException) -> None:
    """An exception of a notifier ends its thread: the message is under way for ever, and nothing is shown."""
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
def test_what_a_receiver_returns_stops_no_delivery(post: Post, receipt: Receipt) -> None:
    """A receipt with a character that the store refuses cannot be recorded, and nothing is delivered any more."""
    post.senders["hook"].answer = lambda message: receipt
    post.open_alerts("a", "b")
    post.deliver()
    assert post.states() == ["hook opened sent"] * 2


def test_a_frozen_message_that_cannot_be_read_stops_no_other(post: Post) -> None:
    """A body that can be written but is nested too deeply to be read raises in every round, and nothing is delivered."""
    post.open_alerts("a", "b")
    body = '{"data":' + '{"x":' * 2_000 + "0" + "}" * 2_000 + "}"
    with post.database.write() as connection:
        first = replace(post.rows("a")[0], body=body)
        delivery_transitions.freeze(connection, [first])
    post.deliver()
    assert [(row.status.value, row.why) for row in post.rows()] == [
        ("dead", "cannot be read: RecursionError"),
        ("sent", None),
    ]


def test_a_thread_that_cannot_start_keeps_no_message(post: Post) -> None:
    """The system refuses a thread: the claimed messages are under way for ever, or wait for the end of their leases."""
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


def test_a_send_that_hangs_is_reported(post: Post) -> None:
    """A send that never ends is not reported, or one that has just begun is."""
    post.senders["hook"].gate.clear()
    post.open_alerts("a")
    with post.delivering() as worker:
        worker.run_once()
        worker.check_sends()
        line = worker._workers["hook"]
        line.in_hand = {name: began - LEASE.total_seconds() - 1 for name, began in line.in_hand.items()}
        with pytest.raises(DeliveryError, match="hook have been under way for more than 5m"):
            worker.check_sends()
    worker.check_sends()
