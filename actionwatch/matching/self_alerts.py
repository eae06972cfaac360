"""Open and resolve self-alerts: a trouble of actionwatch itself is an `actionwatch_self` alert that opens once.

Each step reports and settles what it watches. The store keeps which troubles are open, so that a restart or a run from cron
neither repeats nor forgets one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from msgspec.structs import replace
from sqlalchemy import Connection

from actionwatch.alerts.ledger import resolve
from actionwatch.alerts.self_alerts import is_placed
from actionwatch.base import tracing
from actionwatch.base.delivery import NOT_CONFIGURED
from actionwatch.base.ids import stable_id
from actionwatch.base.model import SELF_RULE_NAME, Alert, Level, RuleName, Status
from actionwatch.matching.addressing import Addressing
from actionwatch.store import alert_history, alerts, self_alerts
from actionwatch.store.database import Database
from actionwatch.text.payloads import instant

SELF_RULE = RuleName(SELF_RULE_NAME, SELF_RULE_NAME, "actionwatch is in trouble")


@dataclass(frozen=True, slots=True)
class Trouble:
    """A kind of trouble. `{}` in the title is its subject: a source, a receiver or a file.

    With `ends_with`, it is over when the source or receiver that is its subject is no longer configured. Every other trouble
    lasts until whoever reports it settles it: `dead_letters`, until a person has decided about each dead letter.
    """

    level: Level
    title: str
    ends_with: Literal["source", "receiver"] | None = None


TROUBLES: Mapping[str, Trouble] = {
    "key_refused": Trouble(Level.CRITICAL, "Blind: the upstream denies access to {}", "source"),
    "upstream_unreachable": Trouble(Level.HIGH, "Blind: the upstream of {} cannot be reached", "source"),
    "accounts_refused": Trouble(Level.HIGH, "Blind: the upstream does not list the linked accounts of {}", "source"),
    "proof_lagging": Trouble(Level.HIGH, "Not proved: {} lags behind", "source"),
    "window_unproved": Trouble(Level.HIGH, "Not proved: older records of {}", "source"),
    "dead_letters": Trouble(Level.HIGH, "Alerts did not reach {}"),
    "receiver_failing": Trouble(Level.MEDIUM, "Receiver {} keeps failing", "receiver"),
    "slo_burning": Trouble(Level.MEDIUM, "Alerts reach {} later than its objective", "receiver"),
    "rule_broken": Trouble(Level.HIGH, "Not loaded because it is broken: {}"),
    "template_failing": Trouble(Level.MEDIUM, "Messages are sent without the template {}"),
    "config_differs": Trouble(Level.MEDIUM, "Not in use: the newest {}"),
    "unknown_kind": Trouble(Level.MEDIUM, "Records of {} have unknown kinds", "source"),
    "unknown_field": Trouble(Level.LOW, "Records of {} have new fields", "source"),
    "records_cut": Trouble(Level.MEDIUM, "Records of {} are too large", "source"),
    "filter_ignored": Trouble(Level.LOW, "The upstream of {} ignores filters", "source"),
    "clock_skew": Trouble(Level.MEDIUM, "The clocks of {} and of this machine differ", "source"),
    "mark_ahead": Trouble(Level.HIGH, "Blind: the stored progress of {} is in the future", "source"),
    "clock_stepped": Trouble(Level.MEDIUM, "The clock of {} was set"),
    "window_shrunk": Trouble(Level.CRITICAL, "Records of {} have disappeared upstream", "source"),
    "step_failing": Trouble(Level.HIGH, "The step {} of the service does not work"),
    "replicas_differ": Trouble(Level.MEDIUM, "Replicas do not agree on {}"),
    "store_nearly_full": Trouble(Level.HIGH, "The disk of the store {} is nearly full"),
}


class SelfAlertStore:
    """Opens and resolves self-alerts in the store. Safe to share between threads."""

    def __init__(self, database: Database, addressing: Addressing, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._addressing = addressing
        self._clock = clock

    def report(self, trouble: str, subject: str, what: str, remedy: str) -> None:
        """Report a trouble. Only its first report opens an alert; a later one can change the remedy that `status` shows."""
        with self._database.read() as connection:
            opened = self_alerts.read(connection, trouble, subject)
        if opened is not None and opened.remedy == remedy:
            return
        alert = None
        with self._database.write() as connection:
            if self_alerts.read(connection, trouble, subject):
                self_alerts.correct(connection, trouble, subject, what, remedy)
            else:
                alert = self._open(connection, trouble, subject, what, remedy, self._clock())
        if alert is not None:
            tracing.alert_opened(alert, self._clock())

    def update(self, trouble: str, subject: str, what: str) -> None:
        """Change what an open self-alert says, and notify its receivers. Costs one read if it says that, or there is none."""
        with self._database.read() as connection:
            opened = self_alerts.read(connection, trouble, subject)
        if opened is None or opened.what == what:
            return
        with self._database.write() as connection:
            opened = self_alerts.read(connection, trouble, subject)
            if opened is not None and opened.what != what:
                self._update(connection, opened, what, self._clock())

    def settle(self, trouble: str, subject: str, why: str = "") -> None:
        """Report that a trouble is over, and `why` if that is not obvious. Costs one read if there is none."""
        with self._database.read() as connection:
            if not self_alerts.read(connection, trouble, subject):
                return
        with self._database.write() as connection:
            opened = self_alerts.read(connection, trouble, subject)
            if opened:
                self._resolve(connection, opened, self._clock(), why)

    def settle_all(self, troubles: Collection[str], subject: str) -> None:
        """Report that several troubles of one subject are over. Costs one read if there is none."""
        with self._database.read() as connection:
            opened = {found.trouble for found in self_alerts.read_all(connection) if found.subject == subject}
        for trouble in troubles:
            if trouble in opened:
                self.settle(trouble, subject)

    def settle_others(self, trouble: str, subjects: set[str], why: Callable[[str], str] = lambda _: "") -> None:
        """Settle a trouble for every subject except these. `why` returns the reason for a subject.

        A subject that names a replica is left to `settle_gone`.
        """
        with self._database.read() as connection:
            opened = [found.subject for found in self_alerts.read_all(connection) if found.trouble == trouble]
        for subject in opened:
            if subject not in subjects and not is_placed(subject):
                self.settle(trouble, subject, why(subject))

    def settle_gone(self, replicas: Collection[str]) -> None:
        """Settle the troubles of all replicas but these."""
        with self._database.read() as connection:
            opened = [found for found in self_alerts.read_all(connection) if is_placed(found.subject)]
        for found in opened:
            if not is_placed(found.subject, replicas):
                self.settle(found.trouble, found.subject, "the replica no longer runs")

    def settle_removed(self, sources: Collection[str], receivers: Collection[str]) -> None:
        """Settle the troubles of sources and receivers that are no longer configured, and those of another version."""
        with self._database.read() as connection:
            opened = self_alerts.read_all(connection)
        configured = {"source": sources, "receiver": receivers}
        for found in opened:
            if found.trouble not in TROUBLES:
                self.settle(found.trouble, found.subject, "this version of actionwatch does not report it")
            elif (owner := TROUBLES[found.trouble].ends_with) and found.subject not in configured[owner]:
                self.settle(found.trouble, found.subject, f"the {owner} {found.subject} is {NOT_CONFIGURED}")

    def _open(self, connection: Connection, trouble: str, subject: str, what: str, remedy: str, now: datetime) -> Alert:
        alert = self_alert(trouble, subject, what, remedy, now)
        self_alerts.insert(connection, self_alerts.OpenSelfAlert(trouble, subject, now, what, remedy, alert.id))
        alerts.insert_new(connection, [(alert, stable_id("group", SELF_RULE.id, trouble, subject))])
        self._addressing.open(connection, [[(alert, None)]], now)
        return alert

    def _update(self, connection: Connection, opened: self_alerts.OpenSelfAlert, what: str, now: datetime) -> None:
        self_alerts.correct(connection, opened.trouble, opened.subject, what, opened.remedy)
        alert = alerts.read(connection, opened.alert_id)
        if alert is None or alert.status is Status.RESOLVED:
            return  # a person resolved it, or retention deleted it
        updated = replace(alert, body=what, last_at=max(alert.last_at, now))
        alerts.update(connection, updated)
        self._addressing.update(connection, [(updated, None)], now)
        alert_history.append(connection, [alert_history.Entry(now, alert.id, "updated", what)])

    def _resolve(self, connection: Connection, opened: self_alerts.OpenSelfAlert, now: datetime, why: str) -> None:
        self_alerts.delete(connection, opened.trouble, opened.subject)
        alert = alerts.read(connection, opened.alert_id)
        if alert is None or alert.status is Status.RESOLVED:
            return  # a person resolved it, or retention deleted it
        resolved = resolve(alert, "actionwatch", now, why)
        alerts.update(connection, resolved)
        self._addressing.resolve(connection, resolved, now, why)


def self_alert(trouble: str, subject: str, what: str, remedy: str, now: datetime) -> Alert:
    """Return the alert of a trouble that began now. Its id is derived from trouble, subject and this instant."""
    kind = TROUBLES[trouble]
    return Alert(
        id=stable_id("self", trouble, subject, instant(now)),
        rule=SELF_RULE,
        level=kind.level,
        title=kind.title.format(subject),
        body=what,
        runbook=remedy or None,
        labels={"trouble": trouble},
        source=subject,
        group={"subject": subject},
        first_at=now,
        last_at=now,
        opened_at=now,
        happened_at=now,
    )


def marked_alert(receiver: str, now: datetime) -> Alert:
    """Return the marked alert that `receivers test` sends."""
    return Alert(
        id=stable_id("test", receiver, instant(now)),
        rule=SELF_RULE,
        level=Level.INFORMATIONAL,
        title="Test message from actionwatch",
        body=f"Somebody ran `actionwatch receivers test {receiver}`. No action is needed.",
        labels={"test": "true"},
        source="actionwatch",
        first_at=now,
        last_at=now,
        opened_at=now,
        happened_at=now,
    )
