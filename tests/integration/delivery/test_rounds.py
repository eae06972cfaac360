"""The transactions and statements of a round of the delivery worker: during each, the senders wait for the interpreter."""

from __future__ import annotations

import re

from actionwatch.delivery.worker import DeliveryWorker
from tests.integration.kit import Post
from tests.statements import statements, transactions
from tests.waiting import LIMIT


def round_of(worker: DeliveryWorker) -> tuple[list[str], list[str]]:
    """Run a round that waits for something to do. Return its transactions, and its statements on tables."""
    with statements() as run, transactions() as begun:
        worker.run_once(LIMIT)
    return begun, [each for each in run if re.match(r"SELECT .*\sFROM\s|INSERT|UPDATE", each, re.DOTALL)]


def test_a_message_takes_two_transactions(post: Post) -> None:
    """One transaction claims a message and one records it; no other one looks for what is due."""
    with post.delivering() as worker:
        worker.run_once()  # the timers of summaries and reports
        post.open_alerts("one")
        worker.wake()
        claiming, claimed = round_of(worker)
        recording, recorded = round_of(worker)
    assert post.states() == ["hook opened sent"]
    assert (claiming, recording) == (["write"], ["write"])
    others = int(post.database.is_shared)  # one statement reads which other processes send
    version = 1  # of the alert, which has its first latency
    assert (len(claimed), len(recorded)) == (6 + others, 6 + version + others)


def test_idle_round_only_reads(post: Post) -> None:
    """A round that finds nothing due reads, and does not keep other writers waiting."""
    with post.delivering() as worker:
        worker.run_once()
        with transactions() as begun:
            worker.run_once()
    assert begun == ["read"]
