"""Watch the machine's clock: when it is set, move all that waits by as much, and report it.

A step is a correction, a mistake, or a machine that slept: the clock does not say which. So no wait becomes longer or shorter
by it, nothing is given up because of it, and people learn of it. At a start the same is done for what the last process left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import structlog

from actionwatch.alerts.self_alerts import SelfAlerts
from actionwatch.base.clock import STEP, Clock
from actionwatch.base.durations import spell_duration
from actionwatch.net.http_response import MAX_RETRY_AFTER
from actionwatch.store import self_alerts as opened_alerts
from actionwatch.store import waits
from actionwatch.store.database import Database
from actionwatch.text.payloads import instant

MACHINE = "this machine"
SHOWN = timedelta(hours=1)  # a step is over at once, but people need time to see it
DOWNTIME = timedelta(hours=1)  # so much of a stop counts: whether it was longer, or the clock was set, nobody can tell
REMEDY = (
    "check this machine's time synchronisation (NTP), or whether it slept. Intervals, retries and giving up keep their "
    "lengths; earlier times in the log and in messages are off by the step. Resolves after an hour without a step"
)
OVER = "the clock was not set again for an hour"

log = structlog.get_logger()


class ClockWatch:
    """The watch over one process's clock. `followers` are told of a step once the store has followed it."""

    def __init__(
        self,
        clock: Clock,
        database: Database,
        self_alerts: SelfAlerts,
        followers: Sequence[Callable[[timedelta], None]] = (),
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._database = database
        self._self_alerts = self_alerts
        self._followers = followers
        self._elapsed = elapsed
        self._resolves_at: float | None = None
        """When, by `elapsed`, the trouble has been shown for long enough."""
        self._is_logged = False
        """Whether the step that is to be followed was logged: where the store fails, following is tried again and again."""
        self._is_just_set = False

    def start(self) -> None:
        """Set right what the last process left, before anything runs: the clock may have been set since."""
        now = self._clock()
        with self._database.write() as connection:
            before = waits.read_last_alive(connection) or now
            if is_set_back := now - before <= -STEP:
                waits.shift(connection, now - before, before)
            elif now - before > DOWNTIME:
                waits.excuse(connection, now - before - DOWNTIME, now)
            waits.clamp(connection, now, MAX_RETRY_AFTER)
        if is_set_back:
            log.warning("clock_stepped", seconds=(now - before).total_seconds(), before=instant(before))
            self._report(f"the clock was set back by at least {spell_duration(before - now)} while nothing ran")
        else:
            self._resume(now)

    def run_once(self) -> None:
        """Follow a step of the clock, if there was one."""
        step = self._clock.step()
        if step:
            self._follow(step)
        elif self._is_just_set:
            self._is_just_set = False
            with self._database.write() as connection:  # by a step that read the clock just before it was set
                waits.clamp(connection, self._clock(), MAX_RETRY_AFTER)
        if self._resolves_at is not None and self._elapsed() >= self._resolves_at:
            self._resolves_at = None
            self._self_alerts.settle("clock_stepped", MACHINE, OVER)

    def _follow(self, step: timedelta) -> None:
        before = self._clock()
        if not self._is_logged:
            log.warning("clock_stepped", seconds=round(step.total_seconds(), 3), before=instant(before))
            self._is_logged = True
        with self._database.write(on_commit=lambda: self._clock.take_up(step)) as connection:
            waits.shift(connection, step, before)
        self._is_logged, self._is_just_set = False, True
        for follow in self._followers:
            follow(step)
        way = "forward" if step > timedelta(0) else "back"
        span = f"from {instant(before)} to {instant(before + step)}"
        size = timedelta(seconds=round(abs(step).total_seconds()))
        self._report(f"the clock was set {way} by {spell_duration(size)}, {span}")

    def _report(self, what: str) -> None:
        self._resolves_at = self._elapsed() + SHOWN.total_seconds()
        self._self_alerts.report("clock_stepped", MACHINE, what, REMEDY)

    def _resume(self, now: datetime) -> None:
        """Go on showing a step that an earlier process reported, for the rest of its time."""
        with self._database.read() as connection:
            opened = opened_alerts.read(connection, "clock_stepped", MACHINE)
        if opened is None:
            return
        left = opened.since + SHOWN - now
        if timedelta(0) < left <= SHOWN:
            self._resolves_at = self._elapsed() + left.total_seconds()
        else:
            self._self_alerts.settle("clock_stepped", MACHINE, OVER)
