"""What the tests of the delivery step share: one receiver, its rule, and clocks that run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from msgspec.structs import replace
from sqlalchemy import Connection

from actionwatch.base.errors import StoreBusy
from actionwatch.base.model import Status
from actionwatch.delivery.worker import DeliveryWorker
from actionwatch.store import alert_history, alerts
from actionwatch.store.database import Database
from tests.builders import QUARTER, Clock, make_record
from tests.integration.kit import KindRule, Post, Sender
from tests.waiting import beside, stopwatch

GROUPED = KindRule(realert=QUARTER)
SECOND = timedelta(seconds=1)


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
