"""A stream: runs its steps with its driver, and rests after a failure of the destination."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from actionwatch.base.errors import TransientDeliveryError
from actionwatch.store import streams
from actionwatch.store.database import Database
from actionwatch.streams import positions
from actionwatch.streams.driver import Driver, Refusal, StreamMessage
from actionwatch.streams.messages import Plan
from actionwatch.streams.steps import STEPS, Line

_FIRST_WAIT = timedelta(seconds=1)  # after a failure; doubles with each one
_LONGEST_WAIT = timedelta(minutes=1)
_TURN_SECONDS = 10.0  # then a role can be handed over; the next turn follows within a second

log = structlog.get_logger()


class Stream:
    """Moves one stream. Safe to share between threads."""

    def __init__(
        self,
        plan: Plan,
        driver: Driver,
        database: Database,
        clock: Callable[[], datetime],
        elapsed: Callable[[], float],
    ) -> None:
        """`database` is the store of the holder of the stream's role."""
        self.plan = plan
        self._driver = driver
        self._database = database
        self._clock = clock
        self._elapsed = elapsed
        self._turn = threading.Lock()
        self._is_open = False
        self._failure_count = 0
        self._rests_until = 0.0
        self._is_stopping = False

    def begin(self) -> None:
        """Make the stream ready to run in this process."""
        self._is_stopping, self._failure_count, self._rests_until = False, 0, 0.0
        with self._database.write() as connection:
            positions.begin(connection, self.plan, self._clock())

    def run_once(self, seconds: float = _TURN_SECONDS) -> None:
        """Send what waits, for so many seconds, unless the destination fails, or failed a moment ago. Raises: StoreError."""
        with self._turn:
            if self._elapsed() < self._rests_until:
                return
            ends_at = self._elapsed() + seconds
            line = Line(self.plan, self._database, self._clock, self._send)
            try:
                while not self._is_stopping and self._elapsed() < ends_at and any(step(line) for step in self._steps()):
                    self._failure_count = 0
            except TransientDeliveryError as exc:
                self._close()
                self._note_failure(exc)
            except BaseException:
                self._close()
                raise
        if self._is_stopping:
            self.stop()

    def drain(self) -> None:
        """Send everything that waits, once, and close. Raises: TransientDeliveryError, if the destination fails."""
        try:
            self.run_once(math.inf)
        finally:
            self.stop()
        with self._database.read() as connection:
            health = streams.read_health(connection, self.plan.name)
        if health.failing_since is not None:
            raise TransientDeliveryError(health.last_error or "")

    def stop(self) -> None:
        """End after the batch that is being sent, and close the connection to the destination. Does not wait."""
        self._is_stopping = True
        if self._turn.acquire(blocking=False):
            self._close()
            self._turn.release()

    def progress(self) -> object:
        """Return how far the stream has come, to see whether it moves."""
        with self._database.read() as connection:
            health = streams.read_health(connection, self.plan.name)
            return streams.read_positions(connection, self.plan.name), health.sent_count

    def _steps(self) -> Sequence[Callable[[Line], bool]]:
        with self._database.read() as connection:
            is_known = bool(streams.read_positions(connection, self.plan.name))
        if not is_known:  # another process, with another configuration, has forgotten it
            with self._database.write() as connection:
                positions.begin(connection, self.plan, self._clock())
        return STEPS

    def _send(self, batch: Sequence[StreamMessage]) -> Sequence[Refusal]:
        if not self._is_open:
            self._is_open = True
            self._driver.open()
        refused = self._driver.send(batch)
        for each in refused:
            log.warning("stream_message_refused", stream=self.plan.name, message=each.id, why=each.why)
        return refused

    def _close(self) -> None:
        if self._is_open:
            self._is_open = False
            with contextlib.suppress(Exception):  # what a broken connection raises changes nothing
                self._driver.close()

    def _note_failure(self, exc: TransientDeliveryError) -> None:
        """Rest for a while, and remember why. The driver connects again after it."""
        wait = min(_FIRST_WAIT * 2 ** min(self._failure_count, 10), _LONGEST_WAIT)
        self._failure_count += 1
        self._rests_until = self._elapsed() + max(wait, min(exc.retry_after, _LONGEST_WAIT)).total_seconds()
        log.warning("stream_failed", stream=self.plan.name, error=str(exc), failures=self._failure_count)
        with self._database.write() as connection:
            health = streams.read_health(connection, self.plan.name)
            since = health.failing_since or self._clock()
            streams.write_health(connection, self.plan.name, replace(health, failing_since=since, last_error=str(exc)))
