"""Report dead letters, failing receivers and missed objectives, and resolve what is over. `leader.py` calls it every 5 s."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import datetime, timedelta

from actionwatch.alerts.policy import ReceiverPolicy
from actionwatch.alerts.self_alerts import SelfAlerts
from actionwatch.base.delivery import NOT_CONFIGURED
from actionwatch.base.durations import spell_duration
from actionwatch.base.plurals import counted
from actionwatch.delivery.removed_receivers import bury_unknown_receivers
from actionwatch.store import delivery_latency, outbox, receivers, self_alerts
from actionwatch.store.database import Database
from actionwatch.store.receivers import Health
from actionwatch.text.links import Links
from actionwatch.text.payloads import instant

FAILING_AFTER = timedelta(minutes=10)  # how long a receiver accepts nothing until that is reported
OBJECTIVE_OVER = timedelta(hours=1)  # the time span of an objective
_UPDATE_EVERY = timedelta(minutes=10)  # how often people learn at most that there are more dead letters
_SLOW_SHARE = 0.01  # p99: one alert in a hundred may take longer
DEAD_REMEDY = (
    "fix the receiver, then run 'actionwatch deliveries retry --dead', or drop the messages: "
    "'actionwatch deliveries drop --dead'"
)
_NOT_CONFIGURED_REMEDY = (
    "'actionwatch deliveries retry --dead --receiver {0} --to NAME' sends them to another receiver, "
    "'actionwatch deliveries drop --dead --receiver {0}' drops them"
)
SLOW_REMEDY = "see 'actionwatch explain' for a slow alert: it shows the time of the upstream, poll, match and receiver"


class ReceiverWatch:
    """Watches the receivers of one process in the outbox."""

    def __init__(
        self, database: Database, self_alerts: SelfAlerts, policies: Mapping[str, ReceiverPolicy], links: Links
    ) -> None:
        self._database = database
        self._self_alerts = self_alerts
        self._policies = policies
        self._links = links
        self._dead_shown: dict[str, tuple[str, datetime | None]] = {}
        """What the report of a receiver's dead letters says, and when this process has updated it."""

    def check(self, now: datetime) -> dict[str, Health]:
        """Check all receivers and return their health."""
        self.bury_unknown_receivers(now)
        with self._database.read() as connection:
            queues, health = outbox.count_queues(connection), receivers.read_all(connection)
            reports = [each.alert_id for each in self_alerts.read_all(connection) if each.trouble == "dead_letters"]
            dead_reports = outbox.count_dead_of_alerts(connection, reports) if reports else {}
        dead = {name: waiting.dead for name, waiting in queues.items() if waiting.dead}
        for name, count in dead.items():
            # A report that is given up too must not make another one.
            self._report_dead(name, count - dead_reports.get(name, 0), now)
        self._self_alerts.settle_others("dead_letters", set(dead))
        self._dead_shown = {name: shown for name, shown in self._dead_shown.items() if name in dead}
        self._check_failing(health, now)
        self._check_objectives(now)
        return health

    def bury_unknown_receivers(self, now: datetime) -> None:
        """Bury what waits for receivers that are not configured, such as an escalation or the end of an alert."""
        with self._database.read() as connection:
            if not outbox.read_unknown_receivers(connection, self._policies):
                return
        with self._database.write() as connection:
            bury_unknown_receivers(connection, self._policies.keys(), now, self._links)

    def _report_dead(self, name: str, count: int, now: datetime) -> None:
        """Report how many messages are dead, other than the open reports of that, and again when the number changes.

        That is at most every ten minutes, because each update is a message, also by email.
        """
        what, remedy = f"{count} of its messages {'was' if count == 1 else 'were'} given up", DEAD_REMEDY
        if not count:
            what = "messages about dead letters were given up"
        if name not in self._policies:
            what = f"{what}: the receiver is {NOT_CONFIGURED}"
            remedy = _NOT_CONFIGURED_REMEDY.format(shlex.quote(name))
        self._self_alerts.report("dead_letters", name, what, remedy)
        shown, updated_at = self._dead_shown.get(name, (None, None))
        if what != shown and (updated_at is None or abs(now - updated_at) >= _UPDATE_EVERY):
            self._self_alerts.update("dead_letters", name, what)
            self._dead_shown[name] = (what, None if shown is None else now)

    def _check_failing(self, health: Mapping[str, Health], now: datetime) -> None:
        failing = {name: found.failing_since for name, found in health.items() if found.failing_since is not None}
        for name, since in failing.items():
            if now - since >= FAILING_AFTER:
                error = health[name].last_error or "no answer"
                self._self_alerts.report(
                    "receiver_failing", name, f"no message accepted since {instant(since)}: {error}", ""
                )
        self._self_alerts.settle_others("receiver_failing", set(failing))

    def _check_objectives(self, now: datetime) -> None:
        """Compare how long alerts took, from when they happened, with each receiver's objective."""
        burning: set[str] = set()
        for name, policy in self._policies.items():
            if policy.objective is None:
                continue
            with self._database.read() as connection:
                count, slow = delivery_latency.count_slow(connection, name, now - OBJECTIVE_OVER, now, policy.objective)
            if slow > count * _SLOW_SHARE:
                burning.add(name)
                span = spell_duration(policy.objective)
                what = f"{slow} of {counted(count, 'alert')} of the last hour took longer than {span} from when they happened"
                self._self_alerts.report("slo_burning", name, what, SLOW_REMEDY)
        self._self_alerts.settle_others("slo_burning", burning)
