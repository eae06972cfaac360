"""People: what somebody decides about an alert, from the command line or by a button: take it on, end it, silence it.

Each is one transaction that changes the alert and owes its receivers the news.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from actionwatch.alerts.silences import make_silence, matchers_of
from actionwatch.errors import ActionwatchError
from actionwatch.model import Alert, Silence, Status
from actionwatch.options import spell_duration
from actionwatch.pipeline.addressing import Addressing
from actionwatch.store import alerts, records, silences, story, troubles
from actionwatch.store.database import Database

SILENCE_BY_BUTTON = timedelta(hours=1)

log = structlog.get_logger()


class People:
    """The decisions, each by somebody. Safe to share between threads."""

    def __init__(
        self,
        database: Database,
        addressing: Addressing,
        clock: Callable[[], datetime],
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._addressing = addressing
        self._clock = clock
        self._wake = wake

    def act(self, action: str, alert_id: str, who: str) -> str:
        """Do what a button says (`acknowledge`, `silence` or `resolve`); give a sentence to show.

        Raises: ActionwatchError, StoreError.
        """
        match action:
            case "acknowledge" | "ack":
                return _told(self.acknowledge(alert_id, who))
            case "resolve":
                return _told(self.resolve(alert_id, who))
            case "silence":
                made = self.silence(alert_id, who, SILENCE_BY_BUTTON, f"by a button of alert {alert_id}")
                return f"{who} silenced {' '.join(made.matchers)} for {spell_duration(SILENCE_BY_BUTTON)}"
        raise ActionwatchError(f"there is no action {action!r}")

    def acknowledge(self, alert_id: str, who: str) -> Alert:
        """Say that somebody took an alert on: it escalates no further. Doing so again, or after its end, changes nothing.

        Raises: ActionwatchError, where there is no such alert.
        """
        with self._database.write() as connection:
            alert = _existing(connection, alert_id)
            if alert.status is not Status.OPEN:
                return alert
            alert = replace(alert, status=Status.ACKED, acked_by=who)
            alerts.update(connection, alert)
            self._addressing.acknowledge(connection, alert, self._clock())
        log.info("alert_acknowledged", alert=alert.id, by=who)
        self._wake()
        return alert

    def resolve(self, alert_id: str, who: str) -> Alert:
        """End an alert: the next match opens a new one. Doing so again changes nothing.

        Raises: ActionwatchError, where there is no such alert.
        """
        now = self._clock()
        with self._database.write() as connection:
            alert = _existing(connection, alert_id)
            if alert.status is Status.RESOLVED:
                return alert
            alert = replace(alert, status=Status.RESOLVED, resolved_by=who, resolved_at=now)
            alerts.update(connection, alert)
            troubles.delete_of_alert(connection, alert.id)
            self._addressing.resolve(connection, alert, now)
        log.info("alert_resolved", alert=alert.id, by=who)
        self._wake()
        return alert

    def silence(self, alert_id: str, who: str, span: timedelta, comment: str) -> Silence:
        """Silence what an alert stands for (its rule and group) for some time.

        Raises: ActionwatchError, where there is no such alert.
        """
        now = self._clock()
        with self._database.write() as connection:
            alert = _existing(connection, alert_id)
            newest = records.read_of_alerts(connection, [alert.id], 1)[alert.id]
            matchers = matchers_of(alert, newest[-1] if newest else None)
            made = make_silence(matchers, who, comment, now, now + span, made_at=now)
            silences.write(connection, made)
            what = f"by {who} until {made.ends_at:%Y-%m-%d %H:%M:%S} UTC ({made.id}): {' '.join(matchers)}"
            story.append(connection, [story.Entry(now, alert.id, "silenced", what)])
        log.info("silence_added", silence=made.id, by=who, matchers=list(matchers))
        return made


def login_name() -> str:
    """Name who is at the keyboard, as the system knows them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as containers have
        return "unknown"


def _existing(connection: Connection, alert_id: str) -> Alert:
    alert = alerts.read(connection, alert_id)
    if alert is None:
        raise ActionwatchError(f"no alert has the id {alert_id}")
    return alert


def _told(alert: Alert) -> str:
    if alert.status is Status.RESOLVED:
        return f"resolved by {alert.resolved_by}"
    return f"acknowledged by {alert.acked_by}"
