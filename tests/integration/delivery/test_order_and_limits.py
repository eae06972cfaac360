"""Messages of an alert are sent in order, receivers do not delay each other, and their limits hold for all processes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from actionwatch.base.errors import TransientDeliveryError
from actionwatch.delivery.receiver_worker import IN_HAND, MOST_IN_HAND
from actionwatch.store import receivers
from tests.builders import Clock
from tests.integration.delivery.delivering import TickingClock, hook, match_record, resolve, side_by_side
from tests.integration.kit import DOWN, Post, Sender, settle
from tests.waiting import beside, pause, stopwatch, wait_until


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
        assert worker.run_once(0.0) == worker.receivers.under_way() == 2 * IN_HAND
        post.open_alerts(*(f"b{n}" for n in range(300)))
        while len(hook(post).sent) < 300:
            wait_until(lambda: len(hook(post).sent) == sum(handed), "the first round, then the others")
            handed.append(worker.run_once(0.01))
        assert worker.receivers.under_way() >= 2 * IN_HAND
    assert handed[0] == 2 * IN_HAND < max(handed) <= 2 * MOST_IN_HAND
    assert len(post.senders["hanging"].sent) == 2 * IN_HAND


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


def test_processes_share_the_rate(post: Post) -> None:
    """Two processes on one store together do not exceed the rate."""
    post.clock = TickingClock(post.clock.now)
    post.channel = {"rate_per_second": 50.0}
    post.open_alerts(*(f"a{n}" for n in range(11)))
    passed = stopwatch()  # before the processes start, which send at once
    with side_by_side(post):
        wait_until(lambda: len(hook(post).sent) == 11, "every message", lambda: len(hook(post).sent))
        seconds = passed()
    assert seconds >= 10 / 50
    assert len(set(hook(post).ids)) == 11


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
