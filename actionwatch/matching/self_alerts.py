"""Open and resolve self-alerts: a trouble of actionwatch itself is an `actionwatch_self` alert that opens once.

Each step reports and settles what it watches. The store keeps which troubles are open, so that a restart or a run from cron
neither repeats nor forgets one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime

from sqlalchemy import Connection

from actionwatch.alerts.ledger import resolve
from actionwatch.base.delivery import NOT_CONFIGURED
from actionwatch.base.ids import stable_id
from actionwatch.base.model import Alert, Level, RuleName, Status
from actionwatch.matching.addressing import Addressing
from actionwatch.store import alerts, self_alerts
from actionwatch.store.database import Database
from actionwatch.text.payloads import instant

SELF_RULE = RuleName("actionwatch_self", "actionwatch_self", "actionwatch is in trouble")

TITLES: Mapping[str, tuple[Level, str]] = {
    "key_refused": (Level.CRITICAL, "Blind: the upstream refuses the key of {}"),
    "upstream_unreachable": (Level.HIGH, "Blind: the upstream of {} cannot be reached"),
    "accounts_refused": (Level.HIGH, "Blind: the upstream does not list the linked accounts of {}"),
    "proof_lagging": (Level.HIGH, "Not proved: {} lags behind"),
    "window_unproved": (Level.HIGH, "Not proved: older records of {}"),
    "dead_letters": (Level.HIGH, "Alerts did not reach {}"),
    "receiver_failing": (Level.MEDIUM, "Receiver {} keeps failing"),
    "slo_burning": (Level.MEDIUM, "Alerts reach {} later than its objective"),
    "rule_broken": (Level.HIGH, "Not loaded because it is broken: {}"),
    "unknown_kind": (Level.MEDIUM, "Unknown kind of action: {}"),
    "unknown_field": (Level.LOW, "Records of {} have new fields"),
    "filter_ignored": (Level.LOW, "The upstream of {} ignores filters"),
    "clock_skew": (Level.MEDIUM, "The clocks of {} and of this machine differ"),
    "mark_ahead": (Level.HIGH, "Blind: the stored progress of {} is in the future"),
    "clock_stepped": (Level.MEDIUM, "The clock of {} was set"),
    "window_shrunk": (Level.CRITICAL, "Records of {} have disappeared upstream"),
    "step_failing": (Level.HIGH, "The step {} of the service does not work"),
    "store_nearly_full": (Level.HIGH, "The disk of the store {} is nearly full"),
}
"""Level and title of each trouble. `{}` is the subject: a source, a receiver or a file."""

OF_SOURCES = frozenset(
    {
        "accounts_refused",
        "clock_skew",
        "filter_ignored",
        "key_refused",
        "mark_ahead",
        "proof_lagging",
        "unknown_field",
        "upstream_unreachable",
        "window_shrunk",
        "window_unproved",
    }
)
"""The troubles of a source. They resolve when it is no longer configured."""
OF_RECEIVERS = frozenset({"receiver_failing", "slo_burning"})
"""The troubles of a receiver. `dead_letters` is not one of them: it lasts until a person decides about each dead letter."""
OF_OTHERS = frozenset(
    {"clock_stepped", "dead_letters", "rule_broken", "step_failing", "store_nearly_full", "unknown_kind"}
)
"""Those that somebody else settles: whoever reports them."""


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
        with self._database.write() as connection:
            if self_alerts.read(connection, trouble, subject):
                self_alerts.correct(connection, trouble, subject, what, remedy)
            else:
                self._open(connection, trouble, subject, what, remedy, self._clock())

    def settle(self, trouble: str, subject: str, why: str = "") -> None:
        """Report that a trouble is over, and `why` if that is not obvious. Costs one read if there is none."""
        with self._database.read() as connection:
            if not self_alerts.read(connection, trouble, subject):
                return
        with self._database.write() as connection:
            opened = self_alerts.read(connection, trouble, subject)
            if opened:
                self._resolve(connection, opened, self._clock(), why)

    def settle_others(self, trouble: str, subjects: set[str], why: Callable[[str], str] = lambda _: "") -> None:
        """Settle a trouble for every subject except these. `why` returns the reason for a subject."""
        with self._database.read() as connection:
            opened = [found.subject for found in self_alerts.read_all(connection) if found.trouble == trouble]
        for subject in opened:
            if subject not in subjects:
                self.settle(trouble, subject, why(subject))

    def settle_removed(self, sources: Collection[str], receivers: Collection[str]) -> None:
        """Settle the troubles of sources and receivers that are no longer configured."""
        with self._database.read() as connection:
            opened = self_alerts.read_all(connection)
        for found in opened:
            if found.trouble in OF_SOURCES and found.subject not in sources:
                self.settle(found.trouble, found.subject, f"the source {found.subject} is {NOT_CONFIGURED}")
            if found.trouble in OF_RECEIVERS and found.subject not in receivers:
                self.settle(found.trouble, found.subject, f"the receiver {found.subject} is {NOT_CONFIGURED}")

    def _open(self, connection: Connection, trouble: str, subject: str, what: str, remedy: str, now: datetime) -> None:
        alert = self_alert(trouble, subject, what, remedy, now)
        self_alerts.insert(connection, self_alerts.OpenSelfAlert(trouble, subject, now, what, remedy, alert.id))
        alerts.insert_new(connection, [(alert, stable_id("group", SELF_RULE.id, trouble, subject))])
        self._addressing.open(connection, [[(alert, None)]], now)

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
    level, title = TITLES[trouble]
    return Alert(
        id=stable_id("self", trouble, subject, instant(now)),
        rule=SELF_RULE,
        level=level,
        title=title.format(subject),
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
