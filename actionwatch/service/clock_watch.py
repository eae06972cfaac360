"""Watch the machine's clock. When it is set, move all stored waits by the same amount and raise a self-alert.

A step can be a correction, a mistake, or a machine that slept; the clock does not show which. Therefore every wait keeps its
length, no message is given up because of a step, and people are notified. A start does the same for the waits in the store.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from actionwatch.base.clock import STEP, Clock
from actionwatch.base.durations import spell_duration, spell_seconds
from actionwatch.matching.self_alerts import SelfAlertStore
from actionwatch.net.http_response import MAX_RETRY_AFTER
from actionwatch.store import self_alerts as opened_alerts
from actionwatch.store import waits
from actionwatch.store.database import Database
from actionwatch.text.payloads import instant

_MACHINE = "this machine"
_SHOWN = timedelta(hours=1)  # a step is over at once, but people need time to notice it
DOWNTIME = timedelta(hours=1)  # the part of a stop that counts: a longer stop looks the same as a step forward
_REMEDY = (
    "check this machine's time synchronisation (NTP), or whether it slept. Intervals, retries and giving up keep their "
    "lengths; earlier times in the log and in messages are off by the step. Resolves after an hour without a step"
)
_OVER = "the clock was not set again for an hour"

log = structlog.get_logger()


class ClockWatch:
    """Watches the clock of one process: on a shared store, that of the server.

    Calls `followers` with a step after it has moved the waits in the store.
    """

    def __init__(
        self,
        clock: Clock,
        database: Database,
        self_alerts: SelfAlertStore,
        followers: Sequence[Callable[[timedelta], None]] = (),
        elapsed: Callable[[], float] = time.monotonic,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        """`leads` returns whether this process moves the waits in the store; another one only follows the clock."""
        self._leads = leads
        self._clock = clock
        self._database = database
        self._self_alerts = self_alerts
        self._followers = followers
        self._elapsed = elapsed
        self._resolves_at: float | None = None
        """The time, by `elapsed`, at which the self-alert resolves."""
        self._is_logged = False
        """Whether the current step was logged. If the store fails, moving the waits is retried."""
        self._is_just_set = False

    def start(self) -> None:
        """Adjust the stored waits before any step runs, because the clock may have been set since the last process."""
        now = self._clock()
        with self._database.write() as connection:
            before = waits.read_last_alive(connection) or now
            if is_set_back := now - before <= -STEP:
                waits.shift(connection, now - before, before)
                what = f"the clock was set back by at least {spell_duration(before - now)} while no service was running"
                self._report_in(connection, what, now)
            elif now - before > DOWNTIME:
                waits.excuse(connection, now - before - DOWNTIME, now)
            waits.clamp(connection, now, MAX_RETRY_AFTER)
        if is_set_back:
            log.warning("clock_stepped", seconds=(now - before).total_seconds(), before=instant(before))
            self._resolves_at = self._elapsed() + _SHOWN.total_seconds()
        else:
            self._resume(now)

    def run_once(self) -> None:
        """Move the waits if the clock was set."""
        step = self._clock.step()
        if step:
            self._follow(step)
        elif self._is_just_set and self._leads():
            self._is_just_set = False
            with self._database.write() as connection:  # written by a step that read the clock just before it was set
                waits.clamp(connection, self._clock(), MAX_RETRY_AFTER)
        if self._resolves_at is not None and self._elapsed() >= self._resolves_at:
            self._resolves_at = None
            self._self_alerts.settle_trouble("clock_stepped", _MACHINE, _OVER)

    def _follow(self, step: timedelta) -> None:
        before = self._clock()
        if not self._is_logged:
            log.warning("clock_stepped", seconds=round(step.total_seconds(), 3), before=instant(before))
            self._is_logged = True
        if leads := self._leads():
            with self._database.write(on_commit=lambda: self._clock.take_up(step)) as connection:
                waits.shift(connection, step, before)
                self._report_in(connection, _describe(step, before), before + step)
        else:
            self._clock.take_up(step)
        self._is_logged, self._is_just_set = False, leads
        for follow in self._followers:
            follow(step)
        if leads:
            self._resolves_at = self._elapsed() + _SHOWN.total_seconds()

    def _report_in(self, connection: Connection, what: str, at: datetime) -> None:
        """Report a step in the transaction that moves the waits: afterwards nothing shows that there was one."""
        self._self_alerts.report_in(connection, "clock_stepped", _MACHINE, what, _REMEDY, at)

    def _resume(self, now: datetime) -> None:
        """Show a step that an earlier process reported for the rest of its time."""
        with self._database.read() as connection:
            opened = opened_alerts.read(connection, "clock_stepped", _MACHINE)
        if opened is None:
            return
        left = opened.since + _SHOWN - now
        if timedelta(0) < left <= _SHOWN:
            self._resolves_at = self._elapsed() + left.total_seconds()
        else:
            self._self_alerts.settle_trouble("clock_stepped", _MACHINE, _OVER)


def _describe(step: timedelta, before: datetime) -> str:
    way = "forward" if step > timedelta(0) else "back"
    span = f"from {instant(before)} to {instant(before + step)}"
    return f"the clock was set {way} by {spell_seconds(abs(step).total_seconds())}, {span}"
