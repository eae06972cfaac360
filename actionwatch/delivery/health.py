"""Receiver watch: report dead letters, receivers that keep failing and objectives that burn; settle what is over.

Used by `worker.py`, now and then: counting is not free.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import datetime, timedelta

from actionwatch.alerts.policy import Policy
from actionwatch.alerts.self_alerts import SelfAlerts
from actionwatch.base.durations import spell_duration
from actionwatch.base.model import GONE
from actionwatch.delivery.removed_receivers import bury_strangers
from actionwatch.store import delivery_latency, outbox, receivers
from actionwatch.store.database import Database
from actionwatch.store.receivers import Health
from actionwatch.text.payloads import instant

FAILING_AFTER = timedelta(minutes=10)  # a receiver that refuses everything for this long is a trouble of its own
OBJECTIVE_OVER = timedelta(hours=1)  # an objective is judged over this long, and settles when this long was good
SLOW_SHARE = 0.01  # p99: one in a hundred may take longer
DEAD_REMEDY = (
    "fix the receiver, look at 'actionwatch deliveries list --dead', then 'actionwatch deliveries retry --dead', "
    "or 'actionwatch deliveries drop --dead' what is not worth it"
)
GONE_REMEDY = (
    "'actionwatch deliveries retry --dead --receiver {0} --to NAME' sends them to another receiver, "
    "'actionwatch deliveries drop --dead --receiver {0}' lets them go"
)
SLOW_REMEDY = "see 'actionwatch explain' of a slow alert for where the time went: upstream, poll, match or receiver"


class ReceiverWatch:
    """What the outbox shows of the receivers of one process. `is_alone`: no other process delivers from this store."""

    def __init__(self, database: Database, troubles: SelfAlerts, policies: Mapping[str, Policy]) -> None:
        self._database = database
        self._troubles = troubles
        self._policies = policies

    def judge(self, now: datetime, *, is_alone: bool) -> dict[str, Health]:
        """Judge all of them; give their health."""
        if is_alone:
            self.bury_strangers(now)
        with self._database.read() as connection:
            queues, health = outbox.count_queues(connection), receivers.read_all(connection)
        dead = {name: waiting.dead for name, waiting in queues.items() if waiting.dead}
        for name, count in dead.items():
            self._report_dead(name, count)
        self._troubles.settle_others("dead_letters", set(dead))
        self._judge_failing(health, now)
        self._judge_objectives(now)
        return health

    def bury_strangers(self, now: datetime) -> None:
        """End what is owed to receivers that are not configured: an escalation, say, or the end of what one was told."""
        with self._database.read() as connection:
            if not outbox.read_strangers(connection, self._policies):
                return
        with self._database.write() as connection:
            bury_strangers(connection, self._policies.keys(), now)

    def _report_dead(self, name: str, count: int) -> None:
        what = f"{count} of its messages {'was' if count == 1 else 'were'} given up"
        if name in self._policies:
            self._troubles.report("dead_letters", name, what, DEAD_REMEDY)
        else:
            remedy = GONE_REMEDY.format(shlex.quote(name))
            self._troubles.report("dead_letters", name, f"{what}: the receiver is {GONE}", remedy)

    def _judge_failing(self, health: Mapping[str, Health], now: datetime) -> None:
        failing = {name: found.failing_since for name, found in health.items() if found.failing_since is not None}
        for name, since in failing.items():
            if now - since >= FAILING_AFTER:
                error = health[name].last_error or "no answer"
                self._troubles.report("receiver_failing", name, f"no message taken since {instant(since)}: {error}", "")
        self._troubles.settle_others("receiver_failing", set(failing))

    def _judge_objectives(self, now: datetime) -> None:
        """Compare how long alerts took, from when they happened, with what was promised."""
        burning: set[str] = set()
        for name, policy in self._policies.items():
            if policy.objective is None:
                continue
            with self._database.read() as connection:
                count, slow = delivery_latency.count_slow(connection, name, now - OBJECTIVE_OVER, now, policy.objective)
            if slow > count * SLOW_SHARE:
                burning.add(name)
                span = spell_duration(policy.objective)
                what = f"{slow} of {count} alerts of the last hour took longer than {span} from when they happened"
                self._troubles.report("slo_burning", name, what, SLOW_REMEDY)
        self._troubles.settle_others("slo_burning", burning)
