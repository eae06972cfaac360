"""Do what only one of several replicas does: summaries, reports about receivers, fallbacks, the end of removed receivers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from actionwatch.alerts.policy import GlobalPolicy, ReceiverPolicy
from actionwatch.alerts.self_alerts import SelfAlerts
from actionwatch.delivery.fallback import Fallbacks
from actionwatch.delivery.health import ReceiverWatch, bury_unknown_receivers
from actionwatch.delivery.receiver_workers import SUMMARIES_EVERY
from actionwatch.delivery.rounds import Claimer
from actionwatch.delivery.summary import Summaries
from actionwatch.store.database import Database

HEALTH_EVERY = timedelta(seconds=5)  # counting dead letters takes time


class Leader:
    """The leader's part of the step. `leads` returns whether this process is the leader; if not, nothing is done."""

    def __init__(
        self,
        database: Database,
        leads: Callable[[], bool],
        self_alerts: SelfAlerts,
        policies: Mapping[str, ReceiverPolicy],
        global_policy: GlobalPolicy,
        claimer: Claimer,
        fallbacks: Fallbacks,
    ) -> None:
        self.summaries = Summaries(database, global_policy, policies)
        self.watch = ReceiverWatch(database, self_alerts, policies, global_policy.links)
        self._database = database
        self._leads = leads
        self._policies = policies
        self._links = global_policy.links
        self._claimer = claimer
        self._fallbacks = fallbacks
        self._summaries_timer = _Timer(SUMMARIES_EVERY)
        self._health_timer = _Timer(HEALTH_EVERY)

    def make_summaries(self, now: datetime, *, is_forced: bool = False) -> None:
        """Make the summaries that are due, once in `SUMMARIES_EVERY`."""
        if self._leads() and self._summaries_timer.is_due(now, is_forced=is_forced):
            self.summaries.make_due(now)

    def check_receivers(self, now: datetime, *, is_forced: bool = False) -> None:
        """Report failing receivers and dead letters, and copy what waits for failing receivers to their fallbacks.

        This happens once in `HEALTH_EVERY`.
        """
        if not self._leads() or not self._health_timer.is_due(now, is_forced=is_forced):
            return
        health = self.watch.check(now)
        for name in self._fallbacks.failing(health, now):
            with self._database.read() as connection:
                prepared = self._claimer.prepare(connection, name, now)
            with self._database.write() as connection:
                self._claimer.freeze_due(connection, name, self._policies[name], prepared, now)
                self._fallbacks.fall_back_all(connection, name, now)

    def try_receivers_first(self, now: datetime) -> None:
        """Check receivers only after the interval: one that failed hours ago is tried before its messages are copied."""
        self._health_timer.begin(now)

    def bury_unknown_receivers(self, now: datetime) -> int:
        """Bury what waits for removed receivers, and delete their health. Return how many messages are dead."""
        if not self._leads():
            return 0
        with self._database.write() as connection:
            return bury_unknown_receivers(connection, self._policies.keys(), now, self._links)


class _Timer:
    """Decides whether something that runs at intervals is due."""

    def __init__(self, interval: timedelta) -> None:
        self._interval = interval
        self._last: datetime | None = None

    def begin(self, now: datetime) -> None:
        self._last = now

    def is_due(self, now: datetime, *, is_forced: bool) -> bool:
        is_due = is_forced or self._last is None or abs(now - self._last) >= self._interval  # the clock may be set back
        if is_due:
            self._last = now
        return is_due
