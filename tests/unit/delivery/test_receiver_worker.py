"""How many messages a receiver can take, and when: backlog, concurrency, rate, pauses and the clock."""

from __future__ import annotations

import queue
from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from actionwatch.base.errors import Fault, TransientDeliveryError
from actionwatch.base.model import Message, Receipt, Rendered
from actionwatch.delivery.attempt import LONGEST_WAIT, Attempt, Channel
from actionwatch.delivery.compose import Job
from actionwatch.delivery.receiver_worker import (
    HELD_ELSEWHERE,
    IN_HAND,
    MOST_IN_HAND,
    MOST_IN_HAND_BESIDE_OTHERS,
    ReceiverWorker,
)
from tests.builders import NOON, make_delivery, make_message
from tests.cases import in_one_test
from tests.waiting import LIMIT

SECOND = timedelta(seconds=1)
RATE = 0.5  # a message in 2 s


class Silent:
    """A notifier and a renderer that do nothing."""

    version = 0

    def send(self, message: Message, rendered: Rendered, reference: str | None) -> Receipt:
        """Accept everything."""
        return Receipt()

    def render(self, names: tuple[str, ...], message: Message) -> tuple[Rendered, tuple[Fault, ...]]:
        """Render nothing."""
        return Rendered({}), ()

    def close(self) -> None:
        """Keep nothing open."""


def make_worker(in_hand: int = 0, ended: int = 0, **options: Any) -> ReceiverWorker:
    """Make a worker with so many jobs in hand, after a round in which so many ended."""
    silent = Silent()
    worker = ReceiverWorker(Channel("hook", silent, (), **options), silent, lambda attempt: None)
    for number in range(in_hand):
        worker.send(Job(replace(make_delivery(), id=str(number)), make_message(), None))  # no thread takes it
    worker.capacity.ended_count = ended
    return worker


@in_one_test(
    ("in_hand", "ended", "held_elsewhere", "options", "expected"),
    [
        (0, 0, 0, {}, 4 * IN_HAND),
        (0, 0, 0, {"concurrency": 1}, IN_HAND),
        (5, 0, 0, {}, 4 * IN_HAND - 5),
        (0, 20, 0, {}, 40),  # twice what ended in the last round
        (0, 1000, 0, {}, 4 * MOST_IN_HAND),
        (50, 20, 0, {}, 0),
        (0, 20, 1, {}, 3),  # a backlog is for one process alone
        (2, 0, 1, {}, 1),
        (0, 0, 9, {}, 0),
        (0, 0, 0, {"rate_per_second": RATE}, 1),
        (99, 0, 0, {"rate_per_second": RATE}, 0),
    ],
)
def test_free(in_hand: int, ended: int, held_elsewhere: int, options: dict[str, Any], expected: int) -> None:
    """A receiver takes as many messages as its backlog, its concurrency and its rate allow."""
    assert make_worker(in_hand, ended, **options).free(NOON, held_elsewhere) == expected


@in_one_test(
    ("paused_until", "closed_until", "rate", "expected"),
    [
        (None, None, None, 0),
        (NOON + 3 * SECOND, None, None, 3),
        (NOON - 3 * SECOND, None, None, 0),
        (None, NOON + HELD_ELSEWHERE, None, HELD_ELSEWHERE.total_seconds()),
        (None, NOON + SECOND, None, 0),  # no rate closes it for so long: the clock was set back
        (None, NOON + 2 * SECOND, RATE, 2),
        (None, NOON + 3 * SECOND, RATE, 0),
        (None, NOON - SECOND, RATE, 0),
        (NOON + SECOND, NOON + 2 * SECOND, RATE, 2),
        (NOON + 5 * SECOND, NOON + 2 * SECOND, RATE, 5),
    ],
)
def test_wait(
    paused_until: datetime | None, closed_until: datetime | None, rate: float | None, expected: float
) -> None:
    """A pause and a rate keep a receiver closed for their time, and it takes nothing until then."""
    worker = make_worker(rate_per_second=rate)
    worker.capacity.paused_until, worker.capacity.closed_until = paused_until, closed_until
    assert worker.capacity.wait_seconds(NOON) == expected
    assert (worker.free(NOON) == 0) is (expected > 0)


def test_shared_pause_and_rate() -> None:
    """A worker follows the pause and the rate that other processes stored; a shorter pause does not end a longer one."""
    worker = make_worker()
    worker.capacity.follow_shared(None, NOON + SECOND)
    assert (worker.capacity.paused_until, worker.capacity.closed_until) == (None, None)
    worker.capacity.follow_shared(NOON + 2 * SECOND, None)
    worker.capacity.pause(NOON + SECOND)
    assert worker.capacity.paused_until == NOON + 2 * SECOND
    worker.capacity.pause(NOON + 3 * SECOND)
    assert worker.capacity.paused_until == NOON + 3 * SECOND
    limited = make_worker(rate_per_second=RATE)
    assert limited.capacity.interval == 2 * SECOND
    limited.capacity.follow_shared(None, NOON + SECOND)
    limited.capacity.follow_shared(None, None)
    assert limited.capacity.closed_until == NOON + SECOND


