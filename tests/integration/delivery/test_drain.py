"""One round from cron delivers what is due, and recovers rows that were left behind."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from actionwatch.base.errors import StoreBusy, TransientDeliveryError
from actionwatch.base.model import Event, Message
from actionwatch.delivery.compose import freeze
from actionwatch.settings import RetryPolicy
from actionwatch.store import delivery_transitions, outbox
from actionwatch.store.database import Database
from tests.builders import Clock, make_message, url_of
from tests.integration.delivery.delivering import BusyDatabase, hook
from tests.integration.kit import DOWN, Post, settle
from tests.waiting import PATIENT, beside, wait_until


def test_drain_delivers_everything_due(post: Post) -> None:
    """Everything that is due is delivered; a failed message is left for later."""
    post.open_alerts(*(f"a{n}" for n in range(30)))
    answers = [DOWN]
    hook(post).answer = lambda message: answers.pop() if answers else None
    post.worker().drain()
    assert sorted(post.states()) == ["hook opened pending"] + ["hook opened sent"] * 29
    assert hook(post).is_closed


def test_drain_records_what_was_sent_when_the_store_is_busy(post: Post) -> None:
    """A write that fails ends the run with an error, but what was sent is recorded, and the next run does not send it again."""
    busy = BusyDatabase(url_of(post.database))
    post.open_alerts("one", "two")

    def answer(message: Message) -> None:
        busy.refusals = 1  # the write that would record this attempt is refused

    hook(post).answer = answer
    with pytest.raises(StoreBusy):
        dataclasses.replace(post, database=busy).worker().drain()
    assert post.states() == ["hook opened sent"] * 2
    assert hook(post).is_closed
    busy.close()


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
