"""Processes that start, stop or die, and a busy store: no message is lost."""

from __future__ import annotations

import sys

import pytest
from sqlalchemy import Text, literal

from actionwatch.base.delivery import DeliveryStatus
from actionwatch.base.errors import StoreBusy, StoreError
from actionwatch.delivery import receiver_workers
from actionwatch.store import outbox
from actionwatch.store.tables import DELIVERY
from tests.builders import lease_due, url_of
from tests.children import run_child
from tests.integration.delivery.delivering import BusyDatabase, hook
from tests.integration.kit import Post, Sender, settle
from tests.waiting import LIMIT, beside, pause, wait_until


def test_wake_delivers_at_once(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that is added while the loop sleeps is sent when the loop is woken, not at its next poll."""
    monkeypatch.setattr(type(post.database.peers), "look_seconds", 2 * LIMIT)
    monkeypatch.setattr(receiver_workers, "IDLE_SECONDS", 2 * LIMIT)
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
        assert worker.receivers.under_way() == 1
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


@pytest.mark.parametrize("channel", [{}, {"rate_per_second": 1.0}], ids=str)
def test_row_that_cannot_be_claimed_stops_no_other_receiver(post: Post, channel: dict[str, float]) -> None:
    """A damaged row of one receiver is an error in each round, but others get their messages, and these are recorded."""
    post.channel = channel
    post.senders["bad"] = Sender()
    post.open_alerts("damaged", receiver="bad")
    its = DELIVERY.c.alert_id == "damaged"
    with post.database.write() as connection:
        connection.execute(DELIVERY.update().where(its).values(mutes=literal("damaged", Text)))
    with post.delivering() as worker:
        for name in ("one", "two"):
            post.open_alerts(name)
            for under_way in (1, 0):
                with pytest.raises(StoreError, match="a value cannot be read"):
                    worker.run_once(LIMIT if worker.receivers.under_way() else 0)
                assert worker.receivers.under_way() == under_way
            post.clock.advance(seconds=1)
        with post.database.write() as connection:
            connection.execute(DELIVERY.update().where(its).values(mutes=None))
        settle(worker)
    assert post.states() == ["bad opened sent", "hook opened sent", "hook opened sent"]
    assert len(hook(post).sent) == 2
