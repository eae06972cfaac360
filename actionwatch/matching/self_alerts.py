"""Open and resolve self-alerts: a trouble of actionwatch itself is an `actionwatch_self` alert that opens once.

Each step reports and settles what it watches. The store keeps which troubles are open, so that a restart or a run from cron
neither repeats nor forgets one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime

from sqlalchemy import Connection

from actionwatch.alerts.ledger import RESOLVED_BY, open_self_alert, resolve, restate, self_alert_key
from actionwatch.alerts.self_alerts import TROUBLES, is_placed
from actionwatch.base.delivery import NOT_CONFIGURED
from actionwatch.base.model import Status
from actionwatch.matching.addressing import Addressing
from actionwatch.store import alert_history, alerts, self_alerts
from actionwatch.store.database import Database


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
            self.report_in(connection, trouble, subject, what, remedy)

    def report_in(
        self, connection: Connection, trouble: str, subject: str, what: str, remedy: str, at: datetime | None = None
    ) -> None:
        """Report a trouble in a transaction of the caller, by default as of now."""
        opened = self_alerts.read(connection, trouble, subject)
        if opened is None:
            now = at or self._clock()
            alert = open_self_alert(trouble, subject, what, remedy, now)
            self_alerts.insert(connection, self_alerts.OpenSelfAlert(trouble, subject, now, what, remedy, alert.id))
            alerts.insert_new(connection, [(alert, self_alert_key(trouble, subject))])
            self._addressing.open(connection, [[(alert, None)]], now)
        elif opened.remedy != remedy:
            self_alerts.correct(connection, trouble, subject, what, remedy)

    def is_open(self, trouble: str, subject: str) -> bool:
        """Return whether a trouble is reported and not over."""
        with self._database.read() as connection:
            return self_alerts.read(connection, trouble, subject) is not None

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

    def settle_trouble(self, trouble: str, subject: str, why: str = "") -> None:
        """Report that a trouble is over, and `why` if that is not obvious. Costs one read if there is none."""
        with self._database.read() as connection:
            if not self_alerts.read(connection, trouble, subject):
                return
        with self._database.write() as connection:
            opened = self_alerts.read(connection, trouble, subject)
            if opened:
                self._resolve(connection, opened, self._clock(), why)

    def settle_all(self, ended: Collection[tuple[str, str]]) -> None:
        """Report that several troubles are over, each with its subject. Costs one read if there is none."""
        with self._database.read() as connection:
            opened = {(found.trouble, found.subject) for found in self_alerts.read_all(connection)}
        for trouble, subject in sorted(opened.intersection(ended)):
            self.settle_trouble(trouble, subject)

    def settle_others(self, trouble: str, subjects: set[str], why: Callable[[str], str] = lambda _: "") -> None:
        """Settle a trouble for every subject except these. `why` returns the reason for a subject.

        A subject that names a replica is left to `settle_gone`.
        """
        with self._database.read() as connection:
            opened = [found.subject for found in self_alerts.read_all(connection) if found.trouble == trouble]
        for subject in opened:
            if subject not in subjects and not is_placed(subject):
                self.settle_trouble(trouble, subject, why(subject))

    def settle_gone(self, replicas: Collection[str]) -> None:
        """Settle the troubles of all replicas but these."""
        with self._database.read() as connection:
            opened = [found for found in self_alerts.read_all(connection) if is_placed(found.subject)]
        for found in opened:
            if not is_placed(found.subject, replicas):
                self.settle_trouble(found.trouble, found.subject, "the replica no longer runs")

    def settle_removed(self, sources: Collection[str], receivers: Collection[str]) -> None:
        """Settle the troubles of sources and receivers that are no longer configured, and those of another version."""
        with self._database.read() as connection:
            opened = self_alerts.read_all(connection)
        configured = {"source": sources, "receiver": receivers}
        for found in opened:
            if found.trouble not in TROUBLES:
                self.settle_trouble(found.trouble, found.subject, "this version of actionwatch does not report it")
            elif (owner := TROUBLES[found.trouble].ends_with) and found.subject not in configured[owner]:
                self.settle_trouble(found.trouble, found.subject, f"the {owner} {found.subject} is {NOT_CONFIGURED}")

    def _update(self, connection: Connection, opened: self_alerts.OpenSelfAlert, what: str, now: datetime) -> None:
        self_alerts.correct(connection, opened.trouble, opened.subject, what, opened.remedy)
        alert = alerts.read(connection, opened.alert_id)
        if alert is None or alert.status is Status.RESOLVED:
            return  # a person resolved it, or retention deleted it
        updated = restate(alert, what, now)
        alerts.update(connection, updated)
        self._addressing.update(connection, [(updated, None)], now)
        alert_history.append(connection, [alert_history.Entry(now, alert.id, "updated", what)])

    def _resolve(self, connection: Connection, opened: self_alerts.OpenSelfAlert, now: datetime, why: str) -> None:
        self_alerts.delete(connection, opened.trouble, opened.subject)
        alert = alerts.read(connection, opened.alert_id)
        if alert is None or alert.status is Status.RESOLVED:
            return  # a person resolved it, or retention deleted it
        resolved = resolve(alert, RESOLVED_BY, now, why)
        alerts.update(connection, resolved)
        self._addressing.resolve(connection, resolved, now, why)