def test_clock_step() -> None:
    """Pauses move with a step of the clock."""
    worker = make_worker()
    worker.capacity.follow_clock(SECOND)
    assert (worker.capacity.paused_until, worker.capacity.closed_until) == (None, None)
    worker.capacity.paused_until, worker.capacity.closed_until = NOON, NOON + SECOND
    worker.capacity.follow_clock(timedelta(hours=-1))
    assert (worker.capacity.paused_until, worker.capacity.closed_until) == (
        NOON - timedelta(hours=1),
        NOON - timedelta(minutes=59, seconds=59),
    )


def test_longest_send() -> None:
    """The longest send is that of the oldest job in hand; without a job it is zero."""
    assert make_worker().longest_send() == timedelta(0)
    worker = make_worker(in_hand=3)
    worker.in_hand["1"] -= 3600
    assert timedelta(hours=1) <= worker.longest_send()


def test_job_that_waited_too_long_is_not_sent() -> None:
    """Its lease may end before its attempt does, so that another process sends it too; it is retried."""
    ended: queue.SimpleQueue[Attempt] = queue.SimpleQueue()
    sent: list[Message] = []

    class Noting(Silent):
        def send(self, message: Message, rendered: Rendered, reference: str | None) -> Receipt:
            sent.append(message)
            return Receipt()

    worker = ReceiverWorker(Channel("hook", Noting(), (), concurrency=1), Silent(), ended.put, term=lambda: 0)
    for name in ("late", "timely"):
        worker.send(Job(replace(make_delivery(), id=name), make_message(), None, term=0))
    worker.in_hand["late"] -= LONGEST_WAIT.total_seconds()
    worker.start_threads()
    late, timely = (ended.get(timeout=LIMIT) for _ in range(2))
    assert isinstance(late.error, TransientDeliveryError)
    assert str(late.error) == "not sent: it waited more than 2m for the messages before it"
    assert (timely.job.delivery.id, timely.error) == ("timely", None)
    assert len(sent) == 1
    for each in (late, timely):
        worker.take_back(each)
    worker.close()


@pytest.mark.parametrize(("in_hand", "ended", "is_busy"), [(5, 1, True), (4, 1, False), (5, 0, False)])
def test_busy(in_hand: int, ended: int, is_busy: bool) -> None:
    """A receiver is busy if attempts end and jobs wait for its threads."""
    assert make_worker(in_hand, ended).is_busy is is_busy


def test_ended_attempts_are_counted() -> None:
    """An attempt that ended is no longer in hand, whether its job was or not."""
    worker = make_worker(in_hand=1)
    for delivery in (make_delivery(), replace(make_delivery(), id="0")):
        worker.take_back(Attempt(Job(delivery, make_message(), None)))
    assert (worker.in_hand, worker.capacity.ended_count) == ({}, 2)


@in_one_test(("concurrency", "senders"), [(4, 1), (4, 2), (4, 3), (4, 4), (7, 3), (100, 9)])
def test_shares_add_up(concurrency: int, senders: int) -> None:
    """The shares of processes that send to a receiver add up to its concurrency, and differ by at most one."""
    shares = []
    for rank in range(senders):
        worker = make_worker(concurrency=concurrency)
        worker.capacity.sender_count, worker.capacity.sender_rank = senders, rank
        shares.append(worker.capacity.share)
    assert sum(shares) == concurrency
    assert max(shares) - min(shares) <= 1


@in_one_test(
    ("in_hand", "ended", "held_elsewhere", "concurrency", "expected"),
    [
        (0, 0, 3, 4, 2),  # its share, and nothing in advance: the other process may be idle
        (1, 0, 3, 4, 1),
        (2, 1, 3, 4, 0),  # a receiver that is slow: each round begins when an attempt has ended
        (0, 10, 3, 4, 42),  # a receiver that is quick
        (0, 1000, 3, 4, 2 * MOST_IN_HAND_BESIDE_OTHERS),
        (0, 0, 0, 1, 1),  # more processes than it takes at a time: they take turns
        (0, 0, 1, 1, 0),
    ],
)
def test_free_beside_another_process(
    in_hand: int, ended: int, held_elsewhere: int, concurrency: int, expected: int
) -> None:
    """Beside another process, a receiver takes its share; if there is less than one for each, what is left."""
    worker = make_worker(in_hand, ended, concurrency=concurrency)
    worker.capacity.sender_count = 2
    assert worker.free(NOON, held_elsewhere) == expected


def test_quick_receiver_gets_more_from_round_to_round() -> None:
    """Beside another process, the rounds of a quick receiver grow, though each begins before its threads are idle."""
    sizes = [0]
    while sizes[-1] < 8 * MOST_IN_HAND_BESIDE_OTHERS:
        worker = make_worker(0, ended=max(sizes[-1] - 8, 2), concurrency=16)
        worker.capacity.sender_count = 2
        sizes.append(worker.free(NOON))
        assert sizes[-1] > sizes[-2]
