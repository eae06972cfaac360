"""Report dead letters, failing receivers and failing templates, and resolve the reports that are over. Bury
rows of receivers that are not in the configuration, because nothing else moves these rows on.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from actionwatch.alerts.policy import ReceiverPolicy
from actionwatch.alerts.self_alerts import SelfAlerts
from actionwatch.base.delivery import NOT_CONFIGURED
from actionwatch.base.errors import Fault
from actionwatch.base.model import Event
from actionwatch.delivery.attempt import Attempt, MessageRenderer
from actionwatch.delivery.summary import ENDED_BY_TIME, write_summary
from actionwatch.store import (
    alert_history,
    delivery_transitions,
    outbox,
    receivers,
    self_alerts,
    suppressed_deliveries,
)
from actionwatch.store.database import Database
from actionwatch.store.receivers import Health
from actionwatch.text.links import Links
from actionwatch.text.payloads import instant

FAILING_AFTER = timedelta(minutes=10)  # how long a receiver accepts nothing until that is reported
_UPDATE_EVERY = timedelta(minutes=10)  # how often people learn at most that there are more dead letters
DEAD_REMEDY = (
    "fix the receiver, then run 'actionwatch deliveries retry --dead', or drop the messages: "
    "'actionwatch deliveries drop --dead'"
)
_NOT_CONFIGURED_REMEDY = (
    "'actionwatch deliveries retry --dead --receiver {0} --to NAME' sends them to another receiver, "
    "'actionwatch deliveries drop --dead --receiver {0}' drops them"
)


TROUBLE = "template_failing"
CHANGED = "the templates were changed"
_TEMPLATE_REMEDY = (
    "fix the template: it is loaded within a second; 'actionwatch explain' of an alert shows which of its messages failed. "
    "Until then such messages use the shipped template or a plain text"
)

log = structlog.get_logger()


class ReceiverWatch:
    """Watches the receivers of one process in the outbox. `leader.py` calls it every 5 s."""

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


def bury_unknown_receivers(connection: Connection, configured: Collection[str], now: datetime, links: Links) -> int:
    """Bury what waits for receivers that are not configured, and delete their health. Return how many messages are dead.

    Pending, held and collapsed rows become dead letters. Rows that a silence or a mute interval stopped stay suppressed; their
    summary becomes a dead letter.
    """
    count = 0
    for receiver in outbox.read_unknown_receivers(connection, configured):
        for reason in ENDED_BY_TIME:
            _bury_summary(connection, receiver, reason, now, links)
        delivery_transitions.suppress_escalations(connection, receiver)
        buried = delivery_transitions.bury_all(connection, receiver, NOT_CONFIGURED)
        lines = [
            alert_history.Entry(
                now, alert_id, f"delivery to {receiver}", f"{event.word}: dead letter: {NOT_CONFIGURED}"
            )
            for alert_id, event in buried
            if event is not Event.SUMMARY
        ]
        alert_history.append(connection, lines)
        log.warning("deliveries_buried", receiver=receiver, count=len(buried), why=NOT_CONFIGURED)
        count += len(buried)
    receivers.delete_others(connection, configured)
    return count


def _bury_summary(connection: Connection, receiver: str, reason: str, now: datetime, links: Links) -> None:
    """Write the summary that cannot be sent, and add it to the history of each alert that it reports."""
    groups = [group for group in suppressed_deliveries.read_groups(connection, receiver) if group.awaits == reason]
    if groups:
        summary_id = write_summary(connection, receiver, reason, groups, now, now, links)
        what = f"{reason}: its summary is a dead letter: {NOT_CONFIGURED}"
        alert_ids = suppressed_deliveries.read_reported(connection, summary_id)
        lines = [alert_history.Entry(now, each, f"delivery to {receiver}", what) for each in alert_ids]
        alert_history.append(connection, lines)


class TemplateWatch:
    """Reports templates that fail for a message, although they passed the check with samples. The message has another text.

    When the templates change while a process runs, it resolves the self-alert itself; `service/template_files.py` does that for
    a process that has ended. Only the delivery worker's thread uses it.
    """

    def __init__(self, renderer: MessageRenderer, self_alerts: SelfAlerts) -> None:
        self._renderer = renderer
        self._self_alerts = self_alerts
        self._version: int | None = None
        """The version of the renderer when this was called last."""
        self._failures: dict[str, tuple[Fault, int]] = {}
        """The last failure of each file, and the version of the renderer that it is about."""

    def collect(self, attempts: Sequence[Attempt]) -> None:
        """Collect the failures of attempts that were recorded."""
        for each in attempts:
            self._failures |= {fault.file: (fault, each.templates_version) for fault in each.render_failures}

    def report(self) -> None:
        """Report the failures of the templates in use, and resolve the reports about those before.

        Raises: StoreError; the next call reports them again.
        """
        self._settle_changed()
        for fault, seen in self._failures.values():
            if seen == self._version:
                self._self_alerts.report(
                    TROUBLE, fault.file, f"a message could not be written: {fault}", _TEMPLATE_REMEDY
                )
        self._settle_changed()  # they may have changed meanwhile
        self._failures = {}

    def _settle_changed(self) -> None:
        version = self._renderer.version
        if self._version not in (None, version):
            self._self_alerts.settle_others(TROUBLE, set(), lambda _: CHANGED)
        self._version = version
